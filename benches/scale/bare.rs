//! The bare client: it POSTs the very bytes that the operator POSTs, as the same ServiceAccount and by the same library, runs the same SQL, keeps
//! the same order (the migration after the database, pods after the migration), and waits for the same end. Then it brings all to the next version:
//! a migration Job, and one apply for each Deployment. It writes nothing else, and looks at nothing twice: less can't be done.

use crate::fleet::{self, Progress, limit};
use crate::processes;
use crate::release::NEXT;
use crate::results::BareRun;
use crate::support::{Environment, NAMESPACE, SERVICE_ACCOUNT, World, http_get, wait_until};
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tenantry::api::{Blueprint, DatabaseServer, Plan, Tenant, labels};
use tenantry::database::{Address, Login, Server, TlsMode, generate_password};
use tenantry::instance::render::{self, DatabaseLogin, Object, ObjectKey, Rendered, SecretContent, Serving};
use tenantry::instance::resolve::{Inputs, resolve};
use tenantry::instance::{Instance, Settings};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Makes so many tenants with so many requests in flight, and brings them to the next version if that is asked for.
pub async fn run(tenants: usize, in_flight: usize, releases: bool) -> BareRun {
    let world = World::without_operator().await;
    fleet::install_product();
    let line = Arc::new(Line::new(&world).await);
    let before = processes::cpu_seconds(&[]);
    let own = processes::of(std::process::id()).unwrap_or_default();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        tasks.spawn(work(line.clone()));
    }
    tasks.spawn(watch_jobs(line.clone()));
    tasks.spawn(watch_deployments(line.clone()));
    tasks.spawn(watch_ingresses(line.clone()));
    let creating = fleet::create(&world, fleet::names(tenants), |tenant| line.begin(tenant));
    tokio::join!(creating, line.all_serve(tenants, &mut tasks));
    let seconds = started.elapsed().as_secs_f64();
    let mut cpu = processes::between(&before, &processes::cpu_seconds(&[]));
    cpu.insert("client".to_owned(), processes::of(std::process::id()).unwrap_or_default() - own);
    let objects = fleet::objects(&world).await;
    let release_seconds = if releases { Some(release(&world, &line, &mut tasks).await) } else { None };
    BareRun { tenants, in_flight, seconds, objects, cpu, release_seconds }
}

/// Brings all tenants to the next version, and tells the seconds.
async fn release(world: &World, line: &Arc<Line>, tasks: &mut JoinSet<()>) -> f64 {
    let tenants = Api::<Tenant>::all(world.cluster.client.clone()).list(&ListParams::default()).await.expect("the tenants").items;
    let count = tenants.len();
    line.serving.store(0, Ordering::Relaxed);
    let started = Instant::now();
    tenants.into_iter().for_each(|tenant| line.push(Task::Move(Box::new(tenant))));
    line.all_serve(count, tasks).await;
    started.elapsed().as_secs_f64()
}

/// All that the client knows.
struct Line {
    client: Client,
    database: Server,
    authority: Vec<u8>,
    door: SocketAddr,
    settings: Settings,
    blueprint: Blueprint,
    plan: Plan,
    server: DatabaseServer,
    due: Mutex<VecDeque<Task>>,
    count: Semaphore,
    making: Mutex<HashMap<String, Making>>,
    serving: AtomicUsize,
}

/// What a worker does next.
enum Task {
    /// All up to the migration.
    Begin(Box<Tenant>),
    /// The migration to the next version.
    Move(Box<Tenant>),
    /// All after the migration of the instance in this namespace.
    Finish(String),
}

/// A tenant that doesn't serve what it is to serve yet.
struct Making {
    instance: Instance,
    /// What is written after the migration.
    rest: Vec<Object>,
    /// Whether that is there already, and is changed.
    exists: bool,
    deployments: usize,
    available: HashSet<String>,
    routed: bool,
    asked: bool,
}

impl Line {
    async fn new(world: &World) -> Self {
        let Environment { postgres, door, .. } = world.environment;
        let admin = &world.cluster.client;
        let server: DatabaseServer = Api::all(admin.clone()).get("main").await.expect("the database server");
        let address = Address {
            host: server.spec.host.clone(),
            port: server.spec.port,
            database: server.spec.database.clone(),
            user: postgres.user.clone(),
            password: postgres.password.clone(),
            tls: TlsMode::VerifyFull,
            authority: Some(postgres.authority.clone().into_bytes()),
        };
        Self {
            client: world.environment.client_of(&world.cluster, NAMESPACE, SERVICE_ACCOUNT).await.client,
            database: Server::new(address),
            authority: postgres.authority.clone().into_bytes(),
            door: door.address,
            settings: Settings { namespace: NAMESPACE.to_owned(), service_account: SERVICE_ACCOUNT.to_owned(), extra_kinds: Vec::new() },
            blueprint: Api::all(admin.clone()).get("planner").await.expect("the blueprint"),
            plan: Api::all(admin.clone()).get(fleet::PLAN).await.expect("the plan"),
            server,
            due: Mutex::default(),
            count: Semaphore::new(0),
            making: Mutex::default(),
            serving: AtomicUsize::new(0),
        }
    }

    fn begin(&self, tenant: Tenant) {
        self.push(Task::Begin(Box::new(tenant)));
    }

    fn push(&self, task: Task) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
        self.count.add_permits(1);
    }

    /// What was begun is finished before more is begun.
    fn finish(&self, namespace: String) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).push_front(Task::Finish(namespace));
        self.count.add_permits(1);
    }

    async fn next(&self) -> Task {
        self.count.acquire().await.expect("it is never closed").forget();
        self.due.lock().unwrap_or_else(PoisonError::into_inner).pop_front().expect("one for each permit")
    }

    async fn all_serve(&self, tenants: usize, tasks: &mut JoinSet<()>) {
        let mut progress = Progress::new("serve", tenants);
        wait_until("all tenants serve", limit(tenants), async || {
            while let Some(ended) = tasks.try_join_next() {
                ended.expect("a part of the bare client ended");
            }
            let serving = self.serving.load(Ordering::Relaxed);
            progress.tell(serving);
            if serving == tenants { Ok(()) } else { Err(format!("{serving} of {tenants} do")) }
        })
        .await;
    }

    /// The instance at a version, and all that it is made of then.
    fn draw(&self, tenant: &Tenant, version: Option<&str>) -> (Instance, Rendered) {
        let instance = resolve(&Inputs {
            tenant,
            blueprint_name: &tenant.spec.blueprint,
            blueprint: &self.blueprint.spec,
            version: version.or(tenant.pinned()),
            image: None,
            plan: &self.plan.spec,
            server: Some(&self.server),
            settings: &self.settings,
            now: &Time(jiff::Timestamp::now()),
        })
        .expect("an instance");
        // As long as the operator's own digest of secrets is.
        let configuration = render::configuration_digest(&instance, &["0123456789abcdef"]);
        let serving = Serving { version: instance.version.as_str(), configuration: &configuration };
        let rendered = render::render(&instance, &self.settings, Some(&serving));
        (instance, rendered)
    }

    /// Takes in what was seen of a tenant, and asks it once there is nothing more to wait for.
    fn saw(self: &Arc<Self>, namespace: &str, change: impl FnOnce(&mut Making)) {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tenant) = making.get_mut(namespace) else { return };
        change(tenant);
        if tenant.routed && tenant.available.len() == tenant.deployments && !tenant.asked {
            tenant.asked = true;
            let (line, host) = (self.clone(), tenant.instance.hosts[0].to_string());
            tokio::spawn(async move {
                while !matches!(http_get(line.door, &host, "/healthz").await, Ok((200, _))) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                line.serving.fetch_add(1, Ordering::Relaxed);
            });
        }
    }
}

/// One request in flight at a time.
async fn work(line: Arc<Line>) {
    loop {
        match line.next().await {
            Task::Begin(tenant) => begin(&line, &tenant).await,
            Task::Move(tenant) => begin_move(&line, &tenant).await,
            Task::Finish(namespace) => {
                let (rest, exists) = {
                    let mut making = line.making.lock().unwrap_or_else(PoisonError::into_inner);
                    making.get_mut(&namespace).map(|tenant| (std::mem::take(&mut tenant.rest), tenant.exists)).unwrap_or_default()
                };
                for object in rest {
                    if exists { change(&line.client, object).await } else { post(&line.client, object).await }
                }
            }
        }
    }
}

async fn begin(line: &Line, tenant: &Tenant) {
    let (instance, rendered) = line.draw(tenant, None);
    let database = instance.database.as_ref().expect("a database");
    let login = Login { name: instance.name.database_login(1), password: generate_password() };
    let secrets = secrets(line, &instance, &login);
    let desired = database.desired(&instance, login, false);

    let first = [&rendered.namespace, &rendered.access].into_iter().chain(&rendered.foundation).map(marked);
    for object in first.chain(secrets) {
        post(&line.client, object).await;
    }
    line.database.ensure(&desired).await.unwrap_or_else(|error| panic!("the database of {}: {error}", database.owner));
    let rest = rendered.workloads.iter().chain(&rendered.routes).map(marked).collect();
    migrate(line, instance, &rendered, rest, false).await;
}

/// Only what the version changes is written.
async fn begin_move(line: &Line, tenant: &Tenant) {
    let ((_, before), (instance, rendered)) = (line.draw(tenant, None), line.draw(tenant, Some(NEXT)));
    let changed = rendered.workloads.iter().filter(|object| !before.workloads.iter().any(|known| known.digest() == object.digest()));
    let rest = changed.map(marked).collect();
    migrate(line, instance, &rendered, rest, true).await;
}

/// What comes after the migration is known before the migration can be done.
async fn migrate(line: &Line, instance: Instance, rendered: &Rendered, rest: Vec<Object>, exists: bool) {
    let (job, namespace) = (rendered.migration.as_ref().map(marked).expect("a migration"), instance.namespace.clone());
    let making =
        Making { rest, exists, deployments: instance.components.len(), available: HashSet::new(), routed: exists, asked: false, instance };
    line.making.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace, making);
    post(&line.client, job).await;
}

/// With the operator's digest, so that the bytes are the same.
fn marked(object: &Object) -> Object {
    object.clone().annotated(labels::APPLIED, &object.digest())
}

fn secrets(line: &Line, instance: &Instance, login: &Login) -> [Object; 2] {
    let generated = instance.generated_secrets.iter().map(|secret| (secret.env.clone(), vec![b'x'; secret.generate.length as usize]));
    let login = DatabaseLogin {
        username: login.name.clone(),
        password: login.password.clone(),
        authority: Some(line.authority.clone()),
        rotation: None,
    };
    [
        render::generated_secret(instance, &SecretContent(generated.collect::<BTreeMap<_, _>>())),
        render::database_secret(instance, instance.database.as_ref().expect("a database"), &login),
    ]
}

async fn post(client: &Client, Object { key, mut content, starting_replicas }: Object) {
    if let Some(replicas) = starting_replicas {
        content["spec"]["replicas"] = replicas.into();
    }
    let api = api(client, &key);
    let object = serde_json::from_value(content).expect("an object");
    let parameters = PostParams { field_manager: Some(labels::MANAGER.to_owned()), ..Default::default() };
    loop {
        match api.create(&parameters, &object).await {
            Ok(_) => return,
            // The API server doesn't know of the RoleBinding yet.
            Err(kube::Error::Api(status)) if status.code == 403 => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{key}: {error}"),
        }
    }
}

async fn change(client: &Client, Object { key, content, .. }: Object) {
    let parameters = PatchParams::apply(labels::MANAGER).force();
    api(client, &key).patch(&key.name, &parameters, &Patch::Apply(&content)).await.unwrap_or_else(|error| panic!("{key}: {error}"));
}

fn api(client: &Client, key: &ObjectKey) -> Api<DynamicObject> {
    let resource = key.kind.api_resource();
    match &key.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

async fn watch_jobs(line: Arc<Line>) {
    let mut done = HashSet::new();
    watch(&line, |job: Job| {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let complete = conditions.iter().any(|condition| condition.type_ == "Complete" && condition.status == "True");
        let namespace = job.namespace().unwrap_or_default();
        if complete && done.insert((namespace.clone(), job.name_any())) {
            line.finish(namespace);
        }
    })
    .await;
}

async fn watch_deployments(line: Arc<Line>) {
    watch(&line, |deployment: Deployment| {
        let status = deployment.status.clone().unwrap_or_default();
        let wanted = deployment.spec.replicas.unwrap_or(1);
        let is_current = status.observed_generation >= deployment.metadata.generation;
        let pods = deployment.spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
        let version = pods.and_then(|pods| pods.get(labels::APP_VERSION)).cloned();
        let (updated, available) = (status.updated_replicas.unwrap_or_default(), status.available_replicas.unwrap_or_default());
        if is_current && updated >= wanted && available >= wanted && status.replicas.unwrap_or_default() <= updated {
            line.saw(&deployment.namespace().unwrap_or_default(), |tenant| {
                if version.as_deref() == Some(tenant.instance.version.as_str()) {
                    tenant.available.insert(deployment.name_any());
                }
            });
        }
    })
    .await;
}

async fn watch_ingresses(line: Arc<Line>) {
    watch(&line, |ingress: Ingress| {
        let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        if balancer.and_then(|balancer| balancer.ingress.as_ref()).is_some_and(|addresses| !addresses.is_empty()) {
            line.saw(&ingress.namespace().unwrap_or_default(), |tenant| tenant.routed = true);
        }
    })
    .await;
}

async fn watch<K>(line: &Line, mut see: impl FnMut(K) + Send)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let events = watcher(Api::<K>::all(line.client.clone()), watcher::Config::default().labels(&ours)).default_backoff();
    let mut events = std::pin::pin!(events.applied_objects());
    while let Some(object) = events.try_next().await.expect("the watch goes on") {
        see(object);
    }
}
