//! One pass over one tenant: from its manifest to a whole instance, or to the sentence that says what is in the way.

mod assess;
mod claims;
mod database;
mod delete;
mod dry_run;
mod first_login;
#[cfg(test)]
#[allow(clippy::expect_used, clippy::print_stderr)] // it is a test's: a panic is how a failure is told
#[path = "../../../tests/support/fuzzing.rs"]
mod fuzzing;
mod job;
mod memory;
mod migrate;
mod probe;
mod secrets;
mod status;

pub use dry_run::foresee;
pub use memory::Memory;

use super::apply::{Applier, Written};
use super::context::Context;
use super::holdings::Holding;
use super::releases::{Running, UnknownTarget};
use super::servers::{Reachable, ServerError};
use crate::api::conditions;
use crate::api::tenant::{CurrentRelease, DatabaseStatus, FirstLoginState};
use crate::api::{Blueprint, DatabaseServer, Plan, Tenant, labels};
use crate::database::DatabaseError;
use crate::instance::render::{self, Kind, Object, ObjectKey, Rendered, Serving};
use crate::instance::resolve::{Inputs, resolve};
use crate::instance::{Database, Instance};
use crate::release::windows::{self, Leave};
use assess::{Assessment, ObjectRef, Step, Stop};
use futures::stream::{self, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::core::ClusterResourceScope;
use kube::runtime::reflector;
use kube::{Api, Client, Resource, ResourceExt};
use migrate::Migration;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// How often what Kubernetes tells us no news of is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1200);
/// Writes of one tenant at once.
const CONCURRENT_WRITES: usize = 8;

/// Why a pass has to be made again soon.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// It stopped at something that may pass.
    #[error("{0}")]
    Stopped(Stop),
    /// Something that it names is there, and the watch has yet to bring it.
    #[error("{kind} {name} is there, but no watch has brought it yet")]
    Unseen {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The Tenant itself can't be written.
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

/// Makes one pass and tells when the next is due, if nothing changes before. All that it writes passes the fence of the tenant's shard.
///
/// # Errors
/// Where it is worth trying again soon.
pub async fn reconcile(context: &Context, holding: &Holding, name: &str) -> Result<Option<Duration>, ReconcileError> {
    let Some(tenant) = context.stores.tenants.get(&reflector::ObjectRef::new(name)) else { return Ok(None) };
    let tenant = context.memory.newest(tenant);
    let pass = Pass::new(context, holding, &tenant);
    if tenant.metadata.deletion_timestamp.is_some() {
        return delete::delete(&pass).await;
    }
    if delete::is_due(&tenant, jiff::Timestamp::now()) {
        return delete::begin(&pass).await;
    }
    pass.hold().await?;
    let begun = match pass.begin().await? {
        Begin::AsBefore => None,
        Begin::Moves(tenant) => Some(tenant),
        Begin::Gone => return Ok(None),
    };
    let pass = begun.as_deref().map_or(pass, |tenant| Pass::new(context, holding, tenant));
    let tenant = pass.tenant;
    let mut assessment = Assessment::new(tenant);
    context.memory.answer(&pass.uid, tenant.annotations().get(labels::RECONCILE));
    let stop = pass.run(&mut assessment).await.err();
    if let Some(soon) = pass.is_granted_soon(stop.as_ref()) {
        return Ok(Some(soon));
    }
    if let Some(ObjectRef { kind, name }) = pass.is_yet_to_be_seen(stop.as_ref()).await {
        return Err(ReconcileError::Unseen { kind, name });
    }
    if let Some(stop) = &stop {
        pass.look_at_what_runs(&mut assessment);
        assessment.stop(stop.clone());
    }
    if let Some(held_back) = status::write(&pass, &assessment).await? {
        assessment.look_again_in(held_back);
    }
    match stop.filter(Stop::retry) {
        Some(stop) => Err(ReconcileError::Stopped(stop)),
        None => Ok(Some(next_look(context, &assessment, tenant))),
    }
}

fn next_look(context: &Context, assessment: &Assessment, tenant: &Tenant) -> Duration {
    let check = assessment.look_again.unwrap_or_else(|| LOOK_AGAIN.mul_f32(rand::random_range(0.75..=1.25)));
    let now = jiff::Timestamp::now();
    let (trial_ends, leaves) = (tenant.spec.expires_at.as_ref().map(|end| end.0), tenant.leaves_at().map(|at| at.0));
    let link = assessment.status.first_login.as_ref().filter(|link| link.state == FirstLoginState::Ready);
    let link_ends = link.and_then(|link| link.until.as_ref()).map(|until| until.0);
    let moments = [trial_ends, leaves, link_ends, context.releases.opens_at(tenant, now)].into_iter().flatten();
    let left = moments.filter_map(|at| Duration::try_from(at.duration_since(now)).ok()).filter(|left| !left.is_zero()).min();
    left.map_or(check, |left| check.min(left + Duration::from_millis(10)))
}

/// How a pass begins.
enum Begin {
    /// With the release that the tenant has.
    AsBefore,
    /// With another, which is written down.
    Moves(Arc<Tenant>),
    /// Not at all: there is no such tenant any more.
    Gone,
}

/// One pass over one tenant.
struct Pass<'a> {
    context: &'a Context,
    holding: &'a Holding,
    tenant: &'a Tenant,
    uid: String,
    /// When this pass let the operator into the tenant's namespace, if it did.
    let_in: OnceLock<Instant>,
    /// Set if it was this pass that made the tenant's namespace: then nothing of the tenant's is in it but what this pass wrote.
    made_namespace: OnceLock<()>,
}

/// What a pass has made.
struct Made {
    instance: Instance,
    /// What serves, and all else that is wanted.
    rendered: Rendered,
    server: Option<Arc<DatabaseServer>>,
    secrets: secrets::Known,
    migration: Migration,
}

impl<'a> Pass<'a> {
    fn new(context: &'a Context, holding: &'a Holding, tenant: &'a Tenant) -> Self {
        Self { context, holding, tenant, uid: tenant.uid().unwrap_or_default(), let_in: OnceLock::new(), made_namespace: OnceLock::new() }
    }

    /// Sets the finalizer before anything is made, so that nothing is left behind however early the Tenant is deleted.
    async fn hold(&self) -> Result<(), kube::Error> {
        if self.tenant.finalizers().iter().any(|finalizer| finalizer == labels::TENANT_FINALIZER) {
            return Ok(());
        }
        let mut finalizers = self.tenant.finalizers().to_vec();
        finalizers.push(labels::TENANT_FINALIZER.to_owned());
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": self.tenant.resource_version(), "uid": self.uid}});
        let written = self.tenants().patch(&self.tenant.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        self.context.memory.keep_written(written);
        Ok(())
    }

    /// Says in writing that the tenant moves to another release before anything of that is done: whoever has begun goes on, whatever becomes of
    /// the release's waves meanwhile. A new tenant says so with all else that its first pass finds out.
    async fn begin(&self) -> Result<Begin, kube::Error> {
        let now = jiff::Timestamp::now();
        let (Some(status), Ok(running)) = (&self.tenant.status, self.context.running(self.tenant, now)) else { return Ok(Begin::AsBefore) };
        let release = CurrentRelease::after(status.release.clone(), running.release.as_deref(), now);
        if release == status.release || status.observed_generation < 0 {
            return Ok(Begin::AsBefore);
        }
        Ok(status::begin(self, status, release).await?.map_or(Begin::Gone, Begin::Moves))
    }

    /// The Tenants, to be written.
    fn tenants(&self) -> Api<Tenant> {
        Api::all(self.holding.client.clone())
    }

    async fn run(&self, assessment: &mut Assessment) -> Result<(), Stop> {
        let made = match self.make(assessment).await {
            Ok(made) => made,
            Err(stop) => {
                // What is over ends, whatever keeps the rest from being done.
                let ended = first_login::end(self, assessment).await.err();
                return Err(Stop::first([stop.clone()].into_iter().chain(ended)).unwrap_or(stop));
            }
        };
        let objects = self.context.inventory.of(made.instance.name.as_str());
        assessment.workloads(Some(&made.rendered), &objects);
        if made.migration.is_done() {
            assessment.serves(made.instance.version.as_str());
        }
        assessment.routes(&made.rendered, &objects, &made.instance);
        probe::probe(self.context, &made.instance, assessment).await;
        database::retire_logins(self, &made.instance, made.server.as_deref(), &made.secrets, assessment).await;
        made.migration.into_result()
    }

    /// Makes all that is wanted, as far as it can be now, and takes away what isn't wanted any more.
    async fn make(&self, assessment: &mut Assessment) -> Result<Made, Stop> {
        let (running, plan) = (self.running()?, self.plan()?);
        assessment.release(running.release.as_deref(), jiff::Timestamp::now());
        self.hosts(&running.blueprint)?;
        let server = if running.blueprint.spec.database.is_some() { Some(self.server().await?) } else { None };
        let instance = self.resolve(&running, &plan, server.as_deref())?;
        self.stays_in_place(instance.database.as_ref())?;
        assessment.instance(&instance);

        let settings = &self.context.configuration.settings;
        let mut rendered = render::render(&instance, settings, None);
        if self.apply(&rendered.namespace).await? == Written::Created {
            let _ = self.made_namespace.set(());
        }
        self.enter(&rendered).await?;
        self.apply_all(&rendered.foundation).await?;
        let secrets = secrets::ensure(self, &instance, server.as_deref()).await?;
        if let (Some(database), Some(server), Some(login)) = (&instance.database, &server, &secrets.login) {
            database::ensure(self, &instance, database, server, login).await?;
            assessment.database(database);
        }
        let migration = migrate::migrate(self, &instance, &rendered, assessment).await?;

        // Until the database is at the wanted version, what served before serves on, as its own release has it.
        let before = if migration.is_done() { None } else { self.serving(&running, &plan, server.as_deref())? };
        let drawn = before.as_ref().unwrap_or(&instance);
        let serving_before = self.tenant.status.as_ref().and_then(|status| status.version.clone());
        let version = if migration.is_done() { Some(instance.version.to_string()) } else { serving_before };
        let configuration = render::configuration_digest(drawn, &secrets.digests());
        let serving = version.as_deref().map(|version| Serving { version, configuration: &configuration });
        let served = before.as_ref().map(|before| render::render(before, settings, serving.as_ref()));
        match &served {
            Some(served) => (rendered.workloads, rendered.routes) = (served.workloads.clone(), served.routes.clone()),
            None => rendered.workloads = serving.map_or_else(Vec::new, |serving| render::workloads(&instance, &serving)),
        }
        self.apply_all(&rendered.workloads).await?;
        self.apply_all(&rendered.routes).await?;
        let first_login = first_login::first_login(self, &instance, migration.is_done(), assessment).await?;
        self.prune(&rendered, served.as_ref(), &migration, first_login.as_ref()).await?;
        Ok(Made { instance, rendered, server, secrets, migration })
    }

    /// What runs goes on running when a pass stops early, and the conditions say so.
    fn look_at_what_runs(&self, assessment: &mut Assessment) {
        if !assessment.knows(conditions::AVAILABLE) {
            assessment.workloads(None, &self.context.inventory.of(&self.tenant.name_any()));
        }
    }

    /// What the tenant is to run.
    fn running(&self) -> Result<Running, Stop> {
        if let Leave::Invalid(invalid) = windows::leave(self.tenant, jiff::Timestamp::now()) {
            return Err(Stop::stalled("InvalidWindow", invalid.to_string()));
        }
        Ok(self.context.running(self.tenant, jiff::Timestamp::now())?)
    }

    /// The instance that served before, where that was another release's.
    fn serving(&self, wanted: &Running, plan: &Plan, server: Option<&DatabaseServer>) -> Result<Option<Instance>, Stop> {
        let Some((status, version)) = self.tenant.status.as_ref().and_then(|status| Some((status, status.version.as_deref()?))) else {
            return Ok(None);
        };
        if status.serving_release == wanted.release.as_ref().and_then(|release| release.uid()) {
            return Ok(None);
        }
        let serving = self.context.running_at(self.tenant, status.serving_release.as_deref(), version)?;
        self.resolve(&serving, plan, server).map(Some)
    }

    fn plan(&self) -> Result<Arc<Plan>, Stop> {
        let name = &self.tenant.spec.plan;
        self.context.stores.plans.get(&reflector::ObjectRef::new(name)).ok_or_else(|| Stop::missing("Plan", name))
    }

    fn resolve(&self, running: &Running, plan: &Plan, server: Option<&DatabaseServer>) -> Result<Instance, Stop> {
        let inputs = Inputs {
            tenant: self.tenant,
            blueprint_name: &self.tenant.spec.blueprint,
            blueprint: &running.blueprint.spec,
            version: running.version.as_deref(),
            image: running.image(),
            plan: &plan.spec,
            server,
            settings: &self.context.configuration.settings,
            now: &Time(jiff::Timestamp::now()),
        };
        Ok(resolve(&inputs)?)
    }

    /// What the pass says is missing, if it is there. A watch may have been interrupted, as when kinds were just installed; nobody is told that
    /// something doesn't exist before the API server was asked.
    async fn is_yet_to_be_seen(&self, stop: Option<&Stop>) -> Option<ObjectRef> {
        async fn is_there<K>(client: Client, name: &str) -> bool
        where
            K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
        {
            Api::<K>::all(client).get_metadata_opt(name).await.is_ok_and(|found| found.is_some())
        }
        let missing = stop?.is_for_want_of()?;
        let client = self.context.reader.clone();
        let is_there = match missing.kind {
            "Blueprint" => is_there::<Blueprint>(client, &missing.name).await,
            "Plan" => is_there::<Plan>(client, &missing.name).await,
            _ => is_there::<DatabaseServer>(client, &missing.name).await,
        };
        is_there.then(|| missing.clone())
    }

    /// A database server, to which nothing is sent once the fence has closed.
    async fn reach(&self, server: &DatabaseServer) -> Result<Reachable, ServerError> {
        let Reachable { server, authority } = self.context.servers.reach(self.context, server).await?;
        Ok(Reachable { server: server.behind(self.holding.fence.clone()), authority })
    }

    fn applier(&self) -> Applier<'_> {
        Applier { client: &self.holding.client, inventory: &self.context.inventory, uid: &self.uid, let_in: self.let_in.get().copied() }
    }

    /// Lets the operator into the namespace. Until the API server has learned of that it refuses everything there, so one object finds out when it
    /// has, and the others follow.
    async fn enter(&self, rendered: &Rendered) -> Result<(), Stop> {
        if self.apply(&rendered.access).await? != Written::Nothing {
            let _ = self.let_in.set(Instant::now());
            if let Some(first) = rendered.foundation.first() {
                // What is wrong with it is said when all of them are written.
                let _ = self.apply(first).await;
            }
        }
        Ok(())
    }

    /// Brings one object to what is wanted.
    async fn apply(&self, object: &Object) -> Result<Written, Stop> {
        let written = self.applier().apply(object).await?;
        if written != Written::Nothing {
            self.context.metrics.wrote();
            tracing::debug!(tenant = self.tenant.name_any(), object = %object.key, "written");
        }
        Ok(written)
    }

    /// Writes all, and then says what went wrong: one that is refused keeps no other from being written.
    async fn apply_all(&self, objects: &[Object]) -> Result<(), Stop> {
        let writes = objects.iter().map(|object| self.apply(object)).collect::<Vec<_>>();
        let results: Vec<_> = stream::iter(writes).buffer_unordered(CONCURRENT_WRITES).collect().await;
        Stop::first(results.into_iter().filter_map(Result::err)).map_or(Ok(()), Err)
    }

    /// Deletes what is this tenant's and no longer wanted. A Job that still migrates is left to its end.
    async fn prune(
        &self,
        rendered: &Rendered,
        served: Option<&Rendered>,
        migration: &Migration,
        first_login: Option<&ObjectKey>,
    ) -> Result<(), Stop> {
        let drawn = rendered.all().chain(served.into_iter().flat_map(Rendered::all)).map(|object| &object.key);
        let wanted: BTreeSet<&ObjectKey> = drawn.chain(first_login).collect();
        for (key, observed) in self.context.inventory.of(&self.tenant.name_any()).iter() {
            let ours = observed.owner.as_deref() == Some(self.uid.as_str()) && !observed.deleting;
            let needed = wanted.contains(key) || (key.kind == Kind::JOB && (!migration.is_done() || job::is_at_work(observed)));
            if ours && !needed {
                self.applier().delete(key, observed).await?;
                self.context.metrics.wrote();
            }
        }
        Ok(())
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

impl From<UnknownTarget> for Stop {
    fn from(error: UnknownTarget) -> Self {
        match error {
            UnknownTarget::BlueprintMissing { name } => Self::missing("Blueprint", &name),
            UnknownTarget::SnapshotMissing { .. } => Self::failed(Step::Instance, "SnapshotMissing", error.to_string()),
        }
    }
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
