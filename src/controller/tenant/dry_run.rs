//! Passes over one tenant in a dry run: as many as it takes until nothing more would be done, with what others would do between them.

use super::assess::Assessment;
use super::job::is_at_work;
use super::{Pass, ReconcileError};
use crate::api::Tenant;
use crate::controller::context::Context;
use crate::controller::holdings::Holding;
use crate::controller::live::Live;
use crate::instance::render::Kind;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::json;

/// One more than it takes: what migrates another version, this one's migration, and what serves then.
const PASSES: usize = 4;

/// Makes the passes, as if each migration came to a good end.
///
/// # Errors
/// Where the last pass didn't come to its end.
pub async fn foresee(context: &Context, holding: &Holding, name: &str) -> Result<(), ReconcileError> {
    let Some(tenant) = context.stores.tenants.get(&ObjectRef::new(name)) else { return Ok(()) };
    context.memory.look_at_database(&tenant.uid().unwrap_or_default());
    for _ in 0..PASSES {
        let made = Pass::new(context, holding, &tenant).make(&mut Assessment::new(&tenant)).await.map_err(ReconcileError::Stopped)?;
        if !end_migrations(context, &tenant) {
            return made.migration.into_result().map_err(ReconcileError::Stopped);
        }
    }
    Ok(())
}

/// Takes the migrations that are at work for done. Tells whether there was one.
fn end_migrations(context: &Context, tenant: &Tenant) -> bool {
    let mut ended = false;
    for (key, job) in context.inventory.of(tenant.name_any().as_str()).iter() {
        let is_ours = key.kind == Kind::JOB && job.owner == tenant.uid() && !job.deleting;
        if !is_ours || !is_at_work(job) {
            continue;
        }
        let owner =
            json!({"apiVersion": Tenant::api_version(&()), "kind": Tenant::kind(&()), "name": tenant.name_any(), "uid": tenant.uid()});
        let done = json!({
            "metadata": {
                "name": key.name, "namespace": key.namespace, "uid": job.uid, "resourceVersion": (job.resource_version + 1).to_string(),
                "ownerReferences": [owner], "annotations": job.state().pointer("/metadata/annotations"),
            },
            "status": {"conditions": [{"type": "Complete", "status": "True"}]},
        });
        if let Ok(done) = serde_json::from_str::<Live>(&done.to_string()) {
            ended |= context.inventory.record(&Kind::JOB, done).is_some();
        }
    }
    ended
}
