//! Brings releases on their way: gives each its number and the blueprint as it stands, opens its waves, and says how it goes.

use super::LOOK_AT_OTHERS;
use super::context::Context;
use super::holdings::Holding;
use super::own::{Meant, Written, apply_status, if_still_there};
use crate::api::conditions::{self, Verdict};
use crate::api::release::ReleaseStatus;
use crate::api::{Blueprint, Release, Tenant, labels};
use crate::instance::digest;
use crate::release::advance::advance;
use crate::release::snapshot;
use crate::release::target::target;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Changes are gathered for so long: what many tenants came to at once is one write.
const GATHER: Duration = Duration::from_millis(300);
/// The reason of a release whose name is taken by what isn't ours.
const NOT_OURS: &str = "NotOurs";
/// How soon a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// So many complete releases of a channel can be rolled back to, beside those that tenants have.
const KEPT: usize = 3;
/// The field manager of a Blueprint's condition `Released`.
const MANAGER: &str = "tenantry-releases";

/// Works until it is dropped. Only the coordinator calls it.
pub async fn keep_releasing(context: Arc<Context>) {
    context.releases.changed.notify_one();
    let mut written = Written::default();
    let mut due = None;
    loop {
        let wait = due.map_or(Duration::MAX, |at: Timestamp| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
        let due_at = Instant::now().checked_add(wait);
        match due_at {
            Some(at) => {
                let _ = tokio::time::timeout_at(at, context.releases.changed.notified()).await;
            }
            None => context.releases.changed.notified().await,
        }
        tokio::time::sleep(GATHER).await;
        due = match look(&context, &mut written).await {
            Ok(next) => next,
            // It was changed since it was looked at, if only by who holds it against deletion.
            Err(kube::Error::Api(answer)) if answer.code == 409 => Some(Timestamp::now()),
            Err(error) => {
                tracing::warn!(%error, "releases can't be brought on their way; trying again");
                tokio::time::sleep(AGAIN).await;
                Some(Timestamp::now())
            }
        };
    }
}

/// One look at all releases; tells when the next is due, if nothing changes before.
async fn look(context: &Context, written: &mut Written<Release>) -> Result<Option<Timestamp>, kube::Error> {
    let Some(coordinator) = context.holdings.coordinator() else { return Ok(None) };
    let mut by_blueprint: BTreeMap<String, Vec<Arc<Release>>> = BTreeMap::new();
    for release in context.stores.releases.state() {
        by_blueprint.entry(release.spec.blueprint.clone()).or_default().push(written.newest(release));
    }
    let (mut next, mut looked_at): (Option<Timestamp>, _) = (None, BTreeMap::new());
    for (blueprint, mut releases) in by_blueprint {
        let tenants: Vec<_> = context.stores.tenants.state().into_iter().filter(|tenant| tenant.spec.blueprint == blueprint).collect();
        // In the order in which they were made; those of one second by name.
        releases.sort_by_key(|release| (release.revision().unwrap_or(i64::MAX), release.creation_timestamp(), release.name_any()));
        for index in 0..releases.len() {
            if releases[index].revision().is_none() && releases[index].metadata.deletion_timestamp.is_none() {
                let number = releases.iter().filter_map(|release| release.revision()).max().unwrap_or_default() + 1;
                releases[index] = prepare(context, &coordinator, written, &releases[index], number).await?;
            }
        }
        if releases.iter().any(|release| is_in_the_way(release)) {
            next = [next, Some(Timestamp::now() + LOOK_AT_OTHERS)].into_iter().flatten().min();
        }
        for index in 0..releases.len() {
            let release = releases[index].clone();
            if release.revision().is_none() || is_settled(&release) {
                continue;
            }
            let follows = |other: &&Arc<Release>| {
                other.spec.channel == release.spec.channel && other.revision() > release.revision() && !other.is_rolled_back()
            };
            let newer = releases[index..].iter().rfind(follows).cloned();
            let now = Timestamp::now();
            let advanced = advance(&release, newer.as_deref(), &tenants, now);
            next = [next, advanced.look_again].into_iter().flatten().min();
            if differs(release.status.as_ref(), &advanced.status) {
                releases[index] = write(&coordinator, written, &release, advanced.status).await?;
            }
        }
        prune(context, &coordinator, written, &mut releases, &tenants).await?;
        looked_at.insert(blueprint, releases);
    }
    for blueprint in context.stores.blueprints.state() {
        let releases = looked_at.get(&blueprint.name_any()).map(Vec::as_slice).unwrap_or_default();
        say_what_is_released(context, &coordinator, &blueprint, releases).await?;
    }
    Ok(next)
}

/// Whether somebody else's ControllerRevision has its name.
fn is_in_the_way(release: &Release) -> bool {
    let conditions = release.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    release.revision().is_none()
        && conditions.iter().any(|condition| condition.type_ == conditions::STALLED && condition.reason == NOT_OURS)
}

/// Whether nothing about it changes any more unless a person changes it.
fn is_settled(release: &Release) -> bool {
    let Some(status) = &release.status else { return false };
    let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY);
    let is_over = ready.is_some_and(|ready| ["Complete", "Superseded", "RolledBack"].contains(&ready.reason.as_str()));
    is_over && Some(status.observed_generation) == release.metadata.generation
}

/// Whether it is worth a write. When it would be finished is written with what else there is to say.
fn differs(before: Option<&ReleaseStatus>, after: &ReleaseStatus) -> bool {
    let Some(before) = before else { return true };
    let own = |condition: &Condition| condition.type_ != conditions::IN_USE;
    let before = ReleaseStatus {
        estimate: after.estimate.clone(),
        conditions: before.conditions.iter().filter(|condition| own(condition)).cloned().collect(),
        ..before.clone()
    };
    before != *after
}

/// Gives a release its number, and keeps the blueprint as it stands.
async fn prepare(
    context: &Context,
    coordinator: &Holding,
    written: &mut Written<Release>,
    release: &Arc<Release>,
    number: i64,
) -> Result<Arc<Release>, kube::Error> {
    let status = match keep_snapshot(context, coordinator, release, number).await? {
        Ok(name) => ReleaseStatus { revision: Some(number), snapshot: Some(name), ..release.status.clone().unwrap_or_default() },
        Err((reason, message)) => {
            let generation = release.metadata.generation.unwrap_or_default();
            let verdicts =
                [conditions::READY, conditions::STALLED].map(|kind| Verdict::new(kind, kind == conditions::STALLED, reason, &*message));
            let before = release.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let conditions = conditions::merge(before, &verdicts, generation, &Time(Timestamp::now()));
            ReleaseStatus { observed_generation: generation, conditions, ..release.status.clone().unwrap_or_default() }
        }
    };
    if !differs(release.status.as_ref(), &status) {
        return Ok(release.clone());
    }
    write(coordinator, written, release, status).await
}

/// The name of the ControllerRevision that holds the blueprint, or why there is none. The blueprint is asked for anew: who applies a blueprint and
/// then a release means that blueprint, and a watch may be behind.
async fn keep_snapshot(
    context: &Context,
    coordinator: &Holding,
    release: &Release,
    number: i64,
) -> Result<Result<String, (&'static str, String)>, kube::Error> {
    let blueprints: Api<Blueprint> = Api::all(coordinator.client.clone());
    let Some(blueprint) = blueprints.get_opt(&release.spec.blueprint).await? else {
        let message = format!("Blueprint {} doesn't exist: create it, and the release goes on its way", release.spec.blueprint);
        return Ok(Err(("BlueprintMissing", message)));
    };
    let namespace = &context.configuration.settings.namespace;
    let revisions: Api<ControllerRevision> = Api::namespaced(coordinator.client.clone(), namespace);
    let (name, uid) = (release.name_any(), release.uid().unwrap_or_default());
    let revision = snapshot::make(release, number, &blueprint)?;
    match revisions.create(&PostParams { field_manager: Some(labels::MANAGER.to_owned()), ..PostParams::default() }, &revision).await {
        Ok(_) => return Ok(Ok(name)),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // Where there is nothing, what was in the way has gone or never was there, and it is tried again.
            let found = revisions.get_opt(&name).await?.ok_or(kube::Error::Api(status))?;
            if snapshot::read(found).is_some_and(|(release, _)| release == uid) {
                return Ok(Ok(name));
            }
        }
        Err(error) => return Err(error),
    }
    let message = format!(
        "ControllerRevision {namespace}/{name} exists already and isn't this release's: delete it, or make a Release of another name"
    );
    Ok(Err((NOT_OURS, message)))
}

/// Writes a release's status, if the release is still the one that it was computed from.
async fn write(
    coordinator: &Holding,
    written: &mut Written<Release>,
    release: &Arc<Release>,
    status: ReleaseStatus,
) -> Result<Arc<Release>, kube::Error> {
    let name = release.name_any();
    let events = events(release.status.as_ref(), &status);
    let after = apply_status(&coordinator.client, release.as_ref(), Meant::AsItWas, labels::MANAGER, status).await;
    let Some(after) = if_still_there(after)?.map(|after| written.keep(after)) else { return Ok(release.clone()) };
    for event in events {
        if let Err(error) = coordinator.recorder.publish(&event, &after.object_ref(&())).await {
            tracing::warn!(release = name, %error, "an event can't be written");
        }
    }
    Ok(after)
}

/// What a person would want to be told.
fn events(before: Option<&ReleaseStatus>, after: &ReleaseStatus) -> Vec<Event> {
    let none = ReleaseStatus::default();
    let before = before.unwrap_or(&none);
    // Events of one action and reason are counted as one, by the first one's note.
    let event = |type_, action: &str, reason: &str, note: String| Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    };
    let mut events = Vec::new();
    for wave in &after.waves {
        let known = before.waves.iter().find(|known| known.name == wave.name);
        if wave.opened.is_some() && known.is_none_or(|known| known.opened.is_none()) {
            events.push(event(EventType::Normal, &wave.name, "WaveOpened", format!("wave {} is open", wave.name)));
        }
        if wave.finished.is_some() && known.is_none_or(|known| known.finished.is_none()) {
            events.push(event(EventType::Normal, &wave.name, "WaveFinished", format!("all of wave {} have arrived", wave.name)));
        }
    }
    let ready = |status: &ReleaseStatus| status.conditions.iter().find(|condition| condition.type_ == conditions::READY).cloned();
    if let Some(now) = ready(after)
        && ready(before).is_none_or(|then| then.reason != now.reason)
        && !["Progressing", "Soaking"].contains(&now.reason.as_str())
    {
        let stalled = conditions::is_true(&after.conditions, conditions::STALLED);
        let type_ = if stalled { EventType::Warning } else { EventType::Normal };
        events.push(event(type_, "Release", &now.reason, now.message));
    }
    events
}

/// The UIDs of the releases that this tenant has, or would go back to, or whose blueprint it runs.
pub fn used_by(tenant: &Tenant, releases: &[Arc<Release>], now: Timestamp) -> HashSet<String> {
    let target = target(tenant, releases, now);
    let computed = [target.release, target.snapshot].into_iter().flatten().filter_map(ResourceExt::uid);
    let status = tenant.status.as_ref();
    let current = status.and_then(|status| status.release.as_ref());
    let had = current.iter().flat_map(|current| std::iter::once(&current.uid).chain(current.before.first())).cloned().collect::<Vec<_>>();
    let serving = status.and_then(|status| status.serving_release.clone());
    computed.chain(had).chain(serving).collect()
}

/// Takes away blueprints of releases that nobody has or would go back to.
async fn prune(
    context: &Context,
    coordinator: &Holding,
    written: &mut Written<Release>,
    releases: &mut [Arc<Release>],
    tenants: &[Arc<Tenant>],
) -> Result<(), kube::Error> {
    let mut complete: HashMap<String, usize> = HashMap::new();
    let mut may_go = |release: &Release| {
        let rank = complete.entry(release.spec.channel.clone()).or_default();
        *rank += usize::from(release.is_complete());
        is_settled(release) && !(release.is_complete() && *rank <= KEPT)
    };
    let newest_first: Vec<_> = releases.iter().rev().filter(|release| release.revision().is_some()).cloned().collect();
    let old: HashSet<_> =
        newest_first.iter().filter(|release| release.has_snapshot() && may_go(release)).filter_map(|release| release.uid()).collect();
    // To find out what ten thousand tenants use takes its time, and most often there is nothing old.
    let now = Timestamp::now();
    let used: HashSet<_> =
        if old.is_empty() { HashSet::new() } else { tenants.iter().flat_map(|tenant| used_by(tenant, &newest_first, now)).collect() };
    for release in releases.iter_mut().filter(|release| release.uid().is_some_and(|uid| old.contains(&uid) && !used.contains(&uid))) {
        let status = ReleaseStatus { snapshot: None, ..release.status.clone().unwrap_or_default() };
        *release = write(coordinator, written, release, own(status)).await?;
    }
    let revisions: Api<ControllerRevision> = Api::namespaced(coordinator.client.clone(), &context.configuration.settings.namespace);
    for release in releases.iter().filter(|release| release.revision().is_some() && !release.has_snapshot()) {
        let Some(snapshot) = context.releases.snapshot_of(&release.uid().unwrap_or_default()) else { continue };
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: snapshot.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        match revisions.delete(&snapshot.name_any(), &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Without what isn't ours to write.
fn own(mut status: ReleaseStatus) -> ReleaseStatus {
    status.conditions.retain(|condition| condition.type_ != conditions::IN_USE);
    status
}

/// Says on a blueprint whether its newest release has it as it stands; nothing, where there is no release any more.
async fn say_what_is_released(
    context: &Context,
    coordinator: &Holding,
    blueprint: &Blueprint,
    releases: &[Arc<Release>],
) -> Result<(), kube::Error> {
    let verdict = match releases.iter().rev().find(|release| release.has_snapshot()) {
        Some(newest) => match context.releases.snapshot_of(&newest.uid().unwrap_or_default()) {
            Some(snapshot) => Some(compare(blueprint, newest, &snapshot)),
            // The watch is about to bring it.
            None => return Ok(()),
        },
        None => None,
    };
    let before = blueprint.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let generation = blueprint.metadata.generation.unwrap_or_default();
    let after = conditions::merge(before, verdict.as_slice(), generation, &Time(Timestamp::now()));
    let said = |condition: &Condition| (condition.status.clone(), condition.reason.clone(), condition.message.clone());
    let known = before.iter().find(|condition| condition.type_ == conditions::RELEASED);
    if known.map(said) == after.first().map(said) {
        return Ok(());
    }
    let written = apply_status(&coordinator.client, blueprint, Meant::ThisOne, MANAGER, json!({"conditions": after})).await;
    if_still_there(written).map(drop)
}

/// Whether a release has the blueprint as it stands.
fn compare(blueprint: &Blueprint, release: &Release, snapshot: &Blueprint) -> Verdict {
    let content = |blueprint: &Blueprint| {
        let mut spec = blueprint.spec.clone();
        // A release has a version of its own.
        spec.version.clear();
        digest::of(&spec)
    };
    let name = release.name_any();
    if content(blueprint) == content(snapshot) {
        return Verdict::new(conditions::RELEASED, true, "Released", format!("release {name} has it as it stands"));
    }
    let message = format!("it has changed since release {name}: the changes reach tenants with the next Release");
    Verdict::new(conditions::RELEASED, false, "UnreleasedChanges", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::conditions::merge;
    use crate::api::release::WaveStatus;

    #[test]
    fn people_hear_of_each_wave_and_of_how_it_ends() {
        let now = Time(Timestamp::UNIX_EPOCH);
        let status = |reason: &str, opened: usize| {
            let wave = |number: usize| WaveStatus {
                name: format!("w{number}"),
                opened: (number < opened).then(|| now.clone()),
                finished: (number + 1 < opened).then(|| now.clone()),
                ..WaveStatus::default()
            };
            let conditions = merge(&[], &[Verdict::new(conditions::READY, false, reason, "a sentence")], 1, &now);
            ReleaseStatus { waves: (0..2).map(wave).collect(), conditions, ..ReleaseStatus::default() }
        };
        let heard = |before: &ReleaseStatus, after: &ReleaseStatus| {
            events(Some(before), after).into_iter().map(|event| format!("{} {}", event.action, event.reason)).collect::<Vec<_>>()
        };
        assert_eq!(heard(&ReleaseStatus::default(), &status("Progressing", 1)), ["w0 WaveOpened"]);
        assert_eq!(heard(&status("Progressing", 1), &status("Progressing", 2)), ["w0 WaveFinished", "w1 WaveOpened"]);
        assert_eq!(heard(&status("Progressing", 2), &status("TooManyFailed", 2)), ["Release TooManyFailed"]);
        assert_eq!(heard(&status("TooManyFailed", 2), &status("TooManyFailed", 2)), [""; 0]);
    }
}
