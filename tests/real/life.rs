//! What a customer sees: pages with the customer's own look and data, a failed migration that nobody notices, a pause that loses nothing.

use crate::planner::{self, FIRST, SECOND, page, page_with};
use crate::support::program::{code, out, said, tenantry};
use crate::support::{LIMIT, wait_until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn each_tenant_has_a_page_of_its_own_look_and_a_schema_of_its_own() {
    let customers = [
        ("acme", "ACME Construction", "#0a5c36", "de", "Projekte und Aufgaben"),
        ("globex", "Globex Garden Centres", "#f2b705", "en", "Projects and tasks"),
        ("initech", "Initech Bakery", "#8e2f5c", "fr", "Projets et tâches"),
    ];
    let ready = customers.map(async |(name, customer, color, language, _)| {
        let spec = json!({"displayName": customer, "branding": {"primaryColor": color}, "settings": {"LANGUAGE_CODE": language}});
        planner::tenant(name, spec).await
    });
    let tenants = futures::future::join_all(ready).await;
    for (tenant, (_, customer, color, _, words)) in tenants.iter().zip(customers) {
        let page = page_with(tenant, customer).await;
        for expected in [customer, words, &format!("--primary: {color}"), &format!("<code>{}</code>", tenant.owner())] {
            assert!(page.contains(expected), "{}: no {expected} in\n{page}", tenant.name);
        }
        for other in tenants.iter().filter(|other| other.name != tenant.name) {
            assert!(!page.contains(&other.owner()), "{} shows {}", tenant.name, other.name);
        }
    }
    let count = async || tenants[0].sql("select counted_at from board_digest").await.unwrap();
    let before =
        wait_until("the worker has counted", LIMIT, async || Some(count().await).filter(|at| !at.is_empty()).ok_or_else(String::new)).await;
    wait_until("the worker counts again", LIMIT, async || {
        let now = count().await;
        if now != before { Ok(()) } else { Err(now) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_failing_migration_leaves_the_old_version_serving_and_shows_the_end_of_its_log() {
    let world = planner::world().await;
    let fails =
        format!("if [ $TENANT_VERSION = {SECOND} ]; then echo 'no room for the index'; exit 1; fi; python3 manage.py migrate --noinput");
    let blueprint = planner::changed(&world, |spec| spec["migrate"]["command"] = json!(["sh", "-c", fails])).await;
    let tenant = planner::tenant("failing", json!({"blueprint": blueprint})).await;
    let visitors = planner::visitors(&tenant).await;

    tenant.change(json!({"release": {"version": SECOND}})).await;
    let message = tenant.stalled("MigrationFailed").await;
    assert!(message.contains("no room for the index"), "{message}");
    assert!(page(&tenant).await.1.contains(&format!("<code>{FIRST}</code>")), "the old version serves");
    assert_eq!(tenant.get().await["status"]["version"], FIRST);
    visitors.stop().await.nothing_lost("a migration that fails");

    tenant.change(json!({"release": {"version": FIRST}})).await;
    tenant.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_suspended_tenant_is_gone_and_comes_back_with_its_data() {
    let tenant = planner::tenant("paused", json!({})).await;
    tenant.sql("insert into board_project (name, created_at) values ('A bridge over the pause', now())").await.unwrap();
    page_with(&tenant, "A bridge over the pause").await;

    tenant.change(json!({"suspended": true})).await;
    // A program that is told to end before it listens for the word is killed when its time is up.
    let limit = LIMIT + planner::longest_end(&tenant.world).await;
    wait_until("no pod and no page is left", limit, async || {
        let (pods, (status, page)) = (tenant.objects("Pod").await, page(&tenant).await);
        let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count();
        if running == 0 && status == 404 { Ok(()) } else { Err(format!("{running} pods run; {status}: {page}")) }
    })
    .await;
    tenant.reason("Ready", "True", "Suspended").await;

    let begun = std::time::Instant::now();
    tenant.change(json!({"suspended": false})).await;
    page_with(&tenant, "A bridge over the pause").await;
    eprintln!("back {:.1} s after the suspension", begun.elapsed().as_secs_f32());
    assert!(begun.elapsed().as_secs() < 30, "back after {} s", begun.elapsed().as_secs());
    tenant.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_command_runs_in_a_component_and_ends_as_it_ends() {
    let tenant = planner::tenant("commanded", json!({"displayName": "Commanded"})).await;
    let checked = tenantry(&["exec", &tenant.name, "web", "--", "python3", "manage.py", "check"]).await;
    assert_eq!(code(&checked), 0, "{}", said(&checked));
    assert!(out(&checked).contains("no issues"), "{}", out(&checked));
    let failed = tenantry(&["exec", &tenant.name, "web", "--", "sh", "-c", "exit 7"]).await;
    assert_eq!(code(&failed), 7, "{}", said(&failed));
    let nowhere = tenantry(&["exec", &tenant.name, "nothing", "--", "true"]).await;
    assert!(code(&nowhere) != 0 && said(&nowhere).contains("nothing"), "{}", said(&nowhere));
}
