//! What one test works with: the cluster as an admin, Postgres, and resources of its own.

use super::cluster::Cluster;
use super::environment::Environment;
use super::manifests::{self, manifest, merge};
use kube::Client;
use serde_json::{Value, json};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{Mutex, MutexGuard};

static MADE: AtomicU32 = AtomicU32::new(0);
static ALONE: Mutex<()> = Mutex::const_new(());

/// A name that no other test has, in this run or an earlier one on the same Postgres.
pub fn unique(name: &str) -> String {
    let (run, number) = (std::process::id() % 46656, MADE.fetch_add(1, Ordering::Relaxed));
    format!("{name}-{run:x}{number:x}")
}

/// The cluster as an admin sees it, and the environment.
#[derive(Clone)]
pub struct World {
    pub cluster: Cluster,
    pub environment: &'static Environment,
}

impl Deref for World {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl World {
    /// With the one operator that all tests of this process share.
    pub async fn new() -> Self {
        Self { cluster: admin().await, environment: Environment::with_operator().await }
    }

    /// Without an operator: the test starts its own.
    pub async fn without_operator() -> Self {
        Self { cluster: admin().await, environment: Environment::get().await }
    }

    /// With the cluster to itself, once the tests before have ended, and without an operator.
    pub async fn alone() -> (MutexGuard<'static, ()>, Self) {
        let guard = ALONE.lock().await;
        (guard, Self::without_operator().await)
    }

    /// A blueprint of the test's own: the sample with changes.
    pub async fn blueprint(&self, changes: Value) -> String {
        self.own("Blueprint", "product", manifests::blueprint(), changes).await
    }

    /// A plan of the test's own: the small one with changes.
    pub async fn plan(&self, changes: Value) -> String {
        self.own("Plan", "plan", manifests::small(), changes).await
    }

    /// A database server of the test's own, in a region of its own, which has its name and a simulated node: the tests' Postgres with changes.
    pub async fn server(&self, changes: Value) -> String {
        let name = unique("server");
        let mut spec = self.environment.server_spec();
        merge(&mut spec, &json!({"region": name}));
        merge(&mut spec, &changes);
        let region = spec["region"].as_str().unwrap_or_default().to_owned();
        self.create(&manifest("DatabaseServer", &name, spec)).await;
        self.create(&node(&name, &region)).await;
        name
    }

    /// A policy of the cluster's, as a platform may have its own, that refuses to do this with Tenants whose names begin so. It is in force in a second;
    /// whoever made it takes it away.
    pub async fn policy(&self, operation: &str, beginning: &str, message: &str) -> String {
        let name = unique("platform");
        let of = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let rule = json!({"apiGroups": ["tenantry.dev"], "apiVersions": ["*"], "operations": [operation], "resources": ["tenants"]});
        let validation = json!({"expression": format!("!request.name.startsWith('{beginning}')"), "message": message});
        let policy = json!({"matchConstraints": {"resourceRules": [rule]}, "validations": [validation]});
        self.create(&of("ValidatingAdmissionPolicy", policy)).await;
        let binding = json!({"policyName": name, "validationActions": ["Deny"]});
        self.create(&of("ValidatingAdmissionPolicyBinding", binding)).await;
        name
    }

    async fn own(&self, kind: &str, name: &str, mut spec: Value, changes: Value) -> String {
        let name = unique(name);
        merge(&mut spec, &changes);
        self.create(&manifest(kind, &name, spec)).await;
        name
    }
}

/// A client belongs to the runtime that made it, and each test has its own.
async fn admin() -> Cluster {
    Environment::get().await;
    Cluster { client: Client::try_default().await.expect("a client") }
}

/// A simulated node in a region, with room for anything.
fn node(name: &str, region: &str) -> Value {
    let room = json!({"cpu": "256", "memory": "1Ti", "pods": "1000", "ephemeral-storage": "1Ti"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/region": region}},
        "status": {"allocatable": room, "capacity": room},
    })
}
