//! `tenantry render`: an instance as YAML, offline, in a stable order and without a secret.

use super::{Failure, print};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde::Deserialize;
use std::path::PathBuf;
use tenantry::api::{Blueprint, DatabaseServer, Plan, Tenant};
use tenantry::instance::render::{self, Kind, Serving};
use tenantry::instance::resolve::{Inputs, resolve};
use tenantry::instance::{Settings, placement};

/// Options of `tenantry render`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Files with the Tenant, its Blueprint, its Plan and, where it has a database, a DatabaseServer. May be given several times.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A kind that extras may be of, as GROUP/VERSION/KIND. May be given several times.
    #[arg(long = "extra-kind", value_name = "GROUP/VERSION/KIND")]
    extra_kinds: Vec<Kind>,
}

#[derive(Default)]
struct Manifests {
    tenants: Vec<Tenant>,
    blueprints: Vec<Blueprint>,
    plans: Vec<Plan>,
    servers: Vec<DatabaseServer>,
}

/// Renders every tenant of the files.
pub fn render(options: &Options) -> Result<(), Failure> {
    let mut manifests = Manifests::default();
    for path in &options.files {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        manifests.read(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if manifests.tenants.is_empty() {
        return Err("none of the files holds a Tenant: add one with -f".into());
    }
    let settings = Settings {
        namespace: "tenantry-system".into(),
        service_account: "tenantry-operator".into(),
        extra_kinds: options.extra_kinds.clone(),
    };
    for tenant in &manifests.tenants {
        print(&manifests.instance(tenant, &settings)?)?;
    }
    Ok(())
}

impl Manifests {
    fn read(&mut self, text: &str) -> Result<(), Failure> {
        for document in serde_saphyr::from_multiple::<serde_json::Value>(text)? {
            let kind = document.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
            match kind.as_str() {
                "Tenant" => self.tenants.push(Tenant::deserialize(document)?),
                "Blueprint" => self.blueprints.push(Blueprint::deserialize(document)?),
                "Plan" => self.plans.push(Plan::deserialize(document)?),
                "DatabaseServer" => self.servers.push(DatabaseServer::deserialize(document)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn instance(&self, tenant: &Tenant, settings: &Settings) -> Result<String, Failure> {
        let missing = |kind: &str, name: &str| {
            format!("tenant {} names the {kind} {name}, which is in none of the files: add it with -f", tenant.name_any())
        };
        let blueprint = self
            .blueprints
            .iter()
            .find(|b| b.name_any() == tenant.spec.blueprint)
            .ok_or_else(|| missing("Blueprint", &tenant.spec.blueprint))?;
        let plan = self.plans.iter().find(|p| p.name_any() == tenant.spec.plan).ok_or_else(|| missing("Plan", &tenant.spec.plan))?;
        let server = if blueprint.spec.database.is_some() { Some(self.server(tenant)?) } else { None };
        let instance = resolve(&Inputs {
            tenant,
            blueprint_name: &tenant.spec.blueprint,
            blueprint: &blueprint.spec,
            plan: &plan.spec,
            server,
            settings,
            now: &Time(jiff::Timestamp::now()),
        })?;
        let configuration = render::configuration_digest(&instance, &[]);
        let serving = Serving { version: instance.version.as_str(), configuration: &configuration };
        let mut text = String::new();
        for object in render::render(&instance, settings, Some(&serving)).all() {
            text += &format!("---\n{}", serde_saphyr::to_string(&object.content)?);
        }
        Ok(text)
    }

    fn server(&self, tenant: &Tenant) -> Result<&DatabaseServer, Failure> {
        let names: Vec<_> = self.servers.iter().map(|server| server.name_any()).collect();
        let candidates: Vec<_> = self
            .servers
            .iter()
            .zip(&names)
            .map(|(server, name)| placement::Candidate {
                name,
                region: server.spec.region.as_deref(),
                capacity: server.spec.capacity.tenants,
                tenants: 0,
                reachable: true,
            })
            .collect();
        let chosen = placement::choose(&candidates, tenant.spec.region.as_deref())?;
        self.servers.iter().find(|server| server.name_any() == chosen).ok_or_else(|| "there is no DatabaseServer".into())
    }
}
