//! Whom a change wakes, and what is known anew by it.

use crate::api::Tenant;
use crate::api::tenant::TenantStatus;
use crate::controller::context::Context;
use crate::controller::hosts::Claimant;
use crate::controller::queue::Urgency;
use crate::instance::names::Host;
use crate::instance::render::Kind;
use crate::instance::resolve::hosts;
use crate::shards::Shard;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use serde_json::Value;
use std::collections::HashSet;

/// An object of our own kinds that appeared, changed in what matters, or went.
pub struct Changed {
    pub name: String,
    pub uid: String,
    /// Whether a tenant has to be looked at for it.
    pub is_news: bool,
    /// Whether a list tells so, as when the operator starts.
    pub is_listed: bool,
}

/// What it claims, whether anybody has to look at it, and what may depend on it.
pub fn tenant_changed(context: &Context, changed: &Changed) {
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
pub fn blueprint_changed(context: &Context, changed: &Changed) {
    context.usage_changed.notify_one();
    context.releases.changed.notify_one();
    if context.releases.of(&changed.name).is_empty() {
        wake(context, |tenant| tenant.spec.blueprint == changed.name);
    }
}

/// Wakes those for whom it makes a difference, and that before what only grew old: a release that is stopped has to be stopped at once.
pub fn release_changed(context: &Context, _: &Changed) {
    let all = context.stores.releases.state();
    context.releases.take_in(all);
    context.usage_changed.notify_one();
    context.releases.changed.notify_one();
    wake_to_move(context, |tenant, now| context.is_to_move(tenant, now));
}

/// The blueprint as it stood when a release was made has come, or gone.
pub fn snapshot_changed(context: &Context, release: &str) {
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

/// All its tenants have another size.
pub fn plan_changed(context: &Context, changed: &Changed) {
    context.usage_changed.notify_one();
    wake(context, |tenant| tenant.spec.plan == changed.name);
}

/// It is looked at, and so is who is on it or may come to it.
pub fn server_changed(context: &Context, changed: &Changed) {
    context.usage_changed.notify_one();
    context.servers.changed(&changed.name);
    // A tenant that is on none yet may have waited for this one.
    wake(context, |tenant| context.placements.of(&tenant.uid().unwrap_or_default()).is_none_or(|server| server == changed.name));
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
