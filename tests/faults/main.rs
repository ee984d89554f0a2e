//! Every request of every workload meets every fault, and the end is the same as without.
//!
//! The operator runs in a thread of its own, between proxies to a real API server and a real Postgres on which requests are numbered and fail as
//! planned. The part of the controllers is played here, so that a run takes a fraction of a second. After each run the tenant's objects,
//! roles, rights, settings and rows are as after a run without a fault; nothing was made twice, dropped or given another password that
//! nobody asked for; and a second look writes nothing.
//!
//! `dev/faults` runs all of it; `make test` a sample.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // in a test, a panic is how a failure is told

mod api;
mod choice;
mod controllers;
mod lane;
mod mask;
mod operator;
mod outcome;
mod process;
mod product;
mod report;
mod snapshot;
mod sql;
#[path = "../support/mod.rs"]
mod support;
mod traffic;
mod trial;
mod workloads;

use choice::Choice;
use lane::Lane;
use outcome::Outcome;
use report::Report;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;
use traffic::{Fault, Place, Planned, Point};
use trial::{Left, Trial, is_empty, leave, next, put_back, stages};
use workloads::{RELEASED, SHARED, Workload};

/// How often each lane leads a tenant through its life without faults before the campaign: the first leaves traces on what tenants share, and what
/// isn't the same the second time and the third can't be compared.
const REHEARSALS: usize = 3;

/// The clusters of dev/faults or dev/test.
fn kubeconfigs() -> Vec<PathBuf> {
    support::variable("TENANTRY_FAULTS_KUBECONFIGS").split(':').map(PathBuf::from).collect()
}

/// Each test has the lanes to itself.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The lanes, made ready.
async fn lanes() -> (tokio::sync::MutexGuard<'static, ()>, Vec<Lane>) {
    let alone = ALONE.lock().await;
    operator::listen();
    let mut lanes = Vec::new();
    for (number, kubeconfig) in kubeconfigs().iter().enumerate() {
        lanes.push(Lane::prepare(number, kubeconfig).await);
    }
    (alone, lanes)
}

/// Runs the same in every lane at once.
async fn in_each<F: Future<Output = ()>>(lanes: Vec<Lane>, work: impl Fn(Lane) -> F + Clone + Send + 'static) {
    let mut running = tokio::task::JoinSet::new();
    for lane in lanes {
        let work = work.clone();
        running.spawn_blocking(move || Handle::current().block_on(work(lane)));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("a lane ends");
    }
}

/// What each workload comes to without faults, in every lane.
async fn rehearse(lanes: &mut [Lane], life: &[Workload]) -> BTreeMap<Workload, Outcome> {
    let found = futures::future::join_all(lanes.iter_mut().map(|lane| rehearse_in(lane, life))).await;
    let mut all: BTreeMap<Workload, Outcome> = BTreeMap::new();
    for (workload, found) in found.into_iter().flatten() {
        let Some(known) = all.get_mut(&workload) else {
            all.insert(workload, found);
            continue;
        };
        let differs = snapshot::difference(&known.snapshot, &found.snapshot);
        assert!(differs.is_empty(), "{workload:?} without a fault: {}", differs.join("\n"));
        assert_eq!(known.made, found.made, "{workload:?}");
        known.points = known.points.intersection(&found.points).cloned().collect();
    }
    all
}

/// What each workload comes to in a lane, each time but the first.
async fn rehearse_in(lane: &mut Lane, life: &[Workload]) -> Vec<(Workload, Outcome)> {
    let mut all = Vec::new();
    for workload in life.repeat(REHEARSALS) {
        let found = lane.rehearse(workload).await.unwrap_or_else(|why| panic!("{workload:?} without a fault: {why}\n{}", lane.journal()));
        all.push((workload, found));
    }
    all.split_off(life.len())
}

/// Runs through what is chosen of all faults at all requests.
async fn campaign(choose: impl Fn(usize, &str) -> bool) -> Report {
    let choice = Choice::from_environment();
    let (_alone, mut lanes) = lanes().await;
    let began = Instant::now();
    let expected = Arc::new(rehearse(&mut lanes, &choice.life).await);
    let left = Left::default();
    let mut number = 0;
    for (workload, expected) in expected.iter() {
        for point in &expected.points {
            for fault in Fault::all(point.side) {
                number += 1;
                let line = Choice::line_of(*workload, *fault, point);
                if choose(number, &line) && choice.has(*workload, *fault, point) {
                    left.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .entry(*workload)
                        .or_default()
                        .push_back(Trial::new(point.clone(), *fault));
                }
            }
        }
        eprintln!("{workload:?}: {} requests", expected.points.len());
    }
    eprintln!("rehearsed in {:?}; {number} faults in all", began.elapsed());
    // Where nothing is tried nothing differs, and that would tell nothing.
    assert!(!is_empty(&left), "no fault is chosen");
    let report = Arc::new(Mutex::new(Report::default()));
    let (choice, shared) = (Arc::new(choice), report.clone());
    in_each(lanes, move |lane| work(lane, choice.clone(), expected.clone(), left.clone(), shared.clone())).await;
    let report = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
    eprintln!("{report}\nin {:?}", began.elapsed());
    report
}

/// Leads tenants through their life, each with the next faults that are left.
async fn work(mut lane: Lane, choice: Arc<Choice>, expected: Arc<BTreeMap<Workload, Outcome>>, left: Left, report: Arc<Mutex<Report>>) {
    // What the lane was rehearsed with, or nothing.
    lane.begin_anew().await;
    while !is_empty(&left) {
        for workload in stages(&left, &choice.life) {
            let trial = next(&left, workload);
            let plan = trial.iter().map(Trial::plan).collect();
            let result = lane.run(workload, plan, &expected[&workload]).await;
            let differs = result.is_err();
            note(&report, &left, &lane, workload, trial.as_ref(), result);
            if differs {
                if choice.ends_at_first {
                    leave(&left);
                }
                lane.begin_anew().await;
                break;
            }
        }
    }
}

/// Enters what a run came to, and prints what differs at once. One whose request did not come up is tried again, and counts as one without a fault.
fn note(report: &Mutex<Report>, left: &Left, lane: &Lane, workload: Workload, trial: Option<&Trial>, result: Result<(), String>) {
    let comes_again = result.is_ok() && put_back(left, workload, trial, lane.met);
    match trial {
        Some(trial) if !comes_again => {
            if lane.met == 0 {
                let line = Choice::line_of(workload, trial.fault, &trial.point);
                report.lock().unwrap_or_else(PoisonError::into_inner).not_met.push(line);
            }
            enter(report, lane, workload, Some(trial.fault), &trial.point, result);
        }
        _ => enter(report, lane, workload, None, &"no request", result),
    }
}

fn enter(report: &Mutex<Report>, lane: &Lane, workload: Workload, fault: Option<Fault>, place: &dyn Display, result: Result<(), String>) {
    let differs = result.is_err();
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    report.add(workload, fault, place, result, &lane.journal());
    if let Some(last) = report.differences().last().filter(|_| differs) {
        eprintln!("{last}");
    }
    // Whoever waits for half an hour wants to see it go on.
    if report.runs().is_multiple_of(100) {
        eprintln!("{} runs, {} differences", report.runs(), report.differences().len());
    }
}

/// Nothing differs, and nearly every fault was met: what never comes up, as a status that is written once more by chance, tells nothing.
fn assert_no_difference(report: &Report) {
    let not_met = report.not_met.len();
    assert!(not_met * 10 <= report.runs() as usize, "the requests of {not_met} of {} runs did not come up", report.runs());
    assert!(report.differences().is_empty(), "{} of {} runs differ", report.differences().len(), report.runs());
}

/// Faults that brought a bug to light.
const FOUND_A_BUG: [&str; 1] = ["Rotate TimedOut PATCH /api/v1/namespaces/tenant-T/secrets/database #1"];

/// A part of the campaign that is the same every time, and what once found a bug.
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_faults_changes_nothing() {
    let tried = Mutex::new(BTreeSet::new());
    let report = campaign(|number, line| {
        let found_a_bug = FOUND_A_BUG.contains(&line);
        if found_a_bug {
            tried.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_owned());
        }
        found_a_bug || number % 60 == 0
    })
    .await;
    assert_eq!(tried.lock().unwrap_or_else(PoisonError::into_inner).len(), FOUND_A_BUG.len(), "not all that once found a bug came up");
    assert_no_difference(&report);
    assert!(report.runs() >= 40, "only {} runs", report.runs());
}

/// Where a tenant is can be known late, when what uses what was looked through already.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_held_against_deletion_however_late_its_tenant_is_known() {
    let (_alone, mut lanes) = lanes().await;
    let mut lane = lanes.remove(0);
    let expected = lane.rehearse(Workload::Create).await.unwrap_or_else(|why| panic!("{why}\n{}", lane.journal()));
    let what = "GET /api/v1/namespaces/tenant-T/secrets/database".to_owned();
    let place = Place::Point(Point { side: traffic::Side::Api, what, nth: 1 });
    let late = Planned { place, fault: Fault::TooMany, met: false };
    let result = lane.begin_without_placement(late, &expected).await;
    assert!(result.is_ok() && lane.met == 1, "{} faults met: {result:?}\n{}", lane.met, lane.journal());
}

/// A watch can be interrupted, as when kinds were just installed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_missing_before_the_api_server_was_asked() {
    let (_alone, mut lanes) = lanes().await;
    let mut lane = lanes.remove(0);
    lane.rehearse(Workload::Create).await.unwrap_or_else(|why| panic!("{why}\n{}", lane.journal()));
    lane.come_to_a_plan_that_no_watch_has_brought().await.unwrap_or_else(|why| panic!("{why}\n{}", lane.journal()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half an hour: dev/faults"]
async fn no_fault_at_any_request_changes_anything() {
    let every = std::env::var("TENANTRY_FAULTS_EVERY").map_or(1, |every| every.parse().expect("TENANTRY_FAULTS_EVERY is a number"));
    let report = campaign(|number, _| number % every == 0).await;
    assert_no_difference(&report);
}

/// The operator ends after any request, and before there is another the tenant is deleted.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes: dev/faults"]
async fn a_tenant_that_is_deleted_in_the_middle_of_its_creation_leaves_nothing() {
    let choice = Choice::from_environment();
    let (_alone, mut lanes) = lanes().await;
    let began = Instant::now();
    let expected = Arc::new(rehearse(&mut lanes, &[Workload::Create, Workload::Delete]).await);
    eprintln!("rehearsed in {:?}", began.elapsed());
    let left = Left::default();
    let chosen = expected[&Workload::Create].points.iter().filter(|point| choice.has(Workload::Create, Fault::CrashAfter, point));
    let faults = chosen.map(|point| Trial::new(point.clone(), Fault::CrashAfter)).collect();
    left.lock().unwrap_or_else(PoisonError::into_inner).insert(Workload::Create, faults);
    let report = Arc::new(Mutex::new(Report::default()));
    let (choice, shared) = (Arc::new(choice), report.clone());
    in_each(lanes, move |lane| abandon(lane, choice.clone(), expected.clone(), left.clone(), shared.clone())).await;
    let report = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
    eprintln!("{report}\nin {:?}", began.elapsed());
    assert_no_difference(&report);
}

/// Has one tenant after the other made, and deleted while it is.
async fn abandon(mut lane: Lane, choice: Arc<Choice>, expected: Arc<BTreeMap<Workload, Outcome>>, left: Left, report: Arc<Mutex<Report>>) {
    begin_with_traces(&mut lane, &expected).await;
    while let Some(trial) = next(&left, Workload::Create) {
        let result = lane.abandon(trial.plan(), &expected[&Workload::Delete]).await;
        let differs = result.is_err();
        note(&report, &left, &lane, Workload::Create, Some(&trial), result);
        if differs {
            if choice.ends_at_first {
                leave(&left);
            }
            begin_with_traces(&mut lane, &expected).await;
        }
    }
}

/// Begins anew with what a tenant leaves on what tenants share, which one that doesn't come so far doesn't leave.
async fn begin_with_traces(lane: &mut Lane, expected: &BTreeMap<Workload, Outcome>) {
    lane.begin_anew().await;
    for workload in [Workload::Create, Workload::Delete] {
        let result = lane.run(workload, Vec::new(), &expected[&workload]).await;
        result.unwrap_or_else(|why| panic!("{workload:?} without a fault: {why}\n{}", lane.journal()));
    }
}

/// The operator ends after any write, and the next one after any of those that it makes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a quarter of an hour: dev/faults"]
async fn no_two_crashes_while_a_tenant_is_made_change_anything() {
    let (_alone, mut lanes) = lanes().await;
    let began = Instant::now();
    let expected = Arc::new(rehearse(&mut lanes, &[Workload::Create, Workload::Delete]).await);
    let report = Arc::new(Mutex::new(Report::default()));
    let (first, shared) = (Arc::new(AtomicU32::new(0)), report.clone());
    in_each(lanes, move |lane| crash_twice(lane, expected.clone(), first.clone(), shared.clone())).await;
    let report = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
    eprintln!("{report}\nin {:?}", began.elapsed());
    assert_no_difference(&report);
}

/// Takes the next first crash, and tries it with every second one.
async fn crash_twice(mut lane: Lane, expected: Arc<BTreeMap<Workload, Outcome>>, first: Arc<AtomicU32>, report: Arc<Mutex<Report>>) {
    lane.begin_anew().await;
    loop {
        let first = first.fetch_add(1, Ordering::Relaxed) + 1;
        for second in 1.. {
            let places = [Place::Write { life: 1, nth: first }, Place::Write { life: 2, nth: second }];
            let plan = places.iter().map(|place| Planned { place: place.clone(), fault: Fault::CrashAfter, met: false }).collect();
            let result = lane.run(Workload::Create, plan, &expected[&Workload::Create]).await;
            let (differs, met) = (result.is_err(), lane.met);
            let place = format!("write {first}, and write {second} after it");
            enter(&report, &lane, Workload::Create, Some(Fault::CrashAfter), &place, result);
            let deleted = if differs { Ok(()) } else { lane.run(Workload::Delete, Vec::new(), &expected[&Workload::Delete]).await };
            if differs || deleted.is_err() {
                lane.begin_anew().await;
            }
            if deleted.is_err() {
                enter(&report, &lane, Workload::Delete, None, &place, deleted);
            }
            match met {
                0 => return,
                // There was no such second write: the first crash was tried with all.
                1 => break,
                _ => {}
            }
        }
    }
}

/// How many ends of a thread are compared with those of a process.
const KILLED: usize = 50;

/// A campaign ends the operator by dropping it. The real program, under a real SIGKILL, has to come to the same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes eight minutes: dev/faults"]
async fn a_process_that_is_killed_comes_to_the_same_end() {
    let choice = Arc::new(Choice::from_environment());
    let (_alone, mut lanes) = lanes().await;
    let began = Instant::now();
    let expected = Arc::new(rehearse(&mut lanes, &choice.life).await);
    let requests: Vec<_> =
        expected.iter().flat_map(|(workload, expected)| expected.points.iter().map(move |point| (*workload, point.clone()))).collect();
    let left = Left::default();
    let ends = [Fault::CrashBefore, Fault::CrashAfter].into_iter().cycle();
    for ((workload, point), end) in requests.iter().step_by(requests.len() / KILLED).zip(ends) {
        left.lock().unwrap_or_else(PoisonError::into_inner).entry(*workload).or_default().push_back(Trial::new(point.clone(), end));
    }
    lanes.iter_mut().for_each(Lane::run_as_process);
    let report = Arc::new(Mutex::new(Report::default()));
    let shared = report.clone();
    in_each(lanes, move |lane| work(lane, choice.clone(), expected.clone(), left.clone(), shared.clone())).await;
    let report = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
    eprintln!("{report}\nin {:?}", began.elapsed());
    assert_no_difference(&report);
    assert!(report.runs() as usize >= KILLED, "only {} runs", report.runs());
}

/// Leads many tenants of one blueprint through these workloads, round after round, each with the next of the faults that are chosen for a request. It
/// ends at the first difference.
async fn campaign_of_many(tenants: usize, workloads: &'static [Workload], faults_at: impl Fn(&Point, usize) -> Vec<Fault>) -> Report {
    let choice = Choice::from_environment();
    let (_alone, mut lanes) = lanes().await;
    let began = Instant::now();
    for lane in &mut lanes {
        lane.tenants = (0..tenants).map(|number| format!("{}-{number}", lane.name)).collect();
        lane.rehearse(Workload::Create).await.unwrap_or_else(|why| panic!("without a fault: {why}\n{}", lane.journal()));
        if workloads.contains(&Workload::Release) {
            lane.release_base().await;
        }
    }
    let expected = Arc::new(rehearse(&mut lanes, workloads).await);
    let left = Left::default();
    for (workload, expected) in expected.iter() {
        let faults = expected.points.iter().enumerate().flat_map(|(number, point)| {
            faults_at(point, number)
                .into_iter()
                .filter(|fault| choice.has(*workload, *fault, point))
                .map(|fault| Trial::new(point.clone(), fault))
        });
        eprintln!("{workload:?}: {} requests", expected.points.len());
        left.lock().unwrap_or_else(PoisonError::into_inner).insert(*workload, faults.collect());
    }
    eprintln!("rehearsed in {:?}", began.elapsed());
    assert!(!is_empty(&left), "no fault is chosen");
    let report = Arc::new(Mutex::new(Report::default()));
    let shared = report.clone();
    in_each(lanes, move |lane| lead_many(lane, workloads, expected.clone(), left.clone(), shared.clone())).await;
    let report = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
    eprintln!("{report}\nin {:?}", began.elapsed());
    report
}

async fn lead_many(
    mut lane: Lane,
    workloads: &'static [Workload],
    expected: Arc<BTreeMap<Workload, Outcome>>,
    left: Left,
    report: Arc<Mutex<Report>>,
) {
    while !is_empty(&left) {
        for workload in workloads {
            let trial = next(&left, *workload);
            let plan = trial.iter().map(Trial::plan).collect();
            let result = lane.run(*workload, plan, &expected[workload]).await;
            let differs = result.is_err();
            note(&report, &left, &lane, *workload, trial.as_ref(), result);
            if differs {
                leave(&left);
                return;
            }
        }
    }
}

/// Whether a request is for another tenant than these.
fn is_of_another(point: &Point, tenants: usize, than: &[usize]) -> bool {
    let others: Vec<_> = (0..tenants).filter(|number| !than.contains(number)).map(|number| format!("T-{number}")).collect();
    point.what.split(['/', ' ']).any(|word| others.iter().any(|other| word.ends_with(other.as_str())))
}

/// The faults at a request where many tenants go through the same. At what is asked for all, and for the first of them, the operator ends before and after it, and
/// one other comes, each in its turn. For a middle and the last tenant it only ends after it: for one tenant requests come one after the other, so that is to
/// end before the next. The rest go through what their neighbours do.
fn faults_among(tenants: usize, point: &Point, number: usize) -> Vec<Fault> {
    if is_of_another(point, tenants, &[0, tenants / 2, tenants - 1]) {
        return Vec::new();
    }
    if is_of_another(point, tenants, &[0]) {
        return vec![Fault::CrashAfter];
    }
    let others = Fault::all(point.side).iter().filter(|fault| !matches!(fault, Fault::CrashBefore | Fault::CrashAfter));
    [Fault::CrashBefore, Fault::CrashAfter].into_iter().chain(others.cycle().nth(number).copied()).collect()
}

/// How many tenants follow one blueprint.
const MANY: usize = 20;

/// A change of the blueprint of many tenants.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes: dev/faults"]
async fn no_fault_changes_anything_while_many_tenants_follow_their_blueprint() {
    assert_no_difference(&campaign_of_many(MANY, &SHARED, |point, number| faults_among(MANY, point, number)).await);
}

/// A refusal of the moment once held a release up for good: that somebody else has its name was said without a look at whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_at_its_blueprints_copy_holds_no_release_up() {
    let copy = |point: &Point| point.what.starts_with("POST ") && point.what.contains("/controllerrevisions");
    let report = campaign_of_many(1, &RELEASED, |point, _| if copy(point) { vec![Fault::Conflict] } else { Vec::new() }).await;
    assert_no_difference(&report);
}

/// How many tenants get a release.
const RELEASED_TO: usize = 10;

/// A release comes to ten tenants and is taken back. What is asked for releases meets every fault: all everywhere would take hours.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a quarter of an hour: dev/faults"]
async fn no_fault_changes_anything_while_a_release_comes_to_ten_tenants() {
    let faults = |point: &Point, number: usize| match ["/releases/", "/controllerrevisions"].iter().any(|kind| point.what.contains(kind)) {
        true => Fault::all(point.side).to_vec(),
        false => faults_among(RELEASED_TO, point, number),
    };
    assert_no_difference(&campaign_of_many(RELEASED_TO, &RELEASED, faults).await);
}
