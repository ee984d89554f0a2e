//! How quiet the operator is, and how it is handed over: tests that need the cluster, and operators of their own, for themselves. They run
//! one after another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // in a test, a panic is how a failure is told

#[path = "../support/mod.rs"]
mod support;

mod handover;
mod requests;

use support::{Environment, Operator, World, kubectl};
use tokio::sync::{Mutex, MutexGuard};

static ALONE: Mutex<()> = Mutex::const_new(());

/// Waits for the tests before to end.
async fn alone() -> (MutexGuard<'static, ()>, World) {
    let guard = ALONE.lock().await;
    let world = World::without_operator().await;
    (guard, world)
}

/// An operator that leads.
async fn leader(environment: &Environment) -> Operator {
    let operator = environment.start_operator(&[]);
    operator.leads().await;
    operator
}

/// Installs the sample product of the documentation.
fn install_planner() {
    let manifests = |file: &str| format!("{}/examples/planner/manifests/{file}", env!("CARGO_MANIFEST_DIR"));
    let (blueprint, plans) = (manifests("blueprint.yaml"), manifests("plans.yaml"));
    kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &blueprint, "--filename", &plans]).expect("the planner");
}
