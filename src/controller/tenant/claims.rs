//! What a tenant takes that others could want, and keeps once it has it: its hosts, and its place on a database server.

use super::assess::{Step, Stop};
use super::{Pass, secrets};
use crate::api::tenant::TenantStatus;
use crate::api::{Blueprint, DatabaseServer};
use crate::database::DatabaseError;
use crate::instance::Database;
use crate::instance::resolve::hosts;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a tenant waits for what it is to be granted before its status says so: it usually comes within milliseconds.
const GRANTED_WITHIN: Duration = Duration::from_secs(2);

impl Pass<'_> {
    /// All hosts that the tenant claims are its own, or none: by this very process's decision, or by the coordinator's.
    pub fn hosts(&self, blueprint: &Blueprint) -> Result<(), Stop> {
        if self.context.holdings.is_alone() {
            return Ok(self.context.hosts.take(&self.uid)?);
        }
        let granted = self.tenant.status.as_ref().map(TenantStatus::granted_hosts).unwrap_or_default();
        let claims = hosts(self.tenant, &blueprint.spec.base_domain)?;
        if claims.iter().all(|host| granted.iter().any(|granted| granted == host.as_str())) {
            return Ok(());
        }
        // Only who may decide acts on what it remembers. It is good enough to tell why there is no grant.
        self.context.hosts.may_take(&self.uid)?;
        Err(Stop::not_granted("its hosts"))
    }

    /// The server that the tenant is on, or now comes to.
    pub async fn server(&self) -> Result<Arc<DatabaseServer>, Stop> {
        let name = match self.placed().await? {
            Some(name) => name,
            None if self.context.holdings.is_alone() => self.context.place(self.tenant)?,
            None => self.granted_place()?,
        };
        let server = self.context.stores.servers.get(&ObjectRef::new(&name)).ok_or_else(|| Stop::missing("DatabaseServer", &name))?;
        self.in_region(&server)?;
        Ok(server)
    }

    /// The region is asked for again here: a tenant may be given one only after it was placed, and a server's may be changed.
    fn in_region(&self, server: &DatabaseServer) -> Result<(), Stop> {
        let Some(region) = self.tenant.spec.region.as_ref().filter(|region| server.spec.region.as_ref() != Some(region)) else {
            return Ok(());
        };
        let name = server.name_any();
        let where_it_is = server.spec.region.as_deref().unwrap_or("none");
        let message = format!(
            "spec.region is {region}, but the data is on DatabaseServer {name}, whose region is {where_it_is}, and doesn't move: set spec.region of \
             the DatabaseServer if it is that server's, else make a new Tenant; what runs goes on running"
        );
        Err(Stop::stalled_at(Step::Database, "RegionMismatch", message))
    }

    /// The server that the tenant is on: as its status says, or, where that was lost, its Secret.
    async fn placed(&self) -> Result<Option<String>, Stop> {
        if let Some(database) = self.tenant.status.as_ref().and_then(|status| status.database.as_ref()) {
            return Ok(Some(database.server.clone()));
        }
        if self.context.holdings.is_alone()
            && let Some(server) = self.context.placements.of(&self.uid)
        {
            return Ok(Some(server));
        }
        let server = secrets::placed(self).await?;
        if let Some(server) = &server {
            self.context.is_placed(&self.uid, server);
        }
        Ok(server)
    }

    /// The server that the coordinator chose.
    fn granted_place(&self) -> Result<String, Stop> {
        if let Some(server) = self.tenant.status.as_ref().and_then(TenantStatus::server) {
            return Ok(server.to_owned());
        }
        self.context.placements.has_room(self.tenant.spec.region.as_deref(), &self.context.offers())?;
        Err(Stop::not_granted("its database server"))
    }

    /// How long the grant that the pass stopped for may still take before it is worth a word.
    pub fn is_granted_soon(&self, stop: Option<&Stop>) -> Option<Duration> {
        let asked_at = self.context.memory.of(&self.uid).asked_at;
        let since = stop.filter(|stop| stop.is_for_grant()).map(|_| asked_at.unwrap_or_else(Instant::now));
        if since != asked_at {
            self.context.memory.update(&self.uid, |remembered| remembered.asked_at = since);
        }
        GRANTED_WITHIN.checked_sub(since?.elapsed())
    }

    /// Data is never moved. Said before anything is written: a Secret that speaks of another place would cut off the pods that run.
    pub fn stays_in_place(&self, database: Option<&Database>) -> Result<(), Stop> {
        let held = self.tenant.status.as_ref().and_then(|status| status.database.as_ref());
        let (Some(held), Some(database)) = (held, database) else { return Ok(()) };
        if (&held.name, &held.schema) == (&database.name, &database.schema) {
            return Ok(());
        }
        Err(DatabaseError::place_changed((&held.name, held.schema.as_deref()), (&database.name, database.schema.as_deref())).into())
    }
}
