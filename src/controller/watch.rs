//! The watches: our own kinds wake the tenants that use them, instances' objects wake the tenant that has them.

use super::StartError;
use super::context::{Context, Writers};
use super::hosts::Claimant;
use super::queue::Urgency;
use crate::api::{GROUP, Tenant, VERSION, labels};
use crate::instance::render::Kind;
use crate::instance::resolve::hosts;
use futures::TryStreamExt;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

/// Starts all watches and returns once every first list has arrived: who decides earlier takes what isn't listed yet for missing.
pub async fn start(context: &Arc<Context>, writers: Writers) -> Result<JoinSet<()>, StartError> {
    let kinds = kinds_of_this_cluster(context).await?;
    let mut tasks = JoinSet::new();
    let (listed, mut all_listed) = tokio::sync::mpsc::channel::<()>(1);
    let Writers { tenants, blueprints, plans, servers } = writers;
    tasks.spawn(own_kind(context.clone(), tenants, listed.clone(), |context, changed| {
        admit(context, &changed.name, &changed.uid);
        context.usage_changed.notify_one();
        context.queue.push(&changed.name, Urgency::Change);
    }));
    tasks.spawn(own_kind(context.clone(), blueprints, listed.clone(), |context: &Context, changed| {
        context.usage_changed.notify_one();
        wake(context, |tenant| tenant.spec.blueprint == changed.name);
    }));
    tasks.spawn(own_kind(context.clone(), plans, listed.clone(), |context: &Context, changed| {
        context.usage_changed.notify_one();
        wake(context, |tenant| tenant.spec.plan == changed.name);
    }));
    tasks.spawn(own_kind(context.clone(), servers, listed.clone(), |context: &Context, changed| {
        context.usage_changed.notify_one();
        context.servers.changed(&changed.name);
        // A tenant that is on none yet may have waited for this one.
        wake(context, |tenant| context.placements.of(&tenant.uid().unwrap_or_default()).is_none_or(|server| server == changed.name));
    }));
    for kind in kinds {
        tasks.spawn(objects(context.clone(), kind, listed.clone()));
    }
    drop(listed);
    // The channel closes when the last kind has been listed.
    while all_listed.recv().await.is_some() {}
    wake(context, |_| true);
    context.ready();
    Ok(tasks)
}

/// The kinds of instances' objects that this cluster knows.
async fn kinds_of_this_cluster(context: &Context) -> Result<Vec<Kind>, StartError> {
    let mut wanted: Vec<_> = Kind::WATCHED.to_vec();
    wanted.extend(context.configuration.settings.extra_kinds.iter().filter(|kind| !Kind::WATCHED.contains(kind)).cloned());
    let groups = context.client.list_api_groups().await?;
    let serves = |group: &str, version: &str| {
        group.is_empty() || groups.groups.iter().any(|known| known.name == group && known.versions.iter().any(|v| v.version == version))
    };
    if !serves(GROUP, VERSION) {
        return Err(StartError::OwnKindsMissing);
    }
    let mut kinds = Vec::new();
    for kind in wanted {
        if !serves(&kind.group, &kind.version) {
            continue;
        }
        // A group may be there without the kind, as with a part of the Gateway API.
        let resources = match kind.group.is_empty() {
            true => context.client.list_core_api_resources(&kind.version).await?,
            false => context.client.list_api_group_resources(&kind.api_version()).await?,
        };
        if resources.resources.iter().any(|resource| resource.name == kind.plural) {
            kinds.push(kind);
        } else {
            tracing::info!(kind = %kind.kind, group = %kind.group, "this cluster doesn't know the kind, so it isn't watched");
        }
    }
    Ok(kinds)
}

/// An object of our own kinds that appeared, changed in what matters, or went.
struct Changed {
    name: String,
    uid: String,
}

/// Keeps the store of one of our own kinds, and tells what changed. Status is ours to write, so its changes are no news.
async fn own_kind<K>(context: Arc<Context>, mut writer: Writer<K>, listed: Sender<()>, act: impl Fn(&Context, &Changed))
where
    K: Resource<DynamicType = ()> + reflector::Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<K> = Api::all(context.client.clone());
    let events = watcher(api, watcher::Config::default().any_semantic()).default_backoff();
    let mut events = std::pin::pin!(events.modify(|object| object.managed_fields_mut().clear()));
    let mut listed = Some(listed);
    let mut known: HashMap<String, (String, u64)> = HashMap::new();
    let mut listing: HashMap<String, (String, u64)> = HashMap::new();
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(kind = %<K as Resource>::kind(&()), %error, "a watch was interrupted; it starts again");
                continue;
            }
        };
        // What is told from here on has to be in the store already.
        writer.apply_watcher_event(&event);
        let changed = match event {
            Event::Init => {
                listing.clear();
                continue;
            }
            Event::InitApply(object) => {
                listing.insert(object.meta().uid.clone().unwrap_or_default(), (object.name_any(), what_matters(&object)));
                continue;
            }
            // The store takes in a list as a whole, so what it changed is known only now.
            Event::InitDone => {
                let before = std::mem::replace(&mut known, std::mem::take(&mut listing));
                let gone = before.iter().filter(|(uid, _)| !known.contains_key(*uid));
                let new = known.iter().filter(|(uid, now)| before.get(*uid) != Some(now));
                let changed = gone.chain(new).map(|(uid, (name, _))| Changed { name: name.clone(), uid: uid.clone() }).collect::<Vec<_>>();
                listed = None;
                changed
            }
            Event::Apply(object) => {
                let (uid, name) = (object.meta().uid.clone().unwrap_or_default(), object.name_any());
                let now = (name.clone(), what_matters(&object));
                if known.insert(uid.clone(), now.clone()) == Some(now) {
                    continue;
                }
                vec![Changed { name, uid }]
            }
            Event::Delete(object) => {
                let uid = object.meta().uid.clone().unwrap_or_default();
                known.remove(&uid);
                vec![Changed { name: object.name_any(), uid }]
            }
        };
        changed.iter().for_each(|changed| act(&context, changed));
        let _ = &listed;
    }
}

/// Digest of all but the status.
fn what_matters<K: Resource<DynamicType = ()>>(object: &K) -> u64 {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (meta.generation, &meta.annotations, &meta.labels, &meta.finalizers).hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

/// Takes in what a tenant claims and where it is placed, and wakes those whom that concerns.
fn admit(context: &Context, name: &str, uid: &str) {
    let tenant = context.stores.tenants.get(&ObjectRef::new(name)).filter(|tenant| tenant.uid().as_deref() == Some(uid));
    let affected = match &tenant {
        Some(tenant) => {
            if let Some(database) = tenant.status.as_ref().and_then(|status| status.database.as_ref()) {
                context.placements.set(uid, &database.server);
            }
            claim_hosts(context, tenant)
        }
        None => {
            if let Some(server) = context.placements.of(uid) {
                context.placements.forget(uid);
                context.servers.recount(&server);
            }
            context.memory.forget(uid);
            context.hosts.forget(uid)
        }
    };
    for other in affected {
        context.queue.push(&other, Urgency::Change);
    }
}

/// What a tenant claims depends on its blueprint's domain too.
fn claim_hosts(context: &Context, tenant: &Tenant) -> Vec<String> {
    let claimant = Claimant {
        since: tenant.metadata.creation_timestamp.as_ref().map(|time| time.0),
        uid: tenant.uid().unwrap_or_default(),
        name: tenant.name_any(),
    };
    let Some(blueprint) = context.stores.blueprints.get(&ObjectRef::new(&tenant.spec.blueprint)) else { return Vec::new() };
    let claims = hosts(tenant, &blueprint.spec.base_domain).unwrap_or_default().into_iter().collect();
    let held = tenant.status.as_ref().map(|status| status.hosts.as_slice()).unwrap_or_default();
    context.hosts.claim(&claimant, claims, held)
}

fn wake(context: &Context, uses: impl Fn(&Tenant) -> bool) {
    for tenant in context.stores.tenants.state().iter().filter(|tenant| uses(tenant)) {
        admit(context, &tenant.name_any(), &tenant.uid().unwrap_or_default());
        context.queue.push(&tenant.name_any(), Urgency::Change);
    }
}

/// Keeps one kind of instances' objects in the inventory.
async fn objects(context: Arc<Context>, kind: Kind, listed: Sender<()>) {
    let api: Api<DynamicObject> = Api::all_with(context.client.clone(), &kind.api_resource());
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default().labels(&ours)).default_backoff());
    let mut listed = Some(listed);
    let mut seen = HashSet::new();
    let push = |tenant: Option<String>| {
        if let Some(tenant) = tenant {
            context.queue.push(&tenant, Urgency::Change);
        }
    };
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => seen.clear(),
            Ok(Some(Event::InitApply(object))) => {
                seen.insert(object.metadata.uid.clone().unwrap_or_default());
                push(context.inventory.record(&kind, object));
            }
            Ok(Some(Event::InitDone)) => {
                context.inventory.retain(&kind, &seen).into_iter().for_each(|tenant| push(Some(tenant)));
                listed = None;
            }
            Ok(Some(Event::Apply(object))) => push(context.inventory.record(&kind, object)),
            Ok(Some(Event::Delete(object))) => push(context.inventory.forget(&kind, &object)),
            Ok(None) => return,
            Err(error) => tracing::warn!(kind = %kind.kind, group = %kind.group, %error, "a watch was interrupted; it starts again"),
        }
        let _ = &listed;
    }
}
