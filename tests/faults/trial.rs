//! What a campaign has still to try, and the part of a tenant's life that this needs.

use crate::traffic::{Fault, Place, Planned, Point};
use crate::workloads::Workload;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// A fault that is to be tried at a request.
#[derive(Clone)]
pub struct Trial {
    pub point: Point,
    pub fault: Fault,
    /// Whether the request didn't come up when it was tried before.
    again: bool,
}

impl Trial {
    pub fn new(point: Point, fault: Fault) -> Self {
        Self { point, fault, again: false }
    }

    pub fn plan(&self) -> Planned {
        Planned { place: Place::Point(self.point.clone()), fault: self.fault, met: false }
    }
}

/// What is left to be tried, by workload.
pub type Left = Arc<Mutex<BTreeMap<Workload, VecDeque<Trial>>>>;

pub fn next(left: &Left, workload: Workload) -> Option<Trial> {
    left.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&workload)?.pop_front()
}

/// Puts back, once, what was tried at a request that did not come up; tells whether it did.
pub fn put_back(left: &Left, workload: Workload, trial: Option<&Trial>, met: usize) -> bool {
    let Some(trial) = trial.filter(|trial| met == 0 && !trial.again) else { return false };
    let again = Trial { again: true, ..trial.clone() };
    left.lock().unwrap_or_else(PoisonError::into_inner).entry(workload).or_default().push_back(again);
    true
}

/// The part of a life in which something is left to be tried, and what that can't be without: all that came before it when it was rehearsed, unless it
/// left nothing.
pub fn stages(left: &Left, life: &[Workload]) -> Vec<Workload> {
    let left = left.lock().unwrap_or_else(PoisonError::into_inner);
    let has = |workload: &Workload| left.get(workload).is_some_and(|faults| !faults.is_empty());
    let (begin, end) = life.split_at(1);
    let between = &end[..end.len() - 1];
    let is_needed = |number: usize| {
        let first = between[number].begins_with();
        let together = || between.iter().filter(|workload| workload.begins_with() == first);
        let from = between.iter().position(|workload| workload.begins_with() == first).unwrap_or(number);
        if first.leaves_nothing() { together().any(has) } else { between[from..].iter().any(has) }
    };
    let needed = (0..between.len()).filter(|number| is_needed(*number)).map(|number| between[number]);
    begin.iter().copied().chain(needed).chain(end.last().copied()).collect()
}

pub fn is_empty(left: &Left) -> bool {
    left.lock().unwrap_or_else(PoisonError::into_inner).values().all(VecDeque::is_empty)
}

/// Tries nothing more.
pub fn leave(left: &Left) {
    left.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

#[test]
fn a_life_has_what_is_left_and_what_that_rests_on() {
    use Workload::*;
    let point = Point { side: crate::traffic::Side::Api, what: String::new(), nth: 1 };
    let life_with = |workloads: &[Workload]| {
        let all = workloads.iter().map(|workload| (*workload, VecDeque::from([Trial::new(point.clone(), Fault::Conflict)]))).collect();
        stages(&Arc::new(Mutex::new(all)), &crate::workloads::LIFE)
    };
    assert_eq!(life_with(&[Create, Delete]), [Create, Delete]);
    assert_eq!(life_with(&[Resume]), [Create, Settings, LargerPlan, Suspend, Resume, SmallerPlan, Version, Delete]);
    assert_eq!(life_with(&[LargerPlan]), [Create, Settings, LargerPlan, Suspend, Resume, SmallerPlan, Version, Delete]);
    assert_eq!(
        life_with(&[RemoveHost]),
        [Create, Settings, LargerPlan, Suspend, Resume, SmallerPlan, AddHost, RemoveHost, Version, Delete]
    );
    assert_eq!(life_with(&[Rotate]), [Create, Settings, LargerPlan, Suspend, Resume, SmallerPlan, Version, Rotate, Delete]);
    assert_eq!(life_with(&[Settings]), [Create, Settings, Delete]);
    assert_eq!(life_with(&crate::workloads::LIFE), crate::workloads::LIFE);
}
