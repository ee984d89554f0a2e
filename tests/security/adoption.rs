//! What is there and isn't the tenant's: never adopted, never overwritten.

use crate::attack::*;
use crate::support::{LIMIT, Tenant, World, unique, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// What is there stays as it is while the tenant is stalled for it.
async fn is_left_alone(tenant: &Tenant, before: &Value, sentence: &str) {
    let message = tenant.stalled("NotOurs").await;
    assert_eq!(message, sentence);
    let (kind, namespace) = (before["kind"].as_str().expect("a kind"), before["metadata"]["namespace"].as_str());
    let mut after = tenant.world.get(kind, namespace, &name(before)).await;
    let mut before = before.clone();
    for object in [&mut before, &mut after] {
        // Kubernetes' own writes to a namespace.
        for field in ["resourceVersion", "managedFields"] {
            object["metadata"][field] = Value::Null;
        }
    }
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_namespace_that_is_not_the_tenants_is_not_adopted() {
    let world = World::new().await;
    let tenant_name = unique("late");
    // Not even one that has our label.
    let labels = json!({"tenantry.dev/tenant": tenant_name, "theirs": "yes"});
    let namespace = world
        .create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("tenant-{tenant_name}"), "labels": labels}}))
        .await;
    let tenant = Tenant::named(&tenant_name).create().await;
    let key = format!("Namespace {}", tenant.namespace);
    is_left_alone(&tenant, &namespace, &format!("{key} exists already and isn't this tenant's; it is not touched: delete or rename it"))
        .await;
    assert_eq!(tenant.objects("Deployment").await, Vec::<Value>::new());
    world.delete("Namespace", None, &tenant.namespace).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_service_and_a_secret_that_are_not_the_tenants_are_not_overwritten() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({})).await;
    let tenant = Tenant::new("crowded").with(json!({"blueprint": blueprint})).ready().await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "worker", "namespace": tenant.namespace},
        "spec": {"selector": {"theirs": "yes"}, "ports": [{"port": 1234}]},
    });
    let service = world.create(&service).await;
    let set_port = async |port: Value| {
        let mut components = world.get("Blueprint", None, &blueprint).await["spec"]["components"].clone();
        components[1]["port"] = port;
        components[1].as_object_mut().unwrap().retain(|_, value| !value.is_null());
        world.merge("Blueprint", None, &blueprint, &json!({"spec": {"components": components}})).await;
    };
    set_port(json!(9000)).await;
    let sentence = |kind: &str, name: &str| {
        let namespace = &tenant.namespace;
        format!("{kind} {namespace}/{name} exists already and isn't this tenant's; it is not touched: delete or rename it")
    };
    is_left_alone(&tenant, &service, &sentence("Service", "worker")).await;
    set_port(Value::Null).await;
    tenant.ready().await;

    world.delete("Secret", Some(&tenant.namespace), "generated").await;
    let theirs = world.create(&secret(&tenant.namespace, "generated")).await;
    tenant.annotate("tenantry.dev/reconcile", "look").await;
    is_left_alone(&tenant, &theirs, &sentence("Secret", "generated")).await;
}

#[tokio::test]
async fn a_recreated_name_gets_nothing_of_the_old() {
    for policy in ["Delete", "Retain"] {
        let former = Tenant::new("phoenix").with(json!({"deletion": {"policy": policy}})).ready().await;
        former.sql("create table note (text text); insert into note values ('canary')").await.unwrap();
        let (uid, url, key) = (former.uid().await, former.database_url().await, former.secret("generated").await["SECRET_KEY"].clone());
        former.delete().await.gone().await;

        let namesake = Tenant::named(&former.name).create().await;
        if policy == "Retain" {
            let message = namesake.stalled("FormerTenant").await;
            assert!(message.contains(&uid), "{message}");
            // Nor by a UID that is nearly right, or another tenant's.
            let stranger = Tenant::new("stranger").ready().await.uid().await;
            for wrong in [stranger, uid.replace(|c: char| c == uid.chars().next().unwrap(), "z"), "0".to_owned()] {
                namesake.change(json!({"database": {"adopt": wrong}})).await.stalled("FormerTenant").await;
            }
        } else {
            namesake.ready().await;
            let tables = namesake.sql("select count(*) from pg_tables where schemaname = current_schema").await.unwrap();
            assert_eq!(tables, "0");
            assert_ne!(namesake.secret("generated").await["SECRET_KEY"], key);
        }
        let refused = crate::support::psql(&url, "select 1").await.unwrap_err();
        assert!(refused.contains("not permitted to log in") || refused.contains("password authentication failed"), "{refused}");
    }
}

#[tokio::test]
async fn a_tenant_is_served_only_by_a_server_of_its_region() {
    let world = World::new().await;
    let server = world.server(json!({})).await;
    let tenant = Tenant::new("resident").with(json!({"region": server})).ready().await;
    world.merge("DatabaseServer", None, &server, &json!({"spec": {"region": "elsewhere"}})).await;
    let message = tenant.stalled("RegionMismatch").await;
    assert!(message.contains(&server) && message.contains("elsewhere"), "{message}");
    tenant.condition("Available", "True").await;
    world.merge("DatabaseServer", None, &server, &json!({"spec": {"region": server}})).await;
    tenant.ready().await;
}

#[tokio::test]
async fn nothing_but_a_pull_secret_leaves_the_operators_namespace() {
    let world = World::new().await;
    // What a blueprint that names the login to the database server as its pull secret gets.
    let blueprint = world.blueprint(json!({"image": {"pullSecret": "postgres"}})).await;
    let tenant = Tenant::new("curious").with(json!({"blueprint": blueprint})).create().await;
    tenant.reason("Ready", "False", "PullSecretUnusable").await;
    assert!(tenant.find("Secret", "registry").await.is_none());

    let registry = unique("registry");
    let configuration = json!({"auths": {"localhost": {"auth": "dGVzdDp0ZXN0"}}}).to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": registry, "namespace": crate::support::NAMESPACE},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": configuration, "password": "more than a pull secret"},
    });
    world.create(&secret).await;
    let blueprint = world.blueprint(json!({"image": {"pullSecret": registry}})).await;
    let tenant = Tenant::new("pulling").with(json!({"blueprint": blueprint})).ready().await;
    assert_eq!(tenant.secret("registry").await, [(".dockerconfigjson".to_owned(), configuration)].into());
    world.delete("Secret", Some(crate::support::NAMESPACE), &registry).await;
}

/// What a tenant's people write into the Secret of their login, and the operator's answer to it.
async fn rewritten(tenant: &Tenant, values: Value) -> std::collections::BTreeMap<String, String> {
    let before = tenant.object("Secret", "database").await["metadata"]["resourceVersion"].clone();
    let written = tenant.world.merge("Secret", Some(&tenant.namespace), "database", &json!({"stringData": values})).await;
    assert_ne!(written["metadata"]["resourceVersion"], before);
    tenant.annotate("tenantry.dev/reconcile", &unique("look")).await;
    let version = written["metadata"]["resourceVersion"].clone();
    tenant.object_until("Secret", "database", "is put right", |now| (now["metadata"]["resourceVersion"] != version).then_some(())).await;
    wait_until("its login works", LIMIT, async || tenant.sql("select 1").await).await;
    tenant.ready().await;
    tenant.secret("database").await
}

#[tokio::test]
async fn a_secret_that_names_anothers_login_makes_nobody_another() {
    let (tenant, victim) = tokio::join!(Tenant::new("posing").ready(), Tenant::new("posed").ready());
    let (own, theirs) = (tenant.secret("database").await, victim.secret("database").await);
    for name in [theirs["username"].clone(), victim.owner(), "tenantry".to_owned(), "postgres".to_owned(), format!("{}.01", tenant.owner())]
    {
        let now = rewritten(&tenant, json!({"username": name})).await;
        assert_eq!(now["username"], own["username"], "{name}");
    }
    // The victim's password is what it was, its data its own.
    assert_eq!(victim.secret("database").await["password"], theirs["password"]);
    assert_eq!(victim.sql("select session_user").await.unwrap(), theirs["username"]);
    let now =
        rewritten(&tenant, json!({"host": "evil.example.com", "uri": "postgresql://evil.example.com/x", "dbname": victim.owner()})).await;
    assert_eq!((&now["host"], &now["uri"], &now["dbname"]), (&own["host"], &now["uri"], &own["dbname"]));
    assert!(!now["uri"].contains("evil"), "{}", now["host"]);
}

#[tokio::test]
async fn a_password_that_somebody_chose_is_replaced() {
    let tenant = Tenant::new("weak").ready().await;
    for chosen in
        ["secret", "a", "x@evil.example.com:5432/y?sslmode=disable#", "with a space and 'quotes' and \n a line", &"a".repeat(100_000)]
    {
        let now = rewritten(&tenant, json!({"password": chosen})).await;
        assert_ne!(now["password"], chosen);
        assert!(now["password"].len() == 32 && now["password"].chars().all(|c| c.is_ascii_alphanumeric()), "the form of ours");
    }
    // Nor does a login's number run over.
    let login = format!("{}.{}", tenant.owner(), u32::MAX);
    let now = rewritten(&tenant, json!({"username": login})).await;
    tenant.annotate("tenantry.dev/rotate", "now").await;
    tenant
        .object_until("Secret", "database", "another login", |secret| {
            (secret["data"]["username"] != BASE64.encode(&now["username"])).then_some(())
        })
        .await;
    assert_eq!(tenant.secret("database").await["username"], format!("{}.1", tenant.owner()));
    wait_until("its login works", LIMIT, async || tenant.sql("select 1").await).await;
}
