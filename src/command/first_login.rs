//! `kubectl tenantry first-login NAME`: a link by which a tenant's first person logs in.

use super::cluster::Cluster;
use super::completion;
use super::get::find;
use super::{Failure, MANAGER, note, print, time};
use futures::TryStreamExt;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tenantry::api::Tenant;
use tenantry::api::tenant::FirstLoginState;
use tenantry::first_login::{answer, ask, link};
use tenantry::follow::changes;

/// Options of `kubectl tenantry first-login`.
#[derive(clap::Args, Debug)]
#[command(after_help = "The link goes to standard output, all else to standard error. One that was made before works no more.

Examples:
  kubectl tenantry first-login acme")]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// How long is waited at most, such as 90s or 10m.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    timeout: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// Asks for it, and prints it once it works.
pub async fn first_login(options: Options) -> Result<(), Failure> {
    let (limit, client) = (time(&options.timeout)?, options.cluster.client().await?);
    let tenant = find(&client, &options.name).await?;
    let request = ask(&client, &tenant, MANAGER).await?;
    note("the product is told of a new link");
    let name = &options.name;
    let answered = tokio::time::timeout(limit, answered(&client, name, &request)).await;
    let tenant = answered.map_err(|_| format!("there is no link after {} s: kubectl tenantry get {name}", limit.as_secs()))??;
    let made = answer(&tenant).ok_or_else(|| format!("another link was asked for meanwhile: kubectl tenantry first-login {name}"))?;
    if let Some(why) = &made.message {
        return Err(format!("there is no link: {why}").into());
    }
    let link = link(&client, &tenant).await?.ok_or("the link is gone already: somebody took it back, or changed its Secret")?;
    if let Some(until) = &made.until {
        note(&format!("it works once, until {}", until.0));
    }
    print(&format!("{link}\n"))
}

/// The tenant once the request was answered, or another was asked for.
async fn answered(client: &Client, name: &str, request: &str) -> Result<Tenant, Failure> {
    let mut changes = std::pin::pin!(changes(Api::<Tenant>::all(client.clone()), name));
    while let Some(event) = changes.try_next().await? {
        let (watcher::Event::Apply(tenant) | watcher::Event::InitApply(tenant)) = event else { continue };
        let is_another = tenant.annotations().get(tenantry::api::labels::FIRST_LOGIN).is_some_and(|asked| asked != request);
        let is_made = answer(&tenant).is_some_and(|answer| answer.state != FirstLoginState::Making);
        if is_another || is_made {
            return Ok(tenant);
        }
    }
    Err("the API server stopped telling of the tenant".into())
}
