//! The Job that brings the database to the wanted version, before pods of that version start.

use super::Object;
use super::job::{self, Task};
use crate::api::labels;
use crate::instance::{Instance, Migration};
use std::collections::BTreeMap;

/// The component label of the Job and its pods.
const COMPONENT: &str = "migrate";

/// The Job's name. It holds the migration's key, because a Job can't be changed: another migration is another Job.
pub fn job_name(migration: &Migration) -> String {
    format!("{COMPONENT}-{}", migration.key)
}

/// The Job.
pub fn job(instance: &Instance, migration: &Migration) -> Object {
    let task = Task {
        component: COMPONENT,
        name: job_name(migration),
        configuration: &migration.key,
        command: &migration.command,
        env: Vec::new(),
        retries: migration.retries,
        timeout_seconds: migration.timeout_seconds,
        annotations: BTreeMap::from([(labels::MIGRATION.to_owned(), migration.key.clone())]),
    };
    job::job(instance, task)
}
