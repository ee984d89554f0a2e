//! What attacks share: who attacks, what is asked of the API server, and what an answer has to say.

use crate::support::{Cluster, LIMIT, NAMESPACE, SERVICE_ACCOUNT, Tenant, World, unique, wait_until};
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const RBAC: &str = "rbac.authorization.k8s.io";
/// What Kubernetes' own authorization says.
pub const FORBIDDEN: &str = "is forbidden";
/// What the policy for the operator says of namespaces.
pub const ONLY_TENANTS_NAMESPACES: &str = "the operator may only touch namespaces that it made for a tenant";
/// What the policy for the operator says of RoleBindings.
pub const ONLY_ITS_ROLE: &str = "the operator may only bind tenantry-instance, and only in tenants' namespaces";
/// What the policy for a tenant's people says.
pub const THE_PLATFORMS: &str = "are the platform's";

/// The cluster as the operator sees it.
pub async fn as_operator(world: &World) -> Cluster {
    world.environment.client_of(&world.cluster, NAMESPACE, SERVICE_ACCOUNT).await
}

/// A namespace that has nothing to do with tenants.
pub async fn plain_namespace(world: &World) -> String {
    let name = unique("plain");
    world.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
    name
}

/// The answer is a refusal that says this.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(what: &str, answer: Result<T, String>, sentence: &str) {
    match answer {
        Ok(done) => panic!("{what} was done: {done:?}"),
        Err(message) => assert!(message.contains(sentence), "{what}: {sentence:?} is not in {message:?}"),
    }
}

#[track_caller]
pub fn allowed<T>(what: &str, answer: Result<T, String>) -> T {
    answer.unwrap_or_else(|message| panic!("{what} was refused: {message}"))
}

pub fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("a name").to_owned()
}

pub fn secret(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": {"password": "theirs"}})
}

pub fn pod(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": unique("pod"), "namespace": namespace}, "spec": pod_spec()})
}

pub fn pod_spec() -> Value {
    json!({
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "main", "image": "localhost/sample:1.0", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    })
}

pub fn deployment(namespace: &str) -> Value {
    let mut spec = pod_spec();
    spec["restartPolicy"] = "Always".into();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": unique("deployment"), "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}},
    })
}

pub fn job(namespace: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": unique("job"), "namespace": namespace},
        "spec": {"template": {"spec": pod_spec()}},
    })
}

pub fn network_policy(namespace: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": unique("open"), "namespace": namespace},
        "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]},
    })
}

/// Gives a role to a ServiceAccount in a namespace.
pub fn binding(namespace: &str, kind: &str, role: &str, account: (&str, &str)) -> Value {
    json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": {"name": unique("binding"), "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": account.0, "name": account.1}],
    })
}

/// Whether the API server's authorizer lets a ServiceAccount do something. The resource may have a group before a slash and a subresource
/// after a dot: `apps/deployments.scale`.
pub async fn may(world: &World, account: (&str, &str), verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
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
pub async fn rights(world: &World, account: (&str, &str), verbs: &[&str], resources: &[&str], namespaces: &[&str]) -> BTreeSet<String> {
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

pub const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
pub const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// What a namespace can hold.
pub const NAMESPACED: [&str; 26] = [
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
pub const CLUSTER_WIDE: [&str; 16] = [
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
/// Somebody with this ClusterRole in the tenant's namespace.
pub async fn person(tenant: &Tenant, role: &str) -> Cluster {
    let world = &tenant.world;
    let account = unique("person");
    world.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "default"}})).await;
    world.create(&binding(&tenant.namespace, "ClusterRole", role, ("default", &account))).await;
    let person = world.environment.client_of(&world.cluster, "default", &account).await;
    wait_until("the person is let in", LIMIT, async || person.try_list("Pod", Some(&tenant.namespace), "").await).await;
    person
}

/// Somebody who may do this in all namespaces, as a controller of the platform.
pub async fn everywhere(world: &World, rules: Value) -> Cluster {
    let account = unique("controller");
    world.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "default"}})).await;
    grant_everywhere(world, &account, rules).await;
    world.environment.client_of(&world.cluster, "default", &account).await
}

/// Lets an account of the namespace `default` do this in all namespaces.
pub async fn grant_everywhere(world: &World, account: &str, rules: Value) {
    let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": {"name": account}, "rules": rules});
    let grant = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": account},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": account},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": account}],
    });
    world.create(&role).await;
    world.create(&grant).await;
}

/// Somebody who may write Tenants and nothing else, as onboarding does.
pub async fn onboarding(world: &World) -> Cluster {
    let verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    let person = everywhere(world, json!([{"apiGroups": ["tenantry.dev"], "resources": ["tenants"], "verbs": verbs}])).await;
    wait_until("onboarding is let in", LIMIT, async || person.try_list("Tenant", None, "").await).await;
    person
}
