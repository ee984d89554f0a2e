//! `kubectl tenantry events NAME`: what happened to a tenant and to all that is its own, in the order in which it happened.

use super::cluster::Cluster;
use super::completion;
use super::get::{find, line_of};
use super::terminal::{Style, table};
use super::{Failure, note, print};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use tenantry::events::{events_of, happened};

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn each_event_says_what_it_is_about_and_how_often_it_came() {
        let event = |time: &str, kind: &str, note: &str, series: Value| -> Event {
            let regarding = json!({"kind": kind, "name": "web"});
            let whole = json!({
                "metadata": {"name": "a"}, "type": "Normal", "reason": "Seen", "note": note, "eventTime": time, "regarding": regarding, "series": series,
            });
            serde_json::from_value(whole).unwrap()
        };
        let series = json!({"count": 7, "lastObservedTime": "2026-11-25T09:59:00.000000Z"});
        let all = [
            event("2026-11-25T09:00:00.000000Z", "Pod", "pulled", Value::Null),
            event("2026-11-25T08:00:00.000000Z", "Deployment", "scaled", series),
        ];
        insta::assert_snapshot!(screen(&all, "2026-11-25T10:00:00Z".parse().unwrap(), Style::default()), @r"
        AGE   TYPE     REASON   ABOUT            WHAT
        60m   Normal   Seen     pod/web          pulled
        60s   Normal   Seen     deployment/web   scaled (7×)
        ");
    }
}
