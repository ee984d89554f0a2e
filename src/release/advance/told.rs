//! What is said of a release: how many tenants are how far, who failed, who is waited for, and when it would be done.

use super::place::Place;
use super::{Advance, Course, State};
use crate::api::conditions::{self, Verdict};
use crate::api::release::{Counts, WaitingFor};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

/// So many failed tenants are named.
const FAILURES_NAMED: usize = 20;
/// So many of those whose windows are waited for are.
const WAITING_NAMED: usize = 10;

impl Course<'_> {
    /// Enters how many are how far.
    pub(super) fn count(&mut self) {
        self.divide();
        for wave in &mut self.status.waves {
            wave.tenants = Counts::default();
        }
        let (mut failures, mut waiting, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for member in &self.members {
            let Some(wave) = member.wave else { continue };
            let is_open = self.status.waves[wave].opened.is_some();
            let counts = &mut self.status.waves[wave].tenants;
            match &member.place {
                Place::PassedOver => counts.passed_over += 1,
                Place::Free => counts.waiting += 1,
                Place::Closed(until) => {
                    counts.waiting += 1;
                    if is_open {
                        due.push(*until);
                        waiting.push(WaitingFor { tenant: member.tenant.name_any(), until: Some(Time(*until)) });
                    }
                }
                Place::Starting => counts.moving += 1,
                Place::Moving(until) => {
                    counts.moving += 1;
                    due.push(*until);
                }
                Place::Done => counts.done += 1,
                Place::Failed(failure) => {
                    counts.failed += 1;
                    failures.push(failure.clone());
                }
            }
        }
        due.into_iter().for_each(|at| self.due(at));
        failures.sort_by(|one, other| one.tenant.cmp(&other.tenant));
        failures.truncate(FAILURES_NAMED);
        waiting.sort_by(|one, other| (&one.until, &one.tenant).cmp(&(&other.until, &other.tenant)));
        waiting.truncate(WAITING_NAMED);
        (self.status.failures, self.status.waiting_for) = (failures, waiting);
        let sum = self.status.waves.iter().fold(Counts::default(), |sum, wave| Counts {
            waiting: sum.waiting + wave.tenants.waiting,
            moving: sum.moving + wave.tenants.moving,
            done: sum.done + wave.tenants.done,
            failed: sum.failed + wave.tenants.failed,
            passed_over: sum.passed_over + wave.tenants.passed_over,
        });
        self.status.tenants = sum;
        self.status.progress = Some(format!("{}/{}", sum.done, sum.waiting + sum.moving + sum.done + sum.failed));
    }

    /// The status with all of that.
    pub(super) fn end(mut self, state: &State) -> Advance {
        self.status.wave = self.current().map(|wave| self.status.waves[wave].name.clone());
        self.status.estimate = self.estimate(state).map(Time);
        if *state != State::WaitingForWindows && *state != State::Progressing {
            // Only while it goes on is anybody waited for.
            self.status.waiting_for.clear();
        }
        let before = self.release.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        self.status.conditions = conditions::merge(before, &self.verdicts(state), self.status.observed_generation, &Time(self.now));
        Advance { status: self.status, look_again: self.look_again.filter(|at| *at > self.now) }
    }

    /// When it would be done, if it goes on as it did while tenants were on their way.
    fn estimate(&self, state: &State) -> Option<Timestamp> {
        if !matches!(state, State::Progressing | State::Soaking { .. }) {
            return None;
        }
        let Counts { waiting, moving, done, failed, .. } = self.status.tenants;
        let arrived = done + failed;
        let soaked = self.status.waves.windows(2).filter_map(|pair| {
            let (finished, opened) = (pair[0].finished.as_ref()?, pair[1].opened.as_ref()?);
            Some(opened.0.duration_since(finished.0))
        });
        let soaked: SignedDuration = soaked.fold(SignedDuration::ZERO, |sum, soak| sum + soak);
        let elapsed = self.now.duration_since(self.status.started.as_ref()?.0) - soaked;
        let current = self.current()?;
        let to_soak: i64 =
            (current..self.status.waves.len()).map(|wave| self.soaked_at(wave).duration_since(self.now).as_secs().max(0)).sum();
        let left = match arrived {
            0 => return None,
            arrived => elapsed.as_secs_f64() * f64::from(waiting + moving) / f64::from(arrived),
        };
        let at = self.now.checked_add(SignedDuration::from_secs(left as i64 + to_soak)).ok()?;
        at.round(jiff::Unit::Second).ok()
    }

    fn verdicts(&self, state: &State) -> Vec<Verdict> {
        let Counts { waiting, moving, done, failed, passed_over } = self.status.tenants;
        let mut counted = format!("{done} of {} tenants have it, {moving} are on their way", waiting + moving + done + failed);
        for (number, what) in [(failed, "failed"), (passed_over, "are passed over")] {
            if number > 0 {
                counted += &format!(", {number} {what}");
            }
        }
        let (ready, reason, message) = match state {
            State::Complete => (true, "Complete", format!("{done} tenants have it{}", passed(failed, passed_over))),
            State::Superseded { by } => (true, "Superseded", format!("{by} took over; who has this one keeps it until {by} comes")),
            State::RolledBack { by_itself: false } => (true, "RolledBack", "all tenants are back at what they ran before".to_owned()),
            State::RolledBack { by_itself: true } => {
                (false, "RolledBack", "too many tenants failed, and all are back at what they ran before: make a new Release".to_owned())
            }
            State::RollingBack { left } => (false, "RollingBack", format!("{left} tenants are on their way back")),
            State::TooManyFailed { message } => (false, "TooManyFailed", message.clone()),
            State::Paused => (false, "Paused", format!("no further tenant begins; {counted}")),
            State::Soaking { wave, until } => (false, "Soaking", format!("wave {wave} has to stay well until {until}; {counted}")),
            State::WaitingForWindows => (false, "WaitingForWindows", format!("{}; {counted}", self.waits_for())),
            State::Progressing => (false, "Progressing", counted),
        };
        let mut verdicts = vec![Verdict::new(conditions::READY, ready, reason, message.clone())];
        match state {
            State::Progressing | State::Soaking { .. } | State::WaitingForWindows | State::RollingBack { .. } => {
                verdicts.push(Verdict::new(conditions::RECONCILING, true, reason, message));
            }
            State::TooManyFailed { .. } | State::RolledBack { by_itself: true } => {
                verdicts.push(Verdict::new(conditions::STALLED, true, reason, message));
            }
            _ => {}
        }
        verdicts
    }

    fn waits_for(&self) -> String {
        let named = self.status.waiting_for.iter().take(3).map(|waiting| match &waiting.until {
            Some(until) => format!("{} ({})", waiting.tenant, until.0),
            None => waiting.tenant.clone(),
        });
        format!("waiting for the maintenance windows of {}", named.collect::<Vec<_>>().join(", "))
    }
}

fn passed(failed: u32, passed_over: u32) -> String {
    match (failed, passed_over) {
        (0, 0) => String::new(),
        (failed, 0) => format!(", {failed} failed"),
        (0, passed) => format!(", {passed} were passed over"),
        (failed, passed) => format!(", {failed} failed, {passed} were passed over"),
    }
}
