//! The console, by the real program on the real API server: what a seller and an admin do with it.

use crate::support::browser::{Answer, Browser};
use crate::support::console::{Console, token_of};
use crate::support::git::{self, GitServer};
use crate::support::{LIMIT, Tenant, World, manifest, unique, wait_until};
use kube::Api;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

fn onboarding<'a>(customer: &'a str, name: &'a str, form: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("customer", customer),
        ("name", name),
        ("blueprint", "sample"),
        ("plan", "small"),
        ("form", form),
        ("trial", "14"),
        ("color", "#0a5c36"),
    ]
}

/// The identity of the form on a page.
fn form_of(page: &Answer) -> String {
    let rest = page.text.split_once("name=\"form\" value=\"").unwrap_or_else(|| panic!("no form: {}", page.text)).1;
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn who_has_said_nothing_is_asked_for_a_token_and_comes_back_to_the_same_place() {
    let world = World::new().await;
    let console = Console::start().await;
    let token = token_of(&world, "tenantry-viewer").await;
    let mut browser = Browser::at(console.address);
    let asked = browser.get("/tenants?q=x").await;
    assert_eq!((asked.status, asked.header("location")), (303, Some("/login?next=%2Ftenants%3Fq%3Dx")));
    browser.open("/tenants?q=x").await;
    let refused = browser.send("/login", &[("token", "nonsense"), ("next", "/tenants")]).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text.contains("accept your token") && !refused.text.contains("nonsense"), "{}", refused.text);
    let begun = browser.send("/login", &[("token", &token), ("next", "/tenants?q=x")]).await;
    assert_eq!((begun.status, begun.header("location")), (303, Some("/tenants?q=x")), "{}", begun.text);
    let cookie =
        begun.headers("set-cookie").into_iter().find(|cookie| cookie.starts_with("__Host-tenantry=")).expect("a session").to_owned();
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{attribute} is missing in {cookie}");
    }
    assert!(!cookie.contains(&token[..20]), "the cookie shows the token");
    let list = browser.let_in("/tenants").await;
    assert!(list.text.contains("Log out"), "{}", list.text);
    assert_eq!(browser.send("/logout", &[]).await.status, 303);
    assert_eq!(browser.get("/tenants").await.status, 303, "after the end of the session nobody is known");
    let elsewhere = browser.open("/login?next=https://evil.example").await;
    assert!(elsewhere.text.contains("name=\"next\" value=\"/tenants\""), "{}", elsewhere.text);
}

#[tokio::test]
async fn a_form_makes_one_tenant_however_often_it_is_sent() {
    let world = World::new().await;
    let console = Console::start().await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    let page = browser.let_in("/onboard").await;
    let (name, form) = (unique("phoned"), form_of(&page));
    let fields = onboarding("Phoned & Sons <b>", &name, &form);
    let (mut one, mut two) = (browser.clone(), browser.clone());
    let (first, second) = tokio::join!(one.send("/onboard", &fields), two.send("/onboard", &fields));
    let place = format!("/tenants/{name}");
    for answer in [&first, &second, &browser.send("/onboard", &fields).await] {
        assert_eq!((answer.status, answer.header("location")), (303, Some(place.as_str())), "{}", answer.text);
    }
    let tenant = world.get("Tenant", None, &name).await;
    assert_eq!(tenant["spec"]["displayName"], "Phoned & Sons <b>");
    assert_eq!(tenant["spec"]["branding"]["primaryColor"], "#0a5c36");
    assert!(tenant["spec"]["expiresAt"].is_string() && tenant["metadata"]["annotations"]["tenantry.dev/onboarded-by"].is_string());
    let shown = browser.get(&place).await.text;
    assert!(!shown.contains("<b>\n") && shown.contains("Phoned &#38; Sons &#60;b&#62;"), "what a customer is called is no markup: {shown}");

    // Somebody else, who wants the same.
    let mut other = console.visited_by(&world, "tenantry-sales").await;
    let page = other.let_in("/onboard").await;
    let taken = other.send("/onboard", &onboarding("Another", &name, &form_of(&page))).await;
    assert_eq!(taken.status, 422);
    assert!(taken.text.contains("choose") && taken.text.contains(&format!("{name}-2")), "{}", taken.text);
    assert_eq!(world.get("Tenant", None, &name).await["spec"]["displayName"], "Phoned & Sons <b>");
}

#[tokio::test]
async fn what_is_wrong_with_an_address_or_a_color_is_said_while_it_is_typed() {
    let world = World::new().await;
    let console = Console::start().await;
    let tenant = Tenant::new("typed").create_in(&world).await;
    tenant.ready().await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    browser.let_in("/onboard").await;
    let looks = [
        (format!("name={}", tenant.name), "already"),
        ("name=www".to_owned(), "reserved"),
        (format!("name={}", "a".repeat(41)), "at most 40"),
        (format!("name={}", tenant.name.replacen('t', "t-", 1)), "easily taken for"),
        ("customer=M%C3%BCller+GmbH".to_owned(), "mueller."),
        ("name=x&color=%23f2b705".to_owned(), "be read on white"),
        ("name=x&color=%230a5c36".to_owned(), "can be had"),
        ("name=x&logo=https://acme.example/a%22b.svg".to_owned(), "<img src=\"https://acme.example/a&#34;b.svg\""),
    ];
    for (query, words) in looks {
        let answer = browser.get(&format!("/onboard/look?{query}")).await;
        assert!(answer.status == 200 && answer.text.contains(words), "{query}: {}", answer.text);
    }
    // The platform's own policies are asked, too.
    let forbidden = unique("forbidden");
    let policy = world.policy("CREATE", &forbidden, "no customer may be called so").await;
    wait_until("the policy is told", LIMIT, async || {
        let text = browser.get(&format!("/onboard/look?name={forbidden}")).await.text;
        if text.contains("no customer may be called so") { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!(world.find("Tenant", None, &forbidden).await, None);
    for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
        world.delete(kind, None, &policy).await;
    }
    let page = browser.open("/onboard").await;
    let name = unique("typed");
    let mut fields = onboarding("Typed", &name, "");
    fields.retain(|(name, _)| !["color", "form"].contains(name));
    let form = form_of(&page);
    let answer = browser.send("/onboard", &[fields, vec![("color", "#f2b705"), ("form", &form)]].concat()).await;
    assert_eq!(answer.status, 422);
    assert_eq!(world.find("Tenant", None, &name).await, None);
}

#[tokio::test]
async fn another_sites_page_does_nothing_in_a_visitors_name() {
    let world = World::new().await;
    let console = Console::start().await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    let page = browser.let_in("/onboard").await;
    let (name, form) = (unique("forged"), form_of(&page));
    let fields = onboarding("Forged", &name, &form);
    for (header, value) in
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site"), ("Origin", "https://evil.example"), ("Origin", "null")]
    {
        assert_eq!(browser.clone().sending(header, value).send("/onboard", &fields).await.status, 403, "{header}: {value}");
    }
    assert_eq!(browser.clone().post("/onboard", &fields).await.status, 403, "without the form's token");
    let mut other = browser.clone();
    other.cookies.clear();
    assert_eq!(other.send("/onboard", &fields).await.status, 403, "with another browser's token");
    assert_eq!(world.find("Tenant", None, &name).await, None);
    let long = "x".repeat(70_000);
    assert_eq!(browser.clone().send("/onboard", &[("customer", &long)]).await.status, 413);
    for path in ["/tenants", "/onboard", "/login", "/nowhere", "/tenants/nobody-at-all"] {
        let answer = browser.get(path).await;
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(!answer.text.contains("<script>") && !answer.text.contains(" style=") && !answer.text.contains(" onclick="), "{path}");
    }
}

#[tokio::test]
async fn the_list_is_searched_sorted_and_taken_along() {
    let world = World::new().await;
    let console = Console::start().await;
    let plan = world.plan(json!({})).await;
    let word = unique("fleet");
    let named = async |customer: &str, changes: Value| {
        let name = format!("{customer} {word}");
        Tenant::new("listed").with(json!({"plan": plan, "displayName": name})).with(changes).create_in(&world).await
    };
    let (ready, stalled) = (named("Zeta", json!({})).await, named("=1+1", json!({"blueprint": "nowhere"})).await);
    ready.ready().await;
    stalled.stalled("BlueprintMissing").await;
    let mut browser = console.visited_by(&world, "tenantry-viewer").await;
    browser.let_in("/tenants").await;
    let names = async |browser: &mut Browser, query: &str| {
        let text = browser.get(&format!("/tenants?plan={plan}&{query}")).await.text;
        let mut found: Vec<_> = [&ready.name, &stalled.name]
            .into_iter()
            .filter_map(|name| Some((text.find(&format!("/tenants/{name}\""))?, name.clone())))
            .collect();
        found.sort();
        found.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    wait_until("the list has them", LIMIT, async || {
        let found = names(&mut browser.clone(), "").await;
        if found == [stalled.name.clone(), ready.name.clone()] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(names(&mut browser, "sort=-state").await, [ready.name.clone(), stalled.name.clone()]);
    assert_eq!(names(&mut browser, "state=ready").await, [ready.name.as_str()]);
    assert_eq!(names(&mut browser, &format!("q=zeta+{word}")).await, [ready.name.as_str()]);
    assert!(names(&mut browser, "q=nobody-at-all").await.is_empty());
    let csv = browser.get(&format!("/tenants.csv?plan={plan}&sort=customer")).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.text.lines().count() == 3 && csv.text.contains("'=1+1"), "{}", csv.text);
}

#[tokio::test]
async fn a_tenant_is_changed_with_the_visitors_name_and_what_git_keeps_is_left() {
    let world = World::new().await;
    let console = Console::start().await;
    let tenant = Tenant::new("changed").create_in(&world).await;
    tenant.ready().await;
    let mut browser = console.visited_by(&world, "tenantry-admin").await;
    let page = format!("/tenants/{}", tenant.name);
    browser.let_in(&page).await;
    let uid = tenant.get().await["metadata"]["uid"].as_str().unwrap().to_owned();
    let uid = uid.as_str();

    browser.open(&format!("{page}/trial")).await;
    let trial = browser.send(&format!("{page}/trial"), &[("uid", uid), ("days", "30")]).await;
    assert_eq!(trial.status, 303, "{}", trial.text);
    let suspended = browser.send(&format!("{page}/suspend"), &[("uid", uid)]).await;
    assert_eq!(suspended.status, 303, "that it isn't suspended was nobody's choice: {}", suspended.text);
    wait_until("it is suspended", LIMIT, async || {
        let text = browser.clone().get(&page).await.text;
        if text.contains(">Suspended<") { Ok(()) } else { Err(text) }
    })
    .await;
    let spec = tenant.get().await["spec"].clone();
    assert!(spec["suspended"] == true && spec["expiresAt"].is_string(), "one change keeps the other: {spec}");
    assert_eq!(browser.send(&format!("{page}/resume"), &[("uid", uid)]).await.status, 303);
    tenant.ready().await;

    // An end that somebody else has set goes, too.
    let end = json!({"spec": {"expiresAt": "2099-01-01T00:00:00Z"}});
    world.merge("Tenant", None, &tenant.name, &end).await;
    assert_eq!(browser.send(&format!("{page}/trial"), &[("uid", uid), ("days", "")]).await.status, 303);
    assert_eq!(tenant.get().await["spec"]["expiresAt"], Value::Null);

    // Another look, of which only what is another is set, and what is emptied goes.
    let look = async |browser: &mut Browser, color: &str, logo: &str| {
        let answer = browser.send(&format!("{page}/look"), &[("uid", uid), ("color", color), ("logo", logo)]).await;
        (answer.status, answer.text, tenant.get().await["spec"]["branding"].clone())
    };
    let logo = "https://acme.example/logo.svg";
    world.merge("Tenant", None, &tenant.name, &json!({"spec": {"branding": {"logoUrl": logo}}})).await;
    let asked = browser.get(&format!("{page}/look")).await;
    assert!(asked.text.contains(&format!("value=\"{logo}\"")) && asked.text.contains("<img"), "{}", asked.text);
    let policy = asked.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("img-src 'self' data: https:;") && policy.contains("script-src 'self';"), "{policy}");
    let elsewhere = browser.get(&format!("{page}/suspend")).await;
    let policy = elsewhere.header("content-security-policy").unwrap_or_default();
    assert!(policy.contains("img-src 'self' data:;"), "where no logo is chosen none is let in: {policy}");
    let (status, text, branding) = look(&mut browser, "#f2b705", logo).await;
    assert!(status == 422 && text.contains("can&#39;t be read on white"), "{text}");
    assert_eq!(branding, json!({"logoUrl": logo}));
    let (status, text, branding) = look(&mut browser, "", "https://acme.example/new.svg").await;
    assert!(status == 409 && text.contains("This was set by"), "{text}");
    assert_eq!(branding, json!({"logoUrl": logo}));
    let (status, text, branding) = look(&mut browser, "#0A5C36", "").await;
    assert_eq!((status, branding), (303, json!({"primaryColor": "#0a5c36"})), "{text}");
    let (status, text, _) = look(&mut browser, "#0a5c36", "http://acme.example/logo.svg").await;
    assert!(status == 422 && text.contains("https address"), "{text}");
    let (status, text, branding) = look(&mut browser, "#0a5c36", logo).await;
    assert_eq!((status, branding), (303, json!({"primaryColor": "#0a5c36", "logoUrl": logo})), "{text}");

    // A deletion with grace, and back.
    let later = browser.send(&format!("{page}/delete"), &[("uid", uid), ("name", &tenant.name), ("days", "7")]).await;
    assert_eq!(later.status, 303, "{}", later.text);
    tenant.reason("Ready", "True", "DeletionScheduled").await;
    let text = browser.get(&page).await.text;
    assert!(text.contains("out of service until then") && text.contains("/keep\""), "{text}");
    assert_eq!(browser.send(&format!("{page}/keep"), &[("uid", uid)]).await.status, 303);
    assert_eq!(tenant.get().await["spec"]["deletion"]["at"], Value::Null);
    tenant.reason("Ready", "True", "Ready").await;
    assert_eq!(
        browser.send(&format!("{page}/plan"), &[("uid", "another"), ("plan", "large")]).await.status,
        409,
        "another tenant of the name"
    );

    // The plan was the test's.
    let larger = [("uid", uid), ("plan", "large")];
    let asked = browser.send(&format!("{page}/plan"), &larger).await;
    assert_eq!(asked.status, 409);
    assert!(asked.text.contains("This was set by") && asked.text.contains("value=\"large\" checked"), "{}", asked.text);
    assert_eq!(browser.send(&format!("{page}/plan"), &[&larger[..], &[("overwrite", "true")]].concat()).await.status, 303);
    assert_eq!(tenant.get().await["spec"]["plan"], "large");

    // Flux takes it over.
    let kept =
        json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": tenant.name}, "spec": {"plan": "small"}});
    let parameters = kube::api::PatchParams::apply("kustomize-controller").force();
    let api: Api<tenantry::api::Tenant> = Api::all(world.cluster.client.clone());
    api.patch(&tenant.name, &parameters, &kube::api::Patch::Apply(&kept)).await.expect("it is applied");
    let refused = browser.send(&format!("{page}/plan"), &[&larger[..], &[("overwrite", "true")]].concat()).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("kustomize-controller keeps this as it is in Git"), "{}", refused.text);
    assert_eq!(tenant.get().await["spec"]["plan"], "small");

    assert_eq!(browser.send(&format!("{page}/delete"), &[("uid", uid), ("name", &tenant.name)]).await.status, 303);
    tenant.gone().await;
    assert_eq!(browser.get(&page).await.status, 404);
}

#[tokio::test]
async fn progress_arrives_as_it_happens_until_the_page_answers() {
    let world = World::new().await;
    let console = Console::start().await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    let page = browser.let_in("/onboard").await;
    let name = unique("followed");
    assert_eq!(browser.send("/onboard", &onboarding("Followed", &name, &form_of(&page))).await.status, 303);
    let mut stream = browser.begin("GET", &format!("/tenants/{name}/progress"), "").await;
    let mut seen = String::new();
    let followed = async {
        let mut part = [0; 4096];
        while !(seen.contains("class=\"state ready\"") && seen.contains("<b>Answering</b>")) {
            let read = stream.read(&mut part).await.expect("the stream goes on");
            assert!(read > 0, "the stream ended: {seen}");
            seen += &String::from_utf8_lossy(&part[..read]);
        }
    };
    tokio::time::timeout(LIMIT, followed).await.unwrap_or_else(|_| panic!("it never became ready: {seen}"));
    assert!(seen.contains("x-accel-buffering: no"), "a proxy may hold the steps back: {seen}");
    assert!(seen.contains("text/event-stream") && seen.contains("<b>Database</b>") && seen.contains("at work"), "{seen}");
}

#[tokio::test]
async fn who_has_to_act_is_said_where_a_pod_cannot_start() {
    let world = World::new().await;
    let console = Console::start().await;
    let tenant = Tenant::new("unpulled").with(json!({"release": {"version": "1.0-not-pullable"}})).create_in(&world).await;
    tenant.reason("Migrated", "False", "MigrationNotStarted").await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    let text = browser.let_in(&format!("/tenants/{}", tenant.name)).await.text;
    assert!(text.contains("has not started: the image localhost/sample:1.0-not-pullable"), "{text}");
    assert!(text.contains("Nothing that was filled in is wrong") && text.contains("a platform admin"), "{text}");
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_again() {
    let world = World::new().await;
    let console = Console::start().await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    browser.let_in("/onboard").await;
    let mut answer = browser.send("/onboard", &[]).await;
    for _ in 0..100 {
        if answer.status == 429 {
            break;
        }
        answer = browser.send("/onboard", &[]).await;
    }
    assert_eq!(answer.status, 429, "{}", answer.text);
    let seconds: u64 = answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("when to come again");
    assert!((1..60).contains(&seconds) && answer.text.contains("try again in"), "{}", answer.text);
    let mut other = console.visited_by(&world, "tenantry-viewer").await;
    other.let_in("/tenants").await;
    for number in 0..100 {
        let stranger = Browser::with_token(console.address, &format!("nonsense-{number}")).get("/tenants").await;
        if stranger.status == 429 {
            assert_eq!(other.get("/tenants").await.status, 200, "who is known isn't concerned");
            return;
        }
    }
    panic!("strangers may try as often as they like");
}

#[tokio::test]
async fn a_customer_is_handed_over_with_link_code_and_mail() {
    let world = World::new().await;
    let console = Console::start().await;
    let tenant = Tenant::new("handed").create_in(&world).await;
    tenant.ready().await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    let page = browser.let_in(&format!("/tenants/{}/hand-over", tenant.name)).await.text;
    let url = tenant.get().await["status"]["url"].as_str().unwrap().to_owned();
    assert!(page.contains(&format!("href=\"{url}\"")) && page.contains("<path d=\"M4 4h1v1h-1z"), "{page}");
    assert!(page.contains("mailto:?subject=Your%20") && page.contains(&format!("  {url}")), "{page}");
}

#[tokio::test]
async fn a_manifest_is_taken_along_and_nothing_is_made() {
    let world = World::new().await;
    let console = Console::start().await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    let page = browser.let_in("/onboard").await;
    let (name, form) = (unique("taken-along"), form_of(&page));
    let answer = browser.send("/onboard/manifest", &onboarding("Kept in Git", &name, &form)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-disposition"), Some(format!("attachment; filename=\"{name}.yaml\"").as_str()));
    assert_eq!(world.find("Tenant", None, &name).await, None);
    let manifest: Value = serde_saphyr::from_str(&answer.text).expect("YAML");
    assert_eq!(manifest["spec"]["displayName"], "Kept in Git");
    world.create(&manifest).await;
    let wrong = browser.send("/onboard/manifest", &onboarding("", &name, &form)).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
}

#[tokio::test]
async fn a_tenant_is_proposed_in_git_and_followed_once_it_is_there() {
    let world = World::new().await;
    let git = GitServer::start().await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), format!("{}\n", git::TOKEN)).unwrap();
    let token_file = token.path().to_str().unwrap();
    let console = Console::start_with(&["--git-url", &git.url, "--git-token-file", token_file], &[]).await;
    let mut browser = console.visited_by(&world, "tenantry-sales").await;
    let page = browser.let_in("/onboard").await;
    assert!(page.text.contains("Propose in Git"), "{}", page.text);
    let (name, form) = (unique("proposed"), form_of(&page));
    let fields = onboarding("Proposed & Sons", &name, &form);
    let proposed = browser.send("/onboard/proposal", &fields).await;
    assert_eq!(proposed.status, 303, "{}", proposed.text);
    let next = proposed.header("location").unwrap().to_owned();
    assert!(next.starts_with(&format!("/onboard/proposed/{name}?")), "{next}");
    assert_eq!(world.find("Tenant", None, &name).await, None, "nothing is made");

    let (branch, path) = (format!("tenantry/{name}"), format!("tenants/{name}.yaml"));
    let file = git.git(&["show", &format!("{branch}:{path}")]);
    let manifest: Value = serde_saphyr::from_str(&file).expect("YAML");
    assert_eq!(manifest["spec"]["displayName"], "Proposed & Sons");
    let commit = git.git(&["log", "-1", "--format=%an|%ae|%cn|%s", &branch]);
    let (author, rest) = commit.split_once('|').unwrap();
    assert!(author.starts_with("system:serviceaccount:default:visitor"), "{commit}");
    assert!(rest.ends_with("@tenantry.invalid|Tenantry console|Onboard Proposed & Sons"), "{commit}");
    assert_eq!(git.git(&["log", "--format=%s", &format!("main..{branch}")]).lines().count(), 1, "one commit on what is there");
    assert_eq!(git.git(&["ls-tree", "-r", "--name-only", &branch]), format!("tenants/first.yaml\n{path}"), "all else stays");
    let options = "merge_request.create\nmerge_request.target=main\nmerge_request.title=Onboard Proposed & Sons\nmerge_request.remove_source_branch\n";
    assert_eq!(git.options(), options);

    // Twice is once, and nobody else gets the address.
    assert_eq!(browser.send("/onboard/proposal", &fields).await.status, 303);
    let mut other = console.visited_by(&world, "tenantry-admin").await;
    let page = other.let_in("/onboard").await;
    let refused = other.send("/onboard/proposal", &onboarding("Another", &name, &form_of(&page))).await;
    assert!(refused.status == 422 && refused.text.contains("somebody proposed this address already"), "{}", refused.text);
    let nameless = other.send("/onboard/proposal", &onboarding("Another", &name, "")).await;
    assert_eq!(nameless.status, 422, "a form that doesn't say which it is is nobody's: {}", nameless.text);
    git.put("tenants/kept.yaml", "kind: Tenant\n");
    let refused = other.send("/onboard/proposal", &onboarding("Another", "kept", &form_of(&page))).await;
    assert!(refused.status == 422 && refused.text.contains("Git has tenants/kept.yaml already"), "{}", refused.text);

    let waiting = browser.get(&next).await;
    assert!(waiting.text.contains("http://127.0.0.1/platform/tenants/-/merge_requests/7"), "{}", waiting.text);
    assert_eq!(waiting.header("refresh"), Some("5"));
    let elsewhere = browser.get(&format!("/onboard/proposed/{name}?link=https%3A%2F%2Fevil.example")).await;
    assert!(!elsewhere.text.contains("evil.example"), "{}", elsewhere.text);
    // Somebody merges it, and Flux brings it.
    world.create(&manifest).await;
    let there = browser.get(&next).await;
    assert_eq!((there.status, there.header("location")), (303, Some(format!("/tenants/{name}").as_str())));

    // Who may only propose makes nothing in the cluster.
    let mut proposing = console.visited_by(&world, "tenantry-proposer").await;
    let page = proposing.let_in("/onboard").await;
    assert!(page.text.contains("Propose in Git") && !page.text.contains("<button>Onboard</button>"), "{}", page.text);
    let (name, form) = (unique("only-proposed"), form_of(&page));
    let looked = proposing.get(&format!("/onboard/look?name={name}")).await;
    assert!(looked.text.contains("can be had"), "{}", looked.text);
    let made = proposing.send("/onboard", &onboarding("Only proposed", &name, &form)).await;
    assert!(made.status == 403 && made.text.contains("lack the right to create tenants"), "{}", made.text);
    assert_eq!(world.find("Tenant", None, &name).await, None);
    assert_eq!(proposing.send("/onboard/proposal", &onboarding("Only proposed", &name, &form)).await.status, 303);
    assert!(git.git(&["branch", "--list", &format!("tenantry/{name}")]).contains(&name));

    // What is wrong is said, without the token.
    std::fs::write(token.path(), "another-token").unwrap();
    let refused = browser.send("/onboard/proposal", &onboarding("Later", &unique("later"), "another")).await;
    assert!(refused.status == 422 && refused.text.contains("the server refuses the token"), "{}", refused.text);
    assert!(!refused.text.contains("another-token"));
}

#[tokio::test]
async fn a_git_server_is_known_by_its_authority() {
    let world = World::new().await;
    let git = GitServer::start().await;
    let (url, authority) = git.encrypted().await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), git::TOKEN).unwrap();
    let arguments = ["--git-url", &url, "--git-token-file", token.path().to_str().unwrap()];
    let knowing = Console::start_with(&arguments, &[("SSL_CERT_FILE", authority.to_str().unwrap())]).await;
    let mut browser = knowing.visited_by(&world, "tenantry-sales").await;
    let form = form_of(&browser.let_in("/onboard").await);
    let name = unique("encrypted");
    let proposed = browser.send("/onboard/proposal", &onboarding("Encrypted", &name, &form)).await;
    assert_eq!(proposed.status, 303, "{}", proposed.text);
    assert!(git.git(&["branch", "--list", &format!("tenantry/{name}")]).contains(&name));

    let strange = Console::start_with(&arguments, &[]).await;
    let mut browser = strange.visited_by(&world, "tenantry-sales").await;
    let form = form_of(&browser.let_in("/onboard").await);
    let refused = browser.send("/onboard/proposal", &onboarding("Strange", &unique("strange"), &form)).await;
    assert!(refused.status == 422 && refused.text.contains("certificate"), "{}", refused.text);
}

#[tokio::test]
async fn a_release_is_seen_stopped_and_taken_back() {
    let world = World::new().await;
    let console = Console::start().await;
    let blueprint = world.blueprint(json!({})).await;
    let tenant = Tenant::new("released").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    let name = unique("release");
    world.create(&manifest("Release", &name, json!({"blueprint": blueprint, "version": "1.1", "waves": [{"name": "all"}]}))).await;
    let mut admin = console.visited_by(&world, "tenantry-admin").await;
    let page = format!("/releases/{name}");
    wait_until("the page shows that it is complete", LIMIT, async || {
        let text = admin.clone().get(&page).await.text;
        if text.contains(">Complete<") && text.contains("1 of 1 done") { Ok(()) } else { Err(text) }
    })
    .await;
    let list = admin.let_in("/releases").await.text;
    assert!(list.contains(&page) && list.contains("aria-label=\"1 of 1 done, 0 moving, 0 failed\""), "{list}");
    let uid = world.get("Release", None, &name).await["metadata"]["uid"].as_str().unwrap().to_owned();
    let mut seller = console.visited_by(&world, "tenantry-sales").await;
    seller.let_in(&page).await;
    seller.open("/login").await;
    for change in ["pause", "go-on", "roll-back"] {
        let refused = seller.send(&format!("{page}/{change}"), &[("uid", &uid)]).await;
        assert!(refused.status == 403 && refused.text.contains("lack the right to patch releases"), "{change}: {}", refused.text);
    }
    admin.open(&format!("{page}/pause")).await;
    assert_eq!(admin.send(&format!("{page}/pause"), &[("uid", "another")]).await.status, 409);
    for (change, field) in [("pause", "/spec/paused"), ("roll-back", "/spec/rolledBack")] {
        let mut answer = admin.send(&format!("{page}/{change}"), &[("uid", &uid)]).await;
        if answer.status == 409 {
            assert!(answer.text.contains("This was set by"), "{}", answer.text);
            answer = admin.send(&format!("{page}/{change}"), &[("uid", &uid), ("overwrite", "true")]).await;
        }
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert_eq!(world.get("Release", None, &name).await.pointer(field), Some(&Value::Bool(true)), "{change}");
    }
}
