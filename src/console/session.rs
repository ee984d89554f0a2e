//! What a browser keeps of a visitor who pasted a token: the token itself, encrypted, in a cookie that no script reads and no other site sends along
//! with a form.

use axum_extra::extract::cookie::{Cookie, PrivateCookieJar, SameSite};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The prefix has browsers take it only over an encrypted connection, or on their own machine, and for this host alone; see
/// [RFC 6265bis](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3.2).
const NAME: &str = "__Host-tenantry";
/// A session ends after a day's work, whatever becomes of the token.
const LASTS: SignedDuration = SignedDuration::from_hours(10);
/// A cookie has at most 4096 bytes, and encrypted and written in letters it is a third longer.
const LONGEST_TOKEN: usize = 2900;

/// The content of the cookie.
#[derive(Serialize, Deserialize)]
struct Session {
    token: String,
    until: Timestamp,
}

/// Why a session can't begin.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No cookie holds it.
    #[error(
        "the token has {0} characters, and at most {LONGEST_TOKEN} fit into a cookie: reach the console through a proxy that sends the token along"
    )]
    TooLong(usize),
    /// It is none.
    #[error("that is no token: paste it whole, without spaces")]
    NoToken,
}

/// The token of the visitor, where the session still lasts. That is looked at here, because a browser may keep a cookie for longer.
pub fn token(jar: &PrivateCookieJar, now: Timestamp) -> Option<String> {
    let session: Session = serde_json::from_str(jar.get(NAME)?.value()).ok()?;
    (now < session.until).then_some(session.token)
}

/// Keeps a token.
///
/// # Errors
/// Where it is none, or too long.
pub fn begin(jar: PrivateCookieJar, token: &str, now: Timestamp) -> Result<PrivateCookieJar, SessionError> {
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SessionError::NoToken);
    }
    if token.len() > LONGEST_TOKEN {
        return Err(SessionError::TooLong(token.len()));
    }
    let session = Session { token: token.to_owned(), until: now + LASTS };
    // Its fields are text, so it has no reason to fail.
    let value = serde_json::to_string(&session).unwrap_or_default();
    Ok(jar.add(guarded(NAME, value)))
}

/// Forgets it.
pub fn end(jar: PrivateCookieJar) -> PrivateCookieJar {
    jar.remove(guarded(NAME, String::new()))
}

/// A cookie that goes to this host alone, is read by no script, and is not sent with another site's forms.
pub fn guarded(name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build((name, value)).path("/").secure(true).http_only(true).same_site(SameSite::Lax).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use axum_extra::extract::cookie::Key;

    fn jar() -> PrivateCookieJar {
        PrivateCookieJar::from_headers(&HeaderMap::new(), Key::derive_from(&[7; 32]))
    }

    #[test]
    fn a_session_lasts_for_a_day_of_work() {
        let now = Timestamp::UNIX_EPOCH;
        let jar = begin(jar(), " abc.def ", now).unwrap();
        assert_eq!(token(&jar, now).as_deref(), Some("abc.def"));
        assert_eq!(token(&jar, now + LASTS), None);
        assert_eq!(token(&end(jar), now), None);
    }

    #[test]
    fn what_is_no_token_or_too_long_is_refused() {
        let now = Timestamp::UNIX_EPOCH;
        for nonsense in ["", "  ", "two words", "a\nb", "ä"] {
            assert!(matches!(begin(jar(), nonsense, now), Err(SessionError::NoToken)), "{nonsense:?}");
        }
        assert!(begin(jar(), &"a".repeat(LONGEST_TOKEN), now).is_ok());
        assert!(matches!(begin(jar(), &"a".repeat(LONGEST_TOKEN + 1), now), Err(SessionError::TooLong(_))));
    }
}
