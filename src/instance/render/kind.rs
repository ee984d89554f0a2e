//! Kinds of Kubernetes objects: those that every instance has, and those that an admin allows as extras.

use crate::instance::names::is_dns_subdomain;
use kube::core::ApiResource;
use std::borrow::Cow;
use std::str::FromStr;

/// A kind, and how the API calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// The group; empty for the core group.
    pub group: Cow<'static, str>,
    /// The version.
    pub version: Cow<'static, str>,
    /// The kind, such as `Deployment`.
    pub kind: Cow<'static, str>,
    /// Its name in paths, such as `deployments`.
    pub plural: Cow<'static, str>,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group: Cow::Borrowed(group), version: Cow::Borrowed(version), kind: Cow::Borrowed(kind), plural: Cow::Borrowed(plural) }
}

#[allow(missing_docs)]
impl Kind {
    pub const NAMESPACE: Self = kind("", "v1", "Namespace", "namespaces");
    pub const ROLE_BINDING: Self = kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
    pub const RESOURCE_QUOTA: Self = kind("", "v1", "ResourceQuota", "resourcequotas");
    pub const LIMIT_RANGE: Self = kind("", "v1", "LimitRange", "limitranges");
    pub const NETWORK_POLICY: Self = kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies");
    pub const SERVICE_ACCOUNT: Self = kind("", "v1", "ServiceAccount", "serviceaccounts");
    pub const SECRET: Self = kind("", "v1", "Secret", "secrets");
    pub const CONFIG_MAP: Self = kind("", "v1", "ConfigMap", "configmaps");
    pub const SERVICE: Self = kind("", "v1", "Service", "services");
    pub const DEPLOYMENT: Self = kind("apps", "v1", "Deployment", "deployments");
    pub const HORIZONTAL_POD_AUTOSCALER: Self = kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers");
    pub const POD_DISRUPTION_BUDGET: Self = kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");
    pub const INGRESS: Self = kind("networking.k8s.io", "v1", "Ingress", "ingresses");
    pub const HTTP_ROUTE: Self = kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
    pub const LISTENER_SET: Self = kind("gateway.networking.k8s.io", "v1", "ListenerSet", "listenersets");
    pub const JOB: Self = kind("batch", "v1", "Job", "jobs");
}

impl Kind {
    /// The kinds that are watched wherever the operator runs. Secrets are not among them: it may read them only where a tenant lives. The kinds
    /// of the Gateway API are watched where the cluster knows them.
    pub const WATCHED: [Self; 15] = [
        Self::NAMESPACE,
        Self::ROLE_BINDING,
        Self::RESOURCE_QUOTA,
        Self::LIMIT_RANGE,
        Self::NETWORK_POLICY,
        Self::SERVICE_ACCOUNT,
        Self::CONFIG_MAP,
        Self::SERVICE,
        Self::DEPLOYMENT,
        Self::HORIZONTAL_POD_AUTOSCALER,
        Self::POD_DISRUPTION_BUDGET,
        Self::INGRESS,
        Self::JOB,
        Self::HTTP_ROUTE,
        Self::LISTENER_SET,
    ];

    /// Group and version as a manifest writes them.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// As kube's dynamic API wants it.
    pub fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_string(),
            version: self.version.to_string(),
            api_version: self.api_version(),
            kind: self.kind.to_string(),
            plural: self.plural.to_string(),
        }
    }

    /// Whether objects of the kind are in no namespace. Of ours, only the namespace itself.
    pub fn is_cluster_scoped(&self) -> bool {
        *self == Self::NAMESPACE
    }
}

/// Why a text names no kind that may be allowed as an extra.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindParseError {
    /// It has another form.
    #[error("{0:?} is not of the form GROUP/VERSION/KIND or GROUP/VERSION/KIND/PLURAL, such as monitoring.coreos.com/v1/PodMonitor")]
    Form(String),
    /// It would give a blueprint rights that guard the cluster.
    #[error("{0} can't be an extra, because tenants' isolation rests on it")]
    Forbidden(String),
}

impl FromStr for Kind {
    type Err = KindParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || KindParseError::Form(text.to_owned());
        let parts: Vec<_> = text.split('/').collect();
        let (group, version, kind, plural) = match parts.as_slice() {
            ["v1", kind] => ("", "v1", *kind, None),
            [group, version, kind] => (*group, *version, *kind, None),
            [group, version, kind, plural] => (*group, *version, *kind, Some((*plural).to_owned())),
            _ => return Err(form()),
        };
        let letters = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        // They become parts of a path.
        if !(group.is_empty() || is_dns_subdomain(group)) || !letters(version) || !letters(kind) || !kind.starts_with(char::is_uppercase) {
            return Err(form());
        }
        let plural = plural.unwrap_or_else(|| plural_of(kind));
        if !plural.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) || plural.is_empty() {
            return Err(form());
        }
        // Above all by the plural, which is what a request goes to; the kind is only what the object says of itself.
        if [&plural, &plural_of(kind), &kind.to_ascii_lowercase()].iter().any(|name| is_guarded(group, name)) {
            return Err(KindParseError::Forbidden(text.to_owned()));
        }
        Ok(Self {
            group: Cow::Owned(group.to_owned()),
            version: Cow::Owned(version.to_owned()),
            kind: Cow::Owned(kind.to_owned()),
            plural: Cow::Owned(plural),
        })
    }
}

/// Whether isolation rests on these objects: who may act, how much a tenant may use, what its network lets through and where Services lead.
fn is_guarded(group: &str, plural: &str) -> bool {
    match group {
        "rbac.authorization.k8s.io"
        | "admissionregistration.k8s.io"
        | "apiextensions.k8s.io"
        | "apiregistration.k8s.io"
        | crate::api::GROUP => true,
        "" => matches!(
            plural,
            "namespaces"
                | "secrets"
                | "resourcequotas"
                | "limitranges"
                | "serviceaccounts"
                | "pods"
                | "nodes"
                | "endpoints"
                | "persistentvolumes"
        ),
        "discovery.k8s.io" => plural == "endpointslices",
        "networking.k8s.io" => plural == "networkpolicies",
        _ => false,
    }
}

/// English plurals as Kubernetes forms them. A kind that forms it otherwise is given with its plural.
fn plural_of(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    match lower.as_bytes() {
        [.., b's' | b'x'] | [.., b'c' | b's', b'h'] => format!("{lower}es"),
        [.., before, b'y'] if !b"aeiou".contains(before) => format!("{}ies", &lower[..lower.len() - 1]),
        _ => format!("{lower}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_from_its_path() {
        let kind: Kind = "monitoring.coreos.com/v1/PodMonitor".parse().unwrap();
        assert_eq!((kind.api_version().as_str(), kind.plural.as_ref()), ("monitoring.coreos.com/v1", "podmonitors"));
        assert_eq!("v1/ConfigMap".parse::<Kind>().unwrap().api_version(), "v1");
        assert_eq!("networking.k8s.io/v1/Ingress".parse::<Kind>().unwrap().plural, "ingresses");
        assert_eq!("cilium.io/v2/CiliumNetworkPolicy".parse::<Kind>().unwrap().plural, "ciliumnetworkpolicies");
    }

    #[test]
    fn what_isolation_rests_on_is_no_extra() {
        for text in [
            "rbac.authorization.k8s.io/v1/RoleBinding",
            "v1/Secret",
            "v1/Namespace",
            "networking.k8s.io/v1/NetworkPolicy",
            "tenantry.dev/v1alpha1/Tenant",
            "/v1/Harmless/secrets",
            "v1/Endpoints",
        ] {
            assert!(matches!(text.parse::<Kind>(), Err(KindParseError::Forbidden(_))), "{text}");
        }
        for text in ["PodMonitor", "v1/Harmless/../secrets", "example.com/v1/A/a?b", "example.com/v1/A/"] {
            assert!(matches!(text.parse::<Kind>(), Err(KindParseError::Form(_))), "{text}");
        }
    }
}
