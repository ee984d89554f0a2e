//! The watches: our own kinds wake the tenants that use them, instances' objects wake the tenant that has them.

use super::StartError;
use super::context::{Context, Writers};
use super::hosts::Claimant;
use super::live::Live;
use super::queue::Urgency;
use super::releasing;
use crate::api::conditions::{READY, STALLED, is_true};
use crate::api::tenant::TenantStatus;
use crate::api::{Blueprint, DatabaseServer, GROUP, Plan, Release, Tenant, VERSION, labels};
use crate::instance::names::Host;
use crate::instance::render::Kind;
use crate::instance::resolve::hosts;
use crate::shards::Shard;
use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

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

fn tenant_changed(context: &Context, changed: &Changed) {
    admit(context, &changed.name, &changed.uid);
    context.grant_soon(&changed.name);
    context.releases.changed.notify_one();
    let tenant = context.stores.tenants.get(&ObjectRef::new(&changed.name));
    // Which release a tenant has, its status says.
    let may_follow = tenant.is_none_or(|tenant| !context.releases.of(&tenant.spec.blueprint).is_empty());
    if changed.is_news || may_follow {
        context.usage_changed.notify_one();
    }
    if changed.is_news {
        let urgency = match urgency(context, &changed.name) {
            Urgency::Resync if !changed.is_listed => Urgency::Change,
            urgency => urgency,
        };
        context.queue.push(&changed.name, urgency);
    }
}

/// Once there is a release, a blueprint reaches nobody until the next one.
fn blueprint_changed(context: &Context, changed: &Changed) {
    context.usage_changed.notify_one();
    context.releases.changed.notify_one();
    if context.releases.of(&changed.name).is_empty() {
        wake(context, |tenant| tenant.spec.blueprint == changed.name);
    }
}

/// Wakes those for whom it makes a difference, and that before what only grew old: a release that is stopped has to be stopped at once.
fn release_changed(context: &Context, _: &Changed) {
    let all = context.stores.releases.state();
    context.releases.take_in(all);
    context.usage_changed.notify_one();
    context.releases.changed.notify_one();
    wake_to_move(context, |tenant, now| context.is_to_move(tenant, now));
}

/// The blueprint as it stood when a release was made has come, or gone.
fn snapshot_changed(context: &Context, release: &str) {
    context.releases.changed.notify_one();
    wake_to_move(context, |tenant, now| context.runs_snapshot_of(tenant, release, now));
}

/// While the first lists come in, nobody is worked on yet, and all are woken when they are there: to look through all tenants for each listed
/// release would take longer than the lists.
fn wake_to_move(context: &Context, concerns: impl Fn(&Tenant, jiff::Timestamp) -> bool) {
    let now = jiff::Timestamp::now();
    if context.is_ready() {
        wake_as(context, |tenant| concerns(tenant, now), |_, _| Urgency::Change);
    }
}

fn plan_changed(context: &Context, changed: &Changed) {
    context.usage_changed.notify_one();
    wake(context, |tenant| tenant.spec.plan == changed.name);
}

fn server_changed(context: &Context, changed: &Changed) {
    context.usage_changed.notify_one();
    context.servers.changed(&changed.name);
    // A tenant that is on none yet may have waited for this one.
    wake(context, |tenant| context.placements.of(&tenant.uid().unwrap_or_default()).is_none_or(|server| server == changed.name));
}

/// The kinds of instances' objects that this cluster knows.
async fn kinds_of_this_cluster(context: &Context) -> Result<Vec<Kind>, StartError> {
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

/// An object of our own kinds that appeared, changed in what matters, or went.
struct Changed {
    name: String,
    uid: String,
    /// Whether a tenant has to be looked at for it.
    is_news: bool,
    /// Whether a list tells so, as when the operator starts.
    is_listed: bool,
}

/// What matters of an object, as digests.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digests {
    news: u64,
    noted: u64,
}

/// Our own kinds, as far as they differ in what matters of them.
trait OwnKind: Resource<DynamicType = ()> {
    /// What is another's to write in the status; what is our own is no news.
    fn told(&self, _: &mut impl Hasher) {}
    /// What is our own, and has to be known of tenants of other shards.
    fn noted(&self, _: &mut impl Hasher) {}
}

impl OwnKind for Blueprint {}
impl OwnKind for Plan {}
impl OwnKind for DatabaseServer {}

impl OwnKind for Release {
    fn told(&self, hasher: &mut impl Hasher) {
        let Some(status) = &self.status else { return };
        let waves = status.waves.iter().map(|wave| (&wave.name, wave.opened.is_some(), &wave.reach)).collect::<Vec<_>>();
        let halted = status.halted.as_ref().map(|halt| halt.generation);
        let as_of = status.as_of.as_ref().map(|time| time.0);
        (status.revision, &status.snapshot, waves, as_of, halted).hash(hasher);
        (status.rolled_back, status.finished.is_some(), &status.superseded_by).hash(hasher);
    }
}

impl OwnKind for Tenant {
    fn told(&self, hasher: &mut impl Hasher) {
        self.status.as_ref().and_then(|status| status.grant.as_ref()).hash(hasher);
    }

    fn noted(&self, hasher: &mut impl Hasher) {
        let Some(TenantStatus { hosts, database, release, serving_release, conditions, .. }) = &self.status else { return };
        (hosts, database.as_ref().map(|database| &database.server)).hash(hasher);
        let summary = [READY, STALLED].map(|kind| is_true(conditions, kind));
        (release.as_ref().map(|release| &release.uid), serving_release, summary).hash(hasher);
    }
}

impl Digests {
    fn of(object: &impl OwnKind) -> Self {
        let meta = object.meta();
        let (mut news, mut noted) = (DefaultHasher::new(), DefaultHasher::new());
        (meta.generation, &meta.annotations, &meta.labels, &meta.finalizers).hash(&mut news);
        meta.deletion_timestamp.is_some().hash(&mut news);
        object.told(&mut news);
        object.noted(&mut noted);
        Self { news: news.finish(), noted: noted.finish() }
    }
}

/// Keeps the store of one of our own kinds, and tells what changed.
async fn own_kind<K>(context: Arc<Context>, mut writer: Writer<K>, lists: Lists, act: fn(&Context, &Changed))
where
    K: OwnKind + reflector::Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<K> = Api::all(context.reader.clone());
    let mut known: HashMap<String, (String, Digests)> = HashMap::new();
    let mut listing: HashMap<String, (String, Digests)> = HashMap::new();
    let take_in = |mut event: Event<K>| {
        if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = &mut event {
            object.meta_mut().managed_fields = None;
        }
        // What is told from here on has to be in the store already.
        writer.apply_watcher_event(&event);
        let is_listed = matches!(event, Event::InitDone);
        let change = |name: &String, uid: &String, before: Option<&Digests>, now: Option<&Digests>| Changed {
            name: name.clone(),
            uid: uid.clone(),
            is_news: before.map(|digests| digests.news) != now.map(|digests| digests.news),
            is_listed,
        };
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(object) => {
                listing.insert(object.meta().uid.clone().unwrap_or_default(), (object.name_any(), Digests::of(&object)));
            }
            // The store takes in a list as a whole, so what it changed is known only now.
            Event::InitDone => {
                let before = std::mem::replace(&mut known, std::mem::take(&mut listing));
                for (uid, (name, digests)) in before.iter().filter(|(uid, _)| !known.contains_key(*uid)) {
                    act(&context, &change(name, uid, Some(digests), None));
                }
                for (uid, (name, now)) in &known {
                    let before = before.get(uid).map(|(_, digests)| digests);
                    if before != Some(now) {
                        act(&context, &change(name, uid, before, Some(now)));
                    }
                }
            }
            Event::Apply(object) => {
                let (uid, name, now) = (object.meta().uid.clone().unwrap_or_default(), object.name_any(), Digests::of(&object));
                let before = known.insert(uid.clone(), (name.clone(), now)).map(|(_, digests)| digests);
                if before != Some(now) {
                    act(&context, &change(&name, &uid, before.as_ref(), Some(&now)));
                }
            }
            Event::Delete(object) => {
                let uid = object.meta().uid.clone().unwrap_or_default();
                known.remove(&uid);
                act(&context, &Changed { name: object.name_any(), uid, is_news: true, is_listed });
            }
        }
    };
    lists.follow(api, watcher::Config::default().page_size(PAGE_SIZE), take_in).await;
}

/// Keeps the blueprints as they stood when releases were made. They can't be changed, only come and go.
async fn snapshots(context: Arc<Context>, lists: Lists) {
    let api: Api<ControllerRevision> = Api::namespaced(context.reader.clone(), &context.configuration.settings.namespace);
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let mut listed = HashSet::new();
    let keep = |revision: ControllerRevision| {
        let (release, snapshot) = releasing::read_snapshot(revision)?;
        if context.releases.keep_snapshot(&release, snapshot) {
            snapshot_changed(&context, &release);
        }
        Some(release)
    };
    let take_in = |event: Event<ControllerRevision>| match event {
        Event::Init => listed.clear(),
        Event::InitApply(revision) => listed.extend(keep(revision)),
        Event::InitDone => context.releases.retain_snapshots(&std::mem::take(&mut listed)),
        Event::Apply(revision) => {
            keep(revision);
        }
        Event::Delete(revision) => {
            if let Some((release, _)) = releasing::read_snapshot(revision) {
                context.releases.forget_snapshot(&release);
            }
        }
    };
    lists.follow(api, watcher::Config::default().page_size(PAGE_SIZE).labels(&ours), take_in).await;
}

/// Takes in what a tenant claims and where it is placed, and wakes those whom that concerns.
fn admit(context: &Context, name: &str, uid: &str) {
    let tenant = context.stores.tenants.get(&ObjectRef::new(name)).filter(|tenant| tenant.uid().as_deref() == Some(uid));
    let affected = match &tenant {
        Some(tenant) => {
            if let Some(server) = tenant.status.as_ref().and_then(TenantStatus::server) {
                context.is_placed(uid, server);
            }
            claim_hosts(context, tenant)
        }
        None => {
            if let Some(server) = context.placements.of(uid) {
                context.placements.forget(uid);
                context.servers.recount(&server);
                // There is a place more.
                wake(context, |tenant| context.placements.of(&tenant.uid().unwrap_or_default()).is_none());
            }
            context.memory.forget(uid);
            context.hosts.forget(uid)
        }
    };
    for other in affected {
        context.grant_soon(&other);
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
    let granted = tenant.status.as_ref().map(TenantStatus::granted_hosts).unwrap_or_default();
    let blueprint = context.running(tenant, jiff::Timestamp::now()).ok().map(|running| running.blueprint);
    let mut claims: HashSet<Host> =
        blueprint.as_ref().and_then(|blueprint| hosts(tenant, &blueprint.spec.base_domain).ok()).unwrap_or_default().into_iter().collect();
    // What another process may act on is this tenant's until that is taken back in writing.
    if blueprint.is_none() || !context.holdings.is_alone() {
        claims.extend(granted.iter().filter_map(|host| Host::parse(host.as_str()).ok()));
    }
    let mut held = granted.to_vec();
    held.extend(routed_hosts(context, tenant));
    context.hosts.claim(&claimant, claims, &held)
}

/// The hosts that visitors are led to a tenant by. Who decided that may have ended before it could say so in the status.
fn routed_hosts(context: &Context, tenant: &Tenant) -> Vec<String> {
    let objects = context.inventory.of(&tenant.name_any());
    let routes = objects.iter().filter(|(key, observed)| {
        (key.kind == Kind::INGRESS || key.kind == Kind::HTTP_ROUTE) && observed.owner.as_deref() == tenant.metadata.uid.as_deref()
    });
    let text = |value: &Value| value.as_str().map(str::to_owned);
    routes
        .flat_map(|(_, observed)| {
            let live = observed.state();
            let list = |path: &str| live.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
            let rules = list("/spec/rules").into_iter().filter_map(|rule| text(&rule["host"]));
            rules.chain(list("/spec/hostnames").iter().filter_map(text)).collect::<Vec<_>>()
        })
        .collect()
}

/// Takes in all tenants anew, after a decision that was never written may have been remembered.
pub fn readmit(context: &Context) {
    context.hosts.clear();
    context.placements.clear();
    for tenant in context.stores.tenants.state() {
        admit(context, &tenant.name_any(), &tenant.uid().unwrap_or_default());
    }
}

/// Wakes all tenants of a shard.
pub fn wake_shard(context: &Context, shard: Shard) {
    wake_as(context, |tenant| context.holdings.count().shard_of(&tenant.name_any()) == shard, urgency);
}

fn urgency(context: &Context, tenant: &str) -> Urgency {
    context.stores.tenants.get(&ObjectRef::new(tenant)).map_or(Urgency::Change, |tenant| urgency_of(&tenant))
}

/// Who was never looked at comes after those for whom something was begun; who was looked at as it is can wait for all whom somebody has changed.
fn urgency_of(tenant: &Tenant) -> Urgency {
    let observed = tenant.status.as_ref().map(|status| status.observed_generation).filter(|generation| *generation >= 0);
    match observed {
        _ if tenant.metadata.deletion_timestamp.is_some() => Urgency::Change,
        None => Urgency::Creation,
        Some(_) if observed == tenant.metadata.generation => Urgency::Resync,
        Some(_) => Urgency::Change,
    }
}

/// Wakes tenants that share what was changed. One that somebody has changed by itself doesn't wait for them.
fn wake(context: &Context, uses: impl Fn(&Tenant) -> bool) {
    wake_as(context, uses, |_, _| Urgency::Resync);
}

fn wake_as(context: &Context, uses: impl Fn(&Tenant) -> bool, urgency: impl Fn(&Context, &str) -> Urgency) {
    for tenant in context.stores.tenants.state().iter().filter(|tenant| uses(tenant)) {
        let name = tenant.name_any();
        admit(context, &name, &tenant.uid().unwrap_or_default());
        context.grant_soon(&name);
        context.queue.push(&name, urgency(context, &name));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_new_waits_for_what_was_begun_and_what_is_known_for_both() {
        let urgency = |generation: i64, observed: Option<i64>, deleted: bool| {
            let spec = serde_json::from_value(json!({"displayName": "A", "blueprint": "b", "plan": "p"})).unwrap();
            let mut tenant = Tenant::new("acme", spec);
            tenant.metadata.generation = Some(generation);
            tenant.metadata.deletion_timestamp =
                deleted.then(|| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now()));
            tenant.status = observed.map(|observed_generation| TenantStatus { observed_generation, ..Default::default() });
            urgency_of(&tenant)
        };
        assert_eq!(urgency(1, None, false), Urgency::Creation);
        assert_eq!(urgency(1, Some(-1), false), Urgency::Creation, "the schema's default, before the first look");
        assert_eq!(urgency(1, Some(1), false), Urgency::Resync);
        assert_eq!(urgency(2, Some(1), false), Urgency::Change);
        assert_eq!(urgency(1, None, true), Urgency::Change);
    }
}
