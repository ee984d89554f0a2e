//! Promises that only pods which really run can show: the planner of `examples/planner` on a real node, through a real ingress, with the real
//! operator as its ServiceAccount. `dev/test-real` starts what they need; on any other machine they are ignored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // in a test, a panic is how a failure is told

#[path = "../support/mod.rs"]
mod support;

mod console;
mod isolation;
mod life;
mod load;
mod planner;
mod uninterrupted;
