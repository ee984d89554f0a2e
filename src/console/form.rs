//! That a form was ours: a token in it that only a page of this console can have put there, since its other half is in an encrypted cookie.

use super::Console;
use super::problem::Problem;
use super::session::guarded;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::cookie::PrivateCookieJar;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use subtle::ConstantTimeEq;

const NAME: &str = "__Host-tenantry-form";
/// The field of a form that has it.
const FIELD: &str = "form_token";

/// What a form has to say.
#[derive(Clone, Debug, Default)]
pub struct FormToken(pub String);

impl<S: Sync> FromRequestParts<S> for FormToken {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Knows the browser's token, or gives it one.
pub async fn token(State(console): State<Console>, mut request: Request, next: Next) -> Response {
    let jar = PrivateCookieJar::from_headers(request.headers(), console.key.clone());
    if let Some(cookie) = jar.get(NAME) {
        request.extensions_mut().insert(FormToken(cookie.value().to_owned()));
        return next.run(request).await;
    }
    let token = new_id();
    request.extensions_mut().insert(FormToken(token.clone()));
    let response = next.run(request).await;
    // Only that cookie: the jar may hold others, which the page itself has changed.
    (PrivateCookieJar::new(console.key).add(guarded(NAME, token)), response).into_response()
}

/// What nobody guesses.
pub fn new_id() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>())
}

/// What a form of ours says.
pub struct Submitted<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Console> for Submitted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Problem> {
        let expected = request.extensions().get::<FormToken>().cloned().unwrap_or_default().0;
        let text =
            String::from_request(request, console).await.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        let fields: Vec<(String, String)> = serde_urlencoded::from_str(&text).map_err(malformed)?;
        let sent = fields.iter().find(|(name, _)| name == FIELD).map(|(_, value)| value.as_str()).unwrap_or_default();
        if !is_ours(sent, &expected) {
            let why = "this form is too old, or not one of this console: go back, load the page anew, and send it again; nothing was done";
            return Err(Problem::new(StatusCode::FORBIDDEN, why));
        }
        serde_urlencoded::from_str(&text).map(Self).map_err(malformed)
    }
}

fn malformed(error: serde_urlencoded::de::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("this form isn't as the page has it: {error}"))
}

/// Whether a form says what the browser was given. It takes as long wherever the first difference is.
fn is_ours(sent: &str, expected: &str) -> bool {
    !expected.is_empty() && sent.as_bytes().ct_eq(expected.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_will_do() {
        let token = new_id();
        assert_eq!(token.len(), 24);
        assert!(is_ours(&token, &token) && !is_ours(&token[1..], &token) && !is_ours("", &token));
        assert!(!is_ours("", ""), "who was given none has none");
        assert_ne!(token, new_id());
    }
}
