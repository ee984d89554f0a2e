//! The order in which tenants get a release: drawn anew for each, so that the same customers are not always first.

use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// A tenant's place in a release's order. The hash is spelled out, because processes of two versions have to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lot(u64);

/// A text that is no lot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lot is sixteen hexadecimal digits")]
pub struct InvalidLot;

impl Lot {
    /// Nobody comes later.
    pub const LAST: Self = Self(u64::MAX);

    /// Nobody comes earlier.
    pub const FIRST: Self = Self(0);

    /// The lot of a tenant in a release: the first eight bytes of the SHA-256 of both UIDs.
    pub fn draw(release: &str, tenant: &str) -> Self {
        let digest = Sha256::new().chain_update(release).chain_update("/").chain_update(tenant).finalize();
        Self(digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }
}

impl fmt::Display for Lot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Lot {
    type Err = InvalidLot;

    fn from_str(text: &str) -> Result<Self, InvalidLot> {
        if text.len() != 16 {
            return Err(InvalidLot);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidLot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lot_is_the_same_in_every_version_of_this_program() {
        assert_eq!(Lot::draw("release", "tenant").to_string(), "533704f38143a671");
        assert_ne!(Lot::draw("release", "tenant"), Lot::draw("another", "tenant"));
    }

    proptest! {
        #[test]
        fn lots_are_written_and_read_and_keep_their_order(one: u64, other: u64) {
            let (one, other) = (Lot(one), Lot(other));
            prop_assert_eq!(one.to_string().parse(), Ok(one));
            prop_assert_eq!(one.to_string() < other.to_string(), one < other);
        }
    }
}
