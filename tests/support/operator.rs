//! The real program as a child process that dies with the test process.

use super::wait::wait_until;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// By when the next operator works, if the one before gave its Lease back: sooner than any Lease runs out. How fast it is, the bench measures.
pub const HANDED_OVER: Duration = Duration::from_secs(10);
/// By when the next operator works, if the one before is dead: the Lease runs out after 15 s, and the machine may be busy.
pub const TAKEN_OVER: Duration = Duration::from_secs(45);

static STARTED: AtomicU32 = AtomicU32::new(0);

/// `tenantry run`.
pub struct Operator {
    /// Its process.
    pub pid: u32,
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub address: SocketAddr,
    /// Where its log goes.
    pub log: PathBuf,
    child: Mutex<Child>,
}

impl Operator {
    /// Starts it with this kubeconfig and these further arguments.
    pub fn start(kubeconfig: &std::path::Path, arguments: &[String]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("operator-{}-{number}.log", std::process::id()));
        let file = std::fs::File::create(&log).expect("a log file");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_tenantry"), "run", "--listen", &address.to_string()])
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "tenantry=debug,info".to_owned()))
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file);
        // The kernel kills the child when the *thread* that started it ends, so that thread lives as long as the process.
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = sender.send(command.spawn());
            loop {
                std::thread::park();
            }
        });
        let child = receiver.recv().expect("the thread that starts the operator").expect("setpriv starts the operator");
        Self { pid: child.id(), address, log, child: Mutex::new(child) }
    }

    /// Waits until it leads and has seen what there is.
    pub async fn leads(&self) {
        wait_until("the operator leads", Duration::from_secs(45), async || {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                panic!("the operator ended with {status}; its log:\n{}", self.log_of("", 30));
            }
            match http_get(self.address, "localhost", "/readyz").await {
                Ok((200, text)) if text == "leading" => Ok(()),
                other => Err(format!("/readyz says {other:?}; the log:\n{}", self.log_of("", 30))),
            }
        })
        .await;
    }

    /// What it says of itself to be ready or not.
    pub async fn readiness(&self) -> String {
        http_get(self.address, "localhost", "/readyz").await.map_or_else(|error| error, |(_, text)| text)
    }

    /// What tells it from every other operator.
    pub fn identity(&self) -> String {
        let log = self.whole_log();
        let line =
            log.lines().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["identity"].as_str().map(str::to_owned));
        line.unwrap_or_else(|| panic!("no line of the log has an identity:\n{log}"))
    }

    /// The last lines of its log that speak of something.
    pub fn log_of(&self, what: &str, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut found: Vec<_> = text.lines().filter(|line| line.contains(what)).collect();
        found.drain(..found.len().saturating_sub(lines));
        format!("{}\n(all of it: {})", found.join("\n"), self.log.display())
    }

    /// All of its log.
    pub fn whole_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The value of a metric: the sum over all its labels, or over those that contain a text.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let (status, text) = http_get(self.address, "localhost", "/metrics").await.expect("metrics");
        assert_eq!(status, 200, "{text}");
        let of = |line: &&str| line.split(['{', ' ']).next() == Some(name) && line.contains(label);
        let mut values = text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).peekable();
        assert!(values.peek().is_some() || !label.is_empty(), "no metric {name} in:\n{text}");
        values.sum()
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status().expect("kill");
        assert!(status.success(), "kill -{name} {}", self.pid);
    }

    /// Ends it as a failure of its machine would, and waits for that.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Whether it has ended, and how.
    pub fn ended(&self) -> Option<std::process::ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }
}

impl Drop for Operator {
    /// It is told to end first, so that it gives the lease back and the next one need not wait for it.
    fn drop(&mut self) {
        let Ok(mut child) = self.child.lock() else { return };
        if matches!(child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status();
        }
        let started = std::time::Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if started.elapsed() > GRACE {
                let _ = child.kill();
            }
            std::thread::yield_now();
        }
    }
}

/// One request by plain HTTP.
pub async fn http_get(address: SocketAddr, host: &str, path: &str) -> Result<(u16, String), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let text = tokio::time::timeout(Duration::from_secs(10), exchange)
        .await
        .map_err(|_| "no answer within 10 s".to_owned())?
        .map_err(|error| error.to_string())?;
    let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| format!("no HTTP: {text}"))?;
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Ok((status, body.to_owned()))
}
