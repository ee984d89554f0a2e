//! What people are told of a tenant, in a terminal or on a page: pure, from the objects as the cluster has them.

pub mod advice;
pub mod cause;
pub mod redact;
pub mod state;
pub mod steps;

pub use advice::Advice;
pub use cause::{Cause, Evidence};
pub use redact::Redactor;
pub use state::State;
pub use steps::{Progress, Step};
