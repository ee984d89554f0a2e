//! What a tenant runs, from its manifest, its status and all releases of its blueprint.

use super::lot::Lot;
use super::windows::{Leave, leave};
use crate::api::release::WaveStatus;
use crate::api::{Release, Tenant};
use jiff::Timestamp;
use kube::ResourceExt;
use std::sync::Arc;

/// What a tenant runs.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The release that it gets; none where it is pinned to a version that isn't released, or where no release has come to it yet.
    pub release: Option<&'a Release>,
    /// The release whose snapshot is the blueprint that it runs; none where the blueprint itself is.
    pub snapshot: Option<&'a Release>,
    /// The version; none where it is the one that the blueprint names.
    pub version: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn of(release: &'a Release) -> Self {
        Self { release: Some(release), snapshot: Some(release), version: Some(&release.spec.version) }
    }
}

/// What this tenant runs, of the releases of its blueprint, the newest first. `ordered` makes them such a list.
///
/// A pin wins. Else it is the newest release of its channel that it has begun with, or a newer one that is open to it now. Who has begun goes on,
/// whatever becomes of waves and windows, unless the release is rolled back.
pub fn target<'a>(tenant: &'a Tenant, releases: &'a [Arc<Release>], now: Timestamp) -> Target<'a> {
    let with_snapshot = || releases.iter().map(Arc::as_ref).filter(|release| release.has_snapshot());
    // Before the first release everybody ran the blueprint as that release found it.
    let baseline = Target { release: None, snapshot: with_snapshot().next_back(), version: None };
    if let Some(version) = tenant.pinned() {
        let released = with_snapshot().find(|release| release.spec.version == version);
        return released.map_or(Target { version: Some(version), ..baseline }, Target::of);
    }
    let of_channel: Vec<_> =
        with_snapshot().filter(|release| release.spec.channel == tenant.channel() && !release.is_rolled_back()).collect();
    let newest = of_channel.first().map(|release| release.uid());
    let is_open = |release: &Release| release.is_complete() || (newest == Some(release.uid()) && release.goes_on());
    let here = of_channel.iter().position(|release| has_begun(tenant, release));
    let further = &of_channel[..here.unwrap_or(of_channel.len())];
    let admitted = further.iter().find(|release| is_open(release) && is_admitted(tenant, release, now));
    // Who is new, or comes from one that was rolled back, is moved anyway, and waits for no window to come to one that has reached it.
    let reached = || of_channel.iter().find(|release| is_open(release) && is_reached(tenant, release));
    let status = tenant.status.as_ref();
    let is_moved_anyway = status.is_none_or(|status| status.version.is_none() || status.release.is_some());
    let chosen = match here {
        Some(here) => admitted.or_else(|| of_channel.get(here)),
        None if is_moved_anyway => admitted.or_else(reached),
        None => admitted,
    };
    chosen.map_or(baseline, |release| Target::of(release))
}

/// What a tenant runs at a release that it had, or, without one, at a version that no release has brought.
pub fn at<'a>(releases: &'a [Arc<Release>], release: Option<&str>, version: &'a str) -> Target<'a> {
    let baseline = releases.iter().rev().find(|release| release.has_snapshot()).map(Arc::as_ref);
    let had = release.and_then(|uid| releases.iter().find(|known| known.metadata.uid.as_deref() == Some(uid)));
    had.map_or(Target { release: None, snapshot: baseline, version: Some(version) }, |release| Target::of(release))
}

/// When a tenant's window opens, or its hold ends, if a release of its channel that is complete waits for nothing else. Of one that still goes on,
/// its own status tells.
pub fn opens_at(tenant: &Tenant, releases: &[Arc<Release>], now: Timestamp) -> Option<Timestamp> {
    if tenant.pinned().is_some() || is_out_of_service(tenant, now) {
        return None;
    }
    let newest = releases.iter().find(|release| release.spec.channel == tenant.channel() && release.is_complete())?;
    match leave(tenant, now) {
        Leave::WindowOpens(at) | Leave::HeldUntil(at) if !has_begun(tenant, newest) => Some(at),
        _ => None,
    }
}

/// The releases of a blueprint, the newest first. One that has no number yet isn't among them.
pub fn ordered(releases: impl IntoIterator<Item = Arc<Release>>, blueprint: &str) -> Vec<Arc<Release>> {
    let mut releases: Vec<_> =
        releases.into_iter().filter(|release| release.spec.blueprint == blueprint && release.revision().is_some()).collect();
    releases.sort_by_key(|release| std::cmp::Reverse(release.revision()));
    releases
}

/// Whether the tenant has this release, had it, or is on its way to it.
pub fn has_begun(tenant: &Tenant, release: &Release) -> bool {
    let Some(current) = tenant.status.as_ref().and_then(|status| status.release.as_ref()) else { return false };
    let uid = release.metadata.uid.as_deref().unwrap_or_default();
    current.uid == uid || current.before.iter().any(|before| before == uid)
}

/// Whether the release is open to the tenant at this moment: its waves have come to it, and it may be moved.
pub fn is_admitted(tenant: &Tenant, release: &Release, now: Timestamp) -> bool {
    if is_out_of_service(tenant, now) || !is_reached(tenant, release) {
        return false;
    }
    let as_of = release.status.as_ref().and_then(|status| status.as_of.as_ref()).map_or(Timestamp::MIN, |time| time.0);
    match leave(tenant, now) {
        // A window that opened later isn't counted yet among those who may begin at once.
        Leave::Since(opened) => release.is_complete() || opened <= as_of,
        Leave::WindowOpens(_) | Leave::HeldUntil(_) | Leave::Invalid(_) => false,
    }
}

/// Whether the open waves of the release have come to the tenant.
pub fn is_reached(tenant: &Tenant, release: &Release) -> bool {
    let lot = draw(release, tenant);
    let waves = release.status.as_ref().map(|status| status.waves.as_slice()).unwrap_or_default();
    release.spec.waves.iter().any(|wave| {
        let status = waves.iter().find(|status| status.name == wave.name);
        let reach = status.filter(|status| status.opened.is_some()).and_then(WaveStatus::reach);
        reach.is_some_and(|reach| lot <= reach) && matches(tenant, wave)
    })
}

/// Whether the tenant has the labels of a wave.
pub fn matches(tenant: &Tenant, wave: &crate::api::release::Wave) -> bool {
    wave.matching.iter().all(|(key, value)| tenant.labels().get(key) == Some(&value.0))
}

/// The tenant's lot in a release.
pub fn draw(release: &Release, tenant: &Tenant) -> Lot {
    Lot::draw(release.metadata.uid.as_deref().unwrap_or_default(), tenant.metadata.uid.as_deref().unwrap_or_default())
}

/// Whether the tenant is suspended, its trial is over, or it is being deleted or soon will be: then nothing runs that could be moved.
pub fn is_out_of_service(tenant: &Tenant, now: Timestamp) -> bool {
    let spec = &tenant.spec;
    let is_leaving = tenant.metadata.deletion_timestamp.is_some() || tenant.leaves_at().is_some();
    is_leaving || spec.suspended || spec.expires_at.as_ref().is_some_and(|end| end.0 <= now)
}

impl Release {
    /// Its number among the releases of its blueprint.
    pub fn revision(&self) -> Option<i64> {
        self.status.as_ref()?.revision
    }

    /// Whether there is still the blueprint as it stood.
    pub fn has_snapshot(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.revision.is_some() && status.snapshot.is_some())
    }

    /// Whether all tenants go back, because a person or the release's own health says so.
    pub fn is_rolled_back(&self) -> bool {
        self.spec.rolled_back || self.status.as_ref().is_some_and(|status| status.rolled_back)
    }

    /// Whether all of its waves are done.
    pub fn is_complete(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.finished.is_some() && status.superseded_by.is_none()) && !self.is_rolled_back()
    }

    /// Whether further tenants may begin.
    pub fn goes_on(&self) -> bool {
        let Some(status) = &self.status else { return false };
        let halted = status.halted.as_ref().is_some_and(|halt| Some(halt.generation) == self.metadata.generation);
        !self.spec.paused && !halted && status.superseded_by.is_none()
    }
}

impl WaveStatus {
    /// The last lot that may begin.
    pub fn reach(&self) -> Option<Lot> {
        self.reach.as_ref()?.parse().ok()
    }

    /// The last lot that belongs to the wave.
    pub fn bound(&self) -> Option<Lot> {
        self.bound.as_ref()?.parse().ok()
    }
}
