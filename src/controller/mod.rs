//! Keeps every tenant's instance true: watches fill the inventory and wake tenants, workers reconcile them one by one.

mod apply;
mod comparison;
mod context;
pub mod dry_run;
mod grants;
mod holdings;
mod hosts;
mod in_use;
mod inventory;
mod live;
mod observed;
mod own;
mod placements;
mod queue;
mod releases;
mod releasing;
mod servers;
mod tenant;
mod watch;

pub use context::{Configuration, Context, Writers};

use crate::shards::Shard;
use futures::FutureExt;
use holdings::Holding;
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tenant::ReconcileError;
use tokio::task::JoinSet;
use watch::Watches;

/// Tenants that are worked on at once. More would only wait for the API server's own limits.
const WORKERS: usize = 16;
/// The first wait after a failure; it doubles up to [`LONGEST_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait after a failure.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// How often it is looked whether what isn't ours, and is in the way, has gone: nothing watches it.
const LOOK_AT_OTHERS: Duration = Duration::from_secs(15);
/// How long passes that are under way may go on when their shard is given back.
const LAST_PASSES: Duration = Duration::from_millis(1500);

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

/// Works on the shards that [`Context::begin`] and [`Context::end`] tell of, until it is dropped.
///
/// # Errors
/// Where the cluster doesn't know our kinds.
pub async fn run(context: Arc<Context>, writers: Writers) -> Result<(), StartError> {
    let mut changes = context.holdings.changes();
    // Who stands by watches nothing.
    let _ = changes.wait_for(|held| !held.is_empty()).await;
    let watches = Watches::new(&context, writers).await?;
    let (mut tasks, mut coordination) = (JoinSet::new(), JoinSet::new());
    let mut at_work = BTreeMap::new();
    loop {
        let held = changes.borrow_and_update().clone();
        let is_in =
            |holdings: &BTreeMap<Shard, Arc<Holding>>, shard, holding| holdings.get(shard).is_some_and(|known| Arc::ptr_eq(known, holding));
        if at_work.get(&Shard::FIRST).is_some_and(|holding| !is_in(&held, &Shard::FIRST, holding)) {
            coordination.shutdown().await;
            watch::readmit(&context);
        }
        let new: Vec<_> = held.iter().filter(|(shard, holding)| !is_in(&at_work, shard, holding)).collect();
        if !new.is_empty() {
            tokio::select! {
                () = watches.list() => {}
                // Another shard needs a list that begins later, and one list for both is had sooner than two.
                _ = changes.changed() => continue,
            }
            for (shard, holding) in new {
                begin_work(&context, *shard, holding, &mut coordination);
            }
            if !context.is_ready() {
                context.ready();
                tasks.spawn(servers::keep_checking(context.clone()));
                for _ in 0..WORKERS {
                    tasks.spawn(work(context.clone()));
                }
            }
        }
        at_work = held;
        // What changes the holdings lives as long as the context.
        let _ = changes.changed().await;
    }
}

/// Begins to look at a shard's tenants, unless it was given back while it was listed.
fn begin_work(context: &Arc<Context>, shard: Shard, holding: &Arc<Holding>, coordination: &mut JoinSet<()>) {
    if shard == Shard::FIRST {
        watch::readmit(context);
        context.stores.servers.state().iter().for_each(|server| context.servers.recount(&server.name_any()));
        coordination.spawn(in_use::keep_holding(context.clone()));
        coordination.spawn(grants::keep_granting(context.clone()));
        coordination.spawn(releasing::keep_releasing(context.clone()));
    }
    context.holdings.if_held(shard, holding, || context.queue.open(shard));
    watch::wake_shard(context, shard);
}

async fn work(context: Arc<Context>) {
    loop {
        let name = context.queue.next().await;
        let Some(holding) = context.holdings.of(&name) else {
            context.queue.done(&name);
            continue;
        };
        let started = tokio::time::Instant::now();
        // A panic is one tenant's failure, not the end of a worker.
        let pass = AssertUnwindSafe(tenant::reconcile(&context, &holding, &name)).catch_unwind();
        let outcome = tokio::select! {
            result = pass => ended(&context, &name, result),
            // What was cut short is taken up by who holds the shard next.
            () = holding.fence.closed() => "cut",
        };
        context.metrics.reconciled(outcome, started.elapsed());
        context.queue.done(&name);
    }
}

/// What is said and done at the end of a pass.
fn ended(context: &Context, name: &str, result: std::thread::Result<Result<Option<Duration>, ReconcileError>>) -> &'static str {
    match result {
        Ok(Ok(again)) => {
            context.failures.forget(name);
            if let Some(delay) = again {
                context.queue.push_after(name, delay);
            }
            "done"
        }
        Ok(Err(error)) => {
            let delay = context.failures.next_delay(name);
            tracing::warn!(tenant = name, %error, retry_in_seconds = delay.as_secs_f32(), "the tenant isn't as it should be");
            context.queue.push_after(name, delay);
            "failed"
        }
        Err(_) => {
            tracing::error!(tenant = name, "a bug in the operator stopped this pass; it is tried again");
            context.queue.push_after(name, context.failures.next_delay(name));
            "panicked"
        }
    }
}
