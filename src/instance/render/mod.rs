//! Draws an instance as Kubernetes objects. Pure: one small function an object, grouped by concern in one file each.

mod configuration;
mod first_login;
mod guard_rails;
mod job;
mod kind;
mod migration;
mod network;
mod object;
mod pod;
mod routes;
mod workloads;

pub use configuration::{
    DATABASE_SECRET, DatabaseLogin, FIRST_LOGIN_SECRET, GENERATED_SECRET, PULL_SECRET, SecretContent, database_secret, first_login_secret,
    generated_secret, pull_secret,
};
pub use first_login::{TOKEN, first_login_job};
pub use kind::{Kind, KindParseError};
pub use migration::job_name as migration_job_name;
pub use object::{Object, ObjectKey};
pub use workloads::workloads;

use super::{Instance, Settings};
use crate::api::labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;

/// What of an instance is drawn, by the order in which it is made.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The namespace; everything else is in it.
    pub namespace: Object,
    /// What lets the operator into the namespace.
    pub access: Object,
    /// What bounds the instance: quota, limits, network, identity, configuration; and its Services and further objects, which are harmless before
    /// there are pods.
    pub foundation: Vec<Object>,
    /// The migration to the wanted version.
    pub migration: Option<Object>,
    /// Pods and what belongs to them, at the version that serves.
    pub workloads: Vec<Object>,
    /// How visitors come in; none while suspended.
    pub routes: Vec<Object>,
}

/// What pods run with; it isn't known before the secrets are.
#[derive(Clone, Debug)]
pub struct Serving<'a> {
    /// The version whose image runs.
    pub version: &'a str,
    /// Digest of secrets and configuration; a change rolls the pods.
    pub configuration: &'a str,
}

/// Draws the whole instance. Without `serving` (nothing is migrated yet) there are no workloads.
pub fn render(instance: &Instance, settings: &Settings, serving: Option<&Serving<'_>>) -> Rendered {
    let mut foundation = guard_rails::quota(instance).into_iter().collect::<Vec<_>>();
    foundation.push(guard_rails::limit_range(instance));
    foundation.push(guard_rails::service_account(instance));
    foundation.extend(network::policies(instance));
    foundation.push(configuration::config_map(instance));
    foundation.extend(workloads::services(instance));
    foundation.extend(instance.extras.iter().cloned());
    Rendered {
        namespace: guard_rails::namespace(instance),
        access: guard_rails::access(instance, settings),
        foundation,
        migration: instance
            .migration
            .as_ref()
            .filter(|_| instance.suspension.is_none())
            .map(|migration| migration::job(instance, migration)),
        workloads: serving.map_or_else(Vec::new, |serving| workloads(instance, serving)),
        routes: if instance.suspension.is_none() { routes::routes(instance) } else { Vec::new() },
    }
}

impl Rendered {
    /// Everything, in the order in which it is made.
    pub fn all(&self) -> impl Iterator<Item = &Object> {
        [&self.namespace, &self.access]
            .into_iter()
            .chain(&self.foundation)
            .chain(&self.migration)
            .chain(&self.workloads)
            .chain(&self.routes)
    }
}

/// Every object that an instance has of itself when it isn't suspended: names that no extra may take.
pub fn own_keys(instance: &Instance, settings: &Settings) -> Vec<ObjectKey> {
    let running = Instance { suspension: None, extras: Vec::new(), ..instance.clone() };
    let serving = Serving { version: instance.version.as_str(), configuration: "" };
    render(&running, settings, Some(&serving)).all().map(|object| object.key.clone()).collect()
}

/// Digest of what pods get as configuration beside their secrets.
pub fn configuration_digest(instance: &Instance, secrets: &[&str]) -> String {
    super::digest::of(&(&instance.environment, secrets))
}

/// The metadata that every object of a tenant has.
pub fn metadata(instance: &Instance, name: &str, component: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(instance.namespace.clone()),
        labels: Some(common_labels(instance, component)),
        owner_references: Some(vec![owner_reference(instance)]),
        ..Default::default()
    }
}

/// The recommended labels, and ours. The version isn't among them: it would change every object of an instance at each release.
fn common_labels(instance: &Instance, component: Option<&str>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from(
        [
            (labels::MANAGED_BY, labels::MANAGER),
            (labels::NAME, instance.blueprint.as_str()),
            (labels::PART_OF, instance.blueprint.as_str()),
            (labels::INSTANCE, instance.name.as_str()),
            (labels::TENANT, instance.name.as_str()),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    if let Some(component) = component {
        all.insert(labels::COMPONENT.to_owned(), component.to_owned());
    }
    all
}

/// The tenant as owner: it gives Argo CD and `kubectl tree` their tree, and the garbage collector its cue.
pub fn owner_reference(instance: &Instance) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", crate::api::GROUP, crate::api::VERSION),
        kind: "Tenant".to_owned(),
        name: instance.name.to_string(),
        uid: instance.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
