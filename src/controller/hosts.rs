//! Who claims which host name. Who has a host keeps it; of those who claim one that nobody has, the oldest gets it.

use crate::instance::names::Host;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A tenant that claims hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// When the Tenant was created; the older comes first.
    pub since: Option<jiff::Timestamp>,
    /// Its UID, which decides between two of the same second.
    pub uid: String,
    /// Its name.
    pub name: String,
}

/// Another tenant has a host that this one claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host {host} belongs to tenant {holder}: take it out of one of the two")]
pub struct HostConflict {
    /// The host.
    pub host: Host,
    /// The name of the tenant that has it.
    pub holder: String,
}

/// All claims.
#[derive(Default)]
pub struct Hosts(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    claims: HashMap<Host, Claims>,
    of: HashMap<String, HashSet<Host>>,
}

#[derive(Default)]
struct Claims {
    claimants: Vec<Claimant>,
    /// The UID of the one that has it.
    holder: Option<String>,
}

impl Hosts {
    /// Takes in what a tenant claims now, and which hosts it has as far as can be seen. Tells which others may now get a host.
    pub fn claim(&self, claimant: &Claimant, hosts: HashSet<Host>, held: &[String]) -> Vec<String> {
        let mut inner = self.lock();
        let before = inner.of.insert(claimant.uid.clone(), hosts.clone()).unwrap_or_default();
        let mut affected = Vec::new();
        for host in before.difference(&hosts) {
            affected.extend(inner.give_up(host, &claimant.uid));
        }
        for host in hosts.difference(&before) {
            let claims = inner.claims.entry(host.clone()).or_default();
            claims.claimants.push(claimant.clone());
            claims.claimants.sort();
        }
        for host in hosts.iter().filter(|host| held.iter().any(|name| name == host.as_str())) {
            inner.claims.entry(host.clone()).or_default().holder.get_or_insert_with(|| claimant.uid.clone());
        }
        affected
    }

    /// Nothing is known any more.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
    }

    /// The tenant is gone. Tells which others may now get a host.
    pub fn forget(&self, uid: &str) -> Vec<String> {
        let mut inner = self.lock();
        let hosts = inner.of.remove(uid).unwrap_or_default();
        hosts.iter().flat_map(|host| inner.give_up(host, uid)).collect()
    }

    /// Gives the tenant all that it claims.
    ///
    /// # Errors
    /// Where another tenant has one of them, or is older and has yet to get it. Then nothing is taken.
    pub fn take(&self, uid: &str) -> Result<(), HostConflict> {
        let mut inner = self.lock();
        inner.may_take(uid)?;
        for host in inner.of.get(uid).cloned().unwrap_or_default() {
            inner.claims.entry(host).or_default().holder = Some(uid.to_owned());
        }
        Ok(())
    }

    /// Whether the tenant could be given all that it claims.
    ///
    /// # Errors
    /// Where another tenant has one of them, or is older and has yet to get it.
    pub fn may_take(&self, uid: &str) -> Result<(), HostConflict> {
        self.lock().may_take(uid)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn may_take(&self, uid: &str) -> Result<(), HostConflict> {
        let taken = self.of.get(uid).into_iter().flatten().filter_map(|host| {
            let claims = self.claims.get(host)?;
            let first = match &claims.holder {
                Some(holder) => claims.claimants.iter().find(|claimant| claimant.uid == *holder),
                None => claims.claimants.first(),
            };
            first.filter(|first| first.uid != uid).map(|first| HostConflict { host: host.clone(), holder: first.name.clone() })
        });
        // The same one every time, so that the message stays.
        taken.min_by(|a, b| a.host.cmp(&b.host)).map_or(Ok(()), Err)
    }

    /// Takes back one claim and tells who else claims the host.
    fn give_up(&mut self, host: &Host, uid: &str) -> Vec<String> {
        let Some(claims) = self.claims.get_mut(host) else { return Vec::new() };
        claims.claimants.retain(|claimant| claimant.uid != uid);
        if claims.holder.as_deref() == Some(uid) {
            claims.holder = None;
        }
        let others: Vec<_> = claims.claimants.iter().map(|claimant| claimant.name.clone()).collect();
        if others.is_empty() {
            self.claims.remove(host);
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(name: &str, second: i64) -> Claimant {
        Claimant { since: jiff::Timestamp::from_second(second).ok(), uid: format!("uid-{name}"), name: name.to_owned() }
    }

    fn set(names: &[&str]) -> HashSet<Host> {
        names.iter().map(|name| Host::parse(*name).unwrap()).collect()
    }

    #[test]
    fn the_older_gets_a_host_that_nobody_has_and_the_next_one_gets_it_after() {
        let hosts = Hosts::default();
        let (old, new) = (claimant("old", 1), claimant("new", 2));
        assert!(hosts.claim(&new, set(&["a.com", "new.com"]), &[]).is_empty());
        assert!(hosts.claim(&old, set(&["a.com"]), &[]).is_empty());
        assert_eq!(hosts.take("uid-new").unwrap_err().holder, "old");
        assert_eq!(hosts.take("uid-old"), Ok(()));
        assert_eq!(hosts.forget("uid-old"), ["new"]);
        assert_eq!(hosts.take("uid-new"), Ok(()));
    }

    #[test]
    fn an_older_tenant_takes_no_host_from_one_that_has_it() {
        let hosts = Hosts::default();
        let (old, new) = (claimant("old", 1), claimant("new", 2));
        hosts.claim(&old, set(&["old.com"]), &[]);
        hosts.claim(&new, set(&["a.com"]), &[]);
        assert_eq!(hosts.take("uid-new"), Ok(()));
        hosts.claim(&old, set(&["old.com", "a.com"]), &[]);
        assert_eq!(hosts.take("uid-old").unwrap_err().holder, "new");
        assert_eq!(hosts.claim(&new, set(&[]), &[]), ["old"]);
        assert_eq!(hosts.take("uid-old"), Ok(()));
    }

    #[test]
    fn after_a_restart_the_status_says_who_has_a_host() {
        let hosts = Hosts::default();
        hosts.claim(&claimant("old", 1), set(&["a.com"]), &[]);
        hosts.claim(&claimant("new", 2), set(&["a.com"]), &["a.com".to_owned()]);
        assert_eq!(hosts.take("uid-old").unwrap_err().holder, "new");
    }

    #[test]
    fn what_is_told_later_is_taken_in_and_what_is_asked_takes_nothing() {
        let hosts = Hosts::default();
        hosts.claim(&claimant("old", 1), set(&["a.com"]), &[]);
        hosts.claim(&claimant("new", 2), set(&["a.com"]), &[]);
        assert_eq!(hosts.may_take("uid-old"), Ok(()));
        hosts.claim(&claimant("new", 2), set(&["a.com"]), &["a.com".to_owned()]);
        assert_eq!(hosts.may_take("uid-old").unwrap_err().holder, "new");
        hosts.clear();
        assert_eq!(hosts.may_take("uid-old"), Ok(()));
    }
}
