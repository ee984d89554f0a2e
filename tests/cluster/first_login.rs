//! A link by which a tenant's first person logs in, by the operator, the command line and the console.

use crate::support::browser::Browser;
use crate::support::console::{Console, token_of};
use crate::support::program::{code, out, said, tenantry};
use crate::support::{LIMIT, Tenant, World, wait_until};
use serde_json::{Value, json};

const ASKED: &str = "tenantry.dev/first-login";

fn first_login(command: &str) -> Value {
    json!({"firstLogin": {"command": [command], "path": "/welcome?token="}})
}

/// A tenant of a product that has a command for it.
async fn tenant_of(world: &World, name: &str, command: &str) -> Tenant {
    let blueprint = world.blueprint(first_login(command)).await;
    Tenant::new(name).with(json!({"blueprint": blueprint})).create_in(world).await
}

async fn state(tenant: &Tenant, request: &str, state: &str) -> Value {
    let what = format!("its request {request:?} is {state}");
    tenant
        .until(&what, |tenant| {
            let link = &tenant["status"]["firstLogin"];
            (link["request"] == request && link["state"] == state).then(|| link.clone())
        })
        .await
}

#[tokio::test]
async fn a_link_is_made_on_request_and_its_token_is_in_its_secret_alone() {
    let world = World::new().await;
    let tenant = tenant_of(&world, "invited", "invite").await;
    tenant.ready().await;
    assert_eq!(tenant.get().await["status"]["firstLogin"], Value::Null, "nobody asked");
    tenant.annotate(ASKED, "1").await;
    let link = state(&tenant, "1", "Ready").await;
    assert!(link["path"] == "/welcome?token=" && link["until"].is_string(), "{link}");
    let token = tenant.secret("first-login").await["token"].clone();
    assert!(token.len() == 40 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{token}");
    tenant.ready().await;
    wait_until("the Job is gone", LIMIT, async || {
        let jobs = tenant.names("Job").await;
        if jobs.iter().any(|name| name.starts_with("first-login")) { Err(format!("{jobs:?}")) } else { Ok(()) }
    })
    .await;

    // Nothing is made anew by a look, and another request makes another.
    tenant.annotate("tenantry.dev/reconcile", "again").await;
    tenant.until("it was looked at anew", |tenant| (tenant["status"]["lastHandledReconcileAt"] == "again").then_some(())).await;
    assert_eq!(tenant.secret("first-login").await["token"], token);
    tenant.annotate(ASKED, "2").await;
    state(&tenant, "2", "Ready").await;
    let other = tenant.secret("first-login").await["token"].clone();
    assert_ne!(other, token);

    let events = world.list("Event", Some("default"), "").await;
    let told = format!("{}{}{}", tenant.get().await, json!(events), world.environment.operator().whole_log());
    assert!(!told.contains(&token) && !told.contains(&other), "a token is told");

    // Whoever takes the request back takes the token back.
    world.merge("Tenant", None, &tenant.name, &json!({"metadata": {"annotations": {ASKED: null}}})).await;
    tenant.object_gone("Secret", "first-login").await;
    tenant.until("nothing is asked for", |tenant| tenant["status"]["firstLogin"].is_null().then_some(())).await;
}

#[tokio::test]
async fn a_link_ends_when_its_time_has_passed() {
    let world = World::new().await;
    let tenant = tenant_of(&world, "late", "invite").await;
    tenant.ready().await;
    tenant.annotate(ASKED, "1").await;
    let mut link = state(&tenant, "1", "Ready").await;
    // As if it had been made long ago.
    link["until"] = "2026-01-01T00:00:00Z".into();
    world.merge_status("Tenant", None, &tenant.name, &json!({"status": {"firstLogin": link}})).await;
    state(&tenant, "1", "Over").await;
    tenant.object_gone("Secret", "first-login").await;
}

#[tokio::test]
async fn a_link_ends_although_something_else_is_in_the_way() {
    let world = World::new().await;
    let tenant = tenant_of(&world, "stalled-late", "invite").await;
    tenant.ready().await;
    tenant.annotate(ASKED, "1").await;
    let mut link = state(&tenant, "1", "Ready").await;
    tenant.change(json!({"plan": "nowhere"})).await.stalled("PlanMissing").await;
    tenant.secret("first-login").await;
    link["until"] = "2026-01-01T00:00:00Z".into();
    world.merge_status("Tenant", None, &tenant.name, &json!({"status": {"firstLogin": link}})).await;
    tenant.annotate("tenantry.dev/reconcile", "its time has passed").await;
    state(&tenant, "1", "Over").await;
    tenant.object_gone("Secret", "first-login").await;
    assert_eq!(tenant.get().await["spec"]["plan"], "nowhere");
}

#[tokio::test]
async fn what_keeps_a_link_from_being_made_is_told_and_keeps_nothing_else() {
    let world = World::new().await;
    let failing = tenant_of(&world, "uninvited", "fail").await;
    failing.ready().await;
    failing.annotate(ASKED, "1").await;
    let link = state(&failing, "1", "Failed").await;
    let message = link["message"].as_str().unwrap_or_default();
    let job = failing.names("Job").await.into_iter().find(|name| name.starts_with("first-login")).expect("it is kept for its log");
    assert!(message.contains(&format!("kubectl -n {} logs job/{job}", failing.namespace)), "{message}");
    failing.ready().await;

    let without = Tenant::new("without").create_in(&world).await;
    without.ready().await;
    without.annotate(ASKED, "1").await;
    let link = state(&without, "1", "Failed").await;
    assert!(link["message"].as_str().is_some_and(|message| message.contains("has no firstLogin")), "{link}");

    // Nor is what somebody else made under its name taken for ours.
    let taken = tenant_of(&world, "taken", "invite").await;
    taken.ready().await;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "first-login", "namespace": taken.namespace}, "stringData": {"token": "theirs"},
    });
    world.create(&theirs).await;
    taken.annotate(ASKED, "1").await;
    let link = state(&taken, "1", "Failed").await;
    assert!(link["message"].as_str().is_some_and(|message| message.contains("NotOurs")), "{link}");
    assert_eq!(taken.secret("first-login").await["token"], "theirs");
    taken.ready().await;
}

#[tokio::test]
async fn what_was_asked_of_a_suspended_tenant_is_made_once_it_serves() {
    let world = World::new().await;
    let blueprint = world.blueprint(first_login("invite")).await;
    let tenant =
        Tenant::new("asleep").with(json!({"blueprint": blueprint, "suspended": true})).annotated(ASKED, "1").create_in(&world).await;
    tenant.reason("Ready", "True", "Suspended").await;
    assert_eq!(tenant.get().await["status"]["firstLogin"], Value::Null);
    tenant.change(json!({"suspended": false})).await;
    state(&tenant, "1", "Ready").await;
}

#[tokio::test]
async fn the_command_line_prints_a_link() {
    let world = World::new().await;
    let tenant = tenant_of(&world, "typed", "invite").await;
    tenant.ready().await;
    let made = tenantry(&["first-login", &tenant.name]).await;
    assert_eq!(code(&made), 0, "{}", said(&made));
    let url = tenant.get().await["status"]["url"].as_str().unwrap().to_owned();
    let token = tenant.secret("first-login").await["token"].clone();
    assert_eq!(out(&made), format!("{url}/welcome?token={token}\n"));
    assert!(said(&made).contains("it works once, until"), "{}", said(&made));

    // The link leads nowhere else, whatever a tenant's people put into its Secret.
    let forged = json!({"stringData": {"token": "@evil.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaa"}});
    world.merge("Secret", Some(&tenant.namespace), "first-login", &forged).await;
    let client = world.cluster.client.clone();
    let now: tenantry::api::Tenant = serde_json::from_value(tenant.get().await).unwrap();
    assert_eq!(tenantry::first_login::link(&client, &now).await.unwrap(), None);

    let without = Tenant::new("without").create_in(&world).await;
    without.ready().await;
    let refused = tenantry(&["first-login", &without.name]).await;
    assert!(code(&refused) == 1 && said(&refused).contains("has no firstLogin"), "{}", said(&refused));
}

#[tokio::test]
async fn a_seller_hands_a_link_over_and_a_viewer_does_not_see_it() {
    let world = World::new().await;
    let console = Console::start().await;
    let tenant = tenant_of(&world, "handed", "invite").await;
    tenant.ready().await;
    let page = format!("/tenants/{}/hand-over", tenant.name);
    let mut seller = Browser::with_token(console.address, &token_of(&world, "tenantry-sales").await);
    let mut viewer = Browser::with_token(console.address, &token_of(&world, "tenantry-viewer").await);
    let shows = async |browser: &mut Browser, words: &str| {
        wait_until(words, LIMIT, async || {
            let answer = browser.open(&page).await;
            if answer.status == 200 && answer.text.contains(words) { Ok(()) } else { Err(answer.text) }
        })
        .await;
    };
    shows(&mut seller, "Make a link for the first login").await;
    shows(&mut viewer, "Hand over").await;
    let uid = tenant.uid().await;
    let ask = format!("/tenants/{}/first-login", tenant.name);
    assert_eq!(viewer.send(&ask, &[("uid", &uid)]).await.status, 403);
    assert_eq!(seller.clone().post(&ask, &[("uid", &uid)]).await.status, 403, "without the form's token");
    assert_eq!(seller.send(&ask, &[("uid", "another")]).await.status, 409);
    assert_eq!(tenant.get().await["metadata"]["annotations"][ASKED], Value::Null);
    assert_eq!(seller.send(&ask, &[("uid", &uid)]).await.status, 303);
    shows(&mut seller, "It works once").await;
    let token = tenant.secret("first-login").await["token"].clone();
    let text = seller.get(&page).await.text;
    assert!(text.contains(&format!("/welcome?token={token}\"")), "{text}");
    shows(&mut viewer, "you lack the right to get the Secret first-login").await;
    assert!(!viewer.get(&page).await.text.contains(&token));
    assert!(!seller.get(&format!("/tenants/{}", tenant.name)).await.text.contains(&token));
}
