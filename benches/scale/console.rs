//! The console over many tenants: how long its server takes for a page, how much a page weighs, and what the console holds, beside a client that lists
//! all tenants once.

use crate::fleet;
use crate::processes;
use crate::results::{Asked, ConsoleRun};
use crate::support::browser::Browser;
use crate::support::console::{Console, token_of};
use crate::support::{LIMIT, World, wait_until};
use futures::StreamExt;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use std::time::Instant;
use tenantry::api::Tenant;

/// How often each page is asked for by a visitor, who may ask only so much.
const TIMES: usize = 50;
/// How many visitors ask for it, one after another.
const VISITORS: usize = 4;
/// Statuses that are written at once.
const AT_ONCE: usize = 16;

/// Makes so many tenants that no operator looks at, and asks for pages.
pub async fn run(tenants: usize) -> ConsoleRun {
    let world = World::without_operator().await;
    fleet::install_product();
    let names = fleet::names(tenants);
    fleet::create(&world, names.clone(), drop).await;
    let api: Api<Tenant> = Api::all(world.cluster.client.clone());
    futures::stream::iter(&names).map(|name| make_ready(&api, name)).buffer_unordered(AT_ONCE).for_each(async |()| ()).await;

    let started = Instant::now();
    let listed = api.list(&ListParams::default()).await.expect("all tenants");
    let list = started.elapsed().as_secs_f64();
    assert_eq!(listed.items.len(), tenants);

    let console = Console::start().await;
    let first_visitor = visitor(&world, &console).await;
    let started = Instant::now();
    let answer = first_visitor.clone().get("/tenants").await;
    let first = started.elapsed().as_secs_f64();
    let files = files(&first_visitor, &answer.text).await;
    let middle = &names[names.len() / 2];
    let mut asked = Vec::new();
    for (what, path) in [
        ("the list", "/tenants".to_owned()),
        ("a search", format!("/tenants?q={middle}")),
        ("its last page, by name backwards", format!("/tenants?sort=-name&page={}", names.len())),
        ("a tenant's page", format!("/tenants/{middle}")),
        ("a letter of a new address", "/onboard/look?customer=Acme&name=acme&plan=business".to_owned()),
        ("the list as CSV", "/tenants.csv".to_owned()),
    ] {
        let (mut seconds, mut bytes) = (Vec::new(), 0);
        for _ in 0..VISITORS {
            let mut browser = visitor(&world, &console).await;
            for _ in 0..TIMES {
                let started = Instant::now();
                let answer = browser.get(&path).await;
                seconds.push(started.elapsed().as_secs_f64());
                assert_eq!(answer.status, 200, "{path}: {}", answer.text);
                bytes = answer.text.len();
            }
        }
        eprintln!("  {what}: at first {:.4} s, then {:.4} s", seconds[0], seconds[1]);
        asked.push(Asked { what: what.to_owned(), is_page: !path.ends_with(".csv"), seconds, bytes });
    }
    let memory = processes::memory(console.pid()).0;
    ConsoleRun { tenants, list, first, asked, files, memory }
}

/// Somebody of sales, whom the API server knows already.
async fn visitor(world: &World, console: &Console) -> Browser {
    let browser = Browser::with_token(console.address, &token_of(world, "tenantry-sales").await);
    wait_until("the visitor is let in", LIMIT, async || {
        let answer = browser.clone().get("/releases").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    browser
}

/// Writes the status of a tenant that is ready, as the operator would.
async fn make_ready(api: &Api<Tenant>, name: &str) {
    let url = format!("http://{name}.planner.localhost");
    let condition = |kind: &str| {
        let time = "2026-11-30T10:00:00Z";
        json!({"type": kind, "status": "True", "reason": kind, "message": "it is so", "observedGeneration": 1, "lastTransitionTime": time})
    };
    let conditions: Vec<_> = ["Ready", "DatabaseReady", "Migrated", "Available", "Routed", "Healthy"].into_iter().map(condition).collect();
    let status = json!({
        "observedGeneration": 1, "url": url, "hosts": [format!("{name}.planner.localhost")], "version": "2026.11.1",
        "namespace": format!("tenant-{name}"), "conditions": conditions,
    });
    let patch = Patch::Merge(json!({"status": status}));
    let written = api.patch_status(name, &PatchParams::default(), &patch).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(written.name_any(), name);
}

/// Bytes of all files that a page takes.
async fn files(browser: &Browser, page: &str) -> usize {
    let mut bytes = 0;
    for address in page.split('"').filter(|part| part.starts_with("/assets/")) {
        bytes += browser.clone().get(address).await.text.len();
    }
    bytes
}
