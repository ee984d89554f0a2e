//! What is remembered of tenants between passes. All of it can be found out again.

use super::{probe, secrets};
use crate::api::Tenant;
use crate::controller::own::Written;
use crate::database::DesiredDatabase;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// What is remembered of all tenants, by UID.
#[derive(Default)]
pub struct Memory {
    tenants: Mutex<HashMap<String, Remembered>>,
    /// The answers to the last writes of the Tenants themselves.
    written: Mutex<Written<Tenant>>,
}

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
    pub(super) fn keep_written(&self, tenant: Tenant) -> Arc<Tenant> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).keep(tenant)
    }

    /// The Tenant as the watch has brought it, or as it is since our own last write.
    pub(super) fn newest(&self, watched: Arc<Tenant>) -> Arc<Tenant> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).newest(watched)
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
        self.written.lock().unwrap_or_else(PoisonError::into_inner).forget(uid);
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

    /// The tenant's database is looked at by itself, and not with all others of its server.
    pub(super) fn look_at_database(&self, uid: &str) {
        self.update(uid, |remembered| remembered.database_seen = true);
    }

    /// The tenant's database has to be looked at.
    pub fn doubt_database(&self, uid: &str) {
        self.update(uid, |remembered| remembered.database = None);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
