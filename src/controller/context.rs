//! What all workers share.

use super::hosts::Hosts;
use super::inventory::Inventory;
use super::placements::Placements;
use super::queue::Queue;
use super::servers::Servers;
use super::tenant::Memory;
use super::{FIRST_BACKOFF, LONGEST_BACKOFF};
use crate::api::conditions::{self, is_true};
use crate::api::{Blueprint, DatabaseServer, Plan, Tenant};
use crate::instance::Settings;
use crate::telemetry::{Metrics, Moment};
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{self, Store, store::Writer};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

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
    pub(super) stores: Stores,
    pub(super) servers: Servers,
    pub(super) hosts: Hosts,
    pub(super) placements: Placements,
    /// Woken when what uses what may have changed.
    pub(super) usage_changed: Notify,
    pub(super) memory: Memory,
    pub(super) failures: Failures,
    pub(super) recorder: Recorder,
    ready: AtomicBool,
}

/// What the watches of our own kinds hold.
pub struct Stores {
    pub tenants: Store<Tenant>,
    pub blueprints: Store<Blueprint>,
    pub plans: Store<Plan>,
    pub servers: Store<DatabaseServer>,
}

/// What fills the [`Stores`]. There is one of it, because only one watch may fill a store.
pub struct Writers {
    pub(super) tenants: Writer<Tenant>,
    pub(super) blueprints: Writer<Blueprint>,
    pub(super) plans: Writer<Plan>,
    pub(super) servers: Writer<DatabaseServer>,
}

impl Context {
    /// A context that knows nothing yet, and what [`run`](super::run) fills it by.
    pub fn new(client: Client, metrics: Metrics, configuration: Configuration) -> (Self, Writers) {
        let reporter = Reporter { controller: "tenantry.dev/operator".into(), instance: None };
        let (tenants, tenant_writer) = reflector::store();
        let (blueprints, blueprint_writer) = reflector::store();
        let (plans, plan_writer) = reflector::store();
        let (servers, server_writer) = reflector::store();
        let context = Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            configuration,
            metrics,
            queue: Queue::default(),
            inventory: Inventory::default(),
            stores: Stores { tenants, blueprints, plans, servers },
            servers: Servers::default(),
            hosts: Hosts::default(),
            placements: Placements::default(),
            usage_changed: Notify::new(),
            memory: Memory::default(),
            failures: Failures::default(),
            ready: AtomicBool::new(false),
        };
        let writers = Writers { tenants: tenant_writer, blueprints: blueprint_writer, plans: plan_writer, servers: server_writer };
        (context, writers)
    }

    /// Whether the first lists have arrived, so that decisions can be made.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub(super) fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Begins no further pass; those under way come to their end, and then [`run`](super::run) does.
    pub fn stop(&self) {
        self.queue.close();
    }

    /// All numbers as they are now, for Prometheus.
    pub fn numbers(&self) -> String {
        self.metrics.encode(Moment {
            queue_depth: self.queue.depth(),
            tenants: self.stores.tenants.state().iter().map(|tenant| state(tenant)).collect(),
            statements: self.servers.statements(),
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
