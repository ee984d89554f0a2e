//! `tenantry run`: the operator, while it holds the lease.

use super::Failure;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use kube::Client;
use kube_lease_manager::LeaseManagerBuilder;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use tenantry::controller::{self, Configuration, Context};
use tenantry::instance::Settings;
use tenantry::instance::render::Kind;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

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
    let client = Client::try_default().await.map_err(|error| format!("no cluster: {error}; set KUBECONFIG, or run inside a cluster"))?;
    let settings =
        Settings { namespace: options.namespace.clone(), service_account: options.service_account, extra_kinds: options.extra_kinds };
    let context = Arc::new(Context::new(client.clone(), Configuration { settings, check_address: options.check_address }));
    let listener =
        tokio::net::TcpListener::bind(options.listen).await.map_err(|error| format!("can't listen on {}: {error}", options.listen))?;
    let server = tokio::spawn(axum::serve(listener, endpoints(context.clone())).into_future());

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let manager = LeaseManagerBuilder::new(client, "tenantry").with_namespace(&options.namespace).build().await?;
    let (mut leads, watching) = manager.watch().await;
    tracing::info!("waiting for the lease");
    let ended = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let result = tokio::select! {
        () = ended => { tracing::info!("told to end"); Ok(()) }
        result = async {
            while !*leads.borrow_and_update() {
                leads.changed().await?;
            }
            tracing::info!("leading");
            tokio::select! {
                result = controller::run(context.clone()) => result.map_err(Failure::from),
                // Another leads: two must never act, so this one ends and is started afresh.
                _ = async { while *leads.borrow_and_update() { if leads.changed().await.is_err() { break } } } => Err("the lease was lost".into()),
            }
        } => result,
    };
    // Dropping the channel releases the lease, so that the next leader need not wait for it to run out.
    drop(leads);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), watching).await;
    server.abort();
    result
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_target(false).init(),
    }
}

/// A follower is ready too: it can take over at any moment.
fn endpoints(context: Arc<Context>) -> Router {
    let mut registry = Registry::default();
    context.metrics.register(&mut registry);
    let registry = Arc::new(registry);
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route(
            "/metrics",
            get(move |State(context): State<Arc<Context>>| {
                let registry = registry.clone();
                async move {
                    context.metrics.refresh(&context);
                    let mut text = String::new();
                    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
                    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                }
            }),
        )
        .with_state(context)
}

async fn ready(State(context): State<Arc<Context>>) -> (StatusCode, &'static str) {
    if context.is_ready() { (StatusCode::OK, "leading") } else { (StatusCode::OK, "waiting for the lease or the first lists") }
}
