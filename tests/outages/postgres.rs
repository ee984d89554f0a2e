//! A database server of several is killed, and comes back after a while.

use crate::crowd::{Crowd, is};
use crate::outage;
use crate::support::{Audit, Operator, Postgres, Tenant, World, admin_secret, condition, unique, variable};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How often it is looked at what is said.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A Postgres that the test may kill.
struct Second {
    /// What dev/postgres knows it by.
    name: String,
    postgres: Postgres,
}

impl Second {
    /// The one that dev/test or dev/outages started.
    fn find() -> Self {
        let name = variable("TENANTRY_OUTAGE_POSTGRES");
        let text = std::fs::read_to_string(root().join(".local").join(&name).join("env")).expect("the environment that dev/postgres wrote");
        let variables: HashMap<_, _> = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('=')).collect();
        let postgres = Postgres::from_variables(|name| variables.get(name).copied().unwrap_or_default().replace('\\', ""));
        Self { name, postgres }
    }

    fn dev_postgres(&self, command: &str) {
        let program = root().join("dev/postgres");
        let output = Command::new(program).args([command, &self.name]).output().expect("dev/postgres starts");
        assert!(output.status.success(), "dev/postgres {command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A DatabaseServer in a region of its own.
async fn database_server(world: &World, postgres: &Postgres) -> String {
    let mut secret = admin_secret(postgres);
    let name = unique("outage");
    secret["metadata"]["name"] = name.clone().into();
    world.apply(&secret).await;
    world.server(json!({"host": postgres.host, "port": postgres.port, "database": postgres.database, "adminSecret": {"name": name}})).await
}

#[tokio::test]
async fn all_tenants_come_up_although_their_database_server_is_killed_meanwhile_and_those_of_another_notice_nothing() {
    let (_alone, world) = World::alone().await;
    let second = Second::find();
    let operator = world.environment.start_leader().await;
    let region = database_server(&world, &second.postgres).await;
    let audit = Audit::begin();
    let half = crate::tenants() / 2;
    let mut crowd = Crowd::onboard(&world, &region, crate::tenants() - half).await;
    crowd.first_are("DatabaseReady").await;
    second.dev_postgres("crash");
    // However far the others have come, these find it gone.
    crowd.grow(half).await;
    let until = Instant::now() + outage();
    let other = Tenant::new("elsewhere").with(json!({"deletion": {"policy": "Delete"}})).create_in(&world).await;
    let (said, ready) = futures::join!(hear(&crowd, &operator, until), other.ready());
    assert_eq!(ready.reason, "Ready");
    assert!(said.iter().any(|reason| reason.starts_with("Database")), "who waits for Postgres says so: {said:?}");

    second.dev_postgres("restart");
    crowd.all_ready().await;
    crowd.assert_databases(&second.postgres).await;
    crowd.assert_nothing_was_made_twice(&audit);
    other.delete().await.gone().await;
    crowd.leave().await;
}

/// Listens until then: nobody is stalled, since waiting helps; who isn't ready says so, and gives a reason; the metrics count the same.
async fn hear(crowd: &Crowd, operator: &Operator, until: Instant) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    loop {
        let all = crowd.look().await;
        for tenant in &all {
            assert!(!is(tenant, "Stalled"), "{}", tenant["status"]["conditions"]);
            let is_heard_of = tenant["status"]["conditions"].is_array();
            assert!(!is_heard_of || is(tenant, "Reconciling") != is(tenant, "Ready"), "{}", tenant["status"]["conditions"]);
            said.extend(condition(tenant, "Ready").filter(|ready| ready.status != "True").map(|ready| ready.reason));
        }
        let counted = operator.metric("tenantry_tenants", "").await;
        assert!(counted >= all.len() as f64, "{counted} tenants are counted");
        assert_eq!(operator.metric("tenantry_tenants", "state=\"Stalled\"").await, 0.0);
        if Instant::now() > until {
            return said;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
