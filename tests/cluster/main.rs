//! The promises of the operator, kept on a real API server, simulated nodes and a real Postgres. One module a promise; every test makes its own
//! tenants, so that all run at once under one operator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // in a test, a panic is how a failure is told

#[path = "../support/mod.rs"]
mod support;

mod away;
mod command_line;
mod console;
mod database;
mod deletion;
mod diff;
mod drift;
mod first_login;
mod flux;
mod gitops;
mod hosts;
mod lifecycle;
mod objects;
mod pages;
mod releases;
mod roles;
mod schema;
mod validity;
