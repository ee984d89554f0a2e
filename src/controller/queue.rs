//! Which tenant is looked at next: each at most once at a time, what people changed before what only has to be looked at again. Tenants of shards
//! that aren't worked on here are never given out.

use crate::shards::{Shard, ShardCount};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long what changed in an instance waits for what changes with it: a Deployment's status changes with every pod.
const TOGETHER: Duration = Duration::from_millis(100);

/// What is more urgent comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Somebody changed this tenant, or something that is its own.
    Change,
    /// It is new, and nothing was done for it yet. What was begun is brought to its end first: of a thousand new customers the first are served
    /// soon, and not all of them at the same late moment.
    Creation,
    /// Only time passed, or something changed that many tenants share.
    Resync,
}

/// The queue.
pub struct Queue {
    count: ShardCount,
    inner: Mutex<Inner>,
    changed: Notify,
    /// Somebody is done with a tenant.
    done: Notify,
}

#[derive(Default)]
struct Inner {
    due: [BTreeSet<(Instant, String)>; 3],
    entries: HashMap<String, Entry>,
    open: BTreeSet<Shard>,
}

#[derive(Default)]
struct Entry {
    due: Option<(Urgency, Instant)>,
    running: bool,
}

impl Queue {
    /// A queue that no shard is worked on in yet.
    pub fn new(count: ShardCount) -> Self {
        Self { count, inner: Mutex::default(), changed: Notify::new(), done: Notify::new() }
    }

    /// From now on tenants of this shard are given out.
    pub fn open(&self, shard: Shard) {
        self.lock().open.insert(shard);
    }

    /// From now on none are. Those that were given out are still worked on, see [`Self::idle`].
    pub fn shut(&self, shard: Shard) {
        let mut inner = self.lock();
        inner.open.remove(&shard);
        let is_of_it = |name: &str| self.count.shard_of(name) == shard;
        inner.due.iter_mut().for_each(|due| due.retain(|(_, name)| !is_of_it(name)));
        inner.entries.retain(|name, entry| entry.running || !is_of_it(name));
    }

    /// Returns once no tenant of this shard is worked on.
    pub async fn idle(&self, shard: Shard) {
        loop {
            let done = self.done.notified();
            if !self.lock().entries.iter().any(|(name, entry)| entry.running && self.count.shard_of(name) == shard) {
                return;
            }
            done.await;
        }
    }

    /// The shards that are worked on.
    pub fn shards(&self) -> BTreeSet<Shard> {
        self.lock().open.clone()
    }

    /// Looks at this tenant as soon as possible.
    pub fn push(&self, name: &str, urgency: Urgency) {
        self.push_at(name, urgency, Instant::now());
    }

    /// Looks at this tenant after a moment: one of its objects changed, and seldom alone.
    pub fn push_soon(&self, name: &str) {
        self.push_at(name, Urgency::Change, Instant::now() + TOGETHER);
    }

    /// Looks at this tenant after some time, unless it is looked at before.
    pub fn push_after(&self, name: &str, delay: Duration) {
        self.push_at(name, Urgency::Resync, Instant::now() + delay);
    }

    fn push_at(&self, name: &str, urgency: Urgency, at: Instant) {
        let shard = self.count.shard_of(name);
        let mut inner = self.lock();
        if !inner.open.contains(&shard) {
            return;
        }
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

    /// Waits for the next tenant. Until [`Self::done`] it is given to nobody else.
    pub async fn next(&self) -> String {
        loop {
            let next = self.lock().take(Instant::now());
            let wait = match next {
                Ok(name) => {
                    // Another worker may have slept through two wake-ups that became one.
                    self.changed.notify_one();
                    return name;
                }
                Err(wait) => wait,
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
        let shard = self.count.shard_of(name);
        let mut inner = self.lock();
        let is_open = inner.open.contains(&shard);
        if let Some(entry) = inner.entries.get_mut(name) {
            entry.running = false;
            match entry.due {
                Some((urgency, at)) if is_open => {
                    inner.due[urgency as usize].insert((at, name.to_owned()));
                    self.changed.notify_one();
                }
                _ => {
                    inner.entries.remove(name);
                }
            }
        }
        drop(inner);
        self.done.notify_waiters();
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

    fn queue() -> Queue {
        let queue = Queue::new(ShardCount::ONE);
        queue.open(Shard::FIRST);
        queue
    }

    #[tokio::test]
    async fn a_tenant_is_looked_at_by_one_worker_and_again_if_it_changed_meanwhile() {
        let queue = queue();
        queue.push("a", Urgency::Change);
        queue.push("a", Urgency::Change);
        assert_eq!(queue.next().await, "a");
        queue.push("a", Urgency::Change);
        assert_eq!(queue.depth(), 0);
        queue.done("a");
        assert_eq!(queue.depth(), 1);
        assert_eq!(queue.next().await, "a");
        queue.done("a");
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_together_is_looked_at_once_and_whoever_changes_the_tenant_waits_for_nothing() {
        let queue = queue();
        queue.push_soon("a");
        queue.push_soon("a");
        queue.push_soon("b");
        assert_eq!(queue.depth(), 0);
        queue.push("b", Urgency::Change);
        assert_eq!(queue.next().await, "b");
        queue.done("b");
        let begun = Instant::now();
        assert_eq!(queue.next().await, "a");
        assert!(begun.elapsed() >= TOGETHER);
        queue.done("a");
        tokio::time::advance(TOGETHER * 2).await;
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test]
    async fn what_people_changed_comes_before_what_is_new_and_before_what_only_grew_old() {
        let queue = queue();
        queue.push("old", Urgency::Resync);
        queue.push("new", Urgency::Creation);
        queue.push("changed", Urgency::Change);
        assert_eq!(queue.next().await, "changed");
        assert_eq!(queue.next().await, "new");
        assert_eq!(queue.next().await, "old");
    }

    #[tokio::test]
    async fn tenants_of_a_shard_are_given_out_only_while_it_is_worked_on() {
        let count: ShardCount = "3".parse().unwrap();
        let (acme, initech) = (count.shard_of("acme"), count.shard_of("initech"));
        assert_ne!(acme, initech);
        let queue = Queue::new(count);
        queue.push("acme", Urgency::Change);
        assert_eq!(queue.depth(), 0);
        queue.open(acme);
        queue.open(initech);
        queue.push("initech", Urgency::Change);
        queue.push("acme", Urgency::Resync);
        assert_eq!(queue.next().await, "initech");
        queue.push("initech", Urgency::Change);
        queue.shut(initech);
        assert!(tokio::time::timeout(Duration::from_millis(50), queue.idle(initech)).await.is_err(), "it is still worked on");
        queue.done("initech");
        queue.idle(initech).await;
        assert_eq!(queue.next().await, "acme");
        assert_eq!((queue.depth(), queue.shards()), (0, BTreeSet::from([acme])));
    }
}
