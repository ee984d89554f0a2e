//! Who visits: whose token it is that the proxy sends along or the browser keeps, as the API server knows it. Nothing else that a request says of its
//! sender is believed.

use super::Console;
use super::limits::{Digest, Limits, Peer, TooMuch};
use super::problem::Problem;
use super::rights::Rights;
use super::session;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use axum_extra::extract::cookie::PrivateCookieJar;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The header by which proxies such as oauth2-proxy send the visitor's token along.
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-access-token");
/// By it htmx says that a script asks, and not the browser for a page.
const OF_A_SCRIPT: HeaderName = HeaderName::from_static("hx-request");
/// Who a token belongs to, and what that one may do, is asked anew after so long.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// So many visitors are remembered at once; beyond that those who haven't come for longest are forgotten, and are strangers again.
const KNOWN_AT_MOST: usize = 1000;

/// Somebody whom the API server knows.
#[derive(Clone)]
pub struct Visitor {
    /// Speaks to the API server as the visitor.
    pub client: Client,
    /// What the API server calls the visitor.
    pub name: String,
    /// What the visitor may do.
    pub rights: Rights,
    /// Whether it was this console to which the visitor gave the token, and which can forget it.
    pub has_session: bool,
    /// Of the token.
    digest: Digest,
}

/// Visitors who came lately.
pub struct Visitors {
    config: Config,
    known: Mutex<HashMap<Digest, (Visitor, Instant)>>,
}

/// Why somebody is let in nowhere.
#[derive(Debug, thiserror::Error)]
pub enum VisitorError {
    /// Nothing says who it is.
    #[error("nobody has said who you are")]
    NoToken,
    /// Something says so in a way that is none.
    #[error("the request says in a way that can't be understood who you are: the header {0} has to hold one token")]
    Malformed(HeaderName),
    /// The API server doesn't know the token, or no longer.
    #[error("the cluster doesn't accept your token, or no longer")]
    Unknown,
    /// Too many whom nobody knows come from the same address.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// That can't be asked.
    #[error("the cluster can't be asked who you are: {0}")]
    Unreachable(#[from] kube::Error),
}

impl Visitors {
    /// Of this cluster. Credentials of the configuration are put away: nobody acts by them.
    pub fn new(config: &Config) -> Self {
        let mut config = config.clone();
        config.auth_info = AuthInfo::default();
        Self { config, known: Mutex::default() }
    }

    /// Who has this token. The API server is asked for whoever hasn't been here lately, unless too many strangers come from the same address.
    ///
    /// # Errors
    /// Where the API server doesn't know it, or can't be asked.
    pub async fn of(&self, token: &str, from: Peer, limits: &Limits) -> Result<Visitor, VisitorError> {
        let digest: Digest = Sha256::digest(token).into();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        match known {
            Some((visitor, since)) if since.elapsed() < KNOWN_FOR => return Ok(visitor),
            Some(_) => {}
            None => limits.introduce(from.0)?,
        }
        let mut config = self.config.clone();
        config.auth_info.token = Some(token.to_owned().into());
        let client = Client::try_from(config)?;
        let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
        let review = match reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await {
            Ok(review) => review,
            Err(kube::Error::Api(status)) if status.code == 401 => {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
                return Err(VisitorError::Unknown);
            }
            Err(error) => return Err(error.into()),
        };
        let name = review.status.and_then(|status| status.user_info?.username).unwrap_or_default();
        // Whom the API server lets in without knowing anything isn't anybody.
        if name.is_empty() || name == "system:anonymous" {
            return Err(VisitorError::Unknown);
        }
        let rights = Rights::of(&client).await?;
        let visitor = Visitor { client, name, rights, has_session: false, digest };
        self.remember(digest, visitor.clone());
        Ok(visitor)
    }

    fn remember(&self, digest: Digest, visitor: Visitor) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        while known.len() >= KNOWN_AT_MOST {
            let Some(oldest) = known.iter().min_by_key(|(_, (_, since))| *since).map(|(digest, _)| *digest) else { break };
            known.remove(&oldest);
        }
        known.insert(digest, (visitor, Instant::now()));
    }
}

impl FromRequestParts<Console> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        let is_page = !parts.headers.contains_key(OF_A_SCRIPT);
        let place = parts.uri.path_and_query().map(ToString::to_string).filter(|_| is_page);
        let from = parts.extensions.get::<Peer>().copied().unwrap_or_default();
        let known = async {
            let sent = sent_along(&parts.headers)?;
            let jar = PrivateCookieJar::from_headers(&parts.headers, console.key.clone());
            let has_session = sent.is_none();
            let token = sent.or_else(|| session::token(&jar, Timestamp::now())).ok_or(VisitorError::NoToken)?;
            let visitor = console.visitors.of(&token, from, &console.limits).await?;
            console.limits.visit(&visitor.digest, &parts.method)?;
            Ok::<_, VisitorError>(Self { has_session, ..visitor })
        };
        known.await.map_err(|error| Problem::of_visitor(&error, place.as_deref()))
    }
}

/// The token that a proxy sends along. Where there is such a header it has to be one: who tries to say by it who he is isn't taken for somebody whom the
/// browser remembers.
fn sent_along(headers: &HeaderMap) -> Result<Option<String>, VisitorError> {
    for name in [header::AUTHORIZATION, FORWARDED] {
        let mut all = headers.get_all(&name).iter();
        let Some(value) = all.next() else { continue };
        let text = value.to_str().ok().filter(|_| all.next().is_none());
        let token = match name == header::AUTHORIZATION {
            true => text
                .and_then(|text| text.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
                .map(|(_, token)| token),
            false => text,
        };
        let token = token.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        return token.map(|token| Some(token.to_owned())).ok_or(VisitorError::Malformed(name));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(all: &[(&'static str, &'static str)]) -> Result<Option<String>, String> {
        let headers = all.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect::<Vec<_>>();
        let mut map = HeaderMap::new();
        headers.into_iter().for_each(|(name, value)| {
            map.append(name, value);
        });
        sent_along(&map).map_err(|error| error.to_string())
    }

    #[test]
    fn a_proxy_says_by_one_token_who_comes() {
        assert_eq!(token_of(&[("authorization", "Bearer abc")]), Ok(Some("abc".to_owned())));
        assert_eq!(token_of(&[("authorization", "bearer abc")]), Ok(Some("abc".to_owned())));
        assert_eq!(token_of(&[("x-forwarded-access-token", "abc")]), Ok(Some("abc".to_owned())));
        assert_eq!(token_of(&[]), Ok(None));
    }

    #[test]
    fn what_is_empty_doubled_or_of_another_kind_is_refused() {
        let refused: [&[(&str, &str)]; 7] = [
            &[("authorization", "")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic abc")],
            &[("authorization", "Bearer a b")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
            &[("x-forwarded-access-token", "")],
            &[("x-forwarded-access-token", "a"), ("x-forwarded-access-token", "b")],
        ];
        for headers in refused {
            assert!(token_of(headers).is_err(), "{headers:?}");
        }
        assert_eq!(token_of(&[("x-forwarded-user", "admin"), ("x-remote-user", "admin")]), Ok(None), "a name is no token");
    }
}
