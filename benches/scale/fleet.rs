//! Many tenants of the sample product: made all at once, and watched until they are ready.

use crate::support::{REGION, Tenant, World, kubectl, wait_until};
use futures::{StreamExt, TryStreamExt};
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tenantry::api::conditions::{READY, is_true};
use tenantry::instance::render::Kind;

/// The plan whose instances have 24 objects.
pub const PLAN: &str = "business";
/// Tenants that are being created at once.
const AT_ONCE: usize = 16;
/// How often it is told how far a run is.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// The names of so many tenants.
pub fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("c{number:04}")).collect()
}

/// Installs the sample product of the documentation, on a server that has room for all of its tenants.
pub fn install_product() {
    let room = json!({"spec": {"capacity": {"tenants": 100_000}}}).to_string();
    kubectl(&["patch", "databaseserver", "main", "--type", "merge", "--patch", &room]).expect("the server takes more");
    let file = |name: &str| format!("{}/examples/planner/manifests/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    kubectl(&["apply", "--server-side", "--filename", &file("blueprint"), "--filename", &file("plans")]).expect("the planner");
}

/// Creates tenants, some at once, and gives each away as the API server has it.
pub async fn create(world: &World, names: Vec<String>, created: impl Fn(tenantry::api::Tenant)) {
    let api: Api<tenantry::api::Tenant> = Api::all(world.cluster.client.clone());
    let create = |name: String| {
        let manifest = Tenant::named(&name).with(json!({"blueprint": "planner", "plan": PLAN, "region": REGION})).manifest();
        let api = api.clone();
        async move {
            let tenant = serde_json::from_value(manifest).expect("a Tenant");
            api.create(&PostParams::default(), &tenant).await.unwrap_or_else(|error| panic!("Tenant {name}: {error}"))
        }
    };
    futures::stream::iter(names).map(create).buffer_unordered(AT_ONCE).for_each(async |tenant| created(tenant)).await;
}

/// What is known of tenants, by a watch.
#[derive(Clone)]
pub struct Fleet(Arc<Mutex<HashMap<String, State>>>);

#[derive(Clone, PartialEq, Eq)]
struct State {
    generation: i64,
    /// The generation that the status speaks of.
    observed: i64,
    ready: bool,
    /// The version that serves.
    version: Option<String>,
    /// The release that it has, and when that was seen first.
    release: Option<String>,
    moved: Instant,
}

impl Fleet {
    /// Watches from now on.
    pub fn watch(client: Client) -> Self {
        let fleet = Self(Arc::default());
        let states = fleet.0.clone();
        tokio::spawn(async move {
            let tenants: Api<tenantry::api::Tenant> = Api::all(client);
            let events = watcher(tenants, watcher::Config::default()).default_backoff().applied_objects();
            let taken = events.try_for_each(async |tenant| {
                let mut states = states.lock().unwrap_or_else(PoisonError::into_inner);
                let status = tenant.status.as_ref();
                let release = status.and_then(|status| status.release.as_ref()).map(|release| release.name.clone());
                let before = states.get(&tenant.name_any()).filter(|before: &&State| before.release == release);
                let state = State {
                    generation: tenant.metadata.generation.unwrap_or_default(),
                    observed: status.map_or(-1, |status| status.observed_generation),
                    ready: is_true(tenant.conditions(), READY),
                    version: status.and_then(|status| status.version.clone()),
                    moved: before.map_or_else(Instant::now, |before| before.moved),
                    release,
                };
                states.insert(tenant.name_any(), state);
                Ok(())
            });
            taken.await.expect("the watch of tenants");
        });
        fleet
    }

    fn state(&self, name: &str) -> Option<State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Waits until so many are ready.
    pub async fn all_ready(&self, count: usize) {
        self.all("ready", count, |_| true).await;
    }

    /// Waits until so many are ready with this version.
    pub async fn all_serve(&self, version: &str, count: usize) {
        self.all("serve it", count, |state| state.version.as_deref() == Some(version)).await;
    }

    /// When each of those that have this release was seen to have it first.
    pub fn moves_to(&self, release: &str) -> Vec<Instant> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.values().filter(|state| state.release.as_deref() == Some(release)).map(|state| state.moved).collect()
    }

    async fn all(&self, what: &'static str, count: usize, counts: impl Fn(&State) -> bool) {
        let mut progress = Progress::new(what, count);
        wait_until(&format!("all tenants are {what}"), limit(count), async || {
            let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let ready = states.values().filter(|state| state.ready && state.observed == state.generation && counts(state)).count();
            progress.tell(ready);
            if ready >= count { Ok(()) } else { Err(format!("{ready} of {count} are")) }
        })
        .await;
    }

    /// Waits until the tenant is ready at this generation.
    pub async fn ready_at(&self, name: &str, generation: i64) {
        soon(&format!("{name} is ready again"), Duration::from_secs(120), async || {
            self.state(name).is_some_and(|state| state.ready && state.observed >= generation)
        })
        .await;
    }
}

/// Far longer than so many tenants take.
pub fn limit(tenants: usize) -> Duration {
    Duration::from_secs(120 + 2 * tenants as u64)
}

/// Waits as `wait_until` does, but looks so often that it tells milliseconds.
pub async fn soon(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !look().await {
        assert!(started.elapsed() < limit, "after {} s not so: {what}", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Tells from time to time how far a run is.
pub struct Progress {
    what: &'static str,
    count: usize,
    told: Instant,
}

impl Progress {
    pub fn new(what: &'static str, count: usize) -> Self {
        Self { what, count, told: Instant::now() }
    }

    pub fn tell(&mut self, done: usize) {
        if self.told.elapsed() > TELL_EVERY {
            eprintln!("  {done} of {} {}", self.count, self.what);
            self.told = Instant::now();
        }
    }
}

/// How many objects of each kind belong to tenants.
pub async fn objects(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for kind in Kind::WATCHED.iter().chain([&Kind::SECRET]) {
        let found = world.list(&kind.kind, None, "app.kubernetes.io/managed-by=tenantry").await.len();
        if found > 0 {
            counts.insert(kind.kind.to_string(), found);
        }
    }
    counts
}
