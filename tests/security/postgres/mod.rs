//! What one tenant's real login does to another's data, to the server and to the operator: nothing. Needs Postgres only.

mod drift;
mod isolation;
mod matrix;
mod neighbours;
#[path = "../../database/support.rs"]
#[allow(dead_code)] // the other binary uses the rest
pub mod support;
mod traps;
