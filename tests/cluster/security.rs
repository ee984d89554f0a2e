//! What is refused: to the operator outside of tenants' namespaces, to a tenant's pods, to a tenant's people, and to manifests that reach for
//! what isn't theirs. Every refusal stands beside something of the same form that is allowed.

use crate::support::{Cluster, LIMIT, NAMESPACE, Proxy, SERVICE_ACCOUNT, Tenant, World, kubectl, psql, unique, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const RBAC: &str = "rbac.authorization.k8s.io";
/// What Kubernetes' own authorization says.
const FORBIDDEN: &str = "is forbidden";
/// What the policy for the operator says of namespaces.
const ONLY_TENANTS_NAMESPACES: &str = "the operator may only touch namespaces that it made for a tenant";
/// What the policy for the operator says of RoleBindings.
const ONLY_ITS_ROLE: &str = "the operator may only bind tenantry-instance, and only in tenants' namespaces";
/// What the policy for a tenant's people says.
const THE_PLATFORMS: &str = "are the platform's";

/// The cluster as the operator sees it.
async fn as_operator(world: &World) -> Cluster {
    world.environment.client_of(&world.cluster, NAMESPACE, SERVICE_ACCOUNT).await
}

/// A namespace that has nothing to do with tenants.
async fn plain_namespace(world: &World) -> String {
    let name = unique("plain");
    world.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
    name
}

/// The answer is a refusal that says this.
#[track_caller]
fn refused<T: std::fmt::Debug>(what: &str, answer: Result<T, String>, sentence: &str) {
    match answer {
        Ok(done) => panic!("{what} was done: {done:?}"),
        Err(message) => assert!(message.contains(sentence), "{what}: {sentence:?} is not in {message:?}"),
    }
}

#[track_caller]
fn allowed<T>(what: &str, answer: Result<T, String>) -> T {
    answer.unwrap_or_else(|message| panic!("{what} was refused: {message}"))
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("a name").to_owned()
}

fn secret(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": {"password": "theirs"}})
}

fn pod(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": unique("pod"), "namespace": namespace}, "spec": pod_spec()})
}

fn pod_spec() -> Value {
    json!({
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "main", "image": "localhost/sample:1.0", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    })
}

fn deployment(namespace: &str) -> Value {
    let mut spec = pod_spec();
    spec["restartPolicy"] = "Always".into();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": unique("deployment"), "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}},
    })
}

fn job(namespace: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": unique("job"), "namespace": namespace},
        "spec": {"template": {"spec": pod_spec()}},
    })
}

fn network_policy(namespace: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": unique("open"), "namespace": namespace},
        "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]},
    })
}

/// Gives a role to a ServiceAccount in a namespace.
fn binding(namespace: &str, kind: &str, role: &str, account: (&str, &str)) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": {"name": unique("binding"), "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": account.0, "name": account.1}],
    })
}

/// Whether the API server's authorizer lets a ServiceAccount do something. The resource may have a group before a slash and a subresource
/// after a dot: `apps/deployments.scale`.
async fn may(world: &World, account: (&str, &str), verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let (group, rest) = resource.split_once('/').unwrap_or(("", resource));
    let (resource, subresource) = rest.split_once('.').unwrap_or((rest, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": {
            "user": format!("system:serviceaccount:{}:{}", account.0, account.1),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{}", account.0), "system:authenticated"],
            "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "name": name,
            },
        },
    });
    world.create(&review).await["status"]["allowed"] == true
}

/// All of the verbs on resources in namespaces that a ServiceAccount may do.
async fn rights(world: &World, account: (&str, &str), verbs: &[&str], resources: &[&str], namespaces: &[&str]) -> BTreeSet<String> {
    let all = verbs
        .iter()
        .flat_map(|verb| resources.iter().flat_map(move |resource| namespaces.iter().map(move |namespace| (*verb, *resource, *namespace))));
    let questions: Vec<_> = all.collect();
    futures::stream::iter(questions)
        .map(|(verb, resource, namespace)| async move {
            may(world, account, verb, resource, namespace, "").await.then(|| format!("{verb} {resource} in {namespace:?}"))
        })
        .buffer_unordered(16)
        .filter_map(|found| async move { found })
        .collect()
        .await
}

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// What a namespace can hold.
const NAMESPACED: [&str; 26] = [
    "pods",
    "pods.exec",
    "pods.attach",
    "pods.portforward",
    "pods.log",
    "pods.ephemeralcontainers",
    "pods.eviction",
    "secrets",
    "configmaps",
    "services",
    "serviceaccounts",
    "serviceaccounts.token",
    "persistentvolumeclaims",
    "resourcequotas",
    "limitranges",
    "events",
    "endpoints",
    "apps/deployments",
    "apps/deployments.scale",
    "apps/replicasets",
    "batch/jobs",
    "batch/cronjobs",
    "networking.k8s.io/ingresses",
    "networking.k8s.io/networkpolicies",
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/rolebindings",
];
/// What the cluster holds.
const CLUSTER_WIDE: [&str; 16] = [
    "namespaces",
    "namespaces.finalize",
    "nodes",
    "nodes.proxy",
    "persistentvolumes",
    "tenantry.dev/tenants",
    "tenantry.dev/tenants.status",
    "tenantry.dev/blueprints",
    "tenantry.dev/plans",
    "tenantry.dev/databaseservers",
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "apiextensions.k8s.io/customresourcedefinitions",
    "admissionregistration.k8s.io/validatingadmissionpolicies",
    "admissionregistration.k8s.io/validatingadmissionpolicybindings",
    "certificates.k8s.io/certificatesigningrequests",
];

// ---- the operator

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
        kubectl(&["create", "--dry-run=client", "--output", "json", "--filename", concat!(env!("CARGO_MANIFEST_DIR"), "/config/rbac")]);
    // One object after another, without a list around them.
    let written: Vec<Value> =
        serde_json::Deserializer::from_str(&written.expect("the manifests")).into_iter().map(Result::unwrap).collect();
    let written: Vec<_> = written.iter().flat_map(|object| object["items"].as_array().cloned().unwrap_or(vec![object.clone()])).collect();
    let live = [world.list("ClusterRole", None, "").await, world.list("Role", Some(NAMESPACE), "").await].concat();
    let live: Vec<_> = live.into_iter().map(|object| (name(&object), object)).filter(|(name, _)| name.starts_with("tenantry-")).collect();
    let written: Vec<_> = written.iter().filter(is_role).map(|object| (name(object), object.clone())).collect();
    assert_eq!(written.len(), 4);
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

// ---- a tenant's pods

#[tokio::test]
async fn the_account_of_a_tenants_pods_may_do_nothing_anywhere() {
    let world = World::new().await;
    let (a, b) = tokio::join!(Tenant::new("a").ready(), Tenant::new("b").ready());
    let account = (a.namespace.as_str(), "instance");
    let places = [a.namespace.as_str(), b.namespace.as_str(), "default", "kube-system", NAMESPACE, ""];
    assert_eq!(rights(&world, account, &VERBS, &NAMESPACED, &places).await, BTreeSet::new());
    assert_eq!(rights(&world, account, &VERBS, &CLUSTER_WIDE, &["", &a.namespace, &b.namespace]).await, BTreeSet::new());
    // The same questions about somebody who may.
    let operator = rights(&world, (NAMESPACE, SERVICE_ACCOUNT), &["get"], &["secrets", "apps/deployments"], &places).await;
    assert!(operator.contains(&format!("get secrets in {:?}", b.namespace)), "{operator:?}");

    let pods = world.environment.client_of(&world.cluster, &a.namespace, "instance").await;
    let user = format!("User \"system:serviceaccount:{}:instance\" cannot", a.namespace);
    refused("its own Secret", pods.try_get("Secret", Some(&a.namespace), "database").await, &user);
    refused("another's Secret", pods.try_get("Secret", Some(&b.namespace), "database").await, &user);
    refused("all Secrets", pods.try_list("Secret", None, "").await, &user);
    refused("all pods", pods.try_list("Pod", Some(&b.namespace), "").await, &user);
    refused("all tenants", pods.try_list("Tenant", None, "").await, &user);
    refused("its own Tenant", pods.try_merge("Tenant", None, &a.name, &json!({"spec": {"plan": "large"}})).await, &user);
    refused("a pod", pods.try_create_dry(&pod(&a.namespace)).await, &user);
    refused("a pod", pods.try_create_dry(&pod(&b.namespace)).await, &user);
    refused("a deletion", pods.try_delete_dry("Deployment", Some(&b.namespace), "web").await, &user);
    refused("all deletions", pods.try_delete_all("Pod", Some(&b.namespace), "").await, &user);
}

#[tokio::test]
async fn no_pod_of_a_tenant_has_a_token() {
    let tenant = Tenant::new("tokenless").ready().await;
    let has_token = |pod: &Value| {
        let sources = |volume: &Value| volume["projected"]["sources"].to_string().contains("serviceAccountToken");
        pod["spec"]["volumes"].as_array().into_iter().flatten().any(sources)
    };
    let pods = tenant.objects("Pod").await;
    assert!(pods.len() >= 3, "{} pods", pods.len());
    for pod in &pods {
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "{}", name(pod));
        assert!(!has_token(pod), "{pod}");
    }
    assert_eq!(tenant.object("ServiceAccount", "instance").await["automountServiceAccountToken"], false);
    // A pod that says nothing gets one.
    let plain = plain_namespace(&tenant.world).await;
    let world = &tenant.world;
    let usual = wait_until("the default ServiceAccount is there", LIMIT, async || world.try_create(&pod(&plain)).await).await;
    assert!(has_token(&usual), "{usual}");
    world.delete("Namespace", None, &plain).await;
}

// ---- a tenant's people

/// Somebody with this ClusterRole in the tenant's namespace.
async fn person(tenant: &Tenant, role: &str) -> Cluster {
    let world = &tenant.world;
    let account = unique("person");
    world.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "default"}})).await;
    world.create(&binding(&tenant.namespace, "ClusterRole", role, ("default", &account))).await;
    let person = world.environment.client_of(&world.cluster, "default", &account).await;
    wait_until("the person is let in", LIMIT, async || person.try_list("Pod", Some(&tenant.namespace), "").await).await;
    person
}

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

// ---- secrets

/// The values of a tenant's Secrets that nobody else may see.
async fn secret_values(tenant: &Tenant) -> Vec<String> {
    let (database, generated) = (tenant.secret("database").await, tenant.secret("generated").await);
    let values = vec![database["password"].clone(), generated["SECRET_KEY"].clone()];
    assert!(values.iter().all(|value| value.len() >= 16) && database["uri"].contains(&values[0]));
    values
}

/// A wait for another password than before.
async fn rotated(tenant: &Tenant, before: &str) {
    wait_until("the password is another", LIMIT, async || match tenant.secret("database").await["password"] == before {
        false => Ok(()),
        true => Err("it is the same".to_owned()),
    })
    .await;
}

/// All places in which a secret could show, each with its text.
async fn places(world: &World) -> Vec<(String, String)> {
    let mut places = Vec::new();
    let kinds = [
        "Tenant",
        "Blueprint",
        "Plan",
        "DatabaseServer",
        "Event",
        "ConfigMap",
        "Deployment",
        "ReplicaSet",
        "Job",
        "Pod",
        "Namespace",
        "Service",
        "ServiceAccount",
        "Ingress",
        "NetworkPolicy",
        "ResourceQuota",
        "LimitRange",
        "RoleBinding",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ];
    for kind in kinds {
        places.extend(world.list(kind, None, "").await.iter().map(|object| (format!("{kind} {}", name(object)), object.to_string())));
    }
    places.push(("the operator's log".to_owned(), world.environment.operator().whole_log()));
    let log = std::fs::read(&world.environment.postgres.log).expect("Postgres' log");
    places.push(("Postgres' log".to_owned(), String::from_utf8_lossy(&log).into_owned()));
    let (server, _) = world.environment.postgres.superuser.rsplit_once('/').expect("a URL with a database");
    let statements = psql(&format!("{server}/postgres"), "select query from pg_stat_statements").await.expect("pg_stat_statements");
    places.push(("pg_stat_statements".to_owned(), statements));
    places
}

/// The places that hold the value, in clear or as Kubernetes writes a Secret's.
fn found<'a>(places: &'a [(String, String)], value: &str) -> Vec<&'a str> {
    let encoded = BASE64.encode(value);
    places.iter().filter(|(_, text)| text.contains(value) || text.contains(&encoded)).map(|(place, _)| place.as_str()).collect()
}

#[tokio::test]
async fn no_secret_shows_anywhere_even_after_a_rotation_and_a_failure() {
    let world = World::new().await;
    let postgres = &world.environment.postgres;
    let proxy = Proxy::to(format!("{}:{}", postgres.host, postgres.port));
    let region = world.server(json!({"host": "127.0.0.1", "port": proxy.port})).await;
    let (calm, shaken) = tokio::join!(
        Tenant::new("calm").ready(),
        Tenant::new("shaken").with(json!({"region": region, "displayName": "canary-of-tests"})).create()
    );
    // Its pods find no node in a region that has none: the database is what counts here.
    shaken.condition("DatabaseReady", "True").await;
    let mut values = [secret_values(&calm).await, secret_values(&shaken).await].concat();
    for tenant in [&calm, &shaken] {
        let before = tenant.secret("database").await["password"].clone();
        tenant.annotate("tenantry.dev/rotate", "first").await;
        rotated(tenant, &before).await;
        values.extend(secret_values(tenant).await);
    }
    proxy.cut();
    shaken.annotate("tenantry.dev/rotate", "second").await;
    shaken.condition("DatabaseReady", "False").await;
    proxy.mend();
    rotated(&shaken, &values[values.len() - 2]).await;
    shaken.condition("DatabaseReady", "True").await;
    // A manifest that the API server or Postgres refuses is told of, too.
    postgres.admin(&format!("drop schema {} cascade", calm.owner())).await;
    calm.annotate("tenantry.dev/reconcile", "look").await.condition("Ready", "False").await;
    values.extend(secret_values(&shaken).await);
    values.push(postgres.password.trim().to_owned());
    values.sort();
    values.dedup();
    assert!(values.len() >= 7, "{} values", values.len());

    postgres.admin("set application_name = 'canary-of-tests'").await;
    psql(&postgres.superuser, "set application_name = 'canary-of-tests'").await.expect("psql");
    let places = places(&world).await;
    for value in &values {
        assert_eq!(found(&places, value), Vec::<&str>::new(), "a secret shows");
    }
    // What is no secret is found by the same search.
    let canary = found(&places, "canary-of-tests");
    for place in
        [format!("Tenant {}", shaken.name), "Postgres' log".to_owned(), "pg_stat_statements".to_owned(), "ConfigMap settings".to_owned()]
    {
        assert!(canary.contains(&place.as_str()), "{place} is not in {canary:?}");
    }
    assert!(found(&places, &shaken.name).contains(&"the operator's log"));
}

// ---- manifests that reach for what isn't theirs

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
