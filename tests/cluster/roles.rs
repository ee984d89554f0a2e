//! Who may do what in the console: each role at each route, and nobody by saying only who he is.

use crate::support::browser::Browser;
use crate::support::console::Console;
use crate::support::{LIMIT, Tenant, World, manifest, unique, wait_until};
use serde_json::json;
use tokio::io::AsyncReadExt;

/// The roles of people, in the order of [`ROUTES`].
const ROLES: [&str; 5] = ["tenantry-publisher", "tenantry-viewer", "tenantry-proposer", "tenantry-sales", "tenantry-admin"];

/// What each role gets at each route, where it asks or sends what is too little to do anything. Who is nobody is sent to the login, but for what is for all.
const ROUTES: [(&str, &str, &str, [u16; 5]); 43] = [
    ("/", "GET", "/", [303, 303, 303, 303, 303]),
    ("/healthz", "GET", "/healthz", [200, 200, 200, 200, 200]),
    ("/login", "GET", "/login", [200, 200, 200, 200, 200]),
    ("/login", "POST", "/login", [401, 401, 401, 401, 401]),
    ("/tenants", "GET", "/tenants", [403, 200, 200, 200, 200]),
    ("/tenants.csv", "GET", "/tenants.csv", [403, 200, 200, 200, 200]),
    ("/tenants/{name}", "GET", "/tenants/TENANT", [403, 200, 200, 200, 200]),
    ("/tenants/{name}/progress", "GET", "/tenants/TENANT/progress", [403, 200, 200, 200, 200]),
    ("/tenants/{name}/hand-over", "GET", "/tenants/TENANT/hand-over", [403, 200, 200, 200, 200]),
    ("/tenants/{name}/first-login", "POST", "/tenants/TENANT/first-login", [403, 403, 403, 409, 409]),
    ("/tenants/{name}/{change}", "GET", "/tenants/TENANT/suspend", [403, 403, 403, 200, 200]),
    ("/tenants/{name}/{change}", "GET", "/tenants/TENANT/resume", [403, 403, 403, 200, 200]),
    ("/tenants/{name}/{change}", "GET", "/tenants/TENANT/plan", [403, 403, 403, 200, 200]),
    ("/tenants/{name}/{change}", "GET", "/tenants/TENANT/trial", [403, 403, 403, 200, 200]),
    ("/tenants/{name}/{change}", "GET", "/tenants/TENANT/look", [403, 403, 403, 200, 200]),
    ("/tenants/{name}/{change}", "GET", "/tenants/TENANT/keep", [403, 403, 403, 200, 200]),
    ("/tenants/{name}/{change}", "GET", "/tenants/TENANT/delete", [403, 403, 403, 403, 200]),
    ("/tenants/{name}/{change}", "POST", "/tenants/TENANT/suspend", [403, 403, 403, 409, 409]),
    ("/tenants/{name}/{change}", "POST", "/tenants/TENANT/resume", [403, 403, 403, 409, 409]),
    ("/tenants/{name}/{change}", "POST", "/tenants/TENANT/plan", [403, 403, 403, 409, 409]),
    ("/tenants/{name}/{change}", "POST", "/tenants/TENANT/trial", [403, 403, 403, 409, 409]),
    ("/tenants/{name}/{change}", "POST", "/tenants/TENANT/look", [403, 403, 403, 409, 409]),
    ("/tenants/{name}/{change}", "POST", "/tenants/TENANT/keep", [403, 403, 403, 409, 409]),
    ("/tenants/{name}/{change}", "POST", "/tenants/TENANT/delete", [403, 403, 403, 403, 409]),
    ("/preview", "GET", "/preview?color=%230a5c36", [200, 200, 200, 200, 200]),
    ("/onboard", "GET", "/onboard", [403, 403, 403, 200, 200]),
    ("/onboard", "POST", "/onboard", [403, 403, 403, 422, 422]),
    ("/onboard/look", "GET", "/onboard/look?name=x", [403, 200, 200, 200, 200]),
    ("/onboard/manifest", "POST", "/onboard/manifest", [403, 403, 403, 422, 422]),
    // This console knows no repository.
    ("/onboard/proposal", "POST", "/onboard/proposal", [404, 404, 404, 404, 404]),
    ("/onboard/proposed/{name}", "GET", "/onboard/proposed/TENANT", [403, 303, 303, 303, 303]),
    ("/releases", "GET", "/releases", [200, 200, 200, 200, 200]),
    ("/releases/{name}", "GET", "/releases/RELEASE", [200, 200, 200, 200, 200]),
    ("/releases/{name}/progress", "GET", "/releases/RELEASE/progress", [200, 200, 200, 200, 200]),
    ("/releases/{name}/{change}", "GET", "/releases/RELEASE/pause", [403, 403, 403, 403, 200]),
    ("/releases/{name}/{change}", "GET", "/releases/RELEASE/go-on", [403, 403, 403, 403, 200]),
    ("/releases/{name}/{change}", "GET", "/releases/RELEASE/roll-back", [403, 403, 403, 403, 200]),
    ("/releases/{name}/{change}", "POST", "/releases/RELEASE/pause", [403, 403, 403, 403, 409]),
    ("/releases/{name}/{change}", "POST", "/releases/RELEASE/go-on", [403, 403, 403, 403, 409]),
    ("/releases/{name}/{change}", "POST", "/releases/RELEASE/roll-back", [403, 403, 403, 403, 409]),
    ("/nowhere", "GET", "/nowhere", [404, 404, 404, 404, 404]),
    ("/nowhere", "POST", "/nowhere", [404, 404, 404, 404, 404]),
    ("/logout", "POST", "/logout", [303, 303, 303, 303, 303]),
];

#[tokio::test]
async fn each_role_gets_at_each_route_what_it_may_and_is_refused_the_rest() {
    let routes = include_str!("../../src/console/mod.rs").split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    for route in routes {
        assert!(ROUTES.iter().any(|(known, ..)| *known == route), "nothing is said of {route}");
    }
    let world = World::new().await;
    let console = Console::start().await;
    let blueprint = world.blueprint(json!({})).await;
    let tenant = Tenant::new("routed").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    let release = unique("routed");
    world.create(&manifest("Release", &release, json!({"blueprint": blueprint, "version": "1.0", "waves": [{"name": "all"}]}))).await;
    let (before, place) =
        (tenant.get().await["spec"].clone(), |path: &str| path.replace("TENANT", &tenant.name).replace("RELEASE", &release));
    for (number, role) in ROLES.into_iter().enumerate() {
        let mut browser = console.visited_by(&world, role).await;
        browser.let_in(&place("/releases/RELEASE")).await;
        // With a form's token, so that nothing but the role can be in the way.
        browser.open("/login").await;
        for (_, method, path, statuses) in ROUTES {
            let path = place(path);
            assert_eq!(status_at(&browser, method, &path).await, statuses[number], "{role} at {method} {path}");
        }
    }
    let mut nobody = Browser::at(console.address);
    nobody.open("/login").await;
    for (route, method, path, statuses) in ROUTES {
        let path = place(path);
        let is_for_all = ["/healthz", "/login", "/nowhere"].contains(&route);
        let expected = if is_for_all { statuses[0] } else { 303 };
        assert_eq!(status_at(&nobody, method, &path).await, expected, "nobody at {method} {path}");
    }
    assert_eq!(tenant.get().await["spec"], before);
}

/// What is answered to a question, or to a form that is too little to do anything.
async fn status_at(browser: &Browser, method: &str, path: &str) -> u16 {
    match method {
        "POST" => browser.clone().send(path, &[("uid", "another"), ("token", "nonsense")]).await.status,
        _ => first_status(browser, path).await,
    }
}

/// What an answer begins with, whether or not it ever ends.
async fn first_status(browser: &Browser, path: &str) -> u16 {
    let mut stream = browser.begin("GET", path, "").await;
    let mut begin = [0; 12];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut begin)).await.expect("an answer in time").expect("an answer");
    String::from_utf8_lossy(&begin).rsplit(' ').next().and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test]
async fn a_page_says_which_right_is_missing() {
    let world = World::new().await;
    let console = Console::start().await;
    let tenant = Tenant::new("seen").create_in(&world).await;
    tenant.ready().await;
    let (page, delete) = (format!("/tenants/{}", tenant.name), format!("/tenants/{}/delete", tenant.name));
    for role in ["tenantry-viewer", "tenantry-sales", "tenantry-admin"] {
        let mut browser = console.visited_by(&world, role).await;
        let shown = browser.let_in(&page).await.text;
        browser.open("/login").await;
        let uid = tenant.get().await["metadata"]["uid"].as_str().unwrap().to_owned();
        let sent = browser.send(&delete, &[("uid", &uid), ("name", "wrong")]).await;
        let (status, words) = if role == "tenantry-admin" { (422, "to say that you mean it") } else { (403, "lack the right to delete") };
        assert!(sent.status == status && sent.text.contains(words), "{role}: {}", sent.text);
        assert_eq!(shown.contains("/delete\""), role == "tenantry-admin", "{role} sees the button");
        assert_eq!(shown.contains("you lack the right to delete tenants"), role == "tenantry-sales", "{role} is told what is missing");
    }
    let mut nobody = console.visited_by(&world, "tenantry-publisher").await;
    wait_until("who may not list is told so", LIMIT, async || {
        let answer = nobody.get("/tenants").await;
        if answer.status == 403 && answer.text.contains("lack the right to list tenants") { Ok(()) } else { Err(answer.text) }
    })
    .await;
}

#[tokio::test]
async fn nobody_is_believed_who_only_says_who_he_is() {
    let world = World::new().await;
    let console = Console::start().await;
    let anonymous = Browser::at(console.address);
    for (name, value) in
        [("X-Forwarded-User", "admin"), ("X-Remote-User", "admin"), ("X-Forwarded-Groups", "system:masters"), ("Impersonate-User", "admin")]
    {
        assert_eq!(anonymous.clone().sending(name, value).get("/tenants").await.status, 303, "{name}");
    }
    let mut known = console.visited_by(&world, "tenantry-viewer").await;
    known.let_in("/tenants").await;
    for (name, value) in [("Authorization", ""), ("Authorization", "Basic YWRtaW46"), ("X-Forwarded-Access-Token", "")] {
        let answer = anonymous.clone().sending(name, value).get("/tenants").await;
        assert_eq!(answer.status, 401, "{name}: {value}");
    }
    let twice = known.clone().sending("Authorization", "Bearer other").get("/tenants").await;
    assert_eq!(twice.status, 401, "two tokens are none");
    let forged = anonymous.clone().sending("Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.").get("/tenants").await;
    assert_eq!(forged.status, 303, "a token that nobody signed is none");
}
