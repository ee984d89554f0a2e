//! The one deepest cause of what a tenant is at: not that pods aren't available, but that an image can't be pulled.

use super::state::{State, ready};
use crate::api::Tenant;
use crate::api::labels;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kube::ResourceExt;

/// Why a tenant is as it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cause {
    /// The reason of the condition, for programs.
    pub reason: String,
    /// What it is, as a sentence.
    pub sentence: String,
    /// The pod that shows it, whose log may tell more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Evidence>,
}

/// A pod that shows a cause.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    /// Its name.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Whether the log is of the run before this one.
    pub previous: bool,
}

/// The cause, from the Tenant and what is in its namespace.
pub fn cause(tenant: &Tenant, pods: &[Pod], jobs: &[Job]) -> Cause {
    let ready = ready(tenant);
    let reason = ready.map_or_else(|| "NotObserved".to_owned(), |ready| ready.reason.clone());
    let said = ready.map_or_else(|| "the operator hasn't looked at it yet: does it run?".to_owned(), |ready| ready.message.clone());
    let deeper = match reason.as_str() {
        "Migrating" | "MigrationNotStarted" | "MigrationFailed" => of_migration(pods, jobs),
        "Deploying" | "NotAnswering" => pods.iter().filter(|pod| !is_of_job(pod)).filter_map(trouble).min_by_key(|(depth, ..)| *depth),
        _ => None,
    };
    match deeper {
        Some((_, sentence, pod)) if State::of(tenant) != State::Ready => Cause { reason, sentence, pod },
        _ => Cause { reason, sentence: said, pod: None },
    }
}

/// What is wrong with a pod: how deep it lies, the smaller the deeper; what it is; and where to look.
type Trouble = (u8, String, Option<Evidence>);

/// The pod of the migration that was made last.
fn of_migration(pods: &[Pod], jobs: &[Job]) -> Option<Trouble> {
    let last = jobs
        .iter()
        .filter(|job| job.annotations().contains_key(labels::MIGRATION))
        .max_by_key(|job| job.creation_timestamp().map(|time| time.0))?;
    let name = last.name_any();
    let its = pods.iter().filter(|pod| pod.labels().get("batch.kubernetes.io/job-name") == Some(&name));
    let newest = its.max_by_key(|pod| pod.creation_timestamp().map(|time| time.0));
    match newest {
        Some(pod) => trouble(pod),
        None => {
            let conditions = last.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            let failed = conditions.iter().find(|condition| condition.type_ == "Failed" && condition.status == "True")?;
            Some((0, format!("Job {name}: {}", failed.message.clone().unwrap_or_default()), None))
        }
    }
}

/// What keeps this pod from starting, if anything does. Nothing of it has run yet, so it tells nothing that the product said.
pub fn of_start(pod: &Pod) -> Option<String> {
    trouble(pod).filter(|(_, _, evidence)| evidence.is_none()).map(|(_, sentence, _)| sentence)
}

fn is_of_job(pod: &Pod) -> bool {
    pod.labels().contains_key("batch.kubernetes.io/job-name")
}

/// What keeps a pod from being well.
fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    if let Some(found) = containers.filter_map(|container| trouble_of(&name, container)).min_by_key(|(depth, ..)| *depth) {
        return Some(found);
    }
    let scheduled =
        status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some((1, format!("pod {name} finds no node: {}", scheduled.message.clone().unwrap_or_default()), None))
}

fn trouble_of(pod: &str, container: &ContainerStatus) -> Option<Trouble> {
    let evidence = |previous| Some(Evidence { pod: pod.to_owned(), container: container.name.clone(), previous });
    let image = &container.image;
    let state = container.state.clone().unwrap_or_default();
    if let ContainerState { waiting: Some(waiting), .. } = &state {
        let (reason, message) = (waiting.reason.clone().unwrap_or_default(), waiting.message.clone().unwrap_or_default());
        return match reason.as_str() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => {
                Some((0, format!("the image {image} can't be pulled: {message}"), None))
            }
            "CrashLoopBackOff" => {
                let how = container.last_state.as_ref().and_then(|last| last.terminated.as_ref()).map(ended).unwrap_or_default();
                Some((0, format!("{} of pod {pod} ends again and again{how}", container.name), evidence(true)))
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                Some((0, format!("{} of pod {pod} can't be started: {message}", container.name), None))
            }
            _ => None,
        };
    }
    if let ContainerState { terminated: Some(terminated), .. } = &state
        && terminated.exit_code != 0
    {
        return Some((0, format!("{} of pod {pod} has failed{}", container.name, ended(terminated)), evidence(false)));
    }
    if state.running.is_some() && !container.ready {
        return Some((2, format!("{} of pod {pod} runs, and its readiness probe isn't answered", container.name), evidence(false)));
    }
    None
}

fn ended(terminated: &k8s_openapi::api::core::v1::ContainerStateTerminated) -> String {
    let reason = terminated.reason.as_deref().filter(|reason| *reason != "Error").map(|reason| format!(", {reason}")).unwrap_or_default();
    let message = terminated.message.as_deref().map(|message| format!(": {}", message.trim())).unwrap_or_default();
    format!(" (exit code {}{reason}){message}", terminated.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tenant(reason: &str) -> Tenant {
        let message = "web: 0 of 1 pods are available";
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-25T10:00:00Z"});
        let status = json!({"observedGeneration": 1, "conditions": [condition("Ready", "False"), condition("Reconciling", "True")]});
        let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p"});
        serde_json::from_value(json!({"metadata": {"name": "acme", "generation": 1}, "spec": spec, "status": status})).unwrap()
    }

    fn pod(name: &str, labels: Value, container: Value) -> Pod {
        let mut status = json!({"name": "main", "image": "localhost/planner:2", "imageID": "", "ready": false, "restartCount": 0});
        container.as_object().unwrap().iter().for_each(|(key, value)| status[key] = value.clone());
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "status": {"containerStatuses": [status]}})).unwrap()
    }

    #[test]
    fn only_what_has_not_run_yet_does_not_start() {
        let missing = json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}});
        assert_eq!(
            of_start(&pod("migrate-1", json!({}), missing)).as_deref(),
            Some("the image localhost/planner:2 can't be pulled: manifest unknown")
        );
        for ran in [
            json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1, "message": "the password is x"}}}),
            json!({"state": {"terminated": {"exitCode": 1, "message": "the password is x"}}}),
            json!({"state": {"waiting": {"reason": "ContainerCreating"}}}),
            json!({"state": {"running": {}}}),
        ] {
            assert_eq!(of_start(&pod("migrate-1", json!({}), ran.clone())), None, "{ran}");
        }
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_said_before_a_probe_that_is_not_answered() {
        let slow = pod("web-1", json!({}), json!({"state": {"running": {}}}));
        let message = "manifest unknown";
        let missing = pod("web-2", json!({}), json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": message}}}));
        let found = cause(&tenant("Deploying"), &[slow.clone(), missing], &[]);
        assert_eq!(found.sentence, "the image localhost/planner:2 can't be pulled: manifest unknown");
        assert_eq!(found.pod, None);
        let found = cause(&tenant("Deploying"), &[slow], &[]);
        assert_eq!(found.pod, Some(Evidence { pod: "web-1".into(), container: "main".into(), previous: false }));
        assert_eq!(cause(&tenant("Deploying"), &[], &[]).sentence, "web: 0 of 1 pods are available");
    }

    #[test]
    fn a_container_that_ends_again_and_again_shows_the_log_of_its_last_run() {
        let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let crashing = pod("web-1", json!({}), json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last}));
        let found = cause(&tenant("Deploying"), &[crashing], &[]);
        assert_eq!(found.sentence, "main of pod web-1 ends again and again (exit code 137, OOMKilled)");
        assert!(found.pod.unwrap().previous);
    }

    #[test]
    fn of_a_failed_migration_the_pod_that_tried_last_is_shown() {
        let job: Job =
            serde_json::from_value(json!({"metadata": {"name": "migrate-1", "annotations": {"tenantry.dev/migration": "k"}}})).unwrap();
        let of_job = json!({"batch.kubernetes.io/job-name": "migrate-1"});
        let failed = pod("migrate-1-x", of_job, json!({"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}));
        let other = pod("web-1", json!({}), json!({"state": {"running": {}}}));
        let found = cause(&tenant("MigrationFailed"), &[other, failed], &[job]);
        assert_eq!(found.sentence, "main of pod migrate-1-x has failed (exit code 1)");
        assert_eq!(found.pod.unwrap().pod, "migrate-1-x");
    }
}
