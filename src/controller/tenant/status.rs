//! Writes what a pass found out, if it differs, and tells people what they would want to know as Events.

use super::Pass;
use super::assess::Assessment;
use crate::api::conditions::{self, Verdict, is_true};
use crate::api::tenant::{CurrentRelease, TenantStatus};
use crate::api::{Tenant, labels};
use crate::controller::own::{Meant, apply_status, if_still_there};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Reasons of a tenant that is being changed, which is no news to who changes it.
const UNDER_WAY: [&str; 9] =
    ["Deleting", "Deploying", "Ending", "Migrating", "NotDeployed", "NotRouted", "Releasing", "Suspending", "WaitingForMigration"];

/// Changes of reasons are gathered for so long, and longer for who has been on the way for longer: what comes up in a minute isn't watched second
/// by second, and each write is one of thousands where a thousand tenants come up at once.
const GATHER_REASONS: Duration = Duration::from_secs(3);
/// Changes of nothing but words are.
const GATHER_MESSAGES: Duration = Duration::from_secs(10);
/// For who has been on the way for minutes, all changes are gathered for a quarter of that time, and for so long at most.
const GATHER_AT_MOST: Duration = Duration::from_secs(30);

/// Writes the status where it differs from what is there, or tells how long that can wait: what only goes on changing, as pods come up one by
/// one, is written together.
///
/// # Errors
/// Where the API server doesn't take it.
pub async fn write(pass: &Pass<'_>, assessment: &Assessment) -> Result<Option<Duration>, kube::Error> {
    let Pass { context, tenant, uid, .. } = pass;
    let before = TenantStatus { grant: None, ..tenant.status.clone().unwrap_or_default() };
    let now = Time(jiff::Timestamp::now());
    let mut status = assessment.status.clone();
    status.conditions = conditions::merge(&before.conditions, &assessment.verdicts(), status.observed_generation, &now);
    if tenant.status.is_some() && before == status {
        return Ok(None);
    }
    if let Some(written) = context.memory.of(uid).status_written
        && !assessment.is_stopped()
        && let Some(left) =
            may_wait(&before, &status, on_the_way(&before, &now)).checked_sub(written.elapsed()).filter(|left| !left.is_zero())
    {
        return Ok(Some(left));
    }
    if apply(pass, &status).await?.is_none() {
        return Ok(None);
    }
    for event in events(&before, &status) {
        publish(pass, &event).await;
    }
    Ok(None)
}

/// Since when it isn't ready.
fn on_the_way(status: &TenantStatus, now: &Time) -> Duration {
    let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY && condition.status != "True");
    let since = ready.map(|ready| now.0.duration_since(ready.last_transition_time.0));
    since.and_then(|since| Duration::try_from(since).ok()).unwrap_or_default()
}

/// Writes that the tenant moves to this release, or to none, and gives it back as it is then; none where it was deleted since it was read.
///
/// # Errors
/// Where the API server doesn't take it.
pub async fn begin(pass: &Pass<'_>, before: &TenantStatus, release: Option<CurrentRelease>) -> Result<Option<Arc<Tenant>>, kube::Error> {
    let message = release
        .as_ref()
        .map_or_else(|| "moving to what is released to nobody".to_owned(), |release| format!("moving to release {}", release.name));
    let verdicts =
        [conditions::READY, conditions::RECONCILING].map(|kind| Verdict::new(kind, kind != conditions::READY, "Releasing", &*message));
    let summary = [conditions::READY, conditions::RECONCILING, conditions::STALLED];
    let steps = before.conditions.iter().filter(|condition| !summary.contains(&condition.type_.as_str())).cloned();
    let merged = conditions::merge(&before.conditions, &verdicts, before.observed_generation, &Time(jiff::Timestamp::now()));
    let conditions = merged.into_iter().chain(steps).collect();
    apply(pass, &TenantStatus { grant: None, release, conditions, ..before.clone() }).await
}

/// Writes a status, and gives back the tenant as it is then; none where it was deleted since it was read.
async fn apply(pass: &Pass<'_>, status: &TenantStatus) -> Result<Option<Arc<Tenant>>, kube::Error> {
    let Pass { context, holding, tenant, uid, .. } = pass;
    let written = apply_status(&holding.client, *tenant, Meant::ThisOne, labels::MANAGER, status).await;
    let written = if_still_there(written)?.map(|written| context.memory.keep_written(written));
    if written.is_some() {
        context.memory.update(uid, |remembered| remembered.status_written = Some(Instant::now()));
    }
    Ok(written)
}

/// How long after the last write this change of the status may be written.
fn may_wait(before: &TenantStatus, after: &TenantStatus, on_the_way: Duration) -> Duration {
    // Where the data is, and which hosts it has, can't be found out again; versions can.
    let fields =
        |status: &TenantStatus| (status.database.clone(), status.hosts.clone(), status.observed_generation, status.release.clone());
    let answered = |status: &TenantStatus| (status.last_handled_reconcile_at.clone(), status.first_login.clone());
    let matters = |status: &TenantStatus| [conditions::READY, conditions::STALLED].map(|kind| is_true(&status.conditions, kind));
    if fields(before) != fields(after) || answered(before) != answered(after) || matters(before) != matters(after) {
        return Duration::ZERO;
    }
    let reasons = |status: &TenantStatus| -> Vec<_> {
        status.conditions.iter().map(|condition| (condition.type_.clone(), condition.status.clone(), condition.reason.clone())).collect()
    };
    let versions = |status: &TenantStatus| (status.version.clone(), status.migration.clone());
    let patience = (on_the_way / 4).min(GATHER_AT_MOST);
    if reasons(before) != reasons(after) || versions(before) != versions(after) {
        on_the_way.clamp(GATHER_REASONS, GATHER_MESSAGES).max(patience)
    } else {
        GATHER_MESSAGES.max(patience)
    }
}

/// Tells people. Who reads no Events misses nothing that the status doesn't say, so a failure is only logged.
pub async fn publish(pass: &Pass<'_>, event: &Event) {
    if let Err(error) = pass.holding.recorder.publish(event, &pass.tenant.object_ref(&())).await {
        tracing::warn!(tenant = pass.tenant.name_any(), %error, "an event can't be written");
    }
}

/// An event about a tenant.
pub fn event(type_: EventType, reason: &str, note: String) -> Event {
    Event { type_, reason: reason.to_owned(), note: Some(note), action: "Reconcile".to_owned(), secondary: None }
}

/// What a person would want to be told: it is ready, it isn't any more, it needs somebody, it has another version.
fn events(before: &TenantStatus, after: &TenantStatus) -> Vec<Event> {
    let mut events = Vec::new();
    if let (Some(old), Some(new)) = (&before.version, &after.version)
        && old != new
    {
        events.push(event(EventType::Normal, "Released", format!("version {new} serves; before it was {old}")));
    }
    let ready = |status: &TenantStatus| status.conditions.iter().find(|condition| condition.type_ == conditions::READY).cloned();
    let Some(now) = ready(after) else { return events };
    let then = ready(before);
    let is_news = then.as_ref().is_none_or(|then| then.reason != now.reason);
    let (was, is) = (then.is_some_and(|then| then.status == "True"), now.status == "True");
    let type_ = match (is, is_true(&after.conditions, conditions::STALLED)) {
        (true, _) if is_news => EventType::Normal,
        (false, true) if is_news => EventType::Warning,
        // That it is being changed is no news to who changes it.
        (false, false) if was && !UNDER_WAY.contains(&now.reason.as_str()) => EventType::Warning,
        _ => return events,
    };
    events.push(event(type_, &now.reason, now.message));
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::conditions::{RECONCILING, Verdict, merge};

    fn status(ready: bool, reason: &str, kind: Option<&'static str>, version: &str) -> TenantStatus {
        let mut verdicts = vec![Verdict::new(conditions::READY, ready, reason, "a sentence")];
        verdicts.extend(kind.map(|kind| Verdict::new(kind, true, reason, "a sentence")));
        let conditions = merge(&[], &verdicts, 1, &Time(jiff::Timestamp::UNIX_EPOCH));
        TenantStatus { conditions, version: Some(version.to_owned()), ..Default::default() }
    }

    fn reasons(before: &TenantStatus, after: &TenantStatus) -> Vec<String> {
        events(before, after).into_iter().map(|event| event.reason).collect()
    }

    #[test]
    fn what_people_and_tools_wait_for_is_written_at_once() {
        let rolling = status(false, "Deploying", Some(RECONCILING), "1");
        let may_wait = |before: &TenantStatus, after: &TenantStatus| may_wait(before, after, Duration::ZERO);
        assert_eq!(may_wait(&rolling, &status(true, "Ready", None, "1")), Duration::ZERO);
        let placed = TenantStatus { hosts: vec!["a.com".into()], ..rolling.clone() };
        assert_eq!(may_wait(&rolling, &placed), Duration::ZERO);
        assert_eq!(may_wait(&rolling, &status(false, "Deploying", Some(RECONCILING), "2")), GATHER_REASONS);
        assert_eq!(may_wait(&rolling, &status(false, "MigrationFailed", Some(conditions::STALLED), "1")), Duration::ZERO);
        assert_eq!(may_wait(&rolling, &status(false, "NotAnswering", Some(RECONCILING), "1")), GATHER_REASONS);
        let mut words = rolling.clone();
        words.conditions[0].message = "1 of 2 pods".into();
        assert_eq!(may_wait(&rolling, &words), GATHER_MESSAGES);
    }

    #[test]
    fn the_longer_it_has_been_on_the_way_the_longer_its_reasons_are_gathered() {
        let rolling = status(false, "Deploying", Some(RECONCILING), "1");
        let after = |seconds| may_wait(&rolling, &status(false, "NotAnswering", Some(RECONCILING), "1"), Duration::from_secs(seconds));
        assert_eq!([after(1), after(6), after(30)], [GATHER_REASONS, Duration::from_secs(6), GATHER_MESSAGES]);
        assert_eq!([after(60), after(3600)], [Duration::from_secs(15), GATHER_AT_MOST]);
        let later = Time(jiff::Timestamp::UNIX_EPOCH + Duration::from_secs(7));
        assert_eq!(on_the_way(&rolling, &later), Duration::from_secs(7));
        assert_eq!(on_the_way(&status(true, "Ready", None, "1"), &later), Duration::ZERO);
    }

    #[test]
    fn people_hear_what_they_would_want_to_know_and_nothing_else() {
        let none = TenantStatus::default();
        let ready = status(true, "Ready", None, "1");
        let rolling = status(false, "Deploying", Some(RECONCILING), "1");
        let sick = status(false, "NotAnswering", Some(RECONCILING), "1");
        let stalled = status(false, "MigrationFailed", Some(conditions::STALLED), "1");
        assert_eq!(reasons(&none, &ready), ["Ready"]);
        assert_eq!(reasons(&none, &rolling), [""; 0]);
        assert_eq!(reasons(&ready, &rolling), [""; 0]);
        assert_eq!(reasons(&rolling, &status(true, "Ready", None, "2")), ["Released", "Ready"]);
        assert_eq!(reasons(&ready, &sick), ["NotAnswering"]);
        assert_eq!(reasons(&rolling, &stalled), ["MigrationFailed"]);
        assert_eq!(reasons(&stalled, &stalled), [""; 0]);
        assert_eq!(reasons(&ready, &status(true, "Suspended", None, "1")), ["Suspended"]);
    }
}
