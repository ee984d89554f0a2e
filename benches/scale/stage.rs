//! A fresh cluster and a fresh Postgres for each run.

use super::folder;
use super::results::{Run, Spec};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The environment's name under `.local`.
const NAME: &str = "bench";
/// How many tenants' pods a simulated node holds; KWOK's limit is a thousand pods.
const TENANTS_A_NODE: usize = 100;

/// What runs are made on.
pub struct Stage {
    /// The version of Postgres that is asked for.
    wanted: Option<String>,
    /// The version that it was.
    pub postgres: String,
}

impl Stage {
    pub fn new(postgres: Option<String>) -> Self {
        Self { wanted: postgres, postgres: String::new() }
    }

    /// Makes the cluster and Postgres, runs, and takes both down again.
    pub fn run(&mut self, spec: &Spec) -> Run {
        let tenants = match spec {
            Spec::Bare { tenants, .. } | Spec::Operated { tenants, .. } => *tenants,
            // Nobody makes their pods.
            Spec::Console { .. } => 0,
        };
        let started = Instant::now();
        eprintln!("\n{spec:?}");
        let _up = self.up(tenants);
        let result = folder().join("run.json");
        let _ = std::fs::remove_file(&result);
        let program = std::env::current_exe().expect("this program's own path");
        let status = Command::new("bash")
            .args(["-c", r#". "$0" && exec "$@""#])
            .arg(path(&format!(".local/{NAME}/env")))
            .arg(program)
            .arg("--run")
            .arg(serde_json::to_string(spec).expect("JSON"))
            .arg(&result)
            // What the operator's users have, unlike the tests, which want to know more.
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()))
            .status()
            .expect("bash starts");
        if !status.success() {
            keep_logs();
            panic!("{spec:?} failed; what the cluster and Postgres logged is in .local/failed-{NAME}");
        }
        eprintln!("took {:.0} s", started.elapsed().as_secs_f64());
        serde_json::from_str(&std::fs::read_to_string(result).expect("a result")).expect("a result")
    }

    fn up(&mut self, tenants: usize) -> Up {
        down();
        let nodes = (3 + tenants / TENANTS_A_NODE).to_string();
        script("cluster", &["up", NAME, "--node-count", &nodes]);
        let up = Up;
        let mut arguments = vec!["up", NAME, "--fast"];
        if let Some(version) = &self.wanted {
            arguments.extend(["--version", version]);
        }
        script("postgres", &arguments);
        let variables = std::fs::read_to_string(path(&format!(".local/{NAME}/env"))).expect("the environment's variables");
        let version = variables.lines().find_map(|line| line.strip_prefix("export TENANTRY_POSTGRES_VERSION="));
        self.postgres = version.unwrap_or_default().to_owned();
        up
    }
}

/// Takes everything down, also when a run failed.
struct Up;

impl Drop for Up {
    fn drop(&mut self) {
        down();
    }
}

fn down() {
    script("postgres", &["down", NAME]);
    script("cluster", &["down", NAME]);
}

fn script(name: &str, arguments: &[&str]) {
    let output = Command::new(path(&format!("dev/{name}"))).args(arguments).output().expect("a script of dev/");
    assert!(output.status.success(), "dev/{name} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
}

fn keep_logs() {
    let (from, to) = (path(&format!(".local/{NAME}/logs")), path(&format!(".local/failed-{NAME}")));
    let _ = std::fs::remove_dir_all(&to);
    let _ = Command::new("cp").arg("-r").arg("--dereference").args([from, to]).status();
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
