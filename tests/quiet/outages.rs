//! Postgres or the API server stops in the middle of fifty creations: all finish after, nothing is lost or made twice, and what is said
//! meanwhile is true.

use crate::audit::Audit;
use crate::support::{Operator, Proxy, Tenant, World, condition, wait_until};
use crate::{alone, leader};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TENANTS: usize = 50;
/// As many may be done when it happens: the rest is under way, or waits.
const BEFORE: usize = 5;
/// How long all may take after it: on this machine, the simulated pods of fifty tenants take a minute.
const AFTER: Duration = Duration::from_secs(240);

/// `TENANTRY_OUTAGE_SECONDS=60` lasts as long as the promise says.
fn outage() -> Duration {
    Duration::from_secs(std::env::var("TENANTRY_OUTAGE_SECONDS").map_or(15, |seconds| seconds.parse().expect("a number of seconds")))
}

/// Fifty customers on a server, at once.
async fn onboard(world: &World, region: &str) -> Vec<Tenant> {
    let make = |_| Tenant::new("crowd").with(json!({"region": region, "deletion": {"policy": "Delete"}})).create_in(world);
    futures::future::join_all((0..TENANTS).map(make)).await
}

async fn tenants_of(world: &World, tenants: &[Tenant]) -> Vec<Value> {
    let names: BTreeSet<_> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
    let all = world.list("Tenant", None, "").await;
    all.into_iter().filter(|tenant| names.contains(tenant["metadata"]["name"].as_str().unwrap_or_default())).collect()
}

fn is(tenant: &Value, kind: &str) -> bool {
    condition(tenant, kind).is_some_and(|condition| condition.status == "True")
}

async fn wait_for_ready(world: &World, tenants: &[Tenant], count: usize, limit: Duration) {
    wait_until(&format!("{count} tenants are ready"), limit, async || {
        let found = tenants_of(world, tenants).await;
        let ready = found.iter().filter(|tenant| is(tenant, "Ready")).count();
        let open = found.iter().find(|tenant| !is(tenant, "Ready")).map(|tenant| tenant["status"]["conditions"].to_string());
        if ready >= count { Ok(()) } else { Err(format!("{ready} of {}; one says {}", found.len(), open.unwrap_or_default())) }
    })
    .await;
}

/// Each object of each tenant was made once.
fn assert_nothing_was_made_twice(audit: &Audit, tenants: &[Tenant]) {
    let namespaces: BTreeSet<_> = tenants.iter().map(|tenant| tenant.namespace.as_str()).collect();
    let mut made = BTreeMap::<_, usize>::new();
    for request in audit.writes() {
        let place = if request.namespace.is_empty() { &request.name } else { &request.namespace };
        if request.verb == "create" && namespaces.contains(place.as_str()) && request.resource != "events" {
            *made.entry((request.resource, request.namespace, request.name)).or_default() += 1;
        }
    }
    assert!(made.len() > TENANTS * 15, "the audit log knows of {} objects only", made.len());
    let twice: Vec<_> = made.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "made twice: {twice:?}");
}

/// The tenants are in as many schemas, each with one owner and one login.
async fn assert_databases(world: &World, tenants: &[Tenant]) {
    for tenant in tenants {
        let owner = tenant.owner();
        let sql = format!(
            "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = '{owner}'), (SELECT count(*) FROM pg_roles WHERE rolname = '{owner}'), \
             (SELECT count(*) FROM pg_roles WHERE rolname LIKE '{}.%')",
            owner.replace('_', "\\_")
        );
        assert_eq!(world.environment.postgres.admin(&sql).await, "1|1|1", "{}", tenant.name);
        assert_eq!(tenant.sql("SELECT current_user").await, Ok(owner), "{}", tenant.name);
    }
}

async fn remove(tenants: Vec<Tenant>) {
    for tenant in &tenants {
        tenant.clone().delete().await;
    }
    for tenant in tenants {
        tenant.gone().await;
    }
}

/// While a server is away: nobody is stalled, since waiting helps; who isn't ready says so; and the metrics count the same.
async fn tell_the_truth(world: &World, operator: &Operator, tenants: &[Tenant], until: Instant) {
    let mut said = BTreeSet::new();
    while Instant::now() < until {
        for tenant in tenants_of(world, tenants).await {
            assert!(!is(&tenant, "Stalled"), "{}", tenant["status"]["conditions"]);
            let ready = condition(&tenant, "Ready");
            said.extend(ready.filter(|ready| ready.status != "True").map(|ready| ready.reason));
        }
        let counted = operator.metric("tenantry_tenants", "").await;
        assert!(counted >= TENANTS as f64, "{counted} tenants are counted");
        assert_eq!(operator.metric("tenantry_tenants", "state=\"Stalled\"").await, 0.0);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(said.iter().any(|reason| reason.starts_with("Database")), "who waits for Postgres says so: {said:?}");
    let all = tenants_of(world, tenants).await;
    let waiting = all.iter().filter(|tenant| is(tenant, "Reconciling")).count();
    assert!(waiting > 0 && all.iter().all(|tenant| is(tenant, "Reconciling") != is(tenant, "Ready")), "{waiting} are reconciling");
}

#[tokio::test]
#[ignore = "takes minutes: cargo test --test quiet outages -- --ignored"]
async fn fifty_tenants_come_up_although_postgres_stops_meanwhile_and_those_of_other_servers_notice_nothing() {
    let (_alone, world) = alone().await;
    let operator = leader(world.environment).await;
    let postgres = &world.environment.postgres;
    let proxy = Proxy::to(format!("{}:{}", postgres.host, postgres.port));
    let region = world.server(json!({"port": proxy.port})).await;
    let audit = Audit::begin();
    let tenants = onboard(&world, &region).await;
    wait_for_ready(&world, &tenants, BEFORE, AFTER).await;
    proxy.cut();
    let until = Instant::now() + outage();
    let other = Tenant::new("elsewhere").create_in(&world).await;
    let (_, ready) = futures::join!(tell_the_truth(&world, &operator, &tenants, until), other.ready());
    assert_eq!(ready.reason, "Ready");
    assert!(tenants_of(&world, &tenants).await.iter().any(|tenant| !is(tenant, "Ready")), "the outage came too late");
    proxy.mend();
    wait_for_ready(&world, &tenants, TENANTS, AFTER).await;
    assert_databases(&world, &tenants).await;
    assert_nothing_was_made_twice(&audit, &tenants);
    other.delete().await.gone().await;
    remove(tenants).await;
}

/// The API server's process, which can be stopped and started again as it was.
struct ApiServer {
    pid_file: PathBuf,
}

impl ApiServer {
    fn find() -> Self {
        let audit = PathBuf::from(std::env::var("TENANTRY_AUDIT_LOG").expect("TENANTRY_AUDIT_LOG isn't set: run dev/test"));
        let cluster = audit.parent().and_then(|logs| logs.parent()).expect("the cluster's folder");
        Self { pid_file: cluster.join("pids/kube-apiserver.pid") }
    }

    fn pid(&self) -> String {
        std::fs::read_to_string(&self.pid_file).expect("the pid of the API server").trim().to_owned()
    }

    /// Kills it; gives what starts it again.
    fn stop(&self) -> Command {
        let pid = self.pid();
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).expect("the API server runs");
        let mut words =
            words.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(|word| String::from_utf8_lossy(word).into_owned());
        let mut command = Command::new("setsid");
        command.arg(words.next().expect("a program")).args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.current_dir(std::fs::read_link(format!("/proc/{pid}/cwd")).expect("its folder"));
        assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
        command
    }

    fn start(&self, mut command: Command) {
        let child = command.spawn().expect("the API server starts");
        std::fs::write(&self.pid_file, child.id().to_string()).expect("the pid of the API server");
    }
}

#[tokio::test]
#[ignore = "takes minutes: cargo test --test quiet outages -- --ignored"]
async fn fifty_tenants_come_up_although_the_api_server_stops_meanwhile() {
    let (_alone, world) = alone().await;
    let mut operator = leader(world.environment).await;
    let audit = Audit::begin();
    let tenants = onboard(&world, crate::support::REGION).await;
    wait_for_ready(&world, &tenants, BEFORE, AFTER).await;
    let server = ApiServer::find();
    let command = server.stop();
    let until = Instant::now() + outage();
    while Instant::now() < until {
        // Who can't renew the lease ends, and is started again, as the kubelet does.
        if let Some(status) = operator.ended() {
            assert!(!status.success(), "who lost the lease ends as a failure");
            operator = world.environment.start_operator(&[]);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    server.start(command);
    wait_until("the API server answers", Duration::from_secs(60), async || world.try_list("Tenant", None, "").await.map(|_| ())).await;
    if operator.ended().is_some() {
        operator = world.environment.start_operator(&[]);
    }
    wait_for_ready(&world, &tenants, TENANTS, AFTER).await;
    operator.leads().await;
    assert_eq!(operator.metric("tenantry_tenants", "reason=\"Ready\"").await, TENANTS as f64);
    assert_databases(&world, &tenants).await;
    assert_nothing_was_made_twice(&audit, &tenants);
    remove(tenants).await;
}
