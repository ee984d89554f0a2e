//! Which tenant belongs to which shard, and which shard to which process: by rendezvous hashing, so that little moves when one comes or goes.
//!
//! Everything here is pure, and every process comes to the same answer. The hash is spelled out, because processes of two versions have to agree,
//! and the standard library promises for none of its hashers that the next release computes the same.

use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// How many shards the tenants are split into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCount(u32);

/// A number of shards that there can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are 1 to {} shards", ShardCount::MOST)]
pub struct InvalidShardCount;

/// One of the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u32);

impl ShardCount {
    /// All tenants belong to one process.
    pub const ONE: Self = Self(1);
    /// More would be more Leases than there are processes to hold them.
    pub const MOST: u32 = 64;

    /// The shard of a tenant. It goes by the name and not by the UID: a namespace, a database role and a place in the queue are a name's, and
    /// one process has to see the former tenant of a name out before the next one of that name comes in.
    pub fn shard_of(self, tenant: &str) -> Shard {
        let heaviest = self.all().zip(weights(tenant)).max_by_key(|(_, weight)| *weight);
        heaviest.map_or(Shard::FIRST, |(shard, _)| shard)
    }

    /// All shards.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(Shard)
    }

    /// Who of these processes each shard is for. Each gets as many as every other, or one more; of what that allows, the heaviest pairs of process
    /// and shard come first.
    pub fn assign(self, members: &BTreeSet<String>) -> BTreeMap<Shard, &str> {
        let mut pairs: Vec<_> = members
            .iter()
            .flat_map(|member| self.all().zip(weights(member)).map(move |(shard, weight)| (Reverse(weight), shard, member.as_str())))
            .collect();
        pairs.sort_unstable();
        let everybody = u32::try_from(members.len()).unwrap_or(u32::MAX).max(1);
        let (each, mut one_more) = (self.0 / everybody, self.0 % everybody);
        let mut loads = BTreeMap::<&str, u32>::new();
        let mut assigned = BTreeMap::new();
        for (_, shard, member) in pairs {
            let load = loads.entry(member).or_default();
            let has_room = *load < each || (*load == each && one_more > 0);
            if has_room && !assigned.contains_key(&shard) {
                if *load == each {
                    one_more -= 1;
                }
                *load += 1;
                assigned.insert(shard, member);
            }
        }
        assigned
    }
}

impl Shard {
    /// Its holder also decides what concerns tenants of several shards.
    pub const FIRST: Self = Self(0);
}

impl FromStr for ShardCount {
    type Err = InvalidShardCount;

    fn from_str(text: &str) -> Result<Self, InvalidShardCount> {
        let count = text.parse().map_err(|_| InvalidShardCount)?;
        if (1..=Self::MOST).contains(&count) { Ok(Self(count)) } else { Err(InvalidShardCount) }
    }
}

impl fmt::Display for ShardCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<ShardCount> for u32 {
    fn from(count: ShardCount) -> Self {
        count.0
    }
}

/// What weight a key has with shard 0, 1, and so on: the outputs of [SplitMix64](https://prng.di.unimi.it/splitmix64.c) from the first eight
/// bytes of the key's SHA-256. One digest a key is enough however many shards there are.
fn weights(key: &str) -> impl Iterator<Item = u64> {
    let digest = Sha256::digest(key.as_bytes());
    let mut state = digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte));
    std::iter::repeat_with(move || {
        state = u64::wrapping_add(state, 0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(many: u32) -> Vec<String> {
        (0..many).map(|number| format!("tenant-{number}")).collect()
    }

    fn members(many: usize, salt: u32) -> BTreeSet<String> {
        (0..many).map(|number| format!("operator-{salt:x}-{number}")).collect()
    }

    /// By another program, Python's hashlib and integers, for 2, 3, 6 and 64 shards.
    const PINNED: [(&str, [u32; 4]); 6] = [
        ("acme", [0, 0, 4, 18]),
        ("globex", [1, 1, 1, 28]),
        ("initech", [1, 1, 1, 53]),
        ("tenant-0", [0, 2, 4, 8]),
        ("umbrella-corp", [0, 0, 3, 38]),
        ("0123456789-0123456789-0123456789-0123456", [0, 0, 3, 3]),
    ];

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        assert_eq!(weights("acme").take(3).collect::<Vec<_>>(), [0xc2fd_6fc2_e9f7_e2a5, 0x3e68_1dbc_80bf_08d7, 0x1845_9441_9c66_ebfa]);
        let of = |count: u32, name: &str| ShardCount(count).shard_of(name).0;
        for (name, expected) in PINNED {
            assert_eq!([2, 3, 6, 64].map(|count| of(count, name)), expected, "{name}");
        }
    }

    #[test]
    fn tenants_are_spread_evenly() {
        for count in [2, 3, 6, 16, 64] {
            let mut tenants = vec![0_u32; count as usize];
            for name in names(64_000) {
                tenants[ShardCount(count).shard_of(&name).0 as usize] += 1;
            }
            let fair = 64_000 / count;
            let (least, most) = (tenants.iter().min().unwrap(), tenants.iter().max().unwrap());
            assert!(*least > fair * 85 / 100 && *most < fair * 115 / 100, "{count} shards: {least} to {most} of {fair}");
        }
    }

    #[test]
    fn one_more_shard_takes_its_share_and_moves_nobody_else() {
        for count in 1..ShardCount::MOST {
            let names = names(4_000);
            let moved: Vec<_> = names
                .iter()
                .map(|name| (ShardCount(count).shard_of(name), ShardCount(count + 1).shard_of(name)))
                .filter(|(before, after)| before != after)
                .collect();
            assert!(moved.iter().all(|(_, after)| *after == Shard(count)), "only the new shard takes any");
            let fair = names.len() as f64 / f64::from(count + 1);
            assert!((moved.len() as f64 - fair).abs() < 5.0 * fair.sqrt(), "{count}: {} moved, {fair} is fair", moved.len());
        }
    }

    proptest! {
        #[test]
        fn every_shard_is_somebodys_and_nobody_has_two_more_than_another(count in 1..=ShardCount::MOST, many in 1_usize..20, salt: u32) {
            let members = members(many, salt);
            let assigned = ShardCount(count).assign(&members);
            prop_assert_eq!(assigned.len(), count as usize);
            let load = |member: &String| assigned.values().filter(|holder| *holder == member).count();
            let loads: Vec<_> = members.iter().map(load).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
        }
    }

    #[test]
    fn little_more_than_a_share_moves_when_somebody_comes_or_goes() {
        for (count, many) in [(6, 2), (6, 3), (16, 4), (64, 3), (64, 8)] {
            let (mut moved, trials) = (0, 200);
            for salt in 0..trials {
                let after = members(many + 1, salt);
                let mut before = after.clone();
                before.pop_last();
                let (before, after) = (ShardCount(count).assign(&before), ShardCount(count).assign(&after));
                moved += before.iter().filter(|(shard, holder)| after[shard] != **holder).count();
            }
            let (average, share) = (moved as f64 / f64::from(trials), f64::from(count) / (many + 1) as f64);
            assert!(average < 1.6 * share, "{average} of {count} moved, the share is {share}");
        }
    }

    #[test]
    fn a_number_of_shards_is_within_bounds() {
        assert_eq!("1".parse(), Ok(ShardCount::ONE));
        assert_eq!("64".parse(), Ok(ShardCount(64)));
        for wrong in ["0", "65", "-1", "", "three"] {
            assert_eq!(wrong.parse::<ShardCount>(), Err(InvalidShardCount), "{wrong}");
        }
    }
}
