//! Manifests of every form that the schemas admit, made at random. Used by the property tests here, and by those that ask a real API server.
//!
//! What depends on something else (a tenant's replicas on the plan's bounds, a limit on its request) is made to fit, so that most instances
//! can be resolved; where each of the two is admitted alone, it is sometimes made not to fit.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What an instance is made from, as manifests.
#[derive(Clone, Debug)]
pub struct Sample {
    pub tenant: Value,
    pub blueprint: Value,
    pub plan: Value,
    pub server: Value,
}

impl Sample {
    pub fn manifests(&self) -> [&Value; 4] {
        [&self.tenant, &self.blueprint, &self.plan, &self.server]
    }
}

/// The kinds that the extras of samples are of, as `--extra-kind` names them.
pub const EXTRA_KINDS: [&str; 2] = ["v1/ConfigMap", "batch/v1/CronJob"];

/// Manifests of one instance.
pub fn sample() -> impl Strategy<Value = Sample> {
    // Boxed where they are large: what holds a whole manifest by value needs more stack than a test's thread has.
    (blueprint().boxed(), server()).prop_flat_map(|(blueprint, server)| {
        plan(&blueprint).boxed().prop_flat_map(move |plan| {
            let (blueprint, server, plan) = (blueprint.clone(), server.clone(), plan);
            tenant(&blueprint, &plan, &server).boxed().prop_map(move |tenant| Sample {
                tenant,
                blueprint: blueprint.clone(),
                plan: plan.clone(),
                server: server.clone(),
            })
        })
    })
}

fn object(kind: &str, name: String, spec: Value) -> Value {
    json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A map of those fields that there are.
fn fields<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

fn some<T: Into<Value>>(value: T) -> Option<Value> {
    Some(value.into())
}

// ---- texts

/// A DNS label of at most 40 characters; often a longest one, since bounds are where it breaks.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", 1 => "[a-z0-9][-a-z0-9]{38}[a-z0-9]"]
}

fn component_name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z]([-a-z0-9]{0,10}[a-z0-9])?", 1 => "[a-z][-a-z0-9]{38}[a-z0-9]"].prop_filter("reserved", |name| name != "migrate")
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", 1 => "[A-Za-z0-9][-A-Za-z0-9_.]{61}[A-Za-z0-9]"]
}

fn qualified() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}\\.example\\.com/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", "[a-z]{1,20}"]
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?(\\.[a-z][a-z0-9]{0,8}){1,3}", 1 => "([a-z0-9]{62}\\.){3}[a-z]{2,40}"]
}

/// Any text without control characters.
fn text(longest: usize) -> impl Strategy<Value = String> {
    vec(
        prop_oneof![8 => proptest::char::range(' ', '~'), 1 => proptest::char::any().prop_filter("control", |c| !c.is_control())],
        0..=longest,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![Just("/healthz".to_owned()), "/[!-~]{0,30}"]
}

fn command() -> impl Strategy<Value = Vec<String>> {
    vec(text(20), 1..5)
}

// ---- blueprint

fn blueprint() -> impl Strategy<Value = Value> {
    let named = btree_map(component_name(), component().boxed(), 1..6);
    let environment =
        (btree_set("SECRET_[A-Z]{1,10}", 0..4), btree_map("[a-z_][A-Za-z0-9_]{0,20}", (option::of(text(30)), any::<bool>()), 0..6));
    let image = ("[a-z0-9]{1,10}\\.example\\.com(:[0-9]{2,4})?(/[a-z0-9]{1,10}){1,3}", option::of(name()));
    let basis = ((name(), base_domain(), label()), image, named, environment);
    (
        basis,
        option::of(database()),
        option::of(migrate()),
        route(),
        option::of((path(), 100u16..600, 5u32..3600)),
        network(),
        annotations(),
        extras(),
    )
        .prop_map(
            |((identity, image, named, environment), database, migrate, (ingress, gateway), check, network, annotations, extras)| {
                let (name, domain, version) = identity;
                let routed = ingress.is_some() || gateway.is_some();
                let mut components: Vec<_> = named
                    .into_iter()
                    .enumerate()
                    .map(|(index, (name, mut component))| {
                        component["name"] = name.into();
                        let fields = component.as_object_mut().expect("a map");
                        if !routed || fields["port"].is_null() {
                            fields.remove("expose");
                        } else if let Some(expose) = fields.get_mut("expose") {
                            expose["path"] = if index == 0 { "/".into() } else { format!("/part-{index}").into() };
                        }
                        if fields["port"].is_null() {
                            fields.remove("probes");
                            fields.remove("port");
                        }
                        component
                    })
                    .collect();
                let exposed = components.iter().any(|component| component.get("expose").is_some());
                // A route without anything exposed is admitted, and draws nothing.
                let (secrets, settings) = environment;
                let migrate = migrate.filter(|_| database.is_some());
                let settings: Vec<_> = settings
                    .into_iter()
                    .map(|(env, (default, may))| {
                        fields([("env", some(env)), ("default", default.map(Into::into)), ("tenantMaySet", some(may))])
                    })
                    .collect();
                components.reverse();
                object(
                    "Blueprint",
                    name,
                    fields([
                        ("baseDomain", some(domain)),
                        ("version", some(version)),
                        ("image", Some(fields([("repository", some(image.0)), ("pullSecret", image.1.map(Into::into))]))),
                        ("components", some(components)),
                        ("database", database),
                        ("migrate", migrate),
                        ("secrets", Some(secrets.into_iter().map(|env| json!({"env": env})).collect())),
                        ("settings", some(settings)),
                        (
                            "check",
                            check
                                .filter(|_| exposed)
                                .map(|(path, status, every)| json!({"path": path, "status": status, "everySeconds": every})),
                        ),
                        ("ingress", ingress),
                        ("gateway", gateway),
                        ("network", Some(network)),
                        ("serviceAccount", Some(json!({"annotations": annotations}))),
                        ("extras", some(extras)),
                    ]),
                )
            },
        )
}

fn base_domain() -> impl Strategy<Value = String> {
    prop_oneof![4 => "([a-z0-9]{1,8}\\.){0,3}[a-z]{2,8}", 1 => "([a-z0-9]{48}\\.){3}[a-z]{53}"]
}

fn component() -> impl Strategy<Value = Value> {
    let image = prop_oneof![
        Just("redis:7.4".to_owned()),
        "[a-z]{1,8}/[a-z]{1,8}:[A-Za-z0-9_][-A-Za-z0-9_.]{0,20}",
        "[a-z]{3,8}@sha256:[0-9a-f]{64}"
    ];
    (
        (option::of(1u16..), any::<bool>(), option::of(probes()), any::<bool>()),
        (option::of(image), option::of(command()), btree_map("[A-Za-z_][A-Za-z0-9_]{0,20}", text(40), 0..4)),
        (option::of(0u32..300), option::of(1u32..86400)),
    )
        .prop_map(|((port, exposed, probes, singleton), (image, command, env), (drain, termination))| {
            let mut component = fields([
                ("image", image.map(Into::into)),
                ("command", command.map(Into::into)),
                ("env", Some(json!(env))),
                ("expose", exposed.then(|| json!({}))),
                ("probes", probes),
                ("singleton", some(singleton)),
                ("drainSeconds", drain.map(Into::into)),
                ("terminationSeconds", termination.map(Into::into)),
            ]);
            component["port"] = port.map_or(Value::Null, Into::into);
            component
        })
}

fn probes() -> impl Strategy<Value = Value> {
    let probe = || {
        (option::of(path()), 1u32..300).prop_map(|(path, every)| fields([("path", path.map(Into::into)), ("everySeconds", some(every))]))
    };
    let startup =
        (option::of(path()), 1u32..3600).prop_map(|(path, seconds)| fields([("path", path.map(Into::into)), ("seconds", some(seconds))]));
    (option::of(probe()), option::of(probe()), option::of(startup))
        .prop_map(|(readiness, liveness, startup)| fields([("readiness", readiness), ("liveness", liveness), ("startup", startup)]))
}

fn database() -> impl Strategy<Value = Value> {
    let extensions = btree_set(select(vec!["citext", "pg_trgm", "uuid-ossp", "postgis"]), 0..3);
    (select(vec!["Schema", "Database"]), extensions, option::of("DATABASE_[A-Z]{1,10}")).prop_map(|(isolation, extensions, env)| {
        fields([("isolation", some(isolation)), ("extensions", Some(json!(extensions))), ("url", env.map(|env| json!({"env": env})))])
    })
}

fn migrate() -> impl Strategy<Value = Value> {
    (command(), 1u32..86400, 0u32..=10)
        .prop_map(|(command, timeout, retries)| json!({"command": command, "timeoutSeconds": timeout, "retries": retries}))
}

/// An Ingress, a Gateway, or neither.
fn route() -> impl Strategy<Value = (Option<Value>, Option<Value>)> {
    let tls = || option::of(prop_oneof![name().prop_map(|issuer| json!({"clusterIssuer": issuer})), Just(json!({"wildcard": true}))]);
    let ingress =
        (option::of(name()), annotations(), tls(), option::of(1u16..), any::<bool>()).prop_map(|(class, annotations, tls, port, wait)| {
            fields([
                ("className", class.map(Into::into)),
                ("annotations", Some(annotations)),
                ("tls", tls),
                ("port", port.map(Into::into)),
                ("waitForAddress", some(wait)),
            ])
        });
    let gateway = (name(), name(), option::of(name()), tls(), option::of(1u16..)).prop_map(|(name, namespace, section, tls, port)| {
        let own = tls.as_ref().is_some_and(|tls| tls.get("clusterIssuer").is_some());
        let parent = [("name", some(name)), ("namespace", some(namespace)), ("sectionName", section.filter(|_| !own).map(Into::into))];
        fields([("parentRef", Some(fields(parent))), ("tls", tls), ("port", port.map(Into::into))])
    });
    prop_oneof![
        2 => ingress.prop_map(|ingress| (Some(ingress), None)),
        2 => gateway.prop_map(|gateway| (None, Some(gateway))),
        1 => Just((None, None)),
    ]
}

fn peer() -> impl Strategy<Value = Value> {
    let range = select(vec!["0.0.0.0/0", "10.0.0.0/8", "192.0.2.7/32", "::/0", "2001:db8::/32", "fd00::1/128"]);
    let pods = (name(), btree_map(qualified(), label(), 0..3))
        .prop_map(|(namespace, labels)| json!({"namespace": namespace, "podLabels": labels}));
    prop_oneof![range.prop_map(|cidr| json!({"cidr": cidr})), pods]
}

fn network() -> impl Strategy<Value = Value> {
    let egress = (peer(), vec(1u16.., 0..4)).prop_map(|(to, ports)| json!({"to": to, "ports": ports}));
    (vec(peer(), 0..3), vec(egress, 0..4)).prop_map(|(from, to)| json!({"ingressFrom": from, "egressTo": to}))
}

/// Annotations, some with expressions; a text that would be one by chance has its `$` taken.
fn annotations() -> impl Strategy<Value = Value> {
    let value = prop_oneof![3 => text(40).prop_map(|text| text.replace('$', "")), 1 => Just("arn:${tenant.name}:${hosts[0]}".to_owned())];
    btree_map(qualified(), value, 0..4).prop_map(|annotations| json!(annotations))
}

fn extras() -> impl Strategy<Value = Vec<Value>> {
    let config = |index: usize| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("extra-{index}-${{tenant.name}}"), "labels": {"version": "${version}"}, "annotations": {"url": "${url}"}},
            "data": {"hosts": "${hosts.size() > 1 ? 'many' : 'one'}", "namespace": "in ${namespace}", "literal": "$${x}"},
        })
    };
    vec(any::<bool>(), 0..3).prop_map(move |extras| (0..extras.len()).map(config).collect())
}

// ---- plan

const CPU: [&str; 7] = ["0", "1m", "10m", "0.25", "1", "1500m", "2k"];
const BYTES: [&str; 8] = ["0", "1", "1k", "64Mi", "0.5Gi", "1.5Gi", "2G", "1Ti"];

/// Requests and limits, no request beyond its limit.
fn resources() -> impl Strategy<Value = Value> {
    let pair = |amounts: &'static [&'static str]| {
        option::of((any::<Index>(), any::<Index>(), any::<bool>(), any::<bool>())).prop_map(move |chosen| {
            let (a, b, request, limit) = chosen?;
            let (a, b) = (a.index(amounts.len()), b.index(amounts.len()));
            Some((request.then(|| amounts[a.min(b)]), limit.then(|| amounts[a.max(b)])))
        })
    };
    (pair(&CPU), pair(&BYTES), pair(&BYTES)).prop_map(|(cpu, memory, storage)| {
        let mut requests = Map::new();
        let mut limits = Map::new();
        for (name, pair) in [("cpu", cpu), ("memory", memory), ("ephemeral-storage", storage)] {
            let (request, limit) = pair.unwrap_or_default();
            requests.extend(request.map(|amount| (name.to_owned(), amount.into())));
            limits.extend(limit.map(|amount| (name.to_owned(), amount.into())));
        }
        json!({"requests": requests, "limits": limits})
    })
}

fn replicas() -> impl Strategy<Value = (i32, i32)> {
    (1i32..=500, 0i32..=20).prop_map(|(min, more)| (min, (min + more).min(500)))
}

fn plan(blueprint: &Value) -> impl Strategy<Value = Value> + use<> {
    let components: Vec<(String, bool)> = blueprint["spec"]["components"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|component| (component["name"].as_str().expect("a name").to_owned(), component["singleton"] == true))
        .collect();
    let sized: Vec<_> =
        components.iter().map(|_| option::of((option::of(replicas()), option::of(resources()), option::of(1i32..=1000)))).collect();
    let database = (1i32..=1000, 0i32..=86400, 0i32..=86400);
    let quota = (any::<bool>(), btree_set(select(vec!["pods", "services", "count/jobs.batch", "requests.storage"]), 0..3));
    (name(), option::of(resources()), sized, quota, database).prop_map(move |(name, defaults, sized, (bounded, counted), database)| {
        let mut by_name = Map::new();
        for ((name, singleton), sized) in components.iter().zip(sized) {
            let Some((replicas, resources, target)) = sized else { continue };
            let replicas = if *singleton { replicas.map(|_| (1, 1)) } else { replicas };
            by_name.insert(
                name.clone(),
                fields([
                    ("replicas", replicas.map(|(min, max)| json!({"min": min, "max": max}))),
                    ("resources", resources),
                    ("targetCpuPercent", target.map(Into::into)),
                ]),
            );
        }
        let mut quota: Map<String, Value> = counted.into_iter().map(|name| (name.to_owned(), "999999999".into())).collect();
        if bounded {
            // Only of what every container asks for.
            let all = json!({"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}});
            for (kind, amounts) in defaults.as_ref().unwrap_or(&all).as_object().expect("a map") {
                for resource in amounts.as_object().expect("a map").keys() {
                    quota.insert(format!("{kind}.{resource}"), "999999T".into());
                }
            }
        }
        object(
            "Plan",
            name,
            fields([
                ("defaults", defaults.map(|resources| json!({"resources": resources}))),
                ("components", some(by_name)),
                ("quota", some(quota)),
                (
                    "database",
                    Some(json!({
                        "connections": database.0, "statementTimeoutSeconds": database.1, "idleInTransactionTimeoutSeconds": database.2,
                    })),
                ),
            ]),
        )
    })
}

// ---- server and tenant

fn server() -> impl Strategy<Value = Value> {
    let host = prop_oneof![host(), select(vec!["10.0.0.7", "2001:db8::7", "::1"]).prop_map(str::to_owned)];
    let tls = select(vec!["VerifyFull", "Require", "Disable"]);
    (name(), host, 1u16.., "[a-z_][a-z0-9_]{0,62}", option::of(label()), tls, vec(peer(), 0..3)).prop_map(
        |(name, host, port, database, region, tls, peers)| {
            let database =
                if matches!(database.as_str(), "postgres" | "template0" | "template1") { "tenants".to_owned() } else { database };
            object(
                "DatabaseServer",
                name,
                fields([
                    ("host", some(host)),
                    ("port", some(port)),
                    ("database", some(database)),
                    ("region", region.map(Into::into)),
                    ("tls", Some(json!({"mode": tls}))),
                    ("adminSecret", Some(json!({"name": "admin"}))),
                    ("peers", some(peers)),
                ]),
            )
        },
    )
}

fn tenant(blueprint: &Value, plan: &Value, server: &Value) -> impl Strategy<Value = Value> + use<> {
    let names = json!({"blueprint": blueprint["metadata"]["name"], "plan": plan["metadata"]["name"]});
    let region = server["spec"]["region"].clone();
    let may_set: Vec<String> = blueprint["spec"]["settings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|setting| setting["tenantMaySet"] == true)
        .map(|setting| setting["env"].as_str().expect("a name").to_owned())
        .collect();
    let bounds: BTreeMap<String, (i64, i64)> = plan["spec"]["components"]
        .as_object()
        .expect("a map")
        .iter()
        .filter_map(|(name, sized)| Some((name.clone(), (sized["replicas"]["min"].as_i64()?, sized["replicas"]["max"].as_i64()?))))
        .collect();
    let settings: Vec<_> = may_set.iter().map(|_| option::of(text(40))).collect();
    let replicas: Vec<_> = bounds.iter().map(|_| option::of((any::<Index>(), any::<Index>()))).collect();
    let branding = (option::of("#[0-9a-fA-F]{6}"), option::of("https://[a-z]{1,8}\\.com/[a-z0-9./?=&]{0,20}"))
        .prop_map(|(color, logo)| fields([("primaryColor", color.map(Into::into)), ("logoUrl", logo.map(Into::into))]));
    let expiry = option::of(select(vec!["2020-01-01T00:00:00Z", "2999-12-31T23:59:59Z"]));
    (
        (name(), vec(proptest::char::range(' ', '~'), 1..=80)),
        (btree_set(host(), 0..=20), settings, replicas, option::of(branding)),
        (any::<bool>(), any::<bool>(), expiry, option::of(label()), any::<bool>()),
    )
        .prop_map(
            move |((name, display), (domains, settings, replicas, branding), (suspended, regional, expiry, version, protected))| {
                let settings: Map<String, Value> =
                    may_set.iter().cloned().zip(settings).filter_map(|(name, value)| Some((name, value?.into()))).collect();
                let components: Map<String, Value> = bounds
                    .iter()
                    .zip(replicas)
                    .filter_map(|((name, (min, max)), chosen)| {
                        let (a, b) = chosen?;
                        let within = |index: Index| {
                            min + i64::try_from(index.index(usize::try_from(max - min + 1).expect("min <= max"))).expect("few")
                        };
                        let (a, b) = (within(a), within(b));
                        Some((name.clone(), json!({"replicas": {"min": a.min(b), "max": a.max(b)}})))
                    })
                    .collect();
                object(
                    "Tenant",
                    name,
                    fields([
                        ("displayName", some(display.into_iter().collect::<String>())),
                        ("blueprint", Some(names["blueprint"].clone())),
                        ("plan", Some(names["plan"].clone())),
                        ("region", (regional && !region.is_null()).then(|| region.clone())),
                        ("release", version.map(|version| json!({"version": version}))),
                        ("domains", Some(json!(domains))),
                        ("settings", some(settings)),
                        ("branding", branding),
                        ("components", some(components)),
                        ("suspended", some(suspended)),
                        ("expiresAt", expiry.map(Into::into)),
                        ("deletion", Some(json!({"policy": if protected { "Delete" } else { "Retain" }, "protected": protected}))),
                    ]),
                )
            },
        )
}
