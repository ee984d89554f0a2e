//! What a run came to, and how that differs from what the same comes to without faults.

use crate::snapshot::Snapshot;
use crate::traffic::{Effect, Fault, Place, Planned, Point, Side, Traffic};
use crate::workloads::Workload;
use std::collections::{BTreeMap, BTreeSet};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was asked.
    pub points: BTreeSet<Point>,
    /// What there is at the end.
    pub snapshot: Snapshot,
    /// What was made, how often.
    pub made: BTreeMap<String, usize>,
    /// What was deleted.
    pub deleted: BTreeSet<String>,
    /// Statements that drop something or set a password.
    pub grave_statements: BTreeSet<String>,
}

impl Outcome {
    /// What came of what went through here.
    pub fn of(traffic: &Traffic, snapshot: Snapshot) -> Self {
        let effects = traffic.effects();
        let api = |method: &'static str| {
            effects.iter().filter(move |effect| effect.side == Side::Api && effect.status < 300 && effect.what.starts_with(method))
        };
        let mut made = BTreeMap::new();
        for effect in api("POST ").chain(api("PATCH ").filter(|effect| effect.what.contains("/secrets/"))) {
            if !effect.what.ends_with("/events") {
                *made.entry(effect.what.clone()).or_default() += 1;
            }
        }
        let is_grave = |effect: &&Effect| {
            effect.side == Side::Sql
                && effect.status == 0
                && ["DROP ", "PASSWORD", "TRUNCATE", "DELETE "].iter().any(|word| effect.what.contains(word))
        };
        Self {
            points: traffic.points(),
            snapshot,
            made,
            deleted: api("DELETE ").map(|effect| effect.what.clone()).collect(),
            grave_statements: effects.iter().filter(is_grave).map(|effect| effect.what.clone()).collect(),
        }
    }

    /// What differs from an outcome without faults, but for the end itself, which was waited for.
    pub fn differences(mut self, expected: &Self, workload: Workload, plan: &[Planned]) -> Vec<String> {
        for what in patches_answered_late(plan) {
            // The client itself sends it once more, which changes nothing if it still fits.
            if let (Some(found), Some(expected)) = (self.made.get_mut(&what), expected.made.get(&what))
                && *found == expected + 1
            {
                *found = *expected;
            }
        }
        let mut wrong = Vec::new();
        if self.made != expected.made {
            wrong.push(format!("made, and how often: {}", differing(&expected.made, &self.made)));
        }
        if self.deleted != expected.deleted {
            wrong.push(format!("deleted: {:?} instead of {:?}", self.deleted, expected.deleted));
        }
        let mut more: Vec<_> = self.grave_statements.difference(&expected.grave_statements).collect();
        // A password that nobody was given yet is lost with the operator that made it.
        more.retain(|sql| {
            !(matches!(workload, Workload::Create | Workload::Rotate) && sql.starts_with("ALTER ROLE \"tenant_T.n\" PASSWORD"))
        });
        if !more.is_empty() {
            wrong.push(format!("statements that nobody asked for: {more:?}"));
        }
        wrong
    }
}

/// The patches that take effect, and are answered with 504.
fn patches_answered_late(plan: &[Planned]) -> Vec<String> {
    let what = |planned: &Planned| match &planned.place {
        Place::Point(point) if planned.fault == Fault::TimedOut && point.what.starts_with("PATCH ") => Some(point.what.clone()),
        _ => None,
    };
    plan.iter().filter_map(what).collect()
}

fn differing(expected: &BTreeMap<String, usize>, found: &BTreeMap<String, usize>) -> String {
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let lines = names.into_iter().filter_map(|name| {
        let count = |all: &BTreeMap<String, usize>| all.get(name).copied().unwrap_or_default();
        (count(expected) != count(found)).then(|| format!("{name}: {} instead of {}", count(found), count(expected)))
    });
    lines.collect::<Vec<_>>().join("; ")
}
