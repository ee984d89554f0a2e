//! The condition types and the one way to put a condition into a list.
//!
//! `Ready`, `Reconciling` and `Stalled` follow [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md),
//! so that Argo CD, Flux and `kubectl wait` understand them; the others are one for each step.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// All that was asked for is so.
pub const READY: &str = "Ready";
/// The operator is at work; present only while it is.
pub const RECONCILING: &str = "Reconciling";
/// Nothing will change without a person; present only while that is so.
pub const STALLED: &str = "Stalled";
/// The database, its roles and its limits are as they should be.
pub const DATABASE_READY: &str = "DatabaseReady";
/// The migration of the wanted version is done.
pub const MIGRATED: &str = "Migrated";
/// Every component has its pods.
pub const AVAILABLE: &str = "Available";
/// The routes are in place and accepted.
pub const ROUTED: &str = "Routed";
/// The instance answers its check.
pub const HEALTHY: &str = "Healthy";
/// On a Blueprint: its newest release has it as it stands.
pub const RELEASED: &str = "Released";
/// On a Blueprint, Plan, Release or DatabaseServer: tenants use it.
pub const IN_USE: &str = "InUse";

/// What a condition says, before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One of the constants of this module.
    pub kind: &'static str,
    /// `Some(true)` is `True`, `Some(false)` is `False`, `None` is `Unknown`.
    pub status: Option<bool>,
    /// CamelCase, stable, for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Verdict {
    /// A verdict whose status is known.
    pub fn new(kind: &'static str, status: bool, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status: Some(status), reason: reason.into(), message: message.into() }
    }

    /// A verdict on something that was not looked at.
    pub fn unknown(kind: &'static str, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, status: None, reason: reason.into(), message: message.into() }
    }
}

/// The conditions that `verdicts` say, keeping the transition time of every condition whose status did not change.
pub fn merge(before: &[Condition], verdicts: &[Verdict], generation: i64, now: &Time) -> Vec<Condition> {
    verdicts
        .iter()
        .map(|verdict| {
            let status = match verdict.status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let same = before.iter().find(|c| c.type_ == verdict.kind && c.status == status);
            Condition {
                type_: verdict.kind.to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.clone(),
                message: shorten(&verdict.message),
                observed_generation: Some(generation),
                last_transition_time: same.map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}

/// Whether the list says that `kind` is `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}

/// Kubernetes allows 32,768 bytes; nobody reads more than a kilobyte, and etcd keeps every one.
fn shorten(message: &str) -> String {
    const LIMIT: usize = 1024;
    if message.len() <= LIMIT {
        return message.to_owned();
    }
    let mut end = LIMIT;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_when_the_status_does() {
        let then = Time("2026-01-01T00:00:00Z".parse().unwrap());
        let now = Time("2026-01-02T00:00:00Z".parse().unwrap());
        let first = merge(&[], &[Verdict::new(READY, false, "Migrating", "a")], 1, &then);
        let second = merge(&first, &[Verdict::new(READY, false, "Deploying", "b")], 2, &now);
        assert_eq!(second[0].last_transition_time, then);
        assert_eq!(second[0].reason, "Deploying");
        let third = merge(&second, &[Verdict::new(READY, true, "Ready", "c")], 2, &now);
        assert_eq!(third[0].last_transition_time, now);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert!(shorten(&"ü".repeat(2000)).len() <= 1024 + '…'.len_utf8());
    }
}
