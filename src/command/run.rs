//! `tenantry run`: the operator, while it holds the lease or a share of the shards.

use super::Failure;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use futures::FutureExt;
use futures::future::Fuse;
use futures::stream::{FuturesUnordered, StreamExt};
use kube::{Api, Config};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tenantry::client::Connection;
use tenantry::controller::{self, Configuration, Context, Writers};
use tenantry::instance::Settings;
use tenantry::instance::render::Kind;
use tenantry::lease::{Leases, Turn};
use tenantry::shards::ShardCount;
use tenantry::telemetry::Metrics;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tracing_subscriber::EnvFilter;

/// How long it may take to give everything back once the operator was told to end.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Options of `tenantry run`. The cluster is the one that KUBECONFIG names, or the one that the program runs in.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The operator's own namespace: its lease and the Secrets of database servers and registries are there.
    #[arg(long, env = "TENANTRY_NAMESPACE", default_value = "tenantry-system")]
    namespace: String,
    /// The ServiceAccount that the operator acts as; it is let into each tenant's namespace.
    #[arg(long, env = "TENANTRY_SERVICE_ACCOUNT", default_value = "tenantry-operator")]
    service_account: String,
    /// A kind that a blueprint's extras may be of. May be given several times; the ClusterRole tenantry-instance has to allow it too.
    #[arg(long = "extra-kind", env = "TENANTRY_EXTRA_KINDS", value_delimiter = ',', value_name = "GROUP/VERSION/KIND")]
    extra_kinds: Vec<Kind>,
    /// Where checks connect to, instead of looking the tenant's host up; for an ingress controller that DNS doesn't point to.
    #[arg(long, env = "TENANTRY_CHECK_ADDRESS", value_name = "ADDRESS:PORT")]
    check_address: Option<SocketAddr>,
    /// Into how many shards the tenants are split, to be shared by as many operators. Several need about three for each operator to be even. All
    /// operators have to be told the same; while they aren't, those of the new number wait until the last of the old one has ended.
    #[arg(long, env = "TENANTRY_SHARDS", default_value_t = ShardCount::ONE, value_name = "1 TO 64")]
    shards: ShardCount,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "TENANTRY_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// How the log is written. Which lines: RUST_LOG, such as tenantry=debug.
    #[arg(long, env = "TENANTRY_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    /// A JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Runs until it is told to end or loses a lease.
pub async fn run(options: Options) -> Result<(), Failure> {
    log(options.log_format);
    let config = Config::infer().await.map_err(|error| format!("no cluster: {error}; set KUBECONFIG, or run inside a cluster"))?;
    let (metrics, identity) = (Metrics::default(), identity());
    tracing::info!(identity, shards = %options.shards, "starting");
    let connection = Connection::open(config, metrics.requests.clone(), &identity)?;
    let leases = Leases::new(Api::namespaced(connection.unfenced(), &options.namespace), identity, options.shards);

    let settings = Settings { namespace: options.namespace, service_account: options.service_account, extra_kinds: options.extra_kinds };
    let configuration = Configuration { settings, check_address: options.check_address, shards: options.shards };
    let (context, writers) = Context::new(connection, metrics, configuration);
    let context = Arc::new(context);
    let listener =
        tokio::net::TcpListener::bind(options.listen).await.map_err(|error| format!("can't listen on {}: {error}", options.listen))?;
    tokio::spawn(axum::serve(listener, endpoints(context.clone())).into_future());
    work(&context, writers, &leases, told_to_end(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)).await
}

/// Works on the shards that the leases give, and gives them back at the end.
async fn work(context: &Arc<Context>, writers: Writers, leases: &Leases, told_to_end: impl Future<Output = ()>) -> Result<(), Failure> {
    let (turns_sender, mut turns) = mpsc::unbounded_channel();
    let (ended_sender, ended) = mpsc::unbounded_channel();
    let leave = Notify::new();
    let mut keeping = std::pin::pin!(leases.keep(turns_sender, ended, leave.notified()));
    let mut controller = std::pin::pin!(controller::run(context.clone(), writers).fuse());
    let mut told_to_end = std::pin::pin!(told_to_end.fuse());
    let mut too_long = std::pin::pin!(Fuse::terminated());
    let mut endings = FuturesUnordered::new();
    let mut result = Ok(());
    loop {
        let leaves = tokio::select! {
            // What was ours may be another's now: two must never act, so this process ends at once and is started afresh.
            kept = &mut keeping => return kept.map_err(Failure::from).and(result),
            () = &mut too_long => {
                tracing::warn!("not everything could be given back in time; who takes it over waits until this process is taken for dead");
                return result;
            }
            failed = &mut controller => {
                result = failed.map_err(Failure::from);
                true
            }
            () = &mut told_to_end => true,
            Some(shard) = endings.next() => {
                let _ = ended_sender.send(shard);
                false
            }
            Some(turn) = turns.recv() => {
                match turn {
                    Turn::Begin(shard, fence) => context.begin(shard, fence),
                    Turn::End(shard) => endings.push(async move {
                        context.end(shard).await;
                        shard
                    }),
                }
                false
            }
        };
        if leaves {
            leave.notify_one();
            too_long.set(tokio::time::sleep(LEAVE_WITHIN).fuse());
        }
    }
}

/// Tells this process from every other. It becomes part of a Lease's name, which takes small letters, digits, `-` and `.` only.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned());
    let host: String = host.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{}-{:08x}", host.trim_start_matches('-'), rand::random::<u32>())
}

async fn told_to_end(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("told to end");
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
    }
}

fn endpoints(context: Arc<Context>) -> Router {
    let content_type = ("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move |State(context): State<Arc<Context>>| async move { ([content_type], context.numbers()) }))
        .with_state(context)
}

/// Who stands by is ready: it can take over at any moment. Who works is once it has seen what there is.
async fn ready(State(context): State<Arc<Context>>) -> (StatusCode, String) {
    let is_alone = context.configuration.shards == ShardCount::ONE;
    let (status, text) = match (context.holds_any(), context.is_ready()) {
        (false, _) if is_alone => (StatusCode::OK, "waiting for the lease"),
        (false, _) => (StatusCode::OK, "waiting for a shard"),
        (true, true) if is_alone => (StatusCode::OK, "leading"),
        (true, true) => {
            let shards: Vec<_> = context.shards().iter().map(ToString::to_string).collect();
            return (StatusCode::OK, format!("working on shards {}", shards.join(", ")));
        }
        (true, false) => (StatusCode::SERVICE_UNAVAILABLE, "the first lists haven't arrived"),
    };
    (status, text.to_owned())
}
