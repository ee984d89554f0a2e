//! The numbers that the operator shows to Prometheus.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Requests to the API server.
#[derive(Clone, Debug, Default)]
pub struct Requests(Family<RequestLabels, Counter>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    code: String,
}

impl Requests {
    /// One request was answered with this status, or not at all.
    pub fn count(&self, verb: &'static str, status: Option<u16>) {
        let code = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        self.0.get_or_create(&RequestLabels { verb, code }).inc();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    state: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabels {
    server: String,
}

/// How many tenants of a wave are how far.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReleaseLabels {
    /// The Release.
    pub release: String,
    /// Its wave.
    pub wave: String,
    /// `waiting`, `moving`, `done`, `failed` or `passedOver`.
    pub state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Numbers for Prometheus.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Requests to the API server.
    pub requests: Requests,
    reconciles: Family<OutcomeLabels, Counter>,
    durations: Histogram,
    writes: Counter,
    queue: Gauge,
    leading: Gauge,
    shards: Gauge,
    shards_held: Gauge,
    tenants: Family<TenantLabels, Gauge>,
    statements: Family<ServerLabels, Gauge>,
    releases: Family<ReleaseLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Requests::default(),
            reconciles: Family::default(),
            durations: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            writes: Counter::default(),
            queue: Gauge::default(),
            leading: Gauge::default(),
            shards: Gauge::default(),
            shards_held: Gauge::default(),
            tenants: Family::default(),
            statements: Family::default(),
            releases: Family::default(),
        }
    }
}

/// What is so in the moment that the numbers are asked for.
pub struct Moment {
    /// Tenants that are due.
    pub queue_depth: usize,
    /// State (`Ready`, `Reconciling`, `Stalled` or `Unknown`) and reason of each tenant.
    pub tenants: Vec<(&'static str, String)>,
    /// Statements sent to each database server since the start.
    pub statements: Vec<(String, u64)>,
    /// How far the tenants of each wave are, of releases that nothing newer took over from; only where this process coordinates.
    pub releases: Vec<(ReleaseLabels, u32)>,
    /// Into how many shards the tenants are split.
    pub shards: u32,
    /// How many of them are this process's.
    pub shards_held: usize,
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("tenantry");
        registry.register("api_requests", "Requests to the API server, by verb and status", self.requests.0.clone());
        registry.register("reconciles", "Passes over a tenant, by outcome", self.reconciles.clone());
        registry.register_with_unit("reconcile_duration", "How long a pass took", Unit::Seconds, self.durations.clone());
        registry.register("object_writes", "Objects of instances created, changed or deleted", self.writes.clone());
        registry.register("queue_depth", "Tenants that are due", self.queue.clone());
        registry.register("leading", "1 while this process holds the lease, or, of several shards, the first", self.leading.clone());
        registry.register("shards", "Into how many shards the tenants are split", self.shards.clone());
        registry.register("shards_held", "How many shards are this process's", self.shards_held.clone());
        registry.register(
            "tenants",
            "Tenants of this process's shards by state and the reason of their condition Ready",
            self.tenants.clone(),
        );
        registry.register("release_tenants", "Tenants of a release's waves by how far they are", self.releases.clone());
        registry.register("sql_statements", "Statements sent to a database server since the start", self.statements.clone());
    }

    /// A pass over a tenant ended.
    pub fn reconciled(&self, outcome: &'static str, duration: Duration) {
        self.reconciles.get_or_create(&OutcomeLabels { outcome }).inc();
        self.durations.observe(duration.as_secs_f64());
    }

    /// An object of an instance was created, changed or deleted.
    pub fn wrote(&self) {
        self.writes.inc();
    }

    /// Whether this process holds the lease, or the first shard.
    pub fn lead(&self, leading: bool) {
        self.leading.set(leading.into());
    }

    /// Whether this process holds the lease, or the first shard, now.
    pub fn is_leading(&self) -> bool {
        self.leading.get() == 1
    }

    /// All numbers, in the [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text format.
    pub fn encode(&self, moment: Moment) -> String {
        self.queue.set(i64::try_from(moment.queue_depth).unwrap_or(i64::MAX));
        self.shards.set(moment.shards.into());
        self.shards_held.set(i64::try_from(moment.shards_held).unwrap_or(i64::MAX));
        self.tenants.clear();
        for (state, reason) in moment.tenants {
            self.tenants.get_or_create(&TenantLabels { state, reason }).inc();
        }
        self.releases.clear();
        for (labels, tenants) in moment.releases {
            self.releases.get_or_create(&labels).set(tenants.into());
        }
        for (server, statements) in moment.statements {
            self.statements.get_or_create(&ServerLabels { server }).set(i64::try_from(statements).unwrap_or(i64::MAX));
        }
        let mut registry = Registry::default();
        self.register(&mut registry);
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
