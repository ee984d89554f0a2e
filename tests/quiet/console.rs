//! A page of the console that is open while the operator dies.

use crate::support::chromium::{known, open};
use crate::support::console::Console;
use crate::support::{Tenant, World};
use serde_json::json;

#[tokio::test]
async fn an_open_page_goes_on_after_the_operator_was_killed_in_the_middle() {
    let (_alone, world) = World::alone().await;
    let first = world.environment.start_leader().await;
    let console = Console::start().await;
    let blueprint = world.blueprint(json!({"version": "1.0-never-ready"})).await;
    let tenant = Tenant::new("followed").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.reason("Ready", "False", "Deploying").await;
    let token = known(&world, &console, "tenantry-sales").await;
    let page = open(&console, "progress", json!({"token": token, "name": tenant.name})).await;
    first.signal("KILL");
    world.merge("Blueprint", None, &blueprint, &json!({"spec": {"version": "1.1"}})).await;
    let _second = world.environment.start_leader().await;
    tenant.ready().await;
    page.ends_well().await;
    tenant.delete().await.gone().await;
}
