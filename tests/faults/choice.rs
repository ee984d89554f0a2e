//! Which part of a campaign is run, where it isn't all of it: by environment variables, as `dev/faults --help` tells.

use crate::traffic::{Fault, Point};
use crate::workloads::{LIFE, Workload};

/// The part that is run.
pub struct Choice {
    /// Texts of which the line of a fault contains one; none where every fault is tried.
    only: Vec<String>,
    /// What a tenant is led through.
    pub life: Vec<Workload>,
    /// Whether nothing more is tried after the first difference.
    pub ends_at_first: bool,
}

impl Choice {
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let named = variable("TENANTRY_FAULTS_WORKLOADS");
        let named: Vec<_> = named.split_whitespace().collect();
        let called = |workload: &Workload| format!("{workload:?}");
        for name in &named {
            assert!(LIFE.iter().any(|workload| called(workload) == *name), "TENANTRY_FAULTS_WORKLOADS: there is no workload {name}");
        }
        let is_led_through = |workload: &Workload| {
            named.is_empty() || matches!(workload, Workload::Create | Workload::Delete) || named.contains(&called(workload).as_str())
        };
        Self {
            only: variable("TENANTRY_FAULTS_ONLY").lines().map(str::to_owned).collect(),
            life: LIFE.into_iter().filter(is_led_through).collect(),
            ends_at_first: !variable("TENANTRY_FAULTS_END_AT_FIRST").is_empty(),
        }
    }

    /// What a fault is called.
    pub fn line_of(workload: Workload, fault: Fault, point: &Point) -> String {
        format!("{workload:?} {fault:?} {point}")
    }

    /// Whether this fault is tried.
    pub fn has(&self, workload: Workload, fault: Fault, point: &Point) -> bool {
        let line = Self::line_of(workload, fault, point);
        self.only.is_empty() || self.only.iter().any(|text| line.contains(text))
    }
}
