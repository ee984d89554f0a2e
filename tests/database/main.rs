//! The database layer against a real Postgres, which `dev/postgres up NAME --log-statements` starts and whose environment file says how
//! to reach it. Each test makes tenants of its own, and a shared database of its own where it changes what tenants share.

#![allow(clippy::unwrap_used)] // in a test, a panic is how a failure is told

mod bulk;
mod concurrency;
mod drift;
mod life;
mod rotation;
mod secrecy;
mod support;
