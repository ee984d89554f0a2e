//! What an instance is. Pure: nothing here knows a client, a clock or a source of randomness.
//!
//! ```text
//! Tenant + Blueprint + Plan + DatabaseServer ──resolve──► Instance ──render──► objects
//! ```
//!
//! [`resolve`](resolve::resolve) answers every question once; an [`Instance`] has nothing missing or doubtful in it.
//! [`render`] draws it, one small function an object.

mod cost;
pub mod digest;
pub mod names;
pub mod placement;
pub mod quantity;
pub mod render;
pub mod resolve;
pub mod shape;
mod sizing;
pub mod template;

use crate::api::blueprint::{
    Check, Component as ComponentSpec, Extension, FirstLogin, Gateway, GeneratedSecret, Ingress, Isolation, Network, RouteTls,
};
use crate::api::database_server::TlsMode;
use crate::api::plan::PlanDatabase;
use crate::api::release::ReleaseImage;
use crate::api::shared::{Peer, Replicas};
use crate::api::tenant::DeletionPolicy;
use crate::database::{DesiredDatabase, Login};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use names::{Host, TenantName, Version};
use std::collections::BTreeMap;

/// What is the same for all tenants of this operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace.
    pub namespace: String,
    /// The operator's own ServiceAccount, which is let into each tenant's namespace.
    pub service_account: String,
    /// The kinds of which a blueprint's extras may be.
    pub extra_kinds: Vec<render::Kind>,
}

/// An instance with every question answered.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The tenant's name.
    pub name: TenantName,
    /// The tenant's UID, which tells it from a namesake.
    pub uid: String,
    /// The customer's name.
    pub display_name: String,
    /// The namespace that holds everything.
    pub namespace: String,
    /// The blueprint's name.
    pub blueprint: String,
    /// The plan's name.
    pub plan: String,
    /// The region, where the tenant has one.
    pub region: Option<String>,
    /// The version that is wanted.
    pub version: Version,
    /// The product's image without its tag.
    pub repository: String,
    /// Its tag or digest, where the tag isn't the version.
    pub image: Option<ReleaseImage>,
    /// A pull secret of the operator's namespace to be copied.
    pub pull_secret: Option<String>,
    /// The parts, sized.
    pub components: Vec<Component>,
    /// The addresses; the first is the one that the operator made.
    pub hosts: Vec<Host>,
    /// How visitors come in; none, where no component is exposed.
    pub routing: Option<Routing>,
    /// Environment variables that are no secret.
    pub environment: BTreeMap<String, String>,
    /// Secrets to be made once.
    pub generated_secrets: Vec<GeneratedSecret>,
    /// The tenant's database.
    pub database: Option<Database>,
    /// What brings the database to the wanted version.
    pub migration: Option<Migration>,
    /// How the first person of the tenant gets in.
    pub first_login: Option<FirstLogin>,
    /// How it is known that the instance serves.
    pub check: Option<Check>,
    /// What it may talk to.
    pub network: Network,
    /// Annotations of the pods' ServiceAccount.
    pub service_account_annotations: BTreeMap<String, String>,
    /// The quota's hard limits; empty for no quota.
    pub quota: BTreeMap<String, Quantity>,
    /// For containers that say nothing, and for the migration.
    pub default_resources: ResourceRequirements,
    /// Further objects, expanded.
    pub extras: Vec<render::Object>,
    /// Why the instance is out of service, where it is.
    pub suspension: Option<Suspension>,
    /// When an active trial ends.
    pub expires_at: Option<Time>,
    /// What becomes of the data when the tenant is deleted.
    pub deletion_policy: DeletionPolicy,
}

/// A part of an instance, sized.
#[derive(Clone, Debug)]
pub struct Component {
    /// What the blueprint says of it.
    pub spec: ComponentSpec,
    /// How many pods.
    pub replicas: Replicas,
    /// What a container asks for and may use.
    pub resources: ResourceRequirements,
    /// The share of requested CPU beyond which pods are added, in percent.
    pub target_cpu_percent: i32,
}

impl Component {
    /// Whether an autoscaler decides how many pods run.
    pub fn is_autoscaled(&self) -> bool {
        self.replicas.min < self.replicas.max
    }

    /// Seconds between the word to end and the kill: the drain, the program's own time, and five for the runtime.
    pub fn grace_seconds(&self) -> i64 {
        i64::from(self.drain_seconds()) + i64::from(self.spec.termination_seconds) + 5
    }

    /// Seconds that a pod goes on serving after it was told to end; none without a port, as nobody is routed to it.
    pub fn drain_seconds(&self) -> u32 {
        if self.spec.port.is_some() { self.spec.drain_seconds } else { 0 }
    }
}

/// How visitors come in.
#[derive(Clone, Debug)]
pub struct Routing {
    /// Ingress or Gateway.
    pub kind: RoutingKind,
    /// Where certificates come from; none, where visitors use http.
    pub tls: Option<RouteTls>,
    /// The port that visitors use, where it isn't the usual one.
    pub port: Option<u16>,
    /// The address of the instance, such as `https://acme.planner.example.com`.
    pub url: String,
}

/// By which kind of object.
#[derive(Clone, Debug)]
pub enum RoutingKind {
    /// By an Ingress.
    Ingress(Ingress),
    /// By HTTPRoutes.
    Gateway(Gateway),
}

/// A tenant's database: where it is, what it is called and what it may use.
#[derive(Clone, Debug)]
pub struct Database {
    /// The DatabaseServer.
    pub server: String,
    /// Its host, as pods reach it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How connections are protected.
    pub tls: TlsMode,
    /// Where it is on the network; empty for anywhere.
    pub peers: Vec<Peer>,
    /// Schema or database of its own.
    pub isolation: Isolation,
    /// The database.
    pub name: String,
    /// The schema, with [`Isolation::Schema`].
    pub schema: Option<String>,
    /// The role that owns everything.
    pub owner: String,
    /// The plan's limits.
    pub limits: PlanDatabase,
    /// Extensions to be made.
    pub extensions: Vec<Extension>,
    /// The environment variable that holds the URL.
    pub url_env: String,
    /// The UID of a former tenant whose data is taken over.
    pub adopt: Option<String>,
}

impl Database {
    /// What it should be in Postgres, for pods that use this login. `held_data` is whether there was data of this tenant before.
    pub fn desired(&self, instance: &Instance, login: Login, held_data: bool) -> DesiredDatabase {
        let extension = |extension: &Extension| {
            serde_json::to_value(extension).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
        };
        DesiredDatabase {
            tenant: instance.name.to_string(),
            uid: instance.uid.clone(),
            owner: self.owner.clone(),
            database: self.name.clone(),
            schema: self.schema.clone(),
            connection_limit: self.limits.connections,
            statement_timeout_seconds: self.limits.statement_timeout_seconds,
            idle_in_transaction_timeout_seconds: self.limits.idle_in_transaction_timeout_seconds,
            extensions: self.extensions.iter().map(extension).collect(),
            login,
            adopt: self.adopt.clone(),
            held_data,
        }
    }
}

/// What brings the database to a version.
#[derive(Clone, Debug)]
pub struct Migration {
    /// What runs.
    pub command: Vec<String>,
    /// Seconds until it is ended.
    pub timeout_seconds: u32,
    /// How often it is tried again at once.
    pub retries: u32,
    /// Digest of all that makes it another migration: the image, the command, the tenant's UID, and the request to run it again.
    pub key: String,
}

/// Why an instance is out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suspension {
    /// The manifest says `suspended: true`.
    Requested,
    /// The trial ended at this moment.
    Expired(Time),
    /// The tenant is deleted at this moment.
    Leaving(Time),
}
