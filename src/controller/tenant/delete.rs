//! Takes an instance away, from what is there: routes, workloads, database by its policy, namespace, and then the finalizer.

use super::ReconcileError;
use super::assess::{Assessment, Step, Stop};
use super::status;
use crate::api::tenant::{DatabaseStatus, DeletionPolicy};
use crate::api::{Tenant, labels};
use crate::controller::apply::Applier;
use crate::controller::context::Context;
use crate::instance::names::NAMESPACE_PREFIX;
use crate::instance::render::{Kind, ObjectKey};
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use serde_json::json;
use std::time::Duration;

/// The order: nobody comes in before the pods end, and no pod runs when its database goes.
const ROUTES: [Kind; 2] = [Kind::INGRESS, Kind::HTTP_ROUTE];
const WORKLOADS: [Kind; 4] = [Kind::HORIZONTAL_POD_AUTOSCALER, Kind::DEPLOYMENT, Kind::POD_DISRUPTION_BUDGET, Kind::JOB];

/// Goes as far as it can now, says what it waits for, and lets go of the Tenant at the end.
pub async fn delete(context: &Context, tenant: &Tenant) -> Result<Option<Duration>, ReconcileError> {
    if !tenant.finalizers().iter().any(|finalizer| finalizer == labels::TENANT_FINALIZER) {
        return Ok(None);
    }
    let uid = tenant.uid().unwrap_or_default();
    let applier = Applier { client: &context.client, inventory: &context.inventory, uid: &uid };
    match take_away(context, tenant, &applier).await {
        Ok(()) => {
            let_go(context, tenant).await?;
            context.memory.forget(&uid);
            context.servers.reserved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&uid);
            tracing::info!(tenant = tenant.name_any(), "gone");
            Ok(None)
        }
        Err(stop) => {
            let retry = stop.retry().then(|| stop.to_string());
            let mut assessment = Assessment::new(tenant);
            assessment.stop(stop);
            status::write(context, tenant, &assessment).await?;
            match retry {
                Some(message) => Err(ReconcileError::Kube(kube::Error::Service(message.into()))),
                None => Ok(Some(Duration::from_secs(30))),
            }
        }
    }
}

async fn take_away(context: &Context, tenant: &Tenant, applier: &Applier<'_>) -> Result<(), Stop> {
    for (kinds, what) in [(&ROUTES[..], "routes"), (&WORKLOADS[..], "workloads")] {
        delete_kinds(context, tenant, applier, kinds, what).await?;
    }
    database(context, tenant).await?;
    delete_kinds(context, tenant, applier, &[Kind::NAMESPACE], "namespace").await?;
    // The inventory only knows what carries our label; the namespace may have lost it.
    let key = ObjectKey { kind: Kind::NAMESPACE, namespace: None, name: format!("{NAMESPACE_PREFIX}{}", tenant.name_any()) };
    match applier.get(&key).await?.map(crate::controller::inventory::Observed::new) {
        Some(found) if found.owner.as_deref() == Some(applier.uid) => {
            applier.delete(&key, &found).await?;
            Err(waiting("namespace"))
        }
        _ => Ok(()),
    }
}

async fn delete_kinds(context: &Context, tenant: &Tenant, applier: &Applier<'_>, kinds: &[Kind], what: &str) -> Result<(), Stop> {
    let objects = context.inventory.of(&tenant.name_any());
    let ours: Vec<_> =
        objects.iter().filter(|(key, observed)| kinds.contains(&key.kind) && observed.owner.as_deref() == Some(applier.uid)).collect();
    for (key, observed) in &ours {
        if !observed.deleting {
            applier.delete(key, observed).await?;
        }
    }
    if ours.is_empty() { Ok(()) } else { Err(waiting(what)) }
}

fn waiting(what: &str) -> Stop {
    Stop::waiting(Step::Instance, "Deleting", format!("waiting for the {what} to be gone"))
}

async fn database(context: &Context, tenant: &Tenant) -> Result<(), Stop> {
    let Some(database) = tenant.status.as_ref().and_then(|status| status.database.clone()) else { return Ok(()) };
    let result = database_away(context, tenant, &database).await;
    let forced = tenant.annotations().get(labels::FORCE_DELETE).is_some_and(|name| *name == tenant.name_any());
    match result {
        Err(stop) if forced => {
            tracing::warn!(tenant = tenant.name_any(), server = database.server, owner = database.owner, %stop, "let go of a database by force");
            Ok(())
        }
        Err(stop) => Err(Stop::failed(
            Step::Database,
            "DatabaseHolds",
            format!(
                "the data on {} could not be dealt with: {stop}. To leave it where it is and let go, set the annotation {} to {}",
                database.server,
                labels::FORCE_DELETE,
                tenant.name_any()
            ),
        )),
        Ok(()) => Ok(()),
    }
}

async fn database_away(context: &Context, tenant: &Tenant, database: &DatabaseStatus) -> Result<(), Stop> {
    let uid = tenant.uid().unwrap_or_default();
    let server = context.stores.get().and_then(|stores| stores.servers.get(&ObjectRef::new(&database.server)));
    let server = server.ok_or_else(|| Stop::missing("DatabaseServer", &database.server))?;
    let server = context.servers.reach(context, &server).await?.server;
    match tenant.spec.deletion.policy {
        DeletionPolicy::Retain => server.retain(&database.owner, &uid).await?,
        DeletionPolicy::Delete => server.drop_tenant(&database.owner, &uid).await?,
    }
    Ok(())
}

async fn let_go(context: &Context, tenant: &Tenant) -> Result<(), kube::Error> {
    let finalizers: Vec<_> = tenant.finalizers().iter().filter(|finalizer| *finalizer != labels::TENANT_FINALIZER).collect();
    let patch = json!({"metadata": {"finalizers": finalizers, "uid": tenant.uid()}});
    let api: Api<Tenant> = Api::all(context.client.clone());
    match api.patch(&tenant.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
