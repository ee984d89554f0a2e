//! One leader at a time: how fast the next one leads, and that a former one writes nothing.

use crate::support::{Audit, HANDED_OVER, LIMIT, Operator, TAKEN_OVER, Tenant, World, http_get, summary, wait_until};
use serde_json::json;
use std::time::Instant;

/// An operator that waits for the lease.
async fn follower(environment: &crate::support::Environment) -> Operator {
    let operator = environment.start_operator(&[]);
    wait_until("the second operator waits for the lease", LIMIT, async || match http_get(operator.address, "localhost", "/readyz").await {
        Ok((200, text)) if text == "waiting for the lease" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    operator
}

async fn ended(operator: &Operator) -> std::process::ExitStatus {
    wait_until("the operator has ended", LIMIT, async || operator.ended().ok_or_else(|| operator.log_of("", 5))).await
}

#[tokio::test]
async fn the_next_one_leads_at_once_when_told_to_end_and_soon_after_a_crash() {
    let (_alone, world) = World::alone().await;
    let first = world.environment.start_leader().await;
    let second = follower(world.environment).await;
    let started = Instant::now();
    first.signal("TERM");
    second.leads().await;
    let polite = started.elapsed();
    assert!(ended(&first).await.success(), "{}", first.log_of("", 20));

    let third = follower(world.environment).await;
    let started = Instant::now();
    second.signal("KILL");
    third.leads().await;
    let crash = started.elapsed();
    eprintln!("hand-over: {polite:?} after SIGTERM, {crash:?} after SIGKILL");
    assert!(polite <= HANDED_OVER, "after SIGTERM: {polite:?}");
    assert!(crash <= TAKEN_OVER, "after SIGKILL: {crash:?}");
}

#[tokio::test]
async fn a_leader_that_slept_past_its_lease_writes_nothing() {
    let (_alone, world) = World::alone().await;
    let first = world.environment.start_leader().await;
    let tenant = Tenant::new("slept").create_in(&world).await;
    tenant.ready().await;
    let second = follower(world.environment).await;
    first.signal("STOP");
    second.leads().await;
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await;
    tenant.object_until("ConfigMap", "settings", "has the setting", |map| (map["data"]["LANGUAGE_CODE"] == "de").then_some(())).await;
    tenant.ready().await;
    Audit::begin().settle().await;

    // What the first one believes is old now; drift tempts it to write.
    let audit = Audit::begin();
    first.signal("CONT");
    assert!(!ended(&first).await.success(), "who lost the lease ends as a failure, to be started afresh");
    let written: Vec<_> = audit.writes().into_iter().filter(|request| request.by == first.identity()).collect();
    assert!(written.is_empty(), "{}", summary(&written));
    tenant.delete().await.gone().await;
}
