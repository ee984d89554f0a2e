//! What the operator costs and how fast it is, beside its bars and beside a bare client that does the same, on simulated nodes and at growing
//! numbers of tenants. `dev/bench --help` says how it is run; docs/performance.md holds what came of it.
//!
//! Each run is a process of its own on a fresh cluster and a fresh Postgres, so that none inherits a larger etcd, a warmer cache or a fuller
//! catalogue than the one that it is compared with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)] // a measurement that can't be made ends the bench

#[path = "../../tests/support/mod.rs"]
mod support;

mod bare;
mod console;
mod edits;
mod failing;
mod fleet;
mod foretold;
mod machine;
mod operated;
mod plot;
mod processes;
mod profile;
mod release;
mod report;
mod results;
mod stage;
mod starts;

use clap::Parser;
use results::{After, Results, Run, Spec};
use stage::Stage;
use std::path::PathBuf;

/// So many tenants the console is tried with: the largest fleet that it is meant for.
const CONSOLE_TENANTS: usize = 10_000;

/// Measures the operator at scale and writes docs/performance.md.
#[derive(Parser, Clone, Debug)]
#[command(name = "dev/bench", max_term_width = 120)]
struct Options {
    /// How many tenants; all that needs long is measured at the last number.
    #[arg(long, value_delimiter = ',', default_value = "100,300,1000")]
    tenants: Vec<usize>,
    /// Thirty tenants and short looks, to see within three minutes whether the bench itself works. Nothing is written.
    #[arg(long)]
    quick: bool,
    /// Looks for a minute where the promise is about ten: for whoever works on the other figures. Nothing is written.
    #[arg(long)]
    brief: bool,
    /// Which Postgres: 15 or 17; the newest that is installed, where left out.
    #[arg(long)]
    postgres: Option<String>,
    /// Records with perf where the operator's time goes, while it makes the tenants and while it starts; the report goes to target/scale.
    #[arg(long)]
    profile: bool,
    /// Only the operator, without the bare client.
    #[arg(long)]
    without_bare: bool,
    /// Without the console.
    #[arg(long)]
    without_console: bool,
    /// Only the console, and its part of docs/performance.md.
    #[arg(long, conflicts_with = "without_console")]
    only_console: bool,
    /// Measures nothing and writes docs/performance.md anew from what was measured last.
    #[arg(long)]
    report: bool,
    /// Goes on where a measurement ended before its end, if commit, machine and all else that was asked for are the same.
    #[arg(long, conflicts_with_all = ["quick", "brief", "only_console", "report"])]
    resume: bool,
    /// A single run, in the environment that the bench made for it: what to do, as JSON, and where the result goes.
    #[arg(long, hide = true, num_args = 2)]
    run: Vec<String>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    if let [spec, result] = options.run.as_slice() {
        let spec = serde_json::from_str(spec).expect("what to do, as JSON");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let run = runtime.block_on(run(spec));
        std::fs::write(result, serde_json::to_string_pretty(&run).expect("JSON")).expect("the result is kept");
        return;
    }
    let kept = folder().join("results.json");
    if options.report {
        let results = serde_json::from_str(&std::fs::read_to_string(kept).expect("an earlier measurement")).expect("its results");
        report::write(&results);
        return;
    }
    let results = measure(&options);
    if !options.only_console {
        println!("{}", report::table(&results));
    }
    println!("{}", report::console(&results).unwrap_or_default());
    if options.counts() {
        report::write(&results);
    }
    if options.is_whole() {
        std::fs::write(kept, serde_json::to_string_pretty(&results).expect("JSON")).expect("the results are kept");
    }
}

impl Options {
    /// Whether what is measured belongs on the page.
    fn counts(&self) -> bool {
        !self.quick && !self.brief
    }

    /// Whether all of the page is measured, and kept to be reported again.
    fn is_whole(&self) -> bool {
        self.counts() && !self.only_console
    }
}

/// Where results, logs and profiles are kept.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/scale");
    std::fs::create_dir_all(&folder).expect("target/scale");
    folder
}

async fn run(spec: Spec) -> Run {
    match spec {
        Spec::Bare { tenants, in_flight, releases } => Run::Bare(bare::run(tenants, in_flight, releases).await),
        Spec::Console { tenants } => Run::Console(console::run(tenants).await),
        Spec::Operated { tenants, after, profile } => Run::Operated(Box::new(operated::run(tenants, after, profile).await)),
    }
}

/// All runs: the console; then how many requests in flight suit the bare client best; then the operator and the bare client in turns.
fn measure(options: &Options) -> Results {
    let mut series = Series::begin(options);
    if !options.without_console {
        series.run(&Spec::Console { tenants: if options.quick { 100 } else { CONSOLE_TENANTS } });
    }
    if options.only_console {
        return series.end();
    }
    let sizes = if options.quick { vec![30] } else { options.tenants.clone() };
    let (smallest, largest) = (sizes.iter().min().copied().unwrap_or_default(), sizes.iter().max().copied().unwrap_or_default());
    let mut best = 16;
    if !options.without_bare {
        let tried = if options.quick { vec![16] } else { vec![8, 16, 32] };
        tried.into_iter().for_each(|in_flight| series.run(&Spec::Bare { tenants: smallest, in_flight, releases: options.quick }));
        best = results::best_in_flight(&series.results.runs).unwrap_or(best);
    }
    for tenants in sizes {
        let turns = match () {
            () if options.without_bare => "A",
            () if options.quick => "BA",
            () => "ABBA",
        };
        let last = turns.len() - 1;
        for (turn, side) in turns.char_indices() {
            // The search for the best number was a turn of the bare client already.
            let spec = match side {
                'B' if tenants == smallest && (turn == 1 || options.quick) => continue,
                'B' => Spec::Bare { tenants, in_flight: best, releases: turn == 2 },
                _ => {
                    let after = (turn == last).then(|| match options {
                        Options { quick: true, .. } => After::quick(),
                        Options { brief: true, .. } => After::brief(tenants == largest),
                        _ => After::at(tenants == largest),
                    });
                    Spec::Operated { tenants, after, profile: options.profile && turn == last }
                }
            };
            series.run(&spec);
        }
    }
    series.end()
}

/// Runs one after another. What counts is kept after each, so that an hour isn't lost with its last run.
struct Series {
    stage: Stage,
    /// Where the results are as long as there are runs to come.
    unfinished: Option<PathBuf>,
    /// Runs of before that weren't asked for yet.
    earlier: std::vec::IntoIter<Run>,
    results: Results,
}

impl Series {
    fn begin(options: &Options) -> Self {
        let unfinished = folder().join("unfinished.json");
        let mut results = Results {
            begun: jiff::Zoned::now().strftime("%Y-%m-%d").to_string(),
            machine: machine::describe(),
            commit: machine::commit(),
            asked: format!("{:?}", Options { resume: false, ..options.clone() }),
            postgres: String::new(),
            beside: machine::load(),
            runs: Vec::new(),
        };
        let mut earlier = Vec::new();
        if options.resume {
            let text = std::fs::read_to_string(&unfinished).expect("a measurement that didn't come to its end");
            let mut before: Results = serde_json::from_str(&text).expect("its results");
            let is_same = (&before.commit, &before.machine, &before.asked) == (&results.commit, &results.machine, &results.asked);
            assert!(
                is_same,
                "what was measured before was another commit, machine or question: {} {} {}",
                before.commit, before.machine, before.asked
            );
            earlier = std::mem::take(&mut before.runs);
            results = before;
        }
        let unfinished = options.is_whole().then_some(unfinished);
        Self { stage: Stage::new(options.postgres.clone()), unfinished, earlier: earlier.into_iter(), results }
    }

    fn run(&mut self, spec: &Spec) {
        let run = self.earlier.next().unwrap_or_else(|| self.stage.run(spec));
        self.results.runs.push(run);
        if !self.stage.postgres.is_empty() {
            self.results.postgres.clone_from(&self.stage.postgres);
        }
        if let Some(file) = &self.unfinished {
            std::fs::write(file, serde_json::to_string_pretty(&self.results).expect("JSON")).expect("the results are kept");
        }
    }

    fn end(self) -> Results {
        if let Some(file) = &self.unfinished {
            let _ = std::fs::remove_file(file);
        }
        self.results
    }
}
