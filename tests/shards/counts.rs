//! Operators that split the tenants into different numbers of shards, as in the middle of a rolling update, never work at once.

use crate::fleet::{Fleet, ended, one_writer_at_a_time, shards_of};
use crate::support::{Audit, HANDED_OVER, LIMIT, Tenant, World, wait_until};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long somebody who may not begin is watched for beginning nevertheless.
const WATCHED: Duration = Duration::from_secs(3);

#[tokio::test]
async fn another_number_of_shards_waits_until_the_last_of_the_old_one_has_ended() {
    let (_alone, world) = World::alone().await;
    let audit = Audit::begin();
    let mut six = Fleet::start(&world, 2, "6").await;
    let tenant = Tenant::new("counted").create_in(&world).await;
    tenant.ready().await;
    let mut three = Fleet::to_be("3");
    three.join(&world);
    three.join(&world);
    for operator in &three.operators {
        wait_until("it joined", LIMIT, async || if operator.whole_log().contains("joined") { Ok(()) } else { Err(operator.log_of("", 5)) })
            .await;
    }
    let first = six.take_out(|_| true).await;
    first.signal("TERM");
    ended(&first).await;
    six.settled().await;
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await.ready().await;
    for operator in &three.operators {
        assert_eq!(operator.readiness().await, "waiting for a shard");
    }
    let last = six.take_out(|_| true).await;
    let started = Instant::now();
    last.signal("TERM");
    let polite = three.covers(&(0..3).collect(), started).await;
    ended(&last).await;
    three.settled().await;
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "fr"}})).await.ready().await;

    // One operator for all.
    let only = world.environment.start_operator(&[]);
    wait_until("it waits", LIMIT, async || match only.readiness().await {
        text if text == "waiting for the lease" => Ok(()),
        text => Err(text),
    })
    .await;
    drop(three);
    only.leads().await;
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "en"}})).await.ready().await;
    assert!(tenant.get().await["status"]["grant"].is_null(), "with one operator nothing is granted");
    assert!(polite <= HANDED_OVER, "after SIGTERM: {polite:?}");
    assert!(one_writer_at_a_time(&audit, &[tenant]) >= 2);
}

#[tokio::test]
async fn of_two_numbers_of_shards_that_begin_at_once_one_is_in_force() {
    let (_alone, world) = World::alone().await;
    for _ in 0..3 {
        let mut six = Fleet::to_be("6");
        six.join(&world);
        let only = world.environment.start_operator(&[]);
        let six_works = async || !shards_of(&six.operators[0]).await.is_empty();
        let only_works = async || only.readiness().await == "leading";
        wait_until(
            "one of them works",
            LIMIT,
            async || if six_works().await || only_works().await { Ok(()) } else { Err(only.log_of("", 5)) },
        )
        .await;
        let started = Instant::now();
        while started.elapsed() < WATCHED {
            assert!(!(six_works().await && only_works().await), "both work");
            tokio::task::yield_now().await;
        }
    }
}
