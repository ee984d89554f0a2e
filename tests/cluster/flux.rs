//! A fleet in Git under Flux's own kustomize-controller: it has nothing to correct and the operator nothing to write however often it looks, and what it
//! prunes goes as protection lets it.
//!
//! The part of Flux's source-controller is played here: an archive on a port of this machine, and the status that names it.

use crate::support::{Audit, LIMIT, REGION, Tenant, World, go_module, kubectl, manifest, manifests, unique, variable, wait_until};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The controller whose definitions are used, as dev/tools/flux has it.
const CONTROLLER: &str = "github.com/fluxcd/kustomize-controller@v1.9.6";

/// How often Flux looks.
const EVERY: Duration = Duration::from_secs(2);
/// For how long nothing may be written, unless `TENANTRY_FLUX_SECONDS` says otherwise.
const STILL: u64 = 20;

/// kustomize-controller, for as long as the test runs.
struct Controller(Child);

impl Controller {
    /// It sees the Kustomizations of one namespace.
    fn start(namespace: &str) -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".local/bin/kustomize-controller");
        let log = std::fs::File::create(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{namespace}.log"))).expect("a log");
        let child = Command::new(program)
            .args(["--watch-all-namespaces=false", "--metrics-addr=0", "--health-addr=0", "--interval-jitter-percentage=0"])
            .env("RUNTIME_NAMESPACE", namespace)
            .env("KUBECONFIG", variable("KUBECONFIG"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("kustomize-controller starts: dev/build-tools makes it");
        Self(child)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What Git holds, as Flux is given it.
struct Repository {
    namespace: String,
    port: u16,
    archive: Arc<Mutex<Vec<u8>>>,
    revision: u32,
}

impl Repository {
    fn open(namespace: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let archive = Arc::new(Mutex::new(Vec::new()));
        let served = archive.clone();
        std::thread::spawn(move || {
            for visitor in listener.incoming().flatten() {
                let mut lines = BufReader::new(&visitor).lines().map_while(Result::ok);
                if lines.by_ref().any(|line| line.is_empty()) {
                    let archive = served.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", archive.len());
                    let _ = (&visitor).write_all(&[head.into_bytes(), archive].concat());
                }
            }
        });
        apply(&json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "fleet", "namespace": namespace},
            "spec": {"interval": "1m", "url": "https://git.example.com/fleet.git"},
        }));
        Self { namespace: namespace.to_owned(), port, archive, revision: 0 }
    }

    /// A commit that leaves these files.
    fn commit(&mut self, files: &BTreeMap<&str, &Value>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, manifest) in files {
            std::fs::write(folder.path().join(name), manifest.to_string()).expect("a file");
        }
        let archive =
            Command::new("tar").args(["--create", "--gzip", "--directory"]).arg(folder.path()).arg(".").output().expect("tar starts");
        let digest: String = Sha256::digest(&archive.stdout).iter().map(|byte| format!("{byte:02x}")).collect();
        self.revision += 1;
        let (revision, now) = (format!("main@sha1:{:040x}", self.revision), jiff::Timestamp::now());
        let artifact = json!({
            "path": format!("{revision}.tar.gz"), "url": format!("http://127.0.0.1:{}/fleet.tar.gz", self.port), "revision": revision,
            "digest": format!("sha256:{digest}"), "lastUpdateTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), "size": archive.stdout.len(),
        });
        *self.archive.lock().unwrap_or_else(PoisonError::into_inner) = archive.stdout;
        let ready = json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({"status": {"observedGeneration": 1, "artifact": artifact, "conditions": [ready]}});
        let path =
            ["patch", "gitrepository", "fleet", "--namespace", &self.namespace, "--subresource", "status", "--type", "merge", "--patch"];
        kubectl(&[&path[..], &[&status.to_string()]].concat()).expect("the status is written");
    }

    /// What Flux says of a commit, once it has come to an end with it.
    async fn synced(&self, name: &str) -> Value {
        let wanted = format!("main@sha1:{:040x}", self.revision);
        let mut found = Value::Null;
        wait_until("Flux has come to an end with the commit", LIMIT, async || {
            found = self.kustomization(name);
            let ready = condition(&found);
            let is_ended = found["status"]["lastAttemptedRevision"] == *wanted && ready["status"] != "Unknown";
            if is_ended { Ok(()) } else { Err(found["status"].to_string()) }
        })
        .await;
        found
    }

    fn kustomization(&self, name: &str) -> Value {
        let text = kubectl(&["get", "kustomization.kustomize.toolkit.fluxcd.io", name, "--namespace", &self.namespace, "--output", "json"]);
        serde_json::from_str(&text.expect("a Kustomization")).expect("JSON")
    }
}

fn condition(kustomization: &Value) -> Value {
    let all = kustomization["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_else(|| json!({"status": "Unknown"}))
}

fn apply(object: &Value) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), object.to_string()).expect("a file");
    kubectl(&["apply", "--server-side", "--filename", &file.path().display().to_string()])
        .unwrap_or_else(|error| panic!("{object}: {error}"));
}

/// Flux's kinds. Of sources only what its kustomize-controller reads counts, so their definitions are none.
fn install() {
    let source = |kind: &str, plural: &str| {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.source.toolkit.fluxcd.io")},
            "spec": {
                "group": "source.toolkit.fluxcd.io", "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": anything},
                }],
            },
        })
    };
    for (kind, plural) in [
        ("GitRepository", "gitrepositories"),
        ("OCIRepository", "ocirepositories"),
        ("Bucket", "buckets"),
        ("ExternalArtifact", "externalartifacts"),
    ] {
        apply(&source(kind, plural));
    }
    let folder = format!("{}/config/crd/bases", go_module(CONTROLLER));
    kubectl(&["apply", "--server-side", "--filename", &folder]).expect("the definition of Kustomizations");
    for name in ["gitrepositories.source.toolkit.fluxcd.io", "kustomizations.kustomize.toolkit.fluxcd.io"] {
        kubectl(&["wait", "--for", "condition=Established", "--timeout", "30s", "customresourcedefinition", name]).expect("it is served");
    }
}

/// Everything of these tenants, and the versions that it has.
async fn versions(world: &World, tenants: &[&Tenant]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut take = |kind: &str, object: &Value| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        all.insert(format!("{kind} {}/{}", text("namespace"), text("name")), text("resourceVersion"));
    };
    for tenant in tenants {
        take("Tenant", &tenant.get().await);
        take("Plan", &world.get("Plan", None, tenant.get().await["spec"]["plan"].as_str().expect("a plan")).await);
        for kind in ["Deployment", "Service", "ConfigMap", "Secret", "NetworkPolicy", "Ingress", "ResourceQuota", "RoleBinding"] {
            for object in tenant.objects(kind).await {
                take(kind, &object);
            }
        }
    }
    all
}

#[tokio::test]
async fn flux_has_nothing_to_correct_and_prunes_whom_protection_lets_go() {
    let world = World::new().await;
    install();
    let namespace = unique("flux");
    kubectl(&["create", "namespace", &namespace]).expect("a namespace");
    let (plan, gone, kept) = (unique("plan"), unique("gone"), unique("kept"));
    let tenant = |name: &str, deletion: Value| {
        let spec = json!({"displayName": name, "blueprint": "sample", "plan": plan, "region": REGION, "deletion": deletion});
        manifest("Tenant", name, spec)
    };
    let (plan_file, gone_file) = (manifest("Plan", &plan, manifests::small()), tenant(&gone, json!({"policy": "Delete"})));
    let kept_file = tenant(&kept, json!({"policy": "Delete", "protected": true}));
    let mut repository = Repository::open(&namespace);
    repository.commit(&BTreeMap::from([("plan.yaml", &plan_file), ("gone.yaml", &gone_file), ("kept.yaml", &kept_file)]));
    let checks =
        std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("integrations/flux/health-checks.yaml")).expect("checks");
    let checks: Value = serde_saphyr::from_str(&checks).expect("YAML");
    apply(&json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "fleet", "namespace": namespace},
        "spec": {
            "interval": format!("{}s", EVERY.as_secs()), "retryInterval": "2s", "timeout": "60s", "path": "./", "prune": true, "wait": true,
            "sourceRef": {"kind": "GitRepository", "name": "fleet"}, "healthCheckExprs": checks,
        },
    }));
    let _controller = Controller::start(&namespace);

    let synced = repository.synced("fleet").await;
    assert_eq!(condition(&synced)["status"], "True", "{synced}");
    let (gone, kept) = (Tenant::of(&world, &gone_file), Tenant::of(&world, &kept_file));
    for tenant in [&gone, &kept] {
        let healthy = crate::support::condition(&tenant.get().await, "Healthy").expect("a check");
        assert_eq!(healthy.status, "True", "Flux waits until the page answers");
    }

    // However often it looks, nothing is written.
    let before = versions(&world, &[&gone, &kept]).await;
    let (audit, looks) = (Audit::begin(), looks(&repository));
    let seconds = std::env::var("TENANTRY_FLUX_SECONDS").map_or(STILL, |text| text.parse().expect("TENANTRY_FLUX_SECONDS is a number"));
    let wanted = looks + seconds / EVERY.as_secs();
    wait_until("Flux has looked often enough", LIMIT + Duration::from_secs(2 * seconds), async || {
        let so_far = self::looks(&repository);
        if so_far >= wanted { Ok(()) } else { Err(format!("{so_far} of {wanted} looks")) }
    })
    .await;
    assert_eq!(versions(&world, &[&gone, &kept]).await, before, "something was written, though nothing had changed");
    let writes: Vec<_> =
        audit.writes().into_iter().filter(|request| request.namespace == gone.namespace || request.name == gone.name).collect();
    assert!(writes.is_empty(), "{writes:?}");

    // Both files are taken away. The API server refuses to let go of who is protected, and Flux says so.
    repository.commit(&BTreeMap::from([("plan.yaml", &plan_file)]));
    gone.gone().await;
    wait_until("Flux says whom it can't delete", LIMIT, async || {
        let ready = condition(&repository.kustomization("fleet"));
        let told = ready["message"].as_str().is_some_and(|message| message.contains(&kept.name) && message.contains("protected"));
        if ready["status"] == "False" && told { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
    assert!(kept.get().await["metadata"]["deletionTimestamp"].is_null());

    // Let go first, it can be taken away.
    let let_go = tenant(&kept.name, json!({"policy": "Delete", "protected": false}));
    repository.commit(&BTreeMap::from([("plan.yaml", &plan_file), ("kept.yaml", &let_go)]));
    let synced = repository.synced("fleet").await;
    assert_eq!(condition(&synced)["status"], "True", "{synced}");
    repository.commit(&BTreeMap::from([("plan.yaml", &plan_file)]));
    kept.gone().await;
}

/// How often Flux has gone through all, by what it notes of it.
fn looks(repository: &Repository) -> u64 {
    let history = repository.kustomization("fleet")["status"]["history"].clone();
    history.as_array().into_iter().flatten().filter_map(|entry| entry["totalReconciliations"].as_u64()).sum()
}
