//! Tenantry: an independent, personalised instance of one web product for each customer.
//!
//! ```text
//! watches ──► inventory ──► queue ──► reconcile ──┬─► resolve ─► render ─► apply   (Kubernetes)
//!                                                 ├─► plan ─► ensure              (Postgres)
//!                                                 └─► assess ─► status            (the tenant's conditions)
//! ```
//!
//! What decides is pure and in [`api`], [`instance`] and [`release`]; what talks is thin. What people are told is in [`inspect`].

pub mod api;
pub mod client;
pub mod console;
pub mod controller;
pub mod database;
pub mod events;
pub mod first_login;
pub mod follow;
pub mod inspect;
pub mod instance;
pub mod lease;
pub mod random;
pub mod release;
pub mod shards;
pub mod telemetry;
