//! What is so of a tenant at this moment, as conditions. Each is true only while it is so.

use super::{database_status, migration_status};
use crate::api::Tenant;
use crate::api::conditions::{self, Verdict};
use crate::api::tenant::TenantStatus;
use crate::controller::apply::ApplyError;
use crate::controller::inventory::Objects;
use crate::instance::placement::PlacementError;
use crate::instance::render::{Kind, Rendered};
use crate::instance::resolve::ResolveError;
use crate::instance::{Database, Instance, RoutingKind, Suspension};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

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
#[derive(Debug)]
pub struct Stop {
    step: Step,
    kind: StopKind,
    reason: String,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Self { step, kind: StopKind::Stalled, reason: reason.to_owned(), message: message.into() }
    }

    pub fn failed(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self { step, kind: StopKind::Failed, reason: reason.to_owned(), message: message.into() }
    }

    pub fn waiting(step: Step, reason: &str, message: impl Into<String>) -> Self {
        Self { step, kind: StopKind::Waiting, reason: reason.to_owned(), message: message.into() }
    }

    pub fn missing(kind: &str, name: &str) -> Self {
        Self::stalled(
            &format!("{kind}Missing"),
            format!("{kind} {name} doesn't exist: create it, or name another; what runs goes on running"),
        )
    }

    /// Whether trying again may help.
    pub fn retry(&self) -> bool {
        self.kind == StopKind::Failed
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
            ApplyError::NotOurs { .. } => Self::stalled("NotOurs", error.to_string()),
            ApplyError::Refused { .. } => Self::stalled("Refused", error.to_string()),
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
    blocking: Vec<&'static str>,
}

impl Assessment {
    /// Nothing found out yet: what the status says of versions and data stays.
    pub fn new(tenant: &Tenant) -> Self {
        let before = tenant.status.clone().unwrap_or_default();
        let status = TenantStatus { observed_generation: tenant.metadata.generation.unwrap_or_default(), conditions: Vec::new(), ..before };
        Self { status, look_again: None, verdicts: Vec::new(), stop: None, suspension: None, blocking: Vec::new() }
    }

    pub fn instance(&mut self, instance: &Instance) {
        self.status.namespace = Some(instance.namespace.clone());
        self.status.url = instance.routing.as_ref().map(|routing| routing.url.clone());
        self.suspension = instance.suspension.clone();
    }

    pub fn database(&mut self, database: &Database) {
        self.status.database = Some(database_status(database));
        self.say(Verdict::new(conditions::DATABASE_READY, true, "Ready", format!("the data is on {}", database.server)), true);
    }

    pub fn migrated(&mut self, instance: &Instance, key: Option<&str>) {
        self.status.migration = key.map(|key| migration_status(instance.version.as_str(), key)).or(self.status.migration.take());
        let message = format!("the database is at version {}", instance.version);
        self.say(Verdict::new(conditions::MIGRATED, true, "Migrated", message), true);
    }

    pub fn not_migrated(&mut self, reason: &str, message: String) {
        self.say(Verdict::new(conditions::MIGRATED, false, reason, message), true);
    }

    /// Every component has the pods that it should, of the version that it should.
    pub fn workloads(&mut self, rendered: &Rendered, objects: &Objects, target: Option<&str>) {
        if self.suspension.is_some() {
            return self.say(Verdict::new(conditions::AVAILABLE, false, "Suspended", "no pods run while the tenant is suspended"), false);
        }
        let deployments: Vec<_> = rendered.workloads.iter().filter(|object| object.key.kind == Kind::DEPLOYMENT).collect();
        let waiting: Vec<_> = deployments
            .iter()
            .filter_map(|object| {
                let live = objects.get(&object.key).map(|observed| observed.content()).unwrap_or_default();
                shortage(&live).map(|why| format!("{}: {why}", object.key.name))
            })
            .collect();
        if deployments.is_empty() {
            return self
                .say(Verdict::new(conditions::AVAILABLE, false, "NotDeployed", "no pods run before the database is migrated"), true);
        }
        if !waiting.is_empty() {
            return self.say(Verdict::new(conditions::AVAILABLE, false, "Deploying", waiting.join("; ")), true);
        }
        if let Some(target) = target.filter(|target| self.status.version.as_deref() != Some(*target)) {
            self.status.previous_version = self.status.version.replace(target.to_owned());
        }
        self.say(Verdict::new(conditions::AVAILABLE, true, "Available", "every component has its pods"), true);
    }

    /// The routes are there and somebody serves them.
    pub fn routes(&mut self, rendered: &Rendered, objects: &Objects, instance: &Instance) {
        let Some(routing) = &instance.routing else { return };
        if self.suspension.is_some() {
            return self.say(Verdict::new(conditions::ROUTED, false, "Suspended", "nobody is routed to a suspended tenant"), false);
        }
        let waits = match &routing.kind {
            RoutingKind::Ingress(ingress) => ingress.wait_for_address,
            RoutingKind::Gateway(_) => true,
        };
        let pending = rendered.routes.iter().find(|object| {
            let live = objects.get(&object.key).map(|observed| observed.content()).unwrap_or_default();
            waits && !is_routed(&live)
        });
        let verdict = match pending {
            None => Verdict::new(conditions::ROUTED, true, "Routed", format!("reached at {}", routing.url)),
            Some(object) => Verdict::new(conditions::ROUTED, false, "WaitingForRoute", format!("nothing has taken up {} yet", object.key)),
        };
        self.say(verdict, true);
    }

    /// Adds a condition; `blocking` ones have to be true for `Ready`.
    pub fn say(&mut self, verdict: Verdict, blocking: bool) {
        if blocking {
            self.blocking.push(verdict.kind);
        }
        self.verdicts.push(verdict);
    }

    pub fn is_true(&self, kind: &str) -> bool {
        self.verdicts.iter().any(|verdict| verdict.kind == kind && verdict.status == Some(true))
    }

    pub fn look_again_in(&mut self, delay: Duration) {
        self.look_again = Some(self.look_again.map_or(delay, |known| known.min(delay)));
    }

    pub fn stop(&mut self, stop: Stop) {
        if stop.step == Step::Database {
            self.verdicts.retain(|verdict| verdict.kind != conditions::DATABASE_READY);
            self.say(Verdict::new(conditions::DATABASE_READY, false, stop.reason.clone(), stop.message.clone()), true);
        }
        self.stop = Some(stop);
    }

    /// All conditions, `Ready` first. Those of steps that this pass didn't come to stay as they were.
    pub fn verdicts(&self) -> Vec<Verdict> {
        let mut all = Vec::new();
        let not_ready = |reason: &str, message: &str| Verdict::new(conditions::READY, false, reason, message);
        match (&self.stop, self.suspension.as_ref()) {
            (Some(stop), _) => {
                all.push(not_ready(&stop.reason, &stop.message));
                let kind = if stop.kind == StopKind::Stalled { conditions::STALLED } else { conditions::RECONCILING };
                all.push(Verdict::new(kind, true, stop.reason.clone(), stop.message.clone()));
            }
            (None, Some(Suspension::Requested)) => all.push(not_ready("Suspended", "spec.suspended is true; the data is untouched")),
            (None, Some(Suspension::Expired(end))) => {
                all.push(not_ready("Expired", &format!("the trial ended at {}; the data is untouched", end.0)));
            }
            (None, None) => match self.verdicts.iter().find(|v| v.status != Some(true) && self.blocking.contains(&v.kind)) {
                Some(open) => {
                    all.push(not_ready(&open.reason, &open.message));
                    all.push(Verdict::new(conditions::RECONCILING, true, open.reason.clone(), open.message.clone()));
                }
                None => all.push(Verdict::new(conditions::READY, true, "Ready", "all that was asked for is so")),
            },
        }
        all.extend(self.verdicts.iter().cloned());
        all
    }
}

/// What a Deployment still lacks.
fn shortage(live: &Value) -> Option<String> {
    let number = |path: &str| live.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let wanted = live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    if number("/status/observedGeneration") < number("/metadata/generation") || live.is_null() {
        return Some("not rolled out yet".to_owned());
    }
    let (updated, available, all) = (number("/status/updatedReplicas"), number("/status/availableReplicas"), number("/status/replicas"));
    if updated < wanted {
        return Some(format!("{updated} of {wanted} pods are updated"));
    }
    if available < wanted {
        return Some(format!("{available} of {wanted} pods are available"));
    }
    (all > updated).then(|| format!("{} old pods are ending", all - updated))
}

fn is_routed(live: &Value) -> bool {
    if live.get("kind").and_then(Value::as_str) == Some("Ingress") {
        return live.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).is_some_and(|addresses| !addresses.is_empty());
    }
    let parents = live.pointer("/status/parents").and_then(Value::as_array);
    parents.is_some_and(|parents| {
        let accepted = |parent: &Value| {
            let conditions = parent.get("conditions").and_then(Value::as_array);
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Accepted" && c["status"] == "True"))
        };
        parents.iter().any(accepted)
    })
}
