//! How much may be asked: of each visitor, and by each address for those whom nobody knows yet.

use super::problem::Problem;
use axum::extract::{ConnectInfo, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

/// A page asks for a few things at once, and who types asks at each letter.
const READS: Quota = quota(30, 120);
/// Nobody fills in more than a form a second.
const CHANGES: Quota = quota(1, 30);
/// Each costs the API server a review of a token. Behind an ingress all come from its address.
const INTRODUCTIONS: Quota = quota(5, 60);
/// So many are remembered before those that rest are forgotten.
const REMEMBERED: usize = 10_000;

const fn quota(a_second: u32, at_once: u32) -> Quota {
    match (NonZeroU32::new(a_second), NonZeroU32::new(at_once)) {
        (Some(a_second), Some(at_once)) => Quota::per_second(a_second).allow_burst(at_once),
        _ => panic!("a quota of nothing lets nobody in"),
    }
}

/// Who asks: somebody known by the digest of a token, or an address.
pub type Digest = [u8; 32];

/// What each may still ask.
pub struct Limits {
    reads: DefaultKeyedRateLimiter<Digest>,
    changes: DefaultKeyedRateLimiter<Digest>,
    introductions: DefaultKeyedRateLimiter<IpAddr>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reads: RateLimiter::keyed(READS), changes: RateLimiter::keyed(CHANGES), introductions: RateLimiter::keyed(INTRODUCTIONS) }
    }
}

/// Somebody asked too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that was too much at once: try again in {seconds} s")]
pub struct TooMuch {
    /// When there is room again.
    pub seconds: u64,
}

impl Limits {
    /// Takes one from what a visitor may ask.
    ///
    /// # Errors
    /// Where nothing is left at the moment.
    pub fn visit(&self, visitor: &Digest, method: &Method) -> Result<(), TooMuch> {
        let limiter = if [Method::GET, Method::HEAD].contains(method) { &self.reads } else { &self.changes };
        take(limiter, visitor)
    }

    /// Takes one from what an address may ask in the name of people whom nobody knows yet.
    ///
    /// # Errors
    /// Where nothing is left at the moment.
    pub fn introduce(&self, address: IpAddr) -> Result<(), TooMuch> {
        take(&self.introductions, &address)
    }
}

fn take<K: Hash + Eq + Clone>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<(), TooMuch> {
    if limiter.len() > REMEMBERED {
        limiter.retain_recent();
    }
    limiter.check_key(key).map_err(|not_until| {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        TooMuch { seconds: wait.as_secs() + 1 }
    })
}

/// The address from which a request came to this program.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl Default for Peer {
    fn default() -> Self {
        Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// Remembers where a request comes from.
pub async fn note_peer(mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or_else(Peer::default, |info| Peer(info.0.ip()));
    request.extensions_mut().insert(peer);
    next.run(request).await
}

impl From<TooMuch> for Problem {
    fn from(too_much: TooMuch) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, too_much).retried_after(too_much.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_as_much_as_the_others() {
        let limits = Limits::default();
        let (one, other) = ([1; 32], [2; 32]);
        let forms = (0..100).take_while(|_| limits.visit(&one, &Method::POST).is_ok()).count();
        assert!((30..35).contains(&forms), "{forms}");
        let refused = limits.visit(&one, &Method::POST).unwrap_err();
        assert_eq!(refused.to_string(), "that was too much at once: try again in 1 s");
        assert!(limits.visit(&one, &Method::GET).is_ok(), "who may send no more may still look");
        assert!(limits.visit(&other, &Method::POST).is_ok(), "another isn't concerned");
    }

    #[test]
    fn strangers_at_one_address_share_it() {
        let limits = Limits::default();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let let_in = (0..1000).take_while(|_| limits.introduce(address).is_ok()).count();
        assert!((60..80).contains(&let_in), "{let_in}");
        assert!(limits.introduce("192.0.2.1".parse().unwrap()).is_ok());
    }
}
