//! Answers every question about an instance, or says which one has no answer.

use super::names::{Host, InvalidName, TenantName, Version, is_dns_subdomain, is_label_value};
use super::render::{Kind, Object, metadata};
use super::template::{TemplateError, Variables};
use super::{Component, Database, Instance, Migration, Routing, RoutingKind, Settings, Suspension, digest, quantity, render, sizing};
use crate::api::blueprint::{BlueprintSpec, ExtraMetadata, Isolation};
use crate::api::labels;
use crate::api::plan::PlanSpec;
use crate::api::release::ReleaseImage;
use crate::api::shared::{Peer, Replicas};
use crate::api::{DatabaseServer, Tenant};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Why there is no instance yet. Each needs a person, and the text says what that person can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A name that the schema should have refused.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The tenant's own host would be no host.
    #[error("the address {host} is not possible, because {cause}: choose a shorter name for the tenant")]
    InvalidHost {
        /// The host.
        host: String,
        /// What is wrong.
        cause: InvalidName,
    },
    /// A setting that the blueprint doesn't have, or keeps to itself.
    #[error("spec.settings.{name} can't be set by a tenant of blueprint {blueprint}; these can: {allowed}")]
    SettingNotAllowed {
        /// The setting.
        name: String,
        /// The blueprint.
        blueprint: String,
        /// Those that may be set.
        allowed: String,
    },
    /// A component that the blueprint doesn't have.
    #[error("spec.components.{name} is no component of blueprint {blueprint}; these are: {known}")]
    UnknownComponent {
        /// The component.
        name: String,
        /// The blueprint.
        blueprint: String,
        /// Those that it has.
        known: String,
    },
    /// More or fewer pods than the plan allows.
    #[error("spec.components.{name}.replicas asks for {asked}, but plan {plan} allows {allowed}: stay within it, or choose another plan")]
    ReplicasOutOfBounds {
        /// The component.
        name: String,
        /// The plan.
        plan: String,
        /// What was asked for.
        asked: String,
        /// What is allowed.
        allowed: String,
    },
    /// Several pods of a component that may have only one.
    #[error("component {name} is a singleton, so it runs as one pod: the {owner} asks for {asked}")]
    SingletonScaled {
        /// The component.
        name: String,
        /// Who asks.
        owner: &'static str,
        /// What was asked for.
        asked: String,
    },
    /// An autoscaler that could never tell how busy its pods are.
    #[error(
        "component {name} is to have {range} pods by its use of CPU, but plan {plan} has no request for CPU to measure it by: add cpu to defaults.resources.requests of the plan"
    )]
    AutoscalerNeedsRequest {
        /// The component.
        name: String,
        /// The plan.
        plan: String,
        /// Between how many pods.
        range: String,
    },
    /// A quota in which an update would get stuck.
    #[error(
        "plan {plan}: its quota for {resource} is {quota}, but an instance at its largest needs {needed} while it is updated, when each component has one more pod and the migration runs: raise the quota, or lower replicas or resources"
    )]
    QuotaTooSmall {
        /// The plan.
        plan: String,
        /// What is counted.
        resource: String,
        /// How much there is.
        quota: String,
        /// How much it takes.
        needed: String,
    },
    /// The manifest of a former tenant, which Git has brought back.
    #[error(
        "spec.deletion.at is {}, which was before this Tenant was made, so it was meant for a former one of its name, and nothing is done: take it away, or take the whole manifest out of Git", .at.0
    )]
    DeletionBeforeCreation {
        /// When it was to be deleted.
        at: Time,
    },
    /// Two sources of one environment variable.
    #[error("blueprint {blueprint} sets the environment variable {name} twice, as {first} and as {second}: rename one")]
    VariableTwice {
        /// The blueprint.
        blueprint: String,
        /// The variable.
        name: String,
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// An expression of a template fails.
    #[error("blueprint {blueprint}, {what}: {cause}")]
    TemplateFailed {
        /// The blueprint.
        blueprint: String,
        /// Which part of it.
        what: String,
        /// What fails.
        cause: TemplateError,
    },
    /// An extra of a kind that the operator was not started with.
    #[error(
        "blueprint {blueprint}, extras[{index}]: {kind} of {api_version} is not among the kinds that this operator may make: an admin can allow it with --extra-kind"
    )]
    ExtraKindNotAllowed {
        /// The blueprint.
        blueprint: String,
        /// Which one.
        index: usize,
        /// Its kind.
        kind: String,
        /// Its group and version.
        api_version: String,
    },
    /// An extra that came out as no object.
    #[error("blueprint {blueprint}, extras[{index}]: {cause}")]
    ExtraInvalid {
        /// The blueprint.
        blueprint: String,
        /// Which one.
        index: usize,
        /// What is wrong.
        cause: String,
    },
}

impl ResolveError {
    /// The CamelCase reason for a condition: the variant's name.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidName(_) => "InvalidName",
            Self::InvalidHost { .. } => "InvalidHost",
            Self::SettingNotAllowed { .. } => "SettingNotAllowed",
            Self::UnknownComponent { .. } => "UnknownComponent",
            Self::ReplicasOutOfBounds { .. } => "ReplicasOutOfBounds",
            Self::SingletonScaled { .. } => "SingletonScaled",
            Self::AutoscalerNeedsRequest { .. } => "AutoscalerNeedsRequest",
            Self::QuotaTooSmall { .. } => "QuotaTooSmall",
            Self::DeletionBeforeCreation { .. } => "DeletionBeforeCreation",
            Self::VariableTwice { .. } => "VariableTwice",
            Self::TemplateFailed { .. } => "TemplateFailed",
            Self::ExtraKindNotAllowed { .. } => "ExtraKindNotAllowed",
            Self::ExtraInvalid { .. } => "ExtraInvalid",
        }
    }
}

/// All that an instance is made from.
pub struct Inputs<'a> {
    /// The tenant.
    pub tenant: &'a Tenant,
    /// The blueprint's name.
    pub blueprint_name: &'a str,
    /// The blueprint as it stands for this tenant.
    pub blueprint: &'a BlueprintSpec,
    /// The version; the one that the blueprint names, where there is none.
    pub version: Option<&'a str>,
    /// The image of that version, where it isn't the blueprint's with the version as its tag.
    pub image: Option<&'a ReleaseImage>,
    /// The plan.
    pub plan: &'a PlanSpec,
    /// The server that the tenant is placed on, where the blueprint has a database.
    pub server: Option<&'a DatabaseServer>,
    /// The operator's own settings.
    pub settings: &'a Settings,
    /// Now; a trial ends by it.
    pub now: &'a Time,
}

/// The instance that the inputs describe.
///
/// # Errors
/// The first question that has no answer.
pub fn resolve(inputs: &Inputs<'_>) -> Result<Instance, ResolveError> {
    let Inputs { tenant, blueprint, plan, .. } = *inputs;
    let spec = &tenant.spec;
    let name = TenantName::parse(tenant.name_any())?;
    let version = Version::parse(inputs.version.unwrap_or(&blueprint.version))?;
    let hosts = hosts(tenant, &blueprint.base_domain)?;
    let components = components(inputs)?;
    let routing = routing(blueprint, &hosts, &components);
    let database = database(inputs, &name);
    let environment = environment(inputs, &hosts, routing.as_ref())?;
    let uid = tenant.uid().unwrap_or_default();
    let migration = blueprint.migrate.as_ref().map(|migrate| Migration {
        command: migrate.command.clone(),
        timeout_seconds: migrate.timeout_seconds,
        retries: migrate.retries,
        key: migration_key(inputs, &version, &migrate.command, &uid),
    });
    let mut instance = Instance {
        namespace: name.namespace(),
        uid,
        display_name: spec.display_name.clone(),
        blueprint: inputs.blueprint_name.to_owned(),
        plan: spec.plan.clone(),
        region: spec.region.clone(),
        version,
        repository: blueprint.image.repository.clone(),
        image: inputs.image.cloned(),
        pull_secret: blueprint.image.pull_secret.clone(),
        components,
        hosts,
        routing,
        environment,
        generated_secrets: blueprint.secrets.clone(),
        database,
        migration,
        first_login: blueprint.first_login.clone(),
        check: blueprint.check.clone(),
        network: blueprint.network.clone(),
        service_account_annotations: BTreeMap::new(),
        quota: plan.quota.iter().map(|(name, amount)| (name.clone(), quantity::canonical(amount))).collect(),
        default_resources: sizing::requirements(&plan.defaults.resources),
        extras: Vec::new(),
        suspension: suspension(tenant, inputs.now)?,
        expires_at: spec.expires_at.clone(),
        deletion_policy: spec.deletion.policy,
        name,
    };
    sizing::fits_quota(&instance)?;
    let variables = variables(inputs, &instance);
    instance.service_account_annotations = annotations(inputs, &variables)?;
    instance.extras = extras(inputs, &instance, &variables)?;
    Ok(instance)
}

/// What makes a migration another one. An image that follows from the version adds nothing to it.
fn migration_key(inputs: &Inputs<'_>, version: &Version, command: &[String], uid: &str) -> String {
    let retry = inputs.tenant.annotations().get(labels::RETRY);
    let repository = &inputs.blueprint.image.repository;
    match inputs.image {
        None => digest::of(&(repository, version.as_str(), command, uid, retry)),
        Some(image) => digest::of(&(repository, version.as_str(), image, command, uid, retry)),
    }
}

/// All hosts that the tenant claims, its own first.
///
/// # Errors
/// Where a text is no host.
pub fn hosts(tenant: &Tenant, base_domain: &str) -> Result<Vec<Host>, ResolveError> {
    let own = format!("{}.{base_domain}", tenant.name_any());
    let mut hosts = vec![Host::parse(own.as_str()).map_err(|cause| ResolveError::InvalidHost { host: own, cause })?];
    for domain in &tenant.spec.domains {
        let host = Host::parse(domain.as_str())?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

fn suspension(tenant: &Tenant, now: &Time) -> Result<Option<Suspension>, ResolveError> {
    match (tenant.leaves_at(), &tenant.spec.deletion.at) {
        (Some(at), _) => return Ok(Some(Suspension::Leaving(at.clone()))),
        (None, Some(at)) => return Err(ResolveError::DeletionBeforeCreation { at: at.clone() }),
        (None, None) => {}
    }
    if tenant.spec.suspended {
        return Ok(Some(Suspension::Requested));
    }
    let end = tenant.spec.expires_at.as_ref().filter(|end| end.0 <= now.0);
    Ok(end.map(|end| Suspension::Expired(end.clone())))
}

fn components(inputs: &Inputs<'_>) -> Result<Vec<Component>, ResolveError> {
    let Inputs { tenant, blueprint, plan, .. } = *inputs;
    if let Some(name) = tenant.spec.components.keys().find(|name| !blueprint.components.iter().any(|c| &c.name == *name)) {
        return Err(ResolveError::UnknownComponent {
            name: name.clone(),
            blueprint: inputs.blueprint_name.to_owned(),
            known: join(blueprint.components.iter().map(|c| c.name.as_str())),
        });
    }
    blueprint
        .components
        .iter()
        .map(|spec| {
            let sized = plan.components.get(&spec.name);
            let allowed = sized.and_then(|c| c.replicas).unwrap_or(Replicas { min: 1, max: 1 });
            let asked = tenant.spec.components.get(&spec.name).and_then(|c| c.replicas);
            if let Some(asked) = asked
                && (asked.min < allowed.min || asked.max > allowed.max)
            {
                return Err(ResolveError::ReplicasOutOfBounds {
                    name: spec.name.clone(),
                    plan: tenant.spec.plan.clone(),
                    asked: range(asked),
                    allowed: range(allowed),
                });
            }
            let replicas = asked.unwrap_or(allowed);
            if spec.singleton && replicas.max > 1 {
                let owner = if asked.is_some() { "tenant" } else { "plan" };
                return Err(ResolveError::SingletonScaled { name: spec.name.clone(), owner, asked: range(replicas) });
            }
            let own = sized.and_then(|c| c.resources.clone()).unwrap_or_default();
            let resources = sizing::merge(&own, &plan.defaults.resources);
            if replicas.min < replicas.max && !resources.requests.contains_key("cpu") && !resources.limits.contains_key("cpu") {
                return Err(ResolveError::AutoscalerNeedsRequest {
                    name: spec.name.clone(),
                    plan: tenant.spec.plan.clone(),
                    range: range(replicas),
                });
            }
            Ok(Component {
                replicas,
                resources: sizing::requirements(&resources),
                target_cpu_percent: sized.and_then(|c| c.target_cpu_percent).unwrap_or(75),
                spec: spec.clone(),
            })
        })
        .collect()
}

fn range(replicas: Replicas) -> String {
    if replicas.min == replicas.max { replicas.min.to_string() } else { format!("{} to {}", replicas.min, replicas.max) }
}

fn routing(blueprint: &BlueprintSpec, hosts: &[Host], components: &[Component]) -> Option<Routing> {
    components.iter().find(|c| c.spec.expose.is_some())?;
    let (kind, tls, port) = match (&blueprint.ingress, &blueprint.gateway) {
        (Some(ingress), _) => (RoutingKind::Ingress(ingress.clone()), ingress.tls.clone(), ingress.port),
        (None, Some(gateway)) => (RoutingKind::Gateway(gateway.clone()), gateway.tls.clone(), gateway.port),
        (None, None) => return None,
    };
    Some(Routing { url: origin(&hosts[0], tls.is_some(), port), kind, tls, port })
}

/// Scheme, host and port as a browser names them (RFC 6454): the usual port is left out.
fn origin(host: &Host, tls: bool, port: Option<u16>) -> String {
    let (scheme, usual) = if tls { ("https", 443) } else { ("http", 80) };
    match port {
        Some(port) if port != usual => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    }
}

fn database(inputs: &Inputs<'_>, name: &TenantName) -> Option<Database> {
    let wanted = inputs.blueprint.database.as_ref()?;
    let server = inputs.server?;
    let owner = name.database_owner();
    let (database, schema) = match wanted.isolation {
        Isolation::Schema => (server.spec.database.clone(), Some(owner.clone())),
        Isolation::Database => (owner.clone(), None),
    };
    let mut extensions = wanted.extensions.clone();
    extensions.sort();
    Some(Database {
        server: server.name_any(),
        host: server.spec.host.clone(),
        port: server.spec.port,
        tls: server.spec.tls.mode,
        peers: peers(server),
        isolation: wanted.isolation,
        name: database,
        schema,
        owner,
        limits: inputs.plan.database.clone(),
        extensions,
        url_env: wanted.url.env.clone(),
        adopt: inputs.tenant.spec.database.as_ref().and_then(|d| d.adopt.clone()),
    })
}

fn peers(server: &DatabaseServer) -> Vec<Peer> {
    if !server.spec.peers.is_empty() {
        return server.spec.peers.clone();
    }
    let Ok(address) = server.spec.host.parse::<std::net::IpAddr>() else { return Vec::new() };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    vec![Peer { cidr: Some(format!("{address}/{bits}")), namespace: None, pod_labels: BTreeMap::new() }]
}

/// Every environment variable that is no secret: the tenant's identity, its look, its addresses, its settings.
fn environment(inputs: &Inputs<'_>, hosts: &[Host], routing: Option<&Routing>) -> Result<BTreeMap<String, String>, ResolveError> {
    let Inputs { tenant, blueprint, .. } = *inputs;
    let mut environment = BTreeMap::from(
        [
            ("TENANT_NAME", tenant.name_any()),
            ("TENANT_UID", tenant.uid().unwrap_or_default()),
            ("TENANT_DISPLAY_NAME", tenant.spec.display_name.clone()),
            ("TENANT_PLAN", tenant.spec.plan.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            environment.insert(name.to_owned(), value);
        }
    };
    add("TENANT_REGION", tenant.spec.region.clone());
    let branding = tenant.spec.branding.clone().unwrap_or_default();
    add("BRANDING_PRIMARY_COLOR", branding.primary_color);
    add("BRANDING_LOGO_URL", branding.logo_url);
    if let Some(routing) = routing {
        let (tls, port) = (routing.tls.is_some(), routing.port);
        add("TENANT_URL", Some(routing.url.clone()));
        add("ALLOWED_HOSTS", Some(hosts.iter().map(Host::as_str).collect::<Vec<_>>().join(",")));
        add("CSRF_TRUSTED_ORIGINS", Some(hosts.iter().map(|host| origin(host, tls, port)).collect::<Vec<_>>().join(",")));
    }
    settings(inputs, &mut environment)?;
    unambiguous(inputs.blueprint_name, blueprint)?;
    Ok(environment)
}

fn settings(inputs: &Inputs<'_>, environment: &mut BTreeMap<String, String>) -> Result<(), ResolveError> {
    let Inputs { tenant, blueprint, .. } = *inputs;
    let may_set = |name: &str| blueprint.settings.iter().any(|s| s.env == name && s.tenant_may_set);
    if let Some(name) = tenant.spec.settings.keys().find(|name| !may_set(name)) {
        return Err(ResolveError::SettingNotAllowed {
            name: name.clone(),
            blueprint: inputs.blueprint_name.to_owned(),
            allowed: join(blueprint.settings.iter().filter(|s| s.tenant_may_set).map(|s| s.env.as_str())),
        });
    }
    for setting in &blueprint.settings {
        if is_reserved(&setting.env) {
            return Err(ResolveError::VariableTwice {
                blueprint: inputs.blueprint_name.to_owned(),
                name: setting.env.clone(),
                first: "a variable that every instance has",
                second: "a setting",
            });
        }
        if let Some(value) = tenant.spec.settings.get(&setting.env).map(|s| &s.0).or(setting.default.as_ref()) {
            environment.insert(setting.env.clone(), value.clone());
        }
    }
    Ok(())
}

/// Variables that the operator sets, whether this tenant has them or not: else a blueprint would do for one tenant and not for the next.
fn is_reserved(name: &str) -> bool {
    name.starts_with("TENANT_") || name.starts_with("BRANDING_") || matches!(name, "ALLOWED_HOSTS" | "CSRF_TRUSTED_ORIGINS")
}

/// A secret or the database's URL must not share its name with anything: a later one would silently win.
fn unambiguous(name: &str, blueprint: &BlueprintSpec) -> Result<(), ResolveError> {
    let twice = |variable: &str, first, second| {
        Err(ResolveError::VariableTwice { blueprint: name.to_owned(), name: variable.to_owned(), first, second })
    };
    let settings: BTreeSet<_> = blueprint.settings.iter().map(|s| &s.env).collect();
    let secrets: BTreeSet<_> = blueprint.secrets.iter().map(|s| &s.env).collect();
    for secret in &secrets {
        if is_reserved(secret) {
            return twice(secret, "a variable that every instance has", "a secret");
        }
        if settings.contains(secret) {
            return twice(secret, "a secret", "a setting");
        }
    }
    if let Some(database) = &blueprint.database {
        let url = &database.url.env;
        if is_reserved(url) {
            return twice(url, "a variable that every instance has", "the database's URL");
        }
        if secrets.contains(url) || settings.contains(url) {
            return twice(url, "the database's URL", "a secret or a setting");
        }
    }
    Ok(())
}

fn variables(inputs: &Inputs<'_>, instance: &Instance) -> Variables {
    let spec = &inputs.tenant.spec;
    let settings: BTreeMap<_, _> =
        inputs.blueprint.settings.iter().filter_map(|s| Some((s.env.as_str(), instance.environment.get(&s.env)?.as_str()))).collect();
    let values = json!({
        "tenant": {
            "name": instance.name.as_str(),
            "uid": instance.uid,
            "displayName": spec.display_name,
            "region": spec.region.as_deref().unwrap_or_default(),
            "branding": spec.branding.clone().unwrap_or_default(),
            "settings": settings,
            "labels": inputs.tenant.labels(),
        },
        "plan": {"name": instance.plan},
        "blueprint": {"name": instance.blueprint, "baseDomain": inputs.blueprint.base_domain},
        "hosts": instance.hosts.iter().map(Host::as_str).collect::<Vec<_>>(),
        "url": instance.routing.as_ref().map_or("", |r| &r.url),
        "namespace": instance.namespace,
        "version": instance.version.as_str(),
        "database": instance.database.as_ref().map(|d| json!({
            "server": d.server, "host": d.host, "port": d.port, "name": d.name, "schema": d.schema.as_deref().unwrap_or_default(), "owner": d.owner,
        })).unwrap_or_else(|| json!({})),
    });
    match values {
        Value::Object(map) => Variables::new(map),
        _ => Variables::new(serde_json::Map::new()),
    }
}

fn annotations(inputs: &Inputs<'_>, variables: &Variables) -> Result<BTreeMap<String, String>, ResolveError> {
    let failed = |cause| ResolveError::TemplateFailed {
        blueprint: inputs.blueprint_name.to_owned(),
        what: "serviceAccount.annotations".to_owned(),
        cause,
    };
    let expanded = variables.expand(&json!(inputs.blueprint.service_account.annotations)).map_err(failed)?;
    let as_text = |(name, value): (&String, &Value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    Ok(expanded.as_object().into_iter().flatten().map(as_text).collect())
}

/// What an expression blows up beyond this is a mistake, and every write of it would cost the API server dearly.
const LARGEST_EXTRA: usize = 256 * 1024;

fn extras(inputs: &Inputs<'_>, instance: &Instance, variables: &Variables) -> Result<Vec<Object>, ResolveError> {
    let blueprint = || inputs.blueprint_name.to_owned();
    // By group, not by version: the same object is served by all versions of its group.
    let identity = |kind: &Kind, name: &str| (kind.group.to_string(), kind.kind.to_string(), name.to_owned());
    let own: BTreeSet<_> = if inputs.blueprint.extras.is_empty() {
        BTreeSet::new()
    } else {
        render::own_keys(instance, inputs.settings).iter().map(|key| identity(&key.kind, &key.name)).collect()
    };
    let mut seen = BTreeSet::new();
    inputs
        .blueprint
        .extras
        .iter()
        .enumerate()
        .map(|(index, extra)| {
            let invalid = |cause: String| ResolveError::ExtraInvalid { blueprint: blueprint(), index, cause };
            let kind = inputs.settings.extra_kinds.iter().find(|k| k.api_version() == extra.api_version && k.kind == extra.kind).cloned();
            let kind: Kind = kind.ok_or_else(|| ResolveError::ExtraKindNotAllowed {
                blueprint: blueprint(),
                index,
                kind: extra.kind.clone(),
                api_version: extra.api_version.clone(),
            })?;
            let failed = |cause| ResolveError::TemplateFailed { blueprint: blueprint(), what: format!("extras[{index}]"), cause };
            let mut expanded = variables.expand(&json!({"metadata": extra.metadata})).map_err(failed)?;
            let extra_metadata: ExtraMetadata =
                serde_json::from_value(expanded["metadata"].take()).map_err(|error| invalid(format!("metadata: {error}")))?;
            if !is_dns_subdomain(&extra_metadata.name) {
                return Err(invalid(format!("metadata.name: {:?} is no name of an object, such as web-metrics", extra_metadata.name)));
            }
            if let Some((label, value)) = extra_metadata.labels.iter().find(|(_, value)| !is_label_value(&value.0)) {
                return Err(invalid(format!(
                    "metadata.labels.{label}: {:?} is no label's value: at most 63 letters, digits, hyphens, dots and _",
                    value.0
                )));
            }
            let mut content = match variables.expand(&Value::Object(extra.content.clone())).map_err(failed)? {
                Value::Object(map) => map,
                _ => return Err(invalid("it is no object".to_owned())),
            };
            content.remove("status");
            let identity = identity(&kind, &extra_metadata.name);
            if own.contains(&identity) {
                return Err(invalid(format!("{} {} is one that every instance has: choose another name", kind.kind, extra_metadata.name)));
            }
            if !seen.insert(identity) {
                return Err(invalid(format!("{} {} is there twice: give each extra its own name", kind.kind, extra_metadata.name)));
            }
            if serde_json::to_vec(&content).map_or(0, |bytes| bytes.len()) > LARGEST_EXTRA {
                return Err(invalid(format!("{} {} is larger than {} KiB", kind.kind, extra_metadata.name, LARGEST_EXTRA / 1024)));
            }
            let mut meta = metadata(instance, &extra_metadata.name, None);
            let own = meta.labels.get_or_insert_default();
            // Our own labels win: by them the object is found again, and deleted with its tenant.
            *own = extra_metadata.labels.into_iter().map(|(name, value)| (name, value.0)).chain(std::mem::take(own)).collect();
            let annotations: BTreeMap<_, _> = extra_metadata.annotations.into_iter().map(|(name, value)| (name, value.0)).collect();
            meta.annotations = (!annotations.is_empty()).then_some(annotations);
            Ok(Object::from_parts(kind, meta, content))
        })
        .collect()
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let joined = names.collect::<Vec<_>>().join(", ");
    if joined.is_empty() { "none".to_owned() } else { joined }
}
