//! `tenantry render`: instances as YAML, offline, in a stable order and without a secret.

use super::{Failure, print};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use tenantry::api::{Blueprint, DatabaseServer, Plan, Tenant, schema};
use tenantry::instance::render::{self, Kind, Serving};
use tenantry::instance::resolve::{Inputs, resolve};
use tenantry::instance::{Settings, placement};

/// Options of `tenantry render`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The manifests are checked as the API server would check them, and given its defaults; a field that it doesn't know is an error. Secrets are made in the cluster only, so none is printed; pods refer to them by name. What only the cluster knows (a tenant's UID where the manifest has none, and digests that contain it) is empty or differs from the running instance's.

Examples:
  tenantry render -f blueprint.yaml -f plans.yaml -f server.yaml -f tenant.yaml
  tenantry render -f manifests/ --tenant acme
  kubectl get tn,bp,plan,dbs -o yaml | tenantry render -f - | kubectl diff -f -"
)]
pub struct Options {
    /// A file, a folder of them, or - for standard input, with Tenants, their Blueprints and Plans and, where these have a database, a
    /// DatabaseServer. Objects of other groups are skipped. May be given several times.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only the tenant of this name. May be given several times.
    #[arg(long = "tenant", value_name = "NAME")]
    tenants: Vec<String>,
    /// A kind that extras may be of, as the operator is started with. May be given several times.
    #[arg(long = "extra-kind", value_name = "GROUP/VERSION/KIND")]
    extra_kinds: Vec<Kind>,
    /// The namespace of the operator.
    #[arg(long, value_name = "NAME", default_value = "tenantry-system")]
    namespace: String,
    /// The ServiceAccount of the operator.
    #[arg(long, value_name = "NAME", default_value = "tenantry-operator")]
    service_account: String,
}

/// Renders every tenant of the files.
pub fn render(options: &Options) -> Result<(), Failure> {
    let mut manifests = Manifests::default();
    for path in &options.files {
        manifests.read(path)?;
    }
    let problems: Vec<_> = manifests.problems.iter().map(|problem| format!("\n  {problem}")).collect();
    if !problems.is_empty() {
        return Err(format!("the manifests can't be rendered:{}", problems.concat()).into());
    }
    let settings = Settings {
        namespace: options.namespace.clone(),
        service_account: options.service_account.clone(),
        extra_kinds: options.extra_kinds.clone(),
    };
    for name in &options.tenants {
        if !manifests.tenants.iter().any(|tenant| tenant.name_any() == *name) {
            return Err(format!("none of the files holds the Tenant {name}: add it with -f").into());
        }
    }
    let mut wanted: Vec<_> =
        manifests.tenants.iter().filter(|t| options.tenants.is_empty() || options.tenants.contains(&t.name_any())).collect();
    if wanted.is_empty() {
        return Err("none of the files holds a Tenant: add one with -f".into());
    }
    wanted.sort_by_key(|tenant| tenant.name_any());
    let texts: Result<Vec<_>, Failure> = wanted.into_iter().map(|tenant| manifests.instance(tenant, &settings)).collect();
    print(&texts?.concat())
}

#[derive(Default)]
struct Manifests {
    tenants: Vec<Tenant>,
    blueprints: Vec<Blueprint>,
    plans: Vec<Plan>,
    servers: Vec<DatabaseServer>,
    /// What is wrong, with file and place.
    problems: Vec<String>,
}

impl Manifests {
    fn read(&mut self, path: &Path) -> Result<(), Failure> {
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|error| at(&error))?;
            let files: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
            let mut files = files.map_err(|error| at(&error))?;
            files.retain(|file| file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known)));
            files.sort();
            return files.iter().try_for_each(|file| self.read(file));
        }
        let mut text = String::new();
        if path == Path::new("-") {
            std::io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input: {error}"))?;
        } else {
            text = std::fs::read_to_string(path).map_err(|error| at(&error))?;
        }
        let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        match serde_saphyr::from_multiple::<Value>(&text) {
            Ok(documents) => documents.into_iter().for_each(|document| self.add(&name, document)),
            Err(error) => self.problems.push(format!("{name}: it is no YAML: {error}")),
        }
        Ok(())
    }

    /// Takes a manifest, or each of a list. What isn't of our group is somebody else's.
    fn add(&mut self, file: &str, document: Value) {
        if document["kind"] == "List" {
            for item in document["items"].as_array().into_iter().flatten() {
                self.add(file, item.clone());
            }
            return;
        }
        if document.is_null() || document["apiVersion"].as_str().is_some_and(|version| !version.starts_with(tenantry::api::GROUP)) {
            return;
        }
        let kind = document["kind"].as_str().unwrap_or("object without a kind").to_owned();
        let name = document["metadata"]["name"].as_str().unwrap_or("without a name").to_owned();
        let admitted = match schema::admit(&document) {
            Ok(admitted) => admitted,
            Err(problems) => {
                self.problems.extend(problems.into_iter().map(|problem| format!("{file}: {kind} {name}: {problem}")));
                return;
            }
        };
        let taken = match kind.as_str() {
            "Tenant" => take(&mut self.tenants, admitted),
            "Blueprint" => take(&mut self.blueprints, admitted),
            "Plan" => take(&mut self.plans, admitted),
            // Which tenants it has come to, only the cluster knows.
            "Release" => Ok(()),
            _ => take(&mut self.servers, admitted),
        };
        if let Err(problem) = taken {
            self.problems.push(format!("{file}: {kind} {name}: {problem}"));
        }
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
            version: tenant.pinned(),
            image: None,
            plan: &plan.spec,
            server,
            settings,
            now: &Time(jiff::Timestamp::now()),
        })
        .map_err(|error| format!("tenant {}: {error}", tenant.name_any()))?;
        let configuration = render::configuration_digest(&instance, &[]);
        let serving = Serving { version: instance.version.as_str(), configuration: &configuration };
        let mut text = String::new();
        for object in render::render(&instance, settings, Some(&serving)).all() {
            text += &format!("---\n{}", serde_saphyr::to_string(&object.content)?);
        }
        Ok(text)
    }

    /// Where the tenant is placed, or would be if it were the first.
    fn server(&self, tenant: &Tenant) -> Result<&DatabaseServer, Failure> {
        let placed = tenant.status.as_ref().and_then(|status| status.database.as_ref()).map(|database| database.server.as_str());
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
        let first = || placement::choose(&candidates, tenant.spec.region.as_deref());
        let chosen = match placed {
            Some(name) => name,
            None => first().map_err(|error| format!("tenant {}: {error} (with -f)", tenant.name_any()))?,
        };
        self.servers.iter().find(|server| server.name_any() == chosen).ok_or_else(|| {
            format!("tenant {} is placed on the DatabaseServer {chosen}, which is in none of the files: add it with -f", tenant.name_any())
                .into()
        })
    }
}

/// Adds the object, unless one of its name is there.
fn take<K: ResourceExt + serde::de::DeserializeOwned>(taken: &mut Vec<K>, manifest: Value) -> Result<(), String> {
    let object: K = serde_json::from_value(manifest).map_err(|error| error.to_string())?;
    if taken.iter().any(|before| before.name_any() == object.name_any()) {
        return Err("it is there twice: leave one out".to_owned());
    }
    taken.push(object);
    Ok(())
}
