//! Where a secret must not show: a canary is planted, and every place searched.

use crate::attack::name;
use crate::support::{LIMIT, Proxy, Tenant, World, psql, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

/// The values of a tenant's Secrets that nobody else may see.
async fn secret_values(tenant: &Tenant) -> Vec<String> {
    let (database, generated) = (tenant.secret("database").await, tenant.secret("generated").await);
    let values = vec![database["password"].clone(), generated["SECRET_KEY"].clone()];
    assert!(values.iter().all(|value| value.len() >= 16) && database["uri"].contains(&values[0]));
    values
}

/// A wait for another password than before.
async fn rotated(tenant: &Tenant, before: &str) {
    wait_until("the password is another", LIMIT, async || match tenant.secret("database").await["password"] == before {
        false => Ok(()),
        true => Err("it is the same".to_owned()),
    })
    .await;
}

/// All places in which a secret could show, each with its text.
async fn places(world: &World) -> Vec<(String, String)> {
    let mut places = Vec::new();
    let kinds = [
        "Tenant",
        "Blueprint",
        "Plan",
        "DatabaseServer",
        "Event",
        "ConfigMap",
        "Deployment",
        "ReplicaSet",
        "Job",
        "Pod",
        "Namespace",
        "Service",
        "ServiceAccount",
        "Ingress",
        "NetworkPolicy",
        "ResourceQuota",
        "LimitRange",
        "RoleBinding",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ];
    for kind in kinds {
        places.extend(world.list(kind, None, "").await.iter().map(|object| (format!("{kind} {}", name(object)), object.to_string())));
    }
    places.push(("the operator's log".to_owned(), world.environment.operator().whole_log()));
    let log = std::fs::read(&world.environment.postgres.log).expect("Postgres' log");
    places.push(("Postgres' log".to_owned(), String::from_utf8_lossy(&log).into_owned()));
    let (server, _) = world.environment.postgres.superuser.rsplit_once('/').expect("a URL with a database");
    let statements = psql(&format!("{server}/postgres"), "select query from pg_stat_statements").await.expect("pg_stat_statements");
    places.push(("pg_stat_statements".to_owned(), statements));
    places
}

/// The places that hold the value, in clear or as Kubernetes writes a Secret's.
fn found<'a>(places: &'a [(String, String)], value: &str) -> Vec<&'a str> {
    let encoded = BASE64.encode(value);
    places.iter().filter(|(_, text)| text.contains(value) || text.contains(&encoded)).map(|(place, _)| place.as_str()).collect()
}

#[tokio::test]
async fn no_secret_shows_anywhere_even_after_a_rotation_and_a_failure() {
    let world = World::new().await;
    let postgres = &world.environment.postgres;
    let proxy = Proxy::to(format!("{}:{}", postgres.host, postgres.port));
    let region = world.server(json!({"host": "127.0.0.1", "port": proxy.port})).await;
    let (calm, shaken) = tokio::join!(
        Tenant::new("calm").ready(),
        Tenant::new("shaken").with(json!({"region": region, "displayName": "canary-of-tests"})).create()
    );
    // Its pods find no node in a region that has none: the database is what counts here.
    shaken.condition("DatabaseReady", "True").await;
    let mut values = [secret_values(&calm).await, secret_values(&shaken).await].concat();
    for tenant in [&calm, &shaken] {
        let before = tenant.secret("database").await["password"].clone();
        tenant.annotate("tenantry.dev/rotate", "first").await;
        rotated(tenant, &before).await;
        values.extend(secret_values(tenant).await);
    }
    proxy.cut();
    shaken.annotate("tenantry.dev/rotate", "second").await;
    shaken.condition("DatabaseReady", "False").await;
    proxy.mend();
    rotated(&shaken, &values[values.len() - 2]).await;
    shaken.condition("DatabaseReady", "True").await;
    // A manifest that the API server or Postgres refuses is told of, too.
    postgres.admin(&format!("drop schema {} cascade", calm.owner())).await;
    calm.annotate("tenantry.dev/reconcile", "look").await.condition("Ready", "False").await;
    values.extend(secret_values(&shaken).await);
    values.push(postgres.password.trim().to_owned());
    values.sort();
    values.dedup();
    assert!(values.len() >= 7, "{} values", values.len());

    postgres.admin("set application_name = 'canary-of-tests'").await;
    psql(&postgres.superuser, "set application_name = 'canary-of-tests'").await.expect("psql");
    let places = places(&world).await;
    for value in &values {
        assert_eq!(found(&places, value), Vec::<&str>::new(), "a secret shows");
    }
    // What is no secret is found by the same search.
    let canary = found(&places, "canary-of-tests");
    for place in
        [format!("Tenant {}", shaken.name), "Postgres' log".to_owned(), "pg_stat_statements".to_owned(), "ConfigMap settings".to_owned()]
    {
        assert!(canary.contains(&place.as_str()), "{place} is not in {canary:?}");
    }
    assert!(found(&places, &shaken.name).contains(&"the operator's log"));
}

#[tokio::test]
async fn the_log_of_a_failed_migration_shows_no_secret() {
    let tenant = Tenant::new("talkative").ready().await;
    // A product may log its whole environment. What simulated pods log is always the same, so the secret is made to be a part of it.
    let logged = "planner.0002_task_due_index";
    tenant.world.merge("Secret", Some(&tenant.namespace), "generated", &json!({"stringData": {"SECRET_KEY": logged}})).await;
    tenant.annotate("tenantry.dev/reconcile", "look").await;
    tenant.change(json!({"release": {"version": "2.0-failing-migration"}})).await;
    let message = tenant.stalled("MigrationFailed").await;
    assert!(message.contains("Applying [secret]..."), "{message}");
    assert!(message.contains("relation \"planner_task\" does not exist"), "the rest of the log: {message}");
    assert_eq!(tenant.secret("generated").await["SECRET_KEY"], logged);
    let shown: Vec<_> = places(&tenant.world).await.into_iter().filter(|(_, text)| text.contains(&tenant.name)).collect();
    assert!(shown.iter().any(|(place, text)| place.starts_with("Event") && text.contains("[secret]")), "no Event tells of it");
    assert_eq!(found(&shown, logged), Vec::<&str>::new());
}
