//! A server to which nothing is sent that changes anything: what would be is noted instead.

use super::plan::{Change, plan};
use super::survey::{self, Observed, ObservedServer, ObservedTenant};
use super::{DatabaseError, DesiredDatabase, Server};
use std::sync::{Mutex, PoisonError};

/// What a dry run notes.
#[derive(Debug)]
pub struct DryRun {
    asks: bool,
    noted: Mutex<Vec<Change>>,
}

impl DryRun {
    /// One that looks at what there is.
    pub fn that_asks() -> Self {
        Self { asks: true, noted: Mutex::default() }
    }

    /// One that takes all to be as it should be, as for a server that can't be reached from here.
    pub fn that_trusts() -> Self {
        Self { asks: false, noted: Mutex::default() }
    }

    /// What would have been changed since the last time.
    pub fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What [`Server::ensure`] would do.
    ///
    /// # Errors
    /// Where it would fail.
    pub(super) async fn ensure(&self, server: &Server, desired: &DesiredDatabase) -> Result<Vec<Change>, DatabaseError> {
        if !self.asks {
            return Ok(Vec::new());
        }
        let changes = match server.open(&server.address.database).await {
            Err(error) if error.is_missing_database() => in_a_new_database(server, desired)?,
            session => plan(desired, &survey::observe(&session?, [desired.into()]).await?)?,
        };
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&changes);
        Ok(changes)
    }
}

/// The shared database is made wherever it is missing: as a rule when its server is first looked at, but it may have gone since.
fn in_a_new_database(server: &Server, desired: &DesiredDatabase) -> Result<Vec<Change>, DatabaseError> {
    let nothing = Observed {
        server: ObservedServer { operator: server.address.user.clone(), open_to_all: true, ..ObservedServer::default() },
        tenants: [(desired.owner.clone(), ObservedTenant::default())].into(),
    };
    let mut changes = vec![Change::make_shared_database(&server.address.database)];
    changes.extend(plan(desired, &nothing)?);
    Ok(changes)
}
