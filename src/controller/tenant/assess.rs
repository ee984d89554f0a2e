//! What is so of a tenant at this moment, as conditions. Each is true only while it is so.

use super::database_status;
use crate::api::conditions::{self, Verdict};
use crate::api::tenant::{CurrentRelease, MigrationStatus, TenantStatus};
use crate::api::{Release, Tenant, labels};
use crate::controller::LOOK_AT_OTHERS;
use crate::controller::apply::ApplyError;
use crate::controller::hosts::HostConflict;
use crate::controller::inventory::Objects;
use crate::instance::names::Host;
use crate::instance::placement::PlacementError;
use crate::instance::render::{Kind, Rendered};
use crate::instance::resolve::ResolveError;
use crate::instance::{Database, Instance, RoutingKind, Suspension};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// The order of the steps, which is the order of their conditions.
const STEPS: [&str; 5] = [conditions::DATABASE_READY, conditions::MIGRATED, conditions::AVAILABLE, conditions::ROUTED, conditions::HEALTHY];

/// The reason of a tenant that waits for another process's decision.
const NOT_GRANTED: &str = "WaitingForGrant";

/// Where a pass stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before or in the instance's objects.
    Instance,
    /// In the database.
    Database,
    /// In the migration.
    Migration,
}

/// Why a pass didn't come to its end.
#[derive(Clone, Debug)]
pub struct Stop {
    step: Step,
    kind: StopKind,
    reason: String,
    message: String,
    /// When to look again, where nothing tells of the end.
    look_again: Option<Duration>,
    /// The object of our own kinds that isn't there.
    missing: Option<ObjectRef>,
}

/// An object of our own kinds, which are in no namespace.
#[derive(Clone, Debug)]
pub struct ObjectRef {
    pub kind: &'static str,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum StopKind {
    /// A person has to act.
    Stalled,
    /// It is tried again.
    Failed,
    /// Something is under way, and its end wakes us.
    Waiting,
}

impl Stop {
    pub fn stalled(reason: &str, message: impl Into<String>) -> Self {
        Self::stalled_at(Step::Instance, reason, message)
    }

    pub fn stalled_at(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self { step, kind: StopKind::Stalled, reason: reason.to_owned(), message: message.into(), look_again: None, missing: None }
    }

    pub fn failed(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self { step, kind: StopKind::Failed, reason: reason.to_owned(), message: message.into(), look_again: None, missing: None }
    }

    pub fn waiting(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self { step, kind: StopKind::Waiting, reason: reason.to_owned(), message: message.into(), look_again: None, missing: None }
    }

    pub fn missing(kind: &'static str, name: &str) -> Self {
        let message = format!("{kind} {name} doesn't exist: create it, or name another; what runs goes on running");
        Self { missing: Some(ObjectRef { kind, name: name.to_owned() }), ..Self::stalled(&format!("{kind}Missing"), message) }
    }

    /// What it says isn't there.
    pub fn is_for_want_of(&self) -> Option<&ObjectRef> {
        self.missing.as_ref()
    }

    /// Another process decides, and tells by the Tenant's status.
    pub fn not_granted(what: &str) -> Self {
        Self::waiting(Step::Instance, NOT_GRANTED, format!("waiting for {what} to be granted by the operator that holds shard 0"))
    }

    /// Whether it waits for that.
    pub fn is_for_grant(&self) -> bool {
        self.reason == NOT_GRANTED
    }

    /// Whether nothing helps but a person.
    pub fn needs_a_person(&self) -> bool {
        self.kind == StopKind::Stalled
    }

    /// Whether trying again may help.
    pub fn retry(&self) -> bool {
        self.kind == StopKind::Failed
    }

    /// Of several, the one that a person should hear of first.
    pub fn first(stops: impl IntoIterator<Item = Self>) -> Option<Self> {
        stops.into_iter().min_by_key(|stop| stop.kind)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl From<ApplyError> for Stop {
    fn from(error: ApplyError) -> Self {
        match &error {
            ApplyError::NotOurs { .. } => Self { look_again: Some(LOOK_AT_OTHERS), ..Self::stalled("NotOurs", error.to_string()) },
            ApplyError::Refused { .. } => Self::stalled("Refused", error.to_string()),
            ApplyError::Ending { .. } => Self::waiting(Step::Instance, "Ending", error.to_string()),
            ApplyError::Api { .. } => Self::failed(Step::Instance, "ApiServer", error.to_string()),
        }
    }
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Self {
        Self::failed(Step::Instance, "ApiServer", error.to_string())
    }
}

impl From<ResolveError> for Stop {
    fn from(error: ResolveError) -> Self {
        Self::stalled(error.reason(), error.to_string())
    }
}

impl From<HostConflict> for Stop {
    fn from(error: HostConflict) -> Self {
        Self::stalled("HostConflict", error.to_string())
    }
}

impl From<PlacementError> for Stop {
    fn from(error: PlacementError) -> Self {
        match error {
            PlacementError::DatabaseServersUnreachable { .. } => {
                Self::failed(Step::Database, "DatabaseServersUnreachable", error.to_string())
            }
            PlacementError::NoDatabaseServer { .. } => Self::stalled_at(Step::Database, "NoDatabaseServer", error.to_string()),
            PlacementError::DatabaseServersFull { .. } => Self::stalled_at(Step::Database, "DatabaseServersFull", error.to_string()),
        }
    }
}

/// All that a pass found out.
pub struct Assessment {
    /// The status without its conditions.
    pub status: TenantStatus,
    /// When to look again although nothing changes.
    pub look_again: Option<Duration>,
    verdicts: Vec<Verdict>,
    stop: Option<Stop>,
    suspension: Option<Suspension>,
}

impl Assessment {
    /// Nothing found out yet: what the status says of versions and data stays. What is granted isn't ours to write.
    pub fn new(tenant: &Tenant) -> Self {
        let before = tenant.status.clone().unwrap_or_default();
        let observed_generation = tenant.metadata.generation.unwrap_or_default();
        let last_handled_reconcile_at = tenant.annotations().get(labels::RECONCILE).cloned();
        let status = TenantStatus { observed_generation, last_handled_reconcile_at, conditions: Vec::new(), grant: None, ..before };
        Self { status, look_again: None, verdicts: Vec::new(), stop: None, suspension: None }
    }

    pub fn instance(&mut self, instance: &Instance) {
        self.status.namespace = Some(instance.namespace.clone());
        self.status.url = instance.routing.as_ref().map(|routing| routing.url.clone());
        self.status.hosts = instance.hosts.iter().map(Host::to_string).collect();
        self.suspension = instance.suspension.clone();
    }

    /// What the tenant gets from now on.
    pub fn release(&mut self, release: Option<&Release>, now: Timestamp) {
        self.status.release = CurrentRelease::after(self.status.release.take(), release, now);
    }

    pub fn database(&mut self, database: &Database) {
        self.status.database = Some(database_status(database));
        self.say(Verdict::new(conditions::DATABASE_READY, true, "Ready", format!("the data is on {}", database.server)));
    }

    /// The migration that has this key is done, now or long ago.
    pub fn migrated(&mut self, instance: &Instance, key: &str) {
        let before = self.status.migration.take();
        self.status.migration = Some(MigrationStatus::after(before, instance.version.as_str(), key));
        let message = format!("the database is at version {}", instance.version);
        self.say(Verdict::new(conditions::MIGRATED, true, "Migrated", message));
    }

    pub fn not_migrated(&mut self, reason: &str, message: String) {
        self.say(Verdict::new(conditions::MIGRATED, false, reason, message));
    }

    /// Every component has the pods that it should, of the version that it should. Before anything was drawn, what is there is all that counts.
    pub fn workloads(&mut self, rendered: Option<&Rendered>, objects: &Objects) {
        let is_deployment = |kind: &Kind| *kind == Kind::DEPLOYMENT;
        let deployments: Vec<_> = match rendered {
            Some(rendered) => rendered.workloads.iter().map(|object| &object.key).filter(|key| is_deployment(&key.kind)).collect(),
            None => objects.keys().filter(|key| is_deployment(&key.kind)).collect(),
        };
        let live = deployments.iter().map(|key| (*key, objects.get(*key).map(|observed| observed.state()).unwrap_or_default()));
        if self.suspension.is_some() {
            let ending: Vec<_> = live.filter(|(_, live)| has_pods(live)).map(|(key, _)| key.name.clone()).collect();
            let verdict = match ending.as_slice() {
                [] => Verdict::new(conditions::AVAILABLE, false, "Suspended", "no pods run while the tenant is suspended"),
                names => Verdict::new(conditions::AVAILABLE, false, "Suspending", format!("pods of {} are ending", names.join(", "))),
            };
            return self.say(verdict);
        }
        let lacking: Vec<_> = live.filter_map(|(key, live)| Some(format!("{}: {}", key.name, shortage(&live)?))).collect();
        let verdict = if deployments.is_empty() {
            Verdict::new(conditions::AVAILABLE, false, "NotDeployed", "no pods run before the database is migrated")
        } else if lacking.is_empty() {
            Verdict::new(conditions::AVAILABLE, true, "Available", "every component has its pods")
        } else {
            Verdict::new(conditions::AVAILABLE, false, "Deploying", lacking.join("; "))
        };
        self.say(verdict);
    }

    /// All pods are of this version now, and as its release has them.
    pub fn serves(&mut self, version: &str) {
        if !self.is_true(conditions::AVAILABLE) {
            return;
        }
        self.status.serving_release = self.status.release.as_ref().map(|release| release.uid.clone());
        if self.status.version.as_deref() != Some(version) {
            self.status.previous_version = self.status.version.replace(version.to_owned());
        }
    }

    /// The routes are there and somebody serves them.
    pub fn routes(&mut self, rendered: &Rendered, objects: &Objects, instance: &Instance) {
        let Some(routing) = &instance.routing else { return };
        if self.suspension.is_some() {
            return self.say(Verdict::new(conditions::ROUTED, false, "Suspended", "nobody is routed to a suspended tenant"));
        }
        let waits = match &routing.kind {
            RoutingKind::Ingress(ingress) => ingress.wait_for_address,
            RoutingKind::Gateway(_) => true,
        };
        let state = |key| objects.get(key).map(|observed| observed.state());
        let pending = rendered.routes.iter().find(|object| {
            let live = state(&object.key);
            live.is_none() || (waits && !live.is_some_and(|live| is_routed(&live)))
        });
        let verdict = match pending {
            None => Verdict::new(conditions::ROUTED, true, "Routed", format!("reached at {}", routing.url)),
            Some(object) => {
                let why = state(&object.key).and_then(|live| refusal(&live));
                let message = why.map_or_else(
                    || format!("nothing has taken up {} yet: is there an ingress controller or a Gateway for it?", object.key),
                    |why| format!("{} is not accepted: {why}", object.key),
                );
                Verdict::new(conditions::ROUTED, false, "WaitingForRoute", message)
            }
        };
        self.say(verdict);
    }

    /// Adds a condition, or says anew what it is.
    pub fn say(&mut self, verdict: Verdict) {
        self.verdicts.retain(|known| known.kind != verdict.kind);
        self.verdicts.push(verdict);
        self.verdicts.sort_by_key(|verdict| STEPS.iter().position(|kind| *kind == verdict.kind));
    }

    pub fn is_true(&self, kind: &str) -> bool {
        self.verdicts.iter().any(|verdict| verdict.kind == kind && verdict.status == Some(true))
    }

    /// Whether the pass didn't come to its end.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether this pass found out what the condition is.
    pub fn knows(&self, kind: &str) -> bool {
        self.verdicts.iter().any(|verdict| verdict.kind == kind)
    }

    pub fn look_again_in(&mut self, delay: Duration) {
        self.look_again = Some(self.look_again.map_or(delay, |known| known.min(delay)));
    }

    pub fn stop(&mut self, stop: Stop) {
        if stop.step == Step::Database {
            self.say(Verdict::new(conditions::DATABASE_READY, false, stop.reason.clone(), stop.message.clone()));
        }
        if let Some(delay) = stop.look_again {
            self.look_again_in(delay);
        }
        self.stop = Some(stop);
    }

    /// All conditions, `Ready` first.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let mut all = self.summary();
        all.extend(self.verdicts.iter().cloned());
        all
    }

    /// `Ready`, and `Stalled` or `Reconciling` while they are so.
    fn summary(&self) -> Vec<Verdict> {
        let not_ready = |kind, reason: &str, message: &str| {
            vec![Verdict::new(conditions::READY, false, reason, message), Verdict::new(kind, true, reason, message)]
        };
        if let Some(stop) = &self.stop {
            let kind = if stop.kind == StopKind::Stalled { conditions::STALLED } else { conditions::RECONCILING };
            return not_ready(kind, &stop.reason, &stop.message);
        }
        let verdict = |kind| self.verdicts.iter().find(|verdict| verdict.kind == kind);
        if let Some(suspension) = &self.suspension {
            return match verdict(conditions::AVAILABLE).filter(|verdict| verdict.reason == "Suspending") {
                Some(ending) => not_ready(conditions::RECONCILING, &ending.reason, &ending.message),
                // It is as it was asked to be: a GitOps tool that waits for Ready would otherwise wait for ever.
                None => vec![Verdict::new(conditions::READY, true, suspension.reason(), suspension.message())],
            };
        }
        match self.verdicts.iter().find(|verdict| verdict.status != Some(true)) {
            Some(open) => not_ready(conditions::RECONCILING, &open.reason, &open.message),
            None => vec![Verdict::new(conditions::READY, true, "Ready", "all that was asked for is so")],
        }
    }
}

impl Suspension {
    fn reason(&self) -> &'static str {
        match self {
            Self::Requested => "Suspended",
            Self::Expired(_) => "Expired",
            Self::Leaving(_) => "DeletionScheduled",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Requested => "out of service, as spec.suspended says; the data is untouched".to_owned(),
            Self::Expired(end) => format!("out of service since the trial ended at {}; the data is untouched", end.0),
            Self::Leaving(at) => {
                format!("out of service, and deleted at {}, as spec.deletion.at says: take it away there, and the tenant is back", at.0)
            }
        }
    }
}

/// Whether a Deployment has pods, or will get some.
fn has_pods(live: &Value) -> bool {
    let number = |path: &str| live.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    number("/status/observedGeneration") < number("/metadata/generation")
        || number("/spec/replicas") > 0
        || number("/status/replicas") > 0
        || number("/status/terminatingReplicas") > 0
}

/// What a Deployment still lacks.
fn shortage(live: &Value) -> Option<String> {
    let number = |path: &str| live.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let wanted = live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    if number("/status/observedGeneration") < number("/metadata/generation") || live.is_null() {
        return Some("not rolled out yet".to_owned());
    }
    let (updated, available, all) = (number("/status/updatedReplicas"), number("/status/availableReplicas"), number("/status/replicas"));
    let lacks = if updated < wanted {
        format!("{updated} of {wanted} pods are updated")
    } else if available < wanted {
        format!("{available} of {wanted} pods are available")
    } else if all > updated {
        format!("{} old pods are ending", all - updated)
    } else {
        return None;
    };
    // The Deployment's own words say more, such as that the quota is used up.
    let failure = condition(live.pointer("/status/conditions"), "ReplicaFailure", "True")
        .or_else(|| condition(live.pointer("/status/conditions"), "Progressing", "False"));
    Some(failure.map_or(lacks.clone(), |why| format!("{lacks} ({why})")))
}

/// The message of a condition with this status.
fn condition(conditions: Option<&Value>, kind: &str, status: &str) -> Option<String> {
    let found = conditions?.as_array()?.iter().find(|condition| condition["type"] == kind && condition["status"] == status)?;
    Some(found["message"].as_str().unwrap_or_default().to_owned())
}

/// An Ingress has an address, or a Gateway accepts the route.
fn is_routed(live: &Value) -> bool {
    let addresses = live.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let accepted = |parent: &Value| {
        condition(parent.get("conditions"), "Accepted", "True").is_some()
            && condition(parent.get("conditions"), "ResolvedRefs", "False").is_none()
    };
    addresses.is_some_and(|addresses| !addresses.is_empty()) || parents(live).iter().any(accepted)
}

/// Why a Gateway doesn't accept a route.
fn refusal(live: &Value) -> Option<String> {
    parents(live).iter().find_map(|parent| {
        let conditions = parent.get("conditions");
        condition(conditions, "Accepted", "False").or_else(|| condition(conditions, "ResolvedRefs", "False"))
    })
}

fn parents(live: &Value) -> &[Value] {
    live.pointer("/status/parents").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn assessment() -> Assessment {
        Assessment::new(&Tenant::new("acme", serde_json::from_value(json!({"displayName": "A", "blueprint": "b", "plan": "p"})).unwrap()))
    }

    fn said(assessment: &Assessment) -> Vec<(&'static str, Option<bool>, String)> {
        assessment.verdicts().into_iter().map(|verdict| (verdict.kind, verdict.status, verdict.reason)).collect()
    }

    #[test]
    fn ready_is_what_the_first_open_condition_lets_it_be() {
        let mut assessment = assessment();
        assessment.say(Verdict::new(conditions::DATABASE_READY, true, "Ready", ""));
        assessment.say(Verdict::new(conditions::AVAILABLE, false, "Deploying", ""));
        let all = said(&assessment);
        assert_eq!(all[0], (conditions::READY, Some(false), "Deploying".into()));
        assert_eq!(all[1], (conditions::RECONCILING, Some(true), "Deploying".into()));
        assessment.say(Verdict::new(conditions::AVAILABLE, true, "Available", ""));
        assert_eq!(said(&assessment)[0], (conditions::READY, Some(true), "Ready".into()));
        assert!(said(&assessment).iter().all(|(kind, ..)| *kind != conditions::RECONCILING));
    }

    #[test]
    fn a_stop_is_stalled_only_if_a_person_has_to_act() {
        let mut stalled = assessment();
        stalled.stop(Stop::missing("Plan", "gold"));
        assert_eq!(said(&stalled)[1], (conditions::STALLED, Some(true), "PlanMissing".into()));
        let mut failed = assessment();
        failed.stop(Stop::failed(Step::Database, "DatabaseUnreachable", "down"));
        assert_eq!(said(&failed)[1], (conditions::RECONCILING, Some(true), "DatabaseUnreachable".into()));
        assert!(said(&failed).contains(&(conditions::DATABASE_READY, Some(false), "DatabaseUnreachable".into())));
    }

    #[test]
    fn a_suspended_tenant_is_ready_once_its_pods_have_ended() {
        let mut assessment = assessment();
        assessment.suspension = Some(Suspension::Requested);
        assessment.say(Verdict::new(conditions::AVAILABLE, false, "Suspending", ""));
        assert_eq!(said(&assessment)[0], (conditions::READY, Some(false), "Suspending".into()));
        assessment.say(Verdict::new(conditions::AVAILABLE, false, "Suspended", ""));
        assert_eq!(said(&assessment)[0], (conditions::READY, Some(true), "Suspended".into()));
    }

    #[test]
    fn a_deployment_tells_what_it_lacks_and_why() {
        let live = |status: Value| json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status});
        assert_eq!(shortage(&live(json!({"observedGeneration": 1}))).unwrap(), "not rolled out yet");
        let quota = json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]);
        let lacks = shortage(&live(json!({"observedGeneration": 2, "updatedReplicas": 1, "conditions": quota}))).unwrap();
        assert_eq!(lacks, "1 of 2 pods are updated (exceeded quota)");
        let whole = json!({"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 2});
        assert_eq!(shortage(&live(whole)), None);
    }
}
