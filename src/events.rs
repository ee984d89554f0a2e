//! What the cluster remembers of a tenant, as events: for an hour, where nobody has set another time.

use crate::api::Tenant;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

/// The events about a tenant, the latest last.
pub async fn events_of(client: &Client, tenant: &Tenant) -> Result<Vec<Event>, kube::Error> {
    let api: Api<Event> = Api::all(client.clone());
    let about = format!("regarding.uid={}", tenant.uid().unwrap_or_default());
    let mut events = api.list(&ListParams::default().fields(&about)).await?.items;
    events.sort_by_key(happened);
    Ok(events)
}

/// When an event happened last.
pub fn happened(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    series.or(event.event_time.as_ref().map(|time| time.0)).or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}
