//! The database servers: connections by name, what each said last, and their status.

use super::context::Context;
use crate::api::conditions::{self, Verdict};
use crate::api::database_server::{DatabaseServerStatus, TlsMode as ApiTlsMode};
use crate::api::{DatabaseServer, labels};
use crate::database::{Address, DatabaseError, Server, TlsMode};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often servers are looked at although nothing changed.
const EVERY: Duration = Duration::from_secs(180);
/// How often servers that don't answer are.
const EVERY_WHILE_DOWN: Duration = Duration::from_secs(5);

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

/// Connections by the DatabaseServer's name.
#[derive(Default)]
pub struct Servers {
    known: Mutex<HashMap<String, Reachable>>,
    /// Tenants that are about to be placed, so that two at once don't take the same last place.
    pub reserved: Mutex<HashMap<String, String>>,
    down: Mutex<HashSet<String>>,
    wake: Notify,
}

impl Servers {
    /// Its manifest changed, so it is looked at anew.
    pub fn changed(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.wake.notify_one();
    }

    /// Whether it answered when it was asked last.
    pub fn is_up(&self, name: &str) -> bool {
        !self.down.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// The server, by the login that the admin Secret holds.
    ///
    /// # Errors
    /// Where the Secret can't be used.
    pub async fn reach(&self, context: &Context, server: &DatabaseServer) -> Result<Reachable, ServerError> {
        let name = server.name_any();
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(known.clone());
        }
        let (address, authority) = address(context, server).await?;
        let reachable = Reachable { server: Server::new(address), authority };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, reachable.clone());
        Ok(reachable)
    }
}

async fn address(context: &Context, server: &DatabaseServer) -> Result<(Address, Option<Vec<u8>>), ServerError> {
    let namespace = &context.configuration.settings.namespace;
    let name = &server.spec.admin_secret.name;
    let wrong =
        |cause: String| ServerError::AdminSecret { server: server.name_any(), namespace: namespace.clone(), name: name.clone(), cause };
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secret = secrets.get_opt(name).await.map_err(|error| wrong(format!("can't be read: {error}")))?;
    let data = secret.ok_or_else(|| wrong("doesn't exist: create it with the keys username and password".into()))?.data.unwrap_or_default();
    let text = |key: &str| {
        let value = data.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
        value.map(|value| value.trim_end_matches('\n').to_owned()).ok_or_else(|| wrong(format!("has no key {key}")))
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

/// Looks at all servers when one changed, and every few minutes.
pub async fn keep_checking(context: Arc<Context>) {
    loop {
        let started = Instant::now();
        if let Some(stores) = context.stores.get() {
            for server in stores.servers.state() {
                check(&context, &server).await;
            }
        }
        let any_down = !context.servers.down.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let every = if any_down { EVERY_WHILE_DOWN } else { EVERY };
        let _ = tokio::time::timeout_at((started + every).into(), context.servers.wake.notified()).await;
    }
}

async fn check(context: &Context, server: &DatabaseServer) {
    let name = server.name_any();
    let outcome = match context.servers.reach(context, server).await {
        Ok(reachable) => reachable.server.check().await.map_err(ServerError::from),
        Err(error) => Err(error),
    };
    let was_up = context.servers.is_up(&name);
    {
        let mut down = context.servers.down.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(_) => down.remove(&name),
            Err(_) => down.insert(name.clone()),
        };
    }
    if outcome.is_err() {
        // The Secret may be mended without the manifest changing.
        context.servers.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    }
    if !was_up
        && outcome.is_ok()
        && let Some(stores) = context.stores.get()
    {
        for tenant in stores.tenants.state() {
            context.queue.push(&tenant.name_any(), super::queue::Urgency::Change);
        }
    }
    let verdict = match &outcome {
        Ok(_) => Verdict::new(conditions::READY, true, "Reachable", "the operator can work there"),
        Err(ServerError::Database(error)) => Verdict::new(conditions::READY, false, error.reason(), error.to_string()),
        Err(error) => Verdict::new(conditions::READY, false, "AdminSecretUnusable", error.to_string()),
    };
    let before = server.status.clone().unwrap_or_default();
    let generation = server.metadata.generation.unwrap_or_default();
    let now = Time(jiff::Timestamp::now());
    let status = DatabaseServerStatus {
        observed_generation: generation,
        server_version: outcome.ok().map(|facts| facts.version).or(before.server_version.clone()),
        tenants: u32::try_from(placed(context, &name)).unwrap_or(u32::MAX),
        conditions: conditions::merge(&before.conditions, &[verdict], generation, &now),
    };
    if server.status.as_ref() == Some(&status) {
        return;
    }
    let api: Api<DatabaseServer> = Api::all(context.client.clone());
    let patch = json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "DatabaseServer", "metadata": {"name": name}, "status": status});
    if let Err(error) = api.patch_status(&name, &PatchParams::apply(labels::MANAGER).force(), &Patch::Apply(&patch)).await {
        tracing::warn!(server = name, %error, "the status of a database server can't be written");
    }
}

/// How many tenants are on a server, or about to be.
pub fn placed(context: &Context, server: &str) -> usize {
    let Some(stores) = context.stores.get() else { return 0 };
    let reserved = context.servers.reserved.lock().unwrap_or_else(PoisonError::into_inner);
    let on = |tenant: &crate::api::Tenant| {
        let placed = tenant.status.as_ref().and_then(|status| status.database.as_ref()).map(|database| &database.server);
        placed.or_else(|| reserved.get(&tenant.uid().unwrap_or_default())).is_some_and(|name| name == server)
    };
    stores.tenants.state().iter().filter(|tenant| on(tenant)).count()
}
