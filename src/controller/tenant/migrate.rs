//! The migration: a Job of the wanted version, run once for what it does; until it is done the version before goes on serving.

use super::assess::{Assessment, Step, Stop};
use super::{Pass, job};
use crate::api::conditions::MIGRATED;
use crate::api::labels::RETRY;
use crate::controller::inventory::Objects;
use crate::controller::observed::Observed;
use crate::instance::Instance;
use crate::instance::render::{Kind, ObjectKey, Rendered};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// Where the annotation [`crate::api::labels::MIGRATION`] is in a Job.
const MIGRATION_ANNOTATION: &str = "/metadata/annotations/tenantry.dev~1migration";

/// A pod that hasn't started after so long is looked at.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// It is looked at again after twice the time each time, and after so long at most.
const LOOK_AT_POD_AFTER_AT_MOST: Duration = Duration::from_secs(300);

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
    let Some(wanted) = &rendered.migration else {
        assessment.not_migrated("Suspended", "the migration waits until the tenant is no longer suspended".to_owned());
        return Ok(Migration::Pending);
    };
    let objects = pass.context.inventory.of(instance.name.as_str());
    if let Some(other) = unfinished_other(pass, &objects, &wanted.key).await? {
        let message = format!("waiting for {other} to end before the database is migrated to version {}", instance.version);
        assessment.not_migrated("WaitingForMigration", message);
        return Ok(Migration::Pending);
    }
    // What somebody else made under the Job's name has migrated nothing; to make ours then says that it is in the way.
    let found = objects.get(&wanted.key).filter(|observed| observed.owner.as_deref() == Some(pass.uid.as_str()));
    let Some(state) = found.map(|observed| observed.state()) else {
        pass.apply(wanted).await?;
        assessment.not_migrated("Migrating", format!("migrating to version {}", instance.version));
        return Ok(Migration::Pending);
    };
    match job::outcome(&state) {
        None => {
            at_work(pass, instance, &wanted.key.name, &state, assessment).await;
            Ok(Migration::Pending)
        }
        Some(Ok(())) => {
            assessment.migrated(instance, &migration.key);
            Ok(Migration::Done)
        }
        Some(Err(why)) => {
            let message = failure(pass, instance, &wanted.key.name, &why).await;
            assessment.not_migrated("MigrationFailed", message.clone());
            Ok(Migration::Failed(Stop::stalled_at(Step::Migration, "MigrationFailed", message)))
        }
    }
}

/// Says that the migration is under way, or what keeps its pod from starting: of that no change of the Job tells.
async fn at_work(pass: &Pass<'_>, instance: &Instance, job: &str, state: &Value, assessment: &mut Assessment) {
    let version = &instance.version;
    let obstacle = match job::waits(state, Timestamp::now()) {
        None => None,
        Some(waited) if waited < STARTS_WITHIN => {
            assessment.look_again_in(STARTS_WITHIN.saturating_sub(waited));
            None
        }
        Some(waited) => {
            assessment.look_again_in(waited.min(LOOK_AT_POD_AFTER_AT_MOST));
            job::obstacle(pass, instance, job).await
        }
    };
    match obstacle {
        None => assessment.not_migrated("Migrating", format!("migrating to version {version}")),
        Some(obstacle) => {
            let message = format!("the migration to version {version} has not started: {obstacle}; what served before goes on serving");
            assessment.not_migrated("MigrationNotStarted", message);
        }
    }
}

/// The migration of another version that is still at work, if there is one: two at once would meet in the same tables. One whose pod never
/// started, as for want of its image, is taken away.
async fn unfinished_other(pass: &Pass<'_>, objects: &Objects, wanted: &ObjectKey) -> Result<Option<String>, Stop> {
    let ours = |observed: &Observed| observed.owner.as_deref() == Some(pass.uid.as_str());
    for (key, observed) in objects.iter().filter(|(key, observed)| key.kind == Kind::JOB && *key != wanted && ours(observed)) {
        let live = observed.state();
        if live.pointer(MIGRATION_ANNOTATION).is_none() || job::outcome(&live).is_some() {
            continue;
        }
        if !job::is_running(&live) && !observed.deleting {
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
    let log = super::secrets::hide(pass, instance, job::last_lines(pass, instance, job).await).await.unwrap_or_default();
    let log = if log.is_empty() { format!("Job {job} left no log") } else { format!("the log of Job {job} ends: {log}") };
    format!(
        "{begin}; what served before goes on serving. Change something, or set the annotation {RETRY} to a new value to run it again; {log}"
    )
}
