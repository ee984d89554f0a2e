//! What becomes of a Job: whether it has ended and how, and what its last pod tells of it.

use super::Pass;
use crate::controller::observed::Observed;
use crate::inspect::cause;
use crate::instance::Instance;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use serde_json::Value;
use std::time::Duration;

/// How much of a failed Job's log a condition shows.
const LOG_LINES: i64 = 10;

/// How a Job ended, if it has.
pub fn outcome(job: &Value) -> Option<Result<(), String>> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find_map(|condition| match (condition["type"].as_str(), condition["status"].as_str()) {
        (Some("Complete"), Some("True")) => Some(Ok(())),
        (Some("Failed"), Some("True")) => Some(Err(condition["reason"].as_str().unwrap_or("Failed").to_owned())),
        _ => None,
    })
}

/// Whether a Job hasn't ended.
pub fn is_at_work(job: &Observed) -> bool {
    outcome(&job.state()).is_none()
}

/// Whether a pod of it runs.
pub fn is_running(job: &Value) -> bool {
    job.pointer("/status/ready").and_then(Value::as_i64).unwrap_or_default() > 0
}

/// How long a Job waits for its pod already; none where one runs.
pub fn waits(job: &Value, now: Timestamp) -> Option<Duration> {
    if is_running(job) {
        return None;
    }
    let started = job.pointer("/status/startTime").and_then(Value::as_str).and_then(|time| time.parse::<Timestamp>().ok());
    let waited = started.map(|started| now.duration_since(started));
    Some(waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default())
}

/// What keeps the Job's last pod from starting, if anything does.
pub async fn obstacle(pass: &Pass<'_>, instance: &Instance, job: &str) -> Option<String> {
    let pod = last_pod(pass, instance, job).await.unwrap_or_else(|error| {
        tracing::warn!(tenant = instance.name.as_str(), job, %error, "the pod of a Job can't be looked at");
        None
    });
    cause::of_start(&pod?)
}

/// The end of the log of the Job's last pod; empty where it can't be read.
pub async fn last_lines(pass: &Pass<'_>, instance: &Instance, job: &str) -> String {
    let read = async {
        let Some(pod) = last_pod(pass, instance, job).await? else { return Ok(String::new()) };
        let parameters = LogParams { tail_lines: Some(LOG_LINES), limit_bytes: Some(4096), ..Default::default() };
        pods(pass, instance).logs(&pod.name_any(), &parameters).await
    };
    read.await.map(|log: String| log.trim().to_owned()).unwrap_or_else(|error: kube::Error| {
        tracing::warn!(tenant = instance.name.as_str(), job, %error, "the log of a failed migration can't be read");
        String::new()
    })
}

async fn last_pod(pass: &Pass<'_>, instance: &Instance, job: &str) -> Result<Option<Pod>, kube::Error> {
    let list = pods(pass, instance).list(&ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"))).await?;
    Ok(list.items.into_iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0)))
}

fn pods(pass: &Pass<'_>, instance: &Instance) -> Api<Pod> {
    Api::namespaced(pass.context.reader.clone(), &instance.namespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_waits_from_its_start_until_a_pod_runs() {
        let now = "2026-11-30T10:00:30Z".parse().unwrap();
        let waited = |status: Value| waits(&json!({"status": status}), now);
        assert_eq!(waited(json!({})), Some(Duration::ZERO), "the Job controller hasn't seen it yet");
        assert_eq!(waited(json!({"startTime": "2026-11-30T10:00:25Z", "active": 1, "ready": 0})), Some(Duration::from_secs(5)));
        assert_eq!(waited(json!({"startTime": "2026-11-30T10:00:31Z"})), Some(Duration::ZERO), "another clock");
        assert_eq!(waited(json!({"startTime": "2026-11-30T10:00:00Z", "active": 1, "ready": 1})), None);
    }
}
