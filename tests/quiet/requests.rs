//! What the operator asks of the API server and of Postgres, counted by themselves.

use crate::install_planner;
use crate::support::kinds::OF_AN_INSTANCE;
use crate::support::{Audit, LIMIT, Operator, Tenant, World, summary, wait_until};
use serde_json::json;
use std::time::Duration;

/// Writes that a tenant may cost beside one for each of its objects: its finalizer, its status as it comes up, one Event.
const WRITES_BESIDE_OBJECTS: usize = 6;

async fn objects_of(tenant: &Tenant) -> usize {
    let label = format!("tenantry.dev/tenant={}", tenant.name);
    let mut count = 0;
    for kind in OF_AN_INSTANCE.into_iter().chain(["Namespace"]) {
        // Pods' own objects, such as the API server's own ConfigMap, don't carry the label of what the operator makes.
        count += tenant.world.list(kind, None, &format!("{label},app.kubernetes.io/managed-by=tenantry")).await.len();
    }
    count
}

/// Waits until every tenant was looked at since the operator started.
async fn first_passes(operator: &Operator, tenants: usize) {
    wait_until("every tenant was looked at", LIMIT, async || {
        let (passes, depth) =
            (operator.metric("tenantry_reconciles_total", "done").await, operator.metric("tenantry_queue_depth", "").await);
        if passes >= tenants as f64 && depth == 0.0 { Ok(()) } else { Err(format!("{passes} passes, {depth} due")) }
    })
    .await;
}

async fn ready_tenant(world: &World, name: &str, plan: &str) -> Tenant {
    let tenant = Tenant::new(name).with(json!({"blueprint": "planner", "plan": plan})).create_in(world).await;
    tenant.ready().await;
    tenant
}

#[tokio::test]
async fn a_new_tenant_costs_a_write_for_each_object_and_a_few_more() {
    let (_alone, world) = World::alone().await;
    install_planner();
    let _operator = world.environment.start_leader().await;
    for plan in ["starter", "business", "enterprise"] {
        // The first tenant of a plan marks it as in use.
        let first = ready_tenant(&world, "first", plan).await;
        Audit::begin().settle().await;
        let audit = Audit::begin();
        let tenant = ready_tenant(&world, "counted", plan).await;
        audit.settle().await;
        let (writes, reads, objects) = (audit.writes(), audit.reads(), objects_of(&tenant).await);
        eprintln!("{plan}: {objects} objects, {} writes, {} reads", writes.len(), reads.len());
        assert!(writes.len() <= objects + WRITES_BESIDE_OBJECTS, "{plan}: {objects} objects, but\n{}", summary(&writes));
        // Not even of its Secrets, which nothing may watch: there can be none in a namespace that was just made.
        assert!(reads.is_empty(), "{plan}:\n{}", summary(&reads));
        for tenant in [first, tenant] {
            tenant.change(json!({"deletion": {"policy": "Delete"}})).await.delete().await.gone().await;
        }
    }
}

#[tokio::test]
async fn an_edit_costs_a_write_for_each_object_that_it_changes_and_reads_nothing() {
    let (_alone, world) = World::alone().await;
    install_planner();
    let _operator = world.environment.start_leader().await;
    let tenant = Tenant::new("edited").with(json!({"blueprint": "planner", "plan": "enterprise", "settings": {"TIME_ZONE": "UTC"}}));
    let tenant = tenant.create_in(&world).await;
    tenant.ready().await;
    for zone in ["Etc/GMT", "Etc/UTC"] {
        Audit::begin().settle().await;
        let audit = Audit::begin();
        tenant.change(json!({"settings": {"TIME_ZONE": zone}})).await.ready().await;
        audit.settle().await;
        let (mut writes, reads) = (audit.writes(), audit.reads());
        writes.retain(|request| request.resource != "events" && request.resource != "tenants/status");
        let deployments = tenant.objects("Deployment").await.len();
        assert_eq!(writes.len(), 1 + deployments, "the settings, and each Deployment, but\n{}", summary(&writes));
        assert!(reads.is_empty(), "{}", summary(&reads));
    }
    tenant.change(json!({"deletion": {"policy": "Delete"}})).await.delete().await.gone().await;
}

#[tokio::test]
async fn a_second_pass_writes_that_it_was_made_and_a_restarted_operator_writes_nothing() {
    let (_alone, world) = World::alone().await;
    install_planner();
    let mut operator = world.environment.start_leader().await;
    let tenants = [ready_tenant(&world, "rests", "business").await, ready_tenant(&world, "rests", "enterprise").await];
    Audit::begin().settle().await;
    let audit = Audit::begin();
    for tenant in &tenants {
        tenant.annotate("tenantry.dev/reconcile", "once").await;
    }
    audit.settle().await;
    let writes = audit.writes();
    let mut answered: Vec<_> = writes.iter().filter(|write| write.resource == "tenants/status").map(|write| write.name.clone()).collect();
    answered.sort();
    let mut asked = tenants.each_ref().map(|tenant| tenant.name.clone()).to_vec();
    asked.sort();
    assert!(answered == asked && writes.len() == asked.len(), "a second pass:\n{}", summary(&writes));

    operator.signal("TERM");
    wait_until("the operator has ended", LIMIT, async || operator.ended().ok_or_else(|| "it runs".to_owned())).await;
    let audit = Audit::begin();
    operator = world.environment.start_leader().await;
    first_passes(&operator, tenants.len()).await;
    audit.settle().await;
    assert!(audit.writes().is_empty(), "a restart:\n{}", summary(&audit.writes()));
    for tenant in &tenants {
        tenant.ready().await;
        tenant.change(json!({"deletion": {"policy": "Delete"}})).await.delete().await.gone().await;
    }
}

/// `TENANTRY_REST_SECONDS=600` looks for as long as the promise says.
#[tokio::test]
async fn at_rest_nothing_is_asked_but_leases_and_one_look_at_the_databases() {
    let (_alone, world) = World::alone().await;
    install_planner();
    let operator = world.environment.start_leader().await;
    let tenants = [ready_tenant(&world, "still", "business").await, ready_tenant(&world, "still", "starter").await];
    Audit::begin().settle().await;
    let seconds = std::env::var("TENANTRY_REST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let before = operator.metric("tenantry_sql_statements", "main").await;
    let audit = Audit::begin();
    // Not for something to happen: the time in which nothing may.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let requests: Vec<_> = audit.requests().into_iter().filter(|request| request.verb != "watch").collect();
    assert!(requests.is_empty(), "in {seconds} s:\n{}", summary(&requests));
    let statements = operator.metric("tenantry_sql_statements", "main").await - before;
    let looks = (seconds / 180 + 1) as f64;
    assert!(statements <= 10.0 * looks, "{statements} statements in {seconds} s for {} tenants", tenants.len());
    eprintln!("in {seconds} s: no requests but watches and leases, {statements} statements");
    for tenant in &tenants {
        tenant.change(json!({"deletion": {"policy": "Delete"}})).await.delete().await.gone().await;
    }
}

#[tokio::test]
async fn metrics_tell_the_truth_and_a_failing_tenant_keeps_nobody_waiting() {
    let (_alone, world) = World::alone().await;
    let operator = world.environment.start_leader().await;
    let dead = world.server(json!({"port": 1})).await;
    // One of which nothing is known yet is tried.
    wait_until("the server is known to be unreachable", LIMIT, async || {
        let server = world.get("DatabaseServer", None, &dead).await;
        match server["status"]["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == "Ready") {
            Some(ready) if ready["status"] == "False" => Ok(()),
            known => Err(format!("{known:?}")),
        }
    })
    .await;
    let failing = Tenant::new("failing").with(json!({"region": dead})).create_in(&world).await;
    failing.reason("DatabaseReady", "False", "DatabaseServersUnreachable").await;
    let stalled = Tenant::new("stalled").with(json!({"plan": "none-such"})).create_in(&world).await;
    stalled.stalled("PlanMissing").await;
    let well = Tenant::new("well").create_in(&world).await;
    well.ready().await;
    wait_until("each tenant is counted by its state and reason", LIMIT, async || {
        let mut counts = Vec::new();
        for label in ["reason=\"Ready\"", "reason=\"PlanMissing\""] {
            counts.push(operator.metric("tenantry_tenants", label).await);
        }
        let reconciling = operator.metric("tenantry_tenants", "state=\"Reconciling\"").await;
        if counts == [1.0, 1.0] && reconciling == 1.0 { Ok(()) } else { Err(format!("{counts:?} {reconciling}")) }
    })
    .await;
    let requests = operator.metric("tenantry_api_requests_total", "verb=\"POST\"").await;
    let failures = operator.metric("tenantry_reconciles_total", "failed").await;
    assert!(requests > 20.0 && failures >= 1.0, "{requests} POSTs, {failures} failures");

    let started = std::time::Instant::now();
    well.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await;
    well.object_until("ConfigMap", "settings", "has the setting", |map| (map["data"]["LANGUAGE_CODE"] == "de").then_some(())).await;
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?} beside a failing tenant", started.elapsed());
    failing.annotate("tenantry.dev/force-delete", &failing.name).await;
    for tenant in [failing, stalled, well] {
        tenant.delete().await.gone().await;
    }
}
