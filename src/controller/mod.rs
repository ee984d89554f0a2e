//! Keeps every tenant's instance true: watches fill the inventory and wake tenants, workers reconcile them one by one.

mod apply;
mod context;
mod inventory;
mod queue;
mod servers;
mod tenant;
mod watch;

pub use context::{Configuration, Context, Metrics};

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

/// Works until it is dropped. Only the leader calls it.
///
/// # Errors
/// Where the cluster doesn't know our kinds.
pub async fn run(context: Arc<Context>) -> Result<(), kube::Error> {
    let mut tasks = watch::start(&context).await?;
    tasks.spawn(servers::keep_checking(context.clone()));
    for _ in 0..WORKERS {
        tasks.spawn(work(context.clone()));
    }
    wait(&mut tasks).await;
    Ok(())
}

async fn wait(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

async fn work(context: Arc<Context>) {
    loop {
        let name = context.queue.next().await;
        let started = std::time::Instant::now();
        // A panic is one tenant's failure, not the end of a worker.
        let result = AssertUnwindSafe(tenant::reconcile(&context, &name)).catch_unwind().await;
        context.metrics.reconciled(started.elapsed());
        match result {
            Ok(Ok(again)) => {
                context.failures.forget(&name);
                if let Some(delay) = again {
                    context.queue.push_after(&name, delay);
                }
            }
            Ok(Err(error)) => {
                let delay = context.failures.next_delay(&name);
                tracing::warn!(tenant = name, %error, retry_in_seconds = delay.as_secs_f32(), "the tenant isn't as it should be");
                context.queue.push_after(&name, delay);
            }
            Err(_) => {
                tracing::error!(tenant = name, "a bug in the operator stopped this pass; it is tried again");
                context.queue.push_after(&name, context.failures.next_delay(&name));
            }
        }
        context.queue.done(&name);
    }
}
