//! Many customers at once, and what must be true of them in the end.

use crate::support::{Audit, Postgres, Tenant, World, condition, wait_until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long all may take: the simulated pods of fifty tenants take a minute on two cores.
const LIMIT: Duration = Duration::from_secs(240);
/// So many objects has a tenant at least.
const OBJECTS: usize = 15;

/// The customers.
pub struct Crowd {
    world: World,
    region: String,
    tenants: Vec<Tenant>,
}

impl Crowd {
    /// So many come at once.
    pub async fn onboard(world: &World, region: &str, many: usize) -> Self {
        let mut crowd = Self { world: world.clone(), region: region.to_owned(), tenants: Vec::new() };
        crowd.grow(many).await;
        crowd
    }

    /// So many more come.
    pub async fn grow(&mut self, many: usize) {
        let spec = json!({"region": self.region, "deletion": {"policy": "Delete"}});
        let make = |_| Tenant::new("crowd").with(spec.clone()).create_in(&self.world);
        let more = futures::future::join_all((0..many).map(make)).await;
        self.tenants.extend(more);
    }

    /// The Tenants as they are.
    pub async fn look(&self) -> Vec<Value> {
        let names: BTreeSet<_> = self.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let all = self.world.list("Tenant", None, "").await;
        all.into_iter().filter(|tenant| names.contains(tenant["metadata"]["name"].as_str().unwrap_or_default())).collect()
    }

    /// Waits until the first have come so far.
    pub async fn first_are(&self, kind: &str) {
        self.at_least(self.tenants.len() / 10 + 1, kind).await;
    }

    /// Waits until all are made.
    pub async fn all_ready(&self) {
        self.at_least(self.tenants.len(), "Ready").await;
    }

    async fn at_least(&self, count: usize, kind: &str) {
        wait_until(&format!("{count} tenants are {kind}"), LIMIT, async || {
            let found = self.look().await;
            let so_far = found.iter().filter(|tenant| is(tenant, kind)).count();
            let open = found.iter().find(|tenant| !is(tenant, kind)).map(|tenant| tenant["status"]["conditions"].to_string());
            if so_far >= count { Ok(()) } else { Err(format!("{so_far} of {}; one says {}", found.len(), open.unwrap_or_default())) }
        })
        .await;
    }

    /// Each object of each of them was made once.
    pub fn assert_nothing_was_made_twice(&self, audit: &Audit) {
        let namespaces: BTreeSet<_> = self.tenants.iter().map(|tenant| tenant.namespace.as_str()).collect();
        let mut made = BTreeMap::<_, usize>::new();
        for request in audit.writes() {
            let place = if request.namespace.is_empty() { &request.name } else { &request.namespace };
            if request.verb == "create" && namespaces.contains(place.as_str()) && request.resource != "events" {
                *made.entry((request.resource, request.namespace, request.name)).or_default() += 1;
            }
        }
        assert!(made.len() > self.tenants.len() * OBJECTS, "the audit log knows of {} objects only", made.len());
        let twice: Vec<_> = made.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "made twice: {twice:?}");
    }

    /// Each has one schema with one owner, and one login that works.
    pub async fn assert_databases(&self, postgres: &Postgres) {
        for tenant in &self.tenants {
            let owner = tenant.owner();
            let sql = format!(
                "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = '{owner}'), (SELECT count(*) FROM pg_roles WHERE rolname = '{owner}'), \
                 (SELECT count(*) FROM pg_roles WHERE rolname LIKE '{}.%')",
                owner.replace('_', "\\_")
            );
            assert_eq!(postgres.admin(&sql).await, "1|1|1", "{}", tenant.name);
            assert_eq!(tenant.sql_on(postgres, "SELECT current_user").await, Ok(owner), "{}", tenant.name);
        }
    }

    /// They all go.
    pub async fn leave(self) {
        for tenant in &self.tenants {
            tenant.delete().await;
        }
        for tenant in &self.tenants {
            tenant.gone().await;
        }
    }
}

/// Whether a condition of a Tenant is true.
pub fn is(tenant: &Value, kind: &str) -> bool {
    condition(tenant, kind).is_some_and(|condition| condition.status == "True")
}
