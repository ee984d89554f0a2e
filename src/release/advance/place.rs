//! How far a tenant is on its way to a release, by its own conditions.

use crate::api::conditions;
use crate::api::release::Failure;
use crate::api::{Release, Tenant};
use crate::release::target::{has_begun, is_admitted, is_out_of_service};
use crate::release::windows::{Leave, leave};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

/// So much of a failed tenant's message is shown.
const MESSAGE_LENGTH: usize = 200;

/// How far a tenant is.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    PassedOver,
    /// Its window is closed until then.
    Closed(Timestamp),
    /// It may be moved, and the release hasn't come to it.
    Free,
    /// The release is open to it, and it hasn't begun.
    Starting,
    /// It has begun, and has until then.
    Moving(Timestamp),
    Done,
    Failed(Failure),
}

/// How far this tenant is now.
pub fn place(release: &Release, tenant: &Tenant, now: Timestamp) -> Place {
    if tenant.pinned().is_some() || is_out_of_service(tenant, now) {
        return Place::PassedOver;
    }
    if let Some(place) = place_of_begun(release, tenant, now) {
        return place;
    }
    if has_begun(tenant, release) || is_admitted(tenant, release, now) {
        return Place::Starting;
    }
    match leave(tenant, now) {
        Leave::Since(_) => Place::Free,
        Leave::WindowOpens(at) => Place::Closed(at),
        Leave::HeldUntil(_) | Leave::Invalid(_) => Place::PassedOver,
    }
}

/// How far a tenant is whose status speaks of this release.
fn place_of_begun(release: &Release, tenant: &Tenant, now: Timestamp) -> Option<Place> {
    let status = tenant.status.as_ref()?;
    let current = status.release.as_ref().filter(|current| Some(&current.uid) == release.metadata.uid.as_ref())?;
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    if conditions::is_true(&status.conditions, conditions::READY) {
        return Some(Place::Done);
    }
    let failed = |reason: &str, message: &str| {
        let message = message.chars().take(MESSAGE_LENGTH).collect();
        Some(Place::Failed(Failure { tenant: tenant.name_any(), reason: reason.to_owned(), message }))
    };
    if let Some(stalled) = condition(conditions::STALLED).filter(|stalled| stalled.status == "True") {
        return failed(&stalled.reason, &stalled.message);
    }
    let ready = condition(conditions::READY);
    // One that was ready has so long to be so again.
    let since = ready.map_or(current.since.0, |ready| ready.last_transition_time.0.max(current.since.0));
    let within = SignedDuration::try_from(release.spec.health.within.duration()).unwrap_or_default();
    let until = since.checked_add(within).unwrap_or(Timestamp::MAX);
    if now < until {
        return Some(Place::Moving(until));
    }
    let (reason, message) = ready.map_or(("NotReady", "it isn't ready"), |ready| (ready.reason.as_str(), ready.message.as_str()));
    failed(reason, &format!("not ready within {}: {message}", release.spec.health.within.0))
}
