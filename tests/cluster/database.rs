//! A tenant's database: where it is placed, what its login reaches, that drift is repaired, and that a loss is never hidden.

use crate::support::{LIMIT, Tenant, World, admin_secret, condition, psql, unique, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

#[tokio::test]
async fn the_secrets_url_works_and_all_that_is_made_by_it_is_the_owners() {
    let tenant = Tenant::new("works").ready().await;
    tenant.sql("create table made (word text)").await.unwrap();
    let owner = tenant.owner();
    assert_eq!(
        tenant.sql("select tableowner, schemaname from pg_tables where tablename = 'made' and schemaname = current_schema").await.unwrap(),
        format!("{owner}|{owner}")
    );
    assert_eq!(tenant.sql("show search_path").await.unwrap(), owner);
    assert_eq!(tenant.sql("select session_user || ' ' || current_user").await.unwrap(), format!("{owner}.1 {owner}"));
}

#[tokio::test]
async fn a_tenant_has_a_database_of_its_own_where_the_blueprint_says_so() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({"database": {"isolation": "Database"}})).await;
    let tenant = Tenant::new("alone").with(json!({"blueprint": blueprint, "deletion": {"policy": "Delete"}})).ready().await;
    assert_eq!(tenant.sql("select current_database()").await.unwrap(), tenant.owner());
    tenant.sql("create table made (word text)").await.unwrap();
    tenant.delete().await.gone().await;
    let left = world.environment.postgres.admin(&format!("select datname from pg_database where datname = '{}'", tenant.owner())).await;
    assert_eq!(left, "");
}

#[tokio::test]
async fn one_tenants_login_reaches_nothing_of_another() {
    let (one, two) = (Tenant::new("one").ready().await, Tenant::new("two").ready().await);
    two.sql("create table secrets (word text); insert into secrets values ('of two')").await.unwrap();
    assert_eq!(two.sql("select word from secrets").await.unwrap(), "of two");
    for sql in ["select * from {}.secrets", "create table {}.mine (word text)", "set role {}", "drop schema {} cascade"] {
        let sql = sql.replace("{}", &two.owner());
        let refused = one.sql(&sql).await.expect_err(&sql);
        assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn tenants_go_to_the_least_loaded_server_of_their_region_and_stay() {
    let world = World::new().await;
    let first = world.server(json!({"capacity": {"tenants": 1}})).await;
    let one = Tenant::new("placed").with(json!({"region": first})).ready().await;
    assert_eq!(one.get().await["status"]["database"]["server"], first);
    let two = Tenant::new("placed").with(json!({"region": first})).create().await;
    two.stalled("DatabaseServersFull").await;
    let second = world.server(json!({"region": first})).await;
    two.ready().await;
    assert_eq!(two.get().await["status"]["database"]["server"], second);
    let nowhere = Tenant::new("nowhere").with(json!({"region": "atlantis"})).create().await;
    assert!(nowhere.stalled("NoDatabaseServer").await.contains("atlantis"));
    wait_until("the server's status counts its tenants", LIMIT, async || {
        let server = world.get("DatabaseServer", None, &second).await;
        if server["status"]["tenants"] == 1 && server["status"]["serverVersion"].is_string() {
            Ok(())
        } else {
            Err(server["status"].to_string())
        }
    })
    .await;
}

#[tokio::test]
async fn drift_in_the_database_is_repaired() {
    let tenant = Tenant::new("drifts").ready().await;
    let (owner, postgres) = (tenant.owner(), &tenant.world.environment.postgres);
    postgres
        .admin(&format!("alter role \"{owner}.1\" connection limit 1; grant usage on schema {owner} to public; alter role {owner} login"))
        .await;
    tenant.annotate("tenantry.dev/reconcile", "now").await;
    wait_until("limits, grants and attributes are as they were", LIMIT, async || {
        let limit = postgres.admin(&format!("select rolconnlimit from pg_roles where rolname = '{owner}.1'")).await;
        let login = postgres.admin(&format!("select rolcanlogin from pg_roles where rolname = '{owner}'")).await;
        let open = postgres
            .admin(&format!("select count(*) from pg_namespace, aclexplode(nspacl) a where nspname = '{owner}' and a.grantee = 0"))
            .await;
        let found = (limit.as_str(), login.as_str(), open.as_str());
        if found == ("10", "f", "0") { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    postgres.admin(&format!("drop owned by \"{owner}.1\"; drop role \"{owner}.1\"")).await;
    tenant.annotate("tenantry.dev/reconcile", "again").await;
    wait_until("the login works again", LIMIT, async || tenant.sql("select 1").await).await;
}

#[tokio::test]
async fn a_schema_that_is_gone_is_said_and_never_made_anew() {
    let tenant = Tenant::new("lost").ready().await;
    let (owner, postgres) = (tenant.owner(), &tenant.world.environment.postgres);
    postgres.admin(&format!("drop schema {owner} cascade")).await;
    tenant.annotate("tenantry.dev/reconcile", "now").await;
    assert!(tenant.stalled("DataMissing").await.contains(&owner));
    assert_eq!(postgres.admin(&format!("select count(*) from pg_namespace where nspname = '{owner}'")).await, "0");
    postgres.admin(&format!("create schema {owner} authorization {owner}")).await;
    tenant.annotate("tenantry.dev/reconcile", "restored").await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_rotation_makes_a_new_login_rolls_the_pods_and_drops_the_old_one_once_nobody_uses_it() {
    let tenant = Tenant::new("rotates").ready().await;
    let (owner, former) = (tenant.owner(), tenant.database_url().await);
    let digest = |deployment: &serde_json::Value| {
        deployment["spec"]["template"]["metadata"]["annotations"]["tenantry.dev/configuration"].as_str().map(str::to_owned)
    };
    let before = digest(&tenant.object("Deployment", "web").await).unwrap();
    // A session of the old login holds it.
    let holding = {
        let url = former.clone();
        tokio::spawn(async move { psql(&url, "select pg_sleep(8)").await })
    };
    tenant.annotate("tenantry.dev/rotate", "one").await;
    tenant.object_until("Deployment", "web", "rolls", |web| digest(web).filter(|now| *now != before)).await;
    assert_eq!(psql(&former, "select 1").await.as_deref(), Ok("1"), "both passwords work while pods roll");
    assert_eq!(tenant.sql("select session_user").await.unwrap(), format!("{owner}.2"));
    holding.await.unwrap().unwrap();
    wait_until("the old login is gone", LIMIT, async || match psql(&former, "select 1").await {
        Err(_) => Ok(()),
        Ok(_) => Err("it works".to_owned()),
    })
    .await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_said_and_others_do_not_notice() {
    let world = World::new().await;
    let server = world.server(json!({})).await;
    let (hit, other) = (Tenant::new("hit").with(json!({"region": server})).ready().await, Tenant::new("other").ready().await);
    world.merge("DatabaseServer", None, &server, &json!({"spec": {"port": 1}})).await;
    hit.annotate("tenantry.dev/reconcile", "now").await;
    hit.reason("DatabaseReady", "False", "DatabaseUnreachable").await;
    hit.condition("Available", "True").await;
    other.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await.ready().await;
    world.merge("DatabaseServer", None, &server, &json!({"spec": {"port": world.environment.postgres.port}})).await;
    hit.ready().await;
}

#[tokio::test]
async fn a_server_on_which_the_operator_lacks_a_right_keeps_its_tenants_and_gets_no_others() {
    let world = World::new().await;
    let postgres = &world.environment.postgres;
    let login = unique("operator").replace('-', "_");
    let mut secret = admin_secret(postgres);
    secret["metadata"]["name"] = login.replace('_', "-").into();
    secret["data"]["username"] = BASE64.encode(&login).into();
    // A password of its own: that of the operator must not be in the server's log.
    secret["data"]["password"] = BASE64.encode(&login).into();
    world.create(&secret).await;
    postgres.admin(&format!("CREATE ROLE {login} LOGIN CREATEROLE PASSWORD '{login}'")).await;
    postgres.admin(&format!("CREATE DATABASE {login} OWNER {login}")).await;
    let server = world.server(json!({"database": login, "adminSecret": {"name": secret["metadata"]["name"]}})).await;
    let before = Tenant::new("before").with(json!({"region": server})).ready().await;

    postgres.admin(&format!("ALTER ROLE {login} NOCREATEROLE")).await;
    // It is looked at anew when its manifest changes.
    world.merge("DatabaseServer", None, &server, &json!({"spec": {"capacity": {"tenants": 50}}})).await;
    wait_until("the server says what is lacking", LIMIT, async || {
        let now = world.get("DatabaseServer", None, &server).await;
        let ready = condition(&now, "Ready").filter(|ready| ready.reason == "DatabaseNeedsAdmin");
        ready.filter(|ready| ready.message.ends_with(&format!("ALTER ROLE \"{login}\" CREATEROLE"))).ok_or_else(|| now.to_string())
    })
    .await;
    before.annotate("tenantry.dev/reconcile", "now").await;
    before.until("it was looked at anew", |tenant| (tenant["status"]["lastHandledReconcileAt"] == "now").then_some(())).await;
    before.ready().await;
    let after = Tenant::new("after").with(json!({"region": server})).create_in(&world).await;
    after.reason("Ready", "False", "DatabaseServersUnreachable").await;

    postgres.admin(&format!("ALTER ROLE {login} CREATEROLE")).await;
    after.ready().await;
}

#[tokio::test]
async fn a_secret_that_names_a_foreign_login_makes_none_of_it() {
    let tenant = Tenant::new("edits").ready().await;
    let (foreign, own) = (format!("{}_foreign", tenant.owner()), format!("{}.1", tenant.owner()));
    let patch = json!({"stringData": {"username": foreign}});
    tenant.world.merge("Secret", Some(&tenant.namespace), "database", &patch).await;
    tenant.annotate("tenantry.dev/reconcile", "now").await;
    wait_until("the Secret names the tenant's own login", LIMIT, async || {
        let username = tenant.secret("database").await["username"].clone();
        if username == own { Ok(()) } else { Err(username) }
    })
    .await;
    wait_until("its password works", LIMIT, async || tenant.sql("select 1").await).await;
    let postgres = &tenant.world.environment.postgres;
    assert_eq!(postgres.admin(&format!("select rolname from pg_roles where rolname = '{foreign}'")).await, "");
}
