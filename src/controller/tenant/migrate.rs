//! The migration: a Job of the wanted version, run once for what it does; until it is done the version before goes on serving.

use super::Pass;
use super::assess::{Assessment, Step, Stop};
use crate::controller::apply::Applier;
use crate::instance::Instance;
use crate::instance::render::Rendered;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use serde_json::Value;

/// How much of a failed Job's log a condition shows.
const LOG_LINES: i64 = 10;

/// Whether the database is at the wanted version; runs the migration where it isn't.
pub async fn migrate(
    pass: &Pass<'_>,
    applier: &Applier<'_>,
    instance: &Instance,
    rendered: &Rendered,
    assessment: &mut Assessment,
) -> Result<bool, Stop> {
    let Some(migration) = &instance.migration else { return Ok(true) };
    let done = pass.tenant.status.as_ref().and_then(|status| status.migration.as_ref());
    if done.is_some_and(|done| done.key == migration.key) {
        assessment.migrated(instance, None);
        return Ok(true);
    }
    let Some(job) = &rendered.migration else {
        assessment.not_migrated("Suspended", "the migration waits until the tenant is no longer suspended".to_owned());
        return Ok(false);
    };
    let live = pass.context.inventory.of(instance.name.as_str()).get(&job.key).map(|observed| observed.content());
    match live.as_ref().map(outcome) {
        None => {
            pass.apply(applier, job).await?;
            assessment.not_migrated("Migrating", format!("migrating to version {}", instance.version));
            Ok(false)
        }
        Some(None) => {
            assessment.not_migrated("Migrating", format!("migrating to version {}", instance.version));
            Ok(false)
        }
        Some(Some(Ok(()))) => {
            assessment.migrated(instance, Some(&migration.key));
            Ok(true)
        }
        Some(Some(Err(why))) => {
            let log = last_lines(pass, instance, &job.key.name).await;
            let message = format!(
                "the migration to version {} failed ({why}); what served before goes on serving. Change something, or set the annotation {} to a new value to run it again. Its log ends: {log}",
                instance.version,
                crate::api::labels::RETRY,
            );
            assessment.not_migrated("MigrationFailed", message.clone());
            Err(Stop::stalled_at(Step::Migration, "MigrationFailed", message))
        }
    }
}

/// How a Job ended, if it has.
fn outcome(job: &Value) -> Option<Result<(), String>> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find_map(|condition| match (condition["type"].as_str(), condition["status"].as_str()) {
        (Some("Complete"), Some("True")) => Some(Ok(())),
        (Some("Failed"), Some("True")) => Some(Err(condition["reason"].as_str().unwrap_or("Failed").to_owned())),
        _ => None,
    })
}

/// The end of the log of the Job's last pod; empty where it can't be read.
async fn last_lines(pass: &Pass<'_>, instance: &Instance, job: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(pass.context.client.clone(), &instance.namespace);
    let Ok(list) = pods.list(&ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"))).await else {
        return String::new();
    };
    let last = list.items.iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let Some(pod) = last else { return String::new() };
    let parameters = LogParams { tail_lines: Some(LOG_LINES), limit_bytes: Some(4096), ..Default::default() };
    pods.logs(&pod.name_any(), &parameters).await.unwrap_or_default().trim().to_owned()
}
