//! How far a tenant is, with the seconds that each step took and usually takes.

use super::Console;
use super::usual::{Seconds, took, usual};
use super::visitor::Visitor;
use crate::api::Tenant;
use crate::inspect::{Advice, Progress, State, Step, advice, state, steps};
use askama::Template;
use jiff::Timestamp;
use kube::ResourceExt;

/// Reasons of every tenant that comes up. They are worth a person's look only if they last.
const PASSING: [&str; 2] = ["NotAnswering", "WaitingForRoute"];

/// The part of a page that changes.
#[derive(Template)]
#[template(path = "progress.html")]
pub struct View {
    pub name: String,
    pub state: State,
    pub told: String,
    pub message: String,
    pub url: String,
    /// Who has to act, and what it means in plain words, where somebody has.
    pub advice: Option<Advice>,
    pub steps: Vec<Shown>,
    /// When it was made.
    pub created: Option<Timestamp>,
    pub version: String,
    pub hosts: Vec<String>,
}

/// A step, as it is shown.
pub struct Shown {
    pub step: Step,
    /// What it says that isn't said above all steps already.
    pub sentence: String,
    /// So many seconds it took.
    pub took: Option<u32>,
    /// So many it usually takes; known for what isn't done yet.
    pub usual: Option<u32>,
}

impl Shown {
    /// The sign that tells without a colour what it is.
    pub fn sign(&self) -> &'static str {
        match self.step.progress {
            Progress::Done => "✓",
            Progress::Doing => "◐",
            Progress::Failed => "✗",
            Progress::Waiting => "·",
            Progress::Resting => "○",
        }
    }

    /// The same in a word, for who doesn't see it.
    pub fn word(&self) -> &'static str {
        match self.step.progress {
            Progress::Done => "done",
            Progress::Doing => "at work",
            Progress::Failed => "failed",
            Progress::Waiting => "waiting",
            Progress::Resting => "resting",
        }
    }
}

impl View {
    /// Of this tenant, of a product whose steps usually take so long.
    pub fn of(tenant: &Tenant, usual: &Seconds) -> Self {
        let status = tenant.status.as_ref();
        let told = state::told(tenant).to_owned();
        let at = State::of(tenant);
        let message = state::ready(tenant).filter(|_| at != State::Ready).map(|ready| ready.message.clone()).unwrap_or_default();
        let steps = steps::steps(tenant);
        let took = took(tenant, &steps);
        let shown = |step: Step| {
            let is_ahead = at == State::Working && matches!(step.progress, Progress::Doing | Progress::Waiting);
            let sentence = if step.sentence == message { String::new() } else { step.sentence.clone() };
            Shown { took: took.get(step.name).copied(), usual: usual.get(step.name).copied().filter(|_| is_ahead), sentence, step }
        };
        Self {
            name: tenant.name_any(),
            state: at,
            url: status.and_then(|status| status.url.clone()).unwrap_or_default(),
            advice: advice::about(&told).filter(|advice| is_worth_a_word(at, &told, advice)),
            told,
            steps: steps.into_iter().map(shown).collect(),
            message,
            version: status.and_then(|status| status.version.clone()).unwrap_or_default(),
            hosts: status.map(|status| status.hosts.clone()).unwrap_or_default(),
            created: tenant.creation_timestamp().map(|time| time.0),
        }
    }
}

/// Whether somebody is told who has to act: not where it passes as a rule before anybody could.
fn is_worth_a_word(at: State, reason: &str, advice: &Advice) -> bool {
    match at {
        State::Stalled => true,
        State::Working => advice.needs_somebody() && !PASSING.contains(&reason),
        _ => false,
    }
}

/// What the steps of this tenant's product usually take. Who may not see the others isn't told.
pub async fn usually(console: &Console, visitor: &Visitor, blueprint: &str) -> Seconds {
    console.fleet.rows(visitor).await.map(|fleet| usual(&fleet, blueprint)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_to_act_is_said_where_it_does_not_pass_by_itself() {
        let is = |at, reason: &str| is_worth_a_word(at, reason, &advice::about(reason).unwrap());
        assert!(is(State::Stalled, "PlanMissing") && is(State::Working, "MigrationNotStarted") && is(State::Working, "PullSecretMissing"));
        assert!(!is(State::Working, "Migrating") && !is(State::Working, "Deploying"), "nobody has to act");
        assert!(!is(State::Working, "WaitingForRoute") && !is(State::Working, "NotAnswering"), "it passes");
        assert!(!is(State::Ready, "Ready") && !is(State::Suspended, "Suspended"));
    }
}
