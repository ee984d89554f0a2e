//! What there is of releases, by blueprint, and which of them a tenant runs.

use super::context::Context;
use crate::api::release::ReleaseImage;
use crate::api::{Blueprint, Release, Tenant};
use crate::release::target::{self, Target};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The releases of all blueprints, and the blueprints as they stood.
#[derive(Default)]
pub struct Releases {
    inner: Mutex<Inner>,
    /// Woken when a release, or what counts of a tenant that may follow one, has changed.
    pub changed: Notify,
}

#[derive(Default)]
struct Inner {
    /// By blueprint, the newest first.
    ordered: HashMap<String, Arc<Vec<Arc<Release>>>>,
    /// By the release's UID.
    snapshots: HashMap<String, Arc<Blueprint>>,
}

/// Why it isn't known what a tenant runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTarget {
    /// There is no such blueprint.
    #[error("Blueprint {name} doesn't exist")]
    BlueprintMissing {
        /// Its name.
        name: String,
    },
    /// The blueprint as it stood isn't there, or isn't known yet.
    #[error(
        "ControllerRevision {snapshot} of the operator's namespace, which holds the blueprint of release {release}, isn't there: what runs goes \
         on running; make a new Release if it doesn't come back"
    )]
    SnapshotMissing {
        /// The Release.
        release: String,
        /// The ControllerRevision.
        snapshot: String,
    },
}

/// What a tenant runs.
pub struct Running {
    /// The release; none where it is none's.
    pub release: Option<Arc<Release>>,
    /// The blueprint as it stands for the tenant.
    pub blueprint: Arc<Blueprint>,
    /// The version; none where it is the one that the blueprint names.
    pub version: Option<String>,
}

impl Running {
    /// The image, where it isn't the version's tag.
    pub fn image(&self) -> Option<&ReleaseImage> {
        self.release.as_ref()?.spec.image.as_ref()
    }
}

impl Releases {
    /// Takes in all releases as they are now.
    pub fn take_in(&self, all: Vec<Arc<Release>>) {
        let blueprints: BTreeSet<_> = all.iter().map(|release| release.spec.blueprint.clone()).collect();
        let ordered = |blueprint: String| (blueprint.clone(), Arc::new(target::ordered(all.iter().cloned(), &blueprint)));
        self.lock().ordered = blueprints.into_iter().map(ordered).collect();
    }

    /// Those of a blueprint, the newest first.
    pub fn of(&self, blueprint: &str) -> Arc<Vec<Arc<Release>>> {
        self.lock().ordered.get(blueprint).cloned().unwrap_or_default()
    }

    /// The blueprint as it stood when this release was made. Tells whether that is news.
    pub fn keep_snapshot(&self, release: &str, snapshot: Blueprint) -> bool {
        self.lock().snapshots.insert(release.to_owned(), Arc::new(snapshot)).is_none()
    }

    /// Only those of these releases are there.
    pub fn retain_snapshots(&self, listed: &HashSet<String>) {
        self.lock().snapshots.retain(|release, _| listed.contains(release));
    }

    /// It is gone.
    pub fn forget_snapshot(&self, release: &str) {
        self.lock().snapshots.remove(release);
    }

    /// The blueprint as it stood when this release was made, by the name and UID of what holds it.
    pub fn snapshot_of(&self, release: &str) -> Option<Arc<Blueprint>> {
        self.lock().snapshots.get(release).cloned()
    }

    fn snapshot(&self, release: &Release) -> Result<Arc<Blueprint>, UnknownTarget> {
        let known = self.snapshot_of(release.metadata.uid.as_deref().unwrap_or_default());
        known.ok_or_else(|| UnknownTarget::SnapshotMissing {
            release: release.name_any(),
            snapshot: release.status.as_ref().and_then(|status| status.snapshot.clone()).unwrap_or_default(),
        })
    }

    /// Whether a newer release of its channel has come.
    pub fn has_successor(&self, release: &Release) -> bool {
        let newest = self.of(&release.spec.blueprint).iter().find(|other| other.spec.channel == release.spec.channel).cloned();
        newest.is_some_and(|newest| newest.revision() > release.revision())
    }

    /// When a tenant may move to a newer release that waits for nothing but the tenant's own window or hold.
    pub fn opens_at(&self, tenant: &Tenant, now: Timestamp) -> Option<Timestamp> {
        target::opens_at(tenant, &self.of(&tenant.spec.blueprint), now)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// What a tenant is to run now.
    ///
    /// # Errors
    /// Where its blueprint, or the blueprint as it stood, isn't there.
    pub(super) fn running(&self, tenant: &Tenant, now: Timestamp) -> Result<Running, UnknownTarget> {
        let releases = self.releases.of(&tenant.spec.blueprint);
        self.run(tenant, &releases, &target::target(tenant, &releases, now))
    }

    /// What a tenant runs at a release that it had, or, without one, at a version that none has brought.
    ///
    /// # Errors
    /// Where the blueprint as it stood isn't there any more.
    pub(super) fn running_at(&self, tenant: &Tenant, release: Option<&str>, version: &str) -> Result<Running, UnknownTarget> {
        let releases = self.releases.of(&tenant.spec.blueprint);
        self.run(tenant, &releases, &target::at(&releases, release, version))
    }

    fn run(&self, tenant: &Tenant, releases: &[Arc<Release>], target: &Target<'_>) -> Result<Running, UnknownTarget> {
        let name = &tenant.spec.blueprint;
        let blueprint = match target.snapshot {
            Some(release) => self.releases.snapshot(release)?,
            None => {
                let missing = || UnknownTarget::BlueprintMissing { name: name.clone() };
                self.stores.blueprints.get(&ObjectRef::new(name)).ok_or_else(missing)?
            }
        };
        let release = target.release.and_then(|chosen| releases.iter().find(|release| std::ptr::eq(release.as_ref(), chosen)).cloned());
        Ok(Running { release, blueprint, version: target.version.map(str::to_owned) })
    }

    /// Whether the blueprint that a tenant runs is the one that this release found.
    pub(super) fn runs_snapshot_of(&self, tenant: &Tenant, release: &str, now: Timestamp) -> bool {
        let releases = self.releases.of(&tenant.spec.blueprint);
        let snapshot = target::target(tenant, &releases, now).snapshot;
        snapshot.and_then(ResourceExt::uid).as_deref() == Some(release)
    }

    /// Whether a tenant is to move: it runs, or says that it runs, another release than it should.
    pub(super) fn is_to_move(&self, tenant: &Tenant, now: Timestamp) -> bool {
        let releases = self.releases.of(&tenant.spec.blueprint);
        let wanted = target::target(tenant, &releases, now).release.and_then(ResourceExt::uid);
        let current = tenant.status.as_ref().and_then(|status| status.release.as_ref()).map(|release| release.uid.clone());
        wanted != current
    }
}
