//! The whole matrix at the API server: the credentials of tenant A × everything of tenant B that discovery knows, subresources too × all verbs. What
//! is permitted is public by Kubernetes' own nature, and is listed here with the reason.

use crate::attack::*;
use crate::support::{Cluster, NAMESPACE, Tenant, World, unique};
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const VERBS_OF_ALL: [&str; 11] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate", "bind", "escalate"];

/// What everybody who has an account may, and why that is harmless.
const PUBLIC: [(&str, &str); 7] = [
    ("create authentication.k8s.io/selfsubjectreviews", "who one is"),
    ("create authorization.k8s.io/selfsubjectaccessreviews", "what one may"),
    ("create authorization.k8s.io/selfsubjectrulesreviews", "what one may"),
    ("get certificates.k8s.io/clustertrustbundles", "certificates of authorities, which are public"),
    ("list certificates.k8s.io/clustertrustbundles", "the same"),
    ("watch certificates.k8s.io/clustertrustbundles", "the same"),
    ("get /…", "health, version, and the names of kinds"),
];

/// A kind of object, or a part of one, as discovery names it.
#[derive(Clone, Debug)]
struct Resource {
    group: String,
    version: String,
    name: String,
    namespaced: bool,
    verbs: Vec<String>,
}

impl Resource {
    fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        let place = if self.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        format!("{root}/{}{place}/{}", self.version, self.name)
    }

    fn may(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

/// All that the API server serves.
async fn resources(world: &World) -> Vec<Resource> {
    let get = async |path: &str| world.try_request("GET", path, None).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut places = vec![("".to_owned(), "v1".to_owned(), "/api/v1".to_owned())];
    for group in get("/apis").await["groups"].as_array().expect("groups") {
        let (name, version) = (&group["name"], &group["preferredVersion"]["version"]);
        let (name, version) = (name.as_str().expect("a name").to_owned(), version.as_str().expect("a version").to_owned());
        places.push((name.clone(), version.clone(), format!("/apis/{name}/{version}")));
    }
    let mut all = Vec::new();
    for (group, version, path) in places {
        for resource in get(&path).await["resources"].as_array().expect("resources") {
            all.push(Resource {
                group: group.clone(),
                version: version.clone(),
                name: resource["name"].as_str().expect("a name").to_owned(),
                namespaced: resource["namespaced"] == true,
                verbs: resource["verbs"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            });
        }
    }
    // Nothing serves these, but rights to them count.
    for (group, name, namespaced) in [
        ("", "users", false),
        ("", "groups", false),
        ("authentication.k8s.io", "uids", false),
        ("authentication.k8s.io", "userextras", false),
    ] {
        all.push(Resource { group: group.into(), version: "v1".into(), name: name.into(), namespaced, verbs: Vec::new() });
    }
    all
}

/// The cells that are permitted: asked of the authorizer by the attacker himself.
async fn permitted(attacker: &Cluster, resources: &[Resource], namespace: &str) -> BTreeSet<String> {
    let cells = resources.iter().flat_map(|resource| VERBS_OF_ALL.map(|verb| (resource, verb)));
    futures::stream::iter(cells)
        .map(|(resource, verb)| async move {
            let (name, subresource) = resource.name.split_once('/').unwrap_or((&resource.name, ""));
            // A namespace is asked for as one of its own.
            let place = if resource.namespaced || name == "namespaces" { namespace } else { "" };
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
                "spec": {"resourceAttributes": {"group": resource.group, "resource": name, "subresource": subresource, "verb": verb, "namespace": place}},
            });
            let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
            let answer = attacker.try_request("POST", path, Some(("application/json", &review))).await.expect("a review");
            let slash = if resource.group.is_empty() { "" } else { "/" };
            (answer["status"]["allowed"] == true).then(|| format!("{verb} {}{slash}{}", resource.group, resource.name))
        })
        .buffer_unordered(32)
        .filter_map(|cell| async move { cell })
        .collect()
        .await
}

/// All rules that hold for somebody in a namespace, as the API server resolves them.
async fn rules(attacker: &Cluster, namespace: &str) -> BTreeSet<String> {
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {}, "spec": {"namespace": namespace}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let answer = attacker.try_request("POST", path, Some(("application/json", &review))).await.expect("a review");
    assert_eq!(answer["status"]["incomplete"], false, "{answer}");
    let of = |list: &str| answer["status"][list].as_array().cloned().unwrap_or_default();
    let texts = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let mut rules = BTreeSet::new();
    for rule in of("resourceRules") {
        for (verb, group) in
            texts(&rule["verbs"]).iter().flat_map(|verb| texts(&rule["apiGroups"]).into_iter().map(move |group| (verb.clone(), group)))
        {
            rules.extend(texts(&rule["resources"]).iter().map(|resource| format!("{verb} {group}/{resource}")));
        }
    }
    for rule in of("nonResourceRules") {
        rules.extend(texts(&rule["verbs"]).iter().map(|verb| format!("{verb} /…")));
    }
    rules
}

/// Every listing and every change of what the victim has, really tried; what didn't end in a refusal.
async fn really_tried(world: &World, attacker: &Cluster, resources: &[Resource], victim: &Tenant) -> (usize, Vec<String>) {
    let mut tries = Vec::new();
    for resource in resources.iter().filter(|resource| resource.namespaced && resource.may("list")) {
        let path = resource.path(&victim.namespace);
        tries.push(("GET", path.clone(), None));
        tries.push(("GET", format!("{path}?watch=true&timeoutSeconds=1"), None));
        if resource.may("deletecollection") {
            tries.push(("DELETE", format!("{path}?dryRun=All"), None));
        }
        let objects = world.try_request("GET", &path, None).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        for object in objects["items"].as_array().into_iter().flatten().take(3) {
            let at = format!("{path}/{}", name(object));
            let note = json!({"metadata": {"annotations": {"example.com/planted": "yes"}}});
            tries.push(("GET", at.clone(), None));
            tries.push(("DELETE", format!("{at}?dryRun=All"), None));
            tries.push(("PUT", format!("{at}?dryRun=All"), Some(("application/json", object.clone()))));
            tries.push(("PATCH", format!("{at}?dryRun=All"), Some(("application/merge-patch+json", note))));
        }
    }
    for at in [format!("/api/v1/namespaces/{}", victim.namespace), format!("/apis/tenantry.dev/v1alpha1/tenants/{}", victim.name)] {
        for (method, at) in [("GET", at.clone()), ("DELETE", format!("{at}?dryRun=All"))] {
            tries.push((method, at, None));
        }
        let note = json!({"metadata": {"annotations": {"example.com/planted": "yes"}}});
        tries.push(("PATCH", format!("{at}?dryRun=All"), Some(("application/merge-patch+json", note))));
    }
    let number = tries.len();
    let permitted = futures::stream::iter(tries)
        .map(|(method, path, content)| async move {
            let content = content.as_ref().map(|(kind, body)| (*kind, body));
            match attacker.try_request(method, &path, content).await {
                Err(message) if message.contains(FORBIDDEN) => None,
                other => Some(format!("{method} {path}: {}", format!("{other:?}").chars().take(300).collect::<String>())),
            }
        })
        .buffer_unordered(16)
        .filter_map(|permitted| async move { permitted })
        .collect()
        .await;
    (number, permitted)
}

#[tokio::test]
async fn no_credential_of_one_tenant_has_a_right_to_anything_of_another() {
    let world = World::new().await;
    let (attacker, victim) = tokio::join!(Tenant::new("attacker").ready(), Tenant::new("attacked").ready());
    let resources = resources(&world).await;
    assert!(resources.len() > 100 && resources.iter().any(|resource| resource.name == "pods/exec"), "{} resources", resources.len());
    let (admin, edit, view) = tokio::join!(person(&attacker, "admin"), person(&attacker, "edit"), person(&attacker, "view"));
    let pods = world.environment.client_of(&world.cluster, &attacker.namespace, "instance").await;
    let public: BTreeSet<_> = PUBLIC.iter().map(|(cell, _)| (*cell).to_owned()).collect();

    // Every rule that holds for each of them, wherever it comes from.
    for (who, credential) in [("a pod", &pods), ("admin", &admin), ("edit", &edit), ("view", &view)] {
        for namespace in [victim.namespace.as_str(), NAMESPACE, "kube-system", "default"] {
            let found = rules(credential, namespace).await;
            assert_eq!(found.difference(&public).collect::<Vec<_>>(), Vec::<&String>::new(), "{who} in {namespace}");
        }
    }
    // Every cell by itself, of the least and of the greatest of them.
    for (who, credential) in [("a pod", &pods), ("admin", &admin)] {
        let found = permitted(credential, &resources, &victim.namespace).await;
        assert_eq!(found.difference(&public).collect::<Vec<_>>(), Vec::<&String>::new(), "{who}");
        let (number, done) = really_tried(&world, credential, &resources, &victim).await;
        assert!(number > 150, "only {number} tries");
        assert!(done.is_empty(), "{who} may, of {number} tries: {done:#?}");
    }
    // The same questions about what is one's own.
    let own = permitted(&admin, &resources, &attacker.namespace).await;
    for cell in
        ["get secrets", "create pods/exec", "create serviceaccounts/token", "impersonate serviceaccounts", "delete apps/deployments"]
    {
        assert!(own.contains(cell), "{cell} is not among {own:?}");
    }
    assert!(permitted(&pods, &resources, &attacker.namespace).await.is_subset(&public), "its pods may do nothing even at home");
}

#[tokio::test]
async fn nobody_of_one_tenant_acts_as_somebody_of_another() {
    let (attacker, victim) = tokio::join!(Tenant::new("actor").ready(), Tenant::new("acted").ready());
    let admin = person(&attacker, "admin").await;
    let as_user = async |user: &str, group: Option<&str>, path: String| {
        let mut request = http::Request::builder().method("GET").uri(path).header("Impersonate-User", user);
        if let Some(group) = group {
            request = request.header("Impersonate-Group", group);
        }
        admin.client.request_text(request.body(Vec::new()).expect("a request")).await.map_err(|error| error.to_string())
    };
    let account = |tenant: &Tenant| format!("system:serviceaccount:{}:instance", tenant.namespace);
    let secrets = |tenant: &Tenant| format!("/api/v1/namespaces/{}/secrets", tenant.namespace);
    let operator = format!("system:serviceaccount:{NAMESPACE}:tenantry-operator");
    for (user, group) in [
        (account(&victim), None),
        (operator, None),
        ("system:admin".to_owned(), None),
        ("nobody".to_owned(), Some("system:masters")),
        (account(&attacker), Some("system:masters")),
    ] {
        let answer = as_user(&user, group, secrets(&victim)).await;
        refused(&user, answer, "cannot impersonate");
    }
    // Its own account it may be, which is no more than its pods are.
    let answer = as_user(&account(&attacker), None, secrets(&victim)).await;
    refused("its own account", answer, FORBIDDEN);
    let token = format!("/api/v1/namespaces/{}/serviceaccounts/instance/token", victim.namespace);
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    refused("a token of another's", admin.try_request("POST", &token, Some(("application/json", &request))).await, FORBIDDEN);
}

#[tokio::test]
async fn credentials_of_before_are_of_no_use() {
    let tenant = Tenant::new("before").ready().await;
    let world = &tenant.world;
    // Somebody whose role was taken away.
    let account = unique("former");
    world.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "default"}})).await;
    let grant = name(&world.create(&binding(&tenant.namespace, "ClusterRole", "admin", ("default", &account))).await);
    let former = world.environment.client_of(&world.cluster, "default", &account).await;
    let limit = crate::support::LIMIT;
    crate::support::wait_until("the person is let in", limit, async || former.try_list("Pod", Some(&tenant.namespace), "").await).await;
    world.delete("RoleBinding", Some(&tenant.namespace), &grant).await;
    crate::support::wait_until("the person is let out", limit, async || match former.try_list("Pod", Some(&tenant.namespace), "").await {
        Err(message) if message.contains(FORBIDDEN) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // The account of a pod of before: the one that is made anew under its name has another UID.
    let pods = world.environment.client_of(&world.cluster, &tenant.namespace, "instance").await;
    refused("while the account is there", pods.try_list("Pod", Some(&tenant.namespace), "").await, FORBIDDEN);
    let uid = tenant.object("ServiceAccount", "instance").await["metadata"]["uid"].clone();
    world.delete("ServiceAccount", Some(&tenant.namespace), "instance").await;
    tenant.object_until("ServiceAccount", "instance", "is made anew", |now| (now["metadata"]["uid"] != uid).then_some(())).await;
    crate::support::wait_until("the former token is nobody's", limit, async || {
        match pods.try_list("Pod", Some(&tenant.namespace), "").await {
            Err(message) if message.contains("Unauthorized") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
