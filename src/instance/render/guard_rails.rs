//! What bounds an instance: its namespace, who may act in it, how much it may use, and the identity of its pods.

use super::{Kind, Object, metadata};
use crate::instance::{Instance, Settings};
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec, ServiceAccount};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The ClusterRole that the operator has inside tenants' namespaces, and nowhere else.
const INSTANCE_ROLE: &str = "tenantry-instance";

/// The namespace, with Pod Security at its strictest; see
/// [Pod Security Standards](https://kubernetes.io/docs/concepts/security/pod-security-standards/).
pub fn namespace(instance: &Instance) -> Object {
    let mut metadata = ObjectMeta { namespace: None, ..metadata(instance, &instance.namespace, None) };
    let labels = metadata.labels.get_or_insert_default();
    for mode in ["enforce", "audit", "warn"] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
    }
    Object::new(Kind::NAMESPACE, &metadata, &Namespace { metadata: metadata.clone(), ..Default::default() })
}

/// Lets the operator into this namespace. Outside of tenants' namespaces it may write no workload and read no Secret.
pub fn access(instance: &Instance, settings: &Settings) -> Object {
    let metadata = metadata(instance, "tenantry-operator", None);
    let binding = RoleBinding {
        metadata: metadata.clone(),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: INSTANCE_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: settings.service_account.clone(),
            namespace: Some(settings.namespace.clone()),
            api_group: None,
        }]),
    };
    Object::new(Kind::ROLE_BINDING, &metadata, &binding)
}

/// The plan's quota, where it has one.
pub fn quota(instance: &Instance) -> Option<Object> {
    if instance.quota.is_empty() {
        return None;
    }
    let metadata = metadata(instance, "plan", None);
    let quota = ResourceQuota {
        metadata: metadata.clone(),
        spec: Some(ResourceQuotaSpec { hard: Some(instance.quota.clone()), ..Default::default() }),
        ..Default::default()
    };
    Some(Object::new(Kind::RESOURCE_QUOTA, &metadata, &quota))
}

/// Sizes for containers that say nothing, such as one that an extra brings.
pub fn limit_range(instance: &Instance) -> Object {
    let metadata = metadata(instance, "plan", None);
    let limits = LimitRange {
        metadata: metadata.clone(),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".to_owned(),
                default: instance.default_resources.limits.clone(),
                default_request: instance.default_resources.requests.clone(),
                ..Default::default()
            }],
        }),
    };
    Object::new(Kind::LIMIT_RANGE, &metadata, &limits)
}

/// The identity of the pods. It carries no token; a cloud's identity is told by its annotations.
pub fn service_account(instance: &Instance) -> Object {
    let mut metadata = metadata(instance, super::pod::SERVICE_ACCOUNT, None);
    metadata.annotations = (!instance.service_account_annotations.is_empty()).then(|| instance.service_account_annotations.clone());
    let account = ServiceAccount { metadata: metadata.clone(), automount_service_account_token: Some(false), ..Default::default() };
    Object::new(Kind::SERVICE_ACCOUNT, &metadata, &account)
}
