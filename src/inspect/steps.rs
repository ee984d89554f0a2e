//! The steps by which a tenant's instance comes to be, as people count them: from its space in the cluster to the first answer.

use super::state::{State, ready};
use crate::api::Tenant;
use crate::api::conditions::{AVAILABLE, DATABASE_READY, HEALTHY, MIGRATED, ROUTED};
use jiff::Timestamp;

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// It is so.
    Done,
    /// It is being done.
    Doing,
    /// It can't be done before a person has acted.
    Failed,
    /// What comes before it isn't done.
    Waiting,
    /// It isn't asked for while the tenant is suspended.
    Resting,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// What it is called.
    pub name: &'static str,
    /// How far it is.
    pub progress: Progress,
    /// What is so, or what is in the way, as a sentence; empty where there is nothing to say.
    pub sentence: String,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// The condition of each step after the first. A product without a database, a migration or a check has no such condition.
const CONDITIONS: [(&str, &str); 5] =
    [("Database", DATABASE_READY), ("Migration", MIGRATED), ("Pods", AVAILABLE), ("Address", ROUTED), ("Answering", HEALTHY)];

/// All steps of this tenant that are known, in their order.
pub fn steps(tenant: &Tenant) -> Vec<Step> {
    let state = State::of(tenant);
    let status = tenant.status.as_ref();
    let namespace = status.and_then(|status| status.namespace.clone());
    let space = Step {
        name: "Space",
        progress: if namespace.is_some() { Progress::Done } else { Progress::Waiting },
        sentence: namespace.map(|namespace| format!("namespace {namespace}")).unwrap_or_default(),
        since: None,
    };
    let mut steps = vec![space];
    for (name, kind) in CONDITIONS {
        let Some(condition) = tenant.conditions().iter().find(|condition| condition.type_ == kind) else { continue };
        let progress = match condition.status.as_str() {
            "True" => Progress::Done,
            _ if state == State::Suspended => Progress::Resting,
            _ => Progress::Waiting,
        };
        let since = Some(condition.last_transition_time.0);
        steps.push(Step { name, progress, sentence: condition.message.clone(), since });
    }
    if let Some(secrets) = secrets(tenant) {
        let before = steps.iter().position(|step| !["Space", "Database"].contains(&step.name)).unwrap_or(steps.len());
        steps.insert(before, secrets);
    }
    let at_work = if state == State::Stalled { Progress::Failed } else { Progress::Doing };
    let Some(ready) = ready(tenant).filter(|_| matches!(state, State::Stalled | State::Working | State::Deleting)) else { return steps };
    // `Ready` repeats what the step says that is in its way. What no step says lies before all of them.
    let says_so = |step: &&mut Step| step.progress == Progress::Waiting && (step.sentence.is_empty() || step.sentence == ready.message);
    match steps.iter_mut().find(says_so) {
        Some(step) => {
            step.progress = at_work;
            step.sentence.clone_from(&ready.message);
        }
        None if ready.status != "True" => {
            let since = Some(ready.last_transition_time.0);
            steps.push(Step { name: "Manifest", progress: at_work, sentence: ready.message.clone(), since });
        }
        None => {}
    }
    steps
}

/// Passwords and keys have no condition. All are made before a database is looked at, and so before what comes after it.
fn secrets(tenant: &Tenant) -> Option<Step> {
    let status_of =
        |kind: &str| tenant.conditions().iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str());
    let has_later = [MIGRATED, ROUTED, HEALTHY].into_iter().any(|kind| status_of(kind).is_some());
    let progress = match status_of(DATABASE_READY) {
        Some("True") => Progress::Done,
        _ if has_later => Progress::Done,
        Some(_) => Progress::Waiting,
        None => return None,
    };
    let sentence = if progress == Progress::Done { "passwords and keys are made" } else { "" };
    Some(Step { name: "Secrets", progress, sentence: sentence.to_owned(), since: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tenant(namespace: Option<&str>, conditions: &[(&str, &str, &str, &str)]) -> Tenant {
        let condition = |(kind, status, reason, message): &(&str, &str, &str, &str)| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-25T10:00:00Z"});
        let conditions: Vec<Value> = conditions.iter().map(condition).collect();
        let status = json!({"observedGeneration": 1, "namespace": namespace, "conditions": conditions});
        let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p"});
        serde_json::from_value(json!({"metadata": {"name": "acme", "generation": 1}, "spec": spec, "status": status})).unwrap()
    }

    fn told(tenant: &Tenant) -> Vec<(&'static str, Progress, String)> {
        steps(tenant).into_iter().map(|step| (step.name, step.progress, step.sentence)).collect()
    }

    #[test]
    fn the_step_that_is_at_work_says_what_is_in_the_way() {
        let migrating = "migrating to version 2";
        let conditions = [
            ("Ready", "False", "Migrating", migrating),
            ("Reconciling", "True", "Migrating", migrating),
            ("DatabaseReady", "True", "Ready", "the data is on main"),
            ("Migrated", "False", "Migrating", migrating),
            ("Available", "False", "NotDeployed", "no pods run before the database is migrated"),
        ];
        let all = told(&tenant(Some("tenant-acme"), &conditions));
        let progress: Vec<_> = all.iter().map(|(name, progress, _)| (*name, *progress)).collect();
        assert_eq!(
            progress,
            [
                ("Space", Progress::Done),
                ("Database", Progress::Done),
                ("Secrets", Progress::Done),
                ("Migration", Progress::Doing),
                ("Pods", Progress::Waiting)
            ]
        );
    }

    #[test]
    fn what_stops_a_tenant_before_its_first_step_is_said_there() {
        let message = "Plan gold doesn't exist: create it";
        let conditions = [("Ready", "False", "PlanMissing", message), ("Stalled", "True", "PlanMissing", message)];
        assert_eq!(told(&tenant(None, &conditions)), [("Space", Progress::Failed, message.to_owned())]);
    }

    #[test]
    fn what_stops_a_tenant_that_runs_is_a_step_of_its_own() {
        let message = "Plan gold doesn't exist: create it";
        let conditions = [
            ("Ready", "False", "PlanMissing", message),
            ("Stalled", "True", "PlanMissing", message),
            ("Available", "True", "Available", "every component has its pods"),
        ];
        let all = told(&tenant(Some("tenant-acme"), &conditions));
        assert_eq!(all.last().unwrap(), &("Manifest", Progress::Failed, message.to_owned()));
    }

    #[test]
    fn what_is_wrong_with_a_manifest_is_not_said_of_pods_that_start() {
        let message = "Plan gold doesn't exist: create it";
        let conditions = [
            ("Ready", "False", "PlanMissing", message),
            ("Stalled", "True", "PlanMissing", message),
            ("Available", "False", "Deploying", "web: 0 of 1 pods are available"),
        ];
        let all = told(&tenant(Some("tenant-acme"), &conditions));
        assert_eq!(all[1], ("Pods", Progress::Waiting, "web: 0 of 1 pods are available".to_owned()));
        assert_eq!(all[2], ("Manifest", Progress::Failed, message.to_owned()));
    }

    #[test]
    fn a_suspended_tenant_rests() {
        let conditions = [("Ready", "True", "Suspended", "out of service"), ("Available", "False", "Suspended", "no pods run")];
        let all = told(&tenant(Some("tenant-acme"), &conditions));
        assert_eq!(all[1], ("Pods", Progress::Resting, "no pods run".to_owned()));
    }
}
