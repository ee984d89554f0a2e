//! What stands around every page: how big a request may be, what a browser may do with the answer, and that no other site asks in a visitor's name.

use super::problem::Problem;
use super::{Console, form, limits};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};

/// The biggest form has some text fields.
const BODY_BYTES: usize = 64 * 1024;

macro_rules! policy {
    ($pictures:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src ",
            $pictures,
            "; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
    };
}
/// Scripts, styles and pictures come from here alone, and none stand in the page itself; nothing frames the pages, and forms lead nowhere else. See
/// [CSP 3](https://www.w3.org/TR/CSP3/).
const POLICY: &str = policy!("'self' data:");
/// The same, where a logo is tried.
const POLICY_WITH_LOGOS: &str = policy!("'self' data: https:");

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Puts it around these pages.
pub fn around(pages: Router<Console>, console: &Console) -> Router<Console> {
    pages
        .fallback(|| async { Problem::missing("there is no such page") })
        .layer(from_fn_with_state(console.clone(), form::token))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn(limits::note_peer))
        .layer(from_fn(own_site_only))
        .layer(from_fn(protect))
}

/// Lets pictures of other sites be shown on a page.
pub fn let_logos_in(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY_WITH_LOGOS));
    response
}

/// What a browser may do with the answer, where the page itself doesn't say.
pub async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn own_site_only(request: Request, next: Next) -> Response {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if reads || is_of_own_site(request.headers()) {
        return next.run(request).await;
    }
    Problem::new(StatusCode::FORBIDDEN, "another site's page asked for this in your name, so nothing was done").into_response()
}

/// Whether a browser says that its page is one of ours. Those that say nothing are left to the form's token.
fn is_of_own_site(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let Some(origin) = text(header::ORIGIN) else { return !headers.contains_key(header::ORIGIN) };
    let authority = origin.parse::<Uri>().ok().and_then(|origin| origin.authority().map(ToString::to_string));
    authority.is_some() && authority.as_deref() == text(header::HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_says_whose_page_asks() {
        let is = |all: &[(&'static str, &str)]| {
            let headers = all.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
            is_of_own_site(&headers)
        };
        assert!(is(&[("sec-fetch-site", "same-origin"), ("origin", "https://console.example")]));
        assert!(is(&[("origin", "https://console.example"), ("host", "console.example")]));
        assert!(is(&[("origin", "http://localhost:8081"), ("host", "localhost:8081")]));
        assert!(is(&[("host", "console.example")]), "an old browser, whose form has its token");
        for other in ["cross-site", "same-site", "none", ""] {
            assert!(!is(&[("sec-fetch-site", other), ("origin", "https://console.example"), ("host", "console.example")]), "{other}");
        }
        for origin in ["https://evil.example", "null", "", "https://console.example.evil.example", "https://console.example:444"] {
            assert!(!is(&[("origin", origin), ("host", "console.example")]), "{origin}");
        }
    }
}
