//! Holds a Blueprint, Plan, Release or DatabaseServer while a tenant uses it, and says for whom its deletion waits.

use super::context::Context;
use super::own::{Meant, apply_status, if_still_there};
use super::releasing;
use crate::api::conditions::{self, Verdict};
use crate::api::labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::core::ClusterResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Changes are gathered for so long: a hundred tenants made at once are one change of their plan.
const GATHER: Duration = Duration::from_millis(300);
/// How soon a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// The field manager of these conditions.
const MANAGER: &str = "tenantry-in-use";
/// So many tenants are named in a message; the rest is counted.
const NAMED: usize = 10;

/// Works until it is dropped. Only the coordinator calls it.
pub async fn keep_holding(context: Arc<Context>) {
    // Its predecessor may not have come to it.
    context.usage_changed.notify_one();
    loop {
        context.usage_changed.notified().await;
        tokio::time::sleep(GATHER).await;
        while let Err(error) = hold_all(&context).await {
            tracing::warn!(%error, "what tenants use can't be held against deletion; trying again");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// The names of the tenants that use each thing.
type Users = BTreeMap<String, BTreeSet<String>>;

async fn hold_all(context: &Context) -> Result<(), kube::Error> {
    let Some(coordinator) = context.holdings.coordinator() else { return Ok(()) };
    let client = &coordinator.client;
    let (mut blueprints, mut plans, mut servers, mut releases) = (Users::new(), Users::new(), Users::new(), Users::new());
    let now = jiff::Timestamp::now();
    for tenant in context.stores.tenants.state() {
        let name = tenant.name_any();
        blueprints.entry(tenant.spec.blueprint.clone()).or_default().insert(name.clone());
        plans.entry(tenant.spec.plan.clone()).or_default().insert(name.clone());
        for release in releasing::used_by(&tenant, &context.releases.of(&tenant.spec.blueprint), now) {
            releases.entry(release).or_default().insert(name.clone());
        }
        if let Some(server) = context.placements.of(&tenant.uid().unwrap_or_default()) {
            servers.entry(server).or_default().insert(name);
        }
    }
    for blueprint in context.stores.blueprints.state() {
        let conditions = blueprint.status.as_ref().map_or(&[][..], |status| &status.conditions);
        hold(client, blueprint.as_ref(), conditions, blueprints.get(&blueprint.name_any())).await?;
    }
    for plan in context.stores.plans.state() {
        let conditions = plan.status.as_ref().map_or(&[][..], |status| &status.conditions);
        hold(client, plan.as_ref(), conditions, plans.get(&plan.name_any())).await?;
    }
    for release in context.stores.releases.state() {
        let conditions = release.status.as_ref().map_or(&[][..], |status| &status.conditions);
        hold(client, release.as_ref(), conditions, releases.get(&release.uid().unwrap_or_default())).await?;
    }
    for server in context.stores.servers.state() {
        let conditions = server.status.as_ref().map_or(&[][..], |status| &status.conditions);
        hold(client, server.as_ref(), conditions, servers.get(&server.name_any())).await?;
    }
    Ok(())
}

/// Brings one object's finalizer and condition to what its users ask for.
async fn hold<K>(client: &Client, object: &K, before: &[Condition], users: Option<&BTreeSet<String>>) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let held = object.finalizers().iter().any(|finalizer| finalizer == labels::IN_USE_FINALIZER);
    let deleting = object.meta().deletion_timestamp.is_some();
    let api: Api<K> = Api::all(client.clone());
    match users {
        Some(_) if !held && !deleting => set_finalizer(&api, object, true).await?,
        None if held => set_finalizer(&api, object, false).await?,
        _ => {}
    }
    // What was never used and isn't being deleted needs no condition; what is about to vanish neither.
    let known = before.iter().find(|condition| condition.type_ == conditions::IN_USE);
    if users.is_none() && (deleting || known.is_none()) {
        return Ok(());
    }
    let verdict = verdict(users, deleting);
    let generation = object.meta().generation.unwrap_or_default();
    let after = conditions::merge(before, &[verdict], generation, &Time(jiff::Timestamp::now()));
    if known == after.first() {
        return Ok(());
    }
    // A manager of its own: the status of a DatabaseServer is applied elsewhere, and an apply takes back what it leaves out.
    let written = apply_status(client, object, Meant::ThisOne, MANAGER, json!({"conditions": after})).await;
    if_still_there(written).map(drop)
}

/// What the condition says. It names no tenant before it has to, because each new one would then be a write.
fn verdict(users: Option<&BTreeSet<String>>, deleting: bool) -> Verdict {
    let Some(users) = users else { return Verdict::new(conditions::IN_USE, false, "NotUsed", "no tenant uses it") };
    if !deleting {
        return Verdict::new(conditions::IN_USE, true, "Used", "tenants use it, so its deletion would wait for them");
    }
    let mut names = users.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if users.len() > NAMED {
        names += &format!(" and {} more", users.len() - NAMED);
    }
    let message = format!("its deletion waits for the tenants that use it: {names}");
    Verdict::new(conditions::IN_USE, true, "DeletionWaits", message)
}

async fn set_finalizer<K>(api: &Api<K>, object: &K, held: bool) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut finalizers: Vec<_> = object.finalizers().iter().filter(|name| *name != labels::IN_USE_FINALIZER).collect();
    let ours = labels::IN_USE_FINALIZER.to_owned();
    if held {
        finalizers.push(&ours);
    }
    // The resource version is a precondition: the list is written as a whole.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version(), "uid": object.uid()}});
    match api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        // What is gone needs no holding.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_deletion_makes_the_condition_name_the_tenants() {
        let users: BTreeSet<_> = (1..=12).map(|number| format!("t{number:02}")).collect();
        assert!(!verdict(Some(&users), false).message.contains("t01"));
        let message = verdict(Some(&users), true).message;
        assert!(message.ends_with("t01, t02, t03, t04, t05, t06, t07, t08, t09, t10 and 2 more"), "{message}");
        assert_eq!(verdict(None, true).status, Some(false));
    }
}
