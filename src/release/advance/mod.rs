//! How a release goes on: which waves are open, who of them may begin, and when it stops by itself.

mod place;
mod told;

use super::lot::Lot;
use super::target::{draw, is_out_of_service, matches};
use crate::api::conditions;
use crate::api::release::{Counts, Halt, HealthScope, OnFailure, ReleaseStatus, WaveStatus};
use crate::api::{Release, Tenant};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use place::{Place, place};
use std::collections::HashSet;
use std::sync::Arc;

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
}
