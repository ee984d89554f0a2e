//! What all workers share.

use super::inventory::Inventory;
use super::queue::Queue;
use super::servers::Servers;
use super::tenant::Memory;
use super::{FIRST_BACKOFF, LONGEST_BACKOFF};
use crate::api::{Blueprint, DatabaseServer, Plan, Tenant};
use crate::instance::Settings;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::Store;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How the operator was started.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What is the same for all tenants.
    pub settings: Settings,
    /// Where checks connect to, instead of looking the tenant's host up.
    pub check_address: Option<SocketAddr>,
}

/// What all workers share.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// How the operator was started.
    pub configuration: Configuration,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    pub(super) queue: Queue,
    pub(super) inventory: Inventory,
    pub(super) stores: OnceLock<Stores>,
    pub(super) servers: Servers,
    pub(super) memory: Memory,
    pub(super) failures: Failures,
    pub(super) recorder: Recorder,
}

/// What the watches of our own kinds hold.
pub struct Stores {
    pub tenants: Store<Tenant>,
    pub blueprints: Store<Blueprint>,
    pub plans: Store<Plan>,
    pub servers: Store<DatabaseServer>,
}

impl Context {
    /// A context that knows nothing yet.
    pub fn new(client: Client, configuration: Configuration) -> Self {
        let reporter = Reporter { controller: "tenantry.dev/operator".into(), instance: None };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            configuration,
            metrics: Metrics::default(),
            queue: Queue::default(),
            inventory: Inventory::default(),
            stores: OnceLock::new(),
            servers: Servers::default(),
            memory: Memory::default(),
            failures: Failures::default(),
        }
    }

    /// Whether the first lists have arrived, so that decisions can be made.
    pub fn is_ready(&self) -> bool {
        self.stores.get().is_some()
    }
}

/// How often each tenant failed in a row.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// How long to wait after one more failure: doubling, and spread by up to a half, so that tenants that failed together don't return together.
    pub fn next_delay(&self, name: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(name.to_owned()).or_default();
        let delay = FIRST_BACKOFF.saturating_mul(1 << (*count).min(16)).min(LONGEST_BACKOFF);
        *count += 1;
        delay.mul_f32(rand::random_range(0.5..=1.0))
    }

    /// It went well.
    pub fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Numbers for Prometheus.
#[derive(Clone)]
pub struct Metrics {
    reconciles: Counter,
    durations: Histogram,
    writes: Counter,
    queue: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            reconciles: Counter::default(),
            durations: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            writes: Counter::default(),
            queue: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Makes the numbers part of what is shown.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("tenantry");
        registry.register("reconciles", "Passes over a tenant", self.reconciles.clone());
        registry.register_with_unit("reconcile_duration", "How long a pass took", Unit::Seconds, self.durations.clone());
        registry.register("object_writes", "Objects created, changed or deleted", self.writes.clone());
        registry.register("queue_depth", "Tenants that are due", self.queue.clone());
    }

    /// Reads what isn't counted as it happens.
    pub fn refresh(&self, context: &Context) {
        self.queue.set(i64::try_from(context.queue.depth()).unwrap_or(i64::MAX));
    }

    pub(super) fn reconciled(&self, duration: Duration) {
        self.reconciles.inc();
        self.durations.observe(duration.as_secs_f64());
    }

    pub(super) fn wrote(&self) {
        self.writes.inc();
    }
}
