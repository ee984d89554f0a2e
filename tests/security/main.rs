//! Attacks, tried on a real API server and a real Postgres: by who may write Tenants only, by a tenant's people and its code, by who squats on a
//! name, and by the operator's own identity. One operator serves all tests of a run at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // in a test, a panic is how a failure is told

#[path = "../support/mod.rs"]
mod support;

mod adoption;
mod attack;
mod fuzz;
mod manifests;
mod marks;
mod matrix;
mod operator;
mod people;
mod pods;
mod postgres;
mod routes;
mod secrecy;
mod subresources;
