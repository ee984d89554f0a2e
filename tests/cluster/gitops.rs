//! What Argo CD and Flux say and do: health that is true of the page, actions that do what they are called. All tests of this process are judged by
//! `support::gitops` besides: every change of every resource, by the tools' own code.

use crate::support::gitops::{Judge, contradiction};
use crate::support::{LIMIT, Tenant, World, http_get, variable, wait_until};
use serde_json::{Value, json};
use std::path::PathBuf;

fn customizations() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("integrations/argocd/resource_customizations/tenantry.dev")
}

/// What Argo CD says of a tenant as it is now.
fn told(judge: &mut Judge, tenant: &Value) -> Value {
    let told = judge.ask(tenant);
    assert_eq!(contradiction(tenant, &told), None, "{told} of {tenant}");
    told
}

#[tokio::test]
async fn a_tenant_is_healthy_when_its_page_answers_and_not_before() {
    let world = World::new().await;
    let mut judge = Judge::start(&[]);
    let ingress = variable("TENANTRY_INGRESS").parse().expect("an address");
    // Its pods take five seconds to get ready.
    let blueprint = world.blueprint(json!({"version": "1.0-slow"})).await;
    let tenant = Tenant::new("judged").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let mut seen = Vec::new();
    wait_until("Argo CD says that it is healthy", LIMIT, async || {
        let now = tenant.get().await;
        let said = told(&mut judge, &now)["argo"].as_str().expect("a status").to_owned();
        if seen.last() != Some(&said) {
            seen.push(said.clone());
        }
        if said != "Healthy" {
            return Err(said);
        }
        let host = now["status"]["hosts"][0].as_str().expect("a host");
        let page = http_get(ingress, host, "/").await.expect("an answer");
        assert_eq!(page.0, 200, "it is said to be healthy, and its page says {}", page.0);
        Ok(())
    })
    .await;
    assert_eq!(seen, ["Progressing", "Healthy"]);

    tenant.change(json!({"release": {"version": "2.0-failing-migration"}})).await.stalled("MigrationFailed").await;
    let failed = told(&mut judge, &tenant.get().await);
    assert_eq!((&failed["argo"], &failed["flux"]), (&json!("Degraded"), &json!("Failed")));
    assert!(failed["message"].as_str().is_some_and(|message| message.contains("2.0-failing-migration")), "{failed}");
    tenant.change(json!({"release": null, "suspended": true})).await.ready().await;
    let suspended = told(&mut judge, &tenant.get().await);
    assert_eq!((&suspended["argo"], &suspended["flux"]), (&json!("Suspended"), &json!("Current")));
    tenant.change(json!({"suspended": false, "plan": "nowhere"})).await.stalled("PlanMissing").await;
    assert_eq!(told(&mut judge, &tenant.get().await)["argo"], "Degraded");
}

/// Takes an action of Argo CD's, as Argo CD does.
async fn act(tenant: &Tenant, action: &str) {
    let mut before = tenant.get().await;
    let changed = Judge::start(&["--action", action]).ask(&before);
    let mut patch = json!({"spec": changed["spec"], "metadata": {"annotations": changed["metadata"]["annotations"]}});
    if patch["metadata"]["annotations"] == before["metadata"]["annotations"].take() {
        patch.as_object_mut().expect("a patch").remove("metadata");
    }
    tenant.world.merge("Tenant", None, &tenant.name, &patch).await;
}

/// The actions that Argo CD offers.
async fn offered(tenant: &Tenant) -> Vec<String> {
    let actions = Judge::start(&["--actions"]).ask(&tenant.get().await);
    let enabled = actions.as_array().expect("a list").iter().filter(|action| action["disabled"] != true);
    let mut names: Vec<_> = enabled.map(|action| action["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn actions_of_argo_cd_do_what_they_are_called() {
    let world = World::new().await;
    let tenant = Tenant::new("acted").create_in(&world).await;
    tenant.ready().await;
    assert_eq!(offered(&tenant).await, ["reconcile", "rotate", "suspend"]);
    act(&tenant, "suspend").await;
    tenant.reason("Ready", "True", "Suspended").await;
    assert_eq!(offered(&tenant).await, ["reconcile", "resume", "rotate"]);
    act(&tenant, "resume").await;
    tenant.reason("Ready", "True", "Ready").await;
    act(&tenant, "reconcile").await;
    let asked = tenant.get().await["metadata"]["annotations"]["tenantry.dev/reconcile"].clone();
    assert!(asked.is_string());
    tenant.until("the request is answered", |tenant| (tenant["status"]["lastHandledReconcileAt"] == asked).then_some(())).await;
    let login = tenant.secret("database").await["username"].clone();
    act(&tenant, "rotate").await;
    wait_until("there is another login", LIMIT, async || {
        let now = tenant.secret("database").await["username"].clone();
        if now == login { Err(now) } else { Ok(()) }
    })
    .await;
    tenant.ready().await;
    tenant.change(json!({"release": {"version": "2.0-failing-migration"}})).await.stalled("MigrationFailed").await;
    assert!(offered(&tenant).await.contains(&"retry".to_owned()));
    let jobs = async || {
        let jobs = world.list("Job", Some(&tenant.namespace), "app.kubernetes.io/component=migrate").await;
        jobs.into_iter().map(|job| job["metadata"]["uid"].clone()).collect::<Vec<_>>()
    };
    let before = jobs().await;
    act(&tenant, "retry").await;
    wait_until("the migration runs again", LIMIT, async || {
        let now = jobs().await;
        if now.iter().any(|job| !before.contains(job)) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
}

#[test]
fn examples_of_health_are_judged_as_they_say() {
    let mut judge = Judge::start(&[]);
    let mut judged = 0;
    for kind in ["Tenant", "Release", "DatabaseServer", "Blueprint", "Plan"] {
        let folder = customizations().join(kind);
        let read = |path: PathBuf| -> Value {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        for test in read(folder.join("health_test.yaml"))["tests"].as_array().expect("tests") {
            let object = read(folder.join(test["inputPath"].as_str().expect("a path")));
            let told = judge.ask(&object);
            assert_eq!(told["argo"], test["healthStatus"]["status"], "{kind} {}: {told}", test["inputPath"]);
            assert_eq!(&told["message"], &test["healthStatus"]["message"], "{kind} {}", test["inputPath"]);
            assert_eq!(contradiction(&object, &told), None, "{kind} {}: {told}", test["inputPath"]);
            judged += 1;
        }
    }
    assert!(judged >= 12, "{judged} examples");
}
