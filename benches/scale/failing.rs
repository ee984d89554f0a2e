//! What tenants that always fail cost, and whether the others notice.

use crate::edits;
use crate::operated::Site;
use crate::results::{Failing, FailingFound};
use crate::support::{Audit, LIMIT, REGION, Tenant, kubectl, manifest, merge, wait_until};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why they fail, each for a reason that trying again may mend: a third of them each.
const REASONS: [&str; 3] = ["pull-secret", "server-down", "refused"];

/// Makes them, waits until the waits between tries have grown, counts what they ask, and edits others meanwhile.
pub async fn failing(site: &Site, plan: &Failing, edits_before: Vec<f64>) -> FailingFound {
    eprintln!("  {} tenants that always fail, for {} s", plan.tenants, plan.after_seconds);
    prepare(site).await;
    for number in 0..plan.tenants {
        let reason = REASONS[number % REASONS.len()];
        let (blueprint, region) = match reason {
            "pull-secret" => ("without-pull-secret", REGION),
            "server-down" => ("planner", "down"),
            _ => ("planner", REGION),
        };
        let changes = json!({"blueprint": blueprint, "plan": crate::fleet::PLAN, "region": region});
        Tenant::named(&format!("{reason}-{number}")).with(changes).create_in(&site.world).await;
    }
    // Not for something to happen: the time in which waits grow.
    tokio::time::sleep(Duration::from_secs(plan.after_seconds)).await;
    let audit = Audit::begin();
    tokio::time::sleep(Duration::from_secs(plan.for_seconds)).await;
    let mut requests: BTreeMap<String, f64> = BTreeMap::new();
    for request in audit.requests().iter().filter(|request| request.verb != "watch") {
        let reason = edits::tenant_of(request).and_then(|name| REASONS.into_iter().find(|reason| name.starts_with(reason)));
        *requests.entry(reason.unwrap_or("other").to_owned()).or_default() += 1.0 / plan.for_seconds as f64;
    }
    let edits_with = edits::edits(site, edits_before.len()).await;
    FailingFound { tenants: plan.tenants, after_seconds: plan.after_seconds, requests, edits_before, edits_with }
}

/// A product whose pull secret is missing, a region whose database server is down, and a policy that refuses a part of some tenants.
async fn prepare(site: &Site) {
    let world = &site.world;
    let mut blueprint = world.get("Blueprint", None, "planner").await["spec"].clone();
    merge(&mut blueprint, &json!({"baseDomain": "other.localhost", "image": {"pullSecret": "missing"}}));
    world.create(&manifest("Blueprint", "without-pull-secret", blueprint)).await;
    let mut server = world.environment.server_spec();
    merge(&mut server, &json!({"region": "down", "port": 1}));
    world.create(&manifest("DatabaseServer", "down", server)).await;
    let policy = format!("{}/benches/scale/refuse.yaml", env!("CARGO_MANIFEST_DIR"));
    kubectl(&["apply", "--server-side", "--filename", &policy]).expect("the policy");
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe", "namespace": "tenant-refused-probe"}});
    wait_until("the policy is in force", LIMIT, async || match world.try_create_dry(&probe).await {
        Err(message) if message.contains("none of these here") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
