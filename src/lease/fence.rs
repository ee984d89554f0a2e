//! What writes pass on their way out: open while the Lease holds, closed from the moment that it may be another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Until when this process may trust that it is taken to be alive. It runs out by itself, and every [`Fence`] that stands on it closes then.
#[derive(Clone, Debug)]
pub struct Trust(Arc<watch::Sender<Option<Instant>>>);

impl Default for Trust {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Trust {
    /// The Lease was renewed.
    pub fn last_until(&self, end: Instant) {
        self.0.send_replace(Some(end));
    }

    /// It is over.
    pub fn end(&self) {
        self.0.send_replace(None);
    }

    fn lasts(&self) -> bool {
        self.0.borrow().is_some_and(|end| Instant::now() < end)
    }

    /// Returns once it has run out.
    pub(super) async fn ended(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let end = *changes.borrow_and_update();
            match end {
                Some(end) if Instant::now() < end => {
                    // A renewal is no end, so what comes first is looked at again.
                    let _ = tokio::time::timeout_at(end, changes.changed()).await;
                }
                _ => return,
            }
        }
    }
}

/// Open while this process may write what is one shard's.
#[derive(Clone, Debug)]
pub struct Fence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trust: Trust,
    closed: watch::Sender<bool>,
    under_way: AtomicUsize,
    came_through: Notify,
}

/// A write on its way. While there is one, the shard isn't given back.
#[derive(Debug)]
pub struct Passage(Arc<Inner>);

impl Drop for Passage {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        self.0.came_through.notify_waiters();
    }
}

impl Fence {
    /// Open for as long as the trust lasts, or until it is closed.
    pub fn new(trust: &Trust) -> Self {
        let inner =
            Inner { trust: trust.clone(), closed: watch::Sender::new(false), under_way: AtomicUsize::new(0), came_through: Notify::new() };
        Self(Arc::new(inner))
    }

    /// One that never opens, for who only reads.
    pub fn shut() -> Self {
        Self::new(&Trust::default())
    }

    /// Whether a write may begin now.
    pub fn is_open(&self) -> bool {
        !*self.0.closed.borrow() && self.0.trust.lasts()
    }

    /// Lets a write begin, if one may.
    pub fn enter(&self) -> Option<Passage> {
        // It is counted before it is asked for, so that who closes the fence sees it.
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        let passage = Passage(self.0.clone());
        self.is_open().then_some(passage)
    }

    /// From now on nothing is written.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
    }

    /// Returns once it is closed.
    pub async fn closed(&self) {
        let mut closed = self.0.closed.subscribe();
        tokio::select! {
            _ = closed.wait_for(|closed| *closed) => {}
            () = self.0.trust.ended() => {}
        }
    }

    /// Returns once nothing that began is still under way.
    pub async fn empty(&self) {
        loop {
            let came_through = self.0.came_through.notified();
            if self.0.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            came_through.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_fence_closes_by_itself_when_the_trust_has_run_out() {
        let trust = Trust::default();
        let fence = Fence::new(&trust);
        assert!(!fence.is_open() && fence.enter().is_none());
        trust.last_until(Instant::now() + SECOND);
        assert!(fence.is_open() && fence.enter().is_some());
        tokio::time::advance(SECOND / 2).await;
        trust.last_until(Instant::now() + SECOND);
        tokio::time::advance(SECOND * 3 / 4).await;
        assert!(fence.is_open());
        fence.closed().await;
        assert!(!fence.is_open() && fence.enter().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_does_not_end_the_wait_for_the_close() {
        let trust = Trust::default();
        trust.last_until(Instant::now() + SECOND);
        let fence = Fence::new(&trust);
        let begun = Instant::now();
        let renew = async {
            tokio::time::sleep(SECOND / 2).await;
            trust.last_until(begun + 2 * SECOND);
        };
        tokio::join!(fence.closed(), renew);
        assert_eq!(begun.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_shards_fence_is_closed_without_the_others() {
        let trust = Trust::default();
        trust.last_until(Instant::now() + SECOND);
        let (one, other) = (Fence::new(&trust), Fence::new(&trust));
        one.close();
        one.closed().await;
        assert!(!one.is_open() && other.is_open());
        trust.end();
        assert!(!other.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_began_is_waited_for() {
        let trust = Trust::default();
        trust.last_until(Instant::now() + SECOND);
        let fence = Fence::new(&trust);
        let passage = fence.enter().unwrap();
        fence.close();
        assert!(tokio::time::timeout(SECOND / 2, fence.empty()).await.is_err());
        drop(passage);
        fence.empty().await;
    }
}
