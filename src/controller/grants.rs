//! Gives tenants what they compete for, hosts and places on database servers, where several processes share the tenants: the holder of the first
//! shard, the coordinator, decides for all, writes what it decided into the tenant's status, and only then may the tenant's own process act on it.
//!
//! What is given up is taken back in writing before another gets it. Where there is one process, a tenant's pass takes what it needs, and
//! nothing is granted in writing.

use super::context::Context;
use super::own::{Meant, apply_status, if_still_there};
use crate::api::tenant::{Grant, TenantStatus};
use crate::api::{Blueprint, Tenant, labels};
use crate::instance::resolve;
use futures::stream::{self, StreamExt};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Grants that are written at once.
const CONCURRENT_WRITES: usize = 8;
/// How soon a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Tenants whose grant has to be looked at.
#[derive(Default)]
pub struct Due {
    names: Mutex<BTreeSet<String>>,
    changed: Notify,
}

impl Due {
    pub fn push(&self, tenant: &str) {
        self.lock().insert(tenant.to_owned());
        self.changed.notify_one();
    }

    async fn next(&self) -> BTreeSet<String> {
        loop {
            let names = std::mem::take(&mut *self.lock());
            if !names.is_empty() {
                return names;
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Works until it is dropped. Only the coordinator calls it.
pub async fn keep_granting(context: Arc<Context>) {
    context.stores.tenants.state().iter().for_each(|tenant| context.grants.push(&tenant.name_any()));
    loop {
        let due = context.grants.next().await;
        let failed = stream::iter(due)
            .map(|name| {
                let context = context.clone();
                async move { grant(&context, &name).await.err().map(|error| (name, error)) }
            })
            .buffer_unordered(CONCURRENT_WRITES)
            .filter_map(std::future::ready)
            .collect::<Vec<_>>()
            .await;
        for (tenant, error) in &failed {
            tracing::warn!(tenant, %error, "what a tenant was given can't be written; trying again");
            context.grants.push(tenant);
        }
        if !failed.is_empty() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Writes what a tenant may have now, if that is another than it has.
async fn grant(context: &Context, name: &str) -> Result<(), kube::Error> {
    let (Some(tenant), Some(coordinator)) = (context.stores.tenants.get(&ObjectRef::new(name)), context.holdings.coordinator()) else {
        return Ok(());
    };
    let none = TenantStatus::default();
    let status = tenant.status.as_ref().unwrap_or(&none);
    let granted = if context.holdings.is_alone() {
        // What was granted when there were several would be old when there are several again.
        if status.grant.is_none() {
            return Ok(());
        }
        None
    } else {
        let Ok(running) = context.running(&tenant, jiff::Timestamp::now()) else { return Ok(()) };
        if tenant.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let granted = decide(context, &tenant, status, &running.blueprint);
        if is_so(status, &granted) {
            return Ok(());
        }
        Some(granted)
    };
    tracing::debug!(tenant = name, ?granted, "granting");
    let status = granted.map_or_else(|| json!({}), |granted| json!({"grant": granted}));
    let written = apply_status(&coordinator.client, tenant.as_ref(), Meant::ThisOne, labels::COORDINATOR, status).await;
    if_still_there(written).map(drop)
}

/// All hosts that it claims and a server, or, where it can't have all of that, what it has and still claims.
fn decide(context: &Context, tenant: &Tenant, status: &TenantStatus, blueprint: &Blueprint) -> Grant {
    let uid = tenant.uid().unwrap_or_default();
    let claims = resolve::hosts(tenant, &blueprint.spec.base_domain).unwrap_or_default();
    let mut hosts: Vec<_> = claims.iter().map(ToString::to_string).collect();
    let mut server = context.placements.of(&uid);
    if context.hosts.take(&uid).is_err() {
        hosts.retain(|host| status.granted_hosts().contains(host));
    } else if server.is_none() && blueprint.spec.database.is_some() {
        // Why there is none, the tenant's own pass says.
        server = context.place(tenant).ok();
    }
    Grant { hosts, server }
}

fn is_so(status: &TenantStatus, granted: &Grant) -> bool {
    let set = |hosts: &[String]| hosts.iter().cloned().collect::<HashSet<_>>();
    set(status.granted_hosts()) == set(&granted.hosts) && status.server() == granted.server.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tenant::DatabaseStatus;

    fn grant_of(hosts: &[&str], server: Option<&str>) -> Grant {
        Grant { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), server: server.map(str::to_owned) }
    }

    #[test]
    fn what_a_tenant_got_from_the_only_operator_needs_no_grant() {
        let database = DatabaseStatus { server: "main".into(), name: "tenants".into(), schema: None, owner: "tenant_a".into() };
        let mut status = TenantStatus { hosts: vec!["a.com".into(), "b.com".into()], database: Some(database), ..Default::default() };
        assert!(is_so(&status, &grant_of(&["b.com", "a.com"], Some("main"))));
        assert!(!is_so(&status, &grant_of(&["a.com"], Some("main"))));
        // Once there is a grant, it alone says what the tenant may have.
        status.grant = Some(grant_of(&["a.com"], None));
        assert!(is_so(&status, &grant_of(&["a.com"], Some("main"))));
        assert!(!is_so(&status, &grant_of(&["a.com", "b.com"], Some("main"))));
    }
}
