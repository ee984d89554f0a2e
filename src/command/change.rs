//! `kubectl tenantry suspend`, `resume`, `keep`, `reconcile`, `retry` and `rotate`: one change of a Tenant each, and what becomes of it.

use super::cluster::Cluster;
use super::completion;
use super::follow::{Waiting, wait};
use super::get::find;
use super::{Failure, MANAGER, note};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::process::ExitCode;
use tenantry::api::{Tenant, labels};

/// By what Argo CD and Flux mark what they apply.
const GIT_MARKS: [&str; 3] = ["argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance", "kustomize.toolkit.fluxcd.io/name"];

/// Options of each of these commands.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    cluster: Cluster,
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Suspend,
    Resume,
    /// Takes back a deletion that is yet to come.
    Keep,
    /// Looks at everything anew, also at what can't be watched.
    Reconcile,
    /// Runs the migration again.
    Retry,
    /// Gives the tenant a new login of its database, with a new password.
    Rotate,
}

impl Change {
    fn patch(self, now: jiff::Timestamp) -> Value {
        let now = now.to_string();
        // The operator answers a request to look anew, and by that whatever comes with it.
        let annotated = |name: &str| json!({"metadata": {"annotations": {(name): now, (labels::RECONCILE): now}}});
        match self {
            Self::Suspend => json!({"spec": {"suspended": true}}),
            Self::Resume => json!({"spec": {"suspended": false}}),
            Self::Keep => json!({"spec": {"deletion": {"at": null}}}),
            Self::Reconcile => annotated(labels::RECONCILE),
            Self::Retry => annotated(labels::RETRY),
            Self::Rotate => annotated(labels::ROTATE),
        }
    }

    /// What has been asked for, in a sentence.
    fn sentence(self, name: &str) -> String {
        match self {
            Self::Suspend => format!("{name} goes out of service: its pods end, its address answers no more, its data stays"),
            Self::Resume => format!("{name} comes back into service"),
            Self::Keep => format!("{name} is no longer to be deleted"),
            Self::Reconcile => format!("everything of {name} is looked at anew"),
            Self::Retry => format!("the migration of {name} is run again"),
            Self::Rotate => format!("{name} gets a new login of its database, and its pods are replaced one by one"),
        }
    }

    /// Whether it changes what Git would set back.
    fn is_of_the_manifest(self) -> bool {
        matches!(self, Self::Suspend | Self::Resume | Self::Keep)
    }
}

/// Changes the Tenant, and follows it.
pub async fn change(change: Change, options: Options) -> Result<ExitCode, Failure> {
    let limit = options.waiting.limit()?;
    let client = options.cluster.client().await?;
    let before = find(&client, &options.name).await?;
    if change.is_of_the_manifest()
        && let Some(mark) = git_mark(&before)
    {
        note(&format!(
            "{} is managed by Git ({mark}): what is changed here is set back by the next sync; change it there too",
            options.name
        ));
    }
    let mut patch = change.patch(jiff::Timestamp::now());
    // What was deleted and made anew meanwhile isn't the one that was meant.
    patch["metadata"]["uid"] = before.uid().into();
    let api: Api<Tenant> = Api::all(client.clone());
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let after = api.patch(&options.name, &parameters, &Patch::Merge(&patch)).await?;
    if after.resource_version() == before.resource_version() {
        note(&format!("{} is so already", options.name));
        return Ok(ExitCode::SUCCESS);
    }
    note(&change.sentence(&options.name));
    if options.waiting.no_wait {
        note(&format!("next: kubectl tenantry get {} --watch", options.name));
        return Ok(ExitCode::SUCCESS);
    }
    let asked = after.annotations().get(labels::RECONCILE).filter(|_| !change.is_of_the_manifest());
    wait(&client, &options.name, limit, asked.map(String::as_str)).await
}

/// Whether Argo CD or Flux keeps this Tenant as Git has it, and by what that is seen.
pub fn git_mark(tenant: &Tenant) -> Option<&'static str> {
    GIT_MARKS.into_iter().find(|mark| tenant.annotations().contains_key(*mark) || tenant.labels().contains_key(*mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_one_field() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        assert_eq!(Change::Suspend.patch(now), json!({"spec": {"suspended": true}}));
        let asked = "1970-01-01T00:00:00Z";
        let annotations = json!({"tenantry.dev/retry": asked, "tenantry.dev/reconcile": asked});
        assert_eq!(Change::Retry.patch(now), json!({"metadata": {"annotations": annotations}}));
    }

    #[test]
    fn what_git_keeps_is_known_by_its_mark() {
        let spec = serde_json::from_value(json!({"displayName": "A", "blueprint": "b", "plan": "p"})).unwrap();
        let mut tenant = Tenant::new("acme", spec);
        assert_eq!(git_mark(&tenant), None);
        tenant.labels_mut().insert("kustomize.toolkit.fluxcd.io/name".to_owned(), "tenants".to_owned());
        assert_eq!(git_mark(&tenant), Some("kustomize.toolkit.fluxcd.io/name"));
    }
}
