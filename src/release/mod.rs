//! Which version each tenant runs, and how a release goes on. Pure: nothing here knows a client.
//!
//! ```text
//! Tenant + Releases ──target──► what it runs          (each tenant's own pass)
//! Release + Tenants ──advance──► the release's status  (the coordinator)
//! ```
//!
//! Nothing is assigned to a tenant in writing. A release opens its waves by its own status, and who is covered by it follows from that: a release
//! to ten thousand tenants takes some hundred writes of one object, and to roll it back takes one.

pub mod advance;
pub mod lot;
#[cfg(test)]
#[allow(clippy::unwrap_used)] // it is a test's
mod simulation;
pub mod snapshot;
pub mod target;
pub mod windows;

pub use lot::Lot;
pub use target::{Target, target};
