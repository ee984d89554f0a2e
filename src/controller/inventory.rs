//! What there is in the cluster, by tenant: filled by watches and by the answers to our own writes, so that deciding needs no request. Only what
//! belongs to shards of this process is kept.

use super::live::Live;
use super::observed::Observed;
use crate::instance::names::NAMESPACE_PREFIX;
use crate::instance::render::{Kind, ObjectKey};
use crate::shards::{Shard, ShardCount};
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All that belongs to one tenant.
pub type Objects = BTreeMap<ObjectKey, Arc<Observed>>;

/// All objects of these shards' tenants that carry our label and are in their tenant's namespace, by the tenant's name.
pub struct Inventory {
    count: ShardCount,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    shards: BTreeSet<Shard>,
    tenants: HashMap<String, Arc<Objects>>,
}

impl Inventory {
    /// An inventory that keeps nothing yet.
    pub fn new(count: ShardCount) -> Self {
        Self { count, inner: Mutex::default() }
    }

    /// From now on, what belongs to this shard is kept. What was there before has to be listed.
    pub fn take_in(&self, shard: Shard) {
        self.lock().shards.insert(shard);
    }

    /// Forgets what belongs to this shard.
    pub fn let_go(&self, shard: Shard) {
        let mut inner = self.lock();
        inner.shards.remove(&shard);
        inner.tenants.retain(|tenant, _| self.count.shard_of(tenant) != shard);
    }

    /// What there is of one tenant.
    pub fn of(&self, tenant: &str) -> Arc<Objects> {
        self.lock().tenants.get(tenant).cloned().unwrap_or_default()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<Observed>> {
        self.lock().tenants.get(tenant_of(key)?)?.get(key).cloned()
    }

    /// Takes in an object as it is now, and tells whose it is, if that is news.
    pub fn record(&self, kind: &Kind, live: Live) -> Option<String> {
        // No value of a Secret is kept. What isn't kept isn't pruned either.
        if *kind == Kind::SECRET {
            return None;
        }
        let (tenant, key) = place(kind, &live)?;
        let shard = self.count.shard_of(&tenant);
        let mut inner = self.lock();
        if !inner.shards.contains(&shard) {
            return None;
        }
        let objects = inner.tenants.entry(tenant.clone()).or_default();
        // A watch may bring what was so before our own write.
        let known = objects.get(&key).filter(|known| Some(&known.uid) == live.uid().as_ref());
        if known.is_some_and(|known| known.resource_version >= live.version()) {
            return None;
        }
        let mut observed = Observed::new(kind, live);
        let is_news = known.is_none_or(|known| observed.follows(known));
        Arc::make_mut(objects).insert(key, Arc::new(observed));
        is_news.then_some(tenant)
    }

    /// Takes in an object and tells what it is.
    pub fn keep(&self, kind: &Kind, live: Live) -> Observed {
        self.record(kind, live.clone());
        Observed::new(kind, live)
    }

    /// Takes out an object that is gone, and tells whose it was.
    pub fn forget(&self, kind: &Kind, live: &Live) -> Option<String> {
        let (tenant, key) = place(kind, live)?;
        let mut inner = self.lock();
        let objects = inner.tenants.get_mut(&tenant)?;
        if objects.get(&key).is_some_and(|known| Some(&known.uid) != live.uid().as_ref()) {
            return None;
        }
        Arc::make_mut(objects).remove(&key);
        if objects.is_empty() {
            inner.tenants.remove(&tenant);
        }
        Some(tenant)
    }

    /// Takes out all of a kind that a new list didn't have, and tells whose they were.
    pub fn retain(&self, kind: &Kind, listed: &HashSet<String>) -> Vec<String> {
        let mut affected = Vec::new();
        self.lock().tenants.retain(|tenant, objects| {
            let stays = |key: &ObjectKey, observed: &Observed| key.kind != *kind || listed.contains(&observed.uid);
            if !objects.iter().all(|(key, observed)| stays(key, observed)) {
                Arc::make_mut(objects).retain(|key, observed| stays(key, observed));
                affected.push(tenant.clone());
            }
            !objects.is_empty()
        });
        affected
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose object it is: the tenant's in whose namespace it is, whatever it says of itself. Else who may write in one namespace could make what
/// counts as another tenant's: a Job that a migration waits for, or a Deployment that holds a deletion.
fn place(kind: &Kind, live: &Live) -> Option<(String, ObjectKey)> {
    let namespace = if kind.is_cluster_scoped() { None } else { Some(live.namespace()?) };
    let key = ObjectKey { kind: kind.clone(), namespace, name: live.name_any() };
    Some((tenant_of(&key)?.to_owned(), key))
}

fn tenant_of(key: &ObjectKey) -> Option<&str> {
    key.namespace.as_ref().unwrap_or(&key.name).strip_prefix(NAMESPACE_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Resource;
    use serde_json::json;

    fn object(resource_version: &str) -> Live {
        let owner = json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": "acme", "uid": "u"});
        let metadata =
            json!({"name": "web", "namespace": "tenant-acme", "uid": "w", "resourceVersion": resource_version, "ownerReferences": [owner]});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn inventory() -> Inventory {
        let inventory = Inventory::new(ShardCount::ONE);
        inventory.take_in(Shard::FIRST);
        inventory
    }

    #[test]
    fn an_item_of_a_list_is_the_same_as_the_object_itself() {
        let inventory = inventory();
        assert_eq!(inventory.record(&Kind::SERVICE, object("1")).as_deref(), Some("acme"));
        let key = ObjectKey { kind: Kind::SERVICE, namespace: Some("tenant-acme".into()), name: "web".into() };
        let content = inventory.get(&key).unwrap().content().unwrap();
        assert_eq!((&content["apiVersion"], &content["kind"]), (&json!("v1"), &json!("Service")));
    }

    #[test]
    fn an_object_is_its_namespaces_whatever_owner_and_label_say() {
        let inventory = inventory();
        let mut forged = object("1");
        forged.meta_mut().namespace = Some("tenant-globex".into());
        assert_eq!(inventory.record(&Kind::JOB, forged.clone()).as_deref(), Some("globex"));
        forged.meta_mut().namespace = Some("kube-system".into());
        assert_eq!(inventory.record(&Kind::JOB, forged), None);
        assert!(inventory.of("acme").is_empty());
    }

    #[test]
    fn no_secret_is_kept() {
        let inventory = inventory();
        assert_eq!(inventory.record(&Kind::SECRET, object("1")), None);
        assert!(inventory.of("acme").is_empty());
    }

    #[test]
    fn what_is_older_than_known_or_changes_nothing_is_no_news() {
        let inventory = inventory();
        inventory.record(&Kind::SERVICE, object("2"));
        assert_eq!(inventory.record(&Kind::SERVICE, object("1")), None);
        assert_eq!(inventory.record(&Kind::SERVICE, object("3")), None, "what decisions go by is the same");
        let key = ObjectKey { kind: Kind::SERVICE, namespace: Some("tenant-acme".into()), name: "web".into() };
        assert_eq!(inventory.get(&key).unwrap().resource_version, 3);
        assert_eq!(inventory.forget(&Kind::SERVICE, &object("3")).as_deref(), Some("acme"));
        assert!(inventory.of("acme").is_empty());
    }

    #[test]
    fn what_belongs_to_another_process_is_not_kept() {
        let count: ShardCount = "3".parse().unwrap();
        let inventory = Inventory::new(count);
        let shard = count.shard_of("acme");
        for other in count.all().filter(|other| *other != shard) {
            inventory.take_in(other);
        }
        assert_eq!(inventory.record(&Kind::SERVICE, object("1")), None);
        inventory.take_in(shard);
        assert_eq!(inventory.record(&Kind::SERVICE, object("1")).as_deref(), Some("acme"));
        inventory.let_go(shard);
        assert!(inventory.of("acme").is_empty());
    }
}
