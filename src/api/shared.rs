//! Field types that several kinds share.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many pods of a component run. Where `min` is less than `max`, a HorizontalPodAutoscaler moves between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.min <= self.max").message("replicas.min must not be more than replicas.max"))]
pub struct Replicas {
    /// The least number of pods.
    #[schemars(range(min = 1, max = 500))]
    pub min: i32,
    /// The greatest number of pods.
    #[schemars(range(min = 1, max = 500))]
    pub max: i32,
}

/// Amounts by resource name, such as `cpu: 100m` and `memory: 256Mi`.
pub type Amounts = BTreeMap<String, Amount>;

/// A Kubernetes quantity, such as `100m`, `1.5` or `256Mi`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Amount(
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^([0-9]{1,12}|[0-9]{1,9}\.[0-9]{1,3})(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"))] pub String,
);

/// What a container asks for and may use at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside, such as `cpu: 100m`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 10))]
    pub requests: Amounts,
    /// What a container can't go beyond, such as `memory: 512Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 10))]
    pub limits: Amounts,
}

/// The other end of an allowed connection: addresses, or pods of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cidr) != has(self.namespace)").message("a peer is either a cidr, such as 10.0.0.0/8, or a namespace, not both and not neither"))]
#[x_kube(validation = Rule::new("!has(self.podLabels) || has(self.namespace)").message("podLabels go with a namespace: add namespace, or leave podLabels out"))]
pub struct Peer {
    /// An address range, such as `10.0.0.0/8` or `2001:db8::/32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("not an address range: write it as 10.0.0.0/8 or 2001:db8::/32"))]
    pub cidr: Option<String>,
    /// The name of a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Labels that the pods in that namespace must have; all of its pods, where left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 10))]
    pub pod_labels: BTreeMap<String, String>,
}

/// The status of a kind that tenants refer to: who uses it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InUseStatus {
    /// `InUse`: while it is `True`, a deletion waits, and the message says for whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>,
}
