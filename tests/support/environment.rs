//! The cluster and the Postgres of a test process, made ready once: what an earlier run left is taken away, kinds, rights and policies are
//! installed and in force, the sample product is there.

use super::cluster::Cluster;
use super::database::Postgres;
use super::door::{self, Door};
use super::kinds::OF_AN_INSTANCE;
use super::manifests::{self, manifest};
use super::operator::Operator;
use super::wait::{LIMIT, wait_until};
use super::world::unique;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tokio::sync::OnceCell;

/// The operator's namespace.
pub const NAMESPACE: &str = "tenantry-system";
/// The operator's ServiceAccount.
pub const SERVICE_ACCOUNT: &str = "tenantry-operator";
/// The region of the simulated nodes and of the DatabaseServer that all tests share.
pub const REGION: &str = "local";

/// The Gateway API's definitions.
const GATEWAY_API: &str = "sigs.k8s.io/gateway-api@v1.5.1";

static ENVIRONMENT: OnceCell<Environment> = OnceCell::const_new();

/// What a test process works with.
pub struct Environment {
    /// Postgres.
    pub postgres: Postgres,
    /// Where the operator's checks knock.
    pub door: Door,
    /// The admin's kubeconfig.
    pub kubeconfig: String,
    /// The operator's own kubeconfig.
    pub operator_kubeconfig: PathBuf,
    operator: OnceLock<Operator>,
    leading: OnceCell<()>,
}

impl Environment {
    /// The environment, without an operator.
    pub async fn get() -> &'static Self {
        ENVIRONMENT.get_or_init(Self::make).await
    }

    /// The environment with the one operator that all tests of this process share.
    pub async fn with_operator() -> &'static Self {
        let environment = Self::get().await;
        let operator = environment.operator.get_or_init(|| {
            super::gitops::watch();
            environment.start_operator(&[])
        });
        environment.leading.get_or_init(|| operator.leads()).await;
        environment
    }

    /// The operator that all tests of this process share.
    pub fn operator(&self) -> &Operator {
        self.operator.get().expect("this test began with Environment::with_operator")
    }

    /// What the shared operator said of something.
    pub fn log_of(&self, what: &str) -> String {
        self.operator.get().map_or_else(String::new, |operator| operator.log_of(what, 15))
    }

    /// Starts an operator as its own ServiceAccount.
    pub fn start_operator(&self, arguments: &[&str]) -> Operator {
        let door = self.door.address.to_string();
        let usual = ["--check-address", &door, "--extra-kind", "batch/v1/CronJob", "--extra-kind", "v1/ConfigMap"];
        let all: Vec<_> = usual.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        Operator::start(&self.operator_kubeconfig, &all)
    }

    /// Starts one, and waits until it leads.
    pub async fn start_leader(&self) -> Operator {
        let operator = self.start_operator(&[]);
        operator.leads().await;
        operator
    }

    async fn make() -> Self {
        let (kubeconfig, ingress) = (variable("KUBECONFIG"), variable("TENANTRY_INGRESS"));
        let postgres = Postgres::from_environment();
        let environment = Self {
            postgres,
            door: door::open(ingress),
            kubeconfig,
            operator_kubeconfig: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("operator-{}.kubeconfig", std::process::id())),
            operator: OnceLock::new(),
            leading: OnceCell::new(),
        };
        let client = Client::try_default().await.expect("KUBECONFIG names a cluster that can be reached: run dev/test");
        environment.prepare(&Cluster { client }).await;
        environment
    }

    async fn prepare(&self, cluster: &Cluster) {
        install();
        install_gateway_api();
        empty(cluster).await;
        cluster.apply(&admin_secret(&self.postgres)).await;
        std::fs::write(&self.operator_kubeconfig, self.kubeconfig_of(cluster, NAMESPACE, SERVICE_ACCOUNT).await).expect("a kubeconfig");
        in_force(cluster).await;
        let mut server = self.server_spec();
        server["region"] = REGION.into();
        for object in [
            manifest("DatabaseServer", "main", server),
            manifest("Blueprint", "sample", manifests::blueprint()),
            manifest("Plan", "small", manifests::small()),
            manifest("Plan", "large", manifests::large()),
        ] {
            cluster.create(&object).await;
        }
    }

    /// A kubeconfig that acts as a ServiceAccount, with a token that the API server made for it.
    pub async fn kubeconfig_of(&self, cluster: &Cluster, namespace: &str, name: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
        let request =
            TokenRequest { spec: Some(TokenRequestSpec { expiration_seconds: Some(7200), ..Default::default() }), ..Default::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.expect("a token");
        let token = answer.status.expect("a token").token;
        let mut config = serde_json::to_value(Kubeconfig::read_from(&self.kubeconfig).expect("KUBECONFIG is a file")).expect("JSON");
        let users = config["users"].as_array_mut().expect("users");
        for user in users {
            user["user"] = json!({"token": token});
        }
        config.to_string()
    }

    /// A client that acts as a ServiceAccount.
    pub async fn client_of(&self, cluster: &Cluster, namespace: &str, name: &str) -> Cluster {
        let text = self.kubeconfig_of(cluster, namespace, name).await;
        let config = Kubeconfig::from_yaml(&text).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.expect("a kubeconfig");
        Cluster { client: Client::try_from(config).expect("a client") }
    }
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} isn't set, so there is no cluster and no Postgres to test with: run dev/test"))
}

/// The Secret of the operator's login to the tests' Postgres.
pub fn admin_secret(postgres: &Postgres) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "postgres", "namespace": NAMESPACE},
        "data": {
            "username": BASE64.encode(&postgres.user),
            "password": BASE64.encode(&postgres.password),
            "ca.crt": BASE64.encode(&postgres.authority),
        },
    })
}

/// `kubectl`, of the version that dev/build-tools builds where there is one.
pub fn kubectl(arguments: &[&str]) -> Result<String, String> {
    kubectl_with(Path::new(&variable("KUBECONFIG")), arguments)
}

/// The same for another cluster.
pub fn kubectl_with(kubeconfig: &Path, arguments: &[&str]) -> Result<String, String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(".local/bin/kubectl");
    let program = if built.exists() { built } else { PathBuf::from("kubectl") };
    let output = Command::new(program).args(arguments).env("KUBECONFIG", kubeconfig).output().expect("kubectl starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Kinds, rights and policies, as an admin installs them.
fn install() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = |name: &str| root.join(name).display().to_string();
    let apply = |option: &str, name: &str| {
        kubectl(&["apply", "--server-side", "--force-conflicts", option, &folder(name)]).unwrap_or_else(|error| panic!("{name}: {error}"));
    };
    apply("--filename", "crds");
    kubectl(&["wait", "--for", "condition=Established", "--filename", &folder("crds"), "--timeout", "30s"]).expect("the kinds are served");
    apply("--kustomize", "config/rbac");
    apply("--kustomize", "config/admission");
    apply("--filename", "tests/support/extras.yaml");
}

/// The Gateway API, of which the tests' cluster has the kinds but nobody who serves them. Its definitions are had as a Go module, as all else that
/// a local cluster consists of.
fn install_gateway_api() {
    if kubectl(&["get", "customresourcedefinitions", "listenersets.gateway.networking.k8s.io"]).is_ok() {
        return;
    }
    let file = |kind: &str| format!("config/crd/standard/gateway.networking.k8s.io_{kind}.yaml");
    install_definitions(GATEWAY_API, &[file("httproutes"), file("listenersets")]);
}

/// Installs somebody else's kinds, from files of their Go module.
pub fn install_definitions(module: &str, files: &[String]) {
    let folder = go_module(module);
    let paths: Vec<_> = files.iter().map(|file| format!("{folder}/{file}")).collect();
    let files: Vec<_> = paths.iter().flat_map(|path| ["--filename", path.as_str()]).collect();
    kubectl(&[&["apply", "--server-side"], &files[..]].concat()).unwrap_or_else(|why| panic!("{module} isn't installed: {why}"));
    let served = ["wait", "--for", "condition=Established", "--timeout", "30s"];
    kubectl(&[&served, &files[..]].concat()).unwrap_or_else(|why| panic!("{module} isn't served: {why}"));
}

/// The folder of a Go module, which is fetched where it isn't there yet.
pub fn go_module(module: &str) -> String {
    let output = Command::new("go")
        .args(["mod", "download", "-json", module])
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("GOFLAGS", "-mod=mod")
        .output()
        .expect("go starts");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("go mod download answers in JSON");
    answer["Dir"].as_str().unwrap_or_else(|| panic!("{module} can't be had: {answer}")).to_owned()
}

/// Takes away what an earlier run left, without an operator that could.
async fn empty(cluster: &Cluster) {
    for lease in cluster.list("Lease", Some(NAMESPACE), "").await {
        let _ = cluster.try_delete("Lease", Some(NAMESPACE), lease["metadata"]["name"].as_str().unwrap_or_default()).await;
    }
    for kind in ["Tenant", "Blueprint", "Plan", "DatabaseServer"] {
        for object in cluster.list(kind, None, "").await {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let mut patch = json!({"metadata": {"finalizers": null}});
            if kind == "Tenant" {
                patch["spec"] = json!({"deletion": {"protected": false}});
            }
            let _ = cluster.try_merge(kind, None, name, &patch).await;
            let _ = cluster.try_delete(kind, None, name).await;
        }
    }
    for namespace in cluster.list("Namespace", None, "tenantry.dev/tenant").await {
        let namespace = namespace["metadata"]["name"].as_str().unwrap_or_default();
        let _ = cluster.try_delete("Namespace", None, namespace).await;
        // What a test held that didn't come to its end would be held for ever.
        for kind in OF_AN_INSTANCE {
            for object in cluster.list(kind, Some(namespace), "").await.iter().filter(|object| object["metadata"]["finalizers"].is_array())
            {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let _ = cluster.try_merge(kind, Some(namespace), name, &json!({"metadata": {"finalizers": null}})).await;
            }
        }
    }
    wait_until("what an earlier run left is gone", LIMIT * 2, async || {
        let mut left = cluster.list("Namespace", None, "tenantry.dev/tenant").await;
        left.extend(cluster.list("Tenant", None, "").await);
        if left.is_empty() { Ok(()) } else { Err(format!("{} objects are left", left.len())) }
    })
    .await;
}

/// Waits until the policies are in force as they were just installed: the API server takes a second to learn of them. It learns of all in the
/// order of their writing, so the last one tells, which is only there for this: it refuses one name, another in each run.
async fn in_force(cluster: &Cluster) {
    let run = unique("sentinel");
    let metadata = json!({"name": "tenantry-tests-sentinel"});
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": metadata,
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
            ]},
            "validations": [{"expression": format!("object.metadata.name != '{run}'"), "message": "the sentinel is awake"}],
        },
    });
    // Both name this run, so that neither can be the one of the run before.
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
        "spec": {
            "policyName": "tenantry-tests-sentinel", "validationActions": ["Deny"],
            "matchResources": {"objectSelector": {"matchLabels": {"sentinel": run}}},
        },
    });
    cluster.apply(&policy).await;
    cluster.apply(&binding).await;
    let probe = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": run, "namespace": "default", "labels": {"sentinel": run}},
    });
    wait_until("the policies are in force", LIMIT, async || match cluster.try_create_dry(&probe).await {
        Err(message) if message.contains("the sentinel is awake") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
