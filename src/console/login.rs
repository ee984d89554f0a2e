//! How somebody without a proxy says who he is: by pasting a token, which the browser keeps until the session ends.

use super::form::{FormToken, Submitted};
use super::limits::Peer;
use super::problem::show;
use super::{Console, assets, session};
use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum_extra::extract::cookie::PrivateCookieJar;
use jiff::Timestamp;
use serde::Deserialize;

/// Where the page is.
pub const PATH: &str = "/login";

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    form_token: &'a str,
    /// Where to go then.
    next: &'a str,
    /// Why the last try failed.
    problem: Option<String>,
}

impl Page<'_> {
    fn asset(&self, name: &str) -> String {
        assets::address(name)
    }
}

/// Where to go then.
#[derive(Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// What is pasted.
#[derive(Deserialize)]
pub struct Login {
    token: String,
    #[serde(default)]
    next: String,
}

/// The page that leads back to a place.
pub fn address(place: &str) -> String {
    let Ok(query) = serde_urlencoded::to_string([("next", own(place))]) else { return PATH.to_owned() };
    format!("{PATH}?{query}")
}

/// The page itself.
pub async fn page(FormToken(form_token): FormToken, Query(Next { next }): Query<Next>) -> Response {
    show(StatusCode::OK, &Page { form_token: &form_token, next: own(&next), problem: None })
}

/// Begins a session, once the API server knows the token.
pub async fn begin(
    State(console): State<Console>,
    jar: PrivateCookieJar,
    Extension(peer): Extension<Peer>,
    FormToken(form_token): FormToken,
    Submitted(login): Submitted<Login>,
) -> Response {
    let next = own(&login.next).to_owned();
    let refused = |status: StatusCode, why: String| show(status, &Page { form_token: &form_token, next: &next, problem: Some(why) });
    let jar = match session::begin(jar, &login.token, Timestamp::now()) {
        Ok(jar) => jar,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    match console.visitors.of(login.token.trim(), peer, &console.limits).await {
        Ok(_) => (jar, Redirect::to(&next)).into_response(),
        Err(error) => refused(StatusCode::UNAUTHORIZED, error.to_string()),
    }
}

/// Ends it.
pub async fn end(jar: PrivateCookieJar, Submitted(_): Submitted<Vec<(String, String)>>) -> Response {
    (session::end(jar), Redirect::to(PATH)).into_response()
}

/// The place, where it is one of this console: a link to the login page must lead nowhere else.
fn own(place: &str) -> &str {
    let is_own = place.starts_with('/') && !place.starts_with("//") && !place.bytes().any(|byte| byte == b'\\' || byte.is_ascii_control());
    if is_own { place } else { "/tenants" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_nowhere_else() {
        for place in ["/tenants/acme?page=2", "/onboard", "/"] {
            assert_eq!(own(place), place);
        }
        for place in ["", "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/a\nb", "javascript:alert(1)"] {
            assert_eq!(own(place), "/tenants", "{place:?}");
        }
        assert_eq!(address("/tenants?q=a&b"), "/login?next=%2Ftenants%3Fq%3Da%26b");
    }
}
