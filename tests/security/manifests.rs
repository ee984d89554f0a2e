//! Manifests that reach for what isn't theirs.

use crate::attack::*;
use crate::support::{Tenant, World, unique};
use serde_json::{Value, json};

/// The paths of all fields of a schema whose name says that it is a namespace.
fn namespace_fields(schema: &Value, path: &str, into: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if name.to_lowercase().contains("namespace") {
            into.push(path.clone());
        }
        namespace_fields(field, &path, into);
    }
    for (name, inner) in [("[]", &schema["items"]), ("{}", &schema["additionalProperties"])] {
        if inner.is_object() {
            namespace_fields(inner, &format!("{path}{name}"), into);
        }
    }
}

#[tokio::test]
async fn a_tenant_cannot_name_another_namespace() {
    let world = World::new().await;
    let fields = |definition: &Value| {
        let mut fields = Vec::new();
        namespace_fields(&definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec", &mut fields);
        fields
    };
    let tenants = world.get("CustomResourceDefinition", None, "tenants.tenantry.dev").await;
    assert_eq!(fields(&tenants), Vec::<String>::new());
    let blueprints = world.get("CustomResourceDefinition", None, "blueprints.tenantry.dev").await;
    // Whom the admin lets in or out, and the Gateway: none from which anything is read.
    let known = ["spec.gateway.parentRef.namespace", "spec.network.egressTo[].to.namespace", "spec.network.ingressFrom[].namespace"];
    assert_eq!(fields(&blueprints), known);

    let elsewhere = Tenant::new("elsewhere").with(json!({"plan": "kube-system/small"})).create().await;
    let message = elsewhere.stalled("PlanMissing").await;
    assert!(message.contains("kube-system/small"), "{message}");
    elsewhere.change(json!({"plan": "small"})).await.ready().await;
}

/// A blueprint with these extras, and a tenant of it.
async fn with_extras(name: &str, extras: Value) -> Tenant {
    let blueprint = World::new().await.blueprint(json!({"extras": extras})).await;
    Tenant::new(name).with(json!({"blueprint": blueprint})).create().await
}

#[tokio::test]
async fn extras_of_a_kind_that_is_not_allowed_are_refused() {
    for (version, kind) in [
        ("v1", "Secret"),
        ("v1", "Pod"),
        ("v1", "Namespace"),
        ("apps/v1", "Deployment"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ("tenantry.dev/v1alpha1", "Tenant"),
        ("batch/v1beta1", "CronJob"),
    ] {
        let tenant = with_extras("greedy", json!([{"apiVersion": version, "kind": kind, "metadata": {"name": "more"}}])).await;
        let message = tenant.stalled("ExtraKindNotAllowed").await;
        assert!(message.contains(&format!("extras[0]: {kind} of {version} is not among the kinds")), "{message}");
        assert!(tenant.world.find("Namespace", None, &tenant.namespace).await.is_none());
    }
}

#[tokio::test]
async fn extras_stay_in_their_namespace_and_replace_nothing() {
    let map = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "${namespace}"}});
    let far = unique("far");
    let labels = json!({"tenantry.dev/tenant": "somebody-else", "app.kubernetes.io/managed-by": "somebody"});
    let tenant = with_extras("near", json!([map(json!({"name": far, "namespace": "kube-system", "labels": labels}))])).await;
    tenant.ready().await;
    let made = tenant.object("ConfigMap", &far).await;
    assert_eq!(made["data"]["a"], tenant.namespace);
    assert_eq!(made["metadata"]["labels"]["tenantry.dev/tenant"], tenant.name);
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], tenant.uid().await);
    assert!(tenant.world.find("ConfigMap", Some("kube-system"), &far).await.is_none());

    for (metadata, sentence) in [
        (json!({"name": "settings"}), "ConfigMap settings is one that every instance has"),
        (json!({"name": "${'set' + 'tings'}"}), "ConfigMap settings is one that every instance has"),
        (json!({"name": "../../kube-system/configmaps/x"}), "is no name of an object"),
        (json!({"name": "${tenant.displayName}"}), "is no name of an object"),
    ] {
        let tenant = with_extras("reaching", json!([map(metadata)])).await;
        let message = tenant.stalled("ExtraInvalid").await;
        assert!(message.contains(sentence), "{sentence:?} is not in {message}");
    }
}

#[tokio::test]
async fn a_protected_tenant_is_not_deleted() {
    let tenant = Tenant::new("precious").with(json!({"deletion": {"protected": true}})).ready().await;
    let world = &tenant.world;
    let sentence = "this tenant is protected: set spec.deletion.protected to false first";
    let only = format!("metadata.name={}", tenant.name);
    refused("a deletion", world.try_delete("Tenant", None, &tenant.name).await, sentence);
    refused("a deletion of all", world.try_delete_all("Tenant", None, &only).await, sentence);
    assert!(tenant.get().await["metadata"]["deletionTimestamp"].is_null());
    tenant.change(json!({"deletion": {"protected": false}})).await;
    allowed("the deletion of one that isn't", world.try_delete_all("Tenant", None, &only).await);
    tenant.gone().await;
}

