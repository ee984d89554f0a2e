//! How quiet the operator is, how it is handed over, and what is said of an installation that is broken: tests that need the cluster, and operators
//! of their own, for themselves. They run one after another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // in a test, a panic is how a failure is told

#[path = "../support/mod.rs"]
mod support;

mod check;
mod console;
mod handover;
mod requests;

use support::kubectl;

/// Installs the sample product of the documentation.
fn install_planner() {
    let manifests = |file: &str| format!("{}/examples/planner/manifests/{file}", env!("CARGO_MANIFEST_DIR"));
    let (blueprint, plans) = (manifests("blueprint.yaml"), manifests("plans.yaml"));
    kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &blueprint, "--filename", &plans]).expect("the planner");
}
