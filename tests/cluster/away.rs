//! What leaves the cluster: a report for whoever is asked for help, and an instance for a notebook. Neither takes a secret along.

use crate::support::program::{code, fed, out, said, tenantry};
use crate::support::{Tenant, World, unique};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::process::Command;

/// Something that no report may hold.
fn canary(number: usize) -> String {
    format!("canary{number:02}x{}", unique("q").replace('-', "Z"))
}

/// What is in a zip, by name.
fn unpacked(path: &str) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).expect("the report is there")).expect("a zip");
    let mut files = BTreeMap::new();
    for number in 0..archive.len() {
        let mut file = archive.by_index(number).expect("a file");
        let name = file.name().expect("a name").into_owned();
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        files.insert(name, text);
    }
    files
}

#[tokio::test]
async fn a_report_tells_all_but_secrets() {
    let world = World::new().await;
    let canaries: Vec<_> = (0..30).map(canary).collect();
    let c = |number: usize| canaries[number].as_str();
    // Of characters that are chosen: what is drawn is of few different ones now and then, and looks like a name.
    let random = format!("{}bD3fH5jK7mN9pR2tV4wX6", c(24));
    // In the product's description: settings, variables, commands.
    let blueprint = world
        .blueprint(json!({
            "components": [{
                "name": "web", "port": 8000, "expose": {"path": "/"}, "env": {"PLAIN": c(0), "API_TOKEN": c(1)},
                "command": ["serve", format!("--admin-password={}", c(2)), "--token", c(3), format!("--broker=redis://user:{}@redis:6379/0", c(4))],
            }],
            "settings": [{"env": "MODE", "default": c(5), "tenantMaySet": true}, {"env": "OTHER", "default": c(6)}],
            "migrate": {"command": ["migrate", format!("postgres://x:{}@y/z", c(7))]},
            "ingress": {"annotations": {"example.com/auth": format!("secret: {}", c(8))}},
        }))
        .await;
    // In the customer's manifest.
    let tenant = Tenant::new("reported")
        .with(json!({"blueprint": blueprint, "settings": {"MODE": c(9)}}))
        .annotated("example.com/notes", &format!("the password is {}", c(10)))
        .annotated("kubectl.kubernetes.io/last-applied-configuration", &format!("{{\"spec\":{{\"settings\":{{\"MODE\":\"{}\"}}}}}}", c(11)))
        .create_in(&world)
        .await;
    tenant.ready().await;
    // In its namespace, by its own people: in Secrets, and what is in them turns up elsewhere, also encoded.
    let namespace = tenant.namespace.as_str();
    let own =
        |kind: &str, api: &str, name: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    let mut secret = own("Secret", "v1", "mine");
    secret["stringData"] = json!({
        "database": c(12), "b": c(13), "c": c(14), "d": c(15), "e": format!("first\n{}\n", c(16)),
        // The log that every simulated pod has.
        "f": simulated_log().trim(),
    });
    world.create(&secret).await;
    let mut settings = own("ConfigMap", "v1", "mine");
    settings["data"] = json!({"plain": c(17), "file": format!("key = {}\n", c(18)), "repeated": c(12)});
    settings["metadata"]["annotations"] = json!({
        "note": c(13), "encoded": BASE64.encode(c(14)), "url": format!("https://example.com/?q={}", c(15)), "line": format!("-- {} --", c(16)),
        "jwt": format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", c(19), c(19)),
        "pem": format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----", c(20)),
        "header": format!("Authorization: Bearer {}", c(21)), "json": format!("{{\"client_secret\": \"{}\"}}", c(22)),
        "issuer": format!("glpat-{}", c(23)), "random": random, "cookie": format!("Set-Cookie: session={}", c(25)),
    });
    world.create(&settings).await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "mine", "namespace": namespace},
        "regarding": {"kind": "ConfigMap", "name": "mine", "namespace": namespace}, "eventTime": "2026-11-30T00:00:00.000000Z",
        "reason": "Seen", "action": "Seen", "type": "Normal", "reportingController": "test", "reportingInstance": "test",
        "note": format!("login failed: passwd={} and {}", c(26), c(12)),
    });
    world.create(&event).await;
    let mut account = own("ServiceAccount", "v1", "mine");
    account["metadata"]["annotations"] = json!({"dsn": format!("SENTRY_DSN=https://{}@sentry.example.com/1", c(27))});
    world.create(&account).await;
    let mut more_settings = own("ConfigMap", "v1", "more");
    more_settings["metadata"]["annotations"] =
        json!({"aws": format!("aws_secret_access_key = {}", c(28)), "basic": format!("basic {}", BASE64.encode(c(29)))});
    world.create(&more_settings).await;

    let path = format!("{}/{}.zip", env!("CARGO_TARGET_TMPDIR"), tenant.name);
    let written = tenantry(&["report", &tenant.name, "--file", &path]).await;
    assert_eq!(code(&written), 0, "{}", said(&written));
    assert_eq!(out(&written).trim(), path);
    let files = unpacked(&path);
    let mut known: Vec<_> = canaries.iter().flat_map(|canary| [canary.clone(), BASE64.encode(canary)]).collect();
    for (name, key) in [("database", "password"), ("database", "uri"), ("generated", "SECRET_KEY")] {
        known.push(tenant.secret(name).await[key].clone());
    }
    known.extend(simulated_log().lines().map(str::to_owned).filter(|line| line.len() > 10));
    for (name, text) in &files {
        let found: Vec<_> = known.iter().filter(|secret| text.contains(secret.as_str())).collect();
        assert!(found.is_empty(), "{name} holds {found:?}:\n{text}");
    }
    // And yet it tells what there is to know.
    for name in [
        "README.txt",
        "screen.txt",
        "why.txt",
        "tenant.yaml",
        "blueprints.yaml",
        "tenant/pods.yaml",
        "tenant/secrets.yaml",
        "tenant/events.yaml",
    ] {
        assert!(files.get(name).is_some_and(|text| !text.is_empty()), "{name} is missing: {:?}", files.keys());
    }
    assert!(files.keys().any(|name| name.starts_with("tenant/logs/web-")), "{:?}", files.keys());
    assert!(
        files["tenant/configmaps.yaml"].contains("repeated:") && files["tenant/secrets.yaml"].contains("password:"),
        "names are no secrets"
    );
    assert!(files["tenant/deployments.yaml"].contains("localhost/sample:1.0") && files["tenant.yaml"].contains(&blueprint));
    let again = tenantry(&["report", &tenant.name, "--file", &path]).await;
    assert!(code(&again) == 1 && said(&again).contains("exists"), "a report isn't written over: {}", said(&again));
    std::fs::remove_file(path).expect("the report is ours");
}

/// What every simulated pod logs.
fn simulated_log() -> String {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/dev/kwok-pod.log")).expect("the log of simulated pods");
    file.lines().filter_map(|line| line.split_once(" F ")).map(|(_, said)| format!("{said}\n")).collect()
}

#[tokio::test]
async fn a_notebook_gets_the_instance_with_secrets_of_its_own() {
    let world = World::new().await;
    let more = json!([
        {"name": "web", "command": ["serve", "--origin=$(TENANT_URL)", "--cash=$5"], "port": 8000, "expose": {"path": "/"}},
        {"name": "api", "command": ["api"], "port": 9000, "expose": {"path": "/api"}},
        {"name": "redis", "image": "redis:7.4", "port": 6379},
    ]);
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "nightly", "image": "busybox"}]}}}}},
    });
    let blueprint = world.blueprint(json!({"components": more, "extras": [cron]})).await;
    let tenant = Tenant::new("noted").with(json!({"blueprint": blueprint, "settings": {"LANGUAGE_CODE": "de"}})).create_in(&world).await;
    tenant.ready().await;
    let composed = tenantry(&["compose", &tenant.name, "--port", "8123"]).await;
    assert_eq!(code(&composed), 0, "{}", said(&composed));
    let url = format!("http://{}.localhost:8123", tenant.name);
    assert!(said(&composed).contains(&url), "{}", said(&composed));
    for key in ["password", "uri"] {
        let value = tenant.secret("database").await[key].clone();
        assert!(!out(&composed).contains(&value), "the tenant's own {key} leaves the cluster");
    }
    // As Docker Compose reads it.
    let checked = fed(Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.local/bin/local-compose")), &out(&composed));
    assert_eq!(code(&checked), 0, "{}\n{}", said(&checked), out(&composed));
    let project: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let services = &project["services"];
    let web = &services["web"];
    assert_eq!(web["entrypoint"], json!(["serve", format!("--origin={url}"), "--cash=$5"]));
    assert_eq!((&web["environment"]["LANGUAGE_CODE"], &web["environment"]["TENANT_URL"]), (&json!("de"), &json!(url)));
    let address = web["environment"]["DATABASE_URL"].as_str().expect("a URL");
    let password = services["database"]["environment"]["POSTGRES_PASSWORD"].as_str().expect("a password");
    assert!(address.contains(&format!(":{password}@database:5432/")), "{address}");
    assert_eq!(web["depends_on"]["migrate"]["condition"], "service_completed_successfully");
    assert_eq!(services["migrate"]["depends_on"]["database"]["condition"], "service_healthy");
    assert_eq!(services["redis"]["image"], "redis:7.4");
    assert!(services["nightly"].is_null(), "what is no Deployment is left out");
    let routes = project["configs"]["routes"]["content"].as_str().expect("paths lead to two components, so there is a proxy");
    assert!(routes.find("path /api /api/*").expect("a route") < routes.find("reverse_proxy web:8000").expect("a route"), "{routes}");
    assert_eq!(services["tenant-proxy"]["ports"][0]["published"], "8123");
    let another = tenantry(&["compose", &tenant.name]).await;
    assert!(!out(&another).contains(password), "each file has secrets of its own");
}
