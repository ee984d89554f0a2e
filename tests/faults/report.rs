//! What a campaign comes to: a table of runs and differences, and what differed.

use crate::traffic::Fault;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Counts and differences.
#[derive(Default)]
pub struct Report {
    cells: BTreeMap<(String, String), (u32, u32)>,
    differences: Vec<String>,
    /// What was tried at a request that did not come up, nor when it was tried again.
    pub not_met: Vec<String>,
}

impl Report {
    /// A run with this fault ended; none for a run without one.
    pub fn add(&mut self, workload: impl fmt::Debug, fault: Option<Fault>, place: &dyn Display, result: Result<(), String>, journal: &str) {
        let column = fault.map_or_else(|| "none".to_owned(), |fault| format!("{fault:?}"));
        let cell = self.cells.entry((format!("{workload:?}"), column.clone())).or_default();
        cell.0 += 1;
        if let Err(why) = result {
            cell.1 += 1;
            self.differences.push(format!("== {workload:?}, {column} at {place}\n{why}\n-- the operator said:\n{journal}"));
        }
    }

    /// Runs, with a fault or without.
    pub fn runs(&self) -> u32 {
        self.cells.values().map(|(runs, _)| runs).sum()
    }

    pub fn differences(&self) -> &[String] {
        &self.differences
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut faults: Vec<_> = self.cells.keys().map(|(_, fault)| fault.clone()).collect();
        faults.sort();
        faults.dedup();
        let mut workloads: Vec<_> = self.cells.keys().map(|(workload, _)| workload.clone()).collect();
        workloads.sort();
        workloads.dedup();
        writeln!(f, "| workload | {} |", faults.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(faults.len()))?;
        for workload in &workloads {
            let cells = faults.iter().map(|fault| match self.cells.get(&(workload.clone(), fault.clone())) {
                Some((runs, 0)) => runs.to_string(),
                Some((runs, differences)) => format!("{runs} (**{differences} differ**)"),
                None => String::new(),
            });
            writeln!(f, "| {workload} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
        }
        writeln!(
            f,
            "\n{} runs, {} differences, {} whose request did not come up",
            self.runs(),
            self.differences.len(),
            self.not_met.len()
        )?;
        self.not_met.iter().try_for_each(|line| writeln!(f, "did not come up: {line}"))
    }
}
