//! The life of a tenant, from its creation through changes to its suspension and back.

use crate::support::{LIMIT, Tenant, World, condition, manifest, unique, wait_until};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};

const STEPS: [&str; 5] = ["DatabaseReady", "Migrated", "Available", "Routed", "Healthy"];

fn is_true(tenant: &Value, kind: &str) -> bool {
    condition(tenant, kind).is_some_and(|condition| condition.status == "True")
}

/// The image that a component's pods are to run.
fn image(deployment: &Value) -> &str {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

/// The reasons and types of all Events about a tenant.
async fn events(tenant: &Tenant) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = tenant.world.list("Event", Some("default"), "").await;
    let ours = all.iter().filter(|event| event["regarding"]["name"] == tenant.name.as_str() && event["regarding"]["kind"] == "Tenant");
    ours.map(|event| (text(&event["type"]), text(&event["reason"]), text(&event["note"]))).collect()
}

async fn an_event(tenant: &Tenant, type_: &str, reason: &str) -> String {
    wait_until(&format!("an Event {type_} {reason} about {}", tenant.name), LIMIT, async || {
        let events = events(tenant).await;
        let found = events.iter().find(|event| event.0 == type_ && event.1 == reason);
        found.map(|event| event.2.clone()).ok_or_else(|| format!("{events:?}"))
    })
    .await
}

#[tokio::test]
async fn a_new_tenant_is_not_taken_for_ready_before_it_was_looked_at() {
    let world = World::new().await;
    let created = world.create(&Tenant::new("unseen").manifest()).await;
    assert_eq!(created["status"]["observedGeneration"], -1);
}

#[tokio::test]
async fn a_new_tenant_becomes_ready_step_by_step_and_each_condition_is_true_only_while_it_is_so() {
    let world = World::new().await;
    let manifest = Tenant::new("fresh").manifest();
    let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
    let api: Api<tenantry::api::Tenant> = Api::all(world.client.clone());
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut changes = api.watch(&parameters, "0").await.unwrap().boxed();
    world.create(&manifest).await;
    let mut history = Vec::new();
    while let Some(change) = tokio::time::timeout(LIMIT, changes.try_next()).await.expect("it becomes ready").unwrap() {
        if let WatchEvent::Added(tenant) | WatchEvent::Modified(tenant) = change {
            history.push(serde_json::to_value(tenant).unwrap());
            if is_true(history.last().unwrap(), "Ready") {
                break;
            }
        }
    }
    for tenant in &history {
        let so = STEPS.map(|kind| is_true(tenant, kind));
        assert!(so.is_sorted_by(|earlier, later| earlier >= later) || so[3], "a later step is done before an earlier one: {so:?}");
        assert_eq!(is_true(tenant, "Ready"), so == [true; 5], "Ready is the sum of all: {}", tenant["status"]);
        assert!(!(is_true(tenant, "Ready") && is_true(tenant, "Reconciling")));
        let pods_may_run = !is_true(tenant, "Available") || is_true(tenant, "Migrated");
        assert!(pods_may_run, "pods ran before the migration was done: {}", tenant["status"]);
    }
    let tenant = Tenant { world, namespace: format!("tenant-{name}"), name };
    let status = &tenant.get().await["status"];
    assert_eq!(status["url"], format!("http://{}.sample.localhost", tenant.name));
    assert_eq!(status["version"], "1.0");
    assert_eq!(status["namespace"], tenant.namespace);
    assert_eq!(status["database"], json!({"server": "main", "name": "tenants", "schema": tenant.owner(), "owner": tenant.owner()}));
    for condition in status["conditions"].as_array().unwrap() {
        assert_eq!(condition["observedGeneration"], 1);
        assert_ne!(condition["message"], "");
    }
}

#[tokio::test]
async fn a_changed_setting_reaches_new_pods_and_nothing_else_is_touched() {
    let tenant = Tenant::new("setting").ready().await;
    let others = ["Namespace", "Service", "Ingress", "NetworkPolicy", "LimitRange", "ServiceAccount", "RoleBinding", "Secret", "Job"];
    let look = async || {
        let mut all = Vec::new();
        for kind in others {
            let objects = match kind {
                "Namespace" => vec![tenant.world.get(kind, None, &tenant.namespace).await],
                _ => tenant.objects(kind).await,
            };
            all.extend(
                objects.into_iter().map(|object| (kind, object["metadata"]["name"].clone(), object["metadata"]["resourceVersion"].clone())),
            );
        }
        all
    };
    let before = look().await;
    let started_with = tenant.object("Deployment", "web").await["spec"]["template"]["metadata"]["annotations"].clone();
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await.ready().await;
    assert_eq!(tenant.object("ConfigMap", "settings").await["data"]["LANGUAGE_CODE"], "de");
    assert_ne!(
        tenant.object("Deployment", "web").await["spec"]["template"]["metadata"]["annotations"],
        started_with,
        "pods are started anew"
    );
    assert_eq!(look().await, before);
}

#[tokio::test]
async fn a_setting_that_the_blueprint_keeps_to_itself_is_refused_with_a_sentence_and_the_instance_runs_on() {
    let tenant = Tenant::new("forbidden").ready().await;
    tenant.change(json!({"settings": {"MODE": "debug"}})).await;
    let message = tenant.stalled("SettingNotAllowed").await;
    assert!(message.contains("spec.settings.MODE") && message.contains("LANGUAGE_CODE"), "{message}");
    tenant.condition("Available", "True").await;
    assert_eq!(tenant.object("ConfigMap", "settings").await["data"]["MODE"], "production");
    tenant.change(json!({"settings": null})).await.ready().await;
}

#[tokio::test]
async fn a_bigger_plan_brings_more_pods_and_the_smaller_one_takes_them_back() {
    let tenant = Tenant::new("grows").ready().await;
    assert!(tenant.names("HorizontalPodAutoscaler").await.is_empty());
    tenant.change(json!({"plan": "large"})).await.ready().await;
    assert_eq!(tenant.names("HorizontalPodAutoscaler").await, ["web"]);
    assert_eq!(tenant.names("PodDisruptionBudget").await, ["web", "worker"]);
    assert_eq!(tenant.object("Deployment", "worker").await["status"]["availableReplicas"], 2);
    assert_eq!(tenant.object("ResourceQuota", "plan").await["spec"]["hard"]["requests.memory"], "4Gi");
    tenant.change(json!({"plan": "small"})).await.ready().await;
    tenant.object_gone("HorizontalPodAutoscaler", "web").await;
    tenant.object_gone("PodDisruptionBudget", "worker").await;
    for component in ["web", "worker"] {
        tenant.object_until("Deployment", component, "one pod", |object| (object["spec"]["replicas"] == 1).then_some(())).await;
    }
}

#[tokio::test]
async fn a_tenant_chooses_its_pods_within_the_bounds_of_its_plan() {
    let tenant =
        Tenant::new("chooses").with(json!({"plan": "large", "components": {"web": {"replicas": {"min": 3, "max": 3}}}})).ready().await;
    assert_eq!(tenant.object("Deployment", "web").await["status"]["availableReplicas"], 3);
    tenant.change(json!({"components": {"web": {"replicas": {"min": 3, "max": 9}}}})).await;
    let message = tenant.stalled("ReplicasOutOfBounds").await;
    assert!(message.contains("3 to 9") && message.contains("2 to 4"), "{message}");
    tenant.change(json!({"components": {"web": null, "ghost": {}}})).await;
    let message = tenant.stalled("UnknownComponent").await;
    assert!(message.contains("ghost") && message.contains("web, worker, beat"), "{message}");
    tenant.change(json!({"components": null})).await.ready().await;
}

#[tokio::test]
async fn a_domain_is_served_once_it_is_asked_for_and_no_longer_than_that() {
    let tenant = Tenant::new("domain").ready().await;
    let (own, further) = (format!("{}.sample.localhost", tenant.name), format!("{}.example.com", tenant.name));
    let hosts = |ingress: &Value| -> Vec<String> {
        ingress["spec"]["rules"].as_array().unwrap().iter().map(|rule| rule["host"].as_str().unwrap().to_owned()).collect()
    };
    tenant.change(json!({"domains": [further]})).await.ready().await;
    assert_eq!(hosts(&tenant.object("Ingress", "instance").await), [own.clone(), further.clone()]);
    let settings = tenant.object("ConfigMap", "settings").await;
    assert_eq!(settings["data"]["ALLOWED_HOSTS"], format!("{own},{further}"));
    assert_eq!(settings["data"]["CSRF_TRUSTED_ORIGINS"], format!("http://{own},http://{further}"));
    tenant.change(json!({"domains": []})).await.ready().await;
    assert_eq!(hosts(&tenant.object("Ingress", "instance").await), [own]);
}

#[tokio::test]
async fn the_old_pods_serve_until_the_migration_of_a_new_version_is_done() {
    let tenant = Tenant::new("upgrade").ready().await;
    let first = tenant.get().await["status"]["migration"]["key"].clone();
    tenant.change(json!({"release": {"version": "2.0-slow"}})).await;
    tenant.reason("Migrated", "False", "Migrating").await;
    let during = tenant.get().await;
    for kind in ["Available", "Routed", "Healthy"] {
        assert!(is_true(&during, kind) || kind == "Healthy", "{kind} while it migrates: {}", during["status"]);
    }
    assert_eq!(image(&tenant.object("Deployment", "web").await), "localhost/sample:1.0");
    assert_eq!(during["status"]["version"], "1.0");
    tenant.ready().await;
    for component in ["web", "worker", "beat"] {
        assert_eq!(image(&tenant.object("Deployment", component).await), "localhost/sample:2.0-slow");
    }
    let after = tenant.get().await;
    assert_eq!((&after["status"]["version"], &after["status"]["previousVersion"]), (&json!("2.0-slow"), &json!("1.0")));
    assert_ne!(after["status"]["migration"]["key"], first);
    assert_eq!(tenant.objects("Job").await.len(), 1, "the Job of the version before is gone");
    assert!(an_event(&tenant, "Normal", "Released").await.contains("2.0-slow"));
}

#[tokio::test]
async fn a_failing_migration_leaves_the_old_version_serving_and_says_why() {
    let tenant = Tenant::new("fails").ready().await;
    tenant.change(json!({"release": {"version": "2.0-failing-migration"}})).await;
    let message = tenant.stalled("MigrationFailed").await;
    assert!(message.contains("2.0-failing-migration"), "{message}");
    assert!(message.contains("relation \"planner_task\" does not exist"), "the end of the Job's log: {message}");
    assert!(message.contains("tenantry.dev/retry"), "what to do: {message}");
    let tenant_now = tenant.get().await;
    assert!(is_true(&tenant_now, "Available") && is_true(&tenant_now, "Routed"), "{}", tenant_now["status"]);
    assert_eq!(tenant_now["status"]["version"], "1.0");
    assert_eq!(image(&tenant.object("Deployment", "web").await), "localhost/sample:1.0");
    an_event(&tenant, "Warning", "MigrationFailed").await;

    // It isn't run again by itself, and other changes reach the old version meanwhile.
    let jobs = tenant.names("Job").await;
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "fr"}})).await;
    tenant.stalled("MigrationFailed").await;
    tenant.object_until("ConfigMap", "settings", "the new setting", |object| (object["data"]["LANGUAGE_CODE"] == "fr").then_some(())).await;
    assert_eq!(tenant.names("Job").await, jobs);

    // The pods are what it was asked to leave; a version that migrates well ends the trouble.
    tenant.change(json!({"release": {"version": "2.1"}})).await.ready().await;
    assert_eq!(image(&tenant.object("Deployment", "web").await), "localhost/sample:2.1");
}

#[tokio::test]
async fn a_failed_migration_is_run_again_on_request() {
    let tenant = Tenant::new("retry").with(json!({"release": {"version": "1.0-failing-migration"}})).create().await;
    tenant.stalled("MigrationFailed").await;
    tenant.condition("Available", "False").await;
    assert!(tenant.names("Deployment").await.is_empty(), "no pods run before the first migration");
    let first = tenant.names("Job").await;
    tenant.annotate("tenantry.dev/retry", "once more").await;
    wait_until("another Job", LIMIT, async || {
        let jobs = tenant.names("Job").await;
        if jobs.iter().any(|job| !first.contains(job)) { Ok(()) } else { Err(format!("{jobs:?}")) }
    })
    .await;
    tenant.stalled("MigrationFailed").await;
}

#[tokio::test]
async fn pods_that_never_get_ready_take_no_old_pod_away() {
    let tenant = Tenant::new("never").ready().await;
    tenant.change(json!({"release": {"version": "2.0-never-ready"}})).await;
    let available = tenant.reason("Available", "False", "Deploying").await;
    assert!(available.message.contains("web"), "{}", available.message);
    let ready = tenant.condition("Ready", "False").await;
    assert_eq!(ready.reason, "Deploying");
    assert_eq!(tenant.get().await["status"]["version"], "1.0", "the version that serves");
    let web = tenant.object("Deployment", "web").await;
    assert_eq!(web["status"]["availableReplicas"], 1, "the old pod: {}", web["status"]);
    tenant.change(json!({"release": {"version": "1.0"}})).await.ready().await;
}

#[tokio::test]
async fn a_suspended_tenant_has_no_pods_and_no_route_keeps_its_data_and_comes_back() {
    let tenant = Tenant::new("suspends").with(json!({"plan": "large"})).ready().await;
    tenant.sql("create table note (text text); insert into note values ('kept')").await.unwrap();
    tenant.change(json!({"suspended": true})).await;
    let ready = tenant.reason("Ready", "True", "Suspended").await;
    assert!(ready.message.contains("data is untouched"), "{}", ready.message);
    tenant.reason("Available", "False", "Suspended").await;
    tenant.condition("Routed", "False").await;
    assert!(tenant.names("Pod").await.iter().all(|pod| pod.starts_with("migrate-")), "{:?}", tenant.names("Pod").await);
    for kind in ["Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        assert!(tenant.names(kind).await.is_empty(), "{kind}");
    }
    assert_eq!(tenant.names("Service").await, ["web"]);
    assert_eq!(tenant.sql("select text from note").await.unwrap(), "kept");
    an_event(&tenant, "Normal", "Suspended").await;

    tenant.change(json!({"suspended": false})).await;
    let ready = tenant.reason("Ready", "True", "Ready").await;
    assert!(!ready.message.is_empty());
    assert_eq!(tenant.sql("select text from note").await.unwrap(), "kept");
    assert_eq!(tenant.names("HorizontalPodAutoscaler").await, ["web"]);
}

#[tokio::test]
async fn a_tenant_that_is_born_suspended_starts_nothing_until_it_is_let() {
    let tenant = Tenant::new("asleep").with(json!({"suspended": true})).create().await;
    tenant.reason("Ready", "True", "Suspended").await;
    assert!(tenant.names("Pod").await.is_empty());
    assert!(tenant.names("Job").await.is_empty());
    tenant.change(json!({"suspended": false})).await;
    tenant.reason("Ready", "True", "Ready").await;
}

#[tokio::test]
async fn a_trial_ends_by_itself_and_is_never_deleted_by_it() {
    let tenant = Tenant::new("trial").ready().await;
    let end = Timestamp::now() + 3.seconds();
    tenant.change(json!({"expiresAt": end.to_string()})).await;
    tenant.reason("Ready", "True", "Ready").await;
    let ready = tenant.reason("Ready", "True", "Expired").await;
    assert!(Timestamp::now() >= end, "before its time");
    assert!(ready.message.contains(&end.strftime("%Y-%m-%d").to_string()), "{}", ready.message);
    assert!(tenant.names("Ingress").await.is_empty());
    an_event(&tenant, "Normal", "Expired").await;
    tenant.change(json!({"expiresAt": (Timestamp::now() + 24.hours()).to_string()})).await;
    tenant.reason("Ready", "True", "Ready").await;
}

#[tokio::test]
async fn an_instance_that_does_not_answer_its_check_is_not_ready() {
    let tenant = Tenant::new("sick").ready().await;
    an_event(&tenant, "Normal", "Ready").await;
    let host = format!("{}.sample.localhost", tenant.name);
    tenant.world.environment.door.answers.lock().unwrap().insert(host.clone(), 500);
    let healthy = tenant.reason("Healthy", "False", "NotAnswering").await;
    assert!(healthy.message.contains("500") && healthy.message.contains("/healthz"), "{}", healthy.message);
    tenant.reason("Ready", "False", "NotAnswering").await;
    an_event(&tenant, "Warning", "NotAnswering").await;
    tenant.world.environment.door.answers.lock().unwrap().remove(&host);
    tenant.ready().await;
}

#[tokio::test]
async fn a_missing_plan_or_blueprint_is_named_and_its_arrival_is_noticed() {
    let world = World::new().await;
    let (blueprint, plan) = (unique("later"), unique("later"));
    let tenant = Tenant::new("waits").with(json!({"blueprint": blueprint, "plan": plan})).create_in(&world).await;
    assert!(tenant.stalled("BlueprintMissing").await.contains(&blueprint));
    let sample = world.get("Blueprint", None, "sample").await;
    world.create(&manifest("Blueprint", &blueprint, sample["spec"].clone())).await;
    assert!(tenant.stalled("PlanMissing").await.contains(&plan));
    world.create(&manifest("Plan", &plan, json!({}))).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_changed_plan_or_blueprint_reaches_its_tenants() {
    let world = World::new().await;
    let (blueprint, plan) = (world.blueprint(json!({})).await, world.plan(json!({})).await);
    let tenant = Tenant::new("follows").with(json!({"blueprint": blueprint, "plan": plan})).create_in(&world).await;
    tenant.ready().await;
    world.merge("Plan", None, &plan, &json!({"spec": {"quota": {"pods": "17"}}})).await;
    let pods = |quota: &Value| (quota["spec"]["hard"]["pods"] == "17").then_some(());
    tenant.object_until("ResourceQuota", "plan", "the new quota", pods).await;
    world.merge("Blueprint", None, &blueprint, &json!({"spec": {"version": "1.1"}})).await;
    tenant.until("version 1.1 serves", |tenant| (tenant["status"]["version"] == "1.1").then_some(())).await;
    tenant.ready().await;
}
