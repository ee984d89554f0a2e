//! The database servers: connections by name, a look at each every few minutes, and their status.

use super::context::Context;
use super::own::{Meant, apply_status, if_still_there};
use super::queue::Urgency;
use crate::api::conditions::{self, Verdict};
use crate::api::database_server::{DatabaseServerStatus, TlsMode as ApiTlsMode};
use crate::api::{DatabaseServer, labels};
use crate::database::{Address, DatabaseError, DryRun, Server, ServerFacts, TlsMode};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How often a server is looked at although nothing changed, at most.
const EVERY: Duration = Duration::from_secs(240);
/// How often one that doesn't answer is.
const EVERY_WHILE_DOWN: Duration = Duration::from_secs(5);
/// News are gathered for so long: a hundred tenants placed at once are one write of a server's status.
const GATHER: Duration = Duration::from_secs(2);

/// Why a server can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The admin Secret isn't usable.
    #[error("Secret {namespace}/{name}, which DatabaseServer {server} names as adminSecret, {cause}")]
    AdminSecret {
        /// The DatabaseServer.
        server: String,
        /// The operator's namespace.
        namespace: String,
        /// The Secret.
        name: String,
        /// What is wrong.
        cause: String,
    },
    /// The server itself.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// A server and the authority that its certificate is signed by.
#[derive(Clone)]
pub struct Reachable {
    /// The server.
    pub server: Server,
    /// PEM, where it isn't a public one.
    pub authority: Option<Vec<u8>>,
}

/// All servers, by the DatabaseServer's name.
#[derive(Default)]
pub struct Servers {
    inner: Mutex<Inner>,
    /// Woken when there is news for [`keep_checking`].
    news: Notify,
    /// Where nothing may be changed, what would be is noted there.
    dry_run: Option<Arc<DryRun>>,
}

#[derive(Default)]
struct Inner {
    known: HashMap<String, Reachable>,
    down: HashSet<String>,
    /// Servers that answer, and on which the operator lacks a right: tenants that are there need none of it, others can't come.
    closed: HashSet<String>,
    /// Servers to look at now.
    look: HashSet<String>,
    /// Servers whose tenants have to be counted anew.
    recount: HashSet<String>,
    /// Statements sent by connections that were given up since.
    statements: HashMap<String, u64>,
}

impl Inner {
    fn give_up(&mut self, name: &str) {
        if let Some(known) = self.known.remove(name) {
            *self.statements.entry(name.to_owned()).or_default() += known.server.statements();
        }
    }
}

impl Servers {
    /// Servers on which nothing is changed.
    pub fn in_dry_run(dry_run: Arc<DryRun>) -> Self {
        Self { dry_run: Some(dry_run), ..Self::default() }
    }

    /// Its manifest changed, so it is looked at anew.
    pub fn changed(&self, name: &str) {
        let mut inner = self.lock();
        inner.give_up(name);
        inner.look.insert(name.to_owned());
        self.news.notify_one();
    }

    /// All its tenants' databases are to be looked at soon.
    pub fn look_soon(&self, name: &str) {
        self.lock().look.insert(name.to_owned());
        self.news.notify_one();
    }

    /// A tenant came or went.
    pub fn recount(&self, name: &str) {
        self.lock().recount.insert(name.to_owned());
        self.news.notify_one();
    }

    /// Whether it answered when it was asked last.
    pub fn is_up(&self, name: &str) -> bool {
        !self.lock().down.contains(name)
    }

    /// Whether a tenant can come to it.
    pub fn takes_tenants(&self, name: &str) -> bool {
        let inner = self.lock();
        !inner.down.contains(name) && !inner.closed.contains(name)
    }

    /// Statements sent to each since the start.
    pub fn statements(&self) -> Vec<(String, u64)> {
        let inner = self.lock();
        let mut statements = inner.statements.clone();
        for (name, known) in &inner.known {
            *statements.entry(name.clone()).or_default() += known.server.statements();
        }
        statements.into_iter().collect()
    }

    /// The server, by the login that the admin Secret holds.
    ///
    /// # Errors
    /// Where the Secret can't be used.
    pub async fn reach(&self, context: &Context, server: &DatabaseServer) -> Result<Reachable, ServerError> {
        let name = server.name_any();
        if let Some(known) = self.lock().known.get(&name) {
            return Ok(known.clone());
        }
        let (address, authority) = address(context, server).await?;
        let server = Server::new(address);
        let server = match &self.dry_run {
            Some(dry_run) => server.in_dry_run(dry_run.clone()),
            None => server,
        };
        let reachable = Reachable { server, authority };
        Ok(self.lock().known.entry(name).or_insert(reachable).clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn address(context: &Context, server: &DatabaseServer) -> Result<(Address, Option<Vec<u8>>), ServerError> {
    let namespace = &context.configuration.settings.namespace;
    let name = &server.spec.admin_secret.name;
    let wrong =
        |cause: String| ServerError::AdminSecret { server: server.name_any(), namespace: namespace.clone(), name: name.clone(), cause };
    let secrets: Api<Secret> = Api::namespaced(context.reader.clone(), namespace);
    let secret = secrets.get_opt(name).await.map_err(|error| wrong(format!("can't be read: {error}")))?;
    let data = secret.ok_or_else(|| wrong("doesn't exist: create it with the keys username and password".into()))?.data.unwrap_or_default();
    let text = |key: &str| {
        let value = data.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
        value.map(|value| value.trim_end_matches('\n').to_owned()).ok_or_else(|| wrong(format!("has no key {key}: add it")))
    };
    let authority = data.get("ca.crt").map(|value| value.0.clone());
    let address = Address {
        host: server.spec.host.clone(),
        port: server.spec.port,
        database: server.spec.database.clone(),
        user: text("username")?,
        password: text("password")?,
        tls: match server.spec.tls.mode {
            ApiTlsMode::VerifyFull => TlsMode::VerifyFull,
            ApiTlsMode::Require => TlsMode::Require,
            ApiTlsMode::Disable => TlsMode::Disable,
        },
        authority: authority.clone(),
    };
    Ok((address, authority))
}

/// Looks at each server when it changed and every few minutes, each in a task of its own, so that one that doesn't answer delays no other.
pub async fn keep_checking(context: Arc<Context>) {
    let mut tasks: HashMap<String, Arc<Notify>> = HashMap::new();
    let mut running = JoinSet::new();
    loop {
        let names: HashSet<_> = context.stores.servers.state().iter().map(|server| server.name_any()).collect();
        tasks.retain(|name, wake| {
            let exists = names.contains(name);
            if !exists {
                wake.notify_one();
            }
            exists
        });
        for name in names {
            let wake = tasks.entry(name.clone()).or_insert_with(|| {
                let wake = Arc::new(Notify::new());
                running.spawn(keep_checking_one(context.clone(), name.clone(), wake.clone()));
                wake
            });
            let inner = context.servers.lock();
            if inner.look.contains(&name) || inner.recount.contains(&name) {
                wake.notify_one();
            }
        }
        while running.try_join_next().is_some() {}
        context.servers.news.notified().await;
    }
}

/// Looks at one server until its manifest is gone.
async fn keep_checking_one(context: Arc<Context>, name: String, wake: Arc<Notify>) {
    let mut last = Outcome::default();
    let mut due = tokio::time::Instant::now();
    loop {
        let Some(server) = context.stores.servers.get(&ObjectRef::new(&name)) else {
            let mut inner = context.servers.lock();
            inner.give_up(&name);
            inner.down.remove(&name);
            inner.closed.remove(&name);
            return;
        };
        let look = {
            let mut inner = context.servers.lock();
            inner.recount.remove(&name);
            inner.look.remove(&name)
        };
        if look || tokio::time::Instant::now() >= due {
            last = check(&context, &server).await;
            let every = if last.is_ready() { EVERY.mul_f32(rand::random_range(0.75..=1.0)) } else { EVERY_WHILE_DOWN };
            due = tokio::time::Instant::now() + every;
        }
        publish(&context, &server, &last).await;
        if tokio::time::timeout_at(due, wake.notified()).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// What a look at a server found.
#[derive(Default)]
struct Outcome {
    version: Option<String>,
    verdict: Option<Verdict>,
    /// Whether it answered, whatever it said.
    is_up: bool,
}

impl Outcome {
    fn new(result: &Result<ServerFacts, ServerError>) -> Self {
        let verdict = match result {
            Ok(_) => Verdict::new(conditions::READY, true, "Reachable", "the operator can work there"),
            Err(ServerError::Database(error)) => Verdict::new(conditions::READY, false, error.reason(), error.to_string()),
            Err(error) => Verdict::new(conditions::READY, false, "AdminSecretUnusable", error.to_string()),
        };
        let is_up = matches!(result, Ok(_) | Err(ServerError::Database(DatabaseError::NeedsAdmin { .. })));
        Self { version: result.as_ref().ok().map(|facts| facts.version.clone()), verdict: Some(verdict), is_up }
    }

    /// Whether the operator can do there what each tenant takes.
    fn is_ready(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.status == Some(true))
    }
}

/// Asks the server what it is and how its tenants' databases are, and wakes the tenants whom the answer concerns.
async fn check(context: &Context, server: &DatabaseServer) -> Outcome {
    let name = server.name_any();
    let result = look(context, server).await;
    let outcome = Outcome::new(&result);
    let (was_up, took_tenants) = {
        let mut inner = context.servers.lock();
        let (was_down, was_closed) = (inner.down.remove(&name), inner.closed.remove(&name));
        if !outcome.is_up {
            inner.down.insert(name.clone());
            // The Secret may be mended without the manifest changing.
            inner.give_up(&name);
        } else if !outcome.is_ready() {
            inner.closed.insert(name.clone());
        }
        (!was_down, !was_down && !was_closed)
    };
    if let Err(error) = &result {
        tracing::warn!(server = name, %error, "a database server can't be used");
    }
    if was_up && !outcome.is_up {
        for known in context.memory.databases_on(&name) {
            context.memory.doubt_database(&known.desired.uid);
            context.queue.push(&known.desired.tenant, Urgency::Change);
        }
    }
    if !took_tenants && outcome.is_ready() {
        tracing::info!(server = name, "a database server can be used again");
        for tenant in context.stores.tenants.state() {
            if context.placements.of(&tenant.uid().unwrap_or_default()).is_none_or(|server| server == name) {
                context.grant_soon(&tenant.name_any());
                context.queue.push(&tenant.name_any(), Urgency::Change);
            }
        }
    }
    outcome
}

/// One look for all tenants of this process: whoever's database isn't as it should be is woken to mend it, or to say why it can't.
async fn look(context: &Context, server: &DatabaseServer) -> Result<ServerFacts, ServerError> {
    let name = server.name_any();
    let reachable = context.servers.reach(context, server).await?;
    let facts = reachable.server.check().await?;
    let known = context.memory.databases_on(&name);
    if known.is_empty() {
        return Ok(facts);
    }
    let desired: Vec<_> = known.iter().map(|known| known.desired.clone()).collect();
    let found = reachable.server.verify(&desired).await?;
    for known in &known {
        let differs = match found.get(&known.desired.owner) {
            Some(Ok(changes)) if changes.is_empty() => continue,
            Some(Ok(changes)) => changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Some(Err(error)) => error.to_string(),
            None => continue,
        };
        tracing::warn!(tenant = known.desired.tenant, server = name, differs, "a tenant's database isn't as it should be");
        context.memory.doubt_database(&known.desired.uid);
        context.queue.push(&known.desired.tenant, Urgency::Change);
    }
    Ok(facts)
}

/// Writes the status where it differs from what is there. One process does it for all.
async fn publish(context: &Context, server: &DatabaseServer, outcome: &Outcome) {
    let (Some(verdict), Some(coordinator)) = (outcome.verdict.clone(), context.holdings.coordinator()) else { return };
    let name = server.name_any();
    // The store is a moment behind the answer to our last write, but a moment later it isn't.
    let before = server.status.clone().unwrap_or_default();
    let generation = server.metadata.generation.unwrap_or_default();
    let now = Time(jiff::Timestamp::now());
    let own: Vec<_> = before.conditions.iter().filter(|condition| condition.type_ == conditions::READY).cloned().collect();
    let status = DatabaseServerStatus {
        observed_generation: generation,
        server_version: outcome.version.clone().or(before.server_version.clone()),
        tenants: context.placements.count(&name),
        conditions: conditions::merge(&own, &[verdict], generation, &now),
    };
    let is_so = own == status.conditions
        && (before.observed_generation, &before.server_version, before.tenants)
            == (status.observed_generation, &status.server_version, status.tenants);
    if is_so {
        return;
    }
    let written = apply_status(&coordinator.client, server, Meant::ThisOne, labels::MANAGER, status).await;
    if let Err(error) = if_still_there(written) {
        tracing::warn!(server = name, %error, "the status of a database server can't be written");
    }
}
