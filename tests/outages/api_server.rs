//! The API server is killed, and comes back after a while.

use crate::crowd::{Crowd, is};
use crate::outage;
use crate::support::{Audit, LIMIT, Operator, REGION, World, variable, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How soon a program that has ended is started again, as the kubelet would.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long after the API server an operator may still end.
const SETTLES_IN: Duration = Duration::from_secs(15);
/// Programs of the control plane; those behind the first end by themselves when they can't renew their leases.
const PROGRAMS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller"];

/// A program of the control plane.
struct Program {
    pid_file: PathBuf,
    /// What it was started by.
    words: Vec<String>,
    folder: PathBuf,
}

impl Program {
    /// As it runs now.
    fn find(name: &str) -> Self {
        let audit = PathBuf::from(variable("TENANTRY_AUDIT_LOG"));
        let cluster = audit.parent().and_then(|logs| logs.parent()).expect("the cluster's folder");
        let pid_file = cluster.join(format!("pids/{name}.pid"));
        let process = process_of(&pid_file);
        let words = std::fs::read(process.join("cmdline")).unwrap_or_else(|error| panic!("{name} runs: {error}"));
        let words = words.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        Self {
            pid_file,
            words: words.map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
            folder: std::fs::read_link(process.join("cwd")).expect("its folder"),
        }
    }

    fn kill(&self) {
        let process = process_of(&self.pid_file);
        let pid = process.file_name().and_then(|pid| pid.to_str()).expect("a pid");
        assert!(Command::new("kill").args(["-KILL", pid]).status().expect("kill").success());
    }

    fn has_ended(&self) -> bool {
        !process_of(&self.pid_file).join("exe").exists()
    }

    fn start(&self) {
        let mut command = Command::new("setsid");
        command.args(&self.words).current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        std::fs::write(&self.pid_file, child.id().to_string()).expect("a pid file");
        // It outlives the test; who ends the cluster ends it, and somebody has to hear of that.
        std::thread::spawn(move || child.wait());
    }
}

fn process_of(pid_file: &Path) -> PathBuf {
    let pid = std::fs::read_to_string(pid_file).unwrap_or_else(|error| panic!("{}: {error}", pid_file.display()));
    Path::new("/proc").join(pid.trim())
}

/// Starts what has ended again, for as long as it is polled.
async fn keep_alive(programs: &[Program]) -> ! {
    loop {
        programs.iter().filter(|program| program.has_ended()).for_each(Program::start);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// An operator that is started again whenever it has ended, until then.
async fn kept_alive(world: &World, mut operator: Operator, until: Instant) -> Operator {
    while Instant::now() < until {
        if let Some(status) = operator.ended() {
            assert!(!status.success(), "who lost the lease ends as a failure");
            operator = world.environment.start_operator(&[]);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    operator
}

#[tokio::test]
async fn all_tenants_come_up_although_the_api_server_is_killed_meanwhile() {
    let (_alone, world) = World::alone().await;
    let operator = world.environment.start_leader().await;
    let audit = Audit::begin();
    let crowd = Crowd::onboard(&world, REGION, crate::tenants()).await;
    crowd.first_are("DatabaseReady").await;
    assert!(crowd.look().await.iter().any(|tenant| !is(tenant, "Ready")), "the outage came too late");
    let programs = PROGRAMS.map(Program::find);
    programs[0].kill();
    let operator = kept_alive(&world, operator, Instant::now() + outage()).await;
    programs[0].start();
    let healing = async {
        wait_until("the API server answers", LIMIT, async || world.try_list("Tenant", None, "").await.map(|_| ())).await;
        // Its rights come a moment after the API server, and an operator whose time runs out in that moment ends.
        let operator = kept_alive(&world, operator, Instant::now() + SETTLES_IN).await;
        crowd.all_ready().await;
        operator.leads().await;
        operator
    };
    let operator = tokio::select! {
        operator = healing => operator,
        never = keep_alive(&programs) => never,
    };
    let ready = world.list("Tenant", None, "").await.iter().filter(|tenant| is(tenant, "Ready")).count();
    assert_eq!(operator.metric("tenantry_tenants", "reason=\"Ready\"").await, ready as f64);
    crowd.assert_databases(&world.environment.postgres).await;
    crowd.assert_nothing_was_made_twice(&audit);
    crowd.leave().await;
}
