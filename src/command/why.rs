//! `kubectl tenantry why NAME`: the one deepest cause of what a tenant is at, in a sentence, with the log that shows it.

use super::cluster::Cluster;
use super::completion;
use super::get::{code_of, find};
use super::terminal::Style;
use super::{Failure, note, print};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, Client};
use std::process::ExitCode;
use tenantry::api::Tenant;
use tenantry::inspect::{Cause, Evidence, State, advice, cause};

/// So many last lines of a log are shown.
const LINES: i64 = 15;

/// Options of `kubectl tenantry why`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit codes: 0 nothing is in the way, 1 something is.

Examples:
  kubectl tenantry why acme")]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// Prints the cause as JSON.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    cluster: Cluster,
}

/// How a cause is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For programs.
    Json,
}

/// Prints the cause.
pub async fn why(options: Options) -> Result<ExitCode, Failure> {
    let client = options.cluster.client().await?;
    let tenant = find(&client, &options.name).await?;
    let (pods, jobs) = look(&client, &tenant).await;
    let found = cause::cause(&tenant, &pods, &jobs);
    let code = code_of(State::of(&tenant));
    if options.output.is_some() {
        print(&format!("{}\n", serde_json::to_string_pretty(&found)?))?;
        return Ok(code);
    }
    let log = match &found.pod {
        Some(evidence) => log_of(&client, &tenant, evidence).await.map_err(|error| note(&format!("its log can't be read: {error}"))).ok(),
        None => None,
    };
    print(&screen(&found, State::of(&tenant), log.as_deref(), Style::of_output()))?;
    if let Some(advice) = advice::about(&found.reason) {
        note(&advice.sentence_for(&options.name));
    }
    Ok(code)
}

/// The cause, and below it the log that shows it.
fn screen(cause: &Cause, at: State, log: Option<&str>, style: Style) -> String {
    let mut text = format!("{}\n", style.state(at, &format!("{}: {}", cause.reason, cause.sentence)));
    if let (Some(evidence), Some(log)) = (&cause.pod, log.map(str::trim_end).filter(|log| !log.is_empty())) {
        text += &format!("\n{}\n", style.dim(&format!("the last lines of pod {}, {}", evidence.pod, evidence.container)));
        text.extend(log.lines().map(|line| format!("  │ {line}\n")));
    }
    text
}

/// The pods and Jobs of a tenant; none where they may not be read.
async fn look(client: &Client, tenant: &Tenant) -> (Vec<Pod>, Vec<Job>) {
    let Some(namespace) = tenant.status.as_ref().and_then(|status| status.namespace.clone()) else { return Default::default() };
    let (pods, jobs): (Api<Pod>, Api<Job>) = (Api::namespaced(client.clone(), &namespace), Api::namespaced(client.clone(), &namespace));
    let parameters = ListParams::default();
    let (pods, jobs) = tokio::join!(pods.list(&parameters), jobs.list(&parameters));
    for error in [pods.as_ref().err(), jobs.as_ref().err()].into_iter().flatten() {
        note(&format!("the cause may lie deeper, but what runs can't be read: {error}"));
    }
    (pods.map(|list| list.items).unwrap_or_default(), jobs.map(|list| list.items).unwrap_or_default())
}

async fn log_of(client: &Client, tenant: &Tenant, evidence: &Evidence) -> Result<String, kube::Error> {
    let namespace = tenant.status.as_ref().and_then(|status| status.namespace.clone()).unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let parameters = LogParams {
        container: Some(evidence.container.clone()),
        previous: evidence.previous,
        tail_lines: Some(LINES),
        ..LogParams::default()
    };
    pods.logs(&evidence.pod, &parameters).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_stands_below_the_cause_that_it_shows() {
        let evidence = Evidence { pod: "migrate-1".to_owned(), container: "migrate".to_owned(), previous: false };
        let cause = Cause { reason: "MigrationFailed".to_owned(), sentence: "the migration to 2 failed".to_owned(), pod: Some(evidence) };
        insta::assert_snapshot!(screen(&cause, State::Stalled, Some("one\ntwo\n"), Style::default()), @r"
        ✗ MigrationFailed: the migration to 2 failed

        the last lines of pod migrate-1, migrate
          │ one
          │ two
        ");
        assert_eq!(screen(&cause, State::Stalled, Some(" \n"), Style::default()).lines().count(), 1, "an empty log shows nothing");
    }
}
