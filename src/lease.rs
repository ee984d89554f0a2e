//! One leader at a time, by a [Lease](https://kubernetes.io/docs/concepts/architecture/leases/), and a fence that closes when it has run out.
//!
//! A follower watches the Lease and takes it in the moment that it is released, or once it has seen no renewal for [`DURATION`]. The clocks of
//! two machines are never compared: each measures by its own since when it saw the Lease change. A leader that was stopped for longer than
//! [`TRUSTED`] finds the [`Fence`] closed when it wakes, so it writes nothing that the next leader doesn't expect.

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, PostParams};
use kube::core::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a Lease holds after its last renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How long after a renewal its holder may write: less than [`DURATION`] by the time that a write may be under way.
const TRUSTED: Duration = Duration::from_secs(12);
/// How long one request for the Lease may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// How soon a request that failed is made again.
const AGAIN: Duration = Duration::from_secs(1);

/// Open while this process may write.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Option<Instant>>>);

impl Fence {
    /// Whether this process may write now.
    pub fn is_open(&self) -> bool {
        self.lock().is_some_and(|until| Instant::now() < until)
    }

    fn open_until(&self, until: Instant) {
        *self.lock() = Some(until);
    }

    /// From now on nothing is written.
    pub fn close(&self) {
        *self.lock() = None;
    }

    async fn closed(&self) {
        loop {
            let until = *self.lock();
            match until {
                Some(until) if Instant::now() < until => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a leader is one no longer.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    /// Another process holds it.
    #[error("the lease is held by {0} now: another operator leads")]
    Taken(String),
    /// It couldn't be renewed in time.
    #[error("the lease could not be renewed in time: {0}")]
    NotRenewed(String),
}

/// A Lease that this process may come to hold.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    fence: Fence,
}

impl Election {
    /// For the Lease of this name, by a client that the fence doesn't hold back.
    pub fn new(api: Api<Lease>, name: &str, identity: String, fence: Fence) -> Self {
        Self { api, name: name.to_owned(), identity, fence }
    }

    /// Waits until the Lease is this process's.
    pub async fn win(&self) -> Held<'_> {
        loop {
            match self.follow().await {
                Ok(lease) => return Held { election: self, lease },
                Err(error) => tracing::warn!(%error, "the lease can't be asked for; trying again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Watches the Lease and takes it once it is free.
    async fn follow(&self) -> Result<Lease, kube::Error> {
        let mut changes = std::pin::pin!(watch_object(self.api.clone(), &self.name).default_backoff());
        let mut seen: Option<Lease> = None;
        let mut free_at = Instant::now() + DURATION;
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(lease)) => {
                        let version = |lease: &Option<Lease>| lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
                        // A watch that starts again shows what was seen before; that is no renewal.
                        if seen.is_none() || version(&lease) != version(&seen) {
                            free_at = if lease.as_ref().is_none_or(is_free) { Instant::now() } else { Instant::now() + DURATION };
                        }
                        seen = lease;
                    }
                    Some(Err(error)) => tracing::warn!(%error, "the watch of the lease was interrupted; it starts again"),
                    None => return Err(kube::Error::Service("the watch of the lease ended".into())),
                },
                () = tokio::time::sleep_until(free_at) => {
                    if let Some(lease) = self.take(seen.as_ref()).await? {
                        return Ok(lease);
                    }
                    // Somebody was faster; the watch will tell who.
                    free_at = Instant::now() + DURATION;
                }
            }
        }
    }

    async fn take(&self, seen: Option<&Lease>) -> Result<Option<Lease>, kube::Error> {
        let now = MicroTime(jiff::Timestamp::now());
        let transitions = seen.and_then(|lease| lease.spec.as_ref()?.lease_transitions).map_or(0, |before| before.saturating_add(1));
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: seen.and_then(|lease| lease.metadata.resource_version.clone()),
                ..Default::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..Default::default()
            }),
        };
        let started = Instant::now();
        let answer = match seen {
            Some(_) => within(self.api.replace(&self.name, &PostParams::default(), &lease)).await,
            None => within(self.api.create(&PostParams::default(), &lease)).await,
        };
        match answer {
            Ok(lease) => {
                self.fence.open_until(started + TRUSTED);
                Ok(Some(lease))
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether nobody holds it.
fn is_free(lease: &Lease) -> bool {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).is_none_or(str::is_empty)
}

async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    tokio::time::timeout(REQUEST_TIMEOUT, request).await.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
}

/// A Lease that is this process's.
pub struct Held<'a> {
    election: &'a Election,
    lease: Lease,
}

impl Held<'_> {
    /// Renews the Lease until it is lost.
    pub async fn keep(&mut self) -> LeaseLost {
        let fence = self.election.fence.clone();
        let mut why = "it was not renewed".to_owned();
        tokio::select! {
            taken = self.renew(&mut why) => return LeaseLost::Taken(taken),
            () = fence.closed() => {}
        }
        LeaseLost::NotRenewed(why)
    }

    /// Returns once another holds the Lease, and tells who.
    async fn renew(&mut self, why: &mut String) -> String {
        let mut wait = RENEW_EVERY;
        loop {
            tokio::time::sleep(wait).await;
            let started = Instant::now();
            if let Some(spec) = &mut self.lease.spec {
                spec.renew_time = Some(MicroTime(jiff::Timestamp::now()));
            }
            let Election { api, name, identity, fence } = self.election;
            wait = match within(api.replace(name, &PostParams::default(), &self.lease)).await {
                Ok(lease) => {
                    self.lease = lease;
                    fence.open_until(started + TRUSTED);
                    RENEW_EVERY
                }
                // Our own write may have arrived although its answer didn't, so a conflict doesn't tell yet that another leads.
                Err(kube::Error::Api(status)) if status.code == 409 => match within(api.get(name)).await {
                    Ok(lease) => {
                        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
                        if holder != *identity {
                            fence.close();
                            return holder;
                        }
                        self.lease = lease;
                        Duration::ZERO
                    }
                    Err(error) => {
                        *why = error.to_string();
                        AGAIN
                    }
                },
                Err(error) => {
                    *why = error.to_string();
                    AGAIN
                }
            };
        }
    }

    /// Gives the Lease back, so that the next leader need not wait for it to run out.
    pub async fn release(mut self) {
        self.election.fence.close();
        if let Some(spec) = &mut self.lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let Election { api, name, .. } = self.election;
        if let Err(error) = within(api.replace(name, &PostParams::default(), &self.lease)).await {
            tracing::warn!(%error, "the lease can't be given back; the next leader waits until it has run out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_fence_closes_by_itself() {
        let fence = Fence::default();
        assert!(!fence.is_open());
        fence.open_until(Instant::now() + TRUSTED);
        assert!(fence.is_open());
        tokio::time::advance(TRUSTED).await;
        assert!(!fence.is_open());
        fence.closed().await;
    }
}
