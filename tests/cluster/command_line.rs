//! What people do by `kubectl tenantry`, by the real program against the real API server.

use crate::support::program::{code, out, said, tenantry};
use crate::support::{LIMIT, REGION, Tenant, World, install_definitions, unique, wait_until};
use serde_json::{Value, json};

/// As the documentation has it.
const CERT_MANAGER: &str = "github.com/cert-manager/cert-manager@v1.21.2";

#[tokio::test]
async fn a_tenant_is_listed_with_what_it_is_at_and_filters_find_it() {
    let world = World::new().await;
    let plan = world.plan(json!({})).await;
    let ready = Tenant::new("listed").with(json!({"plan": plan})).create_in(&world).await;
    let stalled = Tenant::new("listed").with(json!({"plan": plan, "blueprint": "nowhere"})).create_in(&world).await;
    ready.ready().await;
    stalled.stalled("BlueprintMissing").await;

    let all = tenantry(&["list", "--plan", &plan]).await;
    let lines: Vec<_> = out(&all).lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("TENANT") && lines.len() == 3, "{lines:?}");
    assert!(lines[1].starts_with(&stalled.name) && lines[1].contains("✗ BlueprintMissing"), "who needs somebody comes first: {lines:?}");
    assert!(lines[2].starts_with(&ready.name) && lines[2].contains("✓ ready") && lines[2].contains("http://"), "{lines:?}");
    assert!(said(&all).contains(&format!("2 tenants: 1 stalled, 1 ready; next: kubectl tenantry why {}", stalled.name)), "{}", said(&all));

    let names = tenantry(&["list", "--plan", &plan, "--state", "ready", "-o", "name"]).await;
    assert_eq!(out(&names), format!("{}\n", ready.name));
    let list: Value = serde_json::from_slice(&tenantry(&["list", "--plan", &plan, "-o", "json"]).await.stdout).expect("JSON");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    let nonsense = tenantry(&["list", "--state", "fine"]).await;
    assert_eq!(code(&nonsense), 2);
    assert!(said(&nonsense).contains("a state is one of stalled, deleting, working, suspended, ready"), "{}", said(&nonsense));
}

#[tokio::test]
async fn one_tenant_is_shown_step_by_step_and_why_it_is_not_ready() {
    let world = World::new().await;
    let tenant = Tenant::new("shown").create_in(&world).await;
    let watched = tenantry(&["get", &tenant.name, "--watch", "--timeout", "60s"]).await;
    assert_eq!(code(&watched), 0, "{}", said(&watched));
    assert!(said(&watched).contains("✓ Answering"), "{}", said(&watched));
    assert!(said(&watched).contains(&format!("next: kubectl tenantry open {}", tenant.name)), "{}", said(&watched));

    let screen = out(&tenantry(&["get", &tenant.name]).await);
    for part in
        ["✓ Space", "✓ Database", "✓ Secrets", "✓ Migration", "✓ Pods", "✓ Address", "✓ Answering", "web", "1/1 pods", "Last events"]
    {
        assert!(screen.contains(part), "{part} is missing:\n{screen}");
    }
    let address = out(&tenantry(&["open", &tenant.name]).await);
    assert_eq!(address.trim(), tenant.get().await["status"]["url"].as_str().unwrap());
    assert_eq!(code(&tenantry(&["why", &tenant.name]).await), 0);

    // The cause lies deeper than that the database is being migrated.
    tenant.change(json!({"release": {"version": "2.0-not-pullable"}})).await;
    wait_until("the cause is found", LIMIT, async || {
        let why = tenantry(&["why", &tenant.name]).await;
        let is_found = code(&why) == 1 && out(&why).contains("2.0-not-pullable can't be pulled: manifest unknown");
        if is_found { Ok(()) } else { Err(out(&why)) }
    })
    .await;
    // Who only sees the Tenant is told, too.
    tenant.reason("Migrated", "False", "MigrationNotStarted").await;
    let screen = out(&tenantry(&["get", &tenant.name]).await);
    assert!(screen.contains("has not started: the image localhost/sample:2.0-not-pullable can't be pulled: manifest unknown"), "{screen}");
    tenant.change(json!({"release": null})).await.ready().await;

    tenant.change(json!({"plan": "nowhere"})).await.stalled("PlanMissing").await;
    let why = tenantry(&["why", &tenant.name]).await;
    assert_eq!(code(&why), 1);
    assert!(out(&why).contains("✗ PlanMissing: Plan nowhere doesn't exist"), "{}", out(&why));
    assert!(said(&why).contains("whoever wrote the Tenant"), "{}", said(&why));
    assert_eq!(code(&tenantry(&["get", &tenant.name]).await), 1);
    let nobody = tenantry(&["get", "nobody-at-all"]).await;
    assert_eq!(code(&nobody), 1);
    assert!(said(&nobody).contains("there is no tenant nobody-at-all: kubectl tenantry list tells which there are"), "{}", said(&nobody));
}

#[tokio::test]
async fn a_tenant_is_suspended_resumed_and_looked_at_anew() {
    let world = World::new().await;
    let tenant = Tenant::new("changed").create_in(&world).await;
    tenant.ready().await;
    let suspended = tenantry(&["suspend", &tenant.name]).await;
    assert_eq!(code(&suspended), 0, "{}", said(&suspended));
    let web = tenant.object("Deployment", "web").await;
    assert_eq!(web["spec"]["replicas"], 0, "it waits until it is so");
    let again = tenantry(&["suspend", &tenant.name]).await;
    assert!(said(&again).contains("is so already"), "{}", said(&again));
    assert_eq!(code(&tenantry(&["resume", &tenant.name]).await), 0);
    assert_eq!(tenant.object("Deployment", "web").await["spec"]["replicas"], 1);

    let asked = tenantry(&["reconcile", &tenant.name]).await;
    assert_eq!(code(&asked), 0, "{}", said(&asked));
    let now = tenant.get().await;
    let request = &now["metadata"]["annotations"]["tenantry.dev/reconcile"];
    assert!(request.is_string() && now["status"]["lastHandledReconcileAt"] == *request, "{now}");

    let mark = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "tenants"}}});
    world.merge("Tenant", None, &tenant.name, &mark).await;
    let of_git = tenantry(&["suspend", &tenant.name, "--no-wait"]).await;
    assert!(said(&of_git).contains("is managed by Git"), "{}", said(&of_git));
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_beside_what_it_is_for() {
    let world = World::new().await;
    let tenant = Tenant::new("certified").create_in(&world).await;
    tenant.ready().await;
    let before = out(&tenantry(&["get", &tenant.name]).await);
    assert!(!before.contains("Certificate"), "{before}");
    // cert-manager's own kind; what it says of it is played.
    install_definitions(CERT_MANAGER, &["deploy/crds/cert-manager.io_certificates.yaml".to_owned()]);
    let certificate = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "web-tls", "namespace": tenant.namespace},
        "spec": {"secretName": "web-tls", "dnsNames": ["certified.example.com"], "issuerRef": {"name": "letsencrypt", "kind": "ClusterIssuer"}},
    });
    world.create(&certificate).await;
    let told = out(&tenantry(&["get", &tenant.name]).await);
    assert!(told.contains("web-tls isn't there yet: nobody has looked at it"), "{told}");
    let now = jiff::Timestamp::now();
    let (begin, end) = (now.to_string(), (now + std::time::Duration::from_secs(60 * 24 * 3600 + 60)).to_string());
    let ready = json!({"type": "Ready", "status": "True", "reason": "Ready", "message": "up to date", "lastTransitionTime": begin});
    let status = json!({"status": {"notBefore": begin, "notAfter": end, "conditions": [ready]}});
    world.merge_status("Certificate", Some(&tenant.namespace), "web-tls", &status).await;
    let told = out(&tenantry(&["get", &tenant.name]).await);
    assert!(told.contains("web-tls until") && told.contains("60 days left"), "{told}");
}

#[tokio::test]
async fn nothing_is_deleted_before_the_name_was_given() {
    let world = World::new().await;
    let tenant = Tenant::new("deleted").with(json!({"deletion": {"policy": "Delete"}})).create_in(&world).await;
    tenant.ready().await;
    let unasked = tenantry(&["delete", &tenant.name]).await;
    assert_eq!(code(&unasked), 1);
    assert!(said(&unasked).contains("ITS DATA IS DROPPED") && said(&unasked).contains("--confirm"), "{}", said(&unasked));
    let wrong = tenantry(&["delete", &tenant.name, "--confirm", "another"]).await;
    assert_eq!(code(&wrong), 1);
    assert!(tenant.get().await["metadata"]["deletionTimestamp"].is_null());

    tenant.change(json!({"deletion": {"protected": true}})).await.ready().await;
    let protected = tenantry(&["delete", &tenant.name, "--confirm", &tenant.name]).await;
    assert!(code(&protected) == 1 && said(&protected).contains("is protected"), "{}", said(&protected));

    tenant.change(json!({"deletion": {"protected": false}})).await.ready().await;
    let later = tenantry(&["delete", &tenant.name, "--in", "7d", "--confirm", &tenant.name]).await;
    assert!(code(&later) == 0 && said(&later).contains(&format!("kubectl tenantry keep {}", tenant.name)), "{}", said(&later));
    tenant.reason("Ready", "True", "DeletionScheduled").await;
    let kept = tenantry(&["keep", &tenant.name]).await;
    assert!(code(&kept) == 0 && said(&kept).contains("no longer to be deleted"), "{}", said(&kept));
    assert_eq!(tenant.get().await["spec"]["deletion"]["at"], Value::Null);
    let deleted = tenantry(&["delete", &tenant.name, "--confirm", &tenant.name]).await;
    assert_eq!(code(&deleted), 0, "{}", said(&deleted));
    assert!(world.find("Tenant", None, &tenant.name).await.is_none(), "it waits until it is gone");
}

#[tokio::test]
async fn a_customer_is_onboarded_until_the_page_answers_and_no_address_is_given_twice() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({})).await;
    let (name, domain) = (unique("onboarded"), format!("{}.example.com", unique("onboarded")));
    let known = ["--blueprint", &blueprint, "--plan", "small", "--region", REGION, "--customer", "Acme Inc.", "--yes"];
    let onboard = async |name: &str, more: &[&str]| tenantry(&[&["onboard", name][..], &known[..], more].concat()).await;
    let shown = onboard(&name, &["--domain", &domain, "--manifest"]).await;
    assert!(code(&shown) == 0 && out(&shown).contains("displayName: Acme Inc."), "{}{}", out(&shown), said(&shown));
    assert!(world.find("Tenant", None, &name).await.is_none(), "--manifest makes nothing");

    let made = onboard(&name, &["--domain", &domain]).await;
    assert_eq!(code(&made), 0, "{}", said(&made));
    let tenant = world.get("Tenant", None, &name).await;
    assert_eq!(out(&made).trim(), tenant["status"]["url"].as_str().unwrap());

    let twice = onboard(&name, &[]).await;
    assert!(code(&twice) == 1 && said(&twice).contains(&format!("there is a tenant {name} already, Acme Inc.")), "{}", said(&twice));
    let rival = onboard(&unique("rival"), &["--domain", &domain]).await;
    assert!(code(&rival) == 1 && said(&rival).contains(&format!("{domain} is {name}'s already")), "{}", said(&rival));
    let unsaid = tenantry(&["onboard", &unique("asked"), "--blueprint", &blueprint, "--plan", "small"]).await;
    assert!(code(&unsaid) == 1 && said(&unsaid).contains("which customer? Say it with --customer"), "{}", said(&unsaid));
    world.delete("Tenant", None, &name).await;
}

#[tokio::test]
async fn the_database_is_opened_as_the_tenant_and_nobody_else() {
    let world = World::new().await;
    let tenant = Tenant::new("opened").create_in(&world).await;
    let early = tenantry(&["psql", &tenant.name, "--", "-Atc", "select 1"]).await;
    tenant.ready().await;
    // Before there is a login it says so; it may be there already.
    assert!(code(&early) == 0 || said(&early).contains("kubectl tenantry why"), "{}", said(&early));
    let query = "create table mine (i int); select current_user, current_schema(), (select tableowner from pg_tables where tablename = 'mine' and schemaname = current_schema())";
    let asked = tenantry(&["psql", &tenant.name, "--", "-qAtc", query]).await;
    let owner = format!("tenant_{}", tenant.name.replace('-', "_"));
    assert_eq!(out(&asked).trim(), format!("{owner}|{owner}|{owner}"), "{}", said(&asked));
    assert!(said(&asked).contains(&format!("schema {owner} of database")), "{}", said(&asked));
    // It ends as psql ends.
    let wrong = tenantry(&["psql", &tenant.name, "--", "-c", "select nonsense"]).await;
    assert_eq!(code(&wrong), 1, "{}", said(&wrong));
    let password = tenant.secret("database").await["password"].clone();
    for output in [&asked, &wrong] {
        assert!(!out(output).contains(&password) && !said(output).contains(&password), "the password is told");
    }
}

#[tokio::test]
async fn what_tenants_pay_stands_beside_what_they_reserve() {
    let world = World::new().await;
    let plan = world.plan(json!({"price": {"monthly": "49.00", "currency": "EUR"}})).await;
    let pays = Tenant::new("pays").with(json!({"plan": plan})).create_in(&world).await;
    let trial = Tenant::new("tries").with(json!({"plan": plan, "expiresAt": "2199-01-01T00:00:00Z"})).create_in(&world).await;
    pays.ready().await;
    trial.ready().await;
    let both = tenantry(&["cost", &pays.name, &trial.name, "--core", "20.00"]).await;
    let lines: Vec<String> = out(&both).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines.len(), 4, "{lines:?}{}", said(&both));
    // Three components of one pod each, which the plan's defaults size.
    assert_eq!(lines[1], format!("{} 3 150m 384Mi 49.00 EUR 3.00", pays.name));
    assert_eq!(lines[2], format!("{} 3 150m 384Mi trial 3.00", trial.name));
    assert_eq!(lines[3], "all 6 300m 768Mi 49.00 EUR, 1 on trial 6.00");
    let sums: Value = serde_json::from_slice(&tenantry(&["cost", "--by", "plan", "-o", "json"]).await.stdout).expect("JSON");
    assert_eq!((&sums[&plan]["tenants"], &sums[&plan]["price"]["EUR"]), (&json!(2), &json!(4900)), "{sums}");
}

#[tokio::test]
async fn tab_offers_the_names_that_the_cluster_has() {
    let world = World::new().await;
    let tenant = Tenant::new("offered").create_in(&world).await;
    let asked = |name: &str, words: &[&str]| {
        // As kubectl asks: by another name of the program.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tenantry"));
        std::os::unix::process::CommandExt::arg0(&mut command, name);
        command.args(words).output().expect("the program starts")
    };
    let answer = out(&asked("/usr/bin/kubectl_complete-tenantry", &["get", "offered-"]));
    assert!(answer.lines().any(|line| line == tenant.name) && answer.ends_with(":4\n"), "{answer}");
    let by_alias = out(&asked("kubectl_complete-tenant", &["list", "--plan", "sma"]));
    assert_eq!(by_alias, "small\n:4\n");
    let nowhere = out(&asked("kubectl_complete-tenantry", &["get", "--context", "nowhere", "off"]));
    assert_eq!(nowhere, ":0\n", "a cluster that can't be asked offers nothing");
}

/// The name of a running pod of a component.
async fn pod_of(tenant: &Tenant, component: &str) -> String {
    let selector = format!("app.kubernetes.io/component={component}");
    wait_until(&format!("there is a pod of {component}"), LIMIT, async || {
        let pods = tenant.world.list("Pod", Some(&tenant.namespace), &selector).await;
        pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned).ok_or_else(|| format!("{pods:?}"))
    })
    .await
}

#[tokio::test]
async fn a_pod_is_traced_to_the_commit_that_it_came_with_and_a_tenant_to_all_that_is_its_own() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({})).await;
    let tenant = Tenant::new("traced").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let published =
        tenantry(&["publish", "--blueprint", &blueprint, "--version", "1.1", "--commit", commit, "--wait", "--timeout", "60s"]).await;
    assert_eq!(code(&published), 0, "{}", said(&published));
    tenant.ready().await;
    let pod = wait_until("a pod of the release runs", LIMIT, async || {
        let pods = world.list("Pod", Some(&tenant.namespace), "app.kubernetes.io/component=web,app.kubernetes.io/version=1.1").await;
        pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned).ok_or_else(|| format!("{} pods", pods.len()))
    })
    .await;
    let traced = tenantry(&["trace", &format!("pod/{pod}"), "-n", &tenant.namespace]).await;
    assert_eq!(code(&traced), 0, "{}", said(&traced));
    for words in [&pod, &tenant.name, "web", "1.1", commit] {
        assert!(out(&traced).contains(words), "no {words} in\n{}", out(&traced));
    }
    let stranger = tenantry(&["trace", "pod/nobody", "-n", &tenant.namespace]).await;
    assert!(code(&stranger) == 1 && said(&stranger).contains("there is no pod nobody"), "{}", said(&stranger));

    let tree = out(&tenantry(&["tree", &tenant.name]).await);
    for words in [&format!("Tenant/{}", tenant.name), "Deployment/web", &format!("Pod/{pod}"), "Secret/database", "Service/web", "Ingress/"]
    {
        assert!(tree.contains(words), "no {words} in\n{tree}");
    }
    let events = out(&tenantry(&["events", &tenant.name]).await);
    assert!(events.contains("Released") && events.contains(&pod), "what happened to its pods is told too:\n{events}");
}

#[tokio::test]
async fn a_migration_is_run_again_and_a_login_replaced_by_hand() {
    let world = World::new().await;
    let tenant = Tenant::new("by-hand").create_in(&world).await;
    tenant.ready().await;
    let login = tenant.secret("database").await["username"].clone();
    let rotated = tenantry(&["rotate", &tenant.name, "--timeout", "60s"]).await;
    assert_eq!(code(&rotated), 0, "{}", said(&rotated));
    assert_ne!(tenant.secret("database").await["username"], login, "it waits until the request was answered");

    tenant.change(json!({"release": {"version": "2.0-failing-migration"}})).await.stalled("MigrationFailed").await;
    let jobs = async || world.list("Job", Some(&tenant.namespace), "app.kubernetes.io/component=migrate").await.len();
    let before = jobs().await;
    let retried = tenantry(&["retry", &tenant.name, "--timeout", "60s"]).await;
    assert_eq!(code(&retried), 1, "it fails again, and says so: {}", said(&retried));
    assert!(said(&retried).contains("the migration of") && said(&retried).contains("kubectl tenantry retry"), "{}", said(&retried));
    assert!(jobs().await >= before, "{before} migrations before");
}

#[tokio::test]
async fn logs_are_kubectls_for_a_component() {
    let world = World::new().await;
    let tenant = Tenant::new("logged").create_in(&world).await;
    tenant.ready().await;
    pod_of(&tenant, "web").await;
    let of_web = tenantry(&["logs", &tenant.name, "web", "--", "--tail", "1"]).await;
    assert_eq!(out(&of_web).lines().count(), 1, "{}{}", out(&of_web), said(&of_web));
    let of_all = tenantry(&["logs", &tenant.name]).await;
    assert!(out(&of_all).contains("[pod/web-") && out(&of_all).contains("[pod/worker-"), "{}{}", out(&of_all), said(&of_all));
    let of_none = tenantry(&["logs", &tenant.name, "nothing"]).await;
    assert!(code(&of_none) != 0 && said(&of_none).contains("nothing"), "{}", said(&of_none));
}

#[tokio::test]
async fn how_much_data_there_is_is_told_to_who_may_read_the_login() {
    let tenant = Tenant::new("measured").ready().await;
    tenant.sql("create table made as select repeat('x', 1000) as word from generate_series(1, 3000)").await.unwrap();
    let shown = tenantry(&["get", &tenant.name, "--verbose"]).await;
    let size = regex::Regex::new(r"Database +\S+ on main, schema \S+, ([0-9]+) MiB").unwrap();
    let found = out(&shown);
    let found = size.captures(&found).unwrap_or_else(|| panic!("no size: {found}{}", said(&shown)));
    assert!((3..6).contains(&found[1].parse::<u32>().unwrap()), "{}", &found[0]);
    let viewer = unique("viewer");
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": viewer});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tenantry-viewer"});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": viewer}, "subjects": [subject], "roleRef": role,
    });
    tenant.world.create(&binding).await;
    let shown = wait_until("a viewer is shown the tenant", LIMIT, async || {
        let shown = tenantry(&["get", &tenant.name, "--verbose", "--as", &viewer]).await;
        if out(&shown).contains(&tenant.name) { Ok(shown) } else { Err(said(&shown)) }
    })
    .await;
    assert!(!out(&shown).contains("MiB") && said(&shown).contains("you may not read Secret"), "{}{}", out(&shown), said(&shown));
    tenant.world.delete("ClusterRoleBinding", None, &viewer).await;
}

#[tokio::test]
async fn an_address_is_printed_where_nobody_can_open_it() {
    let world = World::new().await;
    let tenant = Tenant::new("opened").create_in(&world).await;
    tenant.ready().await;
    let url = tenant.get().await["status"]["url"].as_str().expect("an address").to_owned();
    assert_eq!(out(&tenantry(&["open", &tenant.name]).await), format!("{url}\n"));
    let lost = Tenant::new("opened").with(json!({"blueprint": "nowhere"})).create_in(&world).await;
    lost.stalled("BlueprintMissing").await;
    let nowhere = tenantry(&["open", &lost.name]).await;
    assert!(code(&nowhere) == 1 && said(&nowhere).contains(&format!("kubectl tenantry why {}", lost.name)), "{}", said(&nowhere));
}
