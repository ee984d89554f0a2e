//! `kubectl tenantry logs` and `exec`: kubectl's own commands, for a component of a tenant.

use super::Failure;
use super::cluster::Cluster;
use super::completion;
use super::get::find;
use kube::Client;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Options of `kubectl tenantry logs`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  kubectl tenantry logs acme
  kubectl tenantry logs acme worker -- --follow --since 10m")]
pub struct Logs {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// The component; all of them, where left out.
    #[arg(value_name = "COMPONENT")]
    component: Option<String>,
    /// What else kubectl logs is told.
    #[arg(last = true, value_name = "OPTIONS")]
    rest: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
}

/// Options of `kubectl tenantry exec`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  kubectl tenantry exec acme web -- python3 manage.py check
  kubectl tenantry exec acme web -it -- sh")]
pub struct Exec {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// The component.
    #[arg(value_name = "COMPONENT")]
    component: String,
    /// Passes standard input on.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Gives the command a terminal.
    #[arg(short = 't', long)]
    tty: bool,
    /// The command.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
}

/// Becomes `kubectl logs`.
pub async fn logs(options: Logs) -> Result<(), Failure> {
    let namespace = namespace_of(&options.cluster.client().await?, &options.name).await?;
    let mut arguments = vec!["logs".to_owned(), format!("--namespace={namespace}")];
    match &options.component {
        Some(component) => arguments.push(format!("deployment/{component}")),
        None => arguments.extend(["--selector=app.kubernetes.io/managed-by=tenantry", "--prefix", "--all-containers"].map(str::to_owned)),
    }
    become_kubectl(&options.cluster, [arguments, options.rest].concat())
}

/// Becomes `kubectl exec`.
pub async fn exec(options: Exec) -> Result<(), Failure> {
    let namespace = namespace_of(&options.cluster.client().await?, &options.name).await?;
    let mut arguments = vec!["exec".to_owned(), format!("--namespace={namespace}")];
    arguments.extend(
        [("--stdin", options.stdin), ("--tty", options.tty)].into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned()),
    );
    arguments.extend([format!("deployment/{}", options.component), "--".to_owned()]);
    become_kubectl(&options.cluster, [arguments, options.command].concat())
}

async fn namespace_of(client: &Client, name: &str) -> Result<String, Failure> {
    let tenant = find(client, name).await?;
    let namespace = tenant.status.and_then(|status| status.namespace);
    Ok(namespace.ok_or_else(|| format!("{name} has no namespace yet: kubectl tenantry why {name}"))?)
}

fn become_kubectl(cluster: &Cluster, arguments: Vec<String>) -> Result<(), Failure> {
    let error = Command::new("kubectl").args(cluster.arguments()).args(arguments).exec();
    Err(format!("kubectl can't be started: {error}; it has to be in PATH").into())
}
