//! `kubectl tenantry events NAME`: what happened to a tenant and to all that is its own, in the order in which it happened.

use super::cluster::Cluster;
use super::completion;
use super::get::{events_of, find, happened, line_of};
use super::terminal::{Style, table};
use super::{Failure, note, print};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;

/// Options of `kubectl tenantry events`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  kubectl tenantry events acme
  kubectl tenantry events acme --warnings")]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// Only warnings.
    #[arg(long)]
    warnings: bool,
    #[command(flatten)]
    cluster: Cluster,
}

/// Prints the events.
pub async fn events(options: Options) -> Result<(), Failure> {
    let client = options.cluster.client().await?;
    let tenant = find(&client, &options.name).await?;
    let mut events = events_of(&client, &tenant).await?;
    if let Some(namespace) = tenant.status.as_ref().and_then(|status| status.namespace.as_ref()) {
        let api: Api<Event> = Api::namespaced(client.clone(), namespace);
        match api.list(&ListParams::default()).await {
            Ok(list) => events.extend(list.items),
            Err(error) => note(&format!("what happened in namespace {namespace} can't be read: {error}")),
        }
    }
    events.retain(|event| !options.warnings || event.type_.as_deref() == Some("Warning"));
    events.sort_by_key(happened);
    if events.is_empty() {
        note("nothing is remembered; events are kept for an hour, where nobody has set another time");
        return Ok(());
    }
    print(&screen(&events, Timestamp::now(), Style::of_output()))
}

/// A row for each event, with what it is about.
fn screen(events: &[Event], now: Timestamp, style: Style) -> String {
    let head = ["AGE", "TYPE", "REASON", "ABOUT", "WHAT"].map(|name| style.dim(name)).to_vec();
    let row = |event: &Event| {
        let about = event.regarding.clone().unwrap_or_default();
        let mut row = line_of(event, now);
        row.insert(3, format!("{}/{}", about.kind.unwrap_or_default().to_lowercase(), about.name.unwrap_or_default()));
        row
    };
    table(&std::iter::once(head).chain(events.iter().map(row)).collect::<Vec<_>>())
}
