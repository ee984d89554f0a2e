//! Several shards: each process that lives is a member, and the members share the shards evenly.
//!
//! Which shard is for whom follows from who the members are ([`assign`](crate::shards::ShardCount::assign)), so nobody has to be asked. A member takes a free shard that
//! is for it at once, and one that isn't if whoever it is for doesn't come for it. A shard that is for another is given back politely.

use super::{AFTER_A_CONFLICT, AGAIN, Fence, Heartbeat, LeaseLost, Leases, TRUSTED, Trust, Turn, Watched};
use crate::shards::Shard;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Error;
use kube::api::DeleteParams;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

/// How long a free shard waits for the member that it is for, before any other takes it.
const STAND_IN_AFTER: Duration = Duration::from_secs(3);
/// How long a stand-in keeps a shard at least: whoever it is for didn't come for it, and may not come again.
const STAND_IN_FOR: Duration = Duration::from_secs(30);

/// Joins, shares the shards until it is told to end, and leaves.
pub async fn keep(
    leases: &Leases,
    turns: UnboundedSender<Turn>,
    mut ended: UnboundedReceiver<Shard>,
    told_to_end: impl Future<Output = ()>,
) -> Result<(), LeaseLost> {
    let mut told_to_end = std::pin::pin!(told_to_end);
    let trust = Trust::default();
    let own = tokio::select! {
        own = join(leases, &trust) => own,
        () = &mut told_to_end => return Ok(()),
    };
    tracing::info!(shards = %leases.count, "joined the operators that share the tenants");
    let mut heartbeat = Heartbeat { leases, lease: own, trust: &trust };
    let mut member =
        Member { leases, turns, trust: trust.clone(), watched: leases.watch(), held: BTreeMap::new(), not_before: Instant::now() };
    tokio::select! {
        lost = heartbeat.keep() => return Err(lost),
        result = member.share(&mut ended, told_to_end) => result?,
    }
    // From here on nothing is renewed. The trust lasts long enough for the last passes.
    member.leave(&mut ended).await;
    trust.end();
    Ok(())
}

/// Makes the Lease by which others see that this process lives.
async fn join(leases: &Leases, trust: &Trust) -> Lease {
    let name = Leases::member_name(&leases.identity);
    loop {
        let started = Instant::now();
        match leases.take(&name, None, true).await {
            Ok(Some(lease)) => {
                trust.last_until(started + TRUSTED);
                return lease;
            }
            // An answer that was lost: the Lease is our own, and nobody else's by that name.
            Ok(None) => {
                let _ = leases.api.delete(&name, &DeleteParams::default()).await;
            }
            Err(error) => tracing::warn!(%error, "the lease of this process can't be made; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

struct Member<'a> {
    leases: &'a Leases,
    turns: UnboundedSender<Turn>,
    trust: Trust,
    watched: Watched,
    held: BTreeMap<Shard, Held>,
    /// Before, nothing is taken: somebody was faster, or it failed.
    not_before: Instant,
}

/// A shard that is this process's.
struct Held {
    /// A stand-in doesn't give it back sooner.
    keep_until: Instant,
    is_ending: bool,
}

impl Member<'_> {
    /// Takes what is for this process and gives back what is for another, until it is told to end.
    async fn share(&mut self, ended: &mut UnboundedReceiver<Shard>, told_to_end: impl Future<Output = ()>) -> Result<(), LeaseLost> {
        let mut told_to_end = std::pin::pin!(told_to_end);
        loop {
            let look_again = self.act().await;
            tokio::select! {
                () = &mut told_to_end => return Ok(()),
                Some(shard) = ended.recv() => self.give_back(shard).await,
                () = self.watched.changed() => self.are_still_ours()?,
                () = tokio::time::sleep_until(look_again) => {}
            }
        }
    }

    /// A Lease that somebody took or deleted ends the process: what it was doing for that shard may be another's now.
    fn are_still_ours(&self) -> Result<(), LeaseLost> {
        for shard in self.held.keys() {
            let lease = self.leases.name_of(*shard);
            let holder = self.watched.view.lease(&lease).and_then(super::view::holder).unwrap_or("nobody");
            if holder != self.leases.identity {
                self.trust.end();
                return Err(LeaseLost::Taken { holder: holder.to_owned(), lease });
            }
        }
        Ok(())
    }

    /// Does what is to be done now, and tells when to look again although nothing changed.
    async fn act(&mut self) -> Instant {
        if let Some(end) = self.watched.view.other_counts_end_at(self.leases.count).filter(|end| *end > Instant::now()) {
            return end;
        }
        self.act_alone().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the leases of shards can't be dealt with; trying again");
            self.not_before = Instant::now() + AGAIN;
            self.not_before
        })
    }

    async fn act_alone(&mut self) -> Result<Instant, Error> {
        self.leases.clear_other_counts(&self.watched.view).await?;
        self.free_what_is_not_worked_on().await?;
        let now = Instant::now();
        let (due, later) = self.plan(now);
        if due.is_empty() {
            return Ok(later);
        }
        let mut taken = Vec::new();
        for (shard, is_stand_in) in due {
            if self.take(shard).await? {
                taken.push((shard, is_stand_in));
            } else {
                self.not_before = Instant::now() + AFTER_A_CONFLICT;
            }
        }
        // Only now, when all others can see what was taken, it can be told whether it may be kept.
        if !taken.is_empty() && !self.leases.is_only_count().await? {
            tracing::info!("operators that split the tenants into another number of shards are at work; waiting for them to end");
            for (shard, _) in taken {
                self.free(shard).await?;
            }
            self.not_before = Instant::now() + AGAIN.mul_f32(rand::random_range(1.0..=2.0));
            return Ok(self.not_before);
        }
        for (shard, is_stand_in) in taken {
            let keep_until = if is_stand_in { Instant::now() + STAND_IN_FOR } else { now };
            tracing::info!(%shard, is_stand_in, "taking over a shard");
            self.held.insert(shard, Held { keep_until, is_ending: false });
            // Who listens ends with us; there is nobody to tell that it doesn't any more.
            let _ = self.turns.send(Turn::Begin(shard, Fence::new(&self.trust)));
        }
        Ok(self.not_before.max(Instant::now()))
    }

    /// Begins to give back what is for another, and tells which shards are to be taken now, whether as a stand-in, and when to look again.
    fn plan(&mut self, now: Instant) -> (Vec<(Shard, bool)>, Instant) {
        let Self { leases, watched, held, turns, .. } = self;
        let (view, count, me) = (&watched.view, leases.count, leases.identity.as_str());
        let mut members = view.members(count, now);
        members.insert(me.to_owned());
        let mut due = Vec::new();
        let mut later = view.next_death(now).unwrap_or(now + STAND_IN_FOR);
        for (shard, whose) in count.assign(&members) {
            if let Some(held) = held.get_mut(&shard) {
                if whose == me || held.is_ending {
                    continue;
                }
                if now >= held.keep_until {
                    tracing::info!(%shard, to = whose, "giving back a shard");
                    held.is_ending = true;
                    let _ = turns.send(Turn::End(shard));
                } else {
                    later = later.min(held.keep_until);
                }
                continue;
            }
            let Some(free_at) = view.free_at(&leases.name_of(shard)) else { continue };
            let at = if whose == me { free_at } else { free_at + STAND_IN_AFTER }.max(self.not_before);
            if now >= at {
                due.push((shard, whose != me));
            } else {
                later = later.min(at);
            }
        }
        (due, later)
    }

    /// Takes a shard that is free, or whose holder is dead; tells whether it is this process's.
    async fn take(&mut self, shard: Shard) -> Result<bool, Error> {
        let Self { leases, watched, .. } = self;
        let name = leases.name_of(shard);
        if let Some(holder) = watched.view.holder(&name)
            && !leases.bury(&watched.view, holder).await?
        {
            return Ok(false);
        }
        let Some(lease) = leases.take(&name, watched.view.lease(&name), false).await? else { return Ok(false) };
        watched.view.saw(lease, Instant::now());
        Ok(true)
    }

    /// Nothing is done for the shard any more.
    async fn give_back(&mut self, shard: Shard) {
        self.held.remove(&shard);
        if let Err(error) = self.free(shard).await {
            tracing::warn!(%shard, %error, "a shard can't be given back");
        }
    }

    /// Frees shards that are this process's by the Leases only: they were taken, or not given back, by a request whose answer was lost.
    async fn free_what_is_not_worked_on(&mut self) -> Result<(), Error> {
        for shard in self.leases.count.all() {
            let is_ours = self.watched.view.holder(&self.leases.name_of(shard)) == Some(&self.leases.identity);
            if is_ours && !self.held.contains_key(&shard) {
                self.free(shard).await?;
            }
        }
        Ok(())
    }

    async fn free(&mut self, shard: Shard) -> Result<(), Error> {
        let Self { leases, watched, .. } = self;
        let Some(lease) = watched.view.lease(&leases.name_of(shard)).cloned() else { return Ok(()) };
        if let Some(lease) = leases.free(lease).await? {
            watched.view.saw(lease, Instant::now());
        }
        Ok(())
    }

    /// Gives everything back. The member goes first, so that the others divide the shards among themselves before they are free.
    async fn leave(&mut self, ended: &mut UnboundedReceiver<Shard>) {
        let name = Leases::member_name(&self.leases.identity);
        if let Err(error) = super::within(self.leases.api.delete(&name, &DeleteParams::default())).await {
            tracing::warn!(%error, "the lease of this process can't be deleted; the others wait until it has run out");
        }
        for (shard, held) in &mut self.held {
            if !std::mem::replace(&mut held.is_ending, true) {
                let _ = self.turns.send(Turn::End(*shard));
            }
        }
        while !self.held.is_empty() {
            match ended.recv().await {
                Some(shard) => self.give_back(shard).await,
                None => return,
            }
        }
    }
}
