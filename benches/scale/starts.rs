//! How long tenants wait when the operator is busy with all the others, when it starts, and when another takes over.

use crate::edits;
use crate::fleet::{self, soon};
use crate::operated::{Site, settled};
use crate::profile::Profile;
use crate::results::{HandOver, Starts, median};
use crate::support::{Audit, LIMIT, NAMESPACE, Operator, SERVICE_ACCOUNT, http_get, summary};
use futures::future::try_join_all;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;
use std::time::{Duration, Instant};
use tenantry::api::labels;
use tenantry::instance::render::Kind;

/// Makes a new tenant just when something that all tenants use has changed, so that all are due, and tells the seconds until the first write for
/// the new one. Each time another moment of the resync is chosen.
pub async fn resyncs(site: &mut Site, count: usize) -> Vec<f64> {
    eprintln!("  {count} new tenants during a resync");
    let mut seconds = Vec::new();
    for number in 0..count {
        let name = format!("new{number}");
        let touch = json!({"metadata": {"annotations": {"example.com/touched": jiff::Timestamp::now().to_string()}}});
        let audit = Audit::begin();
        site.world.merge("Blueprint", None, "planner", &touch).await;
        tokio::time::sleep(Duration::from_millis(40 * number as u64)).await;
        seconds.push(first_write(site, &audit, &name).await);
        site.names.push(name);
        site.fleet.all_ready(site.names.len()).await;
        idle(&site.operator).await;
    }
    seconds
}

/// Creates a tenant and tells the seconds until the first write for it was on its way.
async fn first_write(site: &Site, audit: &Audit, name: &str) -> f64 {
    let begun = jiff::Timestamp::now();
    fleet::create(&site.world, vec![name.to_owned()], drop).await;
    site.fleet.ready_at(name, 1).await;
    let first = audit.writes().iter().filter(|request| edits::tenant_of(request) == Some(name)).map(|request| request.began).min();
    first.expect("something was written for a new tenant").duration_since(begun).as_secs_f64()
}

/// Lists everything and starts the operator, in turns. The last operator that was started stays.
pub async fn starts(site: &mut Site, count: usize, profiled: bool) -> Starts {
    eprintln!("  {count} starts");
    // What an earlier change still brings is written before the first one ends.
    settled(site.names.len()).await;
    let mut found = Starts::default();
    for turn in 0..count {
        stop(&site.operator).await;
        let (list, size) = list_everything(site).await;
        found.lists.push(list);
        found.listed = size;
        let audit = Audit::begin();
        let started = Instant::now();
        let operator = site.world.environment.start_operator(&[]);
        let profile = (profiled && turn == 0).then(|| Profile::begin(operator.pid, &format!("starting-{}", site.names.len())));
        soon("the operator serves", LIMIT, async || is(&operator, "leading").await).await;
        found.serving.push(started.elapsed().as_secs_f64());
        looked_at_all(&operator, site.names.len()).await;
        found.looked.push(started.elapsed().as_secs_f64());
        drop(profile);
        settled(site.names.len()).await;
        let writes = audit.writes();
        if !writes.is_empty() {
            eprintln!("  written after a start:\n{}", summary(&writes));
        }
        found.writes += writes.len();
        site.operator = operator;
    }
    eprintln!("  list {:.2?} s, serving {:.2?} s, all looked at {:.2?} s", found.lists, found.serving, median(&found.looked));
    found
}

async fn looked_at_all(operator: &Operator, tenants: usize) {
    soon("every tenant was looked at", LIMIT * 2, async || {
        // Asking for numbers costs the operator something too.
        tokio::time::sleep(Duration::from_millis(50)).await;
        operator.metric("tenantry_reconciles_total", "done").await >= tenants as f64
    })
    .await;
    idle(operator).await;
}

/// Waits until nobody is due.
async fn idle(operator: &Operator) {
    soon("nobody is due", LIMIT * 2, async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        operator.metric("tenantry_queue_depth", "").await == 0.0
    })
    .await;
}

/// Lists each kind that the operator watches, all at once, by the same library and decoded as it does; the seconds that took, and the MiB.
async fn list_everything(site: &Site) -> (f64, f64) {
    let environment = site.world.environment;
    let client = environment.client_of(&site.world.cluster, NAMESPACE, SERVICE_ACCOUNT).await.client;
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let own = [("Tenant", "tenants"), ("Blueprint", "blueprints"), ("Plan", "plans"), ("DatabaseServer", "databaseservers")];
    let own = own.map(|(kind, plural)| {
        let kind = GroupVersionKind::gvk(tenantry::api::GROUP, tenantry::api::VERSION, kind);
        (ApiResource::from_gvk_with_plural(&kind, plural), ListParams::default())
    });
    let watched = Kind::WATCHED;
    let objects = watched.iter().map(|kind| (kind.api_resource(), ListParams::default().labels(&ours)));
    let all: Vec<_> = own.into_iter().chain(objects).collect();
    let list = async |(resource, parameters): &(ApiResource, ListParams)| {
        Api::<DynamicObject>::all_with(client.clone(), resource).list(parameters).await
    };
    let started = Instant::now();
    let lists = try_join_all(all.iter().map(list)).await.expect("everything can be listed");
    let seconds = started.elapsed().as_secs_f64();
    let bytes = |object: &DynamicObject| serde_json::to_string(object).expect("JSON").len();
    let size: usize = lists.iter().flat_map(|list| &list.items).map(bytes).sum();
    (seconds, size as f64 / 1024.0 / 1024.0)
}

/// Lets another operator wait for the lease and ends the first one; the last one stays.
pub async fn hand_overs(site: &mut Site, polite: usize, killed: usize) -> Vec<HandOver> {
    let mut found = Vec::new();
    for signal in std::iter::repeat_n("TERM", polite).chain(std::iter::repeat_n("KILL", killed)) {
        let next = site.world.environment.start_operator(&[]);
        soon("the next operator waits for the lease", LIMIT, async || is(&next, "waiting for the lease").await).await;
        let started = Instant::now();
        site.operator.signal(signal);
        soon("the next operator has the lease", LIMIT, async || !is(&next, "waiting for the lease").await).await;
        let taken = started.elapsed().as_secs_f64();
        soon("the next operator serves", LIMIT, async || is(&next, "leading").await).await;
        let serving = started.elapsed().as_secs_f64();
        eprintln!("  SIG{signal}: lease taken after {taken:.2} s, serving after {serving:.2} s");
        found.push(HandOver { signal: signal.to_owned(), taken, serving });
        site.operator = next;
        looked_at_all(&site.operator, site.names.len()).await;
    }
    found
}

async fn is(operator: &Operator, state: &str) -> bool {
    http_get(operator.address, "localhost", "/readyz").await.is_ok_and(|(_, text)| text == state)
}

/// Ends an operator and waits for that.
pub async fn stop(operator: &Operator) {
    operator.signal("TERM");
    soon("the operator has ended", LIMIT, async || operator.ended().is_some()).await;
}
