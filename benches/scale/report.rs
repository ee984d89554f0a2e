//! The figures beside their bars, as a table and in docs/performance.md. A bar that is missed is said to be missed.

use super::plot;
use super::results::{BareRun, Commands, Found, Memory, OperatedRun, Results, Run, median, quantile};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// One figure at one number of tenants.
struct Value {
    shown: String,
    met: bool,
}

impl Value {
    fn at_most(value: f64, bar: f64, shown: String) -> Option<Self> {
        Some(Self { shown, met: value <= bar })
    }
}

/// A row: what it is, what it has to be, and how it is taken from the runs of one number of tenants.
struct Figure {
    what: &'static str,
    bar: &'static str,
    value: fn(&Runs<'_>) -> Option<Value>,
}

const FIGURES: [Figure; 16] = [
    Figure {
        what: "R: time until all are ready ÷ time of the bare client",
        bar: "≤ 1.15",
        value: |runs| {
            let ratio = runs.operated_seconds()? / runs.bare_seconds()?;
            Value::at_most(ratio, 1.15, format!("{ratio:.2}"))
        },
    },
    Figure {
        what: "writes for a tenant of n objects, at most",
        bar: "≤ n + 6",
        value: |runs| {
            let (writes, objects) = (runs.operated.iter().flat_map(|run| &run.writes).max()?, runs.objects_each()?);
            Value::at_most(*writes as f64, objects + 6.0, format!("{objects:.0} + {:.0}", *writes as f64 - objects))
        },
    },
    Figure {
        what: "reads for a tenant, at most",
        bar: "≤ 3",
        value: |runs| {
            let reads = runs.operated.iter().flat_map(|run| &run.reads).max()?;
            Value::at_most(*reads as f64, 3.0, reads.to_string())
        },
    },
    Figure {
        what: "writes at rest, leases aside",
        bar: "0",
        value: |runs| {
            let rest = &runs.found()?.rest;
            Value::at_most(rest.writes as f64, 0.0, format!("{} in {}", rest.writes, duration(rest.seconds as f64)))
        },
    },
    Figure {
        what: "writes after a restart",
        bar: "0",
        value: |runs| {
            let starts = &runs.found()?.starts;
            Value::at_most(starts.writes as f64, 0.0, format!("{} in {} starts", starts.writes, starts.serving.len()))
        },
    },
    Figure {
        what: "resident memory",
        bar: "≤ 100 MiB",
        value: |runs| {
            let memory = runs.memory()?;
            Value::at_most(memory, 100.0, format!("{memory:.0} MiB"))
        },
    },
    Figure {
        what: "edit → last write, idle, p99",
        bar: "≤ 0.25 s",
        value: |runs| {
            let edits = &runs.found()?.edits;
            let worst = quantile(edits, 0.99)?;
            Value::at_most(worst, 0.25, format!("{worst:.3} s"))
        },
    },
    Figure {
        what: "a new tenant's wait during a resync of all, at most",
        bar: "≤ 1 s",
        value: |runs| {
            let worst = quantile(&runs.found()?.resyncs, 1.0)?;
            Value::at_most(worst, 1.0, format!("{worst:.2} s"))
        },
    },
    Figure { what: "hand-over on SIGTERM, until the next one serves, at most", bar: "≤ 2 s", value: |runs| runs.hand_over("TERM", 2.0) },
    Figure {
        what: "hand-over on SIGKILL, until the next one serves, at most", bar: "≤ 17 s", value: |runs| runs.hand_over("KILL", 17.0)
    },
    Figure {
        what: "requests of 100 tenants that always fail, after 10 minutes",
        bar: "≤ 1/s in all",
        value: |runs| {
            let failing = runs.found()?.failing.as_ref()?;
            let all: f64 = failing.requests.iter().filter(|(reason, _)| *reason != "other").map(|(_, rate)| rate).sum();
            Value::at_most(all, 1.0, format!("{all:.2}/s"))
        },
    },
    Figure {
        what: "others' p99 of edit → last write meanwhile",
        bar: "≤ 1.10 ×",
        value: |runs| {
            let failing = runs.found()?.failing.as_ref()?;
            let ratio = quantile(&failing.edits_with, 0.99)? / quantile(&failing.edits_before, 0.99)?;
            Value::at_most(ratio, 1.1, format!("{ratio:.2} ×"))
        },
    },
    Figure {
        what: "start to serving, all ready already ÷ one list of everything",
        bar: "≤ 2",
        value: |runs| {
            let starts = &runs.found()?.starts;
            let ratio = median(&starts.serving)? / median(&starts.lists)?;
            Value::at_most(ratio, 2.0, format!("{ratio:.2}"))
        },
    },
    Figure { what: "pause → the last tenant that still begins", bar: "≤ 1 s", value: |runs| runs.command(|found| found.paused) },
    Figure { what: "resume → the first tenant that begins again", bar: "≤ 1 s", value: |runs| runs.command(|found| found.resumed) },
    Figure { what: "rollback → the first tenant that goes back", bar: "≤ 1 s", value: |runs| runs.command(|found| found.rolled_back) },
];

/// All runs of one number of tenants.
pub struct Runs<'a> {
    pub tenants: usize,
    pub bare: Vec<&'a BareRun>,
    pub operated: Vec<&'a OperatedRun>,
}

impl<'a> Runs<'a> {
    /// By the number of tenants.
    pub fn of(results: &'a Results) -> Vec<Self> {
        let mut all: BTreeMap<usize, Self> = BTreeMap::new();
        for run in &results.runs {
            let tenants = match run {
                Run::Bare(run) => run.tenants,
                Run::Operated(run) => run.tenants,
                Run::Console(_) => continue,
            };
            let runs = all.entry(tenants).or_insert_with(|| Self { tenants, bare: Vec::new(), operated: Vec::new() });
            match run {
                Run::Bare(run) => runs.bare.push(run),
                Run::Operated(run) => runs.operated.push(run),
                Run::Console(_) => {}
            }
        }
        all.into_values().collect()
    }

    /// Those of the bare client with the number of requests in flight that suits it best.
    fn best(&self) -> impl Iterator<Item = &&'a BareRun> {
        let mut medians: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        self.bare.iter().for_each(|run| medians.entry(run.in_flight).or_default().push(run.seconds));
        let best = medians.into_iter().filter_map(|(in_flight, seconds)| Some((in_flight, median(&seconds)?)));
        let best = best.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(in_flight, _)| in_flight);
        self.bare.iter().filter(move |run| Some(run.in_flight) == best)
    }

    pub fn bare_seconds(&self) -> Option<f64> {
        median(&self.best().map(|run| run.seconds).collect::<Vec<_>>())
    }

    pub fn operated_seconds(&self) -> Option<f64> {
        median(&self.operated.iter().map(|run| run.seconds).collect::<Vec<_>>())
    }

    pub fn found(&self) -> Option<&'a Found> {
        self.operated.iter().find_map(|run| run.after.as_ref())
    }

    /// The most of what it needs for long: after it has made all tenants, and after it has started and looked at all.
    pub fn memory(&self) -> Option<f64> {
        self.found().map(|found| found.memory.made.max(found.memory.started))
    }

    pub fn objects_each(&self) -> Option<f64> {
        self.operated.first().map(|run| run.objects.values().sum::<usize>() as f64 / run.tenants as f64)
    }

    fn hand_over(&self, signal: &str, bar: f64) -> Option<Value> {
        let hand_overs = self.found()?.hand_overs.iter().filter(|found| found.signal == signal);
        let worst = quantile(&hand_overs.map(|found| found.serving).collect::<Vec<_>>(), 1.0)?;
        Value::at_most(worst, bar, format!("{worst:.2} s"))
    }

    fn command(&self, seconds: fn(&Commands) -> f64) -> Option<Value> {
        let seconds = seconds(self.found()?.release.commands.as_ref()?);
        Value::at_most(seconds, 1.0, format!("{seconds:.2} s"))
    }

    /// Seconds of CPU for a tenant, by program.
    fn cpu(&self, bare: bool) -> BTreeMap<&'a str, f64> {
        let runs: Vec<_> = match bare {
            true => self.best().map(|run| (&run.cpu, run.tenants)).collect(),
            false => self.operated.iter().map(|run| (&run.cpu, run.tenants)).collect(),
        };
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (cpu, tenants) in runs {
            cpu.iter().for_each(|(program, seconds)| all.entry(program).or_default().push(seconds / tenants as f64));
        }
        all.into_iter().filter_map(|(program, seconds)| Some((program, median(&seconds)?))).collect()
    }
}

/// Both sides have to have made the same objects, or their times mean nothing.
fn check_objects(all: &[Runs<'_>]) {
    for runs in all {
        let mut objects = runs.bare.iter().map(|run| &run.objects).chain(runs.operated.iter().map(|run| &run.objects));
        let first = objects.next();
        assert!(objects.all(|objects| Some(objects) == first), "not all runs with {} tenants made the same objects", runs.tenants);
    }
}

/// All figures beside their bars, and what lies behind them.
pub fn table(results: &Results) -> String {
    let all = Runs::of(results);
    check_objects(&all);
    let mut text = measured_on(results);
    text += &row(["figure", "bar"].into_iter().map(str::to_owned).chain(all.iter().map(|runs| count(runs.tenants))).chain(["".to_owned()]));
    text += &row((0..all.len() + 3).map(|_| "---".to_owned()));
    for figure in &FIGURES {
        let values: Vec<_> = all.iter().map(figure.value).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        // The bars are for the largest number. With few tenants what happens once, such as the last one's wait for its check, is most of all.
        let largest = values.iter().rev().flatten().next();
        let verdict = if largest.is_some_and(|value| value.met) { "met" } else { "**missed**" }.to_owned();
        let shown = values.into_iter().map(|value| value.map_or_else(|| "–".to_owned(), |value| value.shown));
        text += &row([figure.what.to_owned(), figure.bar.to_owned()].into_iter().chain(shown).chain([verdict]));
    }
    if let Some(line) = linearity(&all) {
        let _ = writeln!(text, "\n{line}");
    }
    let _ = writeln!(text, "\n{}", behind(&all));
    text
}

fn measured_on(results: &Results) -> String {
    format!(
        "Measured on {} at commit `{}`: {}, Kubernetes 1.37.2 on simulated nodes, Postgres {}. Beside it, the machine was {}.\n\n",
        results.begun, results.commit, results.machine, results.postgres, results.beside
    )
}

/// The console's figures, which are of more tenants than anything else; none where it wasn't measured.
pub fn console(results: &Results) -> Option<String> {
    let run = results.runs.iter().find_map(|run| if let Run::Console(run) = run { Some(run) } else { None })?;
    let mut text = format!("The console over {} tenants. {}", count(run.tenants), measured_on(results));
    text += &row(["page", "bar", "median, s", "p99, s", "bar", "KB with all its files", ""].map(str::to_owned).into_iter());
    text += &row((0..7).map(|_| "---".to_owned()));
    for page in &run.asked {
        let (worst, kilobytes) = (quantile(&page.seconds, 0.99)?, (page.bytes + run.files) as f64 / 1000.0);
        let bars = if page.is_page { ["≤ 0.05 s", "≤ 100 KB"] } else { ["–", "–"] };
        let verdict = if !page.is_page || (worst <= 0.05 && kilobytes <= 100.0) { "met" } else { "**missed**" };
        let cells = [
            &page.what,
            bars[0],
            &format!("{:.4}", median(&page.seconds)?),
            &format!("{worst:.4}"),
            bars[1],
            &format!("{kilobytes:.0}"),
            verdict,
        ];
        text += &row(cells.map(str::to_owned).into_iter());
    }
    let _ = writeln!(
        text,
        "\nThe first visitor, for whom all tenants are read, waits {:.2} s, which is {:.2} times what a bare client takes to list them ({:.2} s). The console then holds {:.0} MiB.",
        run.first,
        run.first / run.list,
        run.list,
        run.memory
    );
    Some(text)
}

/// Whether memory grows with the number of objects, and no faster. What making leaves behind and what a start does are two things: each is compared
/// with itself.
fn linearity(all: &[Runs<'_>]) -> Option<String> {
    let slopes = |memory: fn(&Memory) -> f64| {
        let point = |runs: &Runs<'_>| Some((runs.tenants as f64 * runs.objects_each()?, memory(&runs.found()?.memory)));
        let points: Vec<_> = all.iter().filter_map(point).collect();
        let slopes: Vec<_> = points.windows(2).map(|pair| 1024.0 * (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0)).collect();
        (slopes.len() >= 2).then_some(slopes)
    };
    let (made, started) = (slopes(|memory| memory.made)?, slopes(|memory| memory.started)?);
    let is_linear = |slopes: &[f64]| slopes.last().zip(slopes.first()).is_some_and(|(last, first)| *last <= first * 1.25);
    let shown = |slopes: &[f64]| slopes.iter().map(|slope| format!("{slope:.1}")).collect::<Vec<_>>().join(", then ");
    let verdict =
        if is_linear(&made) && is_linear(&started) { "so it grows linearly at most" } else { "so it grows **faster than linearly**" };
    Some(format!(
        "From each number of tenants to the next, an object more takes {} KiB of memory more after making, and {} after a start, {verdict}.",
        shown(&made),
        shown(&started)
    ))
}

/// What explains the figures.
fn behind(all: &[Runs<'_>]) -> String {
    let mut text = row(["behind them".to_owned()].into_iter().chain(all.iter().map(|runs| count(runs.tenants))));
    text += &row((0..=all.len()).map(|_| "---".to_owned()));
    let mut add = |what: &str, value: &dyn Fn(&Runs<'_>) -> Option<String>| {
        let values: Vec<_> = all.iter().map(value).collect();
        if values.iter().any(Option::is_some) {
            text += &row([what.to_owned()].into_iter().chain(values.into_iter().map(|value| value.unwrap_or_else(|| "–".to_owned()))));
        }
    };
    let list = |seconds: Vec<f64>| seconds.iter().map(|seconds| format!("{seconds:.1}")).collect::<Vec<_>>().join(", ");
    add("operator: seconds until all are ready, each run", &|runs| Some(list(runs.operated.iter().map(|run| run.seconds).collect())));
    add("bare client: seconds, each run (requests in flight)", &|runs| {
        let shown: Vec<_> = runs.bare.iter().map(|run| format!("{:.1} ({})", run.seconds, run.in_flight)).collect();
        (!shown.is_empty()).then(|| shown.join(", "))
    });
    add("tenants a second, by the operator", &|runs| Some(format!("{:.2}", runs.tenants as f64 / runs.operated_seconds()?)));
    let programs =
        ["operator", "client", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "kwok-controller", "postgres"];
    for program in programs {
        let shown = |cpu: Option<&f64>| cpu.map_or_else(|| "–".to_owned(), |seconds| format!("{:.0}", seconds * 1000.0));
        add(&format!("CPU of {program} for a tenant, ms: with the operator; with the bare client"), &|runs| {
            let (with, without) = (runs.cpu(false), runs.cpu(true));
            if with.is_empty() { None } else { Some(format!("{}; {}", shown(with.get(program)), shown(without.get(program)))) }
        });
    }
    add("writes for a tenant, mean", &|runs| mean(runs.operated.iter().flat_map(|run| &run.writes)));
    add("requests that were refused, for a tenant", &|runs| {
        let refused: usize = runs.operated.iter().map(|run| run.refused).sum();
        Some(format!("{:.2}", refused as f64 / (runs.tenants * runs.operated.len()) as f64))
    });
    add("passes over a tenant until all are ready", &|runs| {
        let passes: f64 = runs.operated.iter().map(|run| run.passes).sum();
        Some(format!("{:.1}", passes / (runs.tenants * runs.operated.len()) as f64))
    });
    add("memory after making; at its peak then; after a start; at its peak then, MiB", &|runs| {
        let memory = &runs.found()?.memory;
        Some(format!("{:.0}; {:.0}; {:.0}; {:.0}", memory.made, memory.peak_making, memory.started, memory.peak_starting))
    });
    add("edit → last write: median, p99, most, s", &|runs| distribution(&runs.found()?.edits));
    add("one list of everything, s", &|runs| median(&runs.found()?.starts.lists).map(|seconds| format!("{seconds:.2}")));
    add("its size as JSON, MiB", &|runs| Some(format!("{:.0}", runs.found()?.starts.listed)));
    add("start to serving, s", &|runs| median(&runs.found()?.starts.serving).map(|seconds| format!("{seconds:.2}")));
    add("start until all were looked at, s", &|runs| median(&runs.found()?.starts.looked).map(|seconds| format!("{seconds:.2}")));
    for signal in ["TERM", "KILL"] {
        add(&format!("SIG{signal}: the lease is taken after, s"), &|runs| {
            let taken: Vec<_> = runs.found()?.hand_overs.iter().filter(|found| found.signal == signal).map(|found| found.taken).collect();
            median(&taken).map(|seconds| format!("{seconds:.2}"))
        });
    }
    add("diff of a plan for all, s; of which one list of everything would be", &|runs| {
        let found = runs.found()?;
        Some(format!("{:.1}; {:.2}", found.foretold, median(&found.starts.lists)?))
    });
    add("reads at rest", &|runs| Some(runs.found()?.rest.reads.to_string()));
    add("CPU of the operator at rest, % of a core", &|runs| Some(format!("{:.1}", runs.found()?.rest.cpu_percent)));
    add("requests of failing tenants, 1/s: by reason", &|runs| {
        let failing = runs.found()?.failing.as_ref()?;
        Some(failing.requests.iter().map(|(reason, rate)| format!("{reason} {rate:.2}")).collect::<Vec<_>>().join(", "))
    });
    add("a release: seconds until all serve it; until it is finished; of the bare client; ratio", &|runs| {
        // One run of the bare client has a release. Which number in flight was best for making so few may be told only after it.
        let (release, bare) = (&runs.found()?.release, runs.bare.iter().find_map(|run| run.release_seconds)?);
        Some(format!("{:.1}; {:.1}; {bare:.1}; {:.2}", release.seconds, release.finished, release.seconds / bare))
    });
    add("writes for a tenant in a release: mean, most; reads, most", &|runs| {
        let release = &runs.found()?.release;
        Some(format!("{}, {}; {}", mean(release.writes.iter())?, release.writes.iter().max()?, release.reads.iter().max()?))
    });
    add("edits beside failing tenants: median, p99, most, s", &|runs| distribution(&runs.found()?.failing.as_ref()?.edits_with));
    text
}

fn distribution(values: &[f64]) -> Option<String> {
    Some(format!("{:.3}, {:.3}, {:.3}", median(values)?, quantile(values, 0.99)?, quantile(values, 1.0)?))
}

fn mean<'a>(values: impl Iterator<Item = &'a usize>) -> Option<String> {
    let (sum, count) = values.fold((0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| format!("{:.1}", f64::from(sum as u32) / f64::from(count)))
}

fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn count(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

fn duration(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// Puts tables and plot into the documentation, as far as they were measured.
pub fn write(results: &Results) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = docs.join("performance.md");
    let mut text = std::fs::read_to_string(&page).expect("docs/performance.md");
    let runs = Runs::of(results);
    if !runs.is_empty() {
        plot::draw(&runs, &docs.join("performance.svg"));
        let plot = "![Time, memory and start against the number of tenants](performance.svg)";
        text = with_part(&text, "what was measured", &format!("{}\n{plot}\n", table(results)));
    }
    if let Some(console) = console(results) {
        text = with_part(&text, "the console", &console);
    }
    std::fs::write(page, text).expect("docs/performance.md is written");
}

/// The page with another text in this part of it.
fn with_part(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: made by dev/bench -->"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("docs/performance.md has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("docs/performance.md has no {end}"));
    format!("{before}{begin}\n\n{text}\n{end}{after}")
}
