//! What the tests over a real API server and a real Postgres share.
//!
//! A test makes its own tenant in one line, `Tenant::new("acme").create().await`, looks at what became of it through
//! the [`World`], and waits by [`wait_until`], which prints what it saw last when time runs out. The operator is the real program,
//! acts as its own ServiceAccount and runs once a process.

// Each test binary uses its part of this.
#![allow(dead_code, unused_imports)]

mod audit;
pub mod browser;
pub mod chromium;
mod cluster;
pub mod console;
mod database;
mod door;
mod environment;
pub mod git;
pub mod gitops;
pub mod kinds;
pub mod manifests;
mod operator;
pub mod program;
mod proxy;
mod tenant;
mod wait;
mod world;

pub use audit::{Audit, Request, summary};
pub use cluster::Cluster;
pub use database::{Postgres, encrypted, psql, query};
pub use environment::{
    Environment, NAMESPACE, REGION, SERVICE_ACCOUNT, admin_secret, go_module, install_definitions, kubectl, kubectl_with, variable,
};
pub use manifests::{manifest, merge};
pub use operator::{HANDED_OVER, Operator, TAKEN_OVER, http_get};
pub use proxy::Proxy;
pub use tenant::{Tenant, TenantToBe, condition};
pub use wait::{LIMIT, limited, wait_until};
pub use world::{World, unique};
