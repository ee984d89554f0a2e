//! A release to all tenants: how long it takes and what it writes, and how soon it stops, goes on and goes back.

use crate::fleet::soon;
use crate::operated::{Site, of_each, settled};
use crate::results::{Commands, ReleaseFound};
use crate::support::{Audit, LIMIT, manifest};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The version that comes after the sample product's.
pub const NEXT: &str = "2026.11.2";
/// And the one after that.
const AFTER_NEXT: &str = "2026.11.3";
/// Nobody has begun for so long: whoever was to begin has.
const CALM: Duration = Duration::from_secs(2);

/// Brings all tenants to the next version in one wave; if asked for, half-way to another one too, to see how soon a person's word counts.
pub async fn releases(site: &Site, with_commands: bool) -> ReleaseFound {
    let count = site.names.len();
    eprintln!("  a release to {count} tenants");
    let (audit, started) = (Audit::begin(), Instant::now());
    create(site, NEXT, json!({"name": "all"})).await;
    site.fleet.all_serve(NEXT, count).await;
    let seconds = started.elapsed().as_secs_f64();
    soon("the release is finished", LIMIT, async || !site.world.get("Release", None, NEXT).await["status"]["finished"].is_null()).await;
    let finished = started.elapsed().as_secs_f64();
    settled(count).await;
    let requests = audit.requests();
    let writes = of_each(&site.names, requests.iter().filter(|request| request.is_write()));
    let reads = of_each(&site.names, requests.iter().filter(|request| request.is_read()));
    eprintln!("  {seconds:.1} s until all serve it, {finished:.1} s until it is finished");
    let commands = if with_commands { Some(commands(site).await) } else { None };
    ReleaseFound { seconds, finished, writes, reads, commands }
}

/// A release is named after its version here.
async fn create(site: &Site, version: &str, wave: Value) {
    site.world.create(&manifest("Release", version, json!({"blueprint": "planner", "version": version, "waves": [wave]}))).await;
}

/// Pauses a release when a tenth of the tenants has begun, lets it go on, and takes it back when three quarters have: the seconds from the answer
/// to each until the last tenant that still began, and until the first that begins again.
async fn commands(site: &Site) -> Commands {
    let (count, fleet) = (site.names.len(), &site.fleet);
    let most = count * 3 / 4;
    create(site, AFTER_NEXT, json!({"name": "all", "concurrency": most})).await;
    let begun =
        |at_least: usize| async move { soon("tenants begin", LIMIT * 4, async || fleet.moves_to(AFTER_NEXT).len() >= at_least).await };
    begun((count / 10).max(1)).await;

    let at = command(site, json!({"paused": true})).await;
    soon("nobody begins any more", LIMIT, async || fleet.moves_to(AFTER_NEXT).iter().all(|moment| moment.elapsed() > CALM)).await;
    let last = fleet.moves_to(AFTER_NEXT).into_iter().max();
    let paused = last.map(|last| last.saturating_duration_since(at).as_secs_f64()).unwrap_or_default();

    let resumed = first(site, json!({"paused": false}), AFTER_NEXT).await;
    begun(most).await;
    let rolled_back = first(site, json!({"rolledBack": true}), NEXT).await;
    fleet.all_serve(NEXT, count).await;
    settled(count).await;
    eprintln!("  paused after {paused:.2} s, resumed after {resumed:.2} s, back after {rolled_back:.2} s");
    Commands { paused, resumed, rolled_back }
}

/// Changes the release, and tells when that was answered.
async fn command(site: &Site, spec: Value) -> Instant {
    site.world.merge("Release", None, AFTER_NEXT, &json!({"spec": spec})).await;
    Instant::now()
}

/// Changes the release, and tells the seconds until the first tenant begins to move to this one.
async fn first(site: &Site, spec: Value, release: &str) -> f64 {
    let before = Instant::now();
    let at = command(site, spec).await;
    let moved = || site.fleet.moves_to(release).into_iter().filter(|moment| *moment >= before).min();
    soon("a tenant moves", LIMIT, async || moved().is_some()).await;
    moved().map(|first| first.saturating_duration_since(at).as_secs_f64()).unwrap_or_default()
}
