//! One lane of a campaign: an API server, a database and an operator of its own, through which one run goes after the other.

use crate::controllers;
use crate::operator::{Journal, Operator, Start};
use crate::outcome::Outcome;
use crate::product::Product;
use crate::snapshot::{self, Snapshot};
use crate::support::{Cluster, NAMESPACE, Postgres, REGION, admin_secret, kubectl_with, limited, manifest, manifests, merge, wait_until};
use crate::traffic::{Planned, Point, Traffic};
use crate::workloads::Workload;
use crate::{api, sql};
use kube::Client;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing was asked for so many ticks of the operator's clock: what was asked for is done, or will not be.
const QUIET: u64 = 20;
/// The same where nothing tells what the end looks like.
const QUIET_FOR_GOOD: u64 = 125;
/// How long watches hold back at most.
const HELD: u64 = 100;
/// How long a run may take, unless less is allowed; see [`limited`].
const LIMIT: Duration = Duration::from_secs(30);
/// The same where the operator goes by the real clock.
const LIMIT_OF_PROCESS: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(4);
/// The names that releases have in turn.
const NEXT: [&str; 2] = ["next1", "next2"];

pub struct Lane {
    pub name: String,
    /// The names of its tenants: as a rule one, which has the lane's.
    pub tenants: Vec<String>,
    pub cluster: Cluster,
    pub postgres: Postgres,
    pub traffic: Arc<Traffic>,
    pub names: Vec<(String, String)>,
    start: Start,
    operator: Option<Operator>,
    /// How many of the planned faults the last run met.
    pub met: usize,
    product: Product,
    /// Whom an operator that ended had cut off from the database.
    cut_off: Option<String>,
}

impl Lane {
    /// Makes the cluster of this kubeconfig ready.
    pub async fn prepare(number: usize, kubeconfig: &Path) -> Self {
        let name = format!("lane{number}");
        let text = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let mut config = kube::Config::from_custom_kubeconfig(text, &Default::default()).await.expect("a kubeconfig");
        config.default_retry = false;
        let cluster = Cluster { client: Client::try_from(config).expect("a client") };
        let mut postgres = Postgres::from_environment();
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds").display().to_string();
        kubectl_with(kubeconfig, &["apply", "--server-side", "--force-conflicts", "--filename", &crds]).expect("the kinds are installed");
        kubectl_with(kubeconfig, &["wait", "--for", "condition=Established", "--filename", &crds, "--timeout", "30s"]).expect("served");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        cluster.apply(&namespace).await;
        cluster.apply(&admin_secret(&postgres)).await;
        for kind in ["Tenant", "Blueprint", "Plan", "DatabaseServer", "Release"] {
            wait_until(&format!("{kind} is served"), Duration::from_secs(30), async || cluster.try_list(kind, None, "").await).await;
        }
        controllers::start(&cluster);
        let traffic = Arc::new(Traffic::default());
        let journal = Arc::new(Journal::default());
        let names = [(&*name, "T"), (NEXT[0], "N"), (NEXT[1], "N")].map(|(name, shown)| (name.to_owned(), shown.to_owned())).to_vec();
        let api = api::serve(cluster.client.clone(), traffic.clone(), names.clone()).await;
        let upstream = sql::Upstream { host: postgres.host.clone(), port: postgres.port, authority: postgres.authority.clone() };
        let sql = sql::serve(upstream, traffic.clone(), names.clone()).await;
        let names = [names, vec![(sql.to_string(), "PORT".to_owned())]].concat();
        postgres.database = name.clone();
        let start = Start { api, door: open_door(traffic.clone()).await, traffic: traffic.clone(), journal, as_process: false };
        let mut lane = Self {
            product: Product::new(&postgres),
            tenants: vec![name.clone()],
            name,
            cluster,
            postgres,
            traffic,
            names,
            start,
            operator: None,
            met: 0,
            cut_off: None,
        };
        lane.clear().await;
        lane.postgres.admin_in("postgres", &format!("CREATE DATABASE {} OWNER {}", lane.name, lane.postgres.user)).await;
        let server = json!({
            "host": "127.0.0.1", "port": sql, "database": lane.name, "adminSecret": {"name": "postgres"}, "tls": {"mode": "Disable"},
            "region": REGION,
        });
        let manifests = [
            manifest("DatabaseServer", "main", server),
            manifest("Plan", "small", manifests::small()),
            manifest("Plan", "large", manifests::large()),
        ];
        for object in manifests {
            lane.cluster.apply(&object).await;
        }
        lane.replace_blueprint(json!({})).await;
        lane
    }

    /// Takes everything of the lane's tenant away, whatever it looks like.
    pub async fn clear(&mut self) {
        self.operator = None;
        self.traffic.release();
        for kind in ["Tenant", "Release", "Blueprint", "Plan", "DatabaseServer"] {
            for object in self.cluster.list(kind, None, "").await {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let _ = self.cluster.try_merge(kind, None, name, &json!({"metadata": {"finalizers": null}})).await;
                if ["Tenant", "Release"].contains(&kind) {
                    let _ = self.cluster.try_delete(kind, None, name).await;
                }
            }
        }
        for revision in self.cluster.list("ControllerRevision", Some(NAMESPACE), "").await {
            let _ = self
                .cluster
                .try_delete("ControllerRevision", Some(NAMESPACE), revision["metadata"]["name"].as_str().unwrap_or_default())
                .await;
        }
        for namespace in self.cluster.list("Namespace", None, "app.kubernetes.io/managed-by=tenantry").await {
            let name = namespace["metadata"]["name"].as_str().unwrap_or_default();
            let _ = self.cluster.try_delete("Namespace", None, name).await;
            controllers::end_namespace(&self.cluster, name).await;
        }
        wait_until("the lane's cluster is empty", Duration::from_secs(30), async || {
            let left = self.cluster.list("Namespace", None, "app.kubernetes.io/managed-by=tenantry").await;
            if left.is_empty() { Ok(()) } else { Err(format!("{} namespaces are left", left.len())) }
        })
        .await;
        let lane = &self.name;
        let roles = self
            .postgres
            .admin_in(
                "postgres",
                &format!("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname LIKE 'tenant\\_{lane}%' OR rolname = 'tenantry.{lane}'"),
            )
            .await;
        self.postgres.admin_in("postgres", &format!("DROP DATABASE IF EXISTS {lane} WITH (FORCE)")).await;
        for role in roles.lines() {
            self.postgres.admin_in("postgres", &format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
        }
    }

    /// The same, and the shared database is there again.
    pub async fn begin_anew(&mut self) {
        self.clear().await;
        self.postgres.admin_in("postgres", &format!("CREATE DATABASE {} OWNER {}", self.name, self.postgres.user)).await;
        self.replace_blueprint(json!({})).await;
    }

    /// Creates the lane's tenant, or all of them.
    pub async fn create_tenants(&self) {
        let spec = json!({
            "displayName": "Customer", "blueprint": "sample", "plan": "small", "region": REGION, "deletion": {"policy": "Delete"},
        });
        for name in &self.tenants {
            self.cluster.create(&manifest("Tenant", name, spec.clone())).await;
        }
    }

    pub async fn delete_tenant(&self) {
        self.cluster.delete("Tenant", None, &self.name).await;
    }

    pub async fn change_tenant(&self, patch: Value) {
        self.cluster.merge("Tenant", None, &self.name, &patch).await;
    }

    pub async fn change_blueprint(&self, changes: Value) {
        self.cluster.merge("Blueprint", None, "sample", &json!({"spec": changes})).await;
    }

    /// A release that all tenants have before others come and go.
    pub async fn release_base(&self) {
        self.cluster.create(&manifest("Release", "base", json!({"blueprint": "sample", "version": "1.1"}))).await;
        wait_until("all tenants have the first release", LIMIT, async || {
            let release = self.cluster.get("Release", None, "base").await;
            if release["status"]["finished"].is_null() { Err(release["status"].to_string()) } else { Ok(()) }
        })
        .await;
    }

    /// Releases a version that there was never before, under the name that is free.
    pub async fn release_next(&self) {
        let mut name = NEXT[0];
        if self.cluster.find("Release", None, name).await.is_some() {
            name = NEXT[1];
        }
        let now = jiff::Timestamp::now().as_nanosecond();
        let waves = json!([{"name": "first", "percent": 30}, {"name": "rest", "percent": 100, "concurrency": 3}]);
        let spec = json!({"blueprint": "sample", "version": format!("1.2-{now:016x}"), "waves": waves});
        self.cluster.create(&manifest("Release", name, spec)).await;
    }

    /// Deletes the release that was taken back.
    pub async fn withdraw_release(&self) {
        if let Some(name) = self.next_release(true).await {
            self.cluster.delete("Release", None, &name).await;
        }
    }

    /// Takes the release back that isn't yet.
    pub async fn roll_back(&self) {
        let name = self.next_release(false).await.expect("a release");
        self.cluster.merge("Release", None, &name, &json!({"spec": {"rolledBack": true}})).await;
    }

    async fn next_release(&self, rolled_back: bool) -> Option<String> {
        let releases = self.cluster.list("Release", None, "").await;
        let is_meant = |release: &&Value| {
            let name = release["metadata"]["name"].as_str().unwrap_or_default();
            NEXT.contains(&name) && release["spec"]["rolledBack"] == rolled_back
        };
        releases.iter().find(is_meant)?["metadata"]["name"].as_str().map(str::to_owned)
    }

    /// What nobody should do: takes the blueprint away under its tenant, and makes another of its name.
    pub async fn replace_blueprint(&self, changes: Value) {
        let mut spec = manifests::blueprint();
        merge(&mut spec, &changes);
        let _ = self.cluster.try_delete("Blueprint", None, "sample").await;
        // The operator may set its finalizer again meanwhile.
        while self.cluster.find("Blueprint", None, "sample").await.is_some() {
            let _ = self.cluster.try_merge("Blueprint", None, "sample", &json!({"metadata": {"finalizers": null}})).await;
        }
        self.cluster.create(&manifest("Blueprint", "sample", spec)).await;
    }

    /// What operators said since the run began.
    pub fn journal(&self) -> String {
        self.start.journal.text()
    }

    /// One run without faults: what it comes to.
    pub async fn rehearse(&mut self, workload: Workload) -> Result<Outcome, String> {
        self.ask(workload, Vec::new()).await;
        let snapshot = self.settle(workload, None).await?;
        let expected = Outcome::of(&self.traffic, snapshot);
        self.product.keeps(&self.cluster, workload).await?;
        self.stay(workload, &expected.snapshot).await?;
        Ok(expected)
    }

    /// One run with faults; tells what differs from what is expected.
    pub async fn run(&mut self, workload: Workload, plan: Vec<Planned>, expected: &Outcome) -> Result<(), String> {
        self.ask(workload, plan.clone()).await;
        let settled = self.settle(workload, Some(&expected.snapshot)).await;
        self.met = self.traffic.met();
        let snapshot = settled.map_err(|why| Vec::from_iter(self.cut_off.take().into_iter().chain([why])).join("\n"))?;
        let mut wrong = Vec::from_iter(self.cut_off.take());
        wrong.extend(Outcome::of(&self.traffic, snapshot).differences(expected, workload, &plan));
        let panics = self.start.journal.panics();
        if !panics.is_empty() {
            wrong.push(format!("panics: {panics:?}"));
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        self.product.keeps(&self.cluster, workload).await?;
        self.stay(workload, &expected.snapshot).await
    }

    /// One run in which the operator ends while it makes the tenant, which is deleted before there is another operator; tells what is left of it.
    pub async fn abandon(&mut self, planned: Planned, deleted: &Outcome) -> Result<(), String> {
        self.ask(Workload::Create, vec![planned]).await;
        let began = Instant::now();
        while !self.traffic.is_crashed() && self.traffic.quiet_for() < QUIET_FOR_GOOD && began.elapsed() < self.limit() {
            tokio::time::sleep(PAUSE).await;
        }
        self.delete_tenant().await;
        let settled = self.settle(Workload::Delete, Some(&deleted.snapshot)).await;
        self.met = self.traffic.met();
        self.product.forget();
        settled.map(|_| ())
    }

    /// A new operator finds a tenant whose status lost where its data is, on a server that lost its finalizer.
    pub async fn begin_without_placement(&mut self, planned: Planned, expected: &Outcome) -> Result<(), String> {
        self.operator = None;
        self.cluster.merge_status("Tenant", None, &self.name, &json!({"status": {"database": null}})).await;
        self.cluster.merge("DatabaseServer", None, "main", &json!({"metadata": {"finalizers": null}})).await;
        self.traffic.begin(vec![planned], self.version().await);
        self.start_operator().await;
        let settled = self.settle(Workload::Create, Some(&expected.snapshot)).await;
        self.met = self.traffic.met();
        settled.map(|_| ())
    }

    /// The tenant comes to a plan of which no watch has told. Once it was asked for, nobody may have been told that it is missing.
    pub async fn come_to_a_plan_that_no_watch_has_brought(&mut self) -> Result<(), String> {
        self.traffic.begin(Vec::new(), self.version().await);
        self.traffic.silence("/plans");
        self.cluster.create(&manifest("Plan", "late", manifests::large())).await;
        self.change_tenant(json!({"spec": {"plan": "late"}})).await;
        wait_until("the plan is asked for", LIMIT, async || {
            let asked = self.traffic.points().iter().any(|point| point.what.ends_with("/plans/late"));
            if asked && self.traffic.quiet_for() >= QUIET { Ok(()) } else { Err(self.traffic.state()) }
        })
        .await;
        let status = self.cluster.get("Tenant", None, &self.name).await["status"].to_string();
        self.traffic.release();
        let arrived = self.settle(Workload::LargerPlan, None).await;
        self.delete_tenant().await;
        self.settle(Workload::Delete, None).await?;
        self.operator = None;
        self.cluster.merge("Plan", None, "late", &json!({"metadata": {"finalizers": null}})).await;
        self.cluster.delete("Plan", None, "late").await;
        if status.contains("PlanMissing") { Err(status) } else { arrived.map(|_| ()) }
    }

    async fn ask(&mut self, workload: Workload, plan: Vec<Planned>) {
        if workload == Workload::Create {
            self.operator = None;
        }
        self.start.journal.clear();
        self.cut_off = None;
        self.product.begin(&self.cluster, &self.tenants[0]).await;
        self.traffic.begin(plan, self.version().await);
        if self.operator.is_none() {
            self.start_operator().await;
        }
        workload.ask(self).await;
    }

    async fn start_operator(&mut self) {
        // A killed process doesn't give its Lease back, and the next one would wait until it has run out.
        let _ = self.cluster.try_delete("Lease", Some(NAMESPACE), "tenantry").await;
        self.operator = Some(Operator::start(self.start.clone()));
    }

    /// From now on the operator is a process of its own, which goes by the real clock.
    pub fn run_as_process(&mut self) {
        self.operator = None;
        self.start.as_process = true;
    }

    /// Waits for the end, starting the operator again whenever it has ended; it is there when all is as expected and nothing more is asked.
    async fn settle(&mut self, workload: Workload, expected: Option<&Snapshot>) -> Result<Snapshot, String> {
        let began = Instant::now();
        let mut seen = Vec::new();
        loop {
            tokio::time::sleep(PAUSE).await;
            self.tend().await;
            let enough = if expected.is_some() { QUIET } else { QUIET_FOR_GOOD };
            if self.traffic.quiet_for() >= enough && self.traffic.held_for().is_none() {
                let tenants = self.cluster.list("Tenant", None, "").await;
                if workload.is_done(&tenants) {
                    let snapshot = snapshot::take(self).await;
                    let Some(expected) = expected else { return Ok(snapshot) };
                    seen = snapshot::difference(expected, &snapshot);
                    // It may have gone on, and ended, while the snapshot was taken.
                    if seen.is_empty() && self.traffic.quiet_for() >= enough && !self.traffic.is_crashed() {
                        return Ok(snapshot);
                    }
                } else {
                    seen = tenants.iter().map(|tenant| format!("not done: {}", tenant["status"])).collect();
                }
            }
            if began.elapsed() > self.limit() {
                return Err(format!("after {} s:\n{}\n{}", self.limit().as_secs(), seen.join("\n"), self.traffic.state()));
            }
        }
    }

    fn limit(&self) -> Duration {
        limited(if self.start.as_process { LIMIT_OF_PROCESS } else { LIMIT })
    }

    /// Starts an operator that has ended again, and lets watches that hold back speak.
    async fn tend(&mut self) {
        if self.traffic.is_crashed() || self.operator.as_ref().is_none_or(Operator::has_ended) {
            let ended = self.operator.take();
            let had_begun = ended.is_some();
            tokio::task::block_in_place(|| drop(ended));
            if had_begun && let Err(why) = self.product.is_served(&self.cluster).await {
                self.cut_off.get_or_insert(why);
            }
            self.traffic.revive();
            self.start_operator().await;
        }
        if self.traffic.held_for().is_some_and(|held| held > HELD || self.traffic.quiet_for() > QUIET) {
            self.traffic.release();
        }
    }

    /// Asks for a second look at everything: nothing is written, and nothing differs.
    async fn stay(&mut self, workload: Workload, expected: &Snapshot) -> Result<(), String> {
        if workload == Workload::Delete {
            return Ok(());
        }
        self.traffic.begin(Vec::new(), self.version().await);
        let again = json!({"metadata": {"annotations": {"tenantry.dev/reconcile": format!("{:?}", Instant::now())}}});
        for tenant in self.cluster.list("Tenant", None, "").await {
            self.cluster.merge("Tenant", None, tenant["metadata"]["name"].as_str().unwrap_or_default(), &again).await;
        }
        let began = Instant::now();
        // It has looked once it has asked for the Secrets that nothing may watch; what is refused before that asks for nothing.
        let asks = |points: &BTreeSet<Point>| points.iter().any(|point| point.what.contains("/secrets/"));
        let refused = workload == Workload::RefusedIsolation;
        while !(asks(&self.traffic.points()) || refused) || self.traffic.quiet_for() < QUIET {
            if began.elapsed() > self.limit() {
                return Err("it doesn't look again when it is asked to".to_owned());
            }
            tokio::time::sleep(PAUSE).await;
        }
        let mut writes: Vec<_> = self.traffic.writes().into_iter().map(|effect| effect.what).collect();
        // That it has looked is said once of each.
        let mut said = BTreeSet::new();
        let is_said = |what: &String| what.starts_with("PATCH /apis/tenantry.dev/v1alpha1/tenants/") && what.ends_with("/status");
        writes.retain(|what| !(is_said(what) && said.insert(what.clone())));
        if !writes.is_empty() {
            return Err(format!("a second look writes: {writes:?}"));
        }
        // Nothing else was written, so only what the tenants say of themselves can be another.
        let differs = snapshot::difference(&snapshot::of_tenants(expected), &snapshot::take_tenants(self).await);
        if differs.is_empty() { Ok(()) } else { Err(format!("after a second look:\n{}", differs.join("\n"))) }
    }

    /// The newest resource version.
    async fn version(&self) -> u64 {
        let request = http::Request::get("/api/v1/namespaces?limit=1").body(Vec::new()).expect("a request");
        let list: Value = self.cluster.client.request(request).await.expect("namespaces");
        list["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).expect("a resource version")
    }
}

/// Answers every visitor that all is well.
async fn open_door(traffic: Arc<Traffic>) -> SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut visitor, _)) = listener.accept().await {
            let asked = traffic.check();
            tokio::spawn(async move {
                let _asked = asked;
                let mut request = [0; 4096];
                let _ = visitor.read(&mut request).await;
                let _ = visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            });
        }
    });
    address
}
