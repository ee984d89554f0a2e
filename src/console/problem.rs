//! What a visitor is told where a page can't be shown or something can't be done.

use super::visitor::VisitorError;
use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use std::fmt::Display;

/// Something that is in the way, and what to do about it.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    sentence: String,
    /// Where to go on instead, at once.
    instead: Option<String>,
    /// When to try again, in seconds.
    retry_after: Option<u64>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Page<'a> {
    status: u16,
    sentence: &'a str,
}

impl Page<'_> {
    fn stylesheet(&self) -> String {
        super::assets::address("console.css")
    }
}

impl Problem {
    /// With this status.
    pub fn new(status: StatusCode, sentence: impl Display) -> Self {
        Self { status, sentence: sentence.to_string(), instead: None, retry_after: None }
    }

    /// It can be tried again after so many seconds.
    pub fn retried_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// What was asked for isn't there.
    pub fn missing(sentence: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, sentence)
    }

    /// The visitor may not.
    pub fn forbidden(sentence: impl Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, sentence)
    }

    /// What was shown is gone, and another has its name.
    pub fn replaced(kind: &str, name: &str) -> Self {
        Self::new(StatusCode::CONFLICT, format!("{name} is another {kind} by now: look at it first; nothing was done"))
    }

    /// Nobody knows who visits: who has no session is sent to begin one, and comes back to the same place. A script that asks for a part of a page is only told: its
    /// page is loaded anew, and sent there.
    pub fn of_visitor(error: &VisitorError, place: Option<&str>) -> Self {
        let status = match error {
            VisitorError::TooMuch(too_much) => return Self::from(*too_much),
            VisitorError::NoToken | VisitorError::Unknown | VisitorError::Malformed(_) => StatusCode::UNAUTHORIZED,
            VisitorError::Unreachable(_) => StatusCode::BAD_GATEWAY,
        };
        let place = place.filter(|_| matches!(error, VisitorError::NoToken | VisitorError::Unknown));
        let instead = place.map(super::login::address);
        Self { instead, ..Self::new(status, error) }
    }
}

impl From<kube::Error> for Problem {
    fn from(error: kube::Error) -> Self {
        let code = match &error {
            kube::Error::Api(status) => StatusCode::from_u16(status.code).ok().filter(|code| !code.is_server_error()),
            _ => None,
        };
        Self::new(code.unwrap_or(StatusCode::BAD_GATEWAY), in_words(&error))
    }
}

/// What the API server says, or that it says nothing.
pub fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => format!("the cluster can't be reached: {error}"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Some(place) = &self.instead {
            return Redirect::to(place).into_response();
        }
        let page = show(self.status, &Page { status: self.status.as_u16(), sentence: &self.sentence });
        match self.retry_after {
            Some(seconds) => ([(header::RETRY_AFTER, seconds.to_string())], page).into_response(),
            None => page,
        }
    }
}

/// A page, or part of one.
pub fn show(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, [(header::CACHE_CONTROL, "no-store")], Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page can't be drawn");
            (StatusCode::INTERNAL_SERVER_ERROR, "this page can't be drawn").into_response()
        }
    }
}
