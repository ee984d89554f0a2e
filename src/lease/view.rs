//! What the Leases say: who lives, and who holds which shard. Pure: it is told what changed and when, and measures by that alone.

use super::DURATION;
use crate::api::labels;
use crate::shards::ShardCount;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio::time::Instant;

/// The Lease of the only shard.
pub const ONLY: &str = "tenantry";
/// How the names of the Leases of several shards begin; what follows is the shard.
pub const SHARD: &str = "tenantry-shard-";
/// How the names of the Leases that processes renew begin; what follows is the identity.
pub const MEMBER: &str = "tenantry-member-";

/// What a Lease is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// It says who works on a shard.
    Shard,
    /// It says that this process lives.
    Member(&'a str),
}

impl<'a> Role<'a> {
    /// By its name; none where it isn't ours.
    pub fn of(name: &'a str) -> Option<Self> {
        let is_shard = |name: &str| name.strip_prefix(SHARD).is_some_and(|number| number.parse::<u32>().is_ok());
        if name == ONLY || is_shard(name) { Some(Self::Shard) } else { name.strip_prefix(MEMBER).map(Self::Member) }
    }
}

/// Who holds it, if anybody does.
pub fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// Whether it is the Lease of a shard which somebody holds who splits the tenants into another number of shards.
pub fn is_of_other_count(lease: &Lease, count: ShardCount) -> bool {
    Role::of(&lease.name_any()) == Some(Role::Shard) && holder(lease).is_some() && !is_of_count(lease, count)
}

fn is_of_count(lease: &Lease, count: ShardCount) -> bool {
    match lease.annotations().get(labels::SHARDS) {
        Some(said) => said.parse() == Ok(count),
        // Before there were several.
        None => count == ShardCount::ONE && lease.name_any() == ONLY,
    }
}

/// The Leases as they were last seen.
#[derive(Debug, Default)]
pub struct View {
    leases: BTreeMap<String, Lease>,
    /// Who was last seen to hold a shard's Lease that has gone since. Nobody gives a Lease back by deleting it, so the holder may still be at work.
    vanished: BTreeMap<String, String>,
    /// When each process last gave a sign of life.
    signs: HashMap<String, Instant>,
    /// When each Lease that nobody holds was seen to be free.
    free_since: HashMap<String, Instant>,
    listed_at: Option<Instant>,
}

impl View {
    /// All Leases there are.
    pub fn listed(&mut self, leases: Vec<Lease>, now: Instant) {
        let names: BTreeSet<_> = leases.iter().map(ResourceExt::name_any).collect();
        let gone: Vec<_> = self.leases.keys().filter(|name| !names.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.is_gone(name, now));
        leases.into_iter().for_each(|lease| self.saw(lease, now));
        self.listed_at.get_or_insert(now);
    }

    /// A Lease as it is now. What is older than what was seen is no news.
    pub fn saw(&mut self, lease: Lease, now: Instant) {
        let name = lease.name_any();
        let Some(role) = Role::of(&name) else { return };
        let version = |lease: &Lease| lease.resource_version().and_then(|version| version.parse::<u64>().ok());
        let is_older = |known: &Lease| version(known).zip(version(&lease)).is_some_and(|(known, told)| told <= known);
        if self.leases.get(&name).is_some_and(|known| known.uid() == lease.uid() && is_older(known)) {
            return;
        }
        let sign_of = match role {
            Role::Member(identity) => Some(identity.to_owned()),
            Role::Shard => {
                self.vanished.remove(&name);
                match holder(&lease) {
                    Some(_) => self.free_since.remove(&name),
                    None => self.free_since.insert(name.clone(), now),
                };
                holder(&lease).map(str::to_owned)
            }
        };
        if let Some(identity) = sign_of {
            self.signs.insert(identity, now);
        }
        self.leases.insert(name, lease);
        self.forget_the_gone();
    }

    /// A Lease was deleted.
    pub fn is_gone(&mut self, name: &str, now: Instant) {
        let Some(lease) = self.leases.remove(name) else { return };
        if Role::of(name) == Some(Role::Shard) {
            match holder(&lease) {
                Some(holder) => self.vanished.insert(name.to_owned(), holder.to_owned()),
                None => None,
            };
            self.free_since.insert(name.to_owned(), now);
        }
        self.forget_the_gone();
    }

    /// A Lease, if there is one.
    pub fn lease(&self, name: &str) -> Option<&Lease> {
        self.leases.get(name)
    }

    /// Whether a process gave a sign of life not too long ago.
    pub fn lives(&self, identity: &str, now: Instant) -> bool {
        self.dies_at(identity).is_some_and(|death| now < death)
    }

    fn dies_at(&self, identity: &str) -> Option<Instant> {
        self.signs.get(identity).map(|sign| *sign + DURATION)
    }

    /// Who was last seen to hold a shard's Lease.
    pub fn holder(&self, name: &str) -> Option<&str> {
        self.leases.get(name).and_then(holder).or_else(|| self.vanished.get(name).map(String::as_str))
    }

    /// When a shard's Lease became, or becomes, free to be taken; none before there was a list.
    pub fn free_at(&self, name: &str) -> Option<Instant> {
        match self.holder(name) {
            Some(holder) => self.dies_at(holder),
            None => self.free_since.get(name).copied().or(self.listed_at),
        }
    }

    /// The processes that share this many shards and live.
    pub fn members(&self, count: ShardCount, now: Instant) -> BTreeSet<String> {
        let members = self.leases.iter().filter_map(|(name, lease)| match Role::of(name) {
            Some(Role::Member(identity)) if is_of_count(lease, count) => Some(identity),
            _ => None,
        });
        members.filter(|identity| self.lives(identity, now)).map(str::to_owned).collect()
    }

    /// Leases of shards that are held under another count.
    pub fn of_other_counts(&self, count: ShardCount) -> impl Iterator<Item = &Lease> {
        self.leases.values().filter(move |lease| is_of_other_count(lease, count))
    }

    /// When the last of those who hold a Lease under another count is dead, if it gives no more sign of life.
    pub fn other_counts_end_at(&self, count: ShardCount) -> Option<Instant> {
        self.of_other_counts(count).filter_map(|lease| self.dies_at(holder(lease)?)).max()
    }

    /// When the next of those who live now is dead, if it gives no more sign of life.
    pub fn next_death(&self, now: Instant) -> Option<Instant> {
        self.signs.values().map(|sign| *sign + DURATION).filter(|death| *death > now).min()
    }

    /// Nobody needs to know of a process that no Lease speaks of.
    fn forget_the_gone(&mut self) {
        let Self { leases, vanished, signs, .. } = self;
        let members = leases.keys().filter_map(|name| match Role::of(name) {
            Some(Role::Member(identity)) => Some(identity),
            _ => None,
        });
        let named: BTreeSet<_> = members.chain(leases.values().filter_map(holder)).chain(vanished.values().map(String::as_str)).collect();
        signs.retain(|identity, _| named.contains(identity.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(name: &str, holder: &str, version: u32, count: Option<u32>) -> Lease {
        let annotations = count.map(|count| json!({labels::SHARDS: count.to_string()}));
        let metadata = json!({"name": name, "uid": name, "resourceVersion": version.to_string(), "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"holderIdentity": holder}})).unwrap()
    }

    fn three() -> ShardCount {
        "3".parse().unwrap()
    }

    #[test]
    fn a_shard_is_free_when_it_is_given_back_or_its_holder_is_dead() {
        let (mut view, start) = (View::default(), Instant::now());
        assert_eq!(view.free_at("tenantry-shard-0"), None);
        view.listed(vec![lease("tenantry-member-a", "a", 1, Some(3)), lease("tenantry-shard-0", "a", 2, Some(3))], start);
        assert_eq!((view.free_at("tenantry-shard-0"), view.free_at("tenantry-shard-1")), (Some(start + DURATION), Some(start)));
        // It is the member's renewals that count.
        view.saw(lease("tenantry-member-a", "a", 3, Some(3)), start + 5 * SECOND);
        assert_eq!(view.free_at("tenantry-shard-0"), Some(start + 5 * SECOND + DURATION));
        view.saw(lease("tenantry-shard-0", "", 4, Some(3)), start + 6 * SECOND);
        assert_eq!((view.holder("tenantry-shard-0"), view.free_at("tenantry-shard-0")), (None, Some(start + 6 * SECOND)));
    }

    #[test]
    fn a_watch_that_starts_again_is_no_sign_of_life() {
        let (mut view, start) = (View::default(), Instant::now());
        let all = || vec![lease("tenantry-member-a", "a", 1, Some(3)), lease("tenantry-shard-0", "a", 2, Some(3))];
        view.listed(all(), start);
        view.listed(all(), start + 10 * SECOND);
        assert_eq!(view.free_at("tenantry-shard-0"), Some(start + DURATION));
        assert!(view.lives("a", start + 14 * SECOND) && !view.lives("a", start + 15 * SECOND));
        assert_eq!(view.members(three(), start + 14 * SECOND), BTreeSet::from(["a".to_owned()]));
        assert!(view.members(three(), start + 15 * SECOND).is_empty());
    }

    #[test]
    fn a_deleted_lease_is_not_free_before_its_holder_is_dead() {
        let (mut view, start) = (View::default(), Instant::now());
        view.listed(vec![lease(ONLY, "a", 1, None)], start);
        view.is_gone(ONLY, start + SECOND);
        assert_eq!((view.holder(ONLY), view.free_at(ONLY)), (Some("a"), Some(start + DURATION)));
        // Who leaves deletes its own Lease first, and holds its shards until they are given back.
        view.saw(lease("tenantry-member-b", "b", 2, Some(3)), start);
        view.saw(lease("tenantry-shard-1", "b", 3, Some(3)), start);
        view.is_gone("tenantry-member-b", start + SECOND);
        assert!(view.members(three(), start + SECOND).is_empty());
        assert_eq!(view.free_at("tenantry-shard-1"), Some(start + DURATION));
    }

    #[test]
    fn who_holds_a_lease_under_another_count_is_known() {
        let (mut view, start) = (View::default(), Instant::now());
        view.listed(vec![lease(ONLY, "old", 1, None), lease("tenantry-shard-0", "", 2, Some(6)), lease("other", "x", 3, None)], start);
        assert_eq!(view.of_other_counts(three()).map(ResourceExt::name_any).collect::<Vec<_>>(), [ONLY]);
        assert_eq!(view.of_other_counts(ShardCount::ONE).count(), 0);
        assert_eq!(view.other_counts_end_at(three()), Some(start + DURATION));
        view.saw(lease("tenantry-shard-5", "a", 4, Some(6)), start);
        assert_eq!(view.of_other_counts(ShardCount::ONE).count(), 1);
        assert_eq!(view.members(three(), start), BTreeSet::new());
    }

    #[test]
    fn an_answer_of_our_own_is_not_undone_by_an_older_event() {
        let (mut view, start) = (View::default(), Instant::now());
        view.listed(vec![lease("tenantry-shard-0", "a", 5, Some(3))], start);
        view.saw(lease("tenantry-shard-0", "", 7, Some(3)), start);
        view.saw(lease("tenantry-shard-0", "a", 6, Some(3)), start);
        assert_eq!(view.holder("tenantry-shard-0"), None);
    }
}
