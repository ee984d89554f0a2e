//! What is refused to the operator outside of tenants' namespaces. Every refusal stands beside something of the same form that is allowed.

use crate::attack::*;
use crate::support::{NAMESPACE, SERVICE_ACCOUNT, Tenant, World, kubectl, unique};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn the_operator_writes_no_workload_and_reads_no_secret_outside_of_tenants_namespaces() {
    let world = World::new().await;
    let operator = as_operator(&world).await;
    let plain = plain_namespace(&world).await;
    world.create(&secret(&plain, "theirs")).await;
    let tenant = Tenant::new("inside").ready().await;
    for namespace in ["kube-system", "default", plain.as_str()] {
        for object in [deployment(namespace), pod(namespace), job(namespace), secret(namespace, "ours")] {
            refused(namespace, operator.try_create_dry(&object).await, FORBIDDEN);
        }
        refused(namespace, operator.try_get("Secret", Some(namespace), "theirs").await, FORBIDDEN);
        refused(namespace, operator.try_list("Secret", Some(namespace), "").await, FORBIDDEN);
    }
    refused("all Secrets", operator.try_list("Secret", None, "").await, FORBIDDEN);
    for object in [deployment(&tenant.namespace), job(&tenant.namespace), secret(&tenant.namespace, "ours")] {
        allowed("a workload in a tenant's namespace", operator.try_create_dry(&object).await);
    }
    allowed("a Secret in a tenant's namespace", operator.try_get("Secret", Some(&tenant.namespace), "database").await);

    let account = (NAMESPACE, SERVICE_ACCOUNT);
    let outside = ["kube-system", "default", plain.as_str()];
    // The policies keep it from RoleBindings; here the authorizer alone is asked.
    let resources: Vec<_> = NAMESPACED.into_iter().filter(|resource| !resource.ends_with("/rolebindings")).collect();
    assert_eq!(rights(&world, account, &WRITES, &resources, &outside).await, BTreeSet::new());
    let secrets = ["secrets", "pods", "pods.log"];
    assert_eq!(rights(&world, account, &VERBS, &secrets, &["kube-system", "default", plain.as_str(), ""]).await, BTreeSet::new());
    assert!(may(&world, account, "create", "apps/deployments", &tenant.namespace, "").await);
    world.delete("Namespace", None, &plain).await;
}

#[tokio::test]
async fn the_operator_touches_no_namespace_that_is_not_a_tenants() {
    let world = World::new().await;
    let operator = as_operator(&world).await;
    let namespace =
        |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let label = json!({"tenantry.dev/tenant": "x"});
    let (free, foreign) = (unique("tenant-free"), unique("tenant-foreign"));
    let plain = plain_namespace(&world).await;
    world.create(&namespace(&foreign, json!({}))).await;
    let tenant = Tenant::new("owned").ready().await;

    refused("without the label", operator.try_create_dry(&namespace(&free, json!({}))).await, ONLY_TENANTS_NAMESPACES);
    refused("of another name", operator.try_create_dry(&namespace(&unique("other"), label.clone())).await, ONLY_TENANTS_NAMESPACES);
    refused("of another tenant", operator.try_create_dry(&namespace(&free, label.clone())).await, ONLY_TENANTS_NAMESPACES);
    let own = json!({"tenantry.dev/tenant": free.trim_start_matches("tenant-")});
    allowed("a tenant's namespace", operator.try_create_dry(&namespace(&free, own)).await);

    let labelled = json!({"metadata": {"labels": label}});
    for name in ["kube-system", "default", NAMESPACE, plain.as_str(), foreign.as_str()] {
        refused(name, operator.try_merge("Namespace", None, name, &labelled).await, ONLY_TENANTS_NAMESPACES);
        // Some of them Kubernetes itself keeps.
        let sentence = if matches!(name, "kube-system" | "default") { FORBIDDEN } else { ONLY_TENANTS_NAMESPACES };
        refused(name, operator.try_delete_dry("Namespace", None, name).await, sentence);
    }
    let unlabelled = json!({"metadata": {"labels": {"tenantry.dev/tenant": null}}});
    refused("its own label", operator.try_merge("Namespace", None, &tenant.namespace, &unlabelled).await, ONLY_TENANTS_NAMESPACES);
    refused("another's label", operator.try_merge("Namespace", None, &tenant.namespace, &labelled).await, ONLY_TENANTS_NAMESPACES);
    let annotated = json!({"metadata": {"annotations": {"example.com/seen": "yes"}}});
    allowed("its own namespace", operator.try_merge("Namespace", None, &tenant.namespace, &annotated).await);
    allowed("its own namespace", operator.try_delete_dry("Namespace", None, &tenant.namespace).await);
    for name in [plain, foreign] {
        world.delete("Namespace", None, &name).await;
    }
}

#[tokio::test]
async fn the_operator_binds_no_role_but_its_own_and_only_for_tenants() {
    let world = World::new().await;
    let operator = as_operator(&world).await;
    let account = (NAMESPACE, SERVICE_ACCOUNT);
    let plain = plain_namespace(&world).await;
    let tenant = Tenant::new("bound").ready().await;
    for namespace in ["kube-system", "default", NAMESPACE, plain.as_str(), tenant.namespace.as_str()] {
        for role in ["cluster-admin", "admin", "edit", "view", "tenantry-operator", "tenantry-instance-base"] {
            // Either Kubernetes' guard against escalation or the policy comes first.
            refused(role, operator.try_create_dry(&binding(namespace, "ClusterRole", role, account)).await, FORBIDDEN);
        }
    }
    for namespace in [plain.as_str(), tenant.namespace.as_str()] {
        let namesake = json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": "tenantry-instance", "namespace": namespace}, "rules": [],
        });
        world.create(&namesake).await;
        refused(namespace, operator.try_create_dry(&binding(namespace, "Role", "tenantry-instance", account)).await, ONLY_ITS_ROLE);
    }
    for namespace in ["kube-system", "default", NAMESPACE, plain.as_str()] {
        refused(namespace, operator.try_create_dry(&binding(namespace, "ClusterRole", "tenantry-instance", account)).await, ONLY_ITS_ROLE);
    }
    let everywhere = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": unique("binding")},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "tenantry-instance"},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": SERVICE_ACCOUNT}],
    });
    refused("a ClusterRoleBinding", operator.try_create_dry(&everywhere).await, FORBIDDEN);
    allowed("its own", operator.try_create_dry(&binding(&tenant.namespace, "ClusterRole", "tenantry-instance", account)).await);

    // Nor may it take over a binding that others made.
    for namespace in [plain.as_str(), tenant.namespace.as_str()] {
        let theirs = name(&world.create(&binding(namespace, "ClusterRole", "admin", (&plain, "default"))).await);
        let patch = json!({"subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": SERVICE_ACCOUNT}]});
        refused(namespace, operator.try_merge("RoleBinding", Some(namespace), &theirs, &patch).await, FORBIDDEN);
        refused(namespace, operator.try_delete_dry("RoleBinding", Some(namespace), &theirs).await, ONLY_ITS_ROLE);
        world.delete("RoleBinding", Some(namespace), &theirs).await;
    }
    world.delete("Namespace", None, &plain).await;
}

#[tokio::test]
async fn the_operator_cannot_become_somebody_else_or_grant_more_than_it_has() {
    let world = World::new().await;
    let account = (NAMESPACE, SERVICE_ACCOUNT);
    let tenant = Tenant::new("modest").ready().await;
    let roles = "rbac.authorization.k8s.io/clusterroles";
    for role in ["cluster-admin", "admin", "tenantry-operator"] {
        assert!(!may(&world, account, "bind", roles, "", role).await, "{role}");
        assert!(!may(&world, account, "escalate", roles, "", role).await, "{role}");
    }
    assert!(!may(&world, account, "escalate", roles, "", "tenantry-instance").await);
    assert!(may(&world, account, "bind", roles, "", "tenantry-instance").await);
    let people = ["users", "groups", "serviceaccounts", "authentication.k8s.io/userextras.scopes"];
    let places = ["", "kube-system", tenant.namespace.as_str()];
    assert_eq!(rights(&world, account, &["impersonate"], &people, &places).await, BTreeSet::new());
    let ways = ["serviceaccounts.token", "pods.exec", "pods.attach", "pods.ephemeralcontainers", "nodes.proxy", "namespaces.finalize"];
    assert_eq!(rights(&world, account, &VERBS, &ways, &places).await, BTreeSet::new());
    assert_eq!(rights(&world, account, &WRITES, &CLUSTER_WIDE[4..5], &[""]).await, BTreeSet::new());

    let config = world.environment.operator_kubeconfig.display().to_string();
    let ask = |more: &[&str]| kubectl(&[&["--kubeconfig", &config, "get", "namespace", "default"], more].concat());
    refused("impersonation", ask(&["--as", "system:admin"]), "cannot impersonate");
    refused("impersonation", ask(&["--as", "nobody", "--as-group", "system:masters"]), "cannot impersonate");
    allowed("the same as itself", ask(&[]));
}

/// No wildcard, nothing by which more could be had, and `bind` of one role only.
#[track_caller]
fn modest(role: &str, rules: &Value) {
    for rule in rules.as_array().into_iter().flatten() {
        let texts = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        let (groups, resources, verbs) = (texts("apiGroups"), texts("resources"), texts("verbs"));
        assert!(![&groups, &resources, &verbs].iter().any(|texts| texts.iter().any(|text| text.contains('*'))), "{role}: {rule}");
        assert!(!verbs.iter().any(|verb| ["escalate", "impersonate"].contains(verb)), "{role}: {rule}");
        assert!(rule["nonResourceURLs"].is_null(), "{role}: {rule}");
        if verbs.contains(&"bind") {
            assert_eq!((resources, texts("resourceNames")), (vec!["clusterroles"], vec!["tenantry-instance"]), "{role}: {rule}");
        }
    }
}

#[tokio::test]
async fn the_operators_roles_hold_no_wildcard_and_bind_one_role_only() {
    let world = World::new().await;
    let is_role = |object: &&Value| object["kind"] == "ClusterRole" || object["kind"] == "Role";
    let written =
        kubectl(&["create", "--dry-run=client", "--output", "json", "--kustomize", concat!(env!("CARGO_MANIFEST_DIR"), "/config/rbac")]);
    // One object after another, without a list around them.
    let written: Vec<Value> =
        serde_json::Deserializer::from_str(&written.expect("the manifests")).into_iter().map(Result::unwrap).collect();
    let written: Vec<_> = written.iter().flat_map(|object| object["items"].as_array().cloned().unwrap_or(vec![object.clone()])).collect();
    let live = [world.list("ClusterRole", None, "").await, world.list("Role", Some(NAMESPACE), "").await].concat();
    let live: Vec<_> = live.into_iter().map(|object| (name(&object), object)).filter(|(name, _)| name.starts_with("tenantry-")).collect();
    let written: Vec<_> = written.iter().filter(is_role).map(|object| (name(object), object.clone())).collect();
    assert_eq!(written.len(), 9);
    assert!(live.len() >= written.len());
    let mut binds = 0;
    for (name, role) in written.iter().chain(&live) {
        modest(name, &role["rules"]);
        binds += role["rules"].to_string().matches("\"bind\"").count();
    }
    assert_eq!(binds, 2, "once as written and once as it is in the cluster");
    // What is granted to the operator, by whatever binding, is one of these roles.
    let ours = |binding: &&Value| binding["subjects"].to_string().contains(SERVICE_ACCOUNT);
    for binding in world.list("ClusterRoleBinding", None, "").await.iter().filter(ours) {
        let role = binding["roleRef"]["name"].as_str().expect("a role");
        assert!(role.starts_with("tenantry-operator"), "{binding}");
    }
    // Those of the other tests of this process are in tenants' namespaces.
    for binding in world.list("RoleBinding", None, "").await.iter().filter(ours) {
        let namespace = binding["metadata"]["namespace"].as_str().expect("a namespace");
        let role = binding["roleRef"]["name"].as_str().expect("a role");
        assert!(role == "tenantry-instance" && namespace.starts_with("tenant-") || namespace == NAMESPACE, "{binding}");
    }
}
