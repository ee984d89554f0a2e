//! Which shards are this process's, by [Leases](https://kubernetes.io/docs/concepts/architecture/leases/): never two processes' at once.
//!
//! With one shard there is one Lease, `tenantry`, and who holds it renews it ([`election`]). With several, each process renews a Lease of its own,
//! `tenantry-member-…`, by which the others see that it lives; a Lease a shard, `tenantry-shard-…`, says who holds it and is written only when it
//! changes hands ([`membership`]). So the writes at rest grow with the processes, not with the shards, and a process lives or dies as a whole.
//!
//! The clocks of two machines are never compared: each measures by its own since when it saw no sign of life ([`view`]). A process that was
//! stopped for longer than [`TRUSTED`] finds its [`Fence`]s closed when it wakes, so it writes nothing that the next holder doesn't expect.
//! Processes that split the tenants into another number of shards are never at work together: who has taken a Lease looks at all of them before
//! its fence opens, and gives it back if one is held under another count. Of two that take one each at the same moment, one at least sees the other.

mod election;
mod fence;
mod heartbeat;
mod membership;
#[cfg(test)]
mod simulation;
mod view;

pub use fence::{Fence, Passage, Trust};

use crate::api::labels;
use crate::shards::{Shard, ShardCount};
use futures::stream::{BoxStream, StreamExt};
use heartbeat::Heartbeat;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Error, ResourceExt};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;
use view::View;

/// How long a process is taken to be alive after its last renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How often it renews.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// How long after a renewal it may write: less than [`DURATION`] by the time that a write may be under way.
const TRUSTED: Duration = Duration::from_secs(12);
/// How long one request for a Lease may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// How soon a request that failed is made again.
const AGAIN: Duration = Duration::from_secs(1);
/// How soon it is tried again where somebody else was faster.
const AFTER_A_CONFLICT: Duration = Duration::from_millis(200);

/// Why this process may work no longer.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    /// Another process took a Lease, or it was deleted.
    #[error("the lease {lease} is no longer this process's but {holder}'s: another operator works on what was ours")]
    Taken {
        /// Which one.
        lease: String,
        /// Who holds it now.
        holder: String,
    },
    /// It couldn't be renewed in time.
    #[error("the lease could not be renewed in time: {0}")]
    NotRenewed(String),
}

/// What is to be done about a shard.
#[derive(Debug)]
pub enum Turn {
    /// It is this process's. What it writes passes the fence.
    Begin(Shard, Fence),
    /// It is to be given back, once nothing more is done for it.
    End(Shard),
}

/// The Leases in the operator's namespace, as this process.
pub struct Leases {
    api: Api<Lease>,
    identity: String,
    count: ShardCount,
}

impl Leases {
    /// By a client that no fence holds back. The identity is part of a Lease's name.
    pub fn new(api: Api<Lease>, identity: String, count: ShardCount) -> Self {
        Self { api, identity, count }
    }

    /// Takes shards and gives them back, until it is told to end and all are given back. What is to be done comes out of `turns`; a shard is
    /// given back once it came in by `ended`.
    ///
    /// # Errors
    /// Where what was this process's may be another's. Two must never act, so the process has to end at once and start afresh.
    pub async fn keep(
        &self,
        turns: UnboundedSender<Turn>,
        ended: UnboundedReceiver<Shard>,
        told_to_end: impl Future<Output = ()>,
    ) -> Result<(), LeaseLost> {
        if self.count == ShardCount::ONE {
            election::keep(self, turns, ended, told_to_end).await
        } else {
            membership::keep(self, turns, ended, told_to_end).await
        }
    }

    fn name_of(&self, shard: Shard) -> String {
        if self.count == ShardCount::ONE { view::ONLY.to_owned() } else { format!("{}{shard}", view::SHARD) }
    }

    fn member_name(identity: &str) -> String {
        format!("{}{identity}", view::MEMBER)
    }

    /// Takes a Lease that was seen to be free, or that wasn't there; none where somebody was faster. One that is `renewed` says when it was.
    async fn take(&self, name: &str, seen: Option<&Lease>, renewed: bool) -> Result<Option<Lease>, Error> {
        let now = MicroTime(jiff::Timestamp::now());
        let transitions = seen.and_then(|lease| lease.spec.as_ref()?.lease_transitions).map_or(0, |before| before.saturating_add(1));
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                // A Lease may be created by an update, unless that names the one that was seen.
                uid: seen.and_then(|lease| lease.metadata.uid.clone()),
                resource_version: seen.and_then(|lease| lease.metadata.resource_version.clone()),
                annotations: Some([(labels::SHARDS.to_owned(), self.count.to_string())].into()),
                ..Default::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: if renewed { i32::try_from(DURATION.as_secs()).ok() } else { None },
                acquire_time: Some(now.clone()),
                renew_time: renewed.then_some(now),
                lease_transitions: Some(transitions),
                ..Default::default()
            }),
        };
        let answer = match seen {
            Some(_) => within(self.api.replace(name, &PostParams::default(), &lease)).await,
            None => within(self.api.create(&PostParams::default(), &lease)).await,
        };
        unless_changed(answer)
    }

    /// Makes a Lease nobody's; none where it changed since it was seen.
    async fn free(&self, mut lease: Lease) -> Result<Option<Lease>, Error> {
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = spec.lease_duration_seconds.map(|_| 1);
        }
        unless_changed(within(self.api.replace(&lease.name_any(), &PostParams::default(), &lease)).await)
    }

    /// Sees to it that a process which gave no sign of life can't come back: without its own Lease it has nothing to renew. Tells whether that is
    /// so; it isn't where it gave a sign that wasn't seen.
    async fn bury(&self, view: &View, identity: &str) -> Result<bool, Error> {
        let Some(lease) = view.lease(&Self::member_name(identity)) else { return Ok(true) };
        let preconditions = Preconditions { uid: lease.uid(), resource_version: lease.resource_version() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
        match within(self.api.delete(&lease.name_any(), &parameters)).await {
            Ok(_) => Ok(true),
            Err(Error::Api(status)) if status.code == 404 => Ok(true),
            Err(Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Frees what dead processes of another count of shards hold.
    async fn clear_other_counts(&self, view: &View) -> Result<(), Error> {
        let now = Instant::now();
        for lease in view.of_other_counts(self.count) {
            let Some(holder) = view::holder(lease).filter(|holder| !view.lives(holder, now)) else { continue };
            if self.bury(view, holder).await? {
                self.free(lease.clone()).await?;
            }
        }
        Ok(())
    }

    /// Whether nobody holds a Lease under another count of shards now, by what the API server knows and not by what was seen.
    async fn is_only_count(&self) -> Result<bool, Error> {
        let leases = within(self.api.list(&ListParams::default())).await?;
        Ok(!leases.items.iter().any(|lease| view::is_of_other_count(lease, self.count)))
    }

    fn watch(&self) -> Watched {
        let events = watcher(self.api.clone(), watcher::Config::default()).default_backoff().boxed();
        Watched { events, listing: Vec::new(), is_listed: false, view: View::default() }
    }
}

/// What changed since it was seen is somebody else's now.
fn unless_changed(answer: Result<Lease, Error>) -> Result<Option<Lease>, Error> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn within<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(REQUEST_TIMEOUT, request).await.unwrap_or_else(|_| Err(Error::Service("no answer in time".into())))
}

/// All of the operator's Leases, as they change.
struct Watched {
    events: BoxStream<'static, Result<Event<Lease>, watcher::Error>>,
    listing: Vec<Lease>,
    is_listed: bool,
    view: View,
}

impl Watched {
    /// Returns after a change, once there is a whole list. Nothing is lost where it is dropped before.
    async fn changed(&mut self) {
        loop {
            let event = match self.events.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    tracing::warn!(%error, "the watch of the leases was interrupted; it starts again");
                    continue;
                }
                // A watcher goes on for ever.
                None => std::future::pending().await,
            };
            let now = Instant::now();
            match event {
                Event::Init => self.listing.clear(),
                Event::InitApply(lease) => self.listing.push(lease),
                Event::InitDone => {
                    self.view.listed(std::mem::take(&mut self.listing), now);
                    self.is_listed = true;
                }
                Event::Apply(lease) => self.view.saw(lease, now),
                Event::Delete(lease) => self.view.is_gone(&lease.name_any(), now),
            }
            if self.is_listed {
                return;
            }
        }
    }
}
