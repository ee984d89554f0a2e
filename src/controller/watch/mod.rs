//! The watches: our own kinds wake the tenants that use them, instances' objects wake the tenant that has them.

mod own_kinds;
mod wake;

pub use wake::{readmit, wake_shard};

use super::StartError;
use super::context::{Context, Writers};
use super::live::Live;
use super::queue::Urgency;
use crate::api::{GROUP, VERSION, labels};
use crate::instance::render::Kind;
use futures::TryStreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use own_kinds::{own_kind, snapshots};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wake::{blueprint_changed, plan_changed, release_changed, server_changed, tenant_changed};

/// Objects of a page. There are some fifteen lists at once, and an object as it comes takes several times the memory of what is kept of it. Smaller
/// pages save little of that, and with thousands of objects the requests for them take longer than the objects do. A
/// [streamed list](https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists) would have one object at a time, but the library
/// asks for one from version 0 on, which may be of the past.
const PAGE_SIZE: u32 = 250;

/// All watches. They begin, and begin anew, when a shard is taken over: what its former holder wrote last has to be seen before anything is
/// decided, and a watch may be behind.
pub struct Watches {
    /// The number of the list that is wanted.
    wanted: watch::Sender<u64>,
    /// The number of the last whole list of each kind.
    listed: Vec<watch::Receiver<u64>>,
    _tasks: JoinSet<()>,
}

impl Watches {
    /// Makes ready to watch what this cluster knows.
    pub async fn new(context: &Arc<Context>, writers: Writers) -> Result<Self, StartError> {
        let kinds = kinds_of_this_cluster(context).await?;
        let (wanted, mut tasks, mut listed) = (watch::Sender::new(0), JoinSet::new(), Vec::new());
        let mut lists = || {
            let (sender, receiver) = watch::channel(0);
            listed.push(receiver);
            Lists { wanted: wanted.subscribe(), listed: sender }
        };
        let Writers { tenants, blueprints, plans, servers, releases } = writers;
        tasks.spawn(own_kind(context.clone(), tenants, lists(), tenant_changed));
        tasks.spawn(own_kind(context.clone(), blueprints, lists(), blueprint_changed));
        tasks.spawn(own_kind(context.clone(), plans, lists(), plan_changed));
        tasks.spawn(own_kind(context.clone(), servers, lists(), server_changed));
        tasks.spawn(own_kind(context.clone(), releases, lists(), release_changed));
        tasks.spawn(snapshots(context.clone(), lists()));
        for kind in kinds {
            tasks.spawn(objects(context.clone(), kind, lists()));
        }
        Ok(Self { wanted, listed, _tasks: tasks })
    }

    /// Lists everything as it is now, and returns once every list has arrived: who decides earlier takes what isn't listed yet for missing.
    pub async fn list(&self) {
        let number = *self.wanted.borrow() + 1;
        self.wanted.send_replace(number);
        for listed in &self.listed {
            // A watch ends only with the process.
            let _ = listed.clone().wait_for(|listed| *listed >= number).await;
        }
    }
}

/// What a watch is asked for, and what it has done.
struct Lists {
    wanted: watch::Receiver<u64>,
    listed: watch::Sender<u64>,
}

impl Lists {
    /// Watches from a list on, and from a new one whenever one is wanted.
    async fn follow<K>(mut self, api: Api<K>, config: watcher::Config, mut take_in: impl FnMut(Event<K>) + Send)
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
        K::DynamicType: Clone,
    {
        let mut number = 0;
        loop {
            match self.wanted.wait_for(|wanted| *wanted > number).await {
                Ok(wanted) => number = *wanted,
                Err(_) => return,
            }
            let mut events = std::pin::pin!(watcher(api.clone(), config.clone()).default_backoff());
            loop {
                let event = tokio::select! {
                    event = events.try_next() => event,
                    _ = self.wanted.changed() => break,
                };
                match event {
                    Ok(Some(event)) => {
                        let is_list = matches!(event, Event::InitDone);
                        take_in(event);
                        if is_list {
                            self.listed.send_replace(number);
                        }
                    }
                    Ok(None) => return,
                    Err(error) => tracing::warn!(path = api.resource_url(), %error, "a watch was interrupted; it starts again"),
                }
            }
        }
    }
}

/// The kinds of instances' objects that this cluster knows.
pub async fn kinds_of_this_cluster(context: &Context) -> Result<Vec<Kind>, StartError> {
    let mut wanted: Vec<_> = Kind::WATCHED.to_vec();
    wanted.extend(context.configuration.settings.extra_kinds.iter().filter(|kind| !Kind::WATCHED.contains(kind)).cloned());
    let groups = context.reader.list_api_groups().await?;
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
            true => context.reader.list_core_api_resources(&kind.version).await?,
            false => context.reader.list_api_group_resources(&kind.api_version()).await?,
        };
        if resources.resources.iter().any(|resource| resource.name == kind.plural) {
            kinds.push(kind);
        } else {
            tracing::info!(kind = %kind.kind, group = %kind.group, "this cluster doesn't know the kind, so it isn't watched");
        }
    }
    Ok(kinds)
}

/// Keeps one kind of instances' objects in the inventory.
async fn objects(context: Arc<Context>, kind: Kind, lists: Lists) {
    let api: Api<Live> = Api::all_with(context.reader.clone(), &kind.api_resource());
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let mut seen = HashSet::new();
    let resync = |tenant: &String| context.queue.push(tenant, Urgency::Resync);
    let look_soon = |tenant: &String| context.queue.push_soon(tenant);
    let take_in = |event: Event<Live>| match event {
        Event::Init => seen.clear(),
        Event::InitApply(object) => {
            seen.insert(object.uid().unwrap_or_default());
            context.inventory.record(&kind, object).iter().for_each(resync);
        }
        Event::InitDone => context.inventory.retain(&kind, &std::mem::take(&mut seen)).iter().for_each(resync),
        Event::Apply(object) => context.inventory.record(&kind, object).iter().for_each(look_soon),
        Event::Delete(object) => context.inventory.forget(&kind, &object).iter().for_each(look_soon),
    };
    lists.follow(api, watcher::Config::default().page_size(PAGE_SIZE).labels(&ours), take_in).await;
}
