//! Which tenant is on which DatabaseServer, or about to be, so that two at once don't take the same last place.

use crate::instance::placement::{self, Candidate, PlacementError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server that tenants may be placed on.
pub struct Offer {
    /// The DatabaseServer's name.
    pub name: String,
    /// Its region.
    pub region: Option<String>,
    /// How many tenants it may hold.
    pub capacity: u32,
    /// Whether it can be worked with now.
    pub reachable: bool,
}

/// All placements.
#[derive(Default)]
pub struct Placements(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    server_of: HashMap<String, String>,
    tenants: HashMap<String, u32>,
}

impl Placements {
    /// The server that this tenant is on.
    pub fn of(&self, uid: &str) -> Option<String> {
        self.lock().server_of.get(uid).cloned()
    }

    /// How many tenants are on this server.
    pub fn count(&self, server: &str) -> u32 {
        self.lock().tenants.get(server).copied().unwrap_or_default()
    }

    /// The tenant is on this server. Tells whether that is news.
    pub fn set(&self, uid: &str, server: &str) -> bool {
        self.lock().set(uid, server)
    }

    /// Nothing is known any more.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }

    /// The tenant is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().forget(uid);
    }

    /// Places a tenant that is on no server yet.
    ///
    /// # Errors
    /// Where no server has a place for it.
    pub fn choose(&self, uid: &str, region: Option<&str>, offers: &[Offer]) -> Result<String, PlacementError> {
        let mut inner = self.lock();
        let chosen = inner.best(region, offers)?;
        inner.set(uid, &chosen);
        Ok(chosen)
    }

    /// Whether there is a place for one more.
    ///
    /// # Errors
    /// Where no server has one.
    pub fn has_room(&self, region: Option<&str>, offers: &[Offer]) -> Result<(), PlacementError> {
        self.lock().best(region, offers).map(|_| ())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn best(&self, region: Option<&str>, offers: &[Offer]) -> Result<String, PlacementError> {
        let candidates: Vec<_> = offers
            .iter()
            .map(|offer| Candidate {
                name: &offer.name,
                region: offer.region.as_deref(),
                capacity: offer.capacity,
                tenants: self.tenants.get(&offer.name).copied().unwrap_or_default(),
                reachable: offer.reachable,
            })
            .collect();
        placement::choose(&candidates, region).map(str::to_owned)
    }

    fn set(&mut self, uid: &str, server: &str) -> bool {
        if self.server_of.get(uid).is_some_and(|known| known == server) {
            return false;
        }
        self.forget(uid);
        self.server_of.insert(uid.to_owned(), server.to_owned());
        *self.tenants.entry(server.to_owned()).or_default() += 1;
        true
    }

    fn forget(&mut self, uid: &str) {
        let Some(server) = self.server_of.remove(uid) else { return };
        if let Some(count) = self.tenants.get_mut(&server) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_given_once() {
        let placements = Placements::default();
        let offers = [Offer { name: "a".into(), region: None, capacity: 1, reachable: true }];
        assert_eq!(placements.choose("one", None, &offers), Ok("a".to_owned()));
        assert!(matches!(placements.choose("two", None, &offers), Err(PlacementError::DatabaseServersFull { .. })));
        placements.forget("one");
        assert_eq!(placements.choose("two", None, &offers), Ok("a".to_owned()));
        assert_eq!((placements.of("two").as_deref(), placements.count("a")), (Some("a"), 1));
    }
}
