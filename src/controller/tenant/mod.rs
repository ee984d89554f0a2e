//! One pass over one tenant: from its manifest to a whole instance, or to the sentence that says what is in the way.

mod assess;
mod delete;
mod migrate;
mod probe;
mod secrets;
mod status;

use super::apply::{Applier, ApplyError};
use super::context::Context;
use super::inventory::Objects;
use super::servers::{self, ServerError};
use crate::api::conditions;
use crate::api::tenant::{DatabaseStatus, MigrationStatus};
use crate::api::{DatabaseServer, Tenant, labels};
use crate::database::{DatabaseError, DesiredDatabase};
use crate::instance::placement::{self, Candidate};
use crate::instance::render::{self, Kind, Object, ObjectKey, Rendered, Serving};
use crate::instance::resolve::{Inputs, hosts, resolve};
use crate::instance::{Database, Instance};
use assess::{Assessment, Step, Stop};
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a database in which nothing changed is verified.
const VERIFY_EVERY: Duration = Duration::from_secs(300);
/// How often what Kubernetes tells us no news of is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Writes of one tenant at once.
const CONCURRENT_WRITES: usize = 8;

/// Why a pass has to be made again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// An object.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The API server.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// The database.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// What is remembered of tenants between passes; all of it can be found out again.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, Remembered>>);

/// What is remembered of one tenant.
#[derive(Clone, Default)]
pub struct Remembered {
    /// When its database was found to be as it should, and what that was.
    verified: Option<(Instant, String)>,
    /// Its secrets, as digests.
    secrets: Option<secrets::Known>,
    /// The last answer to its check.
    probe: Option<probe::Answer>,
}

impl Memory {
    fn of(&self, uid: &str) -> Remembered {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
    }

    fn update(&self, uid: &str, change: impl FnOnce(&mut Remembered)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(uid.to_owned()).or_default());
    }

    fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Makes one pass and tells when the next is due, if nothing changes before.
///
/// # Errors
/// Where it is worth trying again soon.
pub async fn reconcile(context: &Context, name: &str) -> Result<Option<Duration>, ReconcileError> {
    let Some(stores) = context.stores.get() else { return Ok(Some(Duration::from_secs(1))) };
    let Some(tenant) = stores.tenants.get(&ObjectRef::new(name)) else { return Ok(None) };
    if tenant.metadata.deletion_timestamp.is_some() {
        return delete::delete(context, &tenant).await;
    }
    if !tenant.finalizers().iter().any(|finalizer| finalizer == labels::TENANT_FINALIZER) {
        add_finalizer(context, &tenant).await?;
    }
    let mut assessment = Assessment::new(&tenant);
    let result = Pass { context, tenant: &tenant, objects: context.inventory.of(name) }.run(&mut assessment).await;
    let failed = match result {
        Ok(()) => None,
        Err(stop) => {
            let failed = stop.retry().then(|| stop.to_string());
            assessment.stop(stop);
            failed
        }
    };
    status::write(context, &tenant, &assessment).await?;
    match failed {
        Some(message) => Err(ReconcileError::Kube(kube::Error::Service(message.into()))),
        None => Ok(Some(next_look(&assessment, &tenant))),
    }
}

fn next_look(assessment: &Assessment, tenant: &Tenant) -> Duration {
    let check = assessment.look_again.unwrap_or(LOOK_AGAIN);
    let trial = tenant.spec.expires_at.as_ref().map(|end| end.0.duration_since(jiff::Timestamp::now()));
    match trial.and_then(|left| Duration::try_from(left).ok()) {
        Some(left) if !left.is_zero() => check.min(left + Duration::from_millis(10)),
        _ => check,
    }
}

async fn add_finalizer(context: &Context, tenant: &Tenant) -> Result<(), kube::Error> {
    let mut finalizers = tenant.finalizers().to_vec();
    finalizers.push(labels::TENANT_FINALIZER.to_owned());
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": tenant.resource_version()}});
    let api: Api<Tenant> = Api::all(context.client.clone());
    api.patch(&tenant.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| ())
}

/// One pass over one tenant.
struct Pass<'a> {
    context: &'a Context,
    tenant: &'a Tenant,
    objects: Objects,
}

impl Pass<'_> {
    async fn run(&self, assessment: &mut Assessment) -> Result<(), Stop> {
        let (context, tenant) = (self.context, self.tenant);
        let uid = tenant.uid().unwrap_or_default();
        let settings = &context.configuration.settings;
        let now = Time(jiff::Timestamp::now());
        let Some(stores) = context.stores.get() else { return Ok(()) };
        let blueprint = stores
            .blueprints
            .get(&ObjectRef::new(&tenant.spec.blueprint))
            .ok_or_else(|| Stop::missing("Blueprint", &tenant.spec.blueprint))?;
        let plan = stores.plans.get(&ObjectRef::new(&tenant.spec.plan)).ok_or_else(|| Stop::missing("Plan", &tenant.spec.plan))?;
        self.claim_hosts(&blueprint.spec.base_domain)?;
        let server = if blueprint.spec.database.is_some() { Some(self.place().await?) } else { None };
        let instance = resolve(&Inputs {
            tenant,
            blueprint_name: &tenant.spec.blueprint,
            blueprint: &blueprint.spec,
            plan: &plan.spec,
            server: server.as_deref(),
            settings,
            now: &now,
        })?;
        assessment.instance(&instance);
        let applier = Applier { client: &context.client, inventory: &context.inventory, uid: &uid };

        let rendered = render::render(&instance, settings, None);
        self.apply(&applier, &rendered.namespace).await?;
        self.apply(&applier, &rendered.access).await?;
        self.apply_all(&applier, &rendered.foundation).await?;

        let secrets = secrets::ensure(context, tenant, &instance, server.as_deref(), &applier).await?;
        if let (Some(database), Some(server)) = (&instance.database, &server) {
            self.database(&uid, &instance, database, server, &secrets).await?;
            assessment.database(database);
        }
        let migrated = migrate::migrate(self, &applier, &instance, &rendered, assessment).await?;

        let version =
            if migrated { Some(instance.version.to_string()) } else { tenant.status.as_ref().and_then(|status| status.version.clone()) };
        let configuration = render::configuration_digest(&instance, &secrets.digests());
        let serving = version.as_deref().map(|version| Serving { version, configuration: &configuration });
        let rendered = render::render(&instance, settings, serving.as_ref());
        self.apply_all(&applier, &rendered.workloads).await?;
        self.apply_all(&applier, &rendered.routes).await?;
        self.prune(&applier, &rendered).await?;

        let objects = context.inventory.of(&tenant.name_any());
        assessment.workloads(&rendered, &objects, migrated.then_some(instance.version.as_str()));
        assessment.routes(&rendered, &objects, &instance);
        probe::probe(context, &instance, assessment).await;
        self.retire(&uid, &instance, server.as_deref(), &secrets, assessment).await;
        Ok(())
    }

    async fn apply(&self, applier: &Applier<'_>, object: &Object) -> Result<(), Stop> {
        if applier.apply(object, self.objects.get(&object.key)).await? {
            self.context.metrics.wrote();
            tracing::debug!(tenant = self.tenant.name_any(), object = %object.key, "written");
        }
        Ok(())
    }

    async fn apply_all(&self, applier: &Applier<'_>, objects: &[Object]) -> Result<(), Stop> {
        let writes: Vec<_> = objects.iter().map(|object| self.apply(applier, object)).collect();
        stream::iter(writes).buffer_unordered(CONCURRENT_WRITES).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    /// Deletes what is this tenant's and no longer wanted. Jobs of other migrations go once the wanted one is done.
    async fn prune(&self, applier: &Applier<'_>, rendered: &Rendered) -> Result<(), Stop> {
        let wanted: BTreeSet<&ObjectKey> = rendered.all().map(|object| &object.key).collect();
        for (key, observed) in &self.context.inventory.of(&self.tenant.name_any()) {
            let ours = observed.owner.as_deref() == Some(applier.uid) && !observed.deleting;
            let wanted = wanted.contains(key) || (key.kind == Kind::JOB && rendered.migration.is_none());
            if ours && !wanted {
                applier.delete(key, observed).await?;
                self.context.metrics.wrote();
            }
        }
        Ok(())
    }

    /// The older of two tenants keeps a host that both claim.
    fn claim_hosts(&self, base_domain: &str) -> Result<(), Stop> {
        let Some(stores) = self.context.stores.get() else { return Ok(()) };
        let mine: BTreeSet<_> = hosts(self.tenant, base_domain)?.into_iter().collect();
        let age = |tenant: &Tenant| (tenant.metadata.creation_timestamp.as_ref().map(|time| time.0), tenant.uid());
        for other in stores.tenants.state() {
            if other.uid() == self.tenant.uid() || age(&other) > age(self.tenant) {
                continue;
            }
            let Some(blueprint) = stores.blueprints.get(&ObjectRef::new(&other.spec.blueprint)) else { continue };
            let theirs = hosts(&other, &blueprint.spec.base_domain).unwrap_or_default();
            if let Some(host) = theirs.into_iter().find(|host| mine.contains(host)) {
                return Err(Stop::stalled(
                    "HostConflict",
                    format!("the host {host} belongs to the older tenant {}: take it out of one of the two", other.name_any()),
                ));
            }
        }
        Ok(())
    }

    /// The server that the tenant is on, or now comes to.
    async fn place(&self) -> Result<Arc<DatabaseServer>, Stop> {
        let Some(stores) = self.context.stores.get() else { return Err(Stop::missing("DatabaseServer", "")) };
        let uid = self.tenant.uid().unwrap_or_default();
        let placed = match self.tenant.status.as_ref().and_then(|status| status.database.as_ref()) {
            Some(database) => Some(database.server.clone()),
            None => self.placed_by_secret().await?,
        };
        if let Some(name) = placed {
            return stores.servers.get(&ObjectRef::new(&name)).ok_or_else(|| Stop::missing("DatabaseServer", &name));
        }
        let servers = stores.servers.state();
        let names: Vec<_> = servers.iter().map(|server| server.name_any()).collect();
        let candidates: Vec<_> = servers
            .iter()
            .zip(&names)
            .map(|(server, name)| Candidate {
                name,
                region: server.spec.region.as_deref(),
                capacity: server.spec.capacity.tenants,
                tenants: u32::try_from(servers::placed(self.context, name)).unwrap_or(u32::MAX),
                reachable: self.context.servers.is_up(name),
            })
            .collect();
        let reserved = self.context.servers.reserved.lock().unwrap_or_else(PoisonError::into_inner).get(&uid).cloned();
        let name = match reserved {
            Some(name) => name,
            None => placement::choose(&candidates, self.tenant.spec.region.as_deref())?.to_owned(),
        };
        self.context.servers.reserved.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, name.clone());
        stores.servers.get(&ObjectRef::new(&name)).ok_or_else(|| Stop::missing("DatabaseServer", &name))
    }

    /// The Secret remembers the server even if the status was lost, as after a restore of the cluster.
    async fn placed_by_secret(&self) -> Result<Option<String>, Stop> {
        if !self.objects.keys().any(|key| key.kind == Kind::ROLE_BINDING) {
            return Ok(None);
        }
        let api: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(
            self.context.client.clone(),
            &format!("{}{}", crate::instance::names::NAMESPACE_PREFIX, self.tenant.name_any()),
        );
        let secret = api.get_opt(render::DATABASE_SECRET).await?;
        Ok(secret.and_then(|secret| secret.annotations().get(labels::DATABASE_SERVER).cloned()))
    }

    async fn database(
        &self,
        uid: &str,
        instance: &Instance,
        database: &Database,
        server: &DatabaseServer,
        secrets: &secrets::Known,
    ) -> Result<(), Stop> {
        let Some(login) = &secrets.login else { return Ok(()) };
        let desired = desired_database(uid, instance, database, login);
        let digest = crate::instance::digest::of(&format!("{:?} {}", desired, login.fingerprint()));
        let fresh = |(at, known): &(Instant, String)| *known == digest && at.elapsed() < VERIFY_EVERY;
        if self.context.memory.of(uid).verified.as_ref().is_some_and(fresh) {
            return Ok(());
        }
        let reachable = self.context.servers.reach(self.context, server).await?;
        let changes = reachable.server.ensure(&desired).await?;
        for change in &changes {
            tracing::info!(tenant = instance.name.as_str(), %change, "database changed");
        }
        self.context.memory.update(uid, |memory| memory.verified = Some((Instant::now(), digest)));
        Ok(())
    }

    /// Drops logins of before a rotation once nobody uses them. Nothing waits for it.
    async fn retire(
        &self,
        uid: &str,
        instance: &Instance,
        server: Option<&DatabaseServer>,
        secrets: &secrets::Known,
        assessment: &mut Assessment,
    ) {
        let (Some(database), Some(server), Some(login)) = (&instance.database, server, &secrets.login) else { return };
        if !secrets.rotating || !assessment.is_true(conditions::AVAILABLE) {
            return;
        }
        let Ok(reachable) = self.context.servers.reach(self.context, server).await else { return };
        match reachable.server.retire_logins(&database.owner, uid, &login.name).await {
            Ok(0) => self.context.memory.update(uid, |memory| {
                if let Some(known) = &mut memory.secrets {
                    known.rotating = false;
                }
            }),
            Ok(_) | Err(_) => assessment.look_again_in(Duration::from_secs(10)),
        }
    }
}

fn desired_database(uid: &str, instance: &Instance, database: &Database, login: &crate::database::Login) -> DesiredDatabase {
    let extension = |extension: &crate::api::blueprint::Extension| {
        serde_json::to_value(extension).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    DesiredDatabase {
        tenant: instance.name.to_string(),
        uid: uid.to_owned(),
        owner: database.owner.clone(),
        database: database.name.clone(),
        schema: database.schema.clone(),
        connection_limit: database.limits.connections,
        statement_timeout_seconds: database.limits.statement_timeout_seconds,
        idle_in_transaction_timeout_seconds: database.limits.idle_in_transaction_timeout_seconds,
        extensions: database.extensions.iter().map(extension).collect(),
        login: login.clone(),
        adopt: database.adopt.clone(),
    }
}

/// Where the tenant's data is, for its status.
fn database_status(database: &Database) -> DatabaseStatus {
    DatabaseStatus {
        server: database.server.clone(),
        name: database.name.clone(),
        schema: database.schema.clone(),
        owner: database.owner.clone(),
    }
}

/// A migration that ended well, for the status.
fn migration_status(version: &str, key: &str) -> MigrationStatus {
    MigrationStatus { version: version.to_owned(), key: key.to_owned() }
}

impl From<ServerError> for Stop {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Database(error) => error.into(),
            error => Self::failed(Step::Database, "AdminSecretUnusable", error.to_string()),
        }
    }
}

impl From<DatabaseError> for Stop {
    fn from(error: DatabaseError) -> Self {
        if error.is_retryable() {
            Self::failed(Step::Database, error.reason(), error.to_string())
        } else {
            Self::stalled_at(Step::Database, error.reason(), error.to_string())
        }
    }
}
