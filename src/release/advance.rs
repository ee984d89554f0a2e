//! How a release goes on: which waves are open, who of them may begin, and when it stops by itself.

use super::lot::Lot;
use super::target::{draw, has_begun, is_admitted, is_out_of_service, matches};
use super::windows::{Leave, leave};
use crate::api::conditions::{self, Verdict};
use crate::api::release::{Counts, Failure, Halt, HealthScope, OnFailure, ReleaseStatus, WaitingFor, WaveStatus};
use crate::api::{Release, Tenant};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use std::collections::HashSet;
use std::sync::Arc;

/// So many failed tenants are named.
const FAILURES_NAMED: usize = 20;
/// So many of those whose windows are waited for are.
const WAITING_NAMED: usize = 10;
/// So much of a failed tenant's message is shown.
const MESSAGE_LENGTH: usize = 200;

/// What a release comes to at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Advance {
    /// Its status.
    pub status: ReleaseStatus,
    /// When something is due that no change of a tenant or release tells of.
    pub look_again: Option<Timestamp>,
}

/// What a release comes to now. `tenants` are all of its blueprint; `newer` is a later release of its channel that isn't rolled back.
pub fn advance(release: &Release, newer: Option<&Release>, tenants: &[Arc<Tenant>], now: Timestamp) -> Advance {
    let mut status = release.status.clone().unwrap_or_default();
    let generation = release.metadata.generation.unwrap_or_default();
    status.observed_generation = generation;
    if status.halted.as_ref().is_some_and(|halt| halt.generation != generation) {
        status.halted = None;
    }
    let mut course = Course::new(release, status, tenants, now);
    let state = if release.is_rolled_back() {
        course.roll_back()
    } else if let Some(by) = course.status.superseded_by.clone() {
        State::Superseded { by }
    } else if course.status.finished.is_some() {
        State::Complete
    } else if let Some(newer) = newer {
        course.status.superseded_by = Some(newer.name_any());
        course.count();
        State::Superseded { by: newer.name_any() }
    } else {
        course.go_on()
    };
    course.end(&state)
}

/// What a release is at.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Progressing,
    Soaking { wave: String, until: Timestamp },
    WaitingForWindows,
    Paused,
    TooManyFailed { message: String },
    RollingBack { left: u32 },
    RolledBack { by_itself: bool },
    Superseded { by: String },
    Complete,
}

/// How far a tenant is on its way to a release.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    PassedOver,
    /// Its window is closed until then.
    Closed(Timestamp),
    /// It may be moved, and the release hasn't come to it.
    Free,
    /// The release is open to it, and it hasn't begun.
    Starting,
    /// It has begun, and has until then.
    Moving(Timestamp),
    Done,
    Failed(Failure),
}

struct Member<'a> {
    tenant: &'a Tenant,
    lot: Lot,
    place: Place,
    /// The wave that it belongs to.
    wave: Option<usize>,
}

struct Course<'a> {
    release: &'a Release,
    status: ReleaseStatus,
    /// By lot.
    members: Vec<Member<'a>>,
    now: Timestamp,
    look_again: Option<Timestamp>,
}

impl<'a> Course<'a> {
    fn new(release: &'a Release, mut status: ReleaseStatus, tenants: &'a [Arc<Tenant>], now: Timestamp) -> Self {
        let known = std::mem::take(&mut status.waves);
        let of_wave = |name: &str| known.iter().find(|status| status.name == name).cloned();
        status.waves = (release.spec.waves.iter())
            .map(|wave| of_wave(&wave.name).unwrap_or_else(|| WaveStatus { name: wave.name.clone(), ..WaveStatus::default() }))
            .collect();
        let follows = |tenant: &&Arc<Tenant>| tenant.spec.blueprint == release.spec.blueprint && tenant.channel() == release.spec.channel;
        let mut members: Vec<_> = (tenants.iter().filter(follows))
            .map(|tenant| Member { lot: draw(release, tenant), place: place(release, tenant, now), tenant, wave: None })
            .collect();
        members.sort_by_key(|member| member.lot);
        Self { release, status, members, now, look_again: None }
    }

    /// Something is due at this moment.
    fn due(&mut self, at: Timestamp) {
        self.look_again = Some(self.look_again.map_or(at, |known| known.min(at)));
    }

    fn go_on(&mut self) -> State {
        self.divide();
        if self.stops() {
            return match self.release.spec.on_failure {
                OnFailure::Rollback => {
                    self.status.rolled_back = true;
                    self.roll_back()
                }
                OnFailure::Pause => self.halted(),
            };
        }
        let paused = self.release.spec.paused;
        let mut soaking = None;
        while let Some(wave) = self.current() {
            if !self.is_finished(wave) {
                if !paused {
                    self.admit(wave);
                }
                break;
            }
            self.finish(wave);
            let soaked = self.soaked_at(wave);
            if soaked > self.now {
                self.due(soaked);
                soaking = Some(State::Soaking { wave: self.status.waves[wave].name.clone(), until: soaked });
                break;
            }
            if paused {
                break;
            }
            if wave + 1 == self.status.waves.len() {
                self.status.finished = Some(Time(self.now));
                break;
            }
            self.open(wave + 1);
        }
        if self.current().is_none() && !paused {
            self.status.started = Some(Time(self.now));
            self.open(0);
            return self.go_on();
        }
        self.count();
        match () {
            () if self.status.finished.is_some() => State::Complete,
            () if self.status.halted.is_some() => self.halted(),
            () if paused => State::Paused,
            () => soaking.unwrap_or_else(|| self.progressing()),
        }
    }

    fn halted(&mut self) -> State {
        self.count();
        let message = self.status.halted.as_ref().map(|halt| halt.message.clone()).unwrap_or_default();
        State::TooManyFailed { message }
    }

    fn progressing(&self) -> State {
        let is = |wanted: fn(&Place) -> bool| {
            let opened = |member: &&Member<'_>| member.wave.is_some_and(|wave| self.status.waves[wave].opened.is_some());
            self.members.iter().filter(opened).any(|member| wanted(&member.place))
        };
        let moves = is(|place| matches!(place, Place::Free | Place::Starting | Place::Moving(_)));
        if !moves && is(|place| matches!(place, Place::Closed(_))) { State::WaitingForWindows } else { State::Progressing }
    }

    /// The wave that was opened last.
    fn current(&self) -> Option<usize> {
        self.status.waves.iter().rposition(|wave| wave.opened.is_some())
    }

    fn open(&mut self, wave: usize) {
        let bound = self.bound(wave);
        let status = &mut self.status.waves[wave];
        status.opened = Some(Time(self.now));
        status.bound = Some(bound.to_string());
        self.divide();
    }

    /// The last lot that belongs to a wave: that of so many percent of all that have its labels, at least one. A wave of the same labels and more
    /// percent contains those before it, even if tenants came and went since.
    fn bound(&self, wave: usize) -> Lot {
        if let Some(known) = self.status.waves[wave].bound() {
            return known;
        }
        let spec = &self.release.spec.waves[wave];
        if spec.percent >= 100 {
            return Lot::LAST;
        }
        let lots: Vec<_> = self.members.iter().filter(|member| matches(member.tenant, spec)).map(|member| member.lot).collect();
        let wanted = (lots.len() * usize::from(spec.percent)).div_ceil(100);
        let by_rank = wanted.checked_sub(1).and_then(|last| lots.get(last).copied());
        let earlier = (0..wave).filter(|other| {
            let other = &self.release.spec.waves[*other];
            other.matching == spec.matching && other.percent <= spec.percent
        });
        earlier.filter_map(|other| self.status.waves[other].bound()).chain(by_rank).max().unwrap_or(Lot::FIRST)
    }

    /// Gives each tenant to the first wave that it belongs to. One that is passed over has only those that began with it.
    fn divide(&mut self) {
        let waves: Vec<_> = (0..self.status.waves.len())
            .map(|wave| {
                let (spec, status) = (&self.release.spec.waves[wave], &self.status.waves[wave]);
                let last = if spec.skip { status.reach().filter(|_| status.opened.is_some()) } else { Some(self.bound(wave)) };
                (spec, last)
            })
            .collect();
        for member in &mut self.members {
            member.wave = waves.iter().position(|(spec, last)| last.is_some_and(|last| member.lot <= last) && matches(member.tenant, spec));
        }
    }

    fn members_of(&self, wave: usize) -> impl Iterator<Item = &Member<'a>> {
        self.members.iter().filter(move |member| member.wave == Some(wave))
    }

    /// Whether nobody of the wave is waited for any more.
    fn is_finished(&self, wave: usize) -> bool {
        let arrived = |member: &Member<'_>| matches!(member.place, Place::Done | Place::Failed(_) | Place::PassedOver);
        self.release.spec.waves[wave].skip || self.status.waves[wave].finished.is_some() || self.members_of(wave).all(arrived)
    }

    fn finish(&mut self, wave: usize) {
        let status = &mut self.status.waves[wave];
        if status.finished.is_none() {
            status.finished = Some(Time(self.now));
        }
        if !self.release.spec.waves[wave].skip {
            status.reach = status.bound.clone();
        }
    }

    fn soaked_at(&self, wave: usize) -> Timestamp {
        let (spec, status) = (&self.release.spec.waves[wave], &self.status.waves[wave]);
        let soak = spec.soak.as_ref().filter(|_| !spec.skip).map(|soak| soak.duration()).unwrap_or_default();
        let finished = status.finished.as_ref().map_or(self.now, |time| time.0);
        finished.checked_add(SignedDuration::try_from(soak).unwrap_or_default()).unwrap_or(finished)
    }

    /// Lets as many of the wave begin as may be on their way at once.
    fn admit(&mut self, wave: usize) {
        let moving = self.members.iter().filter(|member| matches!(member.place, Place::Moving(_))).count();
        let room = (self.release.spec.waves[wave].concurrency as usize).saturating_sub(moving);
        let is_free = |member: &&Member<'_>| matches!(member.place, Place::Free | Place::Starting);
        // Whom an earlier wave has reached, and whose window was closed then, begins together with this one.
        let reached = |member: &&Member<'_>| {
            let earlier = member.wave.filter(|earlier| *earlier < wave);
            earlier.and_then(|earlier| self.status.waves[earlier].reach()).is_some_and(|reach| member.lot <= reach)
        };
        let forced: Vec<_> = self.members.iter().filter(is_free).filter(reached).collect();
        let free: Vec<_> = self.members_of(wave).filter(is_free).collect();
        let Some(room) = room.checked_sub(forced.len()).filter(|room| *room > 0 || free.is_empty()) else { return };
        let begin = &free[..room.min(free.len())];
        let was_let = |member: &&&Member<'_>| member.place == Place::Starting;
        // Who was let begin stays so, or could have begun by now unseen.
        if free.iter().filter(was_let).count() > begin.iter().filter(was_let).count() {
            return;
        }
        let is_news = forced.iter().chain(begin).any(|member| member.place == Place::Free);
        let last = if room >= free.len() { self.bound(wave) } else { begin.last().map_or(Lot::FIRST, |member| member.lot) };
        if is_news || (free.is_empty() && self.status.waves[wave].reach() != Some(last)) {
            let starting: HashSet<Lot> = forced.iter().chain(begin).map(|member| member.lot).collect();
            self.status.waves[wave].reach = Some(last.to_string());
            self.status.as_of = Some(Time(self.now));
            // They are on their way from now on.
            for member in self.members.iter_mut().filter(|member| starting.contains(&member.lot)) {
                member.place = Place::Starting;
            }
        }
    }

    /// Whether too many have failed. Once it has stopped it goes on only when a person has changed it.
    fn stops(&mut self) -> bool {
        if self.status.halted.is_some() {
            return self.release.spec.on_failure == OnFailure::Pause;
        }
        let Some(wave) = self.current() else { return false };
        let health = &self.release.spec.health;
        let counted: Vec<_> = match health.of {
            HealthScope::Wave => self.members_of(wave).collect(),
            HealthScope::Release => self.members.iter().collect(),
        };
        let of = counted.iter().filter(|member| member.place != Place::PassedOver).count();
        let failed = counted.iter().filter(|member| matches!(member.place, Place::Failed(_))).count();
        if !health.max_failed.is_exceeded(failed, of) {
            return false;
        }
        let scope = match health.of {
            HealthScope::Wave => format!("of wave {}", self.status.waves[wave].name),
            HealthScope::Release => "of the release".to_owned(),
        };
        let message = format!(
            "{failed} of {of} tenants {scope} failed, which is more than maxFailed allows: mend them, or make a new Release; any change of this \
             one lets it be judged anew"
        );
        self.status.halted = Some(Halt { generation: self.release.metadata.generation.unwrap_or_default(), message });
        true
    }

    fn roll_back(&mut self) -> State {
        let uid = self.release.metadata.uid.as_deref().unwrap_or_default();
        let goes_back = |member: &&Member<'_>| {
            let Some(status) = &member.tenant.status else { return false };
            let Some(current) = &status.release else { return false };
            let came_back = current.before.first().is_some_and(|before| before == uid);
            current.uid == uid || (came_back && !conditions::is_true(&status.conditions, conditions::READY))
        };
        let in_service = |member: &&Member<'_>| !is_out_of_service(member.tenant, self.now);
        let left = self.members.iter().filter(in_service).filter(goes_back).count();
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        self.status.tenants = Counts { moving: left, ..Counts::default() };
        self.status.waves.iter_mut().for_each(|wave| wave.tenants = Counts::default());
        if left > 0 {
            return State::RollingBack { left };
        }
        self.status.finished.get_or_insert(Time(self.now));
        State::RolledBack { by_itself: self.status.rolled_back }
    }

    /// Enters how many are how far.
    fn count(&mut self) {
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

    fn end(mut self, state: &State) -> Advance {
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

/// How far a tenant is.
fn place(release: &Release, tenant: &Tenant, now: Timestamp) -> Place {
    if tenant.pinned().is_some() || is_out_of_service(tenant, now) {
        return Place::PassedOver;
    }
    if let Some(place) = place_of_begun(release, tenant, now) {
        return place;
    }
    if has_begun(tenant, release) || is_admitted(tenant, release, now) {
        return Place::Starting;
    }
    match leave(tenant, now) {
        Leave::Since(_) => Place::Free,
        Leave::WindowOpens(at) => Place::Closed(at),
        Leave::HeldUntil(_) | Leave::Invalid(_) => Place::PassedOver,
    }
}

/// How far a tenant is whose status speaks of this release.
fn place_of_begun(release: &Release, tenant: &Tenant, now: Timestamp) -> Option<Place> {
    let status = tenant.status.as_ref()?;
    let current = status.release.as_ref().filter(|current| Some(&current.uid) == release.metadata.uid.as_ref())?;
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    if conditions::is_true(&status.conditions, conditions::READY) {
        return Some(Place::Done);
    }
    let failed = |reason: &str, message: &str| {
        let message = message.chars().take(MESSAGE_LENGTH).collect();
        Some(Place::Failed(Failure { tenant: tenant.name_any(), reason: reason.to_owned(), message }))
    };
    if let Some(stalled) = condition(conditions::STALLED).filter(|stalled| stalled.status == "True") {
        return failed(&stalled.reason, &stalled.message);
    }
    let ready = condition(conditions::READY);
    // One that was ready has so long to be so again.
    let since = ready.map_or(current.since.0, |ready| ready.last_transition_time.0.max(current.since.0));
    let within = SignedDuration::try_from(release.spec.health.within.duration()).unwrap_or_default();
    let until = since.checked_add(within).unwrap_or(Timestamp::MAX);
    if now < until {
        return Some(Place::Moving(until));
    }
    let (reason, message) = ready.map_or(("NotReady", "it isn't ready"), |ready| (ready.reason.as_str(), ready.message.as_str()));
    failed(reason, &format!("not ready within {}: {message}", release.spec.health.within.0))
}
