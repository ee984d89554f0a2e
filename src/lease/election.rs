//! One shard: who holds its Lease works on all tenants, everybody else stands by.

use super::{AFTER_A_CONFLICT, AGAIN, Fence, Heartbeat, LeaseLost, Leases, TRUSTED, Trust, Turn, View, view};
use crate::shards::Shard;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// Waits for the Lease and keeps it until it is told to end.
pub async fn keep(
    leases: &Leases,
    turns: UnboundedSender<Turn>,
    mut ended: UnboundedReceiver<Shard>,
    told_to_end: impl Future<Output = ()>,
) -> Result<(), LeaseLost> {
    let mut told_to_end = std::pin::pin!(told_to_end);
    let trust = Trust::default();
    tracing::info!("waiting for the lease");
    let lease = tokio::select! {
        lease = win(leases, &trust) => lease,
        () = &mut told_to_end => return Ok(()),
    };
    tracing::info!("leading");
    // Who listens ends with us; there is nobody to tell that it doesn't any more.
    let _ = turns.send(Turn::Begin(Shard::FIRST, Fence::new(&trust)));
    let mut heartbeat = Heartbeat { leases, lease, trust: &trust };
    let at_work = async {
        told_to_end.await;
        let _ = turns.send(Turn::End(Shard::FIRST));
        ended.recv().await;
    };
    tokio::select! {
        lost = heartbeat.keep() => return Err(lost),
        () = at_work => {}
    }
    trust.end();
    match leases.free(heartbeat.lease).await {
        Ok(Some(_)) => {}
        Ok(None) => tracing::warn!("the lease was another's when it was given back"),
        Err(error) => tracing::warn!(%error, "the lease can't be given back; the next leader waits until it has run out"),
    }
    Ok(())
}

/// Waits until the Lease is this process's.
async fn win(leases: &Leases, trust: &Trust) -> Lease {
    let mut watched = leases.watch();
    let mut not_before = Instant::now();
    loop {
        let free_at = watched.view.free_at(view::ONLY).map(|free| {
            let others = watched.view.other_counts_end_at(leases.count).unwrap_or(free);
            free.max(others).max(not_before)
        });
        let free = async {
            match free_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = watched.changed() => continue,
            () = free => {}
        }
        not_before = match try_to_take(leases, &watched.view, trust).await {
            Ok(Some(lease)) => return lease,
            // Somebody was faster; the watch will tell who.
            Ok(None) => Instant::now() + AFTER_A_CONFLICT,
            Err(error) => {
                tracing::warn!(%error, "the lease can't be taken; trying again");
                Instant::now() + AGAIN
            }
        };
    }
}

async fn try_to_take(leases: &Leases, view: &View, trust: &Trust) -> Result<Option<Lease>, Error> {
    leases.clear_other_counts(view).await?;
    let started = Instant::now();
    let Some(lease) = leases.take(view::ONLY, view.lease(view::ONLY), true).await? else { return Ok(None) };
    match leases.is_only_count().await {
        Ok(true) => {
            trust.last_until(started + TRUSTED);
            Ok(Some(lease))
        }
        other => {
            tracing::info!("operators that split the tenants into several shards may be at work; waiting for them to end");
            leases.free(lease).await?;
            other.map(|_| None)
        }
    }
}
