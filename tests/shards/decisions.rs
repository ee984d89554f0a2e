//! What tenants of several shards compete for is decided once: by the operator that holds the first shard, whoever that is.

use crate::fleet::{Fleet, shards_of};
use crate::support::{LIMIT, Tenant, World, unique, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;

/// The namespaces whose Ingress has the host.
async fn routed(world: &World, host: &str) -> Vec<String> {
    let has = |ingress: &Value| ingress["spec"]["rules"].as_array().is_some_and(|rules| rules.iter().any(|rule| rule["host"] == host));
    let of = |ingress: &Value| ingress["metadata"]["namespace"].as_str().expect("a namespace").to_owned();
    world.list("Ingress", None, "").await.iter().filter(|ingress| has(ingress)).map(of).collect()
}

fn reason(tenant: &Value) -> String {
    let conditions = tenant["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    ready.and_then(|ready| ready["reason"].as_str()).unwrap_or_default().to_owned()
}

/// Two tenants of different shards that claim one host, made at once.
async fn rivals(world: &World, fleet: &Fleet, host: &str) -> [Tenant; 2] {
    let names = fleet.names_in_different_shards("rival", 2);
    let to_be = |name: &String| Tenant::named(name).with(json!({"domains": [host]}));
    let (one, other) = tokio::join!(to_be(&names[0]).create_in(world), to_be(&names[1]).create_in(world));
    [one, other]
}

/// Waits until one of the two has the host and the other is stalled for it; the one that has it first.
async fn winner_first(world: &World, [one, other]: [Tenant; 2], host: &str) -> [Tenant; 2] {
    let first_wins = wait_until(&format!("one of two tenants gets {host}"), LIMIT, async || {
        let routed = routed(world, host).await;
        assert!(routed.len() <= 1, "{host} is routed to {routed:?}");
        let reasons = (reason(&one.get().await), reason(&other.get().await));
        match (reasons.0.as_str(), reasons.1.as_str()) {
            ("Ready", "HostConflict") => Ok(true),
            ("HostConflict", "Ready") => Ok(false),
            _ => Err(format!("{reasons:?}, routed to {routed:?}")),
        }
    })
    .await;
    if first_wins { [one, other] } else { [other, one] }
}

#[tokio::test]
async fn of_tenants_that_claim_one_host_at_once_one_gets_it_and_keeps_it_when_another_decides() {
    let (_alone, world) = World::alone().await;
    let mut fleet = Fleet::start(&world, 3, "6").await;
    let hosts: Vec<_> = (0..4).map(|_| format!("{}.example.com", unique("rivals"))).collect();
    let pairs = futures::future::join_all(hosts.iter().map(|host| rivals(&world, &fleet, host))).await;
    let mut winners = Vec::new();
    for (host, pair) in hosts.iter().zip(pairs) {
        winners.push(winner_first(&world, pair, host).await);
    }
    // A status that was made from an older view doesn't take the grant back.
    let [winner, loser] = &winners[0];
    let tenant = winner.get().await;
    let mut stale = tenant["status"].clone();
    assert!(stale["grant"]["hosts"].as_array().unwrap().contains(&json!(hosts[0])), "{stale}");
    stale.as_object_mut().unwrap().remove("grant");
    world.apply_status_as("tenantry", "Tenant", &winner.name, &stale).await;
    assert_eq!(winner.get().await["status"]["grant"], tenant["status"]["grant"]);

    // Another decides from now on.
    let first = fleet.take_out(|shards| shards.contains(&0)).await;
    let theirs = shards_of(&first).await;
    first.signal("KILL");
    fleet.covers(&theirs, Instant::now()).await;
    loser.annotate("tenantry.dev/reconcile", "again").await;
    loser.stalled("HostConflict").await;
    for (host, [winner, _]) in hosts.iter().zip(&winners) {
        assert_eq!(routed(&world, host).await, std::slice::from_ref(&winner.namespace));
    }

    // What is given up goes to who waits for it.
    winner.change(json!({"domains": []})).await;
    loser.ready().await;
    assert_eq!(routed(&world, &hosts[0]).await, std::slice::from_ref(&loser.namespace));
    winner.change(json!({"domains": [hosts[0]]})).await;
    winner.stalled("HostConflict").await;
    for (host, [winner, _]) in hosts.iter().zip(&winners).skip(1) {
        assert_eq!(routed(&world, host).await, std::slice::from_ref(&winner.namespace));
    }
}

#[tokio::test]
async fn a_database_server_is_not_overrun_by_tenants_of_different_shards() {
    let (_alone, world) = World::alone().await;
    let fleet = Fleet::start(&world, 3, "6").await;
    let server = world.server(json!({"capacity": {"tenants": 2}})).await;
    let names = fleet.names_in_different_shards("crowd", 6);
    let create = |name: &String| Tenant::named(name).with(json!({"region": server})).create_in(&world);
    let tenants = futures::future::join_all(names.iter().map(create)).await;
    let placed = async || {
        let mut placed = BTreeSet::new();
        for tenant in &tenants {
            let found = world.find("Tenant", None, &tenant.name).await.unwrap_or_default();
            if found["status"]["database"]["server"] == server {
                placed.insert(tenant.name.clone());
            }
        }
        placed
    };
    wait_until("two are ready and the others find the server full", LIMIT, async || {
        let mut reasons = Vec::new();
        for tenant in &tenants {
            reasons.push(reason(&tenant.get().await));
        }
        let count = |reason: &str| reasons.iter().filter(|found| *found == reason).count();
        if (count("Ready"), count("DatabaseServersFull")) == (2, 4) { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
    let before = placed().await;
    assert_eq!(before.len(), 2);

    // A place that becomes free goes to one of those who wait.
    let leaves = tenants.iter().find(|tenant| before.contains(&tenant.name)).unwrap();
    leaves.delete().await.gone().await;
    wait_until("one more is placed", LIMIT, async || {
        let now = placed().await;
        assert!(now.len() <= 2, "{now:?}");
        if now.len() == 2 { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}
