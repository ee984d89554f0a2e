//! What a pod of one tenant can't do, tried from inside of it.

use crate::planner::{self, pods, python};
use crate::support::Tenant;
use serde_json::{Value, json};

/// Which of the addresses a pod can connect to.
async fn reachable(tenant: &Tenant, addresses: &[(String, u64)]) -> Vec<bool> {
    let program = format!(
        "import json, socket\n\
         def reach(host, port):\n\
         \x20   try: socket.create_connection((host, port), timeout=2).close(); return True\n\
         \x20   except OSError: return False\n\
         print(json.dumps([reach(*address) for address in {}]))",
        json!(addresses)
    );
    serde_json::from_str(&python(tenant, "web", &program).await.unwrap()).unwrap()
}

/// The address of a component's pod.
async fn pod_address(tenant: &Tenant, component: &str) -> String {
    pods(tenant, component).await[0]["status"]["podIP"].as_str().expect("a running pod").to_owned()
}

async fn service_address(tenant: &Tenant, component: &str) -> String {
    tenant.object("Service", component).await["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_pod_reaches_its_own_parts_and_nobody_elses() {
    let (ours, theirs) = tokio::join!(planner::tenant("ours", json!({})), planner::tenant("theirs", json!({})));
    let postgres = &ours.world.environment.postgres;
    let allowed = [("redis".to_owned(), 6379), ("web".to_owned(), 8000), (postgres.host.clone(), postgres.port.into())];
    assert_eq!(reachable(&ours, &allowed).await, [true; 3], "{allowed:?}");

    let server = ours.world.list("EndpointSlice", Some("default"), "kubernetes.io/service-name=kubernetes").await;
    let api_server =
        (server[0]["endpoints"][0]["addresses"][0].as_str().unwrap().to_owned(), server[0]["ports"][0]["port"].as_u64().unwrap());
    let mut denied = vec![
        (format!("web.{}.svc.cluster.local", theirs.namespace), 8000),
        (format!("redis.{}.svc.cluster.local", theirs.namespace), 6379),
        ("kubernetes.default.svc.cluster.local".to_owned(), 443),
        api_server,
    ];
    for (component, port) in [("web", 8000), ("redis", 6379)] {
        denied.push((pod_address(&theirs, component).await, port));
        denied.push((service_address(&theirs, component).await, port));
    }
    let none = vec![false; denied.len()];
    assert_eq!(reachable(&ours, &denied).await, none, "{denied:?}");
    // They are there: their own tenant reaches the very same addresses.
    let same: Vec<_> = denied.iter().filter(|(host, _)| !host.starts_with("kubernetes")).skip(3).cloned().collect();
    assert_eq!(reachable(&theirs, &same).await, vec![true; same.len()], "{same:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn anothers_credentials_open_nothing_of_this_tenant() {
    let (ours, theirs) = tokio::join!(planner::tenant("mine", json!({})), planner::tenant("others", json!({})));
    let stolen = ours.secret("database").await["uri"].clone();
    let query = |schema: &str| {
        format!(
            "import psycopg\nwith psycopg.connect({}) as c: print(c.execute('select count(*) from {schema}.board_task').fetchone()[0])",
            json!(stolen)
        )
    };
    assert_eq!(python(&theirs, "web", &query(&ours.owner())).await.as_deref(), Ok("3"), "the credentials work");
    let refused = python(&theirs, "web", &query(&theirs.owner())).await.unwrap_err();
    assert!(refused.contains("permission denied for schema"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_pod_has_no_token_no_root_and_writes_only_in_tmp() {
    let tenant = planner::tenant("plain", json!({})).await;
    let program = "import json, os\n\
         def writes(path):\n\
         \x20   try: open(path, 'w').close(); return 'yes'\n\
         \x20   except OSError as error: return error.strerror\n\
         status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n\
         print(json.dumps({'user': os.getuid(), 'token': os.path.exists('/var/run/secrets/kubernetes.io'),\n\
         \x20   'capabilities': status['CapEff'].strip(), 'new privileges': status['NoNewPrivs'].strip(), 'seccomp': status['Seccomp'].strip(),\n\
         \x20   'root': writes('/x'), 'app': writes('/app/x'), 'tmp': writes('/tmp/x')}))";
    for component in ["web", "worker", "beat", "redis"] {
        let found: Value = serde_json::from_str(&python(&tenant, component, program).await.unwrap()).unwrap();
        let expected = json!({
            "user": 10001, "token": false, "capabilities": "0000000000000000", "new privileges": "1", "seccomp": "2",
            "root": "Read-only file system", "app": "Read-only file system", "tmp": "yes",
        });
        assert_eq!(found, expected, "{component}");
    }
}
