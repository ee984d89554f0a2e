//! The sample product, with whatever a test changes in it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use tenantry::api::{Blueprint, DatabaseServer, Plan, Tenant, schema};
use tenantry::instance::render::{Rendered, Serving, configuration_digest, render};
use tenantry::instance::resolve::{Inputs, ResolveError, resolve};
use tenantry::instance::{Instance, Settings};

/// The manifests of one instance, as JSON, to be changed by a test.
#[derive(Clone)]
pub struct Planner {
    pub tenant: Value,
    pub blueprint: Value,
    pub plan: Value,
    pub server: Value,
}

impl Planner {
    /// One of the sample's three tenants.
    pub fn of(tenant: &str) -> Self {
        let tenant = find("tenants.yaml", tenant);
        let plan = tenant["spec"]["plan"].as_str().expect("a plan").to_owned();
        let server = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "DatabaseServer", "metadata": {"name": "main"},
            "spec": {"host": "10.79.255.1", "adminSecret": {"name": "postgres"}},
        });
        Self { tenant, blueprint: find("blueprint.yaml", "planner"), plan: find("plans.yaml", &plan), server }
    }

    pub fn tenant(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.tenant["spec"]);
        self
    }

    pub fn blueprint(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.blueprint["spec"]);
        self
    }

    pub fn plan(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.plan["spec"]);
        self
    }

    pub fn server(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.server["spec"]);
        self
    }

    /// The instance, if it can be resolved. The manifests have to be admitted.
    pub fn resolve(&self, settings: &Settings) -> Result<Instance, ResolveError> {
        resolve_manifests(&self.tenant, &self.blueprint, &self.plan, &self.server, settings)
    }

    pub fn instance(&self) -> Instance {
        self.resolve(&settings(&[])).expect("an instance")
    }
}

fn find(file: &str, name: &str) -> Value {
    let path = format!("{}/examples/planner/manifests/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the sample");
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    all.into_iter().find(|manifest| manifest["metadata"]["name"] == name).expect("the manifest")
}

pub fn settings(extra_kinds: &[&str]) -> Settings {
    Settings {
        namespace: "tenantry-system".to_owned(),
        service_account: "tenantry-operator".to_owned(),
        extra_kinds: extra_kinds.iter().map(|kind| kind.parse().expect("a kind")).collect(),
    }
}

/// The instance that manifests describe once the schemas admitted them, in the middle of 2026.
pub fn resolve_manifests(
    tenant: &Value,
    blueprint: &Value,
    plan: &Value,
    server: &Value,
    settings: &Settings,
) -> Result<Instance, ResolveError> {
    let mut tenant: Tenant = read(tenant);
    tenant.metadata.uid = Some("6f1f5c0e-6a0e-4c0f-9b58-3d0a8f1f1f11".to_owned());
    let (blueprint, plan, server): (Blueprint, Plan, DatabaseServer) = (read(blueprint), read(plan), read(server));
    resolve(&Inputs {
        tenant: &tenant,
        blueprint_name: &tenant.spec.blueprint,
        blueprint: &blueprint.spec,
        version: tenant.pinned(),
        image: None,
        plan: &plan.spec,
        server: Some(&server),
        settings,
        now: &Time("2026-07-01T00:00:00Z".parse().expect("a time")),
    })
}

fn read<K: serde::de::DeserializeOwned>(manifest: &Value) -> K {
    let admitted = schema::admit(manifest).unwrap_or_else(|problems| panic!("not admitted: {problems:#?}\n{manifest:#}"));
    serde_json::from_value(admitted).unwrap_or_else(|error| panic!("admitted, but not read: {error}\n{manifest:#}"))
}

/// The whole instance at its wanted version.
pub fn draw(instance: &Instance, settings: &Settings) -> Rendered {
    let configuration = configuration_digest(instance, &["secrets"]);
    render(instance, settings, Some(&Serving { version: instance.version.as_str(), configuration: &configuration }))
}
