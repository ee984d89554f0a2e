//! What is remembered of tenants between passes. All of it can be found out again.

use super::{probe, secrets};
use crate::api::Tenant;
use crate::database::DesiredDatabase;
use kube::ResourceExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What is remembered of all tenants, by UID.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, Remembered>>);

/// What is remembered of one tenant.
#[derive(Clone, Default)]
pub(super) struct Remembered {
    /// Its database as it was last made or found to be; none where it has to be looked at.
    pub database: Option<Arc<Verified>>,
    /// Its secrets, as digests.
    pub secrets: Option<secrets::Known>,
    /// The last answer to its check.
    pub probe: Option<probe::Answer>,
    /// When its status was last written.
    pub status_written: Option<Instant>,
    /// The answer to the last write of the Tenant, until the watch has brought it.
    written: Option<Arc<Tenant>>,
    /// Since when it waits for a grant.
    pub asked_at: Option<Instant>,
    /// Its database was locked or dropped, because the tenant is being deleted.
    pub database_removed: bool,
    /// The database was looked at since the operator started.
    database_seen: bool,
    /// The request to look at everything anew that was answered last.
    reconcile: Option<String>,
}

/// A tenant's database that is as it should be, as far as is known.
pub struct Verified {
    /// The DatabaseServer.
    pub server: String,
    /// What it should be.
    pub desired: DesiredDatabase,
    /// Digest of that.
    pub digest: String,
}

impl Memory {
    pub(super) fn of(&self, uid: &str) -> Remembered {
        self.lock().get(uid).cloned().unwrap_or_default()
    }

    pub(super) fn update(&self, uid: &str, change: impl FnOnce(&mut Remembered)) {
        change(self.lock().entry(uid.to_owned()).or_default());
    }

    /// The API server's answer to a write of the Tenant itself.
    pub(super) fn keep_written(&self, uid: &str, mut tenant: Tenant) {
        tenant.metadata.managed_fields = None;
        self.update(uid, |remembered| remembered.written = Some(Arc::new(tenant)));
    }

    /// The Tenant as the watch has brought it, or as it is since our own last write: whoever goes by what was before writes the same again.
    pub(super) fn newest(&self, watched: Arc<Tenant>) -> Arc<Tenant> {
        let version = |tenant: &Tenant| tenant.resource_version().and_then(|version| version.parse::<u64>().ok());
        let mut all = self.lock();
        let Some(remembered) = watched.metadata.uid.as_ref().and_then(|uid| all.get_mut(uid)) else { return watched };
        match &remembered.written {
            Some(written) if version(written) > version(&watched) => written.clone(),
            _ => {
                remembered.written = None;
                watched
            }
        }
    }

    /// Forgets what is known, where a person asks for a fresh look that wasn't taken yet.
    pub(super) fn answer(&self, uid: &str, request: Option<&String>) {
        let Some(request) = request else { return };
        self.update(uid, |remembered| {
            if remembered.reconcile.as_ref() != Some(request) {
                *remembered = Remembered { reconcile: Some(request.clone()), ..Default::default() };
            }
        });
    }

    /// The tenant is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// All databases on a server, with the UIDs of their tenants.
    pub fn databases_on(&self, server: &str) -> Vec<Arc<Verified>> {
        self.lock().values().filter_map(|remembered| remembered.database.clone()).filter(|known| known.server == server).collect()
    }

    /// The tenant's database is as it should be.
    pub(super) fn trust_database(&self, uid: &str, verified: Arc<Verified>) {
        self.update(uid, |remembered| {
            remembered.database = Some(verified);
            remembered.database_seen = true;
        });
    }

    /// Whether the tenant's database was looked at since the operator started.
    pub(super) fn has_seen_database(&self, uid: &str) -> bool {
        self.lock().get(uid).is_some_and(|remembered| remembered.database_seen)
    }

    /// The tenant's database has to be looked at.
    pub fn doubt_database(&self, uid: &str) {
        self.update(uid, |remembered| remembered.database = None);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn our_own_write_is_known_before_the_watch_has_brought_it() {
        let version = |version: &str| -> Tenant {
            let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p"});
            let metadata = json!({"name": "acme", "uid": "u", "resourceVersion": version});
            serde_json::from_value(json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec}))
                .unwrap()
        };
        let memory = Memory::default();
        let newest = |watched: &str| memory.newest(Arc::new(version(watched))).resource_version().unwrap();
        assert_eq!(newest("9"), "9");
        memory.keep_written("u", version("11"));
        assert_eq!(newest("10"), "11");
        assert_eq!(newest("12"), "12");
        // From here on the watch knows best, even if it lists something older.
        assert_eq!(newest("10"), "10");
    }
}
