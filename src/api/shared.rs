//! Field types that several kinds share.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The keys of a map are names of labels or annotations; see the
/// [syntax](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
pub const QUALIFIED_KEYS: &str = r"self.all(k, k.size() <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))";

/// The keys of a map are names of a blueprint's components.
pub const COMPONENT_KEYS: &str = "self.all(k, k.size() <= 40)";

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

/// A Kubernetes quantity, such as `100m`, `1.5` or `256Mi`. The bounds keep it within 64 bits, beyond which Kubernetes rounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Amount(
    #[schemars(
        length(min = 1, max = 20),
        extend("x-kubernetes-validations" = [{
            "rule": r"self.matches('^([0-9]{1,15}|[0-9]{1,6}(\\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?)$')",
            "message": "an amount is a number and a unit, in quotes where it has no unit, such as 100m, \"2\" or 256Mi",
        }])
    )]
    pub String,
);

/// A value of an annotation, which may be a whole snippet of configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AnnotationValue(#[schemars(length(max = 4000))] pub String);

/// A value of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LabelValue(
    #[schemars(
        length(max = 63),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
            "message": "a label's value has only letters, digits, hyphens, dots and _, and begins and ends with a letter or digit, such as ingress-nginx",
        }])
    )]
    pub String,
);

/// What a container asks for and may use at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(r, !(r in self.limits) || quantity(self.requests[r]).compareTo(quantity(self.limits[r])) <= 0)").message("a request is more than its limit: raise the limit, or ask for less"))]
pub struct Resources {
    /// What the scheduler sets aside: `cpu`, `memory` and `ephemeral-storage`, such as `cpu: 100m`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 3))]
    #[x_kube(validation = Rule::new("self.all(r, r in ['cpu', 'memory', 'ephemeral-storage'])").message("the resources of a container are cpu, memory and ephemeral-storage: write for example cpu: 100m"))]
    #[x_kube(validation = Rule::new("self.all(r, r == 'cpu' || !self[r].endsWith('m'))").message("m is a thousandth, so 512m of memory is half a byte: write 512Mi"))]
    pub requests: Amounts,
    /// What a container can't go beyond: `cpu`, `memory` and `ephemeral-storage`, such as `memory: 512Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 3))]
    #[x_kube(validation = Rule::new("self.all(r, r in ['cpu', 'memory', 'ephemeral-storage'])").message("the resources of a container are cpu, memory and ephemeral-storage: write for example memory: 512Mi"))]
    #[x_kube(validation = Rule::new("self.all(r, r == 'cpu' || !self[r].endsWith('m'))").message("m is a thousandth, so 512m of memory is half a byte: write 512Mi"))]
    pub limits: Amounts,
}

/// The other end of an allowed connection: addresses, or pods of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cidr) != has(self.__namespace__)").message("a peer is either a cidr, such as 10.0.0.0/8, or a namespace, not both and not neither"))]
#[x_kube(validation = Rule::new("!has(self.podLabels) || has(self.__namespace__)").message("podLabels go with a namespace: add namespace, or leave podLabels out"))]
pub struct Peer {
    /// An address range, such as `10.0.0.0/8` or `2001:db8::/32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43))]
    #[x_kube(validation = Rule::new("isCIDR(self) && cidr(self) == cidr(self).masked() && string(cidr(self)) == self").message("cidr is an address range by its first address, such as 10.0.0.0/8 or 2001:db8::/32, and 192.0.2.7/32 for one address"))]
    pub cidr: Option<String>,
    /// The name of a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("namespace is the name of a namespace, such as ingress-nginx: small letters, digits and hyphens"))]
    pub namespace: Option<String>,
    /// Labels that the pods in that namespace must have; all of its pods, where left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 10))]
    #[x_kube(validation = Rule::new(QUALIFIED_KEYS).message("each key of podLabels is a label's name, such as app.kubernetes.io/name"))]
    pub pod_labels: BTreeMap<String, LabelValue>,
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
