//! How the shards are shared, and how they are handed over.

use crate::fleet::{Fleet, ended, holder_of, one_writer_at_a_time, shards_of, writes_of};
use crate::support::{Audit, HANDED_OVER, TAKEN_OVER, Tenant, World, summary, unique};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Instant;

/// Makes so many tenants and waits until all are ready.
async fn ready_tenants(world: &World, name: &str, many: usize) -> Vec<Tenant> {
    let mut tenants = Vec::new();
    for _ in 0..many {
        tenants.push(Tenant::named(&unique(name)).create_in(world).await);
    }
    for tenant in &tenants {
        tenant.ready().await;
    }
    tenants
}

/// Changes tenants and waits until that has reached their instances.
async fn change(tenants: &[Tenant], language: &str) {
    for tenant in tenants {
        tenant.change(json!({"settings": {"LANGUAGE_CODE": language}})).await;
    }
    for tenant in tenants {
        let has_it = |map: &serde_json::Value| (map["data"]["LANGUAGE_CODE"] == language).then_some(());
        tenant.object_until("ConfigMap", "settings", "has the setting", has_it).await;
    }
}

#[tokio::test]
async fn the_shards_are_shared_evenly_and_taken_over_from_who_dies_sleeps_or_ends() {
    let (_alone, world) = World::alone().await;
    let audit = Audit::begin();
    let mut fleet = Fleet::start(&world, 3, "6").await;
    let tenants = ready_tenants(&world, "shared", 12).await;
    for operator in &fleet.operators {
        let shards = shards_of(operator).await;
        assert_eq!(shards.len(), 2);
        for shard in shards {
            assert_eq!(holder_of(&world, shard).await, operator.identity());
        }
    }
    let requests = audit.requests();
    for tenant in &tenants {
        let holder = holder_of(&world, fleet.shard_of(&tenant.name)).await;
        assert_eq!(writes_of(&requests, &tenant.name).last().unwrap().by, holder, "{} is worked on by another", tenant.name);
    }
    // Each tenant is counted once over all.
    let all = world.list("Tenant", None, "").await.len();
    assert_eq!(fleet.metric("tenantry_tenants", "").await, all as f64);
    assert_eq!((fleet.metric("tenantry_shards_held", "").await, fleet.metric("tenantry_leading", "").await), (6.0, 1.0));

    // Two go at once without a word: one dies, one falls asleep.
    let (dead, sleeper) = (fleet.take_out(|_| true).await, fleet.take_out(|_| true).await);
    let theirs: BTreeSet<_> = shards_of(&dead).await.union(&shards_of(&sleeper).await).copied().collect();
    let moved = tenants.iter().filter(|tenant| theirs.contains(&fleet.shard_of(&tenant.name))).count();
    let started = Instant::now();
    dead.signal("KILL");
    sleeper.signal("STOP");
    let crash = fleet.covers(&theirs, started).await;
    change(&tenants, "de").await;

    let started = Instant::now();
    fleet.join(&world);
    fleet.join(&world);
    fleet.settled().await;
    let join = started.elapsed();
    change(&tenants, "fr").await;
    Audit::begin().settle().await;
    // What the sleeper believes is old now; drift tempts it to write.
    let awake = Audit::begin();
    sleeper.signal("CONT");
    assert!(!ended(&sleeper).await.success(), "who lost its shards ends as a failure, to be started afresh");
    let written: Vec<_> = awake.writes().into_iter().filter(|request| request.by == sleeper.identity()).collect();
    assert!(written.is_empty(), "{}", summary(&written));

    let leaves = fleet.take_out(|_| true).await;
    let theirs = shards_of(&leaves).await;
    let started = Instant::now();
    leaves.signal("TERM");
    let polite = fleet.covers(&theirs, started).await;
    assert!(ended(&leaves).await.success(), "{}", leaves.log_of("", 20));
    change(&tenants, "en").await;
    for tenant in &tenants {
        tenant.ready().await;
    }
    assert_eq!(fleet.metric("tenantry_tenants", "").await, all as f64);
    let hand_overs = one_writer_at_a_time(&audit, &tenants);
    eprintln!(
        "hand-over: {crash:?} after SIGKILL, {polite:?} after SIGTERM, {join:?} to two that join; {hand_overs} tenants changed hands"
    );
    assert!(hand_overs >= moved, "{hand_overs} tenants changed hands, but {moved} were of those who went");
    assert!(crash <= TAKEN_OVER, "after SIGKILL: {crash:?}");
    assert!(polite <= HANDED_OVER, "after SIGTERM: {polite:?}");
    assert!(join <= HANDED_OVER, "a Lease was waited for: {join:?}");
}

#[tokio::test]
async fn at_rest_nothing_is_asked_but_leases() {
    let (_alone, world) = World::alone().await;
    let fleet = Fleet::start(&world, 3, "6").await;
    let tenants = ready_tenants(&world, "still", 3).await;
    Audit::begin().settle().await;
    let audit = Audit::begin();
    audit.settle().await;
    let requests: Vec<_> = audit.requests().into_iter().filter(|request| request.verb != "watch").collect();
    assert!(requests.is_empty(), "{}", summary(&requests));
    // One for each process, however many shards it holds.
    let renewed: BTreeSet<_> = audit.lease_writes().into_iter().map(|request| request.name).collect();
    assert_eq!(renewed, fleet.operators.iter().map(|operator| format!("tenantry-member-{}", operator.identity())).collect());
    drop((fleet, tenants));
}
