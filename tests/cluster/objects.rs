//! What an instance consists of: every object, what it says, and whom it belongs to.

use crate::support::{LIMIT, Tenant, World, wait_until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Every kind of object that an instance has.
const KINDS: [&str; 14] = [
    "RoleBinding",
    "ResourceQuota",
    "LimitRange",
    "NetworkPolicy",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "Service",
    "Deployment",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Ingress",
    "HTTPRoute",
    "Job",
];

/// Whether an object is one that Kubernetes puts into every namespace.
fn is_everywhere(object: &Value) -> bool {
    matches!(object["metadata"]["name"].as_str(), Some("default" | "kube-root-ca.crt"))
}

fn pod(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]
}

fn container(deployment: &Value) -> &Value {
    &pod(deployment)["containers"][0]
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

#[tokio::test]
async fn an_instance_consists_of_these_objects_and_all_of_them_are_the_tenants() {
    let tenant = Tenant::new("whole").with(json!({"plan": "large"})).ready().await;
    let uid = tenant.uid().await;
    let mut found = BTreeMap::new();
    let mut all = vec![tenant.world.get("Namespace", None, &tenant.namespace).await];
    for kind in KINDS {
        let objects: Vec<_> = tenant.objects(kind).await.into_iter().filter(|object| !is_everywhere(object)).collect();
        let names: Vec<_> = objects
            .iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap())
            .filter(|name| !name.starts_with("migrate-"))
            .collect();
        found.insert(kind, names.join(" "));
        all.extend(objects);
    }
    let wanted = BTreeMap::from([
        ("RoleBinding", "tenantry-operator"),
        ("ResourceQuota", "plan"),
        ("LimitRange", "plan"),
        ("NetworkPolicy", "database deny-all dns visitors-web within-namespace"),
        ("ServiceAccount", "instance"),
        ("Secret", "database generated"),
        ("ConfigMap", "settings"),
        ("Service", "web"),
        ("Deployment", "beat web worker"),
        ("HorizontalPodAutoscaler", "web"),
        ("PodDisruptionBudget", "web worker"),
        ("Ingress", "instance"),
        ("HTTPRoute", ""),
        ("Job", ""),
    ]);
    assert_eq!(found, wanted.into_iter().map(|(kind, names)| (kind, names.to_owned())).collect());
    assert_eq!(tenant.objects("Job").await.len(), 1, "the migration");
    for object in &all {
        let metadata = &object["metadata"];
        let owner = &metadata["ownerReferences"][0];
        assert_eq!((&owner["kind"], &owner["uid"], &owner["controller"]), (&json!("Tenant"), &json!(uid), &json!(true)), "{metadata}");
        let labels = &metadata["labels"];
        assert_eq!(labels["tenantry.dev/tenant"], tenant.name, "{metadata}");
        assert_eq!(labels["app.kubernetes.io/instance"], tenant.name);
        assert_eq!(labels["app.kubernetes.io/managed-by"], "tenantry");
        assert_eq!(labels["app.kubernetes.io/name"], "sample");
        assert_eq!(labels["app.kubernetes.io/part-of"], "sample");
    }
    for kind in ["Deployment", "Service"] {
        let object = tenant.object(kind, "web").await;
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/component"], "web");
    }
    for pod in tenant.world.list("Pod", Some(&tenant.namespace), "app.kubernetes.io/component=web").await {
        assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/version"], "1.0");
    }
}

#[tokio::test]
async fn the_namespace_is_restricted_and_the_pods_are_more_than_that() {
    let tenant = Tenant::new("strict").ready().await;
    let namespace = tenant.world.get("Namespace", None, &tenant.namespace).await;
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(namespace["metadata"]["labels"][format!("pod-security.kubernetes.io/{mode}")], "restricted");
    }
    let mut pods = tenant.objects("Pod").await;
    assert_eq!(pods.len(), 4, "three components and the migration");
    for pod in &mut pods {
        let spec = &pod["spec"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(spec["serviceAccountName"], "instance");
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(names(&spec["volumes"]), BTreeSet::from(["database", "tmp"]), "no token of Kubernetes");
        let context = &spec["containers"][0]["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        let mounts: BTreeMap<_, _> = spec["containers"][0]["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| (mount["mountPath"].as_str().unwrap(), mount["readOnly"] == true))
            .collect();
        assert_eq!(mounts, BTreeMap::from([("/etc/tenantry/database", true), ("/tmp", false)]));
    }
    let account = tenant.object("ServiceAccount", "instance").await;
    assert_eq!(account["automountServiceAccountToken"], false);
    // The password is no file: of the Secret only the authority is mounted.
    let database = pods[0]["spec"]["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "database").unwrap().clone();
    assert_eq!(database["secret"]["items"], json!([{"key": "ca.crt", "path": "ca.crt"}]));
    // And the namespace takes no other pod, whoever asks.
    let careless = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "careless", "namespace": tenant.namespace},
        "spec": {"containers": [{"name": "careless", "image": "localhost/careless"}]},
    });
    let refusal = tenant.world.try_create_dry(&careless).await.unwrap_err();
    assert!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
}

#[tokio::test]
async fn probes_ask_with_the_tenants_host_and_the_grace_period_covers_the_drain() {
    let tenant = Tenant::new("probes").ready().await;
    let web = tenant.object("Deployment", "web").await;
    let (web_pod, web_container) = (pod(&web), container(&web));
    for (probe, path) in [("readinessProbe", "/healthz"), ("livenessProbe", "/livez"), ("startupProbe", "/livez")] {
        let get = &web_container[probe]["httpGet"];
        assert_eq!(get["path"], path, "{probe}");
        assert_eq!(get["httpHeaders"], json!([{"name": "Host", "value": format!("{}.sample.localhost", tenant.name)}]), "{probe}");
    }
    let drain = web_container["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().unwrap();
    assert_eq!(drain, 7);
    assert!(web_pod["terminationGracePeriodSeconds"].as_i64().unwrap() >= drain + 20, "the drain and the program's own time");
    let worker = tenant.object("Deployment", "worker").await;
    assert!(container(&worker)["lifecycle"].is_null(), "nobody is routed to a worker");
    assert!(pod(&worker)["terminationGracePeriodSeconds"].as_i64().unwrap() >= 60);
}

#[tokio::test]
async fn a_rollout_takes_no_pod_before_the_new_one_is_there_but_a_singleton_is_never_two() {
    let tenant = Tenant::new("rollout").ready().await;
    let strategy = async |name: &str| tenant.object("Deployment", name).await["spec"]["strategy"].clone();
    for name in ["web", "worker"] {
        assert_eq!(strategy(name).await["rollingUpdate"]["maxUnavailable"], 0, "{name}");
    }
    assert_eq!(strategy("beat").await["type"], "Recreate");
}

#[tokio::test]
async fn pods_of_a_component_are_spread_over_zones_and_nodes() {
    let tenant =
        Tenant::new("spread").with(json!({"plan": "large", "components": {"web": {"replicas": {"min": 3, "max": 3}}}})).ready().await;
    let web = tenant.object("Deployment", "web").await;
    let keys: Vec<_> =
        pod(&web)["topologySpreadConstraints"].as_array().unwrap().iter().map(|constraint| constraint["topologyKey"].clone()).collect();
    assert_eq!(keys, ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
    let pods = tenant.world.list("Pod", Some(&tenant.namespace), "app.kubernetes.io/component=web").await;
    let nodes: BTreeSet<_> = pods.iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap()).collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
}

#[tokio::test]
async fn pods_run_in_the_tenants_region() {
    let tenant = Tenant::new("region").ready().await;
    let terms =
        pod(&tenant.object("Deployment", "web").await)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            .clone();
    let expression = &terms["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(*expression, json!({"key": "topology.kubernetes.io/region", "operator": "In", "values": ["local"]}));
}

#[tokio::test]
async fn the_plan_says_how_much_an_instance_and_each_container_may_use() {
    let world = World::new().await;
    let plan = world
        .plan(json!({
            "defaults": {"resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}},
            "components": {"web": {"replicas": {"min": 1, "max": 3}, "targetCpuPercent": 60, "resources": {"requests": {"cpu": "200m"}}}},
            "quota": {"requests.cpu": "2", "pods": "15"},
        }))
        .await;
    let tenant = Tenant::new("sized").with(json!({"plan": plan})).create_in(&world).await;
    tenant.ready().await;
    assert_eq!(tenant.object("ResourceQuota", "plan").await["spec"]["hard"]["pods"], "15");
    let limits = tenant.object("LimitRange", "plan").await["spec"]["limits"][0].clone();
    assert_eq!(
        (&limits["type"], &limits["default"]["memory"], &limits["defaultRequest"]["cpu"]),
        (&json!("Container"), &json!("64Mi"), &json!("10m"))
    );
    let resources = async |name: &str| container(&tenant.object("Deployment", name).await)["resources"].clone();
    assert_eq!(resources("web").await["requests"]["cpu"], "200m");
    assert_eq!(resources("worker").await["requests"]["cpu"], "10m");
    assert_eq!(resources("worker").await["limits"]["memory"], "64Mi");
    let autoscaler = tenant.object("HorizontalPodAutoscaler", "web").await["spec"].clone();
    assert_eq!((&autoscaler["minReplicas"], &autoscaler["maxReplicas"]), (&json!(1), &json!(3)));
    assert_eq!(autoscaler["metrics"][0]["resource"]["target"]["averageUtilization"], 60);
    assert!(tenant.names("PodDisruptionBudget").await.is_empty(), "at its least there is one pod, and a budget would block its node");
}

#[tokio::test]
async fn the_network_is_closed_but_for_what_is_named() {
    let world = World::new().await;
    let blueprint = world
        .blueprint(json!({"network": {
            "ingressFrom": [{"namespace": "ingress", "podLabels": {"app": "controller"}}],
            "egressTo": [{"to": {"cidr": "192.0.2.0/24"}, "ports": [443]}],
        }}))
        .await;
    let tenant = Tenant::new("network").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    let policy = async |name: &str| tenant.object("NetworkPolicy", name).await["spec"].clone();
    assert_eq!(tenant.names("NetworkPolicy").await, ["allowed", "database", "deny-all", "dns", "visitors-web", "within-namespace"]);
    assert_eq!(policy("deny-all").await, json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let visitors = policy("visitors-web").await;
    assert_eq!(visitors["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "web");
    assert_eq!(visitors["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "ingress");
    assert_eq!(visitors["ingress"][0]["from"][0]["podSelector"]["matchLabels"], json!({"app": "controller"}));
    assert_eq!(visitors["ingress"][0]["ports"], json!([{"port": 8000, "protocol": "TCP"}]));
    let postgres = &world.environment.postgres;
    let database = policy("database").await["egress"][0].clone();
    assert_eq!(database["to"][0]["ipBlock"]["cidr"], format!("{}/32", postgres.host));
    assert_eq!(database["ports"], json!([{"port": postgres.port, "protocol": "TCP"}]));
    assert_eq!(policy("allowed").await["egress"][0]["to"][0]["ipBlock"]["cidr"], "192.0.2.0/24");
    let dns = policy("dns").await["egress"][0].clone();
    assert_eq!(dns["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "kube-system");
    assert!(dns["ports"].as_array().unwrap().contains(&json!({"port": 53, "protocol": "UDP"})), "{dns}");
    assert_eq!(policy("within-namespace").await["ingress"][0]["from"], json!([{"podSelector": {}}]));
}

#[tokio::test]
async fn containers_are_told_settings_look_secrets_addresses_and_whose_they_are() {
    let world = World::new().await;
    let blueprint = world
        .blueprint(json!({"components": [
            {"name": "web", "command": ["serve"], "port": 8000, "expose": {"path": "/"}, "env": {"ROLE": "web"}},
            {"name": "cache", "image": "localhost/cache:7", "port": 6379},
        ]}))
        .await;
    let tenant = Tenant::new("told")
        .with(json!({
            "blueprint": blueprint, "displayName": "Told & Sons", "settings": {"LANGUAGE_CODE": "de"},
            "branding": {"primaryColor": "#0a5c36", "logoUrl": "https://told.example/logo.svg"},
        }))
        .create_in(&world)
        .await;
    tenant.ready().await;
    let host = format!("{}.sample.localhost", tenant.name);
    let settings = tenant.object("ConfigMap", "settings").await["data"].clone();
    let wanted = json!({
        "TENANT_NAME": tenant.name, "TENANT_UID": tenant.uid().await, "TENANT_DISPLAY_NAME": "Told & Sons", "TENANT_PLAN": "small",
        "TENANT_REGION": "local", "TENANT_URL": format!("http://{host}"),
        "ALLOWED_HOSTS": host, "CSRF_TRUSTED_ORIGINS": format!("http://{host}"),
        "BRANDING_PRIMARY_COLOR": "#0a5c36", "BRANDING_LOGO_URL": "https://told.example/logo.svg",
        "LANGUAGE_CODE": "de", "MODE": "production",
    });
    assert_eq!(settings, wanted);
    let web = tenant.object("Deployment", "web").await;
    let own = container(&web);
    let sources: Vec<_> = own["envFrom"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| source["configMapRef"]["name"].as_str().or(source["secretRef"]["name"].as_str()).unwrap())
        .collect();
    assert_eq!(sources, ["settings", "generated"]);
    assert_eq!(names(&own["env"]), BTreeSet::from(["DATABASE_URL", "ROLE", "TENANT_VERSION"]));
    let url = own["env"].as_array().unwrap().iter().find(|variable| variable["name"] == "DATABASE_URL").unwrap();
    assert_eq!(url["valueFrom"]["secretKeyRef"], json!({"name": "database", "key": "uri"}));
    assert_eq!(container(&tenant.object("Deployment", "cache").await)["image"], "localhost/cache:7");
    let secret = tenant.secret("generated").await;
    assert_eq!(secret.keys().collect::<Vec<_>>(), ["SECRET_KEY"]);
    assert_eq!(secret["SECRET_KEY"].len(), 50);
    assert!(secret["SECRET_KEY"].chars().all(|c| c.is_ascii_alphanumeric()));
    // The Job that migrates gets the same.
    let job = &tenant.objects("Job").await[0];
    assert_eq!(names(&job["spec"]["template"]["spec"]["containers"][0]["env"]), BTreeSet::from(["DATABASE_URL", "TENANT_VERSION"]));
}

#[tokio::test]
async fn only_a_component_with_a_port_has_a_service() {
    let tenant = Tenant::new("service").ready().await;
    assert_eq!(tenant.names("Service").await, ["web"]);
    let service = tenant.object("Service", "web").await["spec"].clone();
    assert_eq!((&service["ports"][0]["port"], &service["ports"][0]["targetPort"]), (&json!(8000), &json!("main")));
    let pods = tenant.world.list("Pod", Some(&tenant.namespace), "app.kubernetes.io/component=web").await;
    for (key, value) in service["selector"].as_object().unwrap() {
        assert_eq!(&pods[0]["metadata"]["labels"][key], value);
    }
}

#[tokio::test]
async fn an_ingress_leads_each_path_to_its_component_with_tls_from_the_issuer() {
    let world = World::new().await;
    let blueprint = world
        .blueprint(json!({
            "components": [
                {"name": "web", "port": 8000, "expose": {"path": "/"}},
                {"name": "api", "port": 9000, "expose": {"path": "/api"}},
            ],
            "ingress": {"className": "local", "annotations": {"example.com/timeout": "30"}, "tls": {"clusterIssuer": "letsencrypt"}},
            "check": null,
        }))
        .await;
    let domain = format!("{blueprint}.example.com");
    let tenant = Tenant::new("ingress").with(json!({"blueprint": blueprint, "domains": [domain]})).create_in(&world).await;
    tenant.ready().await;
    let host = format!("{}.sample.localhost", tenant.name);
    let ingress = tenant.object("Ingress", "instance").await;
    assert_eq!(ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"], "letsencrypt");
    assert_eq!(ingress["metadata"]["annotations"]["example.com/timeout"], "30");
    let spec = &ingress["spec"];
    assert_eq!(spec["ingressClassName"], "local");
    assert_eq!(spec["tls"], json!([{"hosts": [host, domain], "secretName": "instance-tls"}]));
    let backend = |path: &Value| {
        (path["path"].clone(), path["backend"]["service"]["name"].clone(), path["backend"]["service"]["port"]["number"].clone())
    };
    for rule in spec["rules"].as_array().unwrap() {
        let paths: Vec<_> = rule["http"]["paths"].as_array().unwrap().iter().map(backend).collect();
        assert_eq!(paths, [(json!("/api"), json!("api"), json!(9000)), (json!("/"), json!("web"), json!(8000))]);
    }
    assert_eq!(tenant.get().await["status"]["url"], format!("https://{host}"));

    world.merge("Blueprint", None, &blueprint, &json!({"spec": {"ingress": {"tls": {"clusterIssuer": null, "wildcard": true}}}})).await;
    let wildcard = |ingress: &Value| (ingress["spec"]["tls"] == json!([{"hosts": [host, domain]}])).then_some(());
    tenant.object_until("Ingress", "instance", "no Secret of its own", wildcard).await;
    let ingress = tenant.object("Ingress", "instance").await;
    assert!(ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"].is_null(), "{}", ingress["metadata"]);
}

#[tokio::test]
async fn behind_a_gateway_an_instance_has_an_httproute_and_no_ingress() {
    let world = World::new().await;
    let blueprint = world
        .blueprint(json!({"ingress": null, "gateway": {"parentRef": {"name": "public", "namespace": "gateways", "sectionName": "http"}}}))
        .await;
    let tenant = Tenant::new("gateway").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let routed = tenant.reason("Routed", "False", "WaitingForRoute").await;
    assert!(routed.message.contains("HTTPRoute"), "{}", routed.message);
    let route = tenant.object("HTTPRoute", "instance").await;
    let host = format!("{}.sample.localhost", tenant.name);
    assert_eq!(route["spec"]["hostnames"], json!([host]));
    let parent = &route["spec"]["parentRefs"][0];
    assert_eq!((&parent["name"], &parent["namespace"], &parent["sectionName"]), (&json!("public"), &json!("gateways"), &json!("http")));
    assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["name"], "web");
    assert!(tenant.names("Ingress").await.is_empty());

    let says = async |status: &str, reason: &str, message: &str| {
        let condition = json!({
            "type": "Accepted", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": route["metadata"]["generation"],
        });
        let parents = json!([{"parentRef": parent, "controllerName": "example.com/gateway", "conditions": [condition]}]);
        world.merge_status("HTTPRoute", Some(&tenant.namespace), "instance", &json!({"status": {"parents": parents}})).await;
    };
    says("False", "NotAllowedByListeners", "no listener allows this namespace").await;
    wait_until("the refusal is passed on", LIMIT, async || {
        let routed = tenant.condition("Routed", "False").await;
        if routed.message.contains("no listener allows this namespace") { Ok(()) } else { Err(routed.message) }
    })
    .await;
    world.environment.door.answers.lock().unwrap().insert(host, 200);
    says("True", "Accepted", "accepted").await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_gateway_gets_listeners_for_a_tenants_certificate() {
    let world = World::new().await;
    let gateway = json!({"parentRef": {"name": "public", "namespace": "gateways"}, "tls": {"clusterIssuer": "letsencrypt"}});
    let blueprint = world.blueprint(json!({"ingress": null, "gateway": gateway})).await;
    let tenant = Tenant::new("listeners").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.reason("Routed", "False", "WaitingForRoute").await;
    let listeners = tenant.object("ListenerSet", "instance").await;
    assert_eq!(listeners["metadata"]["annotations"]["cert-manager.io/cluster-issuer"], "letsencrypt");
    assert_eq!(listeners["spec"]["listeners"][0]["hostname"], format!("{}.sample.localhost", tenant.name));
    assert_eq!(tenant.object("HTTPRoute", "instance").await["spec"]["parentRefs"][0]["kind"], "ListenerSet");
}

#[tokio::test]
async fn extras_are_made_from_templates_kept_and_taken_away() {
    let world = World::new().await;
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "report", "labels": {"customer": "${tenant.name}"}},
        "spec": {
            "schedule": "0 3 * * *",
            "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "serviceAccountName": "instance", "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "report", "image": "localhost/sample:${version}", "args": ["${hosts[0]}", "${database.schema}"],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            }}}},
        },
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "facts-${tenant.name}"},
        "data": {"url": "${url}", "upper": "${plan.name == 'small' ? 'little' : 'much'}", "literal": "$${kept}"},
    });
    let blueprint = world.blueprint(json!({"extras": [cron, map]})).await;
    let tenant = Tenant::new("extras").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    let report = tenant.object("CronJob", "report").await;
    assert_eq!(report["metadata"]["labels"]["customer"], tenant.name);
    assert_eq!(report["metadata"]["ownerReferences"][0]["uid"], tenant.uid().await);
    let container = &report["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!([format!("{}.sample.localhost", tenant.name), tenant.owner()]));
    assert_eq!(container["image"], "localhost/sample:1.0");
    let facts = format!("facts-{}", tenant.name);
    let data = tenant.object("ConfigMap", &facts).await["data"].clone();
    assert_eq!(data, json!({"url": format!("http://{}.sample.localhost", tenant.name), "upper": "little", "literal": "${kept}"}));
    // Kept.
    world.delete("CronJob", Some(&tenant.namespace), "report").await;
    tenant.object_until("CronJob", "report", "made anew", |new| (new["metadata"]["uid"] != report["metadata"]["uid"]).then_some(())).await;
    // And taken away once nobody wants it.
    world.merge("Blueprint", None, &blueprint, &json!({"spec": {"extras": [map]}})).await;
    tenant.object_gone("CronJob", "report").await;
    assert!(tenant.find("ConfigMap", &facts).await.is_some());
}

#[tokio::test]
async fn an_expression_that_fails_names_itself() {
    let world = World::new().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "broken"}, "data": {"key": "${tenant.nickname + 1}"}});
    let blueprint = world.blueprint(json!({"extras": [map]})).await;
    let tenant = Tenant::new("broken").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let message = tenant.stalled("TemplateFailed").await;
    for part in [blueprint.as_str(), "extras[0]", "data.key", "tenant.nickname + 1"] {
        assert!(message.contains(part), "{part:?} in {message}");
    }
}

#[tokio::test]
async fn an_extra_of_a_kind_that_the_admin_does_not_allow_is_not_made() {
    let world = World::new().await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "sneaky"}, "rules": []});
    let blueprint = world.blueprint(json!({"extras": [role]})).await;
    let tenant = Tenant::new("sneaky").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let message = tenant.stalled("ExtraKindNotAllowed").await;
    assert!(message.contains("Role") && message.contains("--extra-kind"), "{message}");
}

#[tokio::test]
async fn an_extra_can_not_take_the_place_of_a_guard_rail() {
    let world = World::new().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"MODE": "debug"}});
    let blueprint = world.blueprint(json!({"extras": [map]})).await;
    let tenant = Tenant::new("takeover").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let message = tenant.stalled("ExtraInvalid").await;
    assert!(message.contains("settings"), "{message}");
}

#[tokio::test]
async fn the_pods_identity_in_the_cloud_is_told_by_annotations() {
    let world = World::new().await;
    let annotations = json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/${tenant.name}"});
    let blueprint = world.blueprint(json!({"serviceAccount": {"annotations": annotations}})).await;
    let tenant = Tenant::new("cloud").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    let account = tenant.object("ServiceAccount", "instance").await;
    assert_eq!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"], format!("arn:aws:iam::1:role/{}", tenant.name));
}

#[tokio::test]
async fn a_pull_secret_is_copied_and_its_absence_is_said() {
    let world = World::new().await;
    let name = crate::support::unique("registry");
    let blueprint = world.blueprint(json!({"image": {"pullSecret": name}})).await;
    let tenant = Tenant::new("pulls").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let ready = tenant.reason("Ready", "False", "PullSecretMissing").await;
    assert!(ready.message.contains(&name), "{}", ready.message);
    world
        .create(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "tenantry-system"}, "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": "{\"auths\":{}}"},
        }))
        .await;
    tenant.ready().await;
    assert_eq!(tenant.secret("registry").await[".dockerconfigjson"], "{\"auths\":{}}");
    assert_eq!(pod(&tenant.object("Deployment", "web").await)["imagePullSecrets"], json!([{"name": "registry"}]));
}

#[tokio::test]
async fn a_product_without_a_database_gets_none() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({"database": null, "migrate": null, "secrets": null})).await;
    let tenant = Tenant::new("stateless").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    assert!(tenant.names("Secret").await.is_empty());
    assert!(tenant.get().await["status"]["database"].is_null());
    assert!(!tenant.names("NetworkPolicy").await.contains(&"database".to_owned()));
    assert_eq!(world.environment.postgres.admin(&format!("select 1 from pg_roles where rolname = '{}'", tenant.owner())).await, "");
}
