//! Keeps every tenant's instance true: watches fill the inventory and wake tenants, workers reconcile them one by one.

mod apply;
mod context;
mod hosts;
mod in_use;
mod inventory;
mod placements;
mod queue;
mod servers;
mod tenant;
mod watch;

pub use context::{Configuration, Context, Writers};

use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Tenants that are worked on at once. More would only wait for the API server's own limits.
const WORKERS: usize = 16;
/// The first wait after a failure; it doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait after a failure.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// Why the operator can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Our own kinds are unknown there.
    #[error("the cluster doesn't know Tenantry's kinds: run `tenantry crd | kubectl apply --server-side -f -`, then start again")]
    OwnKindsMissing,
    /// The API server.
    #[error("the API server can't be asked what it knows: {0}")]
    Api(#[from] kube::Error),
}

/// Works until it is dropped, or until [`Context::stop`] was called and the passes under way have ended. Only the leader calls it.
///
/// # Errors
/// Where the cluster doesn't know our kinds.
pub async fn run(context: Arc<Context>, writers: Writers) -> Result<(), StartError> {
    let mut watches = watch::start(&context, writers).await?;
    watches.spawn(servers::keep_checking(context.clone()));
    watches.spawn(in_use::keep_holding(context.clone()));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(context.clone()));
    }
    while workers.join_next().await.is_some() {}
    Ok(())
}

async fn work(context: Arc<Context>) {
    while let Some(name) = context.queue.next().await {
        let started = tokio::time::Instant::now();
        // A panic is one tenant's failure, not the end of a worker.
        let result = AssertUnwindSafe(tenant::reconcile(&context, &name)).catch_unwind().await;
        let outcome = match result {
            Ok(Ok(again)) => {
                context.failures.forget(&name);
                if let Some(delay) = again {
                    context.queue.push_after(&name, delay);
                }
                "done"
            }
            Ok(Err(error)) => {
                let delay = context.failures.next_delay(&name);
                tracing::warn!(tenant = name, %error, retry_in_seconds = delay.as_secs_f32(), "the tenant isn't as it should be");
                context.queue.push_after(&name, delay);
                "failed"
            }
            Err(_) => {
                tracing::error!(tenant = name, "a bug in the operator stopped this pass; it is tried again");
                context.queue.push_after(&name, context.failures.next_delay(&name));
                "panicked"
            }
        };
        context.metrics.reconciled(outcome, started.elapsed());
        context.queue.done(&name);
    }
}
