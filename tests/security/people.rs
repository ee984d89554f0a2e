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
            refused(&name, person.try_merge(kind, namespace, &name, &json!({"metadata": {"ownerReferences": null}})).await, sentence);
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

    let role = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": {"name": account},
        "rules": [{"apiGroups": ["tenantry.dev"], "resources": ["tenants"], "verbs": ["update"]}],
    });
    let grant = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": account},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": account},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": account}],
    });
    world.create(&role).await;
    world.create(&grant).await;
    wait_until("the policy lets them", LIMIT, async || support.try_create_dry(&policy).await).await;
    let quota = name(&tenant.objects("ResourceQuota").await[0]);
    allowed("the quota", support.try_delete_dry("ResourceQuota", namespace, &quota).await);
    allowed("the operator's access", support.try_delete_dry("RoleBinding", namespace, "tenantry-operator").await);
    for kind in ["ClusterRoleBinding", "ClusterRole"] {
        world.delete(kind, None, &account).await;
    }
}
