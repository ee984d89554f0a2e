//! What an instance is, tested without a cluster: its objects as snapshots, its rules as properties, and the offline commands.

mod commands;
mod errors;
mod generate;
mod planner;
mod properties;
mod restricted;
mod snapshots;
