//! `kubectl tenantry diff`: what the operator would do, objects and SQL, before anything is applied.

mod told;

use super::apply::{self, Applied};
use super::cluster::Cluster;
use super::completion;
use super::installation::Started;
use super::manifests::Manifests;
use super::terminal::Style;
use super::{Failure, complain, note, print};
use kube::{Client, ResourceExt};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use tenantry::api::Tenant;
use tenantry::api::tenant::TenantStatus;
use tenantry::controller::dry_run::{DryRun, Foreseen};
use tenantry::database;
use told::Told;

/// Exit code: something would be done.
const DIFFERS: u8 = 1;
/// Exit code: that can't be told.
const FAILED: u8 = 2;

/// Options of `kubectl tenantry diff`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The operator's own pass is made over the cluster as it would be, each write as a dry run, each migration as if it came to a good end, and the database is
looked at without changing it. So you need the rights to read and write what the operator does, and its login to the database server has to be of use from
here: else leave the database out. Values of Secrets are never shown, nor what the server keeps of a password.

With -f, the tenants are those of the files, and all that use a Blueprint, Plan, DatabaseServer or Release that would be another. A new Release is taken to
have come to everybody. Without, it tells what the operator would do now: as a rule nothing.

Exit codes: 0 nothing would be done, 1 something would, 2 that can't be told, or the operator would stop before the end.

Examples:
  kubectl tenantry diff -f tenants/acme.yaml
  kubectl tenantry diff -f blueprint.yaml --tenant acme -o json
  kubectl tenantry diff --tenant acme      whether the operator has anything to do"
)]
pub struct Options {
    /// A file, a folder of them, or - for standard input, with Tenants, Blueprints, Plans, DatabaseServers or Releases. May be given several times.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only this tenant. May be given several times.
    #[arg(long = "tenant", value_name = "NAME", required_unless_present = "files", add = completion::tenants())]
    tenants: Vec<String>,
    /// Takes the database to be as it should be, as where it can't be reached from here.
    #[arg(long)]
    skip_database: bool,
    /// All that would be written, as it is and as it would be.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    started: Started,
    #[command(flatten)]
    cluster: Cluster,
}

/// How else it is told.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// A JSON object.
    Json,
}

/// Tells what would be done.
pub async fn diff(options: Options) -> ExitCode {
    match foresee(&options).await {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

async fn foresee(options: &Options) -> Result<ExitCode, Failure> {
    let client = options.cluster.client().await?;
    let files = Manifests::read_all(&options.files)?;
    let mut fleet = Manifests::of_fleet(&client, &options.started.installation.namespace).await?;
    let applied = apply::foresee(&client, &mut fleet, &files.documents).await?;
    let tenants = affected(&fleet, &applied, &options.tenants)?;
    let all = foresee_each(client, options, fleet, &tenants).await?;
    let told = Told { applied: &applied, tenants: &all };
    match options.output {
        Some(Format::Json) => print(&format!("{}\n", serde_json::to_string_pretty(&told.json())?))?,
        None => print(&told.text(Style::of_output()))?,
    }
    note(&told.sentence(options));
    Ok(ExitCode::from(if told.stops() { FAILED } else { u8::from(told.differs()) * DIFFERS }))
}

async fn foresee_each(client: Client, options: &Options, fleet: Manifests, tenants: &[String]) -> Result<Vec<(String, Foreseen)>, Failure> {
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    let settings = options.started.settings();
    let database = if options.skip_database { database::DryRun::that_trusts() } else { database::DryRun::that_asks() };
    let run = DryRun::new(client, settings, fleet.into_own_objects(), tenants, database).await?;
    let mut all = Vec::new();
    for tenant in tenants {
        all.push((tenant.clone(), run.of(tenant).await));
    }
    Ok(all)
}

/// The tenants that a change concerns, or of those the ones that are asked for.
fn affected(fleet: &Manifests, applied: &[Applied], asked: &[String]) -> Result<Vec<String>, Failure> {
    for name in asked {
        if !fleet.tenants.iter().any(|tenant| tenant.name_any() == *name) {
            return Err(format!("there is no tenant {name}, in the cluster or in a file").into());
        }
    }
    let uses = |tenant: &Tenant, changed: &Applied| match changed.kind.as_str() {
        "Tenant" => changed.name == tenant.name_any(),
        _ if !changed.changes_what_is_asked() => false,
        "Plan" => changed.name == tenant.spec.plan,
        "Blueprint" => changed.name == tenant.spec.blueprint,
        "Release" => changed.after["spec"]["blueprint"] == *tenant.spec.blueprint,
        _ => tenant.status.as_ref().and_then(TenantStatus::server) == Some(changed.name.as_str()),
    };
    let is_meant = |tenant: &&Tenant| {
        let is_asked = asked.is_empty() || asked.contains(&tenant.name_any());
        let is_concerned = applied.is_empty() || applied.iter().any(|changed| uses(tenant, changed));
        is_asked && is_concerned && tenant.metadata.deletion_timestamp.is_none()
    };
    let names: BTreeSet<_> = fleet.tenants.iter().filter(is_meant).map(ResourceExt::name_any).collect();
    Ok(names.into_iter().collect())
}
