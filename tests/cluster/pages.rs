//! The console in a real Chromium, by scenarios of tests/browser/scenarios.mjs: each flow, each role, each failure.

use crate::support::chromium::{known, open, play};
use crate::support::console::Console;
use crate::support::{Tenant, World, manifest, unique};
use serde_json::json;

#[tokio::test]
async fn a_seller_onboards_a_customer_and_hands_over() {
    let world = World::new().await;
    let console = Console::start().await;
    let taken = Tenant::new("taken").create_in(&world).await;
    taken.ready().await;
    let token = known(&world, &console, "tenantry-sales").await;
    let name = unique("phoned");
    let blueprint = world.blueprint(json!({"firstLogin": {"command": ["invite"], "path": "/welcome/"}})).await;
    play(&console, "onboard", json!({"token": token, "name": name, "taken": taken.name, "blueprint": blueprint, "plan": "small"})).await;
    let tenant = world.get("Tenant", None, &name).await;
    assert_eq!(tenant["spec"]["displayName"], "Müller & Söhne GmbH");
}

#[tokio::test]
async fn what_matters_works_without_scripts() {
    let world = World::new().await;
    let console = Console::start().await;
    let token = known(&world, &console, "tenantry-sales").await;
    play(&console, "onboard_without_scripts", json!({"token": token, "name": unique("plain"), "blueprint": "sample", "plan": "small"}))
        .await;
}

#[tokio::test]
async fn an_admin_lives_with_a_customer_by_the_keyboard() {
    let world = World::new().await;
    let console = Console::start().await;
    let tenant = Tenant::new("lived").create_in(&world).await;
    tenant.ready().await;
    let token = known(&world, &console, "tenantry-admin").await;
    play(&console, "live", json!({"token": token, "name": tenant.name, "larger": "large"})).await;
    tenant.gone().await;
}

#[tokio::test]
async fn a_viewer_a_seller_and_an_admin_look_at_one_customer_at_once() {
    let world = World::new().await;
    let console = Console::start().await;
    let tenant = Tenant::new("shared").create_in(&world).await;
    tenant.ready().await;
    let (viewer, seller, admin) = futures::join!(
        known(&world, &console, "tenantry-viewer"),
        known(&world, &console, "tenantry-sales"),
        known(&world, &console, "tenantry-admin")
    );
    play(&console, "roles", json!({"viewer": viewer, "seller": seller, "admin": admin, "name": tenant.name})).await;
}

#[tokio::test]
async fn a_failed_migration_says_who_must_act() {
    let world = World::new().await;
    let console = Console::start().await;
    let blueprint = world.blueprint(json!({"version": "1.0-failing-migration"})).await;
    let tenant = Tenant::new("failed").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.stalled("MigrationFailed").await;
    let token = known(&world, &console, "tenantry-viewer").await;
    play(&console, "failure", json!({"token": token, "name": tenant.name})).await;
}

#[tokio::test]
async fn an_open_page_goes_on_after_the_console_was_restarted() {
    let world = World::new().await;
    let mut console = Console::start().await;
    let blueprint = world.blueprint(json!({"image": {"repository": "localhost/sample"}, "version": "1.0-never-ready"})).await;
    let tenant = Tenant::new("followed").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let token = known(&world, &console, "tenantry-sales").await;
    let page = open(&console, "progress", json!({"token": token, "name": tenant.name})).await;
    console.restart().await;
    world.merge("Blueprint", None, &blueprint, &json!({"spec": {"version": "1.1"}})).await;
    tenant.ready().await;
    page.ends_well().await;
}

#[tokio::test]
async fn the_list_can_be_used_on_a_phone_and_in_the_dark() {
    let world = World::new().await;
    let console = Console::start().await;
    let word = unique("Fleet");
    let named = async || {
        let name = unique("listed");
        let customer = format!("{word} {name}");
        Tenant::named(&name)
            .with(json!({"displayName": customer, "branding": {"primaryColor": "#0a5c36"}, "expiresAt": "2099-01-01T00:00:00Z"}))
            .create_in(&world)
            .await
    };
    let (one, other) = (named().await, named().await);
    one.ready().await;
    other.ready().await;
    let token = known(&world, &console, "tenantry-admin").await;
    play(&console, "fleet", json!({"token": token, "word": word, "name": one.name, "other": other.name})).await;
}

#[tokio::test]
async fn a_release_moves_while_somebody_looks() {
    let world = World::new().await;
    let console = Console::start().await;
    let blueprint = world.blueprint(json!({})).await;
    let tenants =
        futures::future::join_all((0..3).map(async |_| Tenant::new("moved").with(json!({"blueprint": blueprint})).create_in(&world).await))
            .await;
    for tenant in &tenants {
        tenant.ready().await;
    }
    let name = unique("release");
    world
        .create(&manifest(
            "Release",
            &name,
            json!({"blueprint": blueprint, "version": "1.1", "waves": [{"name": "all", "concurrency": 1}]}),
        ))
        .await;
    let token = known(&world, &console, "tenantry-admin").await;
    play(&console, "release", json!({"token": token, "name": name, "tenants": tenants.len()})).await;
}

#[tokio::test]
async fn neither_a_customers_name_nor_another_sites_page_runs_anything() {
    let world = World::new().await;
    let console = Console::start().await;
    let evil = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}";
    let tenant = Tenant::new("evil").with(json!({"displayName": evil})).create_in(&world).await;
    tenant.ready().await;
    let token = known(&world, &console, "tenantry-admin").await;
    play(&console, "attacks", json!({"token": token, "name": tenant.name, "evil": evil})).await;
    assert_eq!(tenant.get().await["spec"]["suspended"], false);
}
