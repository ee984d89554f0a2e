//! The shards that this process holds, each with the one client that its tenants are written by.

use crate::client::Connection;
use crate::lease::Fence;
use crate::shards::{Shard, ShardCount};
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// A shard that is this process's. Who keeps one longer than that finds its fence closed.
pub struct Holding {
    /// Open while the shard is this process's.
    pub fence: Fence,
    /// Writes what is of this shard.
    pub client: Client,
    /// Writes Events about its tenants.
    pub recorder: Recorder,
}

/// All shards that this process holds.
pub struct Holdings {
    count: ShardCount,
    connection: Connection,
    held: watch::Sender<BTreeMap<Shard, Arc<Holding>>>,
}

impl Holdings {
    pub fn new(count: ShardCount, connection: Connection) -> Self {
        Self { count, connection, held: watch::Sender::default() }
    }

    /// Into how many shards the tenants are split.
    pub fn count(&self) -> ShardCount {
        self.count
    }

    /// Whether one process works on all tenants, so that what it decides need not be told to another.
    pub fn is_alone(&self) -> bool {
        self.count == ShardCount::ONE
    }

    pub fn add(&self, shard: Shard, fence: Fence) {
        let client = self.connection.behind(fence.clone());
        let reporter = Reporter { controller: "tenantry.dev/operator".into(), instance: None };
        let holding = Holding { recorder: Recorder::new(client.clone(), reporter), fence, client };
        self.held.send_modify(|held| {
            held.insert(shard, Arc::new(holding));
        });
    }

    pub fn remove(&self, shard: Shard) -> Option<Arc<Holding>> {
        let mut removed = None;
        self.held.send_modify(|held| removed = held.remove(&shard));
        removed
    }

    /// What a tenant is written by; none where it is another process's.
    pub fn of(&self, tenant: &str) -> Option<Arc<Holding>> {
        self.get(self.count.shard_of(tenant))
    }

    /// What decisions that concern tenants of several shards are written by; none where another process makes them.
    pub fn coordinator(&self) -> Option<Arc<Holding>> {
        self.get(Shard::FIRST)
    }

    fn get(&self, shard: Shard) -> Option<Arc<Holding>> {
        self.held.borrow().get(&shard).cloned()
    }

    /// Does something if the shard is still held as it was, and keeps it from being given up meanwhile.
    pub fn if_held(&self, shard: Shard, holding: &Arc<Holding>, act: impl FnOnce()) {
        let held = self.held.borrow();
        if held.get(&shard).is_some_and(|now| Arc::ptr_eq(now, holding)) {
            act();
        }
    }

    /// What is held, and every change of that.
    pub fn changes(&self) -> watch::Receiver<BTreeMap<Shard, Arc<Holding>>> {
        self.held.subscribe()
    }
}
