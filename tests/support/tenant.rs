//! A tenant of a test: made in one line, changed by patches, and asked for its conditions, objects and data.

use super::database::{Postgres, psql};
use super::environment::REGION;
use super::manifests::{manifest, merge};
use super::wait::{LIMIT, wait_until};
use super::world::{World, unique};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A tenant to be.
pub struct TenantToBe {
    manifest: Value,
}

/// A tenant.
#[derive(Clone)]
pub struct Tenant {
    pub world: World,
    pub name: String,
    pub namespace: String,
}

impl Tenant {
    /// A tenant of the sample product with a name of its own that begins with this one.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(name: &str) -> TenantToBe {
        Self::named(&unique(name))
    }

    /// A tenant of the sample product with this very name.
    pub fn named(name: &str) -> TenantToBe {
        let spec = json!({"displayName": format!("Customer {name}"), "blueprint": "sample", "plan": "small", "region": REGION});
        TenantToBe { manifest: manifest("Tenant", name, spec) }
    }
}

impl TenantToBe {
    /// With changes to its spec.
    pub fn with(mut self, changes: Value) -> Self {
        merge(&mut self.manifest["spec"], &changes);
        self
    }

    /// With an annotation.
    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.manifest["metadata"]["annotations"][name] = value.into();
        self
    }

    /// The manifest.
    pub fn manifest(self) -> Value {
        self.manifest
    }

    /// Creates it under the operator that all tests of this process share.
    pub async fn create(self) -> Tenant {
        self.create_in(&World::new().await).await
    }

    /// Creates it.
    pub async fn create_in(self, world: &World) -> Tenant {
        world.create(&self.manifest).await;
        Tenant::of(world, &self.manifest)
    }

    /// Creates it and waits until it is ready.
    pub async fn ready(self) -> Tenant {
        let tenant = self.create().await;
        tenant.ready().await;
        tenant
    }
}

impl Tenant {
    /// The one of this manifest.
    pub fn of(world: &World, manifest: &Value) -> Self {
        let name = manifest["metadata"]["name"].as_str().expect("a name").to_owned();
        Self { world: world.clone(), namespace: format!("tenant-{name}"), name }
    }

    /// The Tenant as it is.
    pub async fn get(&self) -> Value {
        self.world.get("Tenant", None, &self.name).await
    }

    /// Its UID.
    pub async fn uid(&self) -> String {
        self.get().await["metadata"]["uid"].as_str().expect("a UID").to_owned()
    }

    /// Changes its spec.
    pub async fn change(&self, spec: Value) -> &Self {
        self.world.merge("Tenant", None, &self.name, &json!({"spec": spec})).await;
        self
    }

    /// Sets an annotation.
    pub async fn annotate(&self, name: &str, value: &str) -> &Self {
        self.world.merge("Tenant", None, &self.name, &json!({"metadata": {"annotations": {name: value}}})).await;
        self
    }

    /// Asks for its deletion.
    pub async fn delete(&self) -> &Self {
        self.world.delete("Tenant", None, &self.name).await;
        self
    }

    /// Waits until it is gone.
    pub async fn gone(&self) {
        wait_until(&format!("Tenant {} is gone", self.name), LIMIT, async || match self.world.find("Tenant", None, &self.name).await {
            None => Ok(()),
            Some(tenant) => Err(self.describe(&tenant)),
        })
        .await;
    }

    /// Waits until the status speaks of the manifest as it is, and the look finds what it is after.
    pub async fn until<T>(&self, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        wait_until(&format!("Tenant {}: {what}", self.name), LIMIT, async || {
            let Some(tenant) = self.world.find("Tenant", None, &self.name).await else { return Err("it is gone".to_owned()) };
            let observed = tenant["status"]["observedGeneration"] == tenant["metadata"]["generation"];
            let found = if observed { look(&tenant) } else { None };
            found.ok_or_else(|| self.describe(&tenant))
        })
        .await
    }

    /// Waits until all that was asked for is so.
    pub async fn ready(&self) -> Condition {
        self.condition("Ready", "True").await
    }

    /// Waits for a condition of this status.
    pub async fn condition(&self, kind: &str, status: &str) -> Condition {
        self.until(&format!("{kind} is {status}"), |tenant| condition(tenant, kind).filter(|found| found.status == status)).await
    }

    /// Waits for a condition of this status and reason.
    pub async fn reason(&self, kind: &str, status: &str, reason: &str) -> Condition {
        let is = |found: &Condition| found.status == status && found.reason == reason;
        self.until(&format!("{kind} is {status}, because {reason}"), |tenant| condition(tenant, kind).filter(is)).await
    }

    /// Waits until it is stalled for this reason, and gives the sentence that says so.
    pub async fn stalled(&self, reason: &str) -> String {
        self.reason("Stalled", "True", reason).await;
        let ready = self.reason("Ready", "False", reason).await;
        ready.message
    }

    /// One of its objects, if it is there.
    pub async fn find(&self, kind: &str, name: &str) -> Option<Value> {
        self.world.find(kind, Some(&self.namespace), name).await
    }

    /// One of its objects.
    pub async fn object(&self, kind: &str, name: &str) -> Value {
        self.world.get(kind, Some(&self.namespace), name).await
    }

    /// All of its objects of a kind.
    pub async fn objects(&self, kind: &str) -> Vec<Value> {
        self.world.list(kind, Some(&self.namespace), "").await
    }

    /// The names of all its objects of a kind, in order.
    pub async fn names(&self, kind: &str) -> Vec<String> {
        let mut names: Vec<_> =
            self.objects(kind).await.iter().filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        names
    }

    /// Waits until one of its objects is as the look wants it.
    pub async fn object_until<T>(&self, kind: &str, name: &str, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        wait_until(&format!("{kind} {name} of Tenant {}: {what}", self.name), LIMIT, async || match self.find(kind, name).await {
            Some(object) => look(&object).ok_or_else(|| object.to_string()),
            None => Err("it isn't there".to_owned()),
        })
        .await
    }

    /// Waits until one of its objects isn't there, or is being deleted.
    pub async fn object_gone(&self, kind: &str, name: &str) {
        wait_until(&format!("{kind} {name} of Tenant {} is gone", self.name), LIMIT, async || match self.find(kind, name).await {
            Some(object) if object["metadata"]["deletionTimestamp"].is_null() => Err(object.to_string()),
            _ => Ok(()),
        })
        .await;
    }

    /// The values of one of its Secrets.
    pub async fn secret(&self, name: &str) -> BTreeMap<String, String> {
        let secret = self.object("Secret", name).await;
        let data = secret["data"].as_object().expect("data");
        let text = |value: &Value| String::from_utf8(BASE64.decode(value.as_str().unwrap()).unwrap()).unwrap();
        data.iter().map(|(key, value)| (key.clone(), text(value))).collect()
    }

    /// The URL of its database, as it works outside of a pod.
    pub async fn database_url(&self) -> String {
        self.world.environment.postgres.reachable(&self.secret("database").await["uri"])
    }

    /// Runs SQL with its real login.
    pub async fn sql(&self, sql: &str) -> Result<String, String> {
        self.sql_on(&self.world.environment.postgres, sql).await
    }

    /// The same where its data is on another Postgres than the tests' own.
    pub async fn sql_on(&self, postgres: &Postgres, sql: &str) -> Result<String, String> {
        psql(&postgres.reachable(&self.secret("database").await["uri"]), sql).await
    }

    /// The role that owns its data.
    pub fn owner(&self) -> String {
        format!("tenant_{}", self.name.replace('-', "_"))
    }

    /// The tenant and what the operator says of it, for a person who looks for a cause.
    fn describe(&self, tenant: &Value) -> String {
        let conditions = tenant["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let lines: Vec<_> = conditions
            .iter()
            .map(|c| format!("  {} {} {}: {}", c["type"], c["status"], c["reason"], c["message"].as_str().unwrap_or_default()))
            .collect();
        let log = self.world.environment.log_of(&self.name);
        let (observed, generation) = (&tenant["status"]["observedGeneration"], &tenant["metadata"]["generation"]);
        format!("generation {generation}, observed {observed}\n{}\nthe operator's log:\n{log}", lines.join("\n"))
    }
}

/// A condition of an object.
pub fn condition(object: &Value, kind: &str) -> Option<Condition> {
    let all = object["status"]["conditions"].as_array()?;
    all.iter().find(|condition| condition["type"] == kind).and_then(|condition| serde_json::from_value(condition.clone()).ok())
}
