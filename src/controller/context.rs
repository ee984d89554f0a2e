//! What all workers share.

use super::grants::Due;
use super::holdings::Holdings;
use super::hosts::Hosts;
use super::inventory::Inventory;
use super::placements::{Offer, Placements};
use super::queue::Queue;
use super::releases::Releases;
use super::servers::Servers;
use super::tenant::Memory;
use super::{FIRST_BACKOFF, LAST_PASSES, LONGEST_BACKOFF};
use crate::api::conditions::{self, is_true};
use crate::api::release::Counts;
use crate::api::{Blueprint, DatabaseServer, Plan, Release, Tenant};
use crate::client::Connection;
use crate::instance::Settings;
use crate::instance::placement::PlacementError;
use crate::lease::Fence;
use crate::shards::{Shard, ShardCount};
use crate::telemetry::{Metrics, Moment, ReleaseLabels};
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::{Client, ResourceExt};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How the operator was started.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What is the same for all tenants.
    pub settings: Settings,
    /// Where checks connect to, instead of looking the tenant's host up.
    pub check_address: Option<SocketAddr>,
    /// Into how many shards the tenants are split.
    pub shards: ShardCount,
}

/// What all workers share.
pub struct Context {
    /// The API server, for reading alone; what writes is in the holding of a shard.
    pub(super) reader: Client,
    /// How the operator was started.
    pub configuration: Configuration,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    pub(super) holdings: Holdings,
    pub(super) queue: Queue,
    pub(super) inventory: Inventory,
    pub(super) stores: Stores,
    pub(super) servers: Servers,
    pub(super) hosts: Hosts,
    pub(super) placements: Placements,
    pub(super) grants: Due,
    pub(super) releases: Releases,
    /// Woken when what uses what may have changed.
    pub(super) usage_changed: Notify,
    pub(super) memory: Memory,
    pub(super) failures: Failures,
    ready: AtomicBool,
}

/// What the watches of our own kinds hold.
pub struct Stores {
    pub tenants: Store<Tenant>,
    pub blueprints: Store<Blueprint>,
    pub plans: Store<Plan>,
    pub servers: Store<DatabaseServer>,
    pub releases: Store<Release>,
}

/// What fills the [`Stores`]. There is one of it, because only one watch may fill a store.
pub struct Writers {
    pub(super) tenants: Writer<Tenant>,
    pub(super) blueprints: Writer<Blueprint>,
    pub(super) plans: Writer<Plan>,
    pub(super) servers: Writer<DatabaseServer>,
    pub(super) releases: Writer<Release>,
}

impl Context {
    /// A context that knows nothing yet, and what [`run`](super::run) fills it by.
    pub fn new(connection: Connection, metrics: Metrics, configuration: Configuration) -> (Self, Writers) {
        let (tenants, tenant_writer) = reflector::store();
        let (blueprints, blueprint_writer) = reflector::store();
        let (plans, plan_writer) = reflector::store();
        let (servers, server_writer) = reflector::store();
        let (releases, release_writer) = reflector::store();
        let count = configuration.shards;
        let context = Self {
            reader: connection.behind(Fence::shut()),
            configuration,
            metrics,
            holdings: Holdings::new(count, connection),
            queue: Queue::new(count),
            inventory: Inventory::new(count),
            stores: Stores { tenants, blueprints, plans, servers, releases },
            servers: Servers::default(),
            hosts: Hosts::default(),
            placements: Placements::default(),
            grants: Due::default(),
            releases: Releases::default(),
            usage_changed: Notify::new(),
            memory: Memory::default(),
            failures: Failures::default(),
            ready: AtomicBool::new(false),
        };
        let writers = Writers {
            tenants: tenant_writer,
            blueprints: blueprint_writer,
            plans: plan_writer,
            servers: server_writer,
            releases: release_writer,
        };
        (context, writers)
    }

    /// Works on a shard from now on: [`run`](super::run) lists what there is of it, and then its tenants are looked at.
    pub fn begin(&self, shard: Shard, fence: Fence) {
        self.inventory.take_in(shard);
        self.holdings.add(shard, fence);
        if shard == Shard::FIRST {
            self.metrics.lead(true);
        }
    }

    /// Begins no further pass over a tenant of this shard, lets those under way go on for a moment, cuts them short, closes the fence, and returns
    /// once nothing of it is under way any more.
    pub async fn end(&self, shard: Shard) {
        let Some(holding) = self.holdings.remove(shard) else { return };
        self.queue.shut(shard);
        if shard == Shard::FIRST {
            self.metrics.lead(false);
        }
        if tokio::time::timeout(LAST_PASSES, self.queue.idle(shard)).await.is_err() {
            tracing::warn!(%shard, "some passes are cut short; who holds the shard next takes them up");
        }
        holding.fence.close();
        self.queue.idle(shard).await;
        holding.fence.empty().await;
        self.forget(shard);
    }

    /// What is remembered of a shard's tenants isn't so any more once another process has worked on them.
    fn forget(&self, shard: Shard) {
        self.inventory.let_go(shard);
        for tenant in self.stores.tenants.state() {
            if self.holdings.count().shard_of(&tenant.name_any()) == shard {
                self.memory.forget(&tenant.uid().unwrap_or_default());
                self.failures.forget(&tenant.name_any());
            }
        }
    }

    /// Has the coordinator, if this process is it, look at what a tenant may have.
    pub(super) fn grant_soon(&self, tenant: &str) {
        if self.holdings.coordinator().is_some() {
            self.grants.push(tenant);
        }
    }

    /// The database servers, as placement sees them.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let offer = |server: &Arc<DatabaseServer>| Offer {
            name: server.name_any(),
            region: server.spec.region.clone(),
            capacity: server.spec.capacity.tenants,
            reachable: server.metadata.deletion_timestamp.is_none() && self.servers.takes_tenants(&server.name_any()),
        };
        self.stores.servers.state().iter().map(offer).collect()
    }

    /// Gives a tenant a place on a database server.
    ///
    /// # Errors
    /// Where none has one.
    pub(super) fn place(&self, tenant: &Tenant) -> Result<String, PlacementError> {
        let server = self.placements.choose(&tenant.uid().unwrap_or_default(), tenant.spec.region.as_deref(), &self.offers())?;
        self.has_one_more(&server);
        Ok(server)
    }

    /// A tenant is on this server. However that became known, what follows from it does so here.
    pub(super) fn is_placed(&self, uid: &str, server: &str) {
        if self.placements.set(uid, server) {
            self.has_one_more(server);
        }
    }

    /// The server's tenants are counted anew, and it is held against deletion.
    fn has_one_more(&self, server: &str) {
        self.servers.recount(server);
        self.usage_changed.notify_one();
    }

    /// The shards whose tenants are looked at.
    pub fn shards(&self) -> Vec<Shard> {
        self.queue.shards().into_iter().collect()
    }

    /// Whether this process holds any shard.
    pub fn holds_any(&self) -> bool {
        !self.holdings.changes().borrow().is_empty()
    }

    /// Whether the first lists have arrived, so that decisions can be made.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(super) fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    fn release_numbers(&self) -> Vec<(ReleaseLabels, u32)> {
        let current = |release: &Arc<Release>| release.status.as_ref().is_some_and(|status| status.superseded_by.is_none());
        let newest = |release: &&Arc<Release>| current(release) && !self.releases.has_successor(release);
        let releases = self.stores.releases.state();
        let waves = releases.iter().filter(newest).flat_map(|release| {
            let waves = release.status.as_ref().map(|status| status.waves.as_slice()).unwrap_or_default();
            waves.iter().map(|wave| (release.name_any(), wave))
        });
        waves
            .flat_map(|(release, wave)| {
                let Counts { waiting, moving, done, failed, passed_over } = wave.tenants;
                let states = [("waiting", waiting), ("moving", moving), ("done", done), ("failed", failed), ("passedOver", passed_over)];
                states.map(|(state, tenants)| (ReleaseLabels { release: release.clone(), wave: wave.name.clone(), state }, tenants))
            })
            .collect()
    }

    /// All numbers as they are now, for Prometheus.
    pub fn numbers(&self) -> String {
        // Each tenant is counted by the process that works on it, so that the sum over all is right.
        let tenants = self.stores.tenants.state();
        let ours = tenants.iter().filter(|tenant| self.holdings.of(&tenant.name_any()).is_some());
        self.metrics.encode(Moment {
            queue_depth: self.queue.depth(),
            tenants: ours.map(|tenant| state(tenant)).collect(),
            releases: if self.holdings.coordinator().is_some() { self.release_numbers() } else { Vec::new() },
            statements: self.servers.statements(),
            shards_held: self.holdings.changes().borrow().len(),
            shards: self.holdings.count().into(),
        })
    }
}

/// State and reason of a tenant.
fn state(tenant: &Tenant) -> (&'static str, String) {
    let conditions = tenant.conditions();
    let state = if is_true(conditions, conditions::STALLED) {
        conditions::STALLED
    } else if is_true(conditions, conditions::READY) {
        conditions::READY
    } else if is_true(conditions, conditions::RECONCILING) {
        conditions::RECONCILING
    } else {
        "Unknown"
    };
    let ready = conditions.iter().find(|condition| condition.type_ == conditions::READY);
    (state, ready.map_or_else(|| "NotObserved".to_owned(), |ready| ready.reason.clone()))
}

/// How often each tenant failed in a row.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<String, Failing>>);

struct Failing {
    waits: u32,
    until: Instant,
}

impl Failures {
    /// How long to wait after one more failure: doubling, and spread by up to a half, so that tenants that failed together don't return together.
    /// A pass that an event caused in the middle of a wait leaves that wait as it is: a burst of events would otherwise be taken for long trying.
    pub fn next_delay(&self, name: &str) -> Duration {
        let now = Instant::now();
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = failures.entry(name.to_owned()).or_insert(Failing { waits: 0, until: now });
        let left = failing.until.duration_since(now);
        if !left.is_zero() {
            return left;
        }
        let delay = FIRST_BACKOFF.saturating_mul(1 << failing.waits.min(16)).min(LONGEST_BACKOFF).mul_f32(rand::random_range(0.5..=1.0));
        *failing = Failing { waits: failing.waits.saturating_add(1), until: now + delay };
        delay
    }

    /// It went well.
    pub fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_events_is_one_failure() {
        let failures = Failures::default();
        let first = failures.next_delay("acme");
        for _ in 0..20 {
            assert_eq!(failures.next_delay("acme"), first);
        }
        tokio::time::advance(first).await;
        assert!(failures.next_delay("acme") <= FIRST_BACKOFF * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_the_longest_and_begin_anew_after_a_success() {
        let failures = Failures::default();
        let mut delay = Duration::ZERO;
        for _ in 0..20 {
            delay = failures.next_delay("acme");
            tokio::time::advance(delay).await;
        }
        assert!(delay >= LONGEST_BACKOFF / 2 && delay <= LONGEST_BACKOFF);
        failures.forget("acme");
        assert!(failures.next_delay("acme") <= FIRST_BACKOFF);
    }
}
