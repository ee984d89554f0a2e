//! Several operators, real processes, that share the tenants: how the shards are shared and handed over, that no tenant is ever two operators', and
//! that what concerns tenants of several shards is decided once. The tests have the cluster for themselves and run one after another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // in a test, a panic is how a failure is told

#[path = "../support/mod.rs"]
mod support;

mod counts;
mod decisions;
mod fleet;
mod handover;
mod releases;
