//! What is there and isn't the tenant's: never adopted, never overwritten.

use crate::attack::*;
use crate::support::{Tenant, World, unique};
use serde_json::{Value, json};

/// What is there stays as it is while the tenant is stalled for it.
async fn is_left_alone(tenant: &Tenant, before: &Value, sentence: &str) {
    let message = tenant.stalled("NotOurs").await;
    assert_eq!(message, sentence);
    let (kind, namespace) = (before["kind"].as_str().expect("a kind"), before["metadata"]["namespace"].as_str());
    let mut after = tenant.world.get(kind, namespace, &name(before)).await;
    let mut before = before.clone();
    for object in [&mut before, &mut after] {
        // Kubernetes' own writes to a namespace.
        for field in ["resourceVersion", "managedFields"] {
            object["metadata"][field] = Value::Null;
        }
    }
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_namespace_that_is_not_the_tenants_is_not_adopted() {
    let world = World::new().await;
    let tenant_name = unique("late");
    // Not even one that has our label.
    let labels = json!({"tenantry.dev/tenant": tenant_name, "theirs": "yes"});
    let namespace = world
        .create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("tenant-{tenant_name}"), "labels": labels}}))
        .await;
    let tenant = Tenant::named(&tenant_name).create().await;
    let key = format!("Namespace {}", tenant.namespace);
    is_left_alone(&tenant, &namespace, &format!("{key} exists already and isn't this tenant's; it is not touched: delete or rename it"))
        .await;
    assert_eq!(tenant.objects("Deployment").await, Vec::<Value>::new());
    world.delete("Namespace", None, &tenant.namespace).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_service_and_a_secret_that_are_not_the_tenants_are_not_overwritten() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({})).await;
    let tenant = Tenant::new("crowded").with(json!({"blueprint": blueprint})).ready().await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "worker", "namespace": tenant.namespace},
        "spec": {"selector": {"theirs": "yes"}, "ports": [{"port": 1234}]},
    });
    let service = world.create(&service).await;
    let set_port = async |port: Value| {
        let mut components = world.get("Blueprint", None, &blueprint).await["spec"]["components"].clone();
        components[1]["port"] = port;
        components[1].as_object_mut().unwrap().retain(|_, value| !value.is_null());
        world.merge("Blueprint", None, &blueprint, &json!({"spec": {"components": components}})).await;
    };
    set_port(json!(9000)).await;
    let sentence = |kind: &str, name: &str| {
        let namespace = &tenant.namespace;
        format!("{kind} {namespace}/{name} exists already and isn't this tenant's; it is not touched: delete or rename it")
    };
    is_left_alone(&tenant, &service, &sentence("Service", "worker")).await;
    set_port(Value::Null).await;
    tenant.ready().await;

    world.delete("Secret", Some(&tenant.namespace), "generated").await;
    let theirs = world.create(&secret(&tenant.namespace, "generated")).await;
    tenant.annotate("tenantry.dev/reconcile", "look").await;
    is_left_alone(&tenant, &theirs, &sentence("Secret", "generated")).await;
}
