//! `tenantry run`: the operator, while it holds the lease.

use super::Failure;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Config};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tenantry::client;
use tenantry::controller::{self, Configuration, Context};
use tenantry::instance::Settings;
use tenantry::instance::render::Kind;
use tenantry::lease::{Election, Fence};
use tenantry::telemetry::Metrics;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long passes that are under way may go on once the operator was told to end.
const LAST_PASSES: Duration = Duration::from_millis(1500);

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

/// Runs until it is told to end or loses the lease.
pub async fn run(options: Options) -> Result<(), Failure> {
    log(options.log_format);
    let config = Config::infer().await.map_err(|error| format!("no cluster: {error}; set KUBECONFIG, or run inside a cluster"))?;
    let metrics = Metrics::default();
    let fence = Fence::default();
    let client = client::connect(config.clone(), metrics.requests.clone(), Some(fence.clone()))?;
    let leases: Api<Lease> = Api::namespaced(client::connect(config, metrics.requests.clone(), None)?, &options.namespace);
    let election = Election::new(leases, "tenantry", identity(), fence);

    let settings = Settings { namespace: options.namespace, service_account: options.service_account, extra_kinds: options.extra_kinds };
    let (context, writers) = Context::new(client, metrics, Configuration { settings, check_address: options.check_address });
    let context = Arc::new(context);
    let listener =
        tokio::net::TcpListener::bind(options.listen).await.map_err(|error| format!("can't listen on {}: {error}", options.listen))?;
    tokio::spawn(axum::serve(listener, endpoints(context.clone())).into_future());

    let mut told_to_end = std::pin::pin!(told_to_end(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    tracing::info!("waiting for the lease");
    let mut held = tokio::select! {
        held = election.win() => held,
        () = &mut told_to_end => return Ok(()),
    };
    tracing::info!("leading");
    context.metrics.lead(true);
    let mut controller = Box::pin(controller::run(context.clone(), writers));
    let result = tokio::select! {
        result = &mut controller => result.map_err(Failure::from),
        // Another may lead now: two must never act, so this one ends and is started afresh.
        lost = held.keep() => return Err(lost.into()),
        () = &mut told_to_end => {
            context.stop();
            if tokio::time::timeout(LAST_PASSES, &mut controller).await.is_err() {
                tracing::warn!("some passes were cut short; the next leader takes them up");
            }
            Ok(())
        }
    };
    // Nothing of ours may still be at work when the next leader begins.
    drop(controller);
    held.release().await;
    result
}

/// Tells this process from every other in the lease.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned());
    format!("{host}-{:08x}", rand::random::<u32>())
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
        LogFormat::Text => builder.with_target(false).init(),
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

/// A follower is ready: it can take over at any moment. A leader is once it has seen what there is.
async fn ready(State(context): State<Arc<Context>>) -> (StatusCode, &'static str) {
    match (context.metrics.is_leading(), context.is_ready()) {
        (false, _) => (StatusCode::OK, "waiting for the lease"),
        (true, true) => (StatusCode::OK, "leading"),
        (true, false) => (StatusCode::SERVICE_UNAVAILABLE, "leading, but the first lists haven't arrived"),
    }
}
