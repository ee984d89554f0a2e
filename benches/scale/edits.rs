//! How long it takes from a person's edit until all that follows from it is written.

use crate::operated::Site;
use crate::support::{Audit, Request};
use serde_json::json;
use std::time::Duration;

/// Edits so many tenants, one after another, and tells the seconds that each took.
///
/// The edit is one of a setting, which is the ConfigMap, each Deployment, and the status. The time begins before the edit is sent and ends when
/// the API server has answered the last write to an object, or the first to the status, whichever is later. What is written after that follows from
/// pods that come and go, not from the edit.
pub async fn edits(site: &Site, count: usize) -> Vec<f64> {
    eprintln!("  {count} edits");
    let mut seconds = Vec::new();
    for number in 0..count {
        // Tenants far from each other.
        let name = &site.names[(number * 7) % site.names.len()];
        seconds.push(edit(site, name).await);
    }
    seconds
}

async fn edit(site: &Site, name: &str) -> f64 {
    let audit = Audit::begin();
    let begun = jiff::Timestamp::now();
    let patch = json!({"spec": {"settings": {"TIME_ZONE": format!("Etc/Never-{}", begun.as_microsecond())}}});
    let edited = site.world.merge("Tenant", None, name, &patch).await;
    site.fleet.ready_at(name, edited["metadata"]["generation"].as_i64().expect("a generation")).await;
    // The next edit is to find the cluster idle.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let writes: Vec<_> = audit.writes().into_iter().filter(|request| tenant_of(request) == Some(name)).collect();
    let (status, objects): (Vec<_>, Vec<_>) = writes.iter().partition(|request| request.resource == "tenants/status");
    let last_object = objects.iter().filter(|request| request.resource != "events").map(|request| request.ended).max();
    let first_status = status.iter().map(|request| request.ended).min();
    let last = last_object.max(first_status).unwrap_or_else(|| panic!("nothing was written after an edit of {name}"));
    last.duration_since(begun).as_secs_f64()
}

/// Whose request it is.
pub fn tenant_of(request: &Request) -> Option<&str> {
    if request.resource.starts_with("tenants") || request.resource == "namespaces" {
        return Some(request.name.trim_start_matches("tenant-"));
    }
    if request.resource == "events" { request.name.split('.').next() } else { request.namespace.strip_prefix("tenant-") }
}
