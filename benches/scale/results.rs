//! What a run is asked for and what it found, in a form that can be kept and reported again.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Spec {
    /// The bare client makes so many tenants, and brings them to the next version if that is asked for.
    Bare { tenants: usize, in_flight: usize, releases: bool },
    /// The operator does, and is then looked at.
    Operated { tenants: usize, after: Option<After>, profile: bool },
    /// The console shows so many.
    Console { tenants: usize },
}

/// How thoroughly the operator is looked at once it has made its tenants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct After {
    /// Edits whose last write is waited for.
    pub edits: usize,
    /// New tenants made while all others are due.
    pub resyncs: usize,
    /// Starts and lists of everything, in turns.
    pub starts: usize,
    /// Hand-overs by SIGTERM.
    pub handed_over: usize,
    /// Hand-overs by SIGKILL.
    pub killed: usize,
    /// Seconds in which nothing may be written.
    pub rest_seconds: u64,
    /// Whether a second release is paused, resumed and taken back on its way.
    pub commands: bool,
    /// Tenants that always fail, and for how long before it is counted what they ask.
    pub failing: Option<Failing>,
}

/// Tenants that always fail.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failing {
    /// How many.
    pub tenants: usize,
    /// Seconds before their requests are counted.
    pub after_seconds: u64,
    /// Seconds for which they are counted.
    pub for_seconds: u64,
}

impl After {
    /// What the figures are taken from; what takes tens of minutes only at the largest number of tenants.
    pub fn at(largest: bool) -> Self {
        let failing = largest.then_some(Failing { tenants: 100, after_seconds: 600, for_seconds: 120 });
        let (rest_seconds, killed) = if largest { (600, 2) } else { (60, 1) };
        Self { edits: 100, resyncs: 5, starts: 3, handed_over: 3, killed, rest_seconds, commands: largest, failing }
    }

    /// The same, with a minute wherever it is ten.
    pub fn brief(largest: bool) -> Self {
        let failing = largest.then_some(Failing { tenants: 100, after_seconds: 60, for_seconds: 60 });
        Self { rest_seconds: 60, failing, ..Self::at(largest) }
    }

    /// Each once, to see that the bench works.
    pub fn quick() -> Self {
        let failing = Some(Failing { tenants: 9, after_seconds: 10, for_seconds: 10 });
        Self { edits: 5, resyncs: 1, starts: 1, handed_over: 1, killed: 0, rest_seconds: 10, commands: true, failing }
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    pub begun: String,
    pub machine: String,
    pub commit: String,
    /// With which options.
    pub asked: String,
    pub postgres: String,
    /// What else the machine did.
    pub beside: String,
    pub runs: Vec<Run>,
}

/// What a run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Run {
    Bare(BareRun),
    Operated(Box<OperatedRun>),
    Console(ConsoleRun),
}

/// What the console needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsoleRun {
    pub tenants: usize,
    /// Seconds in which a bare client lists all tenants.
    pub list: f64,
    /// Seconds until the first visitor has the list.
    pub first: f64,
    pub asked: Vec<Asked>,
    /// Bytes of all files that a page takes, which a browser keeps.
    pub files: usize,
    /// MiB of the console.
    pub memory: f64,
}

/// A page that was asked for again and again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    pub what: String,
    /// Whether it is for a browser, and not to be taken along.
    pub is_page: bool,
    pub seconds: Vec<f64>,
    pub bytes: usize,
}

/// What the bare client needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BareRun {
    pub tenants: usize,
    pub in_flight: usize,
    pub seconds: f64,
    /// Objects by kind, for the proof that both made the same.
    pub objects: BTreeMap<String, usize>,
    /// Seconds of CPU by program.
    pub cpu: BTreeMap<String, f64>,
    /// Seconds until all served the next version.
    pub release_seconds: Option<f64>,
}

/// What the operator needed, and all that was looked at after.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatedRun {
    pub tenants: usize,
    pub seconds: f64,
    pub objects: BTreeMap<String, usize>,
    pub cpu: BTreeMap<String, f64>,
    /// Writes and reads for each tenant.
    pub writes: Vec<usize>,
    pub reads: Vec<usize>,
    /// Requests that were refused, in all: right after a RoleBinding was made the API server may not know of it.
    pub refused: usize,
    /// Passes over a tenant, in all.
    pub passes: f64,
    pub after: Option<Found>,
}

/// What was looked at once all tenants were ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    pub memory: Memory,
    /// Seconds from each edit to the last write that it caused.
    pub edits: Vec<f64>,
    /// Seconds from the creation of each new tenant to the first write for it, while all others were due.
    pub resyncs: Vec<f64>,
    pub starts: Starts,
    pub hand_overs: Vec<HandOver>,
    pub rest: Rest,
    pub release: ReleaseFound,
    pub failing: Option<FailingFound>,
    /// Seconds in which `kubectl tenantry diff` foretells what another plan would do to all tenants.
    pub foretold: f64,
}

/// Resident memory of the operator, in MiB.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Once it has made all tenants.
    pub made: f64,
    /// The most while it did.
    pub peak_making: f64,
    /// Once it has started and looked at all tenants.
    pub started: f64,
    /// The most while it did.
    pub peak_starting: f64,
}

/// Starts with all tenants ready, and lists of everything, in turns; seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Starts {
    pub lists: Vec<f64>,
    /// MiB that a list of everything is.
    pub listed: f64,
    pub serving: Vec<f64>,
    /// Until every tenant was looked at.
    pub looked: Vec<f64>,
    /// Writes after the starts.
    pub writes: usize,
}

/// How long it took until another led.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandOver {
    pub signal: String,
    /// Seconds until it held the Lease.
    pub taken: f64,
    /// Seconds until it served.
    pub serving: f64,
}

/// A time without a change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rest {
    pub seconds: u64,
    pub writes: usize,
    pub reads: usize,
    /// The operator's share of one core, in percent.
    pub cpu_percent: f64,
}

/// A release to all tenants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleaseFound {
    /// Seconds until all served the next version.
    pub seconds: f64,
    /// Seconds until the release said so.
    pub finished: f64,
    /// Writes and reads for each tenant.
    pub writes: Vec<usize>,
    pub reads: Vec<usize>,
    pub commands: Option<Commands>,
}

/// How soon a person's word counts while a release is on its way, in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Commands {
    /// From the pause to the last tenant that still began.
    pub paused: f64,
    /// From its end to the first that began again.
    pub resumed: f64,
    /// From the rollback to the first that began to go back.
    pub rolled_back: f64,
}

/// What tenants that always fail cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailingFound {
    pub tenants: usize,
    pub after_seconds: u64,
    /// Requests a second, by why they fail.
    pub requests: BTreeMap<String, f64>,
    /// Edits of others, before and with them, in seconds.
    pub edits_before: Vec<f64>,
    pub edits_with: Vec<f64>,
}

/// The number of requests in flight with which the bare client was fastest.
pub fn best_in_flight(runs: &[Run]) -> Option<usize> {
    let bare = runs.iter().filter_map(|run| match run {
        Run::Bare(run) => Some(run),
        Run::Operated(_) | Run::Console(_) => None,
    });
    bare.min_by(|a, b| (a.seconds / a.tenants as f64).total_cmp(&(b.seconds / b.tenants as f64))).map(|run| run.in_flight)
}

/// The value below which this share of all values is, by the nearest rank.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The middle; of an even number of values, between the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[half]),
        _ => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}
