//! `kubectl tenantry check`: whether everything that the operator needs is there, each failure with the command that mends it.

use super::cluster::Cluster;
use super::terminal::Style;
use super::{Failure, NOT_READY, note, print};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::IngressClass;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeSet;
use std::process::ExitCode;
use tenantry::api::blueprint::ParentRef;
use tenantry::api::conditions::READY;
use tenantry::api::{Blueprint, DatabaseServer, Tenant, custom_resource_definitions, labels};
use tenantry::inspect::State;

/// The first version of Kubernetes that has all that is used.
const OLDEST: (u32, u32) = (1, 30);
/// A clock may be so many seconds off before Leases and certificates suffer.
const CLOCK: i64 = 5;
/// What mends a right that is lacking.
const MEND_RIGHTS: &str = "helm upgrade, or kubectl apply --server-side -k config/rbac";
/// The policies of config/admission.
const POLICIES: [&str; 9] = [
    "tenantry-guard-rails",
    "tenantry-marks",
    "tenantry-operator-namespaces",
    "tenantry-operator-rolebindings",
    "tenantry-pods",
    "tenantry-protected-tenants",
    "tenantry-routes",
    "tenantry-services",
    "tenantry-tenant-namespaces",
];
/// The operator's rights, as they are installed.
const RIGHTS: &str = include_str!("../../config/rbac/operator.yaml");
/// So many rights are asked for at once.
const ASKED_AT_ONCE: usize = 16;

/// Options of `kubectl tenantry check`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit codes: 0 all is well, 1 something has to be mended.

Examples:
  kubectl tenantry check --pre    before anything is installed
  kubectl tenantry check")]
pub struct Options {
    /// Only what has to be so before the operator is installed.
    #[arg(long)]
    pre: bool,
    /// The namespace of the operator.
    #[arg(short = 'n', long, value_name = "NAME", default_value = "tenantry-system")]
    namespace: String,
    /// The ServiceAccount of the operator.
    #[arg(long, value_name = "NAME", default_value = "tenantry-operator")]
    service_account: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// What came of one check.
pub struct Found {
    /// What was looked at.
    what: String,
    /// What was found, where all is well; else what is wrong.
    outcome: Result<String, Wrong>,
}

/// What is wrong.
pub struct Wrong {
    why: String,
    /// The command, or what else mends it.
    mend: String,
    /// Where the documentation says more.
    page: &'static str,
}

fn wrong(why: impl Into<String>, mend: impl Into<String>, page: &'static str) -> Wrong {
    Wrong { why: why.into(), mend: mend.into(), page }
}

/// Looks at everything, and prints what it found.
pub async fn check(options: Options) -> Result<ExitCode, Failure> {
    let client = options.cluster.client().await?;
    let mut all = Vec::new();
    let mut add = |what: &str, outcome| all.push(Found { what: what.to_owned(), outcome });
    match version(&client).await {
        Ok(outcome) => add("Kubernetes", outcome),
        // Without an answer nothing else can be told.
        Err(error) => return Err(format!("the API server doesn't answer: {error}").into()),
    }
    add("clock", clock(&client).await);
    add("visitors' way in", way_in(&client).await);
    if options.pre {
        add("your rights", own_rights(&client).await);
    } else {
        add("resources", definitions(&client).await);
        let account = account(&client, &options).await;
        // Who isn't there may do nothing, and that is said already.
        let rights = if account.is_ok() { Some(rights(&client, &options).await) } else { None };
        add("operator's account", account);
        rights.into_iter().for_each(|rights| add("operator's rights", rights));
        add("admission policies", policies(&client).await);
        add("operator", operator(&client, &options).await);
        all.extend(servers(&client).await);
        all.extend(blueprints(&client, &options).await);
        all.push(Found { what: "tenants".to_owned(), outcome: tenants(&client).await });
    }
    print(&screen(&all, Style::of_output()))?;
    let failed = all.iter().filter(|found| found.outcome.is_err()).count();
    if failed > 0 {
        note(&format!("{failed} of {} checks failed", all.len()));
        return Ok(NOT_READY.into());
    }
    note(if options.pre { "next: install it, as docs/install.md says" } else { "next: kubectl tenantry list" });
    Ok(ExitCode::SUCCESS)
}

/// A line for each check; below one that failed, what mends it.
fn screen(all: &[Found], style: Style) -> String {
    let line = |found: &Found| match &found.outcome {
        Ok(is) => format!("{}: {is}\n", style.state(State::Ready, &found.what)),
        Err(Wrong { why, mend, page }) => {
            format!("{}: {why}\n    mend it: {mend}\n    see {page}\n", style.state(State::Stalled, &found.what))
        }
    };
    all.iter().map(line).collect()
}

/// What couldn't be looked at.
fn unknown(error: kube::Error) -> Wrong {
    wrong(format!("it can't be looked at: {error}"), "run this as somebody who may read it, such as with --as", "docs/command-line.md")
}

async fn version(client: &Client) -> Result<Result<String, Wrong>, kube::Error> {
    let found = client.apiserver_version().await?;
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or_default();
    let is = (number(&found.major), number(&found.minor));
    if is >= OLDEST {
        return Ok(Ok(format!("version {}.{}", is.0, is.1)));
    }
    let why = format!("version {}.{} lacks what is used; it takes {}.{} or later", is.0, is.1, OLDEST.0, OLDEST.1);
    Ok(Err(wrong(why, "upgrade the cluster", "docs/install.md#what-is-needed")))
}

async fn clock(client: &Client) -> Result<String, Wrong> {
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

async fn way_in(client: &Client) -> Result<String, Wrong> {
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
async fn own_rights(client: &Client) -> Result<String, Wrong> {
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
async fn definitions(client: &Client) -> Result<String, Wrong> {
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

async fn account(client: &Client, options: &Options) -> Result<String, Wrong> {
    let Options { namespace, service_account, .. } = options;
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
async fn rights(client: &Client, options: &Options) -> Result<String, Wrong> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let user = format!("system:serviceaccount:{}:{}", options.namespace, options.service_account);
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
    let asked: Vec<_> = rights_of(RIGHTS, &options.namespace);
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

async fn policies(client: &Client) -> Result<String, Wrong> {
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
async fn operator(client: &Client, options: &Options) -> Result<String, Wrong> {
    let leases = Api::<Lease>::namespaced(client.clone(), &options.namespace).list(&ListParams::default()).await.map_err(unknown)?;
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
        let mend = format!("kubectl get pods -n {} and look at their logs", options.namespace);
        return Err(wrong("no operator is at work: nobody holds its Lease", mend, "docs/install.md#3-what-is-installed"));
    }
    Ok(format!("at work: {}", holders.into_iter().collect::<Vec<_>>().join(", ")))
}

async fn servers(client: &Client) -> Vec<Found> {
    const PAGE: &str = "docs/database.md#what-the-operator-needs";
    let all = match Api::<DatabaseServer>::all(client.clone()).list(&ListParams::default()).await {
        Ok(all) => all.items,
        Err(error) => return vec![Found { what: "database servers".to_owned(), outcome: Err(unknown(error)) }],
    };
    let outcome = |server: &DatabaseServer| {
        let status = server.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
        match ready {
            Some(ready) if ready.status == "True" => {
                Ok(format!("Postgres {}, {} tenants", status.server_version.unwrap_or_default(), status.tenants))
            }
            Some(ready) => Err(wrong(
                format!("{}: {}", ready.reason, ready.message),
                format!("kubectl describe databaseserver {}", server.name_any()),
                PAGE,
            )),
            None => Err(wrong("no operator has looked at it", "see the check of the operator above", PAGE)),
        }
    };
    all.iter().map(|server| Found { what: format!("database server {}", server.name_any()), outcome: outcome(server) }).collect()
}

async fn blueprints(client: &Client, options: &Options) -> Vec<Found> {
    let all = match Api::<Blueprint>::all(client.clone()).list(&ListParams::default()).await {
        Ok(all) => all.items,
        Err(error) => return vec![Found { what: "blueprints".to_owned(), outcome: Err(unknown(error)) }],
    };
    let mut found = Vec::new();
    for blueprint in &all {
        let outcome = needs_of(client, blueprint, &options.namespace).await;
        found.push(Found { what: format!("blueprint {}", blueprint.name_any()), outcome });
    }
    found
}

/// Whether what a blueprint names is there.
async fn needs_of(client: &Client, blueprint: &Blueprint, namespace: &str) -> Result<String, Wrong> {
    const PAGE: &str = "docs/install.md#5-a-product";
    if let Some(name) = &blueprint.spec.image.pull_secret {
        let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_metadata_opt(name).await.map_err(unknown)?;
        if secret.is_none() {
            let mend = format!("kubectl create secret docker-registry {name} -n {namespace} --docker-server=… --docker-username=…");
            return Err(wrong(format!("its pull secret {name} isn't in namespace {namespace}"), mend, PAGE));
        }
    }
    if let Some(class) = blueprint.spec.ingress.as_ref().and_then(|ingress| ingress.class_name.as_ref()) {
        let found = Api::<IngressClass>::all(client.clone()).get_opt(class).await.map_err(unknown)?;
        if found.is_none() {
            let mend = format!("install the ingress controller of class {class}, or name another in spec.ingress.className");
            return Err(wrong(format!("there is no IngressClass {class}"), mend, PAGE));
        }
    }
    issuer(client, blueprint).await?;
    gateway(client, blueprint).await?;
    // RFC 6761: such names never leave the machine, and browsers need no DNS for them.
    if blueprint.spec.base_domain.ends_with(".localhost") {
        return Ok("what it names is there; .localhost needs no DNS".to_owned());
    }
    let host = format!("tenantry-check.{}", blueprint.spec.base_domain);
    let resolves = tokio::net::lookup_host((host.as_str(), 443)).await.is_ok_and(|mut addresses| addresses.next().is_some());
    if !resolves {
        let why = format!("{host} doesn't resolve here, so new tenants may not be reached");
        return Err(wrong(why, format!("a DNS record for *.{} that leads to the ingress controller", blueprint.spec.base_domain), PAGE));
    }
    Ok(format!("*.{} resolves, and what it names is there", blueprint.spec.base_domain))
}

/// Whether certificates can come from where the blueprint says.
async fn issuer(client: &Client, blueprint: &Blueprint) -> Result<(), Wrong> {
    const PAGE: &str = "docs/install.md#what-is-needed";
    let of_ingress = blueprint.spec.ingress.as_ref().and_then(|ingress| ingress.tls.as_ref());
    let tls = of_ingress.or(blueprint.spec.gateway.as_ref().and_then(|gateway| gateway.tls.as_ref()));
    let Some(name) = tls.and_then(|tls| tls.cluster_issuer.as_ref()) else { return Ok(()) };
    let issuers: Api<DynamicObject> = Api::all_with(client.clone(), &resource("cert-manager.io", "ClusterIssuer", "clusterissuers"));
    match find(&issuers, name).await? {
        Some(issuer) => ready(&issuer, "Ready").map_err(|why| {
            wrong(format!("ClusterIssuer {name} isn't ready: {why}"), format!("kubectl describe clusterissuer {name}"), PAGE)
        }),
        None => {
            let why = format!("its certificates come from ClusterIssuer {name}, and there is none");
            Err(wrong(why, "install cert-manager and create it, or name another in tls.clusterIssuer", PAGE))
        }
    }
}

/// Whether the Gateway that the blueprint names is there, and at work.
async fn gateway(client: &Client, blueprint: &Blueprint) -> Result<(), Wrong> {
    const PAGE: &str = "docs/install.md#what-is-needed";
    let Some(gateway) = &blueprint.spec.gateway else { return Ok(()) };
    let ParentRef { name, namespace, .. } = &gateway.parent_ref;
    let gateways: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource("gateway.networking.k8s.io", "Gateway", "gateways"));
    match find(&gateways, name).await? {
        Some(found) => ready(&found, "Programmed").map_err(|why| {
            let mend = format!("kubectl describe gateway {name} -n {namespace}, and see that its controller runs");
            wrong(format!("Gateway {namespace}/{name} isn't at work: {why}"), mend, PAGE)
        }),
        None => {
            let why = format!("its routes belong to Gateway {namespace}/{name}, and there is none");
            Err(wrong(why, "install a controller of the Gateway API and create it, or name another in gateway.parentRef", PAGE))
        }
    }
}

/// The object; none also where the cluster doesn't know the kind, which the API server says in other words.
async fn find(api: &Api<DynamicObject>, name: &str) -> Result<Option<DynamicObject>, Wrong> {
    match api.get_opt(name).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        found => found.map_err(unknown),
    }
}

/// A kind of others, at the version that all of them have.
fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{group}/v1"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Why a condition isn't true, where it isn't.
fn ready(object: &DynamicObject, kind: &str) -> Result<(), String> {
    let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    match conditions.iter().find(|condition| condition["type"] == kind) {
        Some(condition) if condition["status"] == "True" => Ok(()),
        Some(condition) => Err(condition["message"].as_str().unwrap_or("it doesn't say why").to_owned()),
        None => Err("nobody has looked at it".to_owned()),
    }
}

async fn tenants(client: &Client) -> Result<String, Wrong> {
    let all: Vec<Tenant> = super::list::all(client, None).await.map_err(|error| {
        wrong(format!("they can't be listed: {error}"), "run this as somebody who may read Tenants", "docs/command-line.md")
    })?;
    let stalled: Vec<_> = all.iter().filter(|tenant| State::of(tenant) == State::Stalled).map(ResourceExt::name_any).collect();
    match stalled.first() {
        None => Ok(format!("{}, none of which needs somebody", all.len())),
        Some(first) => Err(wrong(
            format!("{} of {} need somebody: {}", stalled.len(), all.len(), stalled.iter().take(5).cloned().collect::<Vec<_>>().join(", ")),
            format!("kubectl tenantry why {first}"),
            "docs/operations.md#conditions-of-a-tenant",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_mends_it_and_where_to_read_on() {
        let all = [
            Found { what: "Kubernetes".to_owned(), outcome: Ok("version 1.37".to_owned()) },
            Found { what: "clock".to_owned(), outcome: Err(wrong("40 s apart", "set both by NTP", "docs/command-line.md")) },
        ];
        insta::assert_snapshot!(screen(&all, Style::default()), @r"
        ✓ Kubernetes: version 1.37
        ✗ clock: 40 s apart
            mend it: set both by NTP
            see docs/command-line.md
        ");
    }

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
    fn every_page_that_is_named_is_there() {
        let pages = regex::Regex::new(r"docs/([a-z-]+\.md)(?:#([a-z0-9-]+))?").unwrap();
        let mut seen = 0;
        for found in pages.captures_iter(include_str!("check.rs")) {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(&found[1]);
            let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            // As GitHub and mdBook name a heading.
            let name = |heading: &str| {
                let kept = heading.trim_matches(['#', ' ']).chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
                kept.collect::<String>().to_lowercase().replace(' ', "-")
            };
            let is_there = |anchor: &str| page.lines().any(|line| line.starts_with('#') && name(line) == anchor);
            assert!(found.get(2).is_none_or(|anchor| is_there(anchor.as_str())), "{} is nowhere", &found[0]);
            seen += 1;
        }
        assert!(seen > 10, "{seen} pages");
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
