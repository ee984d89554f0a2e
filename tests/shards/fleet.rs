//! Operators that share the tenants, and what can be told of them from outside.

use crate::support::{Audit, LIMIT, NAMESPACE, Operator, Request, Tenant, World, unique, wait_until};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tenantry::shards::ShardCount;

/// Operators that were told the same number of shards.
pub struct Fleet {
    pub operators: Vec<Operator>,
    pub count: ShardCount,
}

impl Fleet {
    /// Starts so many, and waits until they share the shards.
    pub async fn start(world: &World, many: usize, shards: &str) -> Self {
        let mut fleet = Self::to_be(shards);
        for _ in 0..many {
            fleet.join(world);
        }
        fleet.settled().await;
        fleet
    }

    /// None yet.
    pub fn to_be(shards: &str) -> Self {
        Self { operators: Vec::new(), count: shards.parse().unwrap() }
    }

    /// One more comes.
    pub fn join(&mut self, world: &World) -> &Operator {
        self.operators.push(world.environment.start_operator(&["--shards", &self.count.to_string()]));
        self.operators.last().unwrap()
    }

    /// Takes one out, to be ended or stopped by the test.
    pub async fn take_out(&mut self, which: impl Fn(&BTreeSet<u32>) -> bool) -> Operator {
        for index in 0..self.operators.len() {
            if which(&shards_of(&self.operators[index]).await) {
                return self.operators.remove(index);
            }
        }
        panic!("there is no such operator");
    }

    pub fn shard_of(&self, tenant: &str) -> u32 {
        self.count.shard_of(tenant).to_string().parse().unwrap()
    }

    /// Waits until each shard is worked on by one, and each works on as many as the others, or one more.
    pub async fn settled(&self) {
        let all: BTreeSet<_> = self.count.all().map(|shard| shard.to_string().parse().unwrap()).collect();
        wait_until("the shards are shared evenly", LIMIT, async || {
            let mut shares = Vec::new();
            for operator in &self.operators {
                if let Some(status) = operator.ended() {
                    panic!("an operator ended with {status}; its log:\n{}", operator.log_of("", 30));
                }
                shares.push(shards_of(operator).await);
            }
            let sizes = || shares.iter().map(BTreeSet::len);
            let is_even = sizes().max() <= sizes().min().map(|least| least + 1) && sizes().sum::<usize>() == all.len();
            let union: BTreeSet<_> = shares.iter().flatten().copied().collect();
            if union == all && is_even { Ok(()) } else { Err(format!("{shares:?}")) }
        })
        .await;
    }

    /// Waits until somebody works on each of these shards, and tells how long it took since then.
    pub async fn covers(&self, shards: &BTreeSet<u32>, since: Instant) -> Duration {
        wait_until("somebody works on every shard", LIMIT, async || {
            let mut covered = BTreeSet::new();
            for operator in &self.operators {
                covered.extend(shards_of(operator).await);
            }
            if covered.is_superset(shards) { Ok(()) } else { Err(format!("{covered:?} of {shards:?}")) }
        })
        .await;
        since.elapsed()
    }

    /// The sum of a metric over all.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let mut sum = 0.0;
        for operator in &self.operators {
            sum += operator.metric(name, label).await;
        }
        sum
    }

    /// Names that begin so, of which the first few belong to shards that are all different.
    pub fn names_in_different_shards(&self, begin: &str, many: usize) -> Vec<String> {
        let mut shards = BTreeSet::new();
        std::iter::repeat_with(|| unique(begin)).filter(|name| shards.insert(self.shard_of(name))).take(many).collect()
    }
}

/// The shards that an operator works on, as it says itself.
pub async fn shards_of(operator: &Operator) -> BTreeSet<u32> {
    let text = operator.readiness().await;
    let shards = text.strip_prefix("working on shards ").unwrap_or_default();
    shards.split(", ").filter_map(|shard| shard.parse().ok()).collect()
}

/// Who holds a shard, as its Lease says.
pub async fn holder_of(world: &World, shard: u32) -> String {
    let lease = world.get("Lease", Some(NAMESPACE), &format!("tenantry-shard-{shard}")).await;
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Waits until it has ended.
pub async fn ended(operator: &Operator) -> std::process::ExitStatus {
    wait_until("the operator has ended", LIMIT, async || operator.ended().ok_or_else(|| operator.log_of("", 5))).await
}

/// All that was asked to be written of a tenant, but for what the coordinator grants it, in the order in which it began.
pub fn writes_of<'a>(requests: &'a [Request], tenant: &str) -> Vec<&'a Request> {
    let namespace = format!("tenant-{tenant}");
    let is_of_it = |request: &&Request| match request.resource.as_str() {
        "namespaces" => request.name == namespace,
        "tenants" | "tenants/status" => request.name == tenant && request.field_manager != "tenantry-coordinator",
        _ => request.namespace == namespace,
    };
    let mut writes: Vec<_> = requests.iter().filter(|request| request.asks_to_write()).filter(is_of_it).collect();
    writes.sort_by_key(|request| request.began);
    writes
}

/// No tenant was written by two at overlapping times: whenever another operator begins, the former's last write has been answered. Tells how often
/// tenants changed hands.
pub fn one_writer_at_a_time(audit: &Audit, tenants: &[Tenant]) -> usize {
    let requests = audit.requests();
    let mut hand_overs = 0;
    for tenant in tenants {
        let writes = writes_of(&requests, &tenant.name);
        assert!(!writes.is_empty(), "nothing was written of {}", tenant.name);
        let mut last_end = Timestamp::MIN;
        for pair in writes.windows(2) {
            last_end = last_end.max(pair[0].ended);
            if pair[0].by != pair[1].by {
                assert!(last_end < pair[1].began, "{}: {:?}\nends at {last_end}, but there is\n{:?}", tenant.name, pair[0], pair[1]);
                hand_overs += 1;
            }
        }
    }
    hand_overs
}
