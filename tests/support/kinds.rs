//! The kinds that tests speak of, by name.

use kube::core::{ApiResource, GroupVersionKind};

/// All kinds that an instance of the sample products consists of, but for its namespace.
pub const OF_AN_INSTANCE: [&str; 13] = [
    "RoleBinding",
    "ResourceQuota",
    "LimitRange",
    "ServiceAccount",
    "NetworkPolicy",
    "ConfigMap",
    "Secret",
    "Service",
    "Deployment",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Ingress",
    "Job",
];

/// How the API calls a kind.
pub fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "Tenant" => ("tenantry.dev", "v1alpha1", "tenants"),
        "Blueprint" => ("tenantry.dev", "v1alpha1", "blueprints"),
        "Plan" => ("tenantry.dev", "v1alpha1", "plans"),
        "Release" => ("tenantry.dev", "v1alpha1", "releases"),
        "DatabaseServer" => ("tenantry.dev", "v1alpha1", "databaseservers"),
        "Namespace" => ("", "v1", "namespaces"),
        "Node" => ("", "v1", "nodes"),
        "Pod" => ("", "v1", "pods"),
        "Secret" => ("", "v1", "secrets"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "Service" => ("", "v1", "services"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "ResourceQuota" => ("", "v1", "resourcequotas"),
        "LimitRange" => ("", "v1", "limitranges"),
        "Deployment" => ("apps", "v1", "deployments"),
        "ControllerRevision" => ("apps", "v1", "controllerrevisions"),
        "ReplicaSet" => ("apps", "v1", "replicasets"),
        "Job" => ("batch", "v1", "jobs"),
        "CronJob" => ("batch", "v1", "cronjobs"),
        "HorizontalPodAutoscaler" => ("autoscaling", "v2", "horizontalpodautoscalers"),
        "PodDisruptionBudget" => ("policy", "v1", "poddisruptionbudgets"),
        "Ingress" => ("networking.k8s.io", "v1", "ingresses"),
        "EndpointSlice" => ("discovery.k8s.io", "v1", "endpointslices"),
        "NetworkPolicy" => ("networking.k8s.io", "v1", "networkpolicies"),
        "HTTPRoute" => ("gateway.networking.k8s.io", "v1", "httproutes"),
        "ListenerSet" => ("gateway.networking.k8s.io", "v1", "listenersets"),
        "Role" => ("rbac.authorization.k8s.io", "v1", "roles"),
        "RoleBinding" => ("rbac.authorization.k8s.io", "v1", "rolebindings"),
        "ClusterRole" => ("rbac.authorization.k8s.io", "v1", "clusterroles"),
        "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
        "SubjectAccessReview" => ("authorization.k8s.io", "v1", "subjectaccessreviews"),
        "ValidatingAdmissionPolicy" => ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"),
        "ValidatingAdmissionPolicyBinding" => ("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings"),
        "Certificate" => ("cert-manager.io", "v1", "certificates"),
        "Lease" => ("coordination.k8s.io", "v1", "leases"),
        "Event" => ("events.k8s.io", "v1", "events"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
        other => panic!("tests/support/kinds.rs doesn't know the kind {other}"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}
