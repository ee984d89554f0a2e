//! Releases: a picture of each with its waves, which moves as customers do, and the hand that stops one.

use super::apply::{Refusal, apply};
use super::form::Submitted;
use super::frame::Frame;
use super::live;
use super::problem::{Problem, show};
use super::rights::Right;
use super::visitor::Visitor;
use crate::api::release::{Counts, Failure, ReleaseStatus, WaitingFor};
use crate::api::{Release, conditions};
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::Deserialize;
use serde_json::json;
use std::cmp::Reverse;

/// The picture's width, in its own units.
const WIDTH: f64 = 1000.0;

/// The part of a page that changes.
#[derive(Template)]
#[template(path = "waves.html")]
struct View {
    name: String,
    /// The reason of its condition.
    told: String,
    message: String,
    /// `ready`, `working` or `stalled`, as for tenants.
    state: &'static str,
    waves: Vec<Wave>,
    estimate: Option<Timestamp>,
    failures: Vec<Failure>,
    waiting_for: Vec<WaitingFor>,
}

/// A wave, as it is drawn.
struct Wave {
    name: String,
    counts: Counts,
    bars: Vec<Bar>,
    is_open: bool,
    finished: Option<Timestamp>,
}

/// A part of a wave.
#[derive(Debug, PartialEq)]
struct Bar {
    /// What the customers in it are.
    kind: &'static str,
    at: f64,
    width: f64,
}

impl Wave {
    /// How many are in it.
    fn all(&self) -> u32 {
        total(&self.counts)
    }
}

fn total(counts: &Counts) -> u32 {
    counts.done + counts.moving + counts.failed + counts.waiting + counts.passed_over
}

/// All of them from left to right, the farthest first. Each has its bar, however few they are: so a change is one of width, and moves.
fn bars(counts: &Counts) -> Vec<Bar> {
    let parts = [
        ("done", counts.done),
        ("failed", counts.failed),
        ("moving", counts.moving),
        ("waiting", counts.waiting),
        ("over", counts.passed_over),
    ];
    let all = f64::from(total(counts).max(1));
    let mut at = 0.0;
    let bar = |(kind, count): (&'static str, u32)| {
        let width = WIDTH * f64::from(count) / all;
        let bar = Bar { kind, at, width };
        at += width;
        bar
    };
    parts.into_iter().map(bar).collect()
}

impl View {
    fn of(release: &Release) -> Self {
        let status = release.status.clone().unwrap_or_default();
        let is_current = Some(status.observed_generation) == release.metadata.generation;
        let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY).filter(|_| is_current);
        let wave = |wave: &crate::api::release::WaveStatus| Wave {
            name: wave.name.clone(),
            bars: bars(&wave.tenants),
            counts: wave.tenants,
            is_open: wave.opened.is_some(),
            finished: wave.finished.as_ref().map(|at| at.0),
        };
        Self {
            name: release.name_any(),
            told: ready.map_or_else(|| "NotObserved".to_owned(), |ready| ready.reason.clone()),
            message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
            state: state(&status, is_current),
            waves: status.waves.iter().map(wave).collect(),
            estimate: status.estimate.filter(|_| status.finished.is_none()).map(|at| at.0),
            failures: status.failures,
            waiting_for: status.waiting_for,
        }
    }
}

fn state(status: &ReleaseStatus, is_current: bool) -> &'static str {
    if is_current && conditions::is_true(&status.conditions, conditions::STALLED) {
        "stalled"
    } else if is_current && conditions::is_true(&status.conditions, conditions::READY) {
        "ready"
    } else {
        "working"
    }
}

#[derive(Template)]
#[template(path = "releases.html")]
struct List {
    frame: Frame,
    releases: Vec<(Release, View)>,
}

/// All of them, the newest first.
pub async fn list(frame: Frame) -> Result<Response, Problem> {
    let mut releases = all(&frame.visitor).list(&ListParams::default()).await?.items;
    releases.sort_by_key(|release| Reverse(release.creation_timestamp().map(|time| time.0)));
    let releases = releases.into_iter().map(|release| (View::of(&release), release)).map(|(view, release)| (release, view)).collect();
    Ok(show(StatusCode::OK, &List { frame, releases }))
}

fn all(visitor: &Visitor) -> Api<Release> {
    Api::all(visitor.client.clone())
}

async fn find(visitor: &Visitor, name: &str) -> Result<Release, Problem> {
    all(visitor).get_opt(name).await?.ok_or_else(|| Problem::missing(format!("there is no release {name}")))
}

#[derive(Template)]
#[template(path = "release.html")]
struct Page {
    frame: Frame,
    release: Release,
    view: View,
}

impl Page {
    fn is_finished(&self) -> bool {
        self.release.status.as_ref().is_some_and(|status| status.finished.is_some())
    }

    fn is_rolled_back(&self) -> bool {
        self.release.spec.rolled_back || self.release.status.as_ref().is_some_and(|status| status.rolled_back)
    }
}

/// One of them.
pub async fn page(frame: Frame, Path(name): Path<String>) -> Result<Response, Problem> {
    let release = find(&frame.visitor, &name).await?;
    Ok(show(StatusCode::OK, &Page { frame, view: View::of(&release), release }))
}

/// How it goes, until the page goes away.
pub async fn stream(visitor: Visitor, Path(name): Path<String>) -> Result<Response, Problem> {
    live::draw(all(&visitor), &name, "release", |release| View::of(release).render().ok()).await
}

/// What can be done with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Pause,
    GoOn,
    RollBack,
}

/// What a visitor answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    overwrite: bool,
    uid: String,
}

#[derive(Template)]
#[template(path = "release_change.html")]
struct Question {
    frame: Frame,
    release: Release,
    change: Change,
    refusal: Option<Refusal>,
}

/// Asks.
pub async fn ask(frame: Frame, Path((name, change)): Path<(String, Change)>) -> Result<Response, Problem> {
    Ok(show(StatusCode::OK, &question(frame, &name, change).await?))
}

async fn question(frame: Frame, name: &str, change: Change) -> Result<Question, Problem> {
    if !frame.visitor.rights.has(Right::ChangeReleases) {
        return Err(Problem::forbidden(Right::ChangeReleases.missing()));
    }
    let release = find(&frame.visitor, name).await?;
    Ok(Question { frame, release, change, refusal: None })
}

/// Does it, and goes back to the release's page.
pub async fn make(
    frame: Frame,
    Path((name, change)): Path<(String, Change)>,
    Submitted(answer): Submitted<Answer>,
) -> Result<Response, Problem> {
    let mut question = question(frame, &name, change).await?;
    if question.release.uid().unwrap_or_default() != answer.uid {
        return Err(Problem::replaced("release", &name));
    }
    let spec = match change {
        Change::Pause => json!({"paused": true}),
        Change::GoOn => json!({"paused": false}),
        Change::RollBack => json!({"rolledBack": true}),
    };
    let outcome = apply(&question.frame.visitor.client, &question.release, &spec, answer.overwrite).await;
    let Err(refusal) = outcome else { return Ok(Redirect::to(&format!("/releases/{name}")).into_response()) };
    let status = refusal.status();
    question.refusal = Some(refusal);
    Ok(show(status, &question))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_as_wide_as_all_its_customers() {
        let counts = Counts { waiting: 2, moving: 1, done: 5, failed: 1, passed_over: 1 };
        let drawn = bars(&counts);
        assert_eq!(drawn[0], Bar { kind: "done", at: 0.0, width: 500.0 });
        let end = drawn.last().unwrap();
        assert!((end.at + end.width - WIDTH).abs() < 1e-9, "{drawn:?}");
        assert!(bars(&Counts::default()).iter().all(|bar| bar.width == 0.0), "nobody is in it");
    }
}
