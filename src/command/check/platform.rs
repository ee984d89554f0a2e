//! Whether the cluster and the operator in it are as they have to be.

use super::{Wrong, unknown, wrong};
use crate::command::installation::Installation;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::IngressClass;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeSet;
use tenantry::api::{custom_resource_definitions, labels};

/// The first version of Kubernetes that has all that is used.
const OLDEST: (u32, u32) = (1, 30);
/// A clock may be so many seconds off before Leases and certificates suffer.
const CLOCK: i64 = 5;
/// What mends a right that is lacking.
const MEND_RIGHTS: &str = "helm upgrade, or kubectl apply --server-side -k config/rbac";
/// The policies of config/admission.
const POLICIES: [&str; 11] = [
    "tenantry-definitions",
    "tenantry-guard-rails",
    "tenantry-marks",
    "tenantry-operator-namespaces",
    "tenantry-operator-rolebindings",
    "tenantry-pods",
    "tenantry-protected-tenants",
    "tenantry-routes",
    "tenantry-scheduled-deletions",
    "tenantry-services",
    "tenantry-tenant-namespaces",
];
/// The operator's rights, as they are installed.
const RIGHTS: &str = include_str!("../../../config/rbac/operator.yaml");
/// So many rights are asked for at once.
const ASKED_AT_ONCE: usize = 16;

pub async fn version(client: &Client) -> Result<Result<String, Wrong>, kube::Error> {
    let found = client.apiserver_version().await?;
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or_default();
    let is = (number(&found.major), number(&found.minor));
    if is >= OLDEST {
        return Ok(Ok(format!("version {}.{}", is.0, is.1)));
    }
    let why = format!("version {}.{} lacks what is used; it takes {}.{} or later", is.0, is.1, OLDEST.0, OLDEST.1);
    Ok(Err(wrong(why, "upgrade the cluster", "docs/install.md#what-is-needed")))
}

pub async fn clock(client: &Client) -> Result<String, Wrong> {
    let request = http::Request::get("/version").body(Vec::new()).map_err(kube::Error::HttpError).map_err(unknown)?;
    let answer = client.send(request.map(kube::client::Body::from)).await.map_err(unknown)?;
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let theirs = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
    let Some(theirs) = theirs else { return Ok("the API server doesn't say".to_owned()) };
    let off = jiff::Timestamp::now().duration_since(theirs).as_secs();
    if off.abs() <= CLOCK {
        return Ok("this machine's is the API server's".to_owned());
    }
    let why = format!("this machine's clock and the API server's are {} s apart", off.abs());
    Err(wrong(why, "set both by NTP", "docs/command-line.md"))
}

pub async fn way_in(client: &Client) -> Result<String, Wrong> {
    let classes = Api::<IngressClass>::all(client.clone()).list(&ListParams::default()).await.map_err(unknown)?;
    let names: Vec<_> = classes.items.iter().map(ResourceExt::name_any).collect();
    let groups = client.list_api_groups().await.map_err(unknown)?;
    let has_gateways = groups.groups.iter().any(|group| group.name == "gateway.networking.k8s.io");
    match (names.is_empty(), has_gateways) {
        (true, false) => Err(wrong(
            "there is neither an IngressClass nor the Gateway API",
            "install an ingress controller, or a Gateway",
            "docs/install.md#what-is-needed",
        )),
        (true, true) => Ok("the Gateway API".to_owned()),
        (false, has_gateways) => Ok(format!("IngressClass {}{}", names.join(", "), if has_gateways { ", the Gateway API" } else { "" })),
    }
}

/// Whether the caller may install it.
pub async fn own_rights(client: &Client) -> Result<String, Wrong> {
    let needed = [
        ("create", "apiextensions.k8s.io", "customresourcedefinitions"),
        ("create", "rbac.authorization.k8s.io", "clusterroles"),
        ("create", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("create", "", "namespaces"),
    ];
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut lacking = Vec::new();
    for (verb, group, resource) in needed {
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes(verb, group, resource, "")), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let review = reviews.create(&PostParams::default(), &review).await.map_err(unknown)?;
        if !review.status.is_some_and(|status| status.allowed) {
            lacking.push(format!("{verb} {resource}"));
        }
    }
    if lacking.is_empty() {
        return Ok("you may install it".to_owned());
    }
    let why = format!("you may not {}", lacking.join(", "));
    Err(wrong(why, "ask for cluster-admin, which it takes once", "docs/install.md#what-is-needed"))
}

fn attributes(verb: &str, group: &str, resource: &str, subresource: &str) -> ResourceAttributes {
    ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
        ..ResourceAttributes::default()
    }
}

/// Whether the cluster has the definitions that this program has.
pub async fn definitions(client: &Client) -> Result<String, Wrong> {
    const MEND: &str = "tenantry crd | kubectl apply --server-side -f -";
    const PAGE: &str = "docs/install.md#3-what-is-installed";
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for wanted in custom_resource_definitions() {
        let name = wanted.name_any();
        let Some(found) = api.get_opt(&name).await.map_err(unknown)? else {
            return Err(wrong(format!("{name} isn't installed"), MEND, PAGE));
        };
        let conditions = found.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        if !conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            return Err(wrong(format!("{name} isn't established"), format!("kubectl describe crd {name}"), PAGE));
        }
        let properties = |definition: &CustomResourceDefinition| serde_json::to_value(&definition.spec.versions).unwrap_or_default();
        if !is_within(&properties(&wanted), &properties(&found)) {
            return Err(wrong(format!("{name} is of another version than this program"), MEND, PAGE));
        }
    }
    Ok("all are installed, and of this program's version".to_owned())
}

/// Whether all of this is so there; the API server adds defaults.
fn is_within(wanted: &serde_json::Value, found: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Object};
    match (wanted, found) {
        (Object(wanted), Object(found)) => wanted
            .iter()
            .filter(|(_, value)| !value.is_null())
            .all(|(key, value)| found.get(key).is_some_and(|found| is_within(value, found))),
        (Array(wanted), Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| is_within(wanted, found))
        }
        (wanted, found) => wanted == found,
    }
}

pub async fn account(client: &Client, installation: &Installation) -> Result<String, Wrong> {
    let Installation { namespace, service_account } = installation;
    let found = Api::<ServiceAccount>::namespaced(client.clone(), namespace).get_opt(service_account).await.map_err(unknown)?;
    let role = Api::<ClusterRole>::all(client.clone()).get_opt("tenantry-instance").await.map_err(unknown)?;
    let why = match (found, role) {
        (None, _) => format!("there is no ServiceAccount {namespace}/{service_account}"),
        (_, None) => "there is no ClusterRole tenantry-instance, by which the operator is let into a tenant's namespace".to_owned(),
        (_, Some(role)) if role.rules.as_ref().is_none_or(Vec::is_empty) => {
            "ClusterRole tenantry-instance has no rules, so the operator may do nothing in a tenant's namespace".to_owned()
        }
        (Some(_), Some(_)) => return Ok(format!("ServiceAccount {namespace}/{service_account}")),
    };
    Err(wrong(why, MEND_RIGHTS, "docs/install.md#3-what-is-installed"))
}

/// Whether the operator may do what it does.
pub async fn rights(client: &Client, installation: &Installation) -> Result<String, Wrong> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let user = format!("system:serviceaccount:{}:{}", installation.namespace, installation.service_account);
    let ask = async |asked: ResourceAttributes| {
        let spec = SubjectAccessReviewSpec {
            user: Some(user.clone()),
            groups: Some(vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()]),
            resource_attributes: Some(asked.clone()),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let review = reviews.create(&PostParams::default(), &review).await?;
        Ok::<_, kube::Error>((!review.status.is_some_and(|status| status.allowed)).then(|| in_words(&asked)))
    };
    let asked: Vec<_> = rights_of(RIGHTS, &installation.namespace);
    let answers = futures::stream::iter(asked.into_iter().map(ask)).buffer_unordered(ASKED_AT_ONCE);
    let lacking: BTreeSet<_> = answers.try_filter_map(async |lacking| Ok(lacking)).try_collect().await.map_err(unknown)?;
    if lacking.is_empty() {
        return Ok("it may do what it does".to_owned());
    }
    let few: Vec<_> = lacking.iter().take(5).map(String::as_str).collect();
    let more = if lacking.len() > few.len() { format!(" and {} more", lacking.len() - few.len()) } else { String::new() };
    Err(wrong(format!("{user} may not {}{more}", few.join(", ")), MEND_RIGHTS, "docs/install.md#3-what-is-installed"))
}

/// All that the roles of this manifest allow.
fn rights_of(manifest: &str, namespace: &str) -> Vec<ResourceAttributes> {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(manifest).unwrap_or_default();
    let mut all = Vec::new();
    for role in documents.iter().filter(|document| document["kind"] == "ClusterRole" || document["kind"] == "Role") {
        let place = (role["kind"] == "Role").then(|| namespace.to_owned());
        for rule in role["rules"].as_array().into_iter().flatten() {
            let words = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
            for (group, resource) in words("apiGroups").flat_map(|group| words("resources").map(move |resource| (group, resource))) {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                all.extend(words("verbs").map(|verb| ResourceAttributes {
                    namespace: place.clone(),
                    name: words("resourceNames").next().map(str::to_owned),
                    ..attributes(verb, group, resource, subresource)
                }));
            }
        }
    }
    all
}

/// A right, as people say it.
fn in_words(right: &ResourceAttributes) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let subresource = right.subresource.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
    let place = right.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    format!("{} {}{subresource}{place}", text(&right.verb), text(&right.resource))
}

pub async fn policies(client: &Client) -> Result<String, Wrong> {
    let policies = Api::<ValidatingAdmissionPolicy>::all(client.clone()).list(&ListParams::default()).await.map_err(unknown)?;
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()).list(&ListParams::default()).await.map_err(unknown)?;
    let is_there = |name: &str| policies.items.iter().any(|policy| policy.name_any() == name);
    let is_bound = |name: &str| bindings.items.iter().any(|binding| binding.spec.policy_name == name);
    let missing: Vec<_> = POLICIES.into_iter().filter(|name| !is_there(name) || !is_bound(name)).collect();
    if missing.is_empty() {
        return Ok(format!("all {} are in force", POLICIES.len()));
    }
    let why =
        format!("{} not in force, so the operator, or a tenant's people, may more than they should: {}", missing.len(), missing.join(", "));
    Err(wrong(why, "helm upgrade, or kubectl apply --server-side -k config/admission", "docs/install.md#3-what-is-installed"))
}

/// Whether an operator holds a Lease of now.
pub async fn operator(client: &Client, installation: &Installation) -> Result<String, Wrong> {
    let leases = Api::<Lease>::namespaced(client.clone(), &installation.namespace).list(&ListParams::default()).await.map_err(unknown)?;
    let now = jiff::Timestamp::now();
    let is_fresh = |lease: &&Lease| {
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let lasts = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(15);
        renewed.is_some_and(|renewed| now.duration_since(renewed).as_secs() <= i64::from(lasts))
    };
    let holders: BTreeSet<_> = (leases.items.iter().filter(|lease| lease.name_any().starts_with(labels::MANAGER)).filter(is_fresh))
        .filter_map(|lease| lease.spec.as_ref()?.holder_identity.clone())
        .filter(|holder| !holder.is_empty())
        .collect();
    if holders.is_empty() {
        let mend = format!("kubectl get pods -n {} and look at their logs", installation.namespace);
        return Err(wrong("no operator is at work: nobody holds its Lease", mend, "docs/install.md#3-what-is-installed"));
    }
    Ok(format!("at work: {}", holders.into_iter().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_right_of_the_operator_is_asked_for() {
        let all: Vec<_> = rights_of(RIGHTS, "here").iter().map(in_words).collect();
        for right in [
            "watch tenants",
            "patch tenants/status",
            "create namespaces",
            "bind clusterroles",
            "get secrets in here",
            "update leases in here",
        ] {
            assert!(all.iter().any(|known| known == right), "{right} is missing: {all:?}");
        }
        assert!(!all.iter().any(|right| right == "get secrets"), "only in its own namespace");
    }

    #[test]
    fn every_policy_of_the_installation_is_looked_for() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/admission");
        let mut names = BTreeSet::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
            let is_policy = |document: &&serde_json::Value| document["kind"] == "ValidatingAdmissionPolicy";
            names.extend(documents.iter().filter(is_policy).map(|document| document["metadata"]["name"].as_str().unwrap().to_owned()));
        }
        assert_eq!(names, POLICIES.map(str::to_owned).into());
    }

    #[test]
    fn defaults_of_the_api_server_make_no_other_version() {
        use serde_json::json;
        assert!(is_within(&json!({"a": [1, {"b": null}]}), &json!({"a": [1, {"c": 2}], "d": 3})));
        assert!(!is_within(&json!({"a": [1]}), &json!({"a": [1, 2]})));
    }
}
