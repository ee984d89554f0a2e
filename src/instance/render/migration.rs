//! The Job that brings the database to the wanted version, before pods of that version start.

use super::{Kind, Object, Serving, metadata, pod};
use crate::api::labels;
use crate::instance::{Instance, Migration};
use k8s_openapi::api::batch::v1::{Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule};
use std::collections::BTreeMap;

/// The component label of the Job and its pods.
const COMPONENT: &str = "migrate";

/// The Job's name. It holds the migration's key, because a Job can't be changed: another migration is another Job.
pub fn job_name(migration: &Migration) -> String {
    format!("{COMPONENT}-{}", migration.key)
}

/// The Job. It has no time to live: a failed one that went away would be taken for one that never ran.
pub fn job(instance: &Instance, migration: &Migration) -> Object {
    let name = job_name(migration);
    let mut metadata = metadata(instance, &name, Some(COMPONENT));
    metadata.annotations = Some(BTreeMap::from([(labels::MIGRATION.to_owned(), migration.key.clone())]));
    let version = instance.version.as_str();
    let program = pod::Program {
        name: COMPONENT,
        image: pod::image(instance, version),
        command: &migration.command,
        env: BTreeMap::new(),
        resources: instance.default_resources.clone(),
    };
    let serving = Serving { version, configuration: &migration.key };
    let mut template = pod::template(instance, COMPONENT, &serving, pod::container(instance, program, version), 30);
    if let Some(spec) = &mut template.spec {
        spec.restart_policy = Some("Never".to_owned());
    }
    let job = Job {
        metadata: metadata.clone(),
        spec: Some(JobSpec {
            backoff_limit: i32::try_from(migration.retries).ok(),
            active_deadline_seconds: Some(migration.timeout_seconds.into()),
            // A pod that a node's maintenance took is no migration that failed: it is started again, once the old one has ended.
            pod_failure_policy: Some(PodFailurePolicy {
                rules: vec![PodFailurePolicyRule {
                    action: "Ignore".to_owned(),
                    on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                        type_: "DisruptionTarget".to_owned(),
                        status: Some("True".to_owned()),
                    }]),
                    ..Default::default()
                }],
            }),
            pod_replacement_policy: Some("Failed".to_owned()),
            template,
            ..Default::default()
        }),
        ..Default::default()
    };
    Object::new(Kind::JOB, &metadata, &job)
}
