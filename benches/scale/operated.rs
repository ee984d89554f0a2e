//! The operator makes the tenants, and is then looked at: memory, rest, edits, new tenants, starts, hand-overs, a release, tenants that always fail.

use crate::fleet::{self, Fleet, limit};
use crate::profile::Profile;
use crate::results::{After, Found, Memory, OperatedRun, Rest};
use crate::support::{Audit, Operator, Request, World, summary};
use crate::{edits, failing, foretold, processes, release, starts};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A cluster with an operator and its tenants.
pub struct Site {
    pub world: World,
    pub fleet: Fleet,
    pub operator: Operator,
    pub names: Vec<String>,
}

/// Makes so many tenants, and looks at what is asked for.
pub async fn run(tenants: usize, after: Option<After>, profiled: bool) -> OperatedRun {
    let world = World::without_operator().await;
    fleet::install_product();
    let operator = world.environment.start_leader().await;
    let fleet = Fleet::watch(world.cluster.client.clone());
    let (audit, names) = (Audit::begin(), fleet::names(tenants));
    let profile = profiled.then(|| Profile::begin(operator.pid, &format!("making-{tenants}")));
    let before = processes::cpu_seconds(&[("operator", operator.pid)]);
    let started = Instant::now();
    tokio::join!(fleet::create(&world, names.clone(), drop), fleet.all_ready(tenants));
    let seconds = started.elapsed().as_secs_f64();
    let cpu = processes::between(&before, &processes::cpu_seconds(&[("operator", operator.pid)]));
    let passes = operator.metric("tenantry_reconciles_total", "").await;
    drop(profile);
    settled(tenants).await;
    let requests = audit.requests();
    let writes = of_each(&names, requests.iter().filter(|request| request.is_write()));
    let reads = of_each(&names, requests.iter().filter(|request| request.is_read()));
    let refused = requests.iter().filter(|request| !request.accepted).count();
    let objects = fleet::objects(&world).await;
    let mut site = Site { world, fleet, operator, names };
    let after = match after {
        Some(after) => Some(look(&mut site, &after, profiled).await),
        None => None,
    };
    OperatedRun { tenants, seconds, objects, cpu, writes, reads, refused, passes, after }
}

/// Waits until the operator has written nothing for longer than it gathers changes of a status.
pub async fn settled(tenants: usize) {
    let (mut audit, mut since) = (Audit::begin(), Instant::now());
    crate::support::wait_until("the operator writes nothing any more", limit(tenants), async || {
        let writes = audit.writes();
        if !writes.is_empty() {
            (audit, since) = (Audit::begin(), Instant::now());
        }
        if since.elapsed() > Duration::from_secs(12) { Ok(()) } else { Err(summary(&writes)) }
    })
    .await;
}

/// How many requests concern each of these tenants.
pub fn of_each<'a>(names: &[String], requests: impl Iterator<Item = &'a Request>) -> Vec<usize> {
    let mut counts: HashMap<&str, usize> = names.iter().map(|name| (name.as_str(), 0)).collect();
    for request in requests {
        if let Some(count) = edits::tenant_of(request).and_then(|name| counts.get_mut(name)) {
            *count += 1;
        }
    }
    counts.into_values().collect()
}

async fn look(site: &mut Site, after: &After, profiled: bool) -> Found {
    let (made, peak_making) = processes::memory(site.operator.pid);
    // First: whoever has just made a thousand tenants isn't idle for a while.
    let rest = rest(site, after.rest_seconds).await;
    let edits = edits::edits(site, after.edits).await;
    let resyncs = starts::resyncs(site, after.resyncs).await;
    let found = starts::starts(site, after.starts, profiled).await;
    let (started, peak_starting) = processes::memory(site.operator.pid);
    let hand_overs = starts::hand_overs(site, after.handed_over, after.killed).await;
    // Later the planner has releases, and what is changed reaches nobody by itself.
    let foretold = foretold::seconds(site).await;
    let release = release::releases(site, after.commands).await;
    let failing = match &after.failing {
        Some(failing) => Some(failing::failing(site, failing, edits.clone()).await),
        None => None,
    };
    let memory = Memory { made, peak_making, started, peak_starting };
    Found { memory, edits, resyncs, starts: found, hand_overs, rest, release, failing, foretold }
}

/// Counts what is asked while nothing changes.
async fn rest(site: &Site, seconds: u64) -> Rest {
    eprintln!("  rest for {seconds} s");
    settled(site.names.len()).await;
    let audit = Audit::begin();
    let used = processes::of(site.operator.pid).unwrap_or_default();
    // Not for something to happen: the time in which nothing may.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = processes::of(site.operator.pid).unwrap_or_default() - used;
    let (writes, reads) = (audit.writes(), audit.reads());
    if !writes.is_empty() {
        eprintln!("  written at rest:\n{}", summary(&writes));
    }
    Rest { seconds, writes: writes.len(), reads: reads.len(), cpu_percent: 100.0 * used / seconds as f64 }
}
