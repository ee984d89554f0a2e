//! The migration: a Job of the wanted version, run once for what it does; until it is done the version before goes on serving.

use super::Pass;
use super::assess::{Assessment, Step, Stop};
use crate::api::conditions::MIGRATED;
use crate::api::labels::RETRY;
use crate::controller::inventory::Objects;
use crate::controller::observed::Observed;
use crate::instance::Instance;
use crate::instance::render::{Kind, ObjectKey, Rendered};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use serde_json::Value;

/// Where the annotation [`crate::api::labels::MIGRATION`] is in a Job.
const MIGRATION_ANNOTATION: &str = "/metadata/annotations/tenantry.dev~1migration";
/// How much of a failed Job's log a condition shows.
const LOG_LINES: i64 = 10;

/// How far the migration to the wanted version is.
pub enum Migration {
    /// The database is at the wanted version.
    Done,
    /// What served before goes on serving meanwhile.
    Pending,
    /// The same, until a person acts.
    Failed(Stop),
}

impl Migration {
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// A failed migration keeps the tenant from being ready, but nothing else from being done.
    pub fn into_result(self) -> Result<(), Stop> {
        match self {
            Self::Failed(stop) => Err(stop),
            Self::Done | Self::Pending => Ok(()),
        }
    }
}

/// Runs the migration where the database isn't at the wanted version, and tells how far it is. A version that comes back finds its own
/// migration done, and what newer ones have added: nothing takes that away.
pub async fn migrate(pass: &Pass<'_>, instance: &Instance, rendered: &Rendered, assessment: &mut Assessment) -> Result<Migration, Stop> {
    let Some(migration) = &instance.migration else { return Ok(Migration::Done) };
    let done = pass.tenant.status.as_ref().and_then(|status| status.migration.as_ref());
    if done.is_some_and(|done| done.has_done(&migration.key)) {
        assessment.migrated(instance, &migration.key);
        return Ok(Migration::Done);
    }
    // A suspended instance is drawn without its Job.
    let Some(job) = &rendered.migration else {
        assessment.not_migrated("Suspended", "the migration waits until the tenant is no longer suspended".to_owned());
        return Ok(Migration::Pending);
    };
    let objects = pass.context.inventory.of(instance.name.as_str());
    if let Some(other) = unfinished_other(pass, &objects, &job.key).await? {
        let message = format!("waiting for {other} to end before the database is migrated to version {}", instance.version);
        assessment.not_migrated("WaitingForMigration", message);
        return Ok(Migration::Pending);
    }
    // What somebody else made under the Job's name has migrated nothing; to make ours then says that it is in the way.
    let found = objects.get(&job.key).filter(|observed| observed.owner.as_deref() == Some(pass.uid.as_str()));
    match found.map(|observed| outcome(&observed.state())) {
        None => {
            pass.apply(job).await?;
            assessment.not_migrated("Migrating", format!("migrating to version {}", instance.version));
            Ok(Migration::Pending)
        }
        Some(None) => {
            assessment.not_migrated("Migrating", format!("migrating to version {}", instance.version));
            Ok(Migration::Pending)
        }
        Some(Some(Ok(()))) => {
            assessment.migrated(instance, &migration.key);
            Ok(Migration::Done)
        }
        Some(Some(Err(why))) => {
            let message = failure(pass, instance, &job.key.name, &why).await;
            assessment.not_migrated("MigrationFailed", message.clone());
            Ok(Migration::Failed(Stop::stalled_at(Step::Migration, "MigrationFailed", message)))
        }
    }
}

/// The migration of another version that is still at work, if there is one: two at once would meet in the same tables. One whose pod never
/// started, as for want of its image, is taken away.
async fn unfinished_other(pass: &Pass<'_>, objects: &Objects, wanted: &ObjectKey) -> Result<Option<String>, Stop> {
    let ours = |observed: &Observed| observed.owner.as_deref() == Some(pass.uid.as_str());
    for (key, observed) in objects.iter().filter(|(key, observed)| key.kind == Kind::JOB && *key != wanted && ours(observed)) {
        let live = observed.state();
        if live.pointer(MIGRATION_ANNOTATION).is_none() || outcome(&live).is_some() {
            continue;
        }
        let running = live.pointer("/status/ready").and_then(Value::as_i64).unwrap_or_default() > 0;
        if !running && !observed.deleting {
            pass.applier().delete(key, observed).await?;
        }
        return Ok(Some(key.to_string()));
    }
    Ok(None)
}

/// What a person has to know of a failed migration. Its log is read once: the message stays until something else is tried.
async fn failure(pass: &Pass<'_>, instance: &Instance, job: &str, why: &str) -> String {
    let begin = format!("the migration to version {} failed ({why})", instance.version);
    let known = pass.tenant.conditions().iter().find(|condition| condition.type_ == MIGRATED && condition.reason == "MigrationFailed");
    if let Some(known) = known.filter(|known| known.message.starts_with(&begin) && known.message.contains(job)) {
        return known.message.clone();
    }
    // The message can be read by more people than the tenant's secrets. Where these can't be read, nothing is shown.
    let log = super::secrets::hide(pass, instance, last_lines(pass, instance, job).await).await.unwrap_or_default();
    let log = if log.is_empty() { format!("Job {job} left no log") } else { format!("the log of Job {job} ends: {log}") };
    format!(
        "{begin}; what served before goes on serving. Change something, or set the annotation {RETRY} to a new value to run it again; {log}"
    )
}

/// Whether a Job hasn't ended.
pub fn is_at_work(job: &Observed) -> bool {
    outcome(&job.state()).is_none()
}

/// How a Job ended, if it has.
pub fn outcome(job: &Value) -> Option<Result<(), String>> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find_map(|condition| match (condition["type"].as_str(), condition["status"].as_str()) {
        (Some("Complete"), Some("True")) => Some(Ok(())),
        (Some("Failed"), Some("True")) => Some(Err(condition["reason"].as_str().unwrap_or("Failed").to_owned())),
        _ => None,
    })
}

/// The end of the log of the Job's last pod; empty where it can't be read.
async fn last_lines(pass: &Pass<'_>, instance: &Instance, job: &str) -> String {
    let read = async {
        let pods: Api<Pod> = Api::namespaced(pass.context.reader.clone(), &instance.namespace);
        let list = pods.list(&ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"))).await?;
        let Some(pod) = list.items.iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0)) else {
            return Ok(String::new());
        };
        let parameters = LogParams { tail_lines: Some(LOG_LINES), limit_bytes: Some(4096), ..Default::default() };
        pods.logs(&pod.name_any(), &parameters).await
    };
    read.await.map(|log: String| log.trim().to_owned()).unwrap_or_else(|error: kube::Error| {
        tracing::warn!(tenant = instance.name.as_str(), job, %error, "the log of a failed migration can't be read");
        String::new()
    })
}
