//! `tenantry render`: instances as YAML, offline, in a stable order and without a secret.

use super::installation::Started;
use super::manifests::Manifests;
use super::{Failure, print};
use kube::ResourceExt;
use std::path::PathBuf;
use tenantry::api::Tenant;
use tenantry::instance::Settings;
use tenantry::instance::render::{self, Serving};

/// Options of `tenantry render`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The manifests are checked as the API server would check them, and given its defaults; a field that it doesn't know is an error. Secrets are made in the cluster only, so none is printed; pods refer to them by name. What only the cluster knows (a tenant's UID where the manifest has none, and digests that contain it) is empty or differs from the running instance's.

A tenant is rendered as its release has it. A Release from the cluster says itself how far it is, and its blueprint as it stood is in a ControllerRevision, which is read from the files too. A Release without a status, as in Git, is taken to have come to everybody.

Examples:
  tenantry render -f blueprint.yaml -f plans.yaml -f server.yaml -f tenant.yaml
  tenantry render -f manifests/ --tenant acme
  (kubectl get tn,bp,plan,dbs,rel -o yaml; echo ---; kubectl get controllerrevision -n tenantry-system -o yaml) | tenantry render -f - | kubectl diff -f -"
)]
pub struct Options {
    /// A file, a folder of them, or - for standard input, with Tenants, their Blueprints, Plans and Releases and, where these have a
    /// database, a DatabaseServer. Objects of other groups are skipped. May be given several times.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only the tenant of this name. May be given several times.
    #[arg(long = "tenant", value_name = "NAME")]
    tenants: Vec<String>,
    #[command(flatten)]
    started: Started,
}

/// Renders every tenant of the files.
pub fn render(options: &Options) -> Result<(), Failure> {
    let manifests = Manifests::read_all(&options.files)?;
    let settings = options.started.settings();
    for name in &options.tenants {
        manifests.tenant(name)?;
    }
    let mut wanted: Vec<_> =
        manifests.tenants.iter().filter(|t| options.tenants.is_empty() || options.tenants.contains(&t.name_any())).collect();
    if wanted.is_empty() {
        return Err("none of the files holds a Tenant: add one with -f".into());
    }
    wanted.sort_by_key(|tenant| tenant.name_any());
    let texts: Result<Vec<_>, Failure> = wanted.into_iter().map(|tenant| instance(&manifests, tenant, &settings)).collect();
    print(&texts?.concat())
}

/// All objects of a tenant's instance.
fn instance(manifests: &Manifests, tenant: &Tenant, settings: &Settings) -> Result<String, Failure> {
    let instance = manifests.instance(tenant, settings)?;
    let configuration = render::configuration_digest(&instance, &[]);
    let serving = Serving { version: instance.version.as_str(), configuration: &configuration };
    let mut text = String::new();
    for object in render::render(&instance, settings, Some(&serving)).all() {
        text += &format!("---\n{}", serde_saphyr::to_string(&object.content)?);
    }
    Ok(text)
}
