//! The planner as these tests use it: its blueprint and plans from `examples/planner/manifests`, and what its pages and pods say.

use crate::load::Load;
use crate::support::{LIMIT, Tenant, World, http_get, kubectl, manifest, unique, wait_until};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The version that the blueprint names.
pub const FIRST: &str = "2026.11.1";
/// The next one, which has a migration.
pub const SECOND: &str = "2026.11.2";

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// The cluster with the operator, the planner's blueprint and its plans.
pub async fn world() -> World {
    let world = World::new().await;
    INSTALLED
        .get_or_init(async || {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/planner/manifests");
            for file in ["blueprint.yaml", "plans.yaml"] {
                kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &format!("{folder}/{file}")]).expect("it is taken");
            }
        })
        .await;
    world
}

/// A blueprint of the test's own: the planner with a change.
pub async fn changed(world: &World, change: impl FnOnce(&mut Value)) -> String {
    let mut spec = world.get("Blueprint", None, "planner").await["spec"].take();
    change(&mut spec);
    let name = unique("planner");
    world.create(&manifest("Blueprint", &name, spec)).await;
    name
}

/// The component of a blueprint.
pub fn component<'a>(spec: &'a mut Value, name: &str) -> &'a mut Value {
    spec["components"].as_array_mut().unwrap().iter_mut().find(|component| component["name"] == name).expect("the component")
}

/// How long the slowest of the planner's programs may take to end.
pub async fn longest_end(world: &World) -> Duration {
    let blueprint = world.get("Blueprint", None, "planner").await;
    let components = blueprint["spec"]["components"].as_array().unwrap();
    let longest = components.iter().filter_map(|component| component["terminationSeconds"].as_u64()).max();
    Duration::from_secs(longest.expect("seconds, at least as the default"))
}

/// A ready tenant of the planner.
pub async fn tenant(name: &str, spec: Value) -> Tenant {
    let world = world().await;
    // The real node is in no region.
    let usual = json!({"blueprint": "planner", "plan": "starter", "region": null});
    let tenant = Tenant::new(name).with(usual).with(spec).create_in(&world).await;
    tenant.ready().await;
    tenant
}

/// The host of a tenant.
pub fn host(tenant: &Tenant) -> String {
    format!("{}.planner.localhost", tenant.name)
}

/// Where local-ingress listens.
pub fn ingress() -> SocketAddr {
    std::env::var("TENANTRY_INGRESS").expect("TENANTRY_INGRESS is set: run dev/test-real").parse().expect("ADDRESS:PORT")
}

/// Status and text of a tenant's page.
pub async fn page(tenant: &Tenant) -> (u16, String) {
    http_get(ingress(), &host(tenant), "/").await.expect("local-ingress answers")
}

/// Waits until the page is served and contains a text.
pub async fn page_with(tenant: &Tenant, text: &str) -> String {
    wait_until(&format!("the page of {} says {text}", tenant.name), LIMIT, async || match page(tenant).await {
        (200, page) if page.contains(text) => Ok(page),
        other => Err(format!("{other:?}")),
    })
    .await
}

/// Visitors of a tenant's page.
pub async fn visitors(tenant: &Tenant) -> Load {
    Load::start(ingress(), &host(tenant), &format!("tenant_{}", tenant.name.replace('-', "_"))).await
}

/// Runs Python in a pod of a component, and gives what it prints.
pub async fn python(tenant: &Tenant, component: &str, program: &str) -> Result<String, String> {
    let (namespace, target, program) = (tenant.namespace.clone(), format!("deployment/{component}"), program.to_owned());
    tokio::task::spawn_blocking(move || {
        kubectl(&["exec", "--namespace", &namespace, &target, "--", "python3", "-c", &program]).map(|text| text.trim().to_owned())
    })
    .await
    .unwrap()
}

/// The pods of a component that aren't ending.
pub async fn pods(tenant: &Tenant, component: &str) -> Vec<Value> {
    let mut pods = tenant.world.list("Pod", Some(&tenant.namespace), &format!("app.kubernetes.io/component={component}")).await;
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    pods
}
