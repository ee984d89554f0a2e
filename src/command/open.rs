//! `kubectl tenantry open NAME`: the tenant's page, in a browser where there is one.

use super::cluster::Cluster;
use super::completion;
use super::get::find;
use super::{Failure, note, print};
use std::io::IsTerminal;
use std::process::{Command, Stdio};

/// Programs that open an address, by what they are called on Linux, macOS and Windows' Linux.
const OPENERS: [&str; 3] = ["xdg-open", "open", "wslview"];

/// Options of `kubectl tenantry open`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  kubectl tenantry open acme
  curl $(kubectl tenantry open acme --print)")]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// Only prints the address.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    cluster: Cluster,
}

/// Prints the address, and opens it on a terminal.
pub async fn open(options: Options) -> Result<(), Failure> {
    let tenant = find(&options.cluster.client().await?, &options.name).await?;
    let url = tenant.status.as_ref().and_then(|status| status.url.clone());
    let url = url.ok_or_else(|| format!("{} has no address yet: kubectl tenantry why {}", options.name, options.name))?;
    print(&format!("{url}\n"))?;
    if options.print || !std::io::stdout().is_terminal() {
        return Ok(());
    }
    let opens = |program: &str| Command::new(program).arg(&url).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok();
    if !OPENERS.into_iter().any(opens) {
        note("there is no browser here; open the address yourself");
    }
    Ok(())
}
