//! What a shell offers after Tab: commands, options, and the names that the cluster has.
//!
//! The shell asks in one of two ways. For `tenantry` itself it was told to by `source <(COMPLETE=bash tenantry)`. For `kubectl tenantry` kubectl runs
//! `kubectl_complete-tenantry`, which is this program by another name, and expects what [cobra](https://github.com/spf13/cobra) answers; see
//! [KEP 2379](https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/2379-kubectl-plugins#shell-completion-support).

use super::cluster::Cluster;
use super::{Command, print};
use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;
use tenantry::api::{Blueprint, Plan, Tenant};

/// Whoever presses Tab doesn't wait longer than this for a cluster.
const PATIENCE: Duration = Duration::from_secs(2);
/// More names than this are no help.
const MOST: u32 = 500;
/// What a file is called by which kubectl asks.
const ASKED_BY_KUBECTL: &str = "kubectl_complete-";
/// Cobra's words for "offer no file names", and for "do as you would".
const NO_FILES: &str = ":4";
const DEFAULT: &str = ":0";

/// Answers a shell that asks, and tells whether one did. Nothing may have been printed before.
pub fn answer() -> bool {
    CompleteEnv::with_factory(Command::command).complete();
    let mut words: Vec<_> = std::env::args_os().collect();
    let name = words.first().map(Path::new).and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    if !name.is_some_and(|name| name.starts_with(ASKED_BY_KUBECTL)) {
        return false;
    }
    // Without a word to complete there is nothing that could be asked for.
    if words.len() == 1 {
        words.push(OsString::new());
    }
    let _ = print(&for_kubectl(words));
    true
}

/// A line for each candidate, and then what the shell shall do besides.
fn for_kubectl(words: Vec<OsString>) -> String {
    let last = words.len().saturating_sub(1);
    let found = complete(&mut Command::command(), words, last, None).unwrap_or_default();
    let line = |candidate: &CompletionCandidate| {
        let help = candidate.get_help().map(|help| format!("\t{}", help.to_string().lines().next().unwrap_or_default()));
        format!("{}{}\n", candidate.get_value().to_string_lossy(), help.unwrap_or_default())
    };
    let shown = found.iter().filter(|candidate| !candidate.is_hide_set());
    let lines: String = shown.map(line).collect();
    let directive = if lines.is_empty() { DEFAULT } else { NO_FILES };
    format!("{lines}{directive}\n")
}

/// Offers the tenants that there are.
pub fn tenants() -> ArgValueCompleter {
    ArgValueCompleter::new(names::<Tenant>)
}

/// Offers the plans that there are.
pub fn plans() -> ArgValueCompleter {
    ArgValueCompleter::new(names::<Plan>)
}

/// Offers the blueprints that there are.
pub fn blueprints() -> ArgValueCompleter {
    ArgValueCompleter::new(names::<Blueprint>)
}

/// The names of a kind that begin so; none where the cluster doesn't say in time.
fn names<K>(begun: &OsStr) -> Vec<CompletionCandidate>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let Some(begun) = begun.to_str() else { return Vec::new() };
    let cluster = Cluster::of_words(std::env::args());
    let ask = async {
        let api: Api<K> = Api::all(cluster.client().await.ok()?);
        let list = api.list_metadata(&ListParams::default().limit(MOST)).await.ok()?;
        Some(list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>())
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
    let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask).await }).ok().flatten().unwrap_or_default();
    found.into_iter().filter(|name| name.starts_with(begun)).map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> String {
        for_kubectl([&["kubectl_complete-tenantry"], words].concat().into_iter().map(OsString::from).collect())
    }

    #[test]
    fn kubectl_is_told_commands_and_options_with_what_they_are_for() {
        assert_eq!(asked(&["susp"]), "suspend\tTake a tenant out of service. Its data stays\n:4\n");
        let options = asked(&["get", "acme", "--wat"]);
        assert!(options.starts_with("--watch\tFollows it until") && options.ends_with("\n:4\n"), "{options}");
        assert_eq!(asked(&["list", "-o", "na"]), "name\tOnly the names\n:4\n");
    }

    #[test]
    fn where_nothing_fits_the_shell_offers_files() {
        assert_eq!(asked(&["crd", "zzz"]), ":0\n");
    }
}
