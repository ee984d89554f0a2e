//! The watches: our own kinds wake the tenants that use them, instances' objects wake the tenant that has them.

use super::context::{Context, Stores};
use super::queue::Urgency;
use crate::api::{Blueprint, DatabaseServer, GROUP, Plan, Tenant, labels};
use crate::instance::render::Kind;
use futures::{Stream, StreamExt, TryStreamExt};
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Lookup};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Starts all watches and returns once every first list has arrived: who decides earlier takes what isn't listed yet for missing.
pub async fn start(context: &Arc<Context>) -> Result<JoinSet<()>, kube::Error> {
    let mut tasks = JoinSet::new();
    let (tenants, tenant_events) = reflect::<Tenant>(context);
    let (blueprints, blueprint_events) = reflect::<Blueprint>(context);
    let (plans, plan_events) = reflect::<Plan>(context);
    let (servers, server_events) = reflect::<DatabaseServer>(context);
    let stores = Stores { tenants, blueprints, plans, servers };
    let waits = (stores.tenants.clone(), stores.blueprints.clone(), stores.plans.clone(), stores.servers.clone());

    tasks.spawn(each(context.clone(), tenant_events, |context, tenant: &Tenant| context.queue.push(&tenant.name_any(), Urgency::Change)));
    tasks.spawn(each(context.clone(), blueprint_events, |context, changed: &Blueprint| {
        wake(context, |tenant| tenant.spec.blueprint == changed.name_any());
    }));
    tasks.spawn(each(context.clone(), plan_events, |context, changed: &Plan| {
        wake(context, |tenant| tenant.spec.plan == changed.name_any())
    }));
    tasks.spawn(each(context.clone(), server_events, |context, changed: &DatabaseServer| {
        context.servers.changed(&changed.name_any());
        wake(context, |tenant| {
            let placed = tenant.status.as_ref().and_then(|status| status.database.as_ref());
            placed.is_none_or(|placed| placed.server == changed.name_any())
        });
    }));

    let listed = tokio::sync::mpsc::channel::<()>(1);
    for kind in watched(context).await? {
        tasks.spawn(objects(context.clone(), kind, listed.0.clone()));
    }
    drop(listed.0);
    let mut listed = listed.1;
    // The channel closes when the last kind has been listed.
    while listed.recv().await.is_some() {}
    let _ = tokio::join!(waits.0.wait_until_ready(), waits.1.wait_until_ready(), waits.2.wait_until_ready(), waits.3.wait_until_ready());
    let all: Vec<_> = stores.tenants.state().iter().map(|tenant| tenant.name_any()).collect();
    let _ = context.stores.set(stores);
    for name in all {
        context.queue.push(&name, Urgency::Change);
    }
    Ok(tasks)
}

/// The kinds of instances' objects that this cluster knows.
async fn watched(context: &Context) -> Result<Vec<Kind>, kube::Error> {
    let mut kinds: Vec<_> = Kind::WATCHED.to_vec();
    kinds.extend(
        context.configuration.settings.extra_kinds.iter().filter(|kind| !Kind::WATCHED.contains(kind)).cloned().collect::<Vec<_>>(),
    );
    let groups = context.client.list_api_groups().await?;
    let known = |kind: &Kind| {
        kind.group.is_empty()
            || groups.groups.iter().any(|group| group.name == kind.group && group.versions.iter().any(|v| v.version == kind.version))
    };
    kinds.retain(known);
    Ok(kinds)
}

fn reflect<K>(context: &Context) -> (reflector::Store<K>, impl Stream<Item = K> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    <K as Resource>::DynamicType: Eq + Hash,
{
    let (store, writer) = reflector::store();
    let api: Api<K> = Api::all(context.client.clone());
    let events = watcher(api, watcher::Config::default().any_semantic())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects()
        // Status is ours to write, and nothing that we wrote ourselves wakes anybody.
        .predicate_filter(what_matters, Default::default())
        .filter_map(
            |result| async move { result.inspect_err(|error| tracing::warn!(%error, "a watch was interrupted; it starts again")).ok() },
        );
    (store, events)
}

/// Digest of all but the status.
fn what_matters<K: Resource<DynamicType = ()>>(object: &K) -> Option<u64> {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, &meta.annotations, &meta.finalizers).hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    Some(hasher.finish())
}

async fn each<K>(context: Arc<Context>, events: impl Stream<Item = K>, act: impl Fn(&Context, &K)) {
    let mut events = std::pin::pin!(events);
    while let Some(object) = events.next().await {
        act(&context, &object);
    }
}

fn wake(context: &Context, uses: impl Fn(&Tenant) -> bool) {
    let Some(stores) = context.stores.get() else { return };
    for tenant in stores.tenants.state().iter().filter(|tenant| uses(tenant)) {
        context.queue.push(&tenant.name_any(), Urgency::Change);
    }
}

/// Keeps one kind of instances' objects in the inventory.
async fn objects(context: Arc<Context>, kind: Kind, listed: tokio::sync::mpsc::Sender<()>) {
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
            Err(error) => tracing::warn!(kind = %kind.kind, group = GROUP, %error, "a watch was interrupted; it starts again"),
        }
        let _ = &listed;
    }
}
