//! Manifests that reach for what isn't theirs.

use crate::attack::*;
use crate::support::{LIMIT, Tenant, World, unique, wait_until};
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

#[tokio::test]
async fn no_tenant_goes_with_the_definitions() {
    let world = World::new().await;
    let sentence = "all of its objects would go with the definition, protected tenants too";
    for plural in ["tenants", "blueprints", "plans", "releases", "databaseservers"] {
        let definition = format!("{plural}.tenantry.dev");
        refused(&definition, world.try_delete_dry("CustomResourceDefinition", None, &definition).await, sentence);
    }
    let other = world.list("CustomResourceDefinition", None, "").await;
    let other = other.iter().find(|definition| definition["spec"]["group"] != "tenantry.dev").expect("another's definition");
    allowed("another's definition", world.try_delete_dry("CustomResourceDefinition", None, &name(other)).await);
}

#[tokio::test]
async fn only_who_may_delete_a_tenant_sets_the_moment_of_its_deletion() {
    let tenant = Tenant::new("leaving").ready().await;
    let world = &tenant.world;
    let verbs = ["get", "list", "create", "patch", "update"];
    let seller = everywhere(world, json!([{"apiGroups": ["tenantry.dev"], "resources": ["tenants"], "verbs": verbs}])).await;
    wait_until("the seller is let in", LIMIT, async || seller.try_list("Tenant", None, "").await).await;
    let sentence = "only who may delete this tenant may set spec.deletion.at";
    let spec = |spec: Value| json!({"spec": spec});
    let at = |moment: Value| spec(json!({"deletion": {"at": moment}}));
    refused("a moment", seller.try_merge("Tenant", None, &tenant.name, &at("2099-01-01T00:00:00Z".into())).await, sentence);
    let born = json!({"displayName": "A", "blueprint": "sample", "plan": "small", "deletion": {"at": "2099-01-01T00:00:00Z"}});
    let born = json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": unique("born")}, "spec": born});
    refused("a moment from the first", seller.try_create_dry(&born).await, sentence);
    allowed("the same by who may delete", world.try_create_dry(&born).await);

    tenant.change(json!({"deletion": {"at": "2099-01-01T00:00:00Z"}})).await;
    refused("an earlier moment", seller.try_merge("Tenant", None, &tenant.name, &at("2027-01-01T00:00:00Z".into())).await, sentence);
    let renamed = spec(json!({"displayName": "B"}));
    allowed("another change beside a moment that is set", seller.try_merge("Tenant", None, &tenant.name, &renamed).await);
    allowed("to take it away", seller.try_merge("Tenant", None, &tenant.name, &at(Value::Null)).await);
}

#[tokio::test]
async fn sales_read_the_token_of_a_first_login_and_no_other_secret() {
    let tenant = Tenant::new("sold").ready().await;
    let world = &tenant.world;
    let account = unique("seller");
    let grant = json!({
        "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": account},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "tenantry-sales"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": account}],
    });
    world.create(&grant).await;
    let seller = ("default", account.as_str());
    wait_until("the seller is let in", LIMIT, async || {
        if may(world, seller, "get", "secrets", &tenant.namespace, "first-login").await { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    for name in ["database", "generated", ""] {
        assert!(!may(world, seller, "get", "secrets", &tenant.namespace, name).await, "{name}");
    }
    for verb in ["list", "watch", "create", "update", "patch", "delete"] {
        assert!(!may(world, seller, verb, "secrets", &tenant.namespace, "first-login").await, "{verb}");
    }
}

#[tokio::test]
async fn what_is_too_much_is_refused_with_a_sentence() {
    let world = World::without_operator().await;
    let tenant = |field: &str, value: Value| {
        let mut spec = json!({"displayName": "A", "blueprint": "planner", "plan": "starter"});
        spec[field] = value;
        json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": unique("much")}, "spec": spec})
    };
    let megabyte = "a".repeat(1_000_000);
    for (field, value, sentence) in [
        ("domains", (0..10_000).map(|number| format!("{number}.example.com")).collect(), "must have at most 20 items"),
        ("displayName", megabyte.as_str().into(), "may not be more than 80"),
        ("settings", json!({"LANGUAGE_CODE": megabyte}), "may not be more than 1000"),
        ("settings", json!({megabyte.as_str(): "x"}), "each key of settings is the name of one of the blueprint's settings"),
        ("components", json!({"web": {"replicas": {"min": 1, "max": 100_000}}}), "should be less than or equal to 500"),
        ("domains", json!(["https://acme.com"]), "without https://, a path, a port or a *"),
    ] {
        let refusal = world.try_create_dry(&tenant(field, value)).await.expect_err(field);
        assert!(refusal.contains(sentence), "{field}: {sentence:?} is not in {}", &refusal[..refusal.len().min(2000)]);
    }
}

#[tokio::test]
async fn a_deletion_leaves_no_instance_behind() {
    let tenant = Tenant::new("whole").ready().await;
    let world = &tenant.world;
    let sentence = "a tenant isn't deleted without its instance";
    let path = format!("/apis/tenantry.dev/v1alpha1/tenants/{}", tenant.name);
    let all = format!("/apis/tenantry.dev/v1alpha1/tenants?fieldSelector=metadata.name={}&propagationPolicy=Orphan", tenant.name);
    for at in [format!("{path}?propagationPolicy=Orphan"), format!("{path}?orphanDependents=true"), all] {
        refused(&at, world.try_request("DELETE", &at, None).await, sentence);
    }
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Orphan"});
    refused("in the body", world.try_request("DELETE", &path, Some(("application/json", &options))).await, sentence);
    assert!(tenant.get().await["metadata"]["deletionTimestamp"].is_null());
    for policy in ["Foreground", "Background"] {
        allowed(policy, world.try_request("DELETE", &format!("{path}?propagationPolicy={policy}&dryRun=All"), None).await);
    }
}

/// The paths of all parts of a schema in which anything may stand.
fn open_parts(schema: &Value, path: &str, into: &mut Vec<String>) {
    for mark in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"] {
        if schema[mark] == true {
            into.push(path.to_owned());
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        open_parts(field, &format!("{path}.{name}"), into);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            open_parts(inner, &format!("{path}[]"), into);
        }
    }
}

#[tokio::test]
async fn a_tenant_brings_no_image_command_or_object_of_its_own() {
    let world = World::new().await;
    let definition = world.get("CustomResourceDefinition", None, "tenants.tenantry.dev").await;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut open = Vec::new();
    open_parts(schema, "", &mut open);
    assert_eq!(open, Vec::<String>::new(), "anything may stand there");
    let blueprints = world.get("CustomResourceDefinition", None, "blueprints.tenantry.dev").await;
    open_parts(&blueprints["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "", &mut open);
    assert_eq!(open, [".spec.extras[]"], "the same question about what an admin may write");

    let foreign = json!({
        "image": "evil:1", "command": ["sh"], "extras": [{"apiVersion": "v1", "kind": "Pod"}], "podTemplate": {"spec": pod_spec()},
        "env": {"LD_PRELOAD": "/tmp/evil.so"}, "serviceAccountName": "admin", "namespace": "kube-system", "pullSecret": "postgres",
        "components": {"web": {"image": "evil:1", "command": ["sh"], "replicas": {"min": 1, "max": 1}}},
    });
    let tenant = Tenant::new("bringing").with(foreign.clone());
    let strict = "/apis/tenantry.dev/v1alpha1/tenants?fieldValidation=Strict&dryRun=All";
    let manifest = tenant.manifest();
    let message = world.try_request("POST", strict, Some(("application/json", &manifest))).await.expect_err("it is refused");
    for field in ["image", "command", "extras", "podTemplate", "env", "serviceAccountName", "namespace", "pullSecret"] {
        assert!(message.contains(&format!("unknown field \"spec.{field}\"")), "{field} is not in {message}");
    }
    // Who asks for no validation gets what is known, and nothing else.
    let tenant = Tenant::new("bringing").with(foreign).ready().await;
    let spec = tenant.get().await["spec"].clone();
    assert_eq!(spec["components"], json!({"web": {"replicas": {"min": 1, "max": 1}}}));
    assert!(spec.get("image").is_none() && spec.get("extras").is_none(), "{spec}");
    for kind in ["Deployment", "Pod", "Job"] {
        assert!(!tenant.objects(kind).await.iter().any(|object| object.to_string().contains("evil")), "{kind}");
    }
    assert_eq!(tenant.names("Deployment").await, ["beat", "web", "worker"]);
}

#[tokio::test]
async fn a_tenant_sets_what_the_blueprint_lets_it_set_and_text_stays_text() {
    let world = World::new().await;
    for (settings, name) in [
        (json!({"MODE": "debug"}), "MODE"),
        (json!({"SECRET_KEY": "known"}), "SECRET_KEY"),
        (json!({"DATABASE_URL": "postgresql://evil"}), "DATABASE_URL"),
        (json!({"ALLOWED_HOSTS": "*"}), "ALLOWED_HOSTS"),
        (json!({"TENANT_UID": "other"}), "TENANT_UID"),
        (json!({"LD_PRELOAD": "/tmp/evil.so"}), "LD_PRELOAD"),
    ] {
        let tenant = Tenant::new("setting").with(json!({"settings": settings})).create().await;
        let message = tenant.stalled("SettingNotAllowed").await;
        assert!(message.starts_with(&format!("spec.settings.{name} can't be set by a tenant")), "{message}");
    }
    // No part of it is evaluated: not by the templates, not by Kubernetes, not by YAML.
    let text = "$(SECRET_KEY) ${tenant.uid} $${x} {{ .Values }} `id` \n--- \"'\\";
    let map = json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "told"}, "data": {"setting": "${tenant.settings.LANGUAGE_CODE}", "name": "<${tenant.displayName}>"}}]);
    let blueprint = world.blueprint(json!({"extras": map})).await;
    let spec = json!({"blueprint": blueprint, "displayName": text.replace('\n', " "), "settings": {"LANGUAGE_CODE": text}});
    let tenant = Tenant::new("literal").with(spec).ready().await;
    assert_eq!(tenant.object("ConfigMap", "settings").await["data"]["LANGUAGE_CODE"], text);
    assert_eq!(
        tenant.object("ConfigMap", "told").await["data"],
        json!({"setting": text, "name": format!("<{}>", text.replace('\n', " "))})
    );
    // Kubernetes expands $(NAME) in what a container is given by value, so a setting is never given so.
    assert!(!tenant.object("Deployment", "web").await.to_string().contains("$(SECRET_KEY)"));
}

#[tokio::test]
async fn who_may_write_tenants_writes_no_status_and_nothing_else() {
    let world = World::new().await;
    let person = onboarding(&world).await;
    let victim = Tenant::new("holder").ready().await;
    let host = format!("{}.sample.localhost", victim.name);
    let mut manifest = Tenant::new("claiming").with(json!({"domains": [host]})).manifest();
    let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
    // That it has had the host before, is placed, and was migrated.
    manifest["status"] = json!({
        "observedGeneration": 1, "hosts": [host], "version": "1.0", "migration": {"version": "1.0", "key": "0"},
        "database": {"server": "main", "name": "tenants", "schema": victim.owner(), "owner": victim.owner()},
        "conditions": [],
    });
    let made = allowed("a Tenant", person.try_create(&manifest).await);
    assert_eq!(made["status"], json!({"observedGeneration": -1}), "a status of one's own counts for nothing");
    let path = format!("/apis/tenantry.dev/v1alpha1/tenants/{name}/status");
    for (method, content_type) in
        [("PUT", "application/json"), ("PATCH", "application/merge-patch+json"), ("PATCH", "application/apply-patch+yaml")]
    {
        let at = if content_type.contains("apply") { format!("{path}?fieldManager=attacker&force=true") } else { path.clone() };
        refused(method, person.try_request(method, &at, Some((content_type, &manifest))).await, FORBIDDEN);
    }
    let claiming = Tenant { name: name.clone(), namespace: format!("tenant-{name}"), world: world.clone() };
    let message = claiming.stalled("HostConflict").await;
    assert!(message.contains(&victim.name), "{message}");
    victim.ready().await;

    for (kind, plural) in [("Blueprint", "blueprints"), ("Plan", "plans"), ("DatabaseServer", "databaseservers")] {
        refused(kind, person.try_list(kind, None, "").await, FORBIDDEN);
        let path = format!("/apis/tenantry.dev/v1alpha1/{plural}");
        refused(
            kind,
            person.try_request("POST", &path, Some(("application/json", &json!({"kind": kind, "metadata": {"name": "x"}})))).await,
            FORBIDDEN,
        );
    }
    refused("a Secret", person.try_get("Secret", Some(&victim.namespace), "database").await, FORBIDDEN);
    refused("a pod", person.try_create_dry(&pod(&victim.namespace)).await, FORBIDDEN);
}

#[tokio::test]
async fn a_template_that_would_never_end_stalls_its_tenants_and_nobody_else() {
    let world = World::new().await;
    let map = |expression: &str| {
        let data = json!({"a": format!("${{{expression}}}")});
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bomb"}, "data": data}])
    };
    let doubling = format!("string([tenant.displayName]{}.size())", ".map(a, a + a)".repeat(40));
    let product = "string(hosts.map(a, hosts.map(b, hosts.map(c, hosts.map(d, hosts.map(e, a + b + c + d + e))))).size())";
    let many = json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bomb"}, "data": {"a": "${tenant.displayName}".repeat(40_000)}}]);
    let domains: Vec<_> = (0..20).map(|number| format!("{}-{number}.example.com", unique("bomb"))).collect();
    let tenants = [map(&doubling), map(product), many].map(|extras| (extras, domains.clone()));
    for (number, (extras, domains)) in tenants.into_iter().enumerate() {
        let blueprint = world.blueprint(json!({"extras": extras})).await;
        let domains: Vec<_> = domains.iter().map(|domain| format!("n{number}-{domain}")).collect();
        let spec = json!({"blueprint": blueprint, "domains": domains, "displayName": "x".repeat(80)});
        let tenant = Tenant::new("bombed").with(spec).create().await;
        let message = tenant.stalled("TemplateFailed").await;
        assert!(message.contains("could take too long") || message.contains("could be too large"), "{message}");
        assert!(message.len() <= 1100, "{} bytes", message.len());
    }
    Tenant::new("beside").ready().await;
}

#[tokio::test]
async fn the_operator_cannot_be_told_to_make_what_isolation_rests_on() {
    for kind in [
        "v1/Secret",
        "v1/Pod",
        "v1/Namespace",
        "v1/Node",
        "v1/ServiceAccount",
        "v1/ResourceQuota",
        "v1/LimitRange",
        "v1/Endpoints",
        "discovery.k8s.io/v1/EndpointSlice",
        "networking.k8s.io/v1/NetworkPolicy",
        "rbac.authorization.k8s.io/v1/RoleBinding",
        "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
        "apiextensions.k8s.io/v1/CustomResourceDefinition",
        "tenantry.dev/v1alpha1/Tenant",
        // The same objects under another kind's name.
        "/v1/Harmless/secrets",
        "rbac.authorization.k8s.io/v1/Harmless/rolebindings",
        "/v1/Harmless/namespaces/finalize",
        "/v1/Harmless/../secrets",
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tenantry"))
            .args(["run", "--extra-kind", kind])
            .env("KUBECONFIG", "/nowhere")
            .output()
            .expect("the operator starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{kind}: {said}");
        assert!(said.contains("can't be an extra") || said.contains("is not of the form"), "{kind}: {said}");
    }
}
