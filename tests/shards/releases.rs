//! A release comes to tenants of all shards as it does to those of one: its waves are opened by whoever holds the first shard, and each tenant is moved
//! by whoever holds its own.

use crate::fleet::{Fleet, ended, one_writer_at_a_time, shards_of, writes_of};
use crate::support::{Audit, LIMIT, Tenant, World, condition, manifest, unique, wait_until};
use futures::TryStreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How many may be on their way at once.
const AT_ONCE: usize = 2;

/// The most tenants that were ever seen on their way to a release at once.
fn watch_who_moves(world: &World, release: &str) -> Arc<Mutex<usize>> {
    let most = Arc::new(Mutex::new(0));
    let (seen, release) = (most.clone(), release.to_owned());
    let tenants: Api<tenantry::api::Tenant> = Api::all(world.cluster.client.clone());
    tokio::spawn(async move {
        let mut moving = BTreeSet::new();
        let changes = watcher(tenants, watcher::Config::default()).default_backoff().applied_objects();
        let _ = changes
            .try_for_each(|tenant| {
                let has_it = tenant.status.as_ref().and_then(|status| status.release.as_ref()).is_some_and(|has| has.name == release);
                let is_ready = tenantry::api::conditions::is_true(tenant.conditions(), "Ready");
                let name = tenant.metadata.name.clone().unwrap();
                if has_it && !is_ready {
                    moving.insert(name)
                } else {
                    moving.remove(&name)
                };
                let mut most = seen.lock().unwrap();
                *most = (*most).max(moving.len());
                std::future::ready(Ok(()))
            })
            .await;
    });
    most
}

async fn all_serve(tenants: &[Tenant], version: &str) {
    for tenant in tenants {
        tenant
            .until(&format!("serves {version}"), |tenant| {
                let is_ready = condition(tenant, "Ready").is_some_and(|ready| ready.status == "True");
                (is_ready && tenant["status"]["version"] == version).then_some(())
            })
            .await;
    }
}

async fn release_is(world: &World, release: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
    wait_until(&format!("the release {what}"), LIMIT, async || {
        let release = world.get("Release", None, release).await;
        if is_so(&release["status"]) { Ok(()) } else { Err(release["status"].to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_release_comes_to_tenants_of_all_shards_and_survives_who_opens_its_waves() {
    let (_alone, world) = World::alone().await;
    let mut fleet = Fleet::start(&world, 3, "6").await;
    let blueprint = world.blueprint(json!({})).await;
    // Every shard has some, and so has every operator, whoever of them is left.
    let names: Vec<_> = [fleet.names_in_different_shards("follows", 6), fleet.names_in_different_shards("follows", 3)].concat();
    let create = |name: &String| Tenant::named(name).with(json!({"blueprint": blueprint}));
    let tenants = futures::future::join_all(names.iter().map(|name| create(name).create_in(&world))).await;
    for tenant in &tenants {
        tenant.ready().await;
    }

    let release = unique("release");
    let most = watch_who_moves(&world, &release);
    let audit = Audit::begin();
    let waves = json!([{"name": "first", "percent": 10}, {"name": "rest", "concurrency": AT_ONCE}]);
    world.create(&manifest("Release", &release, json!({"blueprint": blueprint, "version": "1.1", "waves": waves}))).await;
    release_is(&world, &release, "has opened its second wave", |status| !status["waves"][1]["opened"].is_null()).await;

    // Who opens the waves is killed in the middle.
    let first = fleet.take_out(|shards| shards.contains(&0)).await;
    let theirs = shards_of(&first).await;
    first.signal("KILL");
    ended(&first).await;
    fleet.covers(&theirs, Instant::now()).await;
    all_serve(&tenants, "1.1").await;
    release_is(&world, &release, "is finished", |status| !status["finished"].is_null() && status["tenants"]["done"] == 9).await;
    let most = *most.lock().unwrap();
    assert!((1..=AT_ONCE).contains(&most), "{most} were on their way at once");

    // Nobody was moved by two, and nobody twice.
    one_writer_at_a_time(&audit, &tenants);
    let requests = audit.requests();
    for tenant in &tenants {
        let migrations =
            writes_of(&requests, &tenant.name).iter().filter(|write| write.resource == "jobs" && write.verb == "create").count();
        assert_eq!(migrations, 1, "migrations of {}", tenant.name);
    }

    world.merge("Release", None, &release, &json!({"spec": {"rolledBack": true}})).await;
    all_serve(&tenants, "1.0").await;
    release_is(&world, &release, "is rolled back", |status| {
        let ready = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "Ready");
        ready.is_some_and(|ready| ready["reason"] == "RolledBack")
    })
    .await;
}
