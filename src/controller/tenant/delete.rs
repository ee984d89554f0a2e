//! Takes an instance away, from what is there: routes, workloads, database by its policy, namespace, and then the finalizer. And deletes the Tenant itself
//! at the moment that it says.

use super::assess::{Assessment, Step, Stop};
use super::{Pass, ReconcileError, secrets, status};
use crate::api::tenant::DeletionPolicy;
use crate::api::{Tenant, labels};
use crate::controller::observed::Observed;
use crate::instance::names::TenantName;
use crate::instance::render::{Kind, ObjectKey};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};
use std::time::Duration;

/// Nobody comes in before the pods end, and no pod runs when its database goes.
const ROUTES: &[Kind] = &[Kind::INGRESS, Kind::HTTP_ROUTE, Kind::LISTENER_SET];
/// Deleted in the foreground, they stay until their pods have ended.
const WORKLOADS: &[Kind] = &[Kind::HORIZONTAL_POD_AUTOSCALER, Kind::DEPLOYMENT, Kind::POD_DISRUPTION_BUDGET, Kind::JOB];
/// How soon it is looked again although nothing was heard.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Whether the moment has come at which the Tenant is to be deleted.
pub fn is_due(tenant: &Tenant, now: Timestamp) -> bool {
    tenant.leaves_at().is_some_and(|at| at.0 <= now)
}

/// Deletes the Tenant as it was looked at: whoever has moved or taken away the moment meanwhile is heard.
pub async fn begin(pass: &Pass<'_>) -> Result<Option<Duration>, ReconcileError> {
    let tenant = pass.tenant;
    let preconditions = Preconditions { uid: tenant.uid(), resource_version: tenant.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match pass.tenants().delete(&tenant.name_any(), &parameters).await {
        Ok(_) => {
            tracing::info!(tenant = tenant.name_any(), "deleted, as spec.deletion.at says");
            status::publish(pass, &status::event(EventType::Normal, "DeletionDue", "deleted, as spec.deletion.at says".to_owned())).await;
            Ok(None)
        }
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
        Err(kube::Error::Api(answer)) if matches!(answer.code, 403 | 422) => {
            let mut assessment = Assessment::new(tenant);
            let stop = Stop::failed(
                Step::Instance,
                "DeletionRefused",
                format!("its moment has come, but the API server refuses: {}", answer.message),
            );
            assessment.stop(stop.clone());
            status::write(pass, &assessment).await?;
            Err(ReconcileError::Stopped(stop))
        }
        Err(error) => Err(error.into()),
    }
}

/// Goes as far as it can now, says what it waits for, and lets go of the Tenant at the end.
pub async fn delete(pass: &Pass<'_>) -> Result<Option<Duration>, ReconcileError> {
    let Pass { context, tenant, .. } = *pass;
    if !tenant.finalizers().iter().any(|finalizer| finalizer == labels::TENANT_FINALIZER) {
        return Ok(None);
    }
    let Err(stop) = take_away(pass).await else {
        let_go(pass).await?;
        context.memory.forget(&pass.uid);
        tracing::info!(tenant = tenant.name_any(), "gone");
        return Ok(None);
    };
    let mut assessment = Assessment::new(tenant);
    assessment.stop(stop.clone());
    let held_back = status::write(pass, &assessment).await?;
    if stop.retry() { Err(ReconcileError::Stopped(stop)) } else { Ok(Some(held_back.unwrap_or(LOOK_AGAIN))) }
}

async fn take_away(pass: &Pass<'_>) -> Result<(), Stop> {
    delete_kinds(pass, ROUTES).await?;
    delete_kinds(pass, WORKLOADS).await?;
    database(pass).await?;
    delete_kinds(pass, &[Kind::NAMESPACE]).await?;
    namespace_without_label(pass).await
}

/// Deletes all objects of these kinds, and waits for them to be gone.
async fn delete_kinds(pass: &Pass<'_>, kinds: &[Kind]) -> Result<(), Stop> {
    let objects = pass.context.inventory.of(&pass.tenant.name_any());
    let ours: Vec<_> = objects
        .iter()
        .filter(|(key, observed)| kinds.contains(&key.kind) && observed.owner.as_deref() == Some(pass.uid.as_str()))
        .collect();
    for (key, observed) in &ours {
        if !observed.deleting {
            pass.applier().delete(key, observed).await?;
            pass.context.metrics.wrote();
        }
    }
    ours.first().map_or(Ok(()), |(key, observed)| Err(waiting(key, observed)))
}

/// The inventory knows only what carries our label, and the namespace may have lost it.
async fn namespace_without_label(pass: &Pass<'_>) -> Result<(), Stop> {
    let Ok(name) = TenantName::parse(pass.tenant.name_any()) else { return Ok(()) };
    let key = ObjectKey { kind: Kind::NAMESPACE, namespace: None, name: name.namespace() };
    match pass.applier().get(&key).await? {
        Some(found) if found.owner.as_deref() == Some(pass.uid.as_str()) => {
            if !found.deleting {
                pass.applier().delete(&key, &found).await?;
            }
            Err(waiting(&key, &found))
        }
        _ => Ok(()),
    }
}

/// What the deletion waits for, with what the object itself says of that.
fn waiting(key: &ObjectKey, observed: &Observed) -> Stop {
    let live = observed.state();
    let held: Vec<_> =
        live.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let says: Vec<_> = conditions
        .into_iter()
        .flatten()
        .filter(|condition| key.kind == Kind::NAMESPACE && condition["status"] == "True" && condition["reason"] != "ContentDeleted")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    let mut message = format!("waiting for {key} to be gone");
    let foreign: Vec<_> = held.into_iter().filter(|name| *name != "foregroundDeletion").collect();
    if !foreign.is_empty() {
        message += &format!(", which is held by {}", foreign.join(", "));
    }
    if !says.is_empty() {
        message += &format!(": {}", says.join("; "));
    }
    Stop::waiting(Step::Instance, "Deleting", message)
}

/// Locks or drops the tenant's data, as its policy says.
async fn database(pass: &Pass<'_>) -> Result<(), Stop> {
    let (context, tenant) = (pass.context, pass.tenant);
    if context.memory.of(&pass.uid).database_removed {
        return Ok(());
    }
    let status = tenant.status.as_ref().and_then(|status| status.database.clone());
    let Ok(name) = TenantName::parse(tenant.name_any()) else { return Ok(()) };
    let (server, owner) = match status {
        Some(database) => (Some(database.server), database.owner),
        // It may have been placed without having come so far as to say so.
        None => {
            let known = context.placements.of(&pass.uid);
            (if known.is_some() { known } else { secrets::placed(pass).await? }, name.database_owner())
        }
    };
    let Some(server) = server else { return Ok(()) };
    let forced = tenant.annotations().get(labels::FORCE_DELETE).is_some_and(|name| *name == tenant.name_any());
    match remove(pass, &server, &owner).await {
        Ok(()) => {}
        Err(stop) if forced => {
            tracing::warn!(tenant = tenant.name_any(), server, owner, %stop, "let go of a database by force; it stays where it is");
        }
        Err(stop) => {
            let message = format!(
                "the data on {server} can't be dealt with: {stop}. To leave it where it is and let go, set the annotation {} to {}",
                labels::FORCE_DELETE,
                tenant.name_any()
            );
            return Err(Stop::failed(Step::Database, "DatabaseHolds", message));
        }
    }
    context.memory.update(&pass.uid, |remembered| {
        remembered.database_removed = true;
        remembered.database = None;
    });
    Ok(())
}

async fn remove(pass: &Pass<'_>, server: &str, owner: &str) -> Result<(), Stop> {
    let context = pass.context;
    let found = context.stores.servers.get(&ObjectRef::new(server));
    let found = found.ok_or_else(|| Stop::stalled("DatabaseServerMissing", format!("DatabaseServer {server} doesn't exist")))?;
    let server = pass.reach(&found).await?.server;
    match pass.tenant.spec.deletion.policy {
        DeletionPolicy::Retain => server.retain(owner, &pass.uid).await?,
        DeletionPolicy::Delete => server.drop_tenant(owner, &pass.uid).await?,
    }
    Ok(())
}

async fn let_go(pass: &Pass<'_>) -> Result<(), kube::Error> {
    let tenant = pass.tenant;
    let finalizers: Vec<_> = tenant.finalizers().iter().filter(|finalizer| *finalizer != labels::TENANT_FINALIZER).collect();
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": tenant.resource_version(), "uid": tenant.uid()}});
    match pass.tenants().patch(&tenant.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
