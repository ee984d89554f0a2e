//! What passes between one operator and its two servers: every request is numbered, and meets the fault that is planned for it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Which of the two servers a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Api,
    Sql,
}

/// One request of a run, known again in every other run of the same workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    pub side: Side,
    /// What is asked, without what differs from run to run.
    pub what: String,
    /// The how-maniest request that asks this.
    pub nth: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.what, self.nth)
    }
}

/// What goes wrong at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The operator ends before the request is sent.
    CrashBefore,
    /// The operator ends after the request took effect, and before its answer.
    CrashAfter,
    /// 409: somebody else wrote first; 40001: the same in Postgres.
    Conflict,
    /// 403, for once.
    Forbidden,
    /// 429 with Retry-After; 53300: too many connections.
    TooMany,
    /// 500, without effect.
    Internal,
    /// 504 after the request took effect.
    TimedOut,
    /// The connection is lost before the request.
    LostBefore,
    /// The connection is lost after the request took effect.
    LostAfter,
    /// 57P01: the server is being shut down.
    Shutdown,
    /// The operator ends, and the next one is first shown the cluster as it was a while ago.
    StaleView,
    /// From here on the watches tell nothing, and then that they have lost track.
    MissedNews,
}

impl Fault {
    /// All that is tried on a side.
    pub fn all(side: Side) -> &'static [Self] {
        use Fault::*;
        match side {
            Side::Api => {
                &[CrashBefore, CrashAfter, Conflict, Forbidden, TooMany, Internal, TimedOut, LostBefore, LostAfter, StaleView, MissedNews]
            }
            Side::Sql => &[CrashBefore, CrashAfter, Conflict, TooMany, Shutdown, LostBefore, LostAfter],
        }
    }
}

/// Where a fault is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this very request.
    Point(Point),
    /// At the n-th write of the n-th operator since the run began, both from 1.
    Write { life: u32, nth: u32 },
}

/// A fault that is planned, and whether it has happened.
#[derive(Clone, Debug)]
pub struct Planned {
    pub place: Place,
    pub fault: Fault,
    pub met: bool,
}

/// A request that reached its server, and the server's answer.
#[derive(Clone, Debug)]
pub struct Effect {
    pub side: Side,
    pub what: String,
    /// The status code; 0 for a statement that succeeded, 1 for one that failed.
    pub status: u16,
    /// Whether it could change something.
    pub writes: bool,
}

/// Whether watches tell what they hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watches {
    Tell,
    /// They keep it to themselves.
    Hold,
}

#[derive(Default)]
struct Inner {
    plan: Vec<Planned>,
    counts: HashMap<(Side, String), u32>,
    arrived: BTreeSet<Point>,
    effects: Vec<Effect>,
    in_flight: usize,
    /// Ticks of the operator's clock.
    now: u64,
    last: u64,
    held_since: Option<u64>,
    held_for_good: bool,
    /// The part of their path that watches have which hold back for themselves.
    silenced: Option<String>,
    lost_track: u64,
    life: u32,
    /// The lists that this operator has asked for.
    listed: BTreeSet<String>,
    writes_of_life: u32,
    crashed: bool,
    /// The resource versions of the answers so far.
    versions: Vec<u64>,
    /// The resource version that lists are shown.
    stale: Option<u64>,
}

/// All of it.
#[derive(Default)]
pub struct Traffic {
    inner: Mutex<Inner>,
    /// Woken when the operator has to end.
    pub crash: Notify,
    /// Woken when watches may tell again, or have lost track.
    pub watches: Notify,
}

impl Traffic {
    /// Begins a run: counts anew, from this resource version.
    pub fn begin(&self, plan: Vec<Planned>, version: u64) {
        let mut inner = self.lock();
        let Inner { in_flight, lost_track, now, .. } = *inner;
        *inner = Inner { plan, in_flight, lost_track, now, last: now, life: 1, versions: vec![version], ..Inner::default() };
    }

    /// A new operator begins.
    pub fn revive(&self) {
        let mut inner = self.lock();
        inner.crashed = false;
        inner.life += 1;
        inner.listed.clear();
        inner.writes_of_life = 0;
    }

    /// A request arrives; tells what goes wrong with it.
    pub fn arrive(&self, side: Side, what: &str, writes: bool) -> Option<Fault> {
        let mut inner = self.lock();
        inner.last = inner.now;
        inner.in_flight += 1;
        if inner.crashed {
            // What was sent by one that has ended is lost on the way.
            return Some(Fault::CrashBefore);
        }
        let nth = inner.counts.entry((side, what.to_owned())).or_default();
        *nth += 1;
        let point = Point { side, what: what.to_owned(), nth: *nth };
        inner.writes_of_life += u32::from(writes);
        let write = Place::Write { life: inner.life, nth: inner.writes_of_life };
        inner.arrived.insert(point.clone());
        let is_here = |place: &Place| match place {
            Place::Point(planned) => *planned == point,
            planned => writes && *planned == write,
        };
        let planned = inner.plan.iter_mut().find(|planned| !planned.met && is_here(&planned.place))?;
        planned.met = true;
        Some(planned.fault)
    }

    /// Whether a list isn't to be had yet: who follows an operator that ended is told of our own kinds first, and of instances' objects a moment later.
    pub fn comes_late(&self, what: &str) -> bool {
        let mut inner = self.lock();
        inner.life > 1 && !what.contains("/apis/tenantry.dev/") && inner.listed.insert(what.to_owned())
    }

    /// The operator ends now.
    pub fn end_operator(&self, fault: Fault) {
        let mut inner = self.lock();
        if inner.crashed {
            return;
        }
        inner.crashed = true;
        if fault == Fault::StaleView {
            inner.stale = inner.versions.get(inner.versions.len() / 2).copied();
            inner.held_since = Some(inner.now);
        }
        drop(inner);
        self.crash.notify_one();
    }

    /// From here on watches hold back what they hear.
    pub fn miss_news(&self) {
        let mut inner = self.lock();
        inner.held_since = Some(inner.now);
        inner.held_for_good = true;
    }

    /// A request took effect on its server.
    pub fn took_effect(&self, effect: Effect) {
        self.lock().effects.push(effect);
    }

    /// An answer of the API server spoke of this resource version.
    pub fn saw_version(&self, version: u64) {
        let mut inner = self.lock();
        // An object that was read may be older than the run.
        if inner.versions.first().is_some_and(|begin| version > *begin) {
            inner.versions.push(version);
        }
    }

    /// A request that arrived is over.
    pub fn over(&self) {
        let mut inner = self.lock();
        inner.in_flight -= 1;
        inner.last = inner.now;
    }

    /// From here on the watches of one kind hold back what they hear, until all are released.
    pub fn silence(&self, kind: &str) {
        self.lock().silenced = Some(kind.to_owned());
    }

    /// Whether the watch of this path holds back, and how often all lost track so far.
    pub fn watches(&self, path: &str) -> (Watches, u64) {
        let inner = self.lock();
        let holds = inner.held_since.is_some() || inner.silenced.as_ref().is_some_and(|kind| path.contains(kind.as_str()));
        (if holds { Watches::Hold } else { Watches::Tell }, inner.lost_track)
    }

    /// The resource version that lists are shown instead of the newest.
    pub fn stale(&self) -> Option<u64> {
        self.lock().stale
    }

    /// For how many ticks watches have held back.
    pub fn held_for(&self) -> Option<u64> {
        let inner = self.lock();
        inner.held_since.map(|since| inner.now - since)
    }

    /// Watches tell again, or have lost track of what they held back.
    pub fn release(&self) {
        let mut inner = self.lock();
        inner.held_since = None;
        inner.silenced = None;
        inner.stale = None;
        if std::mem::take(&mut inner.held_for_good) {
            inner.lost_track += 1;
        }
        inner.last = inner.now;
        drop(inner);
        self.watches.notify_waiters();
    }

    /// For how many ticks nothing was asked.
    pub fn quiet_for(&self) -> u64 {
        let inner = self.lock();
        if inner.in_flight == 0 { inner.now - inner.last } else { 0 }
    }

    /// Whether the operator's clock may go on: while it waits for an answer it stands, so that a machine that is busy looks like one that isn't.
    pub fn tick(&self) -> bool {
        let mut inner = self.lock();
        let goes_on = inner.in_flight == 0;
        inner.now += u64::from(goes_on);
        goes_on
    }

    /// A check of the operator is to be answered. It changes nothing, so it doesn't end a quiet time.
    pub fn check(self: &Arc<Self>) -> Check {
        self.lock().in_flight += 1;
        Check(self.clone())
    }

    /// How things stand, for a person who looks for a cause.
    pub fn state(&self) -> String {
        let inner = self.lock();
        let last: Vec<_> = inner.effects.iter().rev().take(5).map(|effect| effect.what.as_str()).collect();
        format!("{} requests under way, quiet for {} ticks, the last that took effect: {last:?}", inner.in_flight, inner.now - inner.last)
    }

    /// Whether the operator was told to end, and the next hasn't begun.
    pub fn is_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// How much of what was planned has happened.
    pub fn met(&self) -> usize {
        self.lock().plan.iter().filter(|planned| planned.met).count()
    }

    /// All requests that arrived.
    pub fn points(&self) -> BTreeSet<Point> {
        self.lock().arrived.clone()
    }

    /// All that took effect.
    pub fn effects(&self) -> Vec<Effect> {
        self.lock().effects.clone()
    }

    /// How many writes took effect.
    pub fn writes(&self) -> Vec<Effect> {
        self.effects().into_iter().filter(|effect| effect.writes).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a request however its handling ends.
pub struct Passing(pub Arc<Traffic>);

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.over();
    }
}

/// A check, until it is answered.
pub struct Check(Arc<Traffic>);

impl Drop for Check {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}
