//! Many hours of bad days, in simulated time: processes that come, leave, die and sleep, in front of an API server that is slow, that loses answers,
//! and whose watches are late. Whatever happens, no shard is ever two processes', and no two numbers of shards are in force at once.

use super::*;
use futures::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until};
use tower::BoxError;

const SECOND: Duration = Duration::from_secs(1);
/// How many times, each with luck of its own.
const SEEDS: u64 = 12;
/// How long the bad days last.
const BAD_DAYS: Duration = Duration::from_secs(600);

/// The API server's Leases.
#[derive(Default)]
struct Store {
    leases: BTreeMap<String, Value>,
    history: Vec<Value>,
}

impl Store {
    fn put(&mut self, name: &str, mut lease: Value, kind: &str) -> Value {
        let version = self.history.len() + 1;
        lease["metadata"]["resourceVersion"] = version.to_string().into();
        if kind == "ADDED" {
            lease["metadata"]["uid"] = format!("uid-{version}").into();
        }
        if kind == "DELETED" {
            self.leases.remove(name)
        } else {
            self.leases.insert(name.to_owned(), lease.clone())
        };
        self.history.push(json!({"type": kind, "object": lease}));
        lease
    }

    fn handle(&mut self, method: &Method, name: Option<&str>, body: &Value) -> (u16, Value) {
        let failure = |code: u16, reason: &str| {
            (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}))
        };
        let known = name.and_then(|name| self.leases.get(name)).cloned();
        let differs = |known: &Value, wanted: &Value, field: &str| !wanted[field].is_null() && wanted[field] != known["metadata"][field];
        match (method, name, known) {
            (&Method::GET, None, _) => {
                let items: Vec<_> = self.leases.values().collect();
                (200, json!({"kind": "LeaseList", "metadata": {"resourceVersion": self.history.len().to_string()}, "items": items}))
            }
            (&Method::GET, _, Some(known)) => (200, known),
            (&Method::POST, None, _) => {
                let name = body["metadata"]["name"].as_str().unwrap();
                if self.leases.contains_key(name) { failure(409, "AlreadyExists") } else { (201, self.put(name, body.clone(), "ADDED")) }
            }
            (&Method::PUT, Some(name), Some(known)) => {
                let wanted = &body["metadata"];
                if differs(&known, wanted, "uid") || differs(&known, wanted, "resourceVersion") {
                    return failure(409, "Conflict");
                }
                let mut lease = body.clone();
                lease["metadata"]["uid"] = known["metadata"]["uid"].clone();
                (200, self.put(name, lease, "MODIFIED"))
            }
            // A Lease may be created by an update.
            (&Method::PUT, Some(_), None) if !body["metadata"]["uid"].is_null() => failure(409, "Conflict"),
            (&Method::PUT, Some(name), None) => (201, self.put(name, body.clone(), "ADDED")),
            (&Method::DELETE, Some(name), Some(known)) => {
                let wanted = &body["preconditions"];
                if differs(&known, wanted, "uid") || differs(&known, wanted, "resourceVersion") {
                    return failure(409, "Conflict");
                }
                (200, self.put(name, known, "DELETED"))
            }
            _ => failure(404, "NotFound"),
        }
    }
}

/// Chance, from a seed.
#[derive(Clone)]
struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    fn of(&self, probability: f64) -> bool {
        self.0.lock().unwrap().random_bool(probability)
    }

    fn between(&self, seconds: Range<f64>) -> Duration {
        Duration::from_secs_f64(self.0.lock().unwrap().random_range(seconds))
    }

    fn index(&self, end: usize) -> usize {
        self.0.lock().unwrap().random_range(0..end)
    }
}

/// The API server, and the way to it.
#[derive(Clone)]
struct Server {
    store: Arc<Mutex<Store>>,
    version: watch::Sender<usize>,
    chance: Chance,
    /// Whether the way is a bad one.
    is_bad: Arc<Mutex<bool>>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl Server {
    fn new(chance: Chance) -> Self {
        Self { store: Arc::default(), version: watch::Sender::new(0), chance, is_bad: Arc::new(Mutex::new(true)) }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let serve = tower::service_fn(move |request| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        Client::new(serve, "default")
    }

    /// Most requests take some milliseconds. Some take seconds, and some have no answer, whether they took effect or not.
    async fn trouble(&self) {
        if *self.is_bad.lock().unwrap() && self.chance.of(0.1) {
            if self.chance.of(0.3) {
                std::future::pending::<()>().await;
            }
            sleep(self.chance.between(0.0..6.0)).await;
        } else {
            sleep(self.chance.between(0.001..0.02)).await;
        }
    }

    async fn answer(&self, request: Request<Body>) -> Result<Answer, BoxError> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        if parameter("watch") == Some("true") {
            return Ok(self.watch(parameter("resourceVersion").unwrap().parse().unwrap()));
        }
        let body = body.collect_bytes().await?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let name = parts.uri.path().split_once("/leases/").map(|(_, name)| name.to_owned());
        self.trouble().await;
        let (code, answer) = {
            let mut store = self.store.lock().unwrap();
            let answer = store.handle(&parts.method, name.as_deref(), &body);
            self.version.send_replace(store.history.len());
            answer
        };
        self.trouble().await;
        let body = Full::from(answer.to_string()).boxed_unsync();
        Ok(Response::builder().status(code).body(body)?)
    }

    /// Tells what happened after this version, in order, but late, and now and then breaks off.
    fn watch(&self, version: usize) -> Answer {
        let events = stream::unfold((self.clone(), self.version.subscribe(), version), |(server, mut versions, mut version)| async move {
            let _ = versions.wait_for(|known| *known > version).await;
            let is_bad = *server.is_bad.lock().unwrap();
            sleep(server.chance.between(if is_bad && server.chance.of(0.2) { 0.0..4.0 } else { 0.001..0.02 })).await;
            if is_bad && server.chance.of(0.02) {
                return None;
            }
            let line = format!("{}\n", server.store.lock().unwrap().history[version]);
            version += 1;
            Some((Ok(Frame::data(Bytes::from(line))), (server, versions, version)))
        });
        Response::new(StreamBody::new(events).boxed_unsync())
    }
}

/// What a process does with the fences that it was given.
type Fences = Arc<Mutex<BTreeMap<(String, Shard), (ShardCount, Fence)>>>;

/// A process: its fences are open or not whether it runs or sleeps.
struct Process {
    running: JoinHandle<()>,
    asleep_until: watch::Sender<Instant>,
    leave: Arc<tokio::sync::Notify>,
    count: ShardCount,
}

impl Process {
    fn start(server: &Server, identity: String, count: ShardCount, fences: Fences) -> Self {
        let leave = Arc::new(tokio::sync::Notify::new());
        let leases = Leases::new(Api::default_namespaced(server.client()), identity.clone(), count);
        let (told, chance) = (leave.clone(), server.chance.clone());
        let work = async move {
            let (turns_sender, mut turns) = mpsc::unbounded_channel();
            let (ended_sender, ended) = mpsc::unbounded_channel();
            let serve = async {
                while let Some(turn) = turns.recv().await {
                    match turn {
                        Turn::Begin(shard, fence) => {
                            fences.lock().unwrap().insert((identity.clone(), shard), (count, fence));
                        }
                        Turn::End(shard) => {
                            sleep(chance.between(0.0..1.5)).await;
                            if let Some((_, fence)) = fences.lock().unwrap().remove(&(identity.clone(), shard)) {
                                fence.close();
                            }
                            let _ = ended_sender.send(shard);
                        }
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = leases.keep(turns_sender, ended, told.notified()) => {}
                () = serve => {}
            }
        };
        let asleep_until = watch::Sender::new(Instant::now());
        let running = tokio::spawn(stoppable(work, asleep_until.subscribe()));
        Self { running, asleep_until, leave, count }
    }
}

/// Does nothing while it is stopped, although time goes on.
async fn stoppable(work: impl Future<Output = ()>, asleep_until: watch::Receiver<Instant>) {
    let mut work = std::pin::pin!(work);
    let mut alarm: Option<Pin<Box<tokio::time::Sleep>>> = None;
    std::future::poll_fn(move |context| {
        let wake_up = *asleep_until.borrow();
        if Instant::now() < wake_up {
            let alarm = alarm.insert(Box::pin(sleep_until(wake_up)));
            return alarm.as_mut().poll(context).map(|()| unreachable!("it is still asleep"));
        }
        work.as_mut().poll(context)
    })
    .await;
}

/// Looks all the time whether something is so that never may be.
async fn guard(fences: Fences) {
    loop {
        let open: Vec<_> = fences
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, (_, fence))| fence.is_open())
            .map(|(key, (count, _))| (key.clone(), *count))
            .collect();
        let shards: BTreeSet<_> = open.iter().map(|((_, shard), _)| *shard).collect();
        let counts: BTreeSet<_> = open.iter().map(|(_, count)| u32::from(*count)).collect();
        assert!(shards.len() == open.len() && counts.len() <= 1, "{open:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What can happen to a process.
async fn misfortune(server: &Server, processes: &mut [Option<Process>], fences: &Fences, started: &mut u32) {
    let chance = &server.chance;
    let place = chance.index(processes.len());
    match &mut processes[place] {
        None => {
            *started += 1;
            // Now and then somebody changes the number of shards.
            let count = ["3", "3", "3", "2", "1"][chance.index(5)];
            processes[place] = Some(Process::start(server, format!("p{started}"), count.parse().unwrap(), fences.clone()));
        }
        Some(process) => match chance.index(4) {
            0 => {
                process.running.abort();
                processes[place] = None;
            }
            1 => {
                process.leave.notify_one();
                processes[place] = None;
            }
            _ => {
                process.asleep_until.send_replace(Instant::now() + chance.between(0.0..25.0));
            }
        },
    }
    sleep(chance.between(0.0..8.0)).await;
}

async fn bad_days(seed: u64) {
    let server = Server::new(Chance(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))));
    let fences = Fences::default();
    let guard = tokio::spawn(guard(fences.clone()));
    let mut processes: Vec<Option<Process>> = (0..4).map(|_| None).collect();
    let (mut started, mut worked) = (0, 0);
    let end = Instant::now() + BAD_DAYS;
    while Instant::now() < end && !guard.is_finished() {
        misfortune(&server, &mut processes, &fences, &mut started).await;
        worked += usize::from(fences.lock().unwrap().values().any(|(_, fence)| fence.is_open()));
    }
    assert!(guard.is_finished() || worked > 20, "seed {seed}: somebody worked at {worked} moments only");

    // After all that, good days: those of another number go, and the others share all the shards.
    *server.is_bad.lock().unwrap() = false;
    let three = "3".parse().unwrap();
    for process in processes.iter_mut() {
        if process.as_ref().is_none_or(|process| process.count != three || process.running.is_finished()) {
            if let Some(process) = process.take() {
                process.running.abort();
            }
            started += 1;
            *process = Some(Process::start(&server, format!("p{started}"), three, fences.clone()));
        }
    }
    sleep(90 * SECOND).await;
    let open: BTreeSet<_> = fences.lock().unwrap().iter().filter(|(_, (_, fence))| fence.is_open()).map(|((_, shard), _)| *shard).collect();
    let alive: Vec<_> = processes.iter().flatten().map(|process| process.running.is_finished()).collect();
    assert!(guard.is_finished() || open.len() == 3, "seed {seed}: only {open:?} are worked on, by processes that ended: {alive:?}");
    if guard.is_finished() {
        guard.await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn whatever_happens_no_shard_is_two_processes_and_no_two_counts_are_in_force() {
    for seed in 0..SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(bad_days(seed));
    }
}
