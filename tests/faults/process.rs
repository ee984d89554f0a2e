//! The operator as the program that it is, ended by SIGKILL. It runs by the real clock, so it is for comparison: a thread that is dropped with all that it
//! knows has to be like it.

use crate::operator::{Journal, Start, TICK, crashed};
use crate::support;
use crate::traffic::Traffic;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A process that runs. It is killed when this is dropped.
pub struct Process {
    operator: Arc<support::Operator>,
    journal: Arc<Journal>,
    tasks: [JoinHandle<()>; 2],
}

impl Process {
    /// Starts it. Nobody else may hold the Lease.
    pub fn start(start: &Start) -> Self {
        start.journal.say("a process begins");
        let kubeconfig = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}-{}.kubeconfig", std::process::id(), start.api));
        let server = format!("http://127.0.0.1:{}", start.api);
        let content = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "faulty", "users": [{"name": "faulty", "user": {}}],
            "clusters": [{"name": "faulty", "cluster": {"server": server}}],
            "contexts": [{"name": "faulty", "context": {"cluster": "faulty", "user": "faulty"}}],
        });
        std::fs::write(&kubeconfig, content.to_string()).expect("a kubeconfig");
        let operator = Arc::new(support::Operator::start(&kubeconfig, &["--check-address".to_owned(), start.door.to_string()]));
        let tasks = [tokio::spawn(kill_at_a_crash(operator.clone(), start.traffic.clone())), tokio::spawn(tick(start.traffic.clone()))];
        Self { operator, journal: start.journal.clone(), tasks }
    }

    /// Whether it has ended, by itself or because it was killed.
    pub fn has_ended(&self) -> bool {
        self.operator.ended().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.operator.kill();
        self.journal.extend(&self.operator.whole_log());
    }
}

async fn kill_at_a_crash(operator: Arc<support::Operator>, traffic: Arc<Traffic>) {
    crashed(&traffic).await;
    operator.kill();
}

/// Its clock can't be made to stand while it waits for an answer, but what counts by it can.
async fn tick(traffic: Arc<Traffic>) {
    let mut every = tokio::time::interval(TICK);
    loop {
        every.tick().await;
        traffic.tick();
    }
}
