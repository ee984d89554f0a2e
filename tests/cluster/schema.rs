//! What the API server itself takes and refuses of our kinds, what it fills in, and how it shows them: every rule, every bound, every default,
//! every column.

use crate::support::{Tenant, World, kubectl, manifest, merge, unique};
use futures::StreamExt;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const KINDS: [(&str, &str); 5] =
    [("Tenant", "tenants"), ("Blueprint", "blueprints"), ("Plan", "plans"), ("Release", "releases"), ("DatabaseServer", "databaseservers")];

/// The schema of a kind as it is served.
async fn schema(world: &World, plural: &str) -> Value {
    let definition = world.get("CustomResourceDefinition", None, &format!("{plural}.tenantry.dev")).await;
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// The least that is admitted.
fn least(kind: &str) -> Value {
    match kind {
        "Tenant" => json!({"displayName": "A", "blueprint": "b", "plan": "p"}),
        "Blueprint" => {
            json!({"baseDomain": "a.example.com", "version": "1", "image": {"repository": "localhost/a"}, "components": [{"name": "web"}]})
        }
        "Plan" => json!({}),
        "Release" => json!({"blueprint": "b", "version": "1.1"}),
        _ => json!({"host": "postgres", "adminSecret": {"name": "postgres"}}),
    }
}

/// Manifests that are admitted and together have every field.
fn full(kind: &str) -> Vec<Value> {
    let replicas = json!({"min": 1, "max": 2});
    let resources = json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}});
    let peers = json!([{"cidr": "10.0.0.0/8"}, {"namespace": "databases", "podLabels": {"app": "postgres"}}]);
    match kind {
        "Tenant" => {
            let window = json!({"days": ["Sunday"], "from": "22:00", "to": "04:00", "timeZone": "Europe/Berlin"});
            let release = |release: Value| {
                json!({
                    "displayName": "A", "blueprint": "b", "plan": "p", "region": "eu", "release": release, "domains": ["a.example.com"],
                    "settings": {"MODE": "x"}, "branding": {"primaryColor": "#0a5c36", "logoUrl": "https://a.example.com/logo.svg"},
                    "components": {"web": {"replicas": replicas}}, "suspended": true, "expiresAt": "2030-01-01T00:00:00Z",
                    "database": {"adopt": "2b1f5c0e-6a0e-4c0f-9b58-3d0a8f1f1f11"}, "deletion": {"policy": "Delete", "protected": false, "at": "2030-01-01T00:00:00Z"},
                })
            };
            let follows = json!({"channel": "rc", "window": window, "hold": {"until": "2030-01-01T00:00:00Z"}});
            vec![release(json!({"version": "1.2"})), release(follows)]
        }
        "Release" => {
            let image = json!({"tag": "main-1", "digest": format!("sha256:{}", "0".repeat(64))});
            let wave = json!({"name": "own", "match": {"a": "b"}, "percent": 5, "soak": "30m", "concurrency": 10, "skip": false});
            vec![json!({
                "blueprint": "b", "version": "1.1", "image": image, "channel": "rc", "waves": [wave, {"name": "rest"}],
                "health": {"maxFailed": "1%", "of": "wave", "within": "10m"}, "onFailure": "Rollback", "paused": false, "rolledBack": false,
            })]
        }
        "Blueprint" => {
            let probe = json!({"path": "/healthz", "everySeconds": 5});
            let all = json!({
                "baseDomain": "a.example.com", "version": "1", "image": {"repository": "localhost/a", "pullSecret": "registry"},
                "components": [{
                    "name": "web", "image": "redis:7.4", "command": ["serve"], "env": {"A": "b"}, "port": 80, "expose": {"path": "/"},
                    "probes": {"readiness": probe, "liveness": probe, "startup": {"path": "/healthz", "seconds": 60}},
                    "singleton": true, "drainSeconds": 5, "terminationSeconds": 30,
                }],
                "database": {"engine": "Postgres", "isolation": "Schema", "url": {"env": "URL"}, "extensions": ["citext"]},
                "migrate": {"command": ["migrate"], "timeoutSeconds": 60, "retries": 1},
                "firstLogin": {"command": ["invite"], "path": "/welcome/", "validMinutes": 60, "timeoutSeconds": 60},
                "secrets": [{"env": "KEY", "generate": {"length": 50}}],
                "settings": [{"env": "MODE", "default": "x", "tenantMaySet": true}],
                "check": {"path": "/", "status": 200, "everySeconds": 30},
                "ingress": {"className": "nginx", "annotations": {"a": "b"}, "tls": {"clusterIssuer": "letsencrypt"}, "port": 8443, "waitForAddress": true},
                "network": {"ingressFrom": peers, "egressTo": [{"to": peers[0], "ports": [443]}, {"to": peers[1]}]},
                "serviceAccount": {"annotations": {"a": "b"}},
                "extras": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"a": "b"}, "annotations": {"a": "b"}}}],
            });
            let gateway = json!({"parentRef": {"name": "public", "namespace": "gateways", "sectionName": "https"}, "tls": {"wildcard": true}, "port": 8443});
            let change = |changes: Value| {
                let mut changed = all.clone();
                merge(&mut changed, &changes);
                changed
            };
            let issuer = json!({"parentRef": {"sectionName": null}, "tls": {"wildcard": null, "clusterIssuer": "letsencrypt"}});
            let mut with_issuer = gateway.clone();
            merge(&mut with_issuer, &issuer);
            vec![
                change(json!({"ingress": null, "gateway": gateway})),
                change(json!({"ingress": null, "gateway": with_issuer})),
                change(json!({"ingress": {"tls": {"clusterIssuer": null, "wildcard": true}}})),
                all,
            ]
        }
        "Plan" => vec![json!({
            "defaults": {"resources": resources},
            "components": {"web": {"replicas": replicas, "resources": resources, "targetCpuPercent": 75}},
            "quota": {"requests.cpu": "1", "pods": "20"},
            "database": {"connections": 20, "statementTimeoutSeconds": 60, "idleInTransactionTimeoutSeconds": 300},
            "price": {"monthly": "49.00", "currency": "EUR"},
        })],
        _ => vec![json!({
            "engine": "Postgres", "host": "postgres", "port": 5432, "database": "tenants", "region": "eu", "capacity": {"tenants": 10},
            "tls": {"mode": "Require"}, "adminSecret": {"name": "postgres"}, "peers": peers,
        })],
    }
}

/// Tries all manifests, each with what its refusal has to say, and tells what came out otherwise.
async fn all_are_refused(world: &World, tries: Vec<(String, Value, String)>) {
    assert!(!tries.is_empty());
    let wrong: Vec<_> = futures::stream::iter(tries)
        .map(|(what, manifest, sentence)| async move {
            match world.try_create_dry(&manifest).await {
                Ok(()) => Some(format!("{what}: it is admitted, without {sentence:?}")),
                Err(message) if message.contains(&sentence) => None,
                Err(message) => Some(format!("{what}: {sentence:?} is not in {}", message.chars().take(600).collect::<String>())),
            }
        })
        .buffer_unordered(16)
        .filter_map(|wrong| async move { wrong })
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} of the refusals are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

// ---- bounds

/// A manifest that breaks one bound, and what the API server says of it.
struct Broken {
    bound: String,
    spec: Value,
    sentence: String,
}

/// Breaks every bound of a schema in a spec, one at a time.
struct Breaker<'a> {
    spec: &'a Value,
    broken: Vec<Broken>,
    /// The fields that the spec has.
    seen: BTreeSet<String>,
}

impl Breaker<'_> {
    fn walk(&mut self, schema: &Value, pointer: &str, path: &str) {
        self.seen.insert(path.to_owned());
        let value = self.spec.pointer(pointer).cloned().unwrap_or_default();
        let number = |bound: &str| schema[bound].as_f64().map(|limit| limit as i64);
        let size = |bound: &str| schema[bound].as_u64().map(|limit| limit as usize);
        if let Some(most) = size("maxLength") {
            self.break_at(pointer, path, "maxLength", "a".repeat(most + 1).into(), format!("may not be more than {most}"));
        }
        if let Some(least @ 1..) = size("minLength") {
            self.break_at(pointer, path, "minLength", "".into(), format!("should be at least {least} chars long"));
        }
        if let Some(most) = number("maximum") {
            self.break_at(pointer, path, "maximum", (most + 1).into(), format!("should be less than or equal to {most}"));
        }
        if let Some(least) = number("minimum") {
            self.break_at(pointer, path, "minimum", (least - 1).into(), format!("should be greater than or equal to {least}"));
        }
        if let Some(most) = size("maxItems") {
            let items = vec![value[0].clone(); most + 1];
            self.break_at(pointer, path, "maxItems", items.into(), format!("must have at most {most} items"));
        }
        if let Some(least @ 1..) = size("minItems") {
            self.break_at(pointer, path, "minItems", json!([]), format!("should have at least {least} items"));
        }
        if let Some(most) = size("maxProperties") {
            let one = value.as_object().and_then(|fields| fields.values().next()).cloned().unwrap_or_default();
            let fields: Map<_, _> = (0..=most).map(|number| (format!("k{number}"), one.clone())).collect();
            self.break_at(pointer, path, "maxProperties", fields.into(), format!("must have at most {most} items"));
        }
        if schema["enum"].is_array() {
            self.break_at(pointer, path, "enum", "Other".into(), "supported values".to_owned());
        }
        for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let mut without = value.clone();
            if without.as_object_mut().is_some_and(|fields| fields.remove(field).is_some()) {
                self.break_at(pointer, path, &format!("required {field}"), without, format!("{field}: Required value"));
            }
        }
        let key = |name: &str| name.replace('~', "~0").replace('/', "~1");
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            if value.get(name).is_some() {
                self.walk(inner, &format!("{pointer}/{}", key(name)), &format!("{path}.{name}"));
            }
        }
        for index in 0..value.as_array().map_or(0, Vec::len) {
            self.walk(&schema["items"], &format!("{pointer}/{index}"), &format!("{path}[]"));
        }
        if schema["additionalProperties"].is_object() {
            for name in value.as_object().into_iter().flat_map(Map::keys) {
                self.walk(&schema["additionalProperties"], &format!("{pointer}/{}", key(name)), &format!("{path}{{}}"));
            }
        }
    }

    fn break_at(&mut self, pointer: &str, path: &str, bound: &str, value: Value, sentence: String) {
        let mut spec = self.spec.clone();
        *spec.pointer_mut(pointer).expect("what was walked to") = value;
        self.broken.push(Broken { bound: format!("{path}, {bound}"), spec, sentence });
    }
}

/// The paths of all fields of a schema.
fn fields(schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    into.insert(path.to_owned());
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        fields(inner, &format!("{path}.{name}"), into);
    }
    for (name, inner) in [("[]", &schema["items"]), ("{}", &schema["additionalProperties"])] {
        if inner.is_object() {
            fields(inner, &format!("{path}{name}"), into);
        }
    }
}

#[tokio::test]
async fn every_bound_of_every_field_is_kept_by_the_server() {
    let world = World::without_operator().await;
    for (kind, plural) in KINDS {
        let schema = schema(&world, plural).await["properties"]["spec"].clone();
        let (mut tries, mut tried, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for spec in full(kind) {
            // Within all bounds it is admitted, so that each refusal is because of the one that is broken.
            world.try_create_dry(&manifest(kind, &unique("full"), spec.clone())).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
            let mut breaker = Breaker { spec: &spec, broken: Vec::new(), seen: BTreeSet::new() };
            breaker.walk(&schema, "", "spec");
            seen.extend(breaker.seen);
            for broken in breaker.broken {
                if tried.insert(broken.bound.clone()) {
                    tries.push((format!("{kind} {}", broken.bound), manifest(kind, &unique("broken"), broken.spec), broken.sentence));
                }
            }
        }
        let mut all = BTreeSet::new();
        fields(&schema, "spec", &mut all);
        assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "fields of {kind} that no manifest of this test has");
        all_are_refused(&world, tries).await;
    }
}

// ---- rules

/// A change of the least manifest that is admitted, and a part of the sentence that refuses it.
fn refusals(kind: &str) -> Vec<(Value, &'static str)> {
    let component = |changes: Value| {
        let mut component = json!({"name": "web", "port": 80});
        merge(&mut component, &changes);
        json!({"components": [component]})
    };
    let exposed = |changes: Value| {
        let mut changed = json!({"components": [{"name": "web", "port": 80, "expose": {}}]});
        merge(&mut changed, &changes);
        changed
    };
    let resources = |requests: Value, limits: Value| json!({"defaults": {"resources": {"requests": requests, "limits": limits}}});
    let parent = |changes: Value| {
        let mut gateway = json!({"gateway": {"parentRef": {"name": "public", "namespace": "gateways"}}});
        merge(&mut gateway["gateway"], &changes);
        gateway
    };
    let long = |length: usize| "a".repeat(length);
    match kind {
        "Tenant" => vec![
            (json!({"displayName": "two\nlines"}), "displayName is one line of text"),
            (json!({"domains": ["https://acme.com"]}), "each of domains is a full host name in small letters"),
            (json!({"domains": ["*.acme.com"]}), "each of domains is a full host name in small letters"),
            (json!({"domains": ["acme.com:443"]}), "each of domains is a full host name in small letters"),
            (json!({"domains": ["acme.com/path"]}), "each of domains is a full host name in small letters"),
            (json!({"domains": ["Acme.com"]}), "each of domains is a full host name in small letters"),
            (json!({"domains": ["localhost"]}), "each of domains is a full host name in small letters"),
            (json!({"domains": ["10.0.0.1"]}), "each of domains is a full host name in small letters"),
            (json!({"domains": ["a.com", "a.com"]}), "Duplicate value"),
            (json!({"region": "-eu"}), "region must look like a label's value"),
            (json!({"release": {"version": "1.0+build"}}), "version must be the tag of an image"),
            (json!({"release": {"version": "-1"}}), "version must be the tag of an image"),
            (json!({"release": {"channel": "RC"}}), "channel is a name in small letters"),
            (json!({"release": {"channel": "rc", "version": "1"}}), "a tenant follows a channel or is pinned to a version, not both"),
            (json!({"release": {"window": {"from": "22:00", "to": "24:00"}}}), "to is a time of the day"),
            (json!({"release": {"window": {"from": "10pm", "to": "04:00"}}}), "from is a time of the day"),
            (json!({"release": {"window": {"from": "22:00", "to": "22:00"}}}), "a window from a time to the same time is none"),
            (json!({"settings": {long(101): "x"}}), "each key of settings is the name of one of the blueprint's settings"),
            (json!({"branding": {"primaryColor": "green"}}), "primaryColor is # and six hexadecimal digits"),
            (json!({"branding": {"logoUrl": "http://acme.com/logo.svg"}}), "logoUrl is an https address"),
            (json!({"branding": {"logoUrl": "https://acme.com/\"><script>"}}), "logoUrl is an https address"),
            (json!({"components": {long(41): {}}}), "each key of components is the name of one of the blueprint's components"),
            (json!({"components": {"web": {"replicas": {"min": 3, "max": 2}}}}), "replicas.min must not be more than replicas.max"),
            (json!({"database": {"adopt": "a/b"}}), "adopt is the UID of the former Tenant"),
            (json!({"expiresAt": "tomorrow"}), "date-time"),
            (json!({"deletion": {"at": "2030-01-01T00:00:00Z", "protected": true}}), "a protected tenant can't be given a moment"),
        ],
        "Blueprint" => vec![
            (json!({"baseDomain": "https://a.com"}), "baseDomain is a domain in small letters"),
            (json!({"baseDomain": "*.a.com"}), "baseDomain is a domain in small letters"),
            (json!({"version": "1.0/2"}), "version must be the tag of an image"),
            (json!({"image": {"repository": "localhost/a:1"}}), "repository is the image without tag and digest"),
            (json!({"image": {"repository": "localhost/a@sha256:00"}}), "repository is the image without tag and digest"),
            (json!({"image": {"pullSecret": "Registry/x"}}), "pullSecret is the name of a Secret"),
            (component(json!({"name": "Web"})), "a component's name begins with a small letter"),
            (component(json!({"name": "migrate"})), "migrate is what the migration's pods are called"),
            (component(json!({"name": "first-login"})), "first-login is what the pods are called that make a link"),
            (
                json!({"firstLogin": {"command": ["invite"], "path": "https://evil.example/"}}),
                "path begins with a / and has only what a link can have",
            ),
            (component(json!({"image": "redis"})), "image is an image with its tag or digest"),
            (component(json!({"env": {"A-B": "x"}})), "an environment variable's name has only letters, digits and _"),
            (component(json!({"port": null, "expose": {}})), "a component with expose needs the port"),
            (component(json!({"port": null, "probes": {}})), "probes ask the component's port"),
            (component(json!({"probes": {"readiness": {"path": "healthz"}}})), "path begins with / and has no spaces"),
            (component(json!({"probes": {"liveness": {"path": "/a b"}}})), "path begins with / and has no spaces"),
            (component(json!({"probes": {"startup": {"path": "healthz"}}})), "path begins with / and has no spaces"),
            (component(json!({"expose": {"path": "/a/../b"}})), "path begins with /, has only letters"),
            (component(json!({"expose": {"path": "/a$b"}})), "path begins with /, has only letters"),
            (component(json!({"expose": {}})), "a component has expose, so the blueprint must say how"),
            (
                json!({"ingress": {}, "components": [{"name": "a", "port": 1, "expose": {}}, {"name": "b", "port": 1, "expose": {}}]}),
                "two components are exposed at the same path",
            ),
            (
                json!({"ingress": {}, "components": (0..17)
                    .map(|number| json!({"name": format!("c{number}"), "port": 1, "expose": {"path": format!("/{number}")}}))
                    .collect::<Vec<_>>()}),
                "at most 16 components can be exposed",
            ),
            (json!({"components": [{"name": "a"}, {"name": "a"}]}), "Duplicate value"),
            (exposed(json!({"ingress": {}, "gateway": parent(json!({}))["gateway"]})), "by ingress or by gateway, not by both"),
            (json!({"migrate": {"command": ["m"]}}), "migrate needs a database"),
            (json!({"check": {}}), "check asks the instance from outside"),
            (exposed(json!({"ingress": {}, "check": {"path": "healthz"}})), "path begins with / and has no spaces"),
            (json!({"secrets": [{"env": "A"}], "settings": [{"env": "A"}]}), "both in secrets and in settings"),
            (json!({"database": {}, "secrets": [{"env": "DATABASE_URL"}]}), "database.url.env is also the name of a secret or a setting"),
            (
                json!({"database": {"url": {"env": "A"}}, "settings": [{"env": "A"}]}),
                "database.url.env is also the name of a secret or a setting",
            ),
            (json!({"database": {"url": {"env": "1A"}}}), "env is the name of an environment variable, such as DATABASE_URL"),
            (json!({"database": {"url": {"env": "TENANT_URL"}}}), "are set by the operator in every instance"),
            (json!({"database": {"extensions": ["dblink"]}}), "supported values"),
            (json!({"secrets": [{"env": "A B"}]}), "env is the name of an environment variable, such as SECRET_KEY"),
            (json!({"secrets": [{"env": "ALLOWED_HOSTS"}]}), "are set by the operator in every instance"),
            (json!({"settings": [{"env": "A=B"}]}), "env is the name of an environment variable, such as LANGUAGE_CODE"),
            (json!({"settings": [{"env": "BRANDING_X"}]}), "are set by the operator in every instance"),
            (json!({"ingress": {"className": "Nginx_"}}), "className is the name of an IngressClass"),
            (json!({"ingress": {"annotations": {"a b": "x"}}}), "each key of annotations is an annotation's name, such as nginx.ingress"),
            (json!({"ingress": {"tls": {}}}), "say where certificates come from, once"),
            (json!({"ingress": {"tls": {"clusterIssuer": "a", "wildcard": true}}}), "say where certificates come from, once"),
            (json!({"ingress": {"tls": {"clusterIssuer": "A_"}}}), "clusterIssuer is the name of a ClusterIssuer"),
            (parent(json!({"tls": {}})), "say where certificates come from, once"),
            (parent(json!({"tls": {"clusterIssuer": "A_"}})), "clusterIssuer is the name of a ClusterIssuer"),
            (parent(json!({"tls": {"clusterIssuer": "a"}, "parentRef": {"sectionName": "x"}})), "leave parentRef.sectionName out"),
            (parent(json!({"parentRef": {"name": "A_"}})), "name is the name of a Gateway"),
            (parent(json!({"parentRef": {"namespace": "a.b"}})), "namespace is the name of a namespace, such as gateways"),
            (parent(json!({"parentRef": {"sectionName": "A_"}})), "sectionName is the name of one of the Gateway's listeners"),
            (json!({"network": {"ingressFrom": [{}]}}), "a peer is either a cidr"),
            (json!({"network": {"ingressFrom": [{"cidr": "10.0.0.0/8", "namespace": "a"}]}}), "a peer is either a cidr"),
            (json!({"network": {"ingressFrom": [{"cidr": "10.0.0.1/8"}]}}), "cidr is an address range by its first address"),
            (json!({"network": {"egressTo": [{"to": {"cidr": "10.0.0.1"}}]}}), "cidr is an address range by its first address"),
            (json!({"network": {"ingressFrom": [{"namespace": "A"}]}}), "namespace is the name of a namespace, such as ingress-nginx"),
            (json!({"network": {"ingressFrom": [{"cidr": "10.0.0.0/8", "podLabels": {"a": "b"}}]}}), "podLabels go with a namespace"),
            (
                json!({"network": {"ingressFrom": [{"namespace": "a", "podLabels": {"a b": "c"}}]}}),
                "each key of podLabels is a label's name",
            ),
            (json!({"network": {"ingressFrom": [{"namespace": "a", "podLabels": {"a": "b c"}}]}}), "a label's value has only letters"),
            (json!({"serviceAccount": {"annotations": {"a b": "x"}}}), "each key of annotations is an annotation's name, such as eks"),
            (
                json!({"extras": [{"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "labels": {"a b": "c"}}}]}),
                "each key of labels is a label's name",
            ),
            (
                json!({"extras": [{"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "annotations": {"a b": "c"}}}]}),
                "each key of annotations is an annotation's name, such as example.com/owner",
            ),
        ],
        "Plan" => vec![
            (json!({"components": {long(41): {}}}), "each key of components is the name of a blueprint's component"),
            (json!({"components": {"web": {"replicas": {"min": 3, "max": 2}}}}), "replicas.min must not be more than replicas.max"),
            (resources(json!({"cpu": "lots"}), json!({})), "an amount is a number and a unit"),
            (resources(json!({"gpu": "1"}), json!({})), "write for example cpu: 100m"),
            (resources(json!({}), json!({"gpu": "1"})), "write for example memory: 512Mi"),
            (resources(json!({"memory": "512m"}), json!({})), "512m of memory is half a byte"),
            (resources(json!({"cpu": "2"}), json!({"cpu": "1500m"})), "a request is more than its limit"),
            (
                json!({"components": {"web": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}}}}),
                "a request is more than its limit",
            ),
            (json!({"quota": {"cows": "1"}}), "each key of quota is a resource that Kubernetes counts"),
            (json!({"price": {"monthly": "49.5", "currency": "EUR"}}), "a price is a number with two digits after the point or none"),
            (json!({"price": {"monthly": "49.00", "currency": "eur"}}), "a currency is three capital letters, such as EUR"),
            (json!({"quota": {"pods": "1.5"}}), "what is counted is a whole number"),
            (json!({"quota": {"requests.ephemeral-storage": "1Gi"}}), "add it to defaults.resources.requests"),
            (json!({"quota": {"limits.cpu": "1"}}), "add it to defaults.resources.limits"),
        ],
        "Release" => {
            let wave = |wave: Value| json!({"waves": [wave, {"name": "rest"}]});
            vec![
                (json!({"version": "1.0+build"}), "version must be the tag of an image"),
                (json!({"channel": "Stable"}), "channel is a name in small letters"),
                (json!({"image": {}}), "image has a tag, a digest, or both"),
                (json!({"image": {"tag": "-1"}}), "tag is an image's tag"),
                (json!({"image": {"digest": format!("sha512:{}", "0".repeat(64))}}), "digest is sha256: and 64 hexadecimal digits"),
                (json!({"waves": [{"name": "few", "percent": 5}]}), "the last wave is for everybody"),
                (json!({"waves": [{"name": "own", "match": {"a": "b"}}]}), "the last wave is for everybody"),
                (json!({"waves": [{"name": "all", "skip": true}]}), "the last wave is for everybody"),
                (wave(json!({"name": "Canary"})), "a wave's name has small letters"),
                (wave(json!({"name": "a", "match": {"/": "b"}})), "each key of match is a label's name"),
                (wave(json!({"name": "a", "match": {"a": "-"}})), "a label's value has only letters"),
                (wave(json!({"name": "a", "soak": "30 minutes"})), "a span of time is written as hours, minutes and seconds"),
                (json!({"health": {"within": "1d"}}), "a span of time is written as hours, minutes and seconds"),
                (json!({"health": {"maxFailed": -1}}), "maxFailed is a number of tenants or a percentage"),
                (json!({"health": {"maxFailed": "many"}}), "maxFailed is a number of tenants or a percentage"),
                (json!({"health": {"maxFailed": "101%"}}), "maxFailed is a number of tenants or a percentage"),
            ]
        }
        _ => vec![
            (json!({"host": "postgres:5432"}), "host is a name or an address, without a port or a scheme"),
            (json!({"host": "postgresql://a"}), "host is a name or an address, without a port or a scheme"),
            (json!({"database": "postgres"}), "none of Postgres' own"),
            (json!({"database": "template1"}), "none of Postgres' own"),
            (json!({"database": "Tenants"}), "database is a name in small letters"),
            (json!({"region": "eu central"}), "region must look like a label's value"),
            (json!({"adminSecret": {"name": "other/postgres"}}), "name is the name of a Secret"),
            (json!({"peers": [{}]}), "a peer is either a cidr"),
            (json!({"peers": [{"cidr": "2001:db8::1/32"}]}), "cidr is an address range by its first address"),
            (json!({"peers": [{"namespace": "a_b"}]}), "namespace is the name of a namespace"),
            (json!({"peers": [{"cidr": "10.0.0.0/8", "podLabels": {"a": "b"}}]}), "podLabels go with a namespace"),
            (json!({"peers": [{"namespace": "a", "podLabels": {"/": "b"}}]}), "each key of podLabels is a label's name"),
            (json!({"peers": [{"namespace": "a", "podLabels": {"a": "-"}}]}), "a label's value has only letters"),
        ],
    }
}

/// Names that are refused.
fn refused_names(kind: &str) -> Vec<(String, &'static str)> {
    let long = |length: usize| "a".repeat(length);
    match kind {
        "Tenant" => {
            vec![(long(41), "a tenant's name has at most 40 characters"), ("acme.west".to_owned(), "write acme-west instead of acme.west")]
        }
        "Blueprint" => vec![(long(41), "a blueprint's name has at most 40 characters")],
        "Plan" => vec![(long(64), "a plan's name has at most 63 characters")],
        "Release" => vec![(long(64), "a release's name has at most 63 characters")],
        _ => vec![(long(64), "a database server's name has at most 63 characters")],
    }
}

/// Changes of what is there that are refused: what was, what is to be, the sentence.
fn refused_changes(kind: &str) -> Vec<(Value, Value, &'static str)> {
    let isolation = |isolation: &str| json!({"database": {"isolation": isolation}});
    match kind {
        "Tenant" => vec![
            (json!({}), json!({"blueprint": "other"}), "blueprint can't be changed"),
            (json!({"region": "eu"}), json!({"region": "us"}), "region can't be changed once it is set"),
            (json!({"region": "eu"}), json!({"region": null}), "region can't be changed once it is set"),
        ],
        "Blueprint" => vec![
            (isolation("Schema"), isolation("Database"), "database and its isolation can't be changed"),
            (isolation("Schema"), json!({"database": null}), "database and its isolation can't be changed"),
            (json!({}), isolation("Schema"), "database and its isolation can't be changed"),
        ],
        "Plan" => vec![],
        "Release" => vec![
            (json!({}), json!({"blueprint": "other"}), "blueprint can't be changed"),
            (json!({}), json!({"version": "1.2"}), "version can't be changed"),
            (json!({}), json!({"channel": "rc"}), "channel can't be changed"),
            (json!({}), json!({"image": {"tag": "1"}}), "image can't be changed"),
            (json!({"image": {"tag": "1"}}), json!({"image": null}), "image can't be changed"),
            (json!({"rolledBack": true}), json!({"rolledBack": false}), "a release that was rolled back stays so"),
        ],
        _ => vec![(json!({}), json!({"database": "others"}), "database can't be changed")],
    }
}

/// The messages of all rules of a schema.
fn messages(schema: &Value, into: &mut BTreeSet<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        into.insert(rule["message"].as_str().expect("a rule has a message").to_owned());
    }
    let inner =
        schema["properties"].as_object().into_iter().flat_map(Map::values).chain([&schema["items"], &schema["additionalProperties"]]);
    inner.filter(|inner| inner.is_object()).for_each(|inner| messages(inner, into));
}

#[tokio::test]
async fn every_rule_refuses_with_a_sentence_that_says_what_to_write() {
    let world = World::without_operator().await;
    let (mut tries, mut untried) = (Vec::new(), Vec::new());
    for (kind, plural) in KINDS {
        world.try_create_dry(&manifest(kind, &unique("least"), least(kind))).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        let mut sentences = Vec::new();
        for (change, sentence) in refusals(kind) {
            let mut spec = least(kind);
            merge(&mut spec, &change);
            tries.push((format!("{kind} {change}"), manifest(kind, &unique("rule"), spec), sentence.to_owned()));
            sentences.push(sentence);
        }
        for (name, sentence) in refused_names(kind) {
            tries.push((format!("{kind} {name}"), manifest(kind, &name, least(kind)), sentence.to_owned()));
            sentences.push(sentence);
        }
        sentences.extend(refused_changes(kind).iter().map(|(_, _, sentence)| *sentence));
        let mut all = BTreeSet::new();
        messages(&schema(&world, plural).await, &mut all);
        untried.extend(all.into_iter().filter(|message| !sentences.iter().any(|sentence| message.contains(sentence))));
    }
    assert_eq!(untried, Vec::<String>::new(), "rules that this test doesn't try");
    all_are_refused(&world, tries).await;
}

#[tokio::test]
async fn what_must_not_change_is_refused_and_the_rest_may_change() {
    let world = World::without_operator().await;
    for (kind, _) in KINDS {
        for (before, after, sentence) in refused_changes(kind) {
            let (name, mut spec) = (unique("fixed"), least(kind));
            merge(&mut spec, &before);
            world.create(&manifest(kind, &name, spec)).await;
            let refusal = world.try_merge(kind, None, &name, &json!({"spec": after})).await.expect_err(sentence);
            assert!(refusal.contains(sentence), "{kind} {after}: {refusal}");
            let other = match kind {
                "Tenant" => json!({"plan": "other", "displayName": "B"}),
                "Blueprint" => json!({"version": "2", "baseDomain": "b.example.com"}),
                "Release" => json!({"paused": true, "waves": [{"name": "first", "percent": 10, "skip": true}, {"name": "rest"}]}),
                _ => json!({"host": "other", "region": "us"}),
            };
            world.merge(kind, None, &name, &json!({"spec": other})).await;
            world.delete(kind, None, &name).await;
        }
    }
    // A region may be set once.
    let name = unique("placed");
    world.create(&manifest("Tenant", &name, least("Tenant"))).await;
    world.merge("Tenant", None, &name, &json!({"spec": {"region": "eu"}})).await;
    world.delete("Tenant", None, &name).await;
}

// ---- what the server fills in

#[tokio::test]
async fn the_server_fills_in_what_is_left_out() {
    let world = World::without_operator().await;
    for (kind, changes, filled) in [
        ("Tenant", json!({}), json!({"suspended": false, "deletion": {"policy": "Retain", "protected": false}})),
        ("Tenant", json!({"deletion": {"protected": false}}), json!({"suspended": false, "deletion": {"policy": "Retain"}})),
        (
            "Blueprint",
            json!({
                "components": [{"name": "web", "port": 80, "expose": {}, "probes": {"readiness": {}, "startup": {}}}], "database": {},
                "migrate": {"command": ["m"]}, "secrets": [{"env": "A"}], "settings": [{"env": "B"}], "check": {}, "ingress": {"tls": {"wildcard": true}},
            }),
            json!({
                "components": [{
                    "name": "web", "port": 80, "expose": {"path": "/"}, "probes": {"readiness": {"everySeconds": 5}, "startup": {"seconds": 60}},
                    "singleton": false, "drainSeconds": 5, "terminationSeconds": 30,
                }],
                "database": {"engine": "Postgres", "isolation": "Schema", "url": {"env": "DATABASE_URL"}},
                "migrate": {"timeoutSeconds": 600, "retries": 0}, "secrets": [{"env": "A", "generate": {"length": 50}}],
                "settings": [{"env": "B", "tenantMaySet": false}], "check": {"path": "/", "status": 200, "everySeconds": 30},
                "ingress": {"waitForAddress": true}, "network": {}, "serviceAccount": {},
            }),
        ),
        (
            "Plan",
            json!({}),
            json!({
                "defaults": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}},
                "database": {"connections": 20, "statementTimeoutSeconds": 60, "idleInTransactionTimeoutSeconds": 300},
            }),
        ),
        (
            "Release",
            json!({}),
            json!({
                "channel": "stable", "waves": [{"name": "all", "percent": 100, "concurrency": 50, "skip": false}],
                "health": {"maxFailed": 0, "of": "wave", "within": "10m"}, "onFailure": "Pause", "paused": false, "rolledBack": false,
            }),
        ),
        (
            "DatabaseServer",
            json!({}),
            json!({"engine": "Postgres", "port": 5432, "database": "tenants", "capacity": {"tenants": 1000}, "tls": {"mode": "VerifyFull"}}),
        ),
    ] {
        let (name, mut spec) = (unique("defaults"), least(kind));
        merge(&mut spec, &changes);
        let created = world.create(&manifest(kind, &name, spec.clone())).await;
        merge(&mut spec, &filled);
        assert_eq!(created["spec"], spec, "{kind}");
        world.delete(kind, None, &name).await;
    }
}

#[tokio::test]
async fn before_the_first_look_the_status_says_so() {
    let world = World::new().await;
    for (kind, plural) in [("Tenant", "tenants"), ("Release", "releases"), ("DatabaseServer", "databaseservers")] {
        let name = unique("unseen");
        let created = world.create(&manifest(kind, &name, least(kind))).await;
        // As it was at its creation, whatever the operator has written since.
        let version = created["metadata"]["resourceVersion"].as_str().expect("a version");
        let path = format!(
            "/apis/tenantry.dev/v1alpha1/{plural}?fieldSelector=metadata.name={name}&resourceVersion={version}&resourceVersionMatch=Exact"
        );
        let list: Value = serde_json::from_str(&kubectl(&["get", "--raw", &path]).expect("a list")).expect("JSON");
        assert_eq!(list["items"][0]["status"]["observedGeneration"], -1, "{kind}");
        world.delete(kind, None, &name).await;
    }
}

#[tokio::test]
async fn the_status_is_written_by_itself_only() {
    let tenant = Tenant::new("status").ready().await;
    let world = &tenant.world;
    let before = tenant.get().await;
    let forged = json!({"status": {"url": "http://forged.example.com", "version": "forged"}, "spec": {"displayName": "Changed"}});
    let changed = world.merge("Tenant", None, &tenant.name, &forged).await;
    assert_eq!(changed["spec"]["displayName"], "Changed");
    assert_eq!((&changed["status"]["url"], &changed["status"]["version"]), (&before["status"]["url"], &before["status"]["version"]));
    // And the other way round: who writes the status changes no spec.
    let server = world.server(json!({})).await;
    world.merge_status("DatabaseServer", None, &server, &json!({"spec": {"host": "forged"}, "status": {"serverVersion": "0.0"}})).await;
    assert_ne!(world.get("DatabaseServer", None, &server).await["spec"]["host"], "forged");
    world.delete("DatabaseServer", None, &server).await;
}

// ---- how people see them

fn header(arguments: &[&str]) -> Vec<String> {
    let table = kubectl(&[&["get"], arguments].concat()).expect("a table");
    table.lines().next().expect("a header").split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn kubectl_shows_each_kind_in_columns() {
    let tenant = Tenant::new("shown").ready().await;
    let columns = ["NAME", "READY", "REASON", "URL", "VERSION", "PLAN", "AGE"];
    assert_eq!(header(&["tn", &tenant.name]), columns);
    assert_eq!(header(&["tn", &tenant.name, "-o", "wide"]), [&columns[..], &["BLUEPRINT", "SERVER", "CUSTOMER", "MESSAGE"]].concat());
    let row = kubectl(&["get", "tn", &tenant.name, "--no-headers", "-o", "wide"]).expect("a row");
    let customer = format!("Customer {}", tenant.name);
    let url = format!("http://{}.sample.localhost", tenant.name);
    for value in [tenant.name.as_str(), " True ", " Ready ", &url, " 1.0 ", " small ", " sample ", " main ", &customer] {
        assert!(row.contains(value), "{value:?} is not in {row}");
    }
    assert_eq!(header(&["bp"]), ["NAME", "VERSION", "DOMAIN", "DATABASE", "RELEASED", "AGE"]);
    let release = unique("shown");
    tenant.world.create(&manifest("Release", &release, json!({"blueprint": "shown", "version": "1"}))).await;
    let columns = ["NAME", "BLUEPRINT", "VERSION", "CHANNEL", "STATE", "WAVE", "DONE", "MOVING", "FAILED", "AGE"];
    assert_eq!(header(&["rel", &release]), columns);
    assert_eq!(header(&["rel", &release, "-o", "wide"]), [&columns[..], &["MESSAGE"]].concat());
    tenant.world.delete("Release", None, &release).await;
    assert_eq!(header(&["plan"]), ["NAME", "CPU", "MEMORY", "CONNECTIONS", "PRICE", "AGE"]);
    assert_eq!(header(&["plan", "-o", "wide"]), ["NAME", "CPU", "MEMORY", "CONNECTIONS", "PRICE", "CURRENCY", "AGE"]);
    let columns = ["NAME", "READY", "REASON", "REGION", "TENANTS", "CAPACITY", "SERVER", "AGE"];
    assert_eq!(header(&["dbs"]), columns);
    assert_eq!(header(&["dbs", "-o", "wide"]), [&columns[..], &["HOST", "MESSAGE"]].concat());
    // A quota's dotted names reach their columns, and a server its own version.
    let row = kubectl(&["get", "plan", "small", "--no-headers"]).expect("a row");
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["small", "1", "2Gi", "10"]);
    let row = kubectl(&["get", "dbs", "main", "--no-headers"]).expect("a row");
    assert!(row.contains(
        &tenant.world.get("DatabaseServer", None, "main").await["status"]["serverVersion"].as_str().expect("a version").to_owned()
    ));

    let all = kubectl(&["get", "tenantry", "-o", "name"]).expect("all");
    for object in [
        format!("tenant.tenantry.dev/{}", tenant.name),
        "blueprint.tenantry.dev/sample".into(),
        "plan.tenantry.dev/small".into(),
        "databaseserver.tenantry.dev/main".into(),
    ] {
        assert!(all.lines().any(|line| line == object), "{object} is not in {all}");
    }
}

/// Fields without a description.
fn undescribed(schema: &Value, path: &str, into: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        // What every object has is Kubernetes' to describe.
        let kubernetes = ["apiVersion", "kind", "metadata"].contains(&name.as_str()) && path.matches('.').count() == 1;
        if !kubernetes && field["description"].as_str().is_none_or(|text| text.trim().is_empty()) {
            into.push(path.clone());
        }
        undescribed(field, &path, into);
    }
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            undescribed(inner, path, into);
        }
    }
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    let world = World::without_operator().await;
    for (kind, plural) in KINDS {
        let schema = schema(&world, plural).await;
        let mut silent = Vec::new();
        undescribed(&schema, kind, &mut silent);
        assert_eq!(silent, Vec::<String>::new(), "fields without a description");
        assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{kind}");
        let explained = kubectl(&["explain", plural, "--recursive"]).expect("an explanation");
        let named: BTreeSet<_> = explained.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let mut all = BTreeSet::new();
        fields(&schema, "", &mut all);
        for path in all {
            let field = path.rsplit('.').next().expect("a name").trim_end_matches(['[', ']', '{', '}']);
            assert!(field.is_empty() || named.contains(field), "{kind}{path} is not in:\n{explained}");
        }
    }
    let field = kubectl(&["explain", "tenant.spec.deletion.protected"]).expect("an explanation");
    assert!(field.contains("Whether a deletion of this Tenant is refused"), "{field}");
}
