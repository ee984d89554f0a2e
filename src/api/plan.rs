//! `Plan`: how big an instance is, and its bounds.

use super::shared::{Amounts, COMPONENT_KEYS, InUseStatus, Replicas, Resources};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How big an instance is. A change reaches all tenants of the plan.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Plan",
    status = "InUseStatus",
    derive = "PartialEq",
    category = "tenantry",
    cel,
    doc = "How big an instance is: resources and pods for each component, a quota for the whole, limits in the database.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("a plan's name has at most 63 characters: choose a shorter one"),
    printcolumn(name = "CPU", type_ = "string", json_path = ".spec.quota.requests\\.cpu", description = "CPU that all pods of an instance may ask for"),
    printcolumn(name = "Memory", type_ = "string", json_path = ".spec.quota.requests\\.memory", description = "Memory that all pods of an instance may ask for"),
    printcolumn(name = "Connections", type_ = "integer", json_path = ".spec.database.connections", description = "Database connections"),
    printcolumn(name = "Price", type_ = "string", json_path = ".spec.price.monthly", description = "What a tenant pays a month"),
    printcolumn(name = "Currency", type_ = "string", json_path = ".spec.price.currency", description = "The currency of the price", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when the plan exists")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.quota) || ['cpu', 'memory', 'ephemeral-storage'].all(r, !(('requests.' + r) in self.quota || r in self.quota) || (has(self.defaults.resources.requests) && r in self.defaults.resources.requests))").message("with a quota for cpu, memory or ephemeral-storage Kubernetes refuses every container that doesn't ask for some: add it to defaults.resources.requests"))]
#[x_kube(validation = Rule::new("!has(self.quota) || ['cpu', 'memory', 'ephemeral-storage'].all(r, !(('limits.' + r) in self.quota) || (has(self.defaults.resources.limits) && r in self.defaults.resources.limits))").message("with a quota for limits.cpu, limits.memory or limits.ephemeral-storage Kubernetes refuses every container without such a limit: add it to defaults.resources.limits"))]
pub struct PlanSpec {
    /// For components that `components` doesn't name, for the migration, and for containers that say nothing.
    #[serde(default)]
    pub defaults: PlanDefaults,

    /// By the name of the blueprint's component.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = Rule::new(COMPONENT_KEYS).message("each key of components is the name of a blueprint's component, which has at most 40 characters"))]
    pub components: BTreeMap<String, PlanComponent>,

    /// The hard limits of the namespace's ResourceQuota, such as `requests.memory: 4Gi` or `pods: "20"`. No quota, where left
    /// out. It must hold an instance at its largest while it is updated: one more pod of each component, which a rolling update starts
    /// before an old one ends, and the migration. A tenant for which it doesn't is stalled, and its message names the amount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = Rule::new("self.all(k, k in ['cpu', 'memory', 'ephemeral-storage', 'requests.cpu', 'requests.memory', 'requests.ephemeral-storage', 'requests.storage', 'limits.cpu', 'limits.memory', 'limits.ephemeral-storage', 'pods', 'services', 'services.loadbalancers', 'services.nodeports', 'persistentvolumeclaims', 'configmaps', 'secrets'] || (k.size() <= 100 && k.matches('^count/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')))").message("each key of quota is a resource that Kubernetes counts, such as requests.cpu, limits.memory, pods or count/jobs.batch"))]
    #[x_kube(validation = Rule::new("self.all(k, k.endsWith('cpu') || self[k].matches('^[0-9]+$') || (!self[k].endsWith('m') && (k.endsWith('memory') || k.endsWith('storage'))))").message("what is counted is a whole number, such as pods: \"20\", and storage is no thousandth of a byte: write 512Mi instead of 512m"))]
    pub quota: Amounts,

    /// Limits in the database.
    #[serde(default)]
    pub database: PlanDatabase,

    /// What a tenant of the plan pays. It changes nothing of an instance: people are told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

/// What a tenant pays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// For a month, such as `"49.00"`.
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,9}([.][0-9]{2})?$')").message("a price is a number with two digits after the point or none, in quotes, such as \"49.00\""))]
    pub monthly: String,
    /// By ISO 4217, such as `EUR`.
    #[schemars(length(min = 3, max = 3))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z]{3}$')").message("a currency is three capital letters, such as EUR"))]
    pub currency: String,
}

impl Price {
    /// For a month, in hundredths of the currency. None for what the schema would not admit.
    pub fn monthly_hundredths(&self) -> Option<u64> {
        let (whole, fraction) = self.monthly.split_once('.').unwrap_or((&self.monthly, "00"));
        if fraction.len() != 2 || whole.is_empty() {
            return None;
        }
        format!("{whole}{fraction}").parse().ok()
    }
}

/// The size of components that a plan doesn't name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanDefaults {
    /// What each container asks for and may use.
    #[serde(default = "default_resources")]
    pub resources: Resources,
}

impl Default for PlanDefaults {
    fn default() -> Self {
        Self { resources: default_resources() }
    }
}

/// A memory limit, because a pod without one can take its node down; no CPU limit, because it only makes idle CPU unusable.
fn default_resources() -> Resources {
    let amounts = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), super::shared::Amount((*v).to_owned()))).collect();
    Resources { requests: amounts(&[("cpu", "50m"), ("memory", "128Mi")]), limits: amounts(&[("memory", "256Mi")]) }
}

/// The size of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanComponent {
    /// How many pods run, and the bounds of what a tenant may choose. One, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// What each container asks for and may use. What it doesn't say is taken from `defaults.resources`, and adjusted where a request would
    /// be more than its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The share of the requested CPU, in percent, beyond which the autoscaler adds pods. 75, where left out. It counts only where
    /// `replicas.min` is less than `replicas.max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_percent: Option<i32>,
}

/// Limits in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanDatabase {
    /// Connections that each login may hold at once.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 1000))]
    pub connections: i32,
    /// Seconds after which a statement is ended. A default of the session, which the tenant's code can change; 0 is no limit.
    #[serde(default = "default_statement_timeout")]
    #[schemars(range(min = 0, max = 86400))]
    pub statement_timeout_seconds: i32,
    /// Seconds after which a session is ended that holds a transaction open and does nothing; 0 is no limit.
    #[serde(default = "default_idle_in_transaction_timeout")]
    #[schemars(range(min = 0, max = 86400))]
    pub idle_in_transaction_timeout_seconds: i32,
}

impl Default for PlanDatabase {
    fn default() -> Self {
        Self {
            connections: default_connections(),
            statement_timeout_seconds: default_statement_timeout(),
            idle_in_transaction_timeout_seconds: default_idle_in_transaction_timeout(),
        }
    }
}

fn default_connections() -> i32 {
    20
}

fn default_statement_timeout() -> i32 {
    60
}

fn default_idle_in_transaction_timeout() -> i32 {
    300
}
