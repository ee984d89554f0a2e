//! `kubectl tenantry delete NAME`: says what would be lost, has the name typed, and deletes, at once or after a time of grace.

use super::change::git_mark;
use super::cluster::Cluster;
use super::completion;
use super::follow::{Waiting, wait};
use super::get::find;
use super::{Failure, MANAGER, USAGE, moment_in, note};
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use tenantry::api::Tenant;
use tenantry::api::tenant::DeletionPolicy;

/// Options of `kubectl tenantry delete`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  kubectl tenantry delete acme
  kubectl tenantry delete acme --in 7d
  kubectl tenantry delete acme --confirm acme --no-wait")]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// Suspends it now, and has the operator delete it after so long, such as 7d. Until then 'kubectl tenantry keep' takes that back.
    #[arg(long = "in", value_name = "TIME")]
    after: Option<String>,
    /// The tenant's name once more, where nobody is asked.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    cluster: Cluster,
}

/// Deletes the tenant that was looked at, and no other of its name.
pub async fn delete(options: Options) -> Result<ExitCode, Failure> {
    let limit = options.waiting.limit()?;
    let client = options.cluster.client().await?;
    let tenant = find(&client, &options.name).await?;
    if tenant.spec.deletion.protected {
        return Err(format!("{} is protected: set spec.deletion.protected to false in its manifest first", options.name).into());
    }
    let at = options.after.as_ref().map(|after| moment_in("--in", after, Timestamp::now())).transpose()?;
    note(&what_is_lost(&tenant, at.as_deref()));
    if !is_confirmed(&options)? {
        note("nothing was deleted");
        return Ok(USAGE.into());
    }
    let api: Api<Tenant> = Api::all(client.clone());
    if let Some(at) = at {
        let patch = json!({"metadata": {"uid": tenant.uid()}, "spec": {"deletion": {"at": at}}});
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&options.name, &parameters, &Patch::Merge(&patch)).await?;
        note(&format!("{} goes out of service now; to take it back before {at}: kubectl tenantry keep {}", options.name, options.name));
        if options.waiting.no_wait {
            return Ok(ExitCode::SUCCESS);
        }
        return wait(&client, &options.name, limit, None).await;
    }
    let preconditions = Preconditions { uid: tenant.uid(), resource_version: None };
    api.delete(&options.name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }).await?;
    if options.waiting.no_wait {
        note(&format!("{} is being deleted; next: kubectl tenantry get {} --watch", options.name, options.name));
        return Ok(ExitCode::SUCCESS);
    }
    wait(&client, &options.name, limit, None).await
}

/// What goes and what stays, now or at a moment.
fn what_is_lost(tenant: &Tenant, at: Option<&str>) -> String {
    let name = tenant.name_any();
    let status = tenant.status.clone().unwrap_or_default();
    let mut text = match at {
        Some(at) => format!("{name} ({}) is about to be suspended, and deleted at {at}:\n", tenant.spec.display_name),
        None => format!("{name} ({}) is about to be deleted:\n", tenant.spec.display_name),
    };
    text += &match &status.url {
        Some(url) => format!("  its address {url} answers no more, and can be taken by others\n"),
        None => "  it has no address yet\n".to_owned(),
    };
    if let Some(namespace) = &status.namespace {
        text += &format!("  namespace {namespace} goes with all that is in it, volumes too\n");
    }
    if let Some(database) = &status.database {
        let place = database
            .schema
            .as_ref()
            .map_or_else(|| format!("database {}", database.name), |schema| format!("schema {schema} of database {}", database.name));
        text += &match tenant.spec.deletion.policy {
            DeletionPolicy::Delete => format!("  ITS DATA IS DROPPED: {place} on {}, as spec.deletion.policy says\n", database.server),
            DeletionPolicy::Retain => format!("  its data stays in {place} on {}, locked, until an admin drops it\n", database.server),
        };
    }
    if let Some(mark) = git_mark(tenant) {
        text += &format!("  it is managed by Git ({mark}), which makes it anew unless it is taken out there first\n");
    }
    text.trim_end().to_owned()
}

fn is_confirmed(options: &Options) -> Result<bool, Failure> {
    if let Some(confirmed) = &options.confirm {
        if *confirmed != options.name {
            return Err(format!("--confirm names {confirmed}, and the tenant is {}", options.name).into());
        }
        return Ok(true);
    }
    let mut input = std::io::stdin().lock();
    if !std::io::stdin().is_terminal() {
        return Err(format!("nobody can be asked here: say it with --confirm {}", options.name).into());
    }
    note(&format!("type {} to delete it:", options.name));
    let mut typed = String::new();
    input.read_line(&mut typed)?;
    Ok(typed.trim() == options.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_becomes_of_the_data_is_said_before_it_is_too_late() {
        let tenant = |policy: &str| -> Tenant {
            let status = json!({"observedGeneration": 1, "url": "https://acme.example.com", "namespace": "tenant-acme", "database":
                {"server": "main", "name": "app", "schema": "tenant_acme", "owner": "tenant_acme"}});
            let spec = json!({"displayName": "Acme Inc.", "blueprint": "b", "plan": "p", "deletion": {"policy": policy}});
            serde_json::from_value(json!({"metadata": {"name": "acme"}, "spec": spec, "status": status})).unwrap()
        };
        insta::assert_snapshot!(what_is_lost(&tenant("Delete"), None), @r"
        acme (Acme Inc.) is about to be deleted:
          its address https://acme.example.com answers no more, and can be taken by others
          namespace tenant-acme goes with all that is in it, volumes too
          ITS DATA IS DROPPED: schema tenant_acme of database app on main, as spec.deletion.policy says
        ");
        let later = what_is_lost(&tenant("Retain"), Some("2026-12-07T10:00:00Z"));
        assert!(later.starts_with("acme (Acme Inc.) is about to be suspended, and deleted at 2026-12-07T10:00:00Z:"), "{later}");
        assert!(later.contains("its data stays in schema tenant_acme of database app on main, locked"));
    }
}
