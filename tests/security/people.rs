//! What a tenant's people may not do in their own namespace, whatever role they were given there.

use crate::attack::*;
use crate::support::{Cluster, LIMIT, Tenant, unique, wait_until};
use serde_json::{Value, json};

/// What nobody of the tenant's people may do; the sentence is what each refusal has to say.
async fn guard_rails_hold(tenant: &Tenant, person: &Cluster, sentence: &str, sentence_of_deletion: &str) {
    let (world, namespace) = (&tenant.world, Some(tenant.namespace.as_str()));
    let before = |kind: &'static str| async move { world.list(kind, namespace, "").await };
    let kinds = ["NetworkPolicy", "ResourceQuota", "LimitRange"];
    for kind in kinds {
        let objects = before(kind).await;
        assert!(!objects.is_empty(), "{kind}");
        for object in objects {
            let name = name(&object);
            let patch = match kind {
                "NetworkPolicy" => json!({"spec": {"ingress": [{}]}}),
                "ResourceQuota" => json!({"spec": {"hard": {"pods": "1000"}}}),
                _ => json!({"spec": {"limits": []}}),
            };
            let sentence = if kind == "NetworkPolicy" { THE_PLATFORMS } else { sentence };
            refused(&name, person.try_merge(kind, namespace, &name, &patch).await, sentence);
            // Two policies refuse this; either may say so first.
            let of_either = if sentence == THE_PLATFORMS { "denied request" } else { sentence };
            refused(&name, person.try_merge(kind, namespace, &name, &json!({"metadata": {"ownerReferences": null}})).await, of_either);
            refused(&name, person.try_delete_dry(kind, namespace, &name).await, sentence);
        }
        refused(
            kind,
            person.try_delete_all(kind, namespace, "").await,
            if kind == "NetworkPolicy" { THE_PLATFORMS } else { sentence_of_deletion },
        );
        assert!(!before(kind).await.is_empty());
    }
    refused("a new NetworkPolicy", person.try_create_dry(&network_policy(&tenant.namespace)).await, THE_PLATFORMS);
    refused("the operator's access", person.try_delete_dry("RoleBinding", namespace, "tenantry-operator").await, THE_PLATFORMS);
    let nobody = json!({"subjects": []});
    // To change what grants more than one has is refused before the policy is asked.
    refused("the operator's access", person.try_merge("RoleBinding", namespace, "tenantry-operator", &nobody).await, sentence);
}

#[tokio::test]
async fn the_people_of_a_tenant_cannot_move_the_guard_rails() {
    let tenant = Tenant::new("guarded").ready().await;
    let namespace = Some(tenant.namespace.as_str());
    let admin = person(&tenant, "admin").await;
    guard_rails_hold(&tenant, &admin, FORBIDDEN, FORBIDDEN).await;
    let all = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    refused("the namespace's labels", admin.try_merge("Namespace", None, &tenant.namespace, &all).await, FORBIDDEN);
    let unlabelled = json!({"metadata": {"labels": {"tenantry.dev/tenant": null}}});
    refused("the namespace's labels", admin.try_merge("Namespace", None, &tenant.namespace, &unlabelled).await, FORBIDDEN);
    refused("the namespace", admin.try_delete_dry("Namespace", None, &tenant.namespace).await, FORBIDDEN);
    let plan = json!({"spec": {"plan": "large"}});
    refused("the Tenant", admin.try_merge("Tenant", None, &tenant.name, &plan).await, FORBIDDEN);

    // What is theirs stays theirs.
    assert!(!allowed("pods", admin.try_list("Pod", namespace, "").await).is_empty());
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": tenant.namespace}, "data": {"a": "1"},
    });
    allowed("a ConfigMap of their own", admin.try_create(&theirs).await);
    let changed = admin.try_merge("ConfigMap", namespace, "theirs", &json!({"data": {"a": "2"}})).await;
    assert_eq!(allowed("a change of it", changed)["data"]["a"], "2");
    allowed(
        "another person's access",
        admin.try_create_dry(&binding(&tenant.namespace, "ClusterRole", "view", ("default", "default"))).await,
    );

    // What is the operator's is put back, whoever changed it.
    let image = |deployment: &Value| deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let wanted = image(&tenant.object("Deployment", "web").await);
    let foreign = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "localhost/foreign:1"}]}}}});
    let edited = allowed("a Deployment", admin.try_merge("Deployment", namespace, "web", &foreign).await);
    assert_eq!(image(&edited), "localhost/foreign:1");
    tenant.object_until("Deployment", "web", "its image is put back", |deployment| (image(deployment) == wanted).then_some(())).await;
}

#[tokio::test]
async fn even_who_has_every_right_in_a_tenants_namespace_cannot_move_the_guard_rails() {
    let tenant = Tenant::new("overruled").ready().await;
    let ruler = person(&tenant, "cluster-admin").await;
    guard_rails_hold(&tenant, &ruler, THE_PLATFORMS, THE_PLATFORMS).await;
    allowed("a Secret", ruler.try_get("Secret", Some(&tenant.namespace), "database").await);
}

#[tokio::test]
async fn who_may_update_tenants_may_change_the_guard_rails() {
    let tenant = Tenant::new("supported").ready().await;
    let (world, namespace) = (&tenant.world, Some(tenant.namespace.as_str()));
    let account = unique("support");
    world.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "default"}})).await;
    world.create(&binding(&tenant.namespace, "ClusterRole", "cluster-admin", ("default", &account))).await;
    let support = world.environment.client_of(&world.cluster, "default", &account).await;
    let policy = network_policy(&tenant.namespace);
    wait_until("the policy refuses", LIMIT, async || match support.try_create_dry(&policy).await {
        Err(message) if message.contains(THE_PLATFORMS) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;

    grant_everywhere(world, &account, json!([{"apiGroups": ["tenantry.dev"], "resources": ["tenants"], "verbs": ["update"]}])).await;
    wait_until("the policy lets them", LIMIT, async || support.try_create_dry(&policy).await).await;
    let quota = name(&tenant.objects("ResourceQuota").await[0]);
    allowed("the quota", support.try_delete_dry("ResourceQuota", namespace, &quota).await);
    allowed("the operator's access", support.try_delete_dry("RoleBinding", namespace, "tenantry-operator").await);
    for kind in ["ClusterRoleBinding", "ClusterRole"] {
        world.delete(kind, None, &account).await;
    }
}

#[tokio::test]
async fn no_request_to_delete_all_takes_the_operators_access() {
    let tenant = Tenant::new("collected").ready().await;
    let ruler = person(&tenant, "cluster-admin").await;
    let (world, namespace) = (&tenant.world, Some(tenant.namespace.as_str()));
    let own = binding(&tenant.namespace, "ClusterRole", "view", ("default", "default"));
    let own = name(&world.create(&own).await);
    allowed("one of their own", ruler.try_delete_all("RoleBinding", namespace, &format!("metadata.name={own}")).await);
    refused("all RoleBindings", ruler.try_delete_all("RoleBinding", namespace, "").await, THE_PLATFORMS);
    assert!(world.find("RoleBinding", namespace, "tenantry-operator").await.is_some());
}

#[tokio::test]
async fn a_tenants_people_grant_nobody_what_the_operator_has() {
    let tenant = Tenant::new("grantless").ready().await;
    let admin = person(&tenant, "admin").await;
    for role in ["tenantry-instance", "tenantry-instance-base", "cluster-admin", "tenantry-operator"] {
        let grant = binding(&tenant.namespace, "ClusterRole", role, ("default", "default"));
        refused(role, admin.try_create_dry(&grant).await, "attempting to grant RBAC permissions not currently held");
    }
    let quota = json!([{"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["update"]}]);
    let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": unique("more"), "namespace": tenant.namespace}, "rules": quota});
    refused("a Role of more", admin.try_create_dry(&role).await, "attempting to grant RBAC permissions not currently held");
    let mut reach = binding("tenant-other", "ClusterRole", "view", ("default", "default"));
    reach["metadata"]["namespace"] = "default".into();
    refused("elsewhere", admin.try_create_dry(&reach).await, FORBIDDEN);
}

#[tokio::test]
async fn nobody_else_makes_a_namespace_that_passes_for_a_tenants() {
    let tenant = Tenant::new("original").ready().await;
    let world = &tenant.world;
    let verbs = ["create", "update", "patch", "get"];
    let squatter = everywhere(world, json!([{"apiGroups": [""], "resources": ["namespaces", "namespaces/status"], "verbs": verbs}])).await;
    let namespace = |labels: Value| {
        let owner = json!([{"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": tenant.name, "uid": "2b1f5c0e-6a0e-4c0f-9b58-3d0a8f1f1f11"}]);
        let metadata = json!({"name": unique("tenant-squat"), "labels": labels, "ownerReferences": owner});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    };
    wait_until("its rights are known", LIMIT, async || squatter.try_create_dry(&namespace(json!({}))).await).await;
    let labels = json!({"tenantry.dev/tenant": tenant.name});
    let sentence = "a tenant's namespace, its labels and its owner are the platform's";
    refused("a namespace with the label", squatter.try_create_dry(&namespace(labels.clone())).await, sentence);
    let plain = plain_namespace(world).await;
    let labelled = json!({"metadata": {"labels": labels}});
    refused("the label, later", squatter.try_merge("Namespace", None, &plain, &labelled).await, sentence);
    let path = format!("/api/v1/namespaces/{plain}/status?dryRun=All");
    refused(
        "the label, by the status",
        squatter.try_request("PATCH", &path, Some(("application/merge-patch+json", &labelled))).await,
        sentence,
    );
    world.delete("Namespace", None, &plain).await;
}
