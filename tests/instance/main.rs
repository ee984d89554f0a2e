//! What an instance is, tested without a cluster: its objects as snapshots, its rules as properties, and the offline commands.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in a test, a panic is how a failure is told

mod chart;
mod commands;
mod errors;
mod generate;
mod planner;
mod properties;
mod restricted;
mod snapshots;
