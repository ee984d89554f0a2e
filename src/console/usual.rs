//! How long each step of a tenant takes, and how long it usually takes: what it took with those of the same product that came last.

use super::fleet::Row;
use crate::api::Tenant;
use crate::inspect::{Progress, Step, steps};
use kube::ResourceExt;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A tenant that came up longer ago has been changed since, and seconds from its creation tell nothing.
const COMING_UP: i64 = 3600;
/// So many of the last ones are asked.
const LAST: usize = 50;

/// Seconds by the name of the step.
pub type Seconds = BTreeMap<&'static str, u32>;

/// What each step took that is done, where it was done as the tenant came up.
pub fn took(tenant: &Tenant, steps: &[Step]) -> Seconds {
    let Some(created) = tenant.creation_timestamp().map(|time| time.0) else { return Seconds::new() };
    let mut seconds = Seconds::new();
    let mut before = 0;
    for step in steps {
        let Some(since) = step.since.filter(|_| step.progress == Progress::Done) else { continue };
        let after = since.duration_since(created).as_secs();
        if !(0..COMING_UP).contains(&after) {
            return Seconds::new();
        }
        seconds.insert(step.name, u32::try_from(after - before).unwrap_or_default());
        before = before.max(after);
    }
    seconds
}

/// The same of a tenant of which nothing else is known.
pub fn took_to_come_up(tenant: &Tenant) -> Seconds {
    took(tenant, &steps::steps(tenant))
}

/// What each step usually takes with this product: the median of the last ones.
pub fn usual(fleet: &[Arc<Row>], blueprint: &str) -> Seconds {
    let mut alike: Vec<_> = fleet.iter().filter(|row| row.blueprint == blueprint && !row.took.is_empty()).collect();
    alike.sort_by_key(|row| Reverse(row.created));
    let mut all: BTreeMap<&'static str, Vec<u32>> = BTreeMap::new();
    for (name, seconds) in alike.into_iter().take(LAST).flat_map(|row| &row.took) {
        all.entry(name).or_default().push(*seconds);
    }
    let median = |mut seconds: Vec<u32>| {
        seconds.sort_unstable();
        seconds[seconds.len() / 2]
    };
    all.into_iter().map(|(name, seconds)| (name, median(seconds))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tenant(times: &[(&str, &str, &str)]) -> Tenant {
        let condition = |(kind, status, at): &(&str, &str, &str)| json!({"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": at});
        let conditions: Vec<Value> = times.iter().map(condition).collect();
        let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p"});
        let metadata = json!({"name": "acme", "generation": 1, "creationTimestamp": "2026-11-30T10:00:00Z"});
        let status = json!({"observedGeneration": 1, "namespace": "tenant-acme", "conditions": conditions});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn a_step_takes_as_long_as_it_ended_after_the_one_before() {
        let coming_up = tenant(&[
            ("DatabaseReady", "True", "2026-11-30T10:00:02Z"),
            ("Migrated", "True", "2026-11-30T10:00:09Z"),
            ("Available", "False", "2026-11-30T10:00:03Z"),
        ]);
        assert_eq!(took_to_come_up(&coming_up), Seconds::from([("Database", 2), ("Migration", 7)]));
        let changed_later = tenant(&[("DatabaseReady", "True", "2026-11-30T10:00:02Z"), ("Migrated", "True", "2026-12-01T10:00:09Z")]);
        assert_eq!(took_to_come_up(&changed_later), Seconds::new(), "its seconds tell nothing");
    }

    #[test]
    fn usual_is_what_half_of_the_last_ones_took() {
        let row = |blueprint: &str, day: u32, seconds: u32| {
            let created = format!("2026-11-{day:02}T10:00:00Z").parse().unwrap();
            Arc::new(Row {
                blueprint: blueprint.to_owned(),
                created: Some(created),
                took: Seconds::from([("Pods", seconds)]),
                ..Row::named("a")
            })
        };
        let fleet = [row("b", 1, 90), row("b", 2, 4), row("b", 3, 6), row("other", 4, 1000)];
        assert_eq!(usual(&fleet, "b"), Seconds::from([("Pods", 6)]));
        assert_eq!(usual(&fleet, "nobody's"), Seconds::new());
    }
}
