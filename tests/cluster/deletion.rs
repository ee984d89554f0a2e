//! What becomes of an instance when its Tenant, or something that it uses, is deleted.

use crate::support::{LIMIT, Tenant, World, condition, wait_until};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

async fn roles(tenant: &Tenant) -> String {
    let owner = tenant.owner();
    tenant
        .world
        .environment
        .postgres
        .admin(&format!("select rolname from pg_roles where rolname = '{owner}' or rolname like '{owner}.%'"))
        .await
}

async fn schemas(tenant: &Tenant) -> String {
    tenant.world.environment.postgres.admin(&format!("select nspname from pg_namespace where nspname = '{}'", tenant.owner())).await
}

#[tokio::test]
async fn a_deleted_tenant_with_policy_delete_leaves_nothing() {
    let tenant = Tenant::new("leaves").with(json!({"deletion": {"policy": "Delete"}})).ready().await;
    tenant.sql("create table kept (word text)").await.unwrap();
    tenant.delete().await.gone().await;
    assert!(tenant.world.find("Namespace", None, &tenant.namespace).await.is_none());
    assert_eq!((roles(&tenant).await, schemas(&tenant).await), (String::new(), String::new()));
}

#[tokio::test]
async fn a_deleted_tenant_with_policy_retain_keeps_its_data_locked_and_a_namesake_gets_it_only_by_adopting_it() {
    let tenant = Tenant::new("retains").ready().await;
    tenant.sql("create table kept (word text); insert into kept values ('still here')").await.unwrap();
    let (former, url) = (tenant.uid().await, tenant.database_url().await);
    tenant.delete().await.gone().await;
    assert_eq!(schemas(&tenant).await, tenant.owner());
    let refused = crate::support::psql(&url, "select 1").await.unwrap_err();
    assert!(refused.contains("not permitted to log in"), "{refused}");

    let namesake = Tenant::named(&tenant.name).create().await;
    let message = namesake.stalled("FormerTenant").await;
    assert!(message.contains(&former) && message.contains("spec.database.adopt"), "{message}");
    namesake.change(json!({"database": {"adopt": former}})).await.ready().await;
    assert_eq!(namesake.sql("select word from kept").await.unwrap(), "still here");
}

/// A moment so many seconds from now, as a manifest has it.
fn in_seconds(seconds: i64) -> String {
    (Timestamp::now() + seconds.seconds()).to_string()
}

#[tokio::test]
async fn a_deletion_with_grace_suspends_until_its_moment_and_can_be_taken_back() {
    let tenant = Tenant::new("grace").with(json!({"deletion": {"policy": "Delete"}})).ready().await;
    let week = in_seconds(7 * 24 * 3600);
    tenant.change(json!({"deletion": {"at": week}})).await;
    let leaving = tenant.reason("Ready", "True", "DeletionScheduled").await;
    assert!(leaving.message.contains(&week[..10]), "{}", leaving.message);
    assert!(tenant.names("Ingress").await.is_empty());
    wait_until("no pod is left", LIMIT, async || {
        let pods = tenant.names("Pod").await;
        if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
    })
    .await;
    tenant.change(json!({"deletion": {"at": null}})).await;
    tenant.reason("Ready", "True", "Ready").await;

    let moment = in_seconds(4);
    tenant.change(json!({"deletion": {"at": moment}})).await;
    tenant.reason("Ready", "True", "DeletionScheduled").await;
    tenant.until("it is being deleted", |tenant| tenant["metadata"]["deletionTimestamp"].as_str().map(drop)).await;
    assert!(Timestamp::now() >= moment.parse().unwrap(), "before its moment");
    tenant.gone().await;
    assert_eq!((roles(&tenant).await, schemas(&tenant).await), (String::new(), String::new()));
}

#[tokio::test]
async fn a_moment_before_its_creation_was_meant_for_another_and_deletes_nobody() {
    let tenant = Tenant::new("restored").with(json!({"deletion": {"at": "2026-01-01T00:00:00Z"}})).create().await;
    let message = tenant.stalled("DeletionBeforeCreation").await;
    assert!(message.contains("2026-01-01") && message.contains("former"), "{message}");
    assert!(tenant.world.find("Namespace", None, &tenant.namespace).await.is_none(), "nothing is made");
    tenant.change(json!({"deletion": {"at": null}})).await;
    tenant.ready().await;
    // Nor does a slip of the pen delete who is there.
    tenant.change(json!({"deletion": {"at": "2025-01-01T00:00:00Z"}})).await;
    tenant.stalled("DeletionBeforeCreation").await;
    assert!(!tenant.names("Deployment").await.is_empty(), "what runs goes on running");
    tenant.change(json!({"deletion": {"at": null}})).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_moment_at_which_the_deletion_is_refused_is_told_and_tried_again() {
    let tenant = Tenant::new("refused").create().await;
    tenant.ready().await;
    let policy = tenant.world.policy("DELETE", &tenant.name, "nobody leaves before the audit").await;
    wait_until("the policy is in force", LIMIT, async || match tenant.world.try_delete_dry("Tenant", None, &tenant.name).await {
        Err(message) if message.contains("before the audit") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    tenant.change(json!({"deletion": {"at": in_seconds(1)}})).await;
    let refused = tenant.reason("Ready", "False", "DeletionRefused").await;
    assert!(refused.message.contains("nobody leaves before the audit"), "{}", refused.message);
    for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
        tenant.world.delete(kind, None, &policy).await;
    }
    tenant.gone().await;
}

#[tokio::test]
async fn a_tenant_that_is_deleted_in_the_moment_of_its_creation_leaves_nothing() {
    for _ in 0..5 {
        let tenant = Tenant::new("moment").with(json!({"deletion": {"policy": "Delete"}})).create().await;
        tenant.delete().await.gone().await;
        wait_until("nothing of the tenant is left", LIMIT, async || {
            let namespace = tenant.world.find("Namespace", None, &tenant.namespace).await.is_some();
            let left = (namespace, roles(&tenant).await, schemas(&tenant).await);
            if left == (false, String::new(), String::new()) { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
}

#[tokio::test]
async fn an_unreachable_server_holds_the_tenant_with_a_sentence_until_it_is_let_go_by_force() {
    let world = World::new().await;
    let server = world.server(json!({})).await;
    let tenant = Tenant::new("held").with(json!({"region": server, "deletion": {"policy": "Delete"}})).ready().await;
    world.merge("DatabaseServer", None, &server, &json!({"spec": {"port": 1}})).await;
    tenant.delete().await;
    let message = wait_until("it says what holds it", LIMIT, async || {
        let tenant = tenant.get().await;
        let ready = condition(&tenant, "Ready").filter(|ready| ready.reason == "DatabaseHolds");
        ready.map(|ready| ready.message).ok_or_else(|| tenant["status"]["conditions"].to_string())
    })
    .await;
    assert!(message.contains(&server) && message.contains("tenantry.dev/force-delete"), "{message}");
    tenant.annotate("tenantry.dev/force-delete", "another-name").await;
    assert!(tenant.world.find("Tenant", None, &tenant.name).await.is_some());
    tenant.annotate("tenantry.dev/force-delete", &tenant.name).await.gone().await;
    assert_eq!(schemas(&tenant).await, tenant.owner(), "the data is left where it is");
}

#[tokio::test]
async fn a_blueprint_and_a_plan_in_use_wait_for_their_tenants_and_name_them_and_the_instance_runs_on() {
    let world = World::new().await;
    let (blueprint, plan) = (world.blueprint(json!({})).await, world.plan(json!({})).await);
    let tenant = Tenant::new("uses").with(json!({"blueprint": blueprint, "plan": plan, "deletion": {"policy": "Delete"}})).ready().await;
    let held = |object: &Value| object["metadata"]["finalizers"].to_string().contains("tenantry.dev/in-use");
    for (kind, name) in [("Blueprint", &blueprint), ("Plan", &plan)] {
        wait_until("it is held", LIMIT, async || {
            let object = world.get(kind, None, name).await;
            if held(&object) { Ok(()) } else { Err(object["metadata"].to_string()) }
        })
        .await;
        world.delete(kind, None, name).await;
        let message = wait_until("its condition names the tenant", LIMIT, async || {
            let object = world.get(kind, None, name).await;
            let in_use = condition(&object, "InUse").filter(|in_use| in_use.reason == "DeletionWaits");
            in_use.map(|in_use| in_use.message).ok_or_else(|| object["status"].to_string())
        })
        .await;
        assert!(message.contains(&tenant.name), "{message}");
    }
    tenant.ready().await;
    assert!(tenant.find("Deployment", "web").await.is_some());
    tenant.delete().await.gone().await;
    for (kind, name) in [("Blueprint", &blueprint), ("Plan", &plan)] {
        wait_until("it goes with its last tenant", LIMIT, async || match world.find(kind, None, name).await {
            None => Ok(()),
            Some(object) => Err(object["metadata"].to_string()),
        })
        .await;
    }
}

#[tokio::test]
async fn a_tenant_is_deleted_although_its_plan_blueprint_and_server_were_torn_away() {
    let world = World::new().await;
    let (blueprint, plan, server) = (world.blueprint(json!({})).await, world.plan(json!({})).await, world.server(json!({})).await);
    let spec = json!({"blueprint": blueprint, "plan": plan, "region": server, "deletion": {"policy": "Delete"}});
    let tenant = Tenant::new("torn").with(spec).ready().await;
    for (kind, name) in [("Blueprint", &blueprint), ("Plan", &plan), ("DatabaseServer", &server)] {
        world.delete(kind, None, name).await;
        // By force, as a person would who has lost patience.
        wait_until("it is gone", LIMIT, async || {
            let _ = world.try_merge(kind, None, name, &json!({"metadata": {"finalizers": null}})).await;
            if world.find(kind, None, name).await.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
        })
        .await;
    }
    tenant.stalled("BlueprintMissing").await;
    tenant.annotate("tenantry.dev/force-delete", &tenant.name).await;
    tenant.delete().await.gone().await;
    assert!(world.find("Namespace", None, &tenant.namespace).await.is_none());
}
