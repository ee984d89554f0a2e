//! What a tenant is at, in a word.

use crate::api::Tenant;
use crate::api::conditions::{self, is_true};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// What a tenant is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A person has to act.
    Stalled,
    /// It is being deleted.
    Deleting,
    /// The operator is at work on it.
    Working,
    /// It is out of service, as was asked for.
    Suspended,
    /// All that was asked for is so.
    Ready,
}

impl State {
    /// Those that there are, the most urgent first.
    pub const ALL: [Self; 5] = [Self::Stalled, Self::Deleting, Self::Working, Self::Suspended, Self::Ready];

    /// What this tenant is at. A status that speaks of an older manifest doesn't count: what was asked for last isn't so yet.
    pub fn of(tenant: &Tenant) -> Self {
        let conditions = tenant.conditions();
        let is_current = tenant.status.as_ref().is_some_and(|status| Some(status.observed_generation) == tenant.metadata.generation);
        match ready(tenant) {
            _ if tenant.metadata.deletion_timestamp.is_some() => Self::Deleting,
            _ if !is_current => Self::Working,
            _ if is_true(conditions, conditions::STALLED) => Self::Stalled,
            Some(ready) if ready.status == "True" => match ready.reason.as_str() {
                "Suspended" | "Expired" | "DeletionScheduled" => Self::Suspended,
                _ => Self::Ready,
            },
            _ => Self::Working,
        }
    }

    /// As it is written in lists and asked for by filters.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Deleting => "deleting",
            Self::Working => "working",
            Self::Suspended => "suspended",
            Self::Ready => "ready",
        }
    }
}

/// What a tenant is at, and why, in a word: the reason of its condition, unless that is of an older manifest.
pub fn told(tenant: &Tenant) -> &str {
    let at = State::of(tenant);
    let is_current = tenant.status.as_ref().is_some_and(|status| Some(status.observed_generation) == tenant.metadata.generation);
    match at {
        State::Stalled | State::Working | State::Suspended if is_current => {
            ready(tenant).map_or("NotObserved", |ready| ready.reason.as_str())
        }
        _ => at.word(),
    }
}

/// The condition that sums all up.
pub fn ready(tenant: &Tenant) -> Option<&Condition> {
    tenant.conditions().iter().find(|condition| condition.type_ == conditions::READY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn state(metadata: Value, status: Value) -> State {
        let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p"});
        State::of(&serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap())
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-11-25T10:00:00Z"})
    }

    #[test]
    fn the_reason_of_an_older_manifest_is_not_told() {
        let tenant = |generation: i64| -> Tenant {
            let status = json!({"observedGeneration": 1, "conditions": [condition("Ready", "False", "PlanMissing"), condition("Stalled", "True", "PlanMissing")]});
            let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p"});
            serde_json::from_value(json!({"metadata": {"name": "acme", "generation": generation}, "spec": spec, "status": status})).unwrap()
        };
        assert_eq!((told(&tenant(1)), told(&tenant(2))), ("PlanMissing", "working"));
    }

    #[test]
    fn a_tenant_is_at_what_its_manifest_of_now_is_at() {
        let at = |generation: i64, conditions: Value| {
            state(json!({"name": "acme", "generation": generation}), json!({"observedGeneration": 1, "conditions": conditions}))
        };
        assert_eq!(at(1, json!([condition("Ready", "True", "Ready")])), State::Ready);
        assert_eq!(at(2, json!([condition("Ready", "True", "Ready")])), State::Working, "the status is of the manifest before");
        assert_eq!(at(1, json!([condition("Ready", "True", "Expired")])), State::Suspended);
        assert_eq!(at(1, json!([condition("Ready", "False", "Migrating"), condition("Reconciling", "True", "Migrating")])), State::Working);
        assert_eq!(at(1, json!([condition("Ready", "False", "PlanMissing"), condition("Stalled", "True", "PlanMissing")])), State::Stalled);
        let deleted = json!({"name": "acme", "generation": 1, "deletionTimestamp": "2026-11-25T10:00:00Z"});
        assert_eq!(state(deleted, json!({"observedGeneration": 1})), State::Deleting);
        assert_eq!(state(json!({"name": "acme", "generation": 1}), Value::Null), State::Working);
    }
}
