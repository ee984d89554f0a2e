//! A Job that runs a command of the product once, in the image of a version.

use super::{Kind, Object, Serving, metadata, pod};
use crate::instance::Instance;
use k8s_openapi::api::batch::v1::{Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::EnvVar;
use std::collections::BTreeMap;

/// What a Job runs.
pub struct Task<'a> {
    /// The component label of the Job and its pods, and the name of the container.
    pub component: &'a str,
    /// The Job's name.
    pub name: String,
    /// What tells its pods' configuration from another's.
    pub configuration: &'a str,
    /// What runs.
    pub command: &'a [String],
    /// Variables beside those that every pod of the instance has.
    pub env: Vec<EnvVar>,
    /// How often it is tried again, at once.
    pub retries: u32,
    /// Seconds until it is ended.
    pub timeout_seconds: u32,
    /// The Job's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The Job. It has no time to live: a failed one that went away would be taken for one that never ran.
pub fn job(instance: &Instance, task: Task<'_>) -> Object {
    let mut metadata = metadata(instance, &task.name, Some(task.component));
    metadata.annotations = (!task.annotations.is_empty()).then_some(task.annotations);
    let version = instance.version.as_str();
    let program = pod::Program {
        name: task.component,
        image: pod::image(instance, version),
        command: task.command,
        env: BTreeMap::new(),
        resources: instance.default_resources.clone(),
    };
    let serving = Serving { version, configuration: task.configuration };
    let mut container = pod::container(instance, program, version);
    container.env.get_or_insert_default().extend(task.env);
    let mut template = pod::template(instance, task.component, &serving, container, 30);
    if let Some(spec) = &mut template.spec {
        spec.restart_policy = Some("Never".to_owned());
    }
    let job = Job {
        metadata: metadata.clone(),
        spec: Some(JobSpec {
            backoff_limit: i32::try_from(task.retries).ok(),
            active_deadline_seconds: Some(task.timeout_seconds.into()),
            // A pod that a node's maintenance took is no task that failed: it is started again, once the old one has ended.
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
