//! A server that everything rests on stops in the middle of many creations: all finish after, nothing is lost or made twice, and what is said
//! meanwhile is true. Each test has the cluster to itself.
//!
//! `make test` has a dozen tenants wait for ten seconds; `dev/outages` fifty for a minute.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // in a test, a panic is how a failure is told

#[path = "../support/mod.rs"]
mod support;

mod api_server;
mod crowd;
mod postgres;

use std::time::Duration;

/// How long a server stays away.
fn outage() -> Duration {
    Duration::from_secs(number("TENANTRY_OUTAGE_SECONDS", 10))
}

/// How many tenants are being made when it goes.
fn tenants() -> usize {
    usize::try_from(number("TENANTRY_OUTAGE_TENANTS", 12)).expect("a number of tenants")
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
