//! Changes that no visitor notices: a new version, an eviction, a new password. A control shows that the visitors would notice.

use crate::planner::{self, FIRST, SECOND, component, page_with, pods};
use crate::support::{LIMIT, Tenant, World, condition, manifest, unique, wait_until};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::EvictParams;
use serde_json::{Value, json};
use std::time::Instant;

/// Two web pods and no autoscaler, which would be a second thing that happens.
async fn two_web_pods(world: &World) -> String {
    let two = json!({"components": {"web": {"replicas": {"min": 2, "max": 2}}}, "database": {"connections": 40}});
    world.plan(two).await
}

/// Whether as many other web pods are ready, and these are gone.
async fn replaced(tenant: &Tenant, before: &[Value]) -> Result<(), String> {
    let all = tenant.world.list("Pod", Some(&tenant.namespace), "app.kubernetes.io/component=web").await;
    let old = all.iter().filter(|pod| before.iter().any(|old| old["metadata"]["uid"] == pod["metadata"]["uid"])).count();
    let ready = all.iter().filter(|pod| condition(pod, "Ready").is_some_and(|ready| ready.status == "True")).count();
    if old == 0 && all.len() == before.len() && ready == all.len() {
        Ok(())
    } else {
        Err(format!("{} pods, {ready} of them ready, {old} of them old", all.len()))
    }
}

async fn updated(tenant: &Tenant) {
    tenant.change(json!({"release": {"version": SECOND}})).await;
    // Old pods may take as long to end as their programs may.
    let limit = LIMIT + planner::longest_end(&tenant.world).await;
    wait_until("it is ready with the next version", limit, async || {
        let now = tenant.get().await;
        let is_observed = now["status"]["observedGeneration"] == now["metadata"]["generation"];
        let is_ready = is_observed && condition(&now, "Ready").is_some_and(|ready| ready.status == "True");
        if is_ready && now["status"]["version"] == SECOND { Ok(()) } else { Err(now["status"].to_string()) }
    })
    .await;
    let index = tenant.sql("select count(*) from pg_indexes where schemaname = current_schema() and indexname = 'task_due'").await;
    assert_eq!(index.as_deref(), Ok("1"), "the migration made its index");
    page_with(tenant, &format!("<code>{SECOND}</code>")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_new_version_with_a_migration_loses_no_request() {
    let world = planner::world().await;
    for plan in ["starter".to_owned(), two_web_pods(&world).await] {
        let tenant = planner::tenant("update", json!({"plan": plan})).await;
        page_with(&tenant, &format!("<code>{FIRST}</code>")).await;
        let visitors = planner::visitors(&tenant).await;
        updated(&tenant).await;
        gone(&tenant, FIRST).await;
        visitors.stop().await.nothing_lost(&format!("an update on plan {plan}"));
    }
}

/// A merge on the channel of testers: how soon they have it, with no request lost, and none when it is taken back.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_release_with_a_migration_and_its_way_back_lose_no_request() {
    let world = planner::world().await;
    let blueprint = planner::changed(&world, |_| {}).await;
    let tenant = planner::tenant("tester", json!({"blueprint": blueprint, "release": {"channel": "rc"}})).await;
    page_with(&tenant, &format!("<code>{FIRST}</code>")).await;
    let visitors = planner::visitors(&tenant).await;
    let (name, published) = (unique("planner"), Instant::now());
    world.create(&manifest("Release", &name, json!({"blueprint": blueprint, "version": SECOND, "channel": "rc"}))).await;
    page_with(&tenant, &format!("<code>{SECOND}</code>")).await;
    let seen = published.elapsed();
    let state = async |reason: &str| {
        wait_until(&format!("the release is {reason}"), LIMIT, async || {
            let release = world.get("Release", None, &name).await;
            let is = condition(&release, "Ready").is_some_and(|ready| ready.reason == reason);
            if is { Ok(()) } else { Err(release["status"].to_string()) }
        })
        .await;
    };
    state("Complete").await;
    eprintln!(
        "a release reaches testers {:.1} s after it is made, and is complete after {:.1} s",
        seen.as_secs_f32(),
        published.elapsed().as_secs_f32()
    );
    gone(&tenant, FIRST).await;
    world.merge("Release", None, &name, &json!({"spec": {"rolledBack": true}})).await;
    state("RolledBack").await;
    page_with(&tenant, &format!("<code>{FIRST}</code>")).await;
    gone(&tenant, SECOND).await;
    visitors.stop().await.nothing_lost("a release and its way back");
}

/// The pods of a version drain after those of another serve.
async fn gone(tenant: &Tenant, version: &str) {
    let old = format!("app.kubernetes.io/version={version}");
    wait_until(&format!("the pods of {version} are gone"), LIMIT * 2, async || {
        let left = tenant.world.list("Pod", Some(&tenant.namespace), &old).await;
        let left: Vec<_> = left.iter().filter(|pod| pod["status"]["phase"] == "Running").map(|pod| &pod["metadata"]["name"]).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// Without this, no loss could also mean that the visitors don't see one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn without_a_drain_requests_are_lost() {
    let world = planner::world().await;
    let hasty = |spec: &mut Value| component(spec, "web")["drainSeconds"] = 0.into();
    let blueprint = planner::changed(&world, hasty).await;
    let tenant = planner::tenant("hasty", json!({"blueprint": blueprint})).await;
    let visitors = planner::visitors(&tenant).await;
    // Each restart of the web pod is a chance to lose one, and the greater the less time the program gives to requests that it has.
    let mut restarts = 0;
    while visitors.tally().lost.is_empty() {
        restarts += 1;
        assert!(restarts <= 30, "30 restarts lost none of {} requests, so the visitors see no loss", visitors.tally().answered);
        let before = pods(&tenant, "web").await;
        let mut spec = world.get("Blueprint", None, &blueprint).await["spec"].take();
        component(&mut spec, "web")["env"] = json!({"RESTART": restarts.to_string(), "GUNICORN_CMD_ARGS": "--graceful-timeout 0"});
        world.merge("Blueprint", None, &blueprint, &json!({"spec": spec})).await;
        wait_until("another web pod serves alone", LIMIT, async || replaced(&tenant, &before).await).await;
    }
    let tally = visitors.stop().await;
    eprintln!(
        "restarts without a drain ({restarts}): {} requests answered, {} lost, as {:?}",
        tally.answered,
        tally.lost.len(),
        tally.lost.first()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn evicting_every_pod_loses_no_request() {
    let world = planner::world().await;
    let tenant = planner::tenant("drained", json!({"plan": two_web_pods(&world).await})).await;
    let visitors = planner::visitors(&tenant).await;
    let api: Api<Pod> = Api::namespaced(world.client.clone(), &tenant.namespace);
    let before = pods(&tenant, "web").await;
    assert_eq!(before.len(), 2);
    for pod in &before {
        // As kubectl drain does: the PodDisruptionBudget says when.
        let name = pod["metadata"]["name"].as_str().unwrap();
        wait_until(&format!("{name} may be evicted"), LIMIT, async || {
            api.evict(name, &EvictParams::default()).await.map(|_| ()).map_err(|error| error.to_string())
        })
        .await;
    }
    wait_until("two other pods serve and the evicted are gone", LIMIT * 2, async || replaced(&tenant, &before).await).await;
    tenant.ready().await;
    visitors.stop().await.nothing_lost("evictions");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_new_password_loses_no_request() {
    let tenant = planner::tenant("rotated", json!({})).await;
    let before = tenant.secret("database").await;
    let visitors = planner::visitors(&tenant).await;
    tenant.annotate("tenantry.dev/rotate", "first").await;
    let login = wait_until("the page shows another login", LIMIT, async || {
        let login = tenant.secret("database").await["username"].clone();
        let page = planner::page(&tenant).await.1;
        if login != before["username"] && page.contains(&format!("<code>{login}</code>")) { Ok(login) } else { Err(login) }
    })
    .await;
    let logins = format!("select rolname from pg_roles where rolcanlogin and rolname like '{}%'", tenant.owner());
    wait_until("the old login is gone", LIMIT * 2, async || {
        let logins = tenant.world.environment.postgres.admin(&logins).await;
        if logins == login { Ok(()) } else { Err(logins) }
    })
    .await;
    tenant.ready().await;
    visitors.stop().await.nothing_lost("a rotation");
}
