//! Which tenant is looked at next: each at most once at a time, what people changed before what only has to be looked at again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is more urgent comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Somebody changed something.
    Change,
    /// Only time passed.
    Resync,
}

/// The queue.
#[derive(Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    due: [BTreeSet<(Instant, String)>; 2],
    entries: HashMap<String, Entry>,
    closed: bool,
}

#[derive(Default)]
struct Entry {
    due: Option<(Urgency, Instant)>,
    running: bool,
}

impl Queue {
    /// Looks at this tenant as soon as possible.
    pub fn push(&self, name: &str, urgency: Urgency) {
        self.push_at(name, urgency, Instant::now());
    }

    /// Looks at this tenant after some time, unless it is looked at before.
    pub fn push_after(&self, name: &str, delay: Duration) {
        self.push_at(name, Urgency::Resync, Instant::now() + delay);
    }

    fn push_at(&self, name: &str, urgency: Urgency, at: Instant) {
        let mut inner = self.lock();
        let entry = inner.entries.entry(name.to_owned()).or_default();
        let due = match entry.due {
            Some((known, time)) => (known.min(urgency), time.min(at)),
            None => (urgency, at),
        };
        let before = entry.due.replace(due);
        if !entry.running {
            if let Some((urgency, at)) = before {
                inner.due[urgency as usize].remove(&(at, name.to_owned()));
            }
            inner.due[due.0 as usize].insert((due.1, name.to_owned()));
            self.changed.notify_one();
        }
    }

    /// Waits for the next tenant; none once the queue is closed. Until [`Self::done`] it is given to nobody else.
    pub async fn next(&self) -> Option<String> {
        loop {
            let next = {
                let mut inner = self.lock();
                if inner.closed { None } else { Some(inner.take(Instant::now())) }
            };
            // Another worker may have slept through two wake-ups that became one.
            let pass_on = || self.changed.notify_one();
            let wait = match next {
                None => {
                    pass_on();
                    return None;
                }
                Some(Ok(name)) => {
                    pass_on();
                    return Some(name);
                }
                Some(Err(wait)) => wait,
            };
            match wait {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// This tenant was looked at.
    pub fn done(&self, name: &str) {
        let mut inner = self.lock();
        let Some(entry) = inner.entries.get_mut(name) else { return };
        entry.running = false;
        match entry.due {
            Some((urgency, at)) => {
                inner.due[urgency as usize].insert((at, name.to_owned()));
                self.changed.notify_one();
            }
            None => {
                inner.entries.remove(name);
            }
        }
    }

    /// Gives out no more tenants.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// How many are due now.
    pub fn depth(&self) -> usize {
        let now = Instant::now();
        self.lock().due.iter().map(|due| due.iter().take_while(|(at, _)| *at <= now).count()).sum()
    }

    /// A panic while the lock is held leaves nothing half done that the next push doesn't mend.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The next that is due, or when one will be.
    fn take(&mut self, now: Instant) -> Result<String, Option<Instant>> {
        for due in &mut self.due {
            if due.first().is_some_and(|(at, _)| *at <= now)
                && let Some((_, name)) = due.pop_first()
            {
                let entry = self.entries.entry(name.clone()).or_default();
                entry.due = None;
                entry.running = true;
                return Ok(name);
            }
        }
        Err(self.due.iter().filter_map(|due| due.first().map(|(at, _)| *at)).min())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tenant_is_looked_at_by_one_worker_and_again_if_it_changed_meanwhile() {
        let queue = Queue::default();
        queue.push("a", Urgency::Change);
        queue.push("a", Urgency::Change);
        assert_eq!(queue.next().await.as_deref(), Some("a"));
        queue.push("a", Urgency::Change);
        assert_eq!(queue.depth(), 0);
        queue.done("a");
        assert_eq!(queue.depth(), 1);
        assert_eq!(queue.next().await.as_deref(), Some("a"));
        queue.done("a");
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test]
    async fn a_closed_queue_ends_every_worker() {
        let queue = Queue::default();
        queue.push("a", Urgency::Change);
        queue.close();
        assert_eq!(queue.next().await, None);
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn what_people_changed_comes_before_what_only_grew_old() {
        let queue = Queue::default();
        queue.push("old", Urgency::Resync);
        queue.push("new", Urgency::Change);
        assert_eq!(queue.next().await.as_deref(), Some("new"));
        assert_eq!(queue.next().await.as_deref(), Some("old"));
    }
}
