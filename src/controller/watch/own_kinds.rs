//! The watches of our own kinds: each keeps a store, and tells what changed in what matters of an object.

use super::wake::{Changed, snapshot_changed};
use super::{Lists, PAGE_SIZE};
use crate::api::conditions::{READY, STALLED, is_true};
use crate::api::tenant::TenantStatus;
use crate::api::{Blueprint, DatabaseServer, Plan, Release, Tenant, labels};
use crate::controller::context::Context;
use crate::release::snapshot;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What matters of an object, as digests.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digests {
    news: u64,
    noted: u64,
}

/// Our own kinds, as far as they differ in what matters of them.
pub trait OwnKind: Resource<DynamicType = ()> {
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
pub async fn own_kind<K>(context: Arc<Context>, mut writer: Writer<K>, lists: Lists, act: fn(&Context, &Changed))
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
pub async fn snapshots(context: Arc<Context>, lists: Lists) {
    let api: Api<ControllerRevision> = Api::namespaced(context.reader.clone(), &context.configuration.settings.namespace);
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let mut listed = HashSet::new();
    let keep = |revision: ControllerRevision| {
        let (release, snapshot) = snapshot::read(revision)?;
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
            if let Some((release, _)) = snapshot::read(revision) {
                context.releases.forget_snapshot(&release);
            }
        }
    };
    lists.follow(api, watcher::Config::default().page_size(PAGE_SIZE).labels(&ours), take_in).await;
}
