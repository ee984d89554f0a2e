//! Hosts belong to Tenants: a tenant's people lead nobody to themselves, nor to somebody else's pods, however they try.

use crate::attack::*;
use crate::support::{Tenant, World, merge, unique};
use serde_json::{Value, json};

/// What the policies for routes and Services say.
const ROUTES_ARE_THE_PLATFORMS: &str = "routes, certificates and the endpoints of Services are the platform's";
const CLUSTER_IP_ONLY: &str = "a Service that a tenant's people make is of type ClusterIP";
const NO_EXTERNAL_ADDRESSES: &str = "externalIPs take traffic that is meant for others";
const NO_NAMES_IN_DNS: &str = "names in DNS are the platform's";

fn ingress(namespace: &str, host: &str) -> Value {
    let backend = json!({"service": {"name": "web", "port": {"number": 8000}}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": unique("taken"), "namespace": namespace},
        "spec": {"rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
    })
}

fn service(namespace: &str, changes: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": unique("service"), "namespace": namespace},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    });
    merge(&mut service, &changes);
    service
}

#[tokio::test]
async fn a_tenants_people_route_no_host_to_themselves() {
    let (tenant, victim) = tokio::join!(Tenant::new("thief").ready(), Tenant::new("victim").ready());
    let host = format!("{}.sample.localhost", victim.name);
    let namespace = Some(tenant.namespace.as_str());
    let gateway = "gateway.networking.k8s.io/v1";
    let parents = json!([{"name": "public", "namespace": "gateways"}]);
    let route = json!({
        "apiVersion": gateway, "kind": "HTTPRoute", "metadata": {"name": unique("taken"), "namespace": tenant.namespace},
        "spec": {"parentRefs": parents, "hostnames": [host], "rules": [{"backendRefs": [{"name": "web", "port": 8000}]}]},
    });
    let listeners = json!({
        "apiVersion": gateway, "kind": "ListenerSet", "metadata": {"name": unique("taken"), "namespace": tenant.namespace},
        "spec": {"parentRef": parents[0], "listeners": [{"name": "http", "hostname": host, "port": 80, "protocol": "HTTP"}]},
    });
    for role in ["admin", "edit"] {
        let person = person(&tenant, role).await;
        refused(role, person.try_create_dry(&ingress(&tenant.namespace, &host)).await, ROUTES_ARE_THE_PLATFORMS);
        let rules = ingress(&tenant.namespace, &host)["spec"].clone();
        refused(role, person.try_merge("Ingress", namespace, "instance", &json!({"spec": rules})).await, ROUTES_ARE_THE_PLATFORMS);
    }
    let ruler = person(&tenant, "cluster-admin").await;
    for object in [ingress(&tenant.namespace, &host), route, listeners] {
        refused(&object["kind"].to_string(), ruler.try_create_dry(&object).await, ROUTES_ARE_THE_PLATFORMS);
    }
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/ingresses/instance", tenant.namespace);
    let address = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    for (at, patch) in [(path.clone(), json!({"metadata": {"annotations": {"a": "b"}}})), (format!("{path}/status"), address)] {
        let answer = ruler.try_request("PATCH", &format!("{at}?dryRun=All"), Some(("application/merge-patch+json", &patch))).await;
        refused(&at, answer, ROUTES_ARE_THE_PLATFORMS);
    }
}

#[tokio::test]
async fn a_service_of_a_tenants_people_stays_in_their_namespace() {
    let tenant = Tenant::new("homely").ready().await;
    let admin = person(&tenant, "admin").await;
    let there = allowed("a Service", admin.try_create(&service(&tenant.namespace, json!({}))).await);
    let elsewhere = "web.tenant-other.svc.cluster.local";
    for (changes, sentence) in [
        (json!({"spec": {"type": "ExternalName", "externalName": elsewhere, "selector": null}}), CLUSTER_IP_ONLY),
        (json!({"spec": {"type": "NodePort"}}), CLUSTER_IP_ONLY),
        (json!({"spec": {"type": "LoadBalancer"}}), CLUSTER_IP_ONLY),
        (json!({"spec": {"externalIPs": ["192.0.2.1"]}}), NO_EXTERNAL_ADDRESSES),
        (json!({"metadata": {"annotations": {"external-dns.alpha.kubernetes.io/hostname": "a.example.com"}}}), NO_NAMES_IN_DNS),
        (json!({"metadata": {"annotations": {"external-dns.kubernetes.io/hostname": "a.example.com"}}}), NO_NAMES_IN_DNS),
    ] {
        refused(&changes.to_string(), admin.try_create_dry(&service(&tenant.namespace, changes.clone())).await, sentence);
        refused(&changes.to_string(), admin.try_merge("Service", Some(&tenant.namespace), &name(&there), &changes).await, sentence);
        // The operator's own is no way around.
        refused(&changes.to_string(), admin.try_merge("Service", Some(&tenant.namespace), "web", &changes).await, sentence);
    }
    allowed("a headless one", admin.try_create_dry(&service(&tenant.namespace, json!({"spec": {"clusterIP": "None"}}))).await);
}

#[tokio::test]
async fn a_tenants_people_lead_no_service_to_another_tenants_pods() {
    let (tenant, victim) = tokio::join!(Tenant::new("bridge").ready(), Tenant::new("shore").ready());
    let ruler = person(&tenant, "cluster-admin").await;
    let address = victim.objects("Pod").await[0]["status"]["podIP"].as_str().expect("an address").to_owned();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": unique("slice"), "namespace": tenant.namespace, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": [{"port": 8000, "name": "main"}],
    });
    refused("an EndpointSlice", ruler.try_create_dry(&slice).await, ROUTES_ARE_THE_PLATFORMS);
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": unique("bare"), "namespace": tenant.namespace},
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"port": 8000}]}],
    });
    let path = format!("/api/v1/namespaces/{}/endpoints?dryRun=All", tenant.namespace);
    refused("Endpoints", ruler.try_request("POST", &path, Some(("application/json", &endpoints))).await, ROUTES_ARE_THE_PLATFORMS);
    // One that the platform made.
    let balanced = name(&tenant.world.create(&service(&tenant.namespace, json!({"spec": {"type": "LoadBalancer"}}))).await);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let path = format!("/api/v1/namespaces/{}/services/{balanced}/status?dryRun=All", tenant.namespace);
    let answer = ruler.try_request("PATCH", &path, Some(("application/merge-patch+json", &status))).await;
    refused("a Service's status", answer, ROUTES_ARE_THE_PLATFORMS);
}

/// An ingress controller, or cert-manager, which solves its challenges by an Ingress and a Service in the tenant's namespace.
#[tokio::test]
async fn who_may_write_routes_everywhere_may_write_them_for_a_tenant() {
    let tenant = Tenant::new("served").ready().await;
    let world = &tenant.world;
    let controller = everywhere(
        world,
        json!([
            {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": ["create", "update"]},
            {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["services"], "verbs": ["create"]},
        ]),
    )
    .await;
    let solver = ingress(&tenant.namespace, "a.example.com");
    crate::support::wait_until("its rights are known", crate::support::LIMIT, async || controller.try_create_dry(&solver).await).await;
    let mut labelled = solver.clone();
    labelled["metadata"]["labels"] = tenant.object("Ingress", "instance").await["metadata"]["labels"].clone();
    allowed("with labels that it copied", controller.try_create_dry(&labelled).await);
    allowed("a Service", controller.try_create_dry(&service(&tenant.namespace, json!({"spec": {"type": "NodePort"}}))).await);
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/ingresses/instance/status?dryRun=All", tenant.namespace);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    allowed("the status", controller.try_request("PATCH", &path, Some(("application/merge-patch+json", &status))).await);
}

#[tokio::test]
async fn a_tenants_manifest_names_no_path_port_or_backend_and_its_domains_are_plain_hosts() {
    let world = World::without_operator().await;
    let tenant = |domain: &str| {
        let spec = json!({"displayName": "A", "blueprint": "sample", "plan": "small", "domains": [domain]});
        crate::support::manifest("Tenant", &unique("domains"), spec)
    };
    allowed("a plain host", world.try_create_dry(&tenant("shop.example.com")).await);
    for domain in [
        "https://shop.example.com",
        "shop.example.com/admin",
        "shop.example.com:8443",
        "shop.example.com.",
        "*.example.com",
        "*",
        "shop.example.com\nx: y",
        "shop.example.com\u{0}",
        " shop.example.com",
        "shop.example.com\t",
        "SHOP.example.com",
        "shop_.example.com",
        "-shop.example.com",
        "shop..example.com",
        "shop.example.com;proxy_pass http://evil",
        "shop.example.com\"",
        "$(DATABASE_URL).example.com",
        "${tenant.name}.example.com",
        "10.0.0.1",
        "::1",
        "localhost",
        "sh\u{043e}p.example.com",
        "user@example.com",
    ] {
        refused(
            &format!("{domain:?}"),
            world.try_create_dry(&tenant(domain)).await,
            "each of domains is a full host name in small letters",
        );
    }
}

#[tokio::test]
async fn an_ingress_has_the_blueprints_annotations_and_no_other_tenants_services() {
    let world = World::new().await;
    let annotations = json!({"nginx.ingress.kubernetes.io/proxy-body-size": "8m"});
    let blueprint = world.blueprint(json!({"ingress": {"annotations": annotations}})).await;
    // What a tenant says of itself is not carried over.
    let tenant = Tenant::new("annotated")
        .with(json!({"blueprint": blueprint}))
        .annotated("nginx.ingress.kubernetes.io/configuration-snippet", "return 301 https://evil.example.com;")
        .ready()
        .await;
    let ingress = tenant.object("Ingress", "instance").await;
    let of_a_tool = ["tenantry.dev/applied"];
    let mut found = ingress["metadata"]["annotations"].clone();
    found.as_object_mut().unwrap().retain(|key, _| !of_a_tool.contains(&key.as_str()));
    assert_eq!(found, annotations);
    let services = tenant.names("Service").await;
    for rule in ingress["spec"]["rules"].as_array().expect("rules") {
        for path in rule["http"]["paths"].as_array().expect("paths") {
            let service = &path["backend"]["service"]["name"];
            assert!(services.iter().any(|known| service == known), "{path}");
            assert!(path["backend"]["resource"].is_null(), "{path}");
        }
    }
    assert!(ingress["spec"]["defaultBackend"].is_null());
    for service in tenant.objects("Service").await {
        assert_eq!(service["spec"]["type"], "ClusterIP", "{service}");
        assert_eq!(service["spec"]["selector"]["app.kubernetes.io/instance"], tenant.name, "{service}");
    }
}
