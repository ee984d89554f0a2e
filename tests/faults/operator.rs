//! The operator in a thread of its own, on a clock that runs fast, so that it can be ended at any moment with all that it knows; or, for comparison,
//! as the program that it is.

use crate::process::Process;
use crate::traffic::Traffic;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tenantry::client::Connection;
use tenantry::controller::{self, Configuration, Context};
use tenantry::instance::Settings;
use tenantry::lease::{Fence, Trust};
use tenantry::shards::{Shard, ShardCount};
use tenantry::telemetry::Metrics;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often its clock ticks.
const EVERY: Duration = Duration::from_millis(4);
/// What it then believes to have passed: half a minute in a second.
pub const TICK: Duration = Duration::from_millis(120);

/// Longer than any run takes, on its own clock.
const FOR_EVER: Duration = Duration::from_secs(1_000_000_000);

/// How an operator is started.
#[derive(Clone)]
pub struct Start {
    /// Where it finds the API server.
    pub api: u16,
    /// Where its checks knock.
    pub door: SocketAddr,
    pub traffic: Arc<Traffic>,
    pub journal: Arc<Journal>,
    /// Whether it is a process, and not a thread.
    pub as_process: bool,
}

/// What operators of one lane said, and how often one panicked.
#[derive(Default)]
pub struct Journal {
    lines: Mutex<Vec<u8>>,
    panics: Mutex<Vec<String>>,
}

impl Journal {
    pub fn clear(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    pub fn panics(&self) -> Vec<String> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in the log of a process.
    pub fn extend(&self, log: &str) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).extend(log.bytes());
        let panics = log.lines().filter(|line| line.contains("panicked")).map(str::to_owned);
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).extend(panics);
    }

    pub fn say(&self, text: &str) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).extend(format!("--- {text}\n").bytes());
    }
}

thread_local! {
    static JOURNAL: RefCell<Option<Arc<Journal>>> = const { RefCell::new(None) };
}

/// Writes what a thread logs into the journal of its lane.
struct ToJournal;

impl std::io::Write for ToJournal {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        JOURNAL.with_borrow(|journal| {
            if let Some(journal) = journal {
                journal.lines.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Once a process: logs and panics go where they can be asked for.
pub fn listen() {
    let filter = tracing_subscriber::EnvFilter::new("tenantry=debug,warn");
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false).with_writer(|| ToJournal).try_init();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let heard = JOURNAL.try_with(|journal| match journal.borrow().as_ref() {
            Some(journal) => {
                journal.panics.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
                true
            }
            None => false,
        });
        if !heard.unwrap_or(false) {
            usual(panic);
        }
    }));
}

/// An operator that runs.
pub enum Operator {
    Thread(Thread),
    Process(Process),
}

impl Operator {
    pub fn start(start: Start) -> Self {
        if start.as_process { Self::Process(Process::start(&start)) } else { Self::Thread(Thread::start(start)) }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Thread(thread) => thread.has_ended(),
            Self::Process(process) => process.has_ended(),
        }
    }
}

/// An operator in a thread. It ends with all that it knows and all that it has under way when this is dropped.
pub struct Thread {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(start: Start) -> Self {
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("operator".to_owned()).spawn(move || live(&start, &stopped));
        Self { stop, thread: Some(thread.expect("a thread")) }
    }

    /// Whether it has ended by itself, as a process that exits does.
    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn live(start: &Start, stop: &Notify) {
    JOURNAL.set(Some(start.journal.clone()));
    start.journal.say("an operator begins");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        tokio::spawn(run_clock(start.traffic.clone()));
        let config = kube::Config::new(format!("http://127.0.0.1:{}", start.api).parse().expect("a URL"));
        let metrics = Metrics::default();
        let connection = Connection::open(config, metrics.requests.clone(), "faulty").expect("a connection");
        let settings = Settings {
            namespace: crate::support::NAMESPACE.to_owned(),
            service_account: crate::support::SERVICE_ACCOUNT.to_owned(),
            extra_kinds: Vec::new(),
        };
        let configuration = Configuration { settings, check_address: Some(start.door), shards: ShardCount::ONE };
        let (context, writers) = Context::new(connection, metrics, configuration);
        // It is alone, so it needs no Lease to tell it that all tenants are its own.
        let trust = Trust::default();
        trust.last_until(Instant::now() + FOR_EVER);
        context.begin(Shard::FIRST, Fence::new(&trust));
        tokio::select! {
            ended = controller::run(Arc::new(context), writers) => start.journal.say(&format!("the operator ended by itself: {ended:?}")),
            () = stop.notified() => start.journal.say("the operator is ended"),
            () = crashed(&start.traffic) => start.journal.say("the operator crashes"),
        }
    });
    runtime.shutdown_background();
}

/// Waits for a crash; a call that came too late for the operator before isn't one.
pub async fn crashed(traffic: &Traffic) {
    while !traffic.is_crashed() {
        traffic.crash.notified().await;
    }
}

/// Winds the clock, unless the operator waits for an answer. While a blocking task sleeps, a paused clock doesn't run away by itself.
async fn run_clock(traffic: Arc<Traffic>) {
    loop {
        let _ = tokio::task::spawn_blocking(|| std::thread::sleep(EVERY)).await;
        if traffic.tick() {
            tokio::time::advance(TICK).await;
        }
    }
}
