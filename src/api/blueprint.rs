//! `Blueprint`: what an instance of the product is made of.

use super::database_server::Engine;
use super::shared::{AnnotationValue, InUseStatus, Peer, QUALIFIED_KEYS};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an instance of the product is made of. An admin writes it once a product.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Blueprint",
    status = "InUseStatus",
    derive = "PartialEq",
    shortname = "bp",
    category = "tenantry",
    cel,
    doc = "What an instance of the product is made of: its components, database, migration, settings and routes.",
    validation = Rule::new("self.metadata.name.size() <= 40").message("a blueprint's name has at most 40 characters: choose a shorter one"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version", description = "The version that tenants run, where they say nothing else"),
    printcolumn(name = "Domain", type_ = "string", json_path = ".spec.baseDomain", description = "The domain under which tenants get their addresses"),
    printcolumn(name = "Database", type_ = "string", json_path = ".spec.database.isolation", description = "What each tenant has in the database for itself"),
    printcolumn(name = "Released", type_ = "string", json_path = ".status.conditions[?(@.type=='Released')].reason", description = "Whether the newest release has it as it stands"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when the blueprint exists")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.ingress) && has(self.gateway))").message("an instance is reached by ingress or by gateway, not by both: leave one out"))]
#[x_kube(validation = Rule::new("!self.components.exists(c, has(c.expose)) || has(self.ingress) || has(self.gateway)").message("a component has expose, so the blueprint must say how: add ingress or gateway"))]
#[x_kube(validation = Rule::new("!has(self.migrate) || has(self.database)").message("migrate needs a database: add database, or leave migrate out"))]
#[x_kube(validation = Rule::new("!has(self.check) || self.components.exists(c, has(c.expose))").message("check asks the instance from outside, so a component must have expose: add it, or leave check out"))]
#[x_kube(validation = Rule::new("!has(self.secrets) || !has(self.settings) || !self.secrets.exists(s, self.settings.exists(t, t.env == s.env))").message("an environment variable is both in secrets and in settings: rename one"))]
#[x_kube(validation = Rule::new("!has(self.database) || !((has(self.secrets) && self.secrets.exists(s, s.env == self.database.url.env)) || (has(self.settings) && self.settings.exists(s, s.env == self.database.url.env)))").message("database.url.env is also the name of a secret or a setting: rename one"))]
#[x_kube(validation = Rule::new("has(self.database) == has(oldSelf.database) && (!has(self.database) || self.database.isolation == oldSelf.database.isolation)").message("database and its isolation can't be changed, because the tenants' data would have to move: make a new Blueprint"))]
pub struct BlueprintSpec {
    /// Tenant `acme` is reached at `acme.<baseDomain>`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\\\\.)*[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')").message("baseDomain is a domain in small letters, such as planner.example.com: without https://, a path, a port or a *"))]
    pub base_domain: String,

    /// The version that tenants run, where they say nothing else. It is also the tag of the image.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("version must be the tag of an image that is also a label's value, such as 2026.11.3"))]
    pub version: String,

    /// The product's image, which runs as a numeric user other than 0.
    pub image: Image,

    /// The parts of an instance; each becomes a Deployment.
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.filter(c, has(c.expose)).size() <= 16").message("at most 16 components can be exposed, as a route takes no more"))]
    #[x_kube(validation = Rule::new("self.filter(c, has(c.expose)).all(c, self.filter(d, has(d.expose) && d.expose.path == c.expose.path).size() == 1)").message("two components are exposed at the same path: give each its own"))]
    pub components: Vec<Component>,

    /// The database that each tenant gets. None, where left out. It can't be added or taken away later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,

    /// What brings the database to a version, before the pods of that version start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate: Option<Migrate>,

    /// How the first person of a new tenant gets in. Where left out, the product has a way of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_login: Option<FirstLogin>,

    /// Secrets that are made once for each tenant, and kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["env".into()]))]
    pub secrets: Vec<GeneratedSecret>,

    /// Settings of the product, as environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["env".into()]))]
    pub settings: Vec<BlueprintSetting>,

    /// How it is known that an instance really serves, asked as a visitor would. Where left out, it serves once its pods and routes are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,

    /// Reached by an Ingress. Either this or `gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,

    /// Reached by an HTTPRoute of the Gateway API. Either this or `ingress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,

    /// What an instance may talk to, beside itself, DNS and its database. All else is denied.
    #[serde(default)]
    pub network: Network,

    /// The identity of the pods.
    #[serde(default)]
    pub service_account: ServiceAccount,

    /// Further objects for each tenant's namespace, as templates. In every string, `${…}` is a CEL expression over `tenant` (`name`, `uid`,
    /// `displayName`, `region`, `branding`, `settings`, `labels`), `plan.name`, `blueprint` (`name`, `baseDomain`), `hosts`, `url`, `namespace`,
    /// `version` and `database` (`server`, `host`, `port`, `name`, `schema`, `owner`), such as `${tenant.name}` or `${hosts[0]}`; `$${` is a
    /// literal `${`. Only kinds that the operator was started with (`--extra-kind`) are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 30))]
    pub extras: Vec<Extra>,
}

/// The name of a Kubernetes object: a DNS subdomain.
const OBJECT_NAME: &str = r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";
/// Variables that every instance has, so that none may be a setting or a secret.
const NOT_RESERVED: &str =
    "!self.startsWith('TENANT_') && !self.startsWith('BRANDING_') && !(self in ['ALLOWED_HOSTS', 'CSRF_TRUSTED_ORIGINS'])";

/// An image without its tag: the tag is the version. It runs as the image's own user, which must be a number other than 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry and repository, such as `registry.example.com/planner`.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9._]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([-._a-z0-9]*[a-z0-9])?)*$')").message("repository is the image without tag and digest, such as registry.example.com/planner"))]
    pub repository: String,
    /// A Secret of type `kubernetes.io/dockerconfigjson` in the operator's namespace, copied to each tenant's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("pullSecret is the name of a Secret, such as registry"))]
    pub pull_secret: Option<String>,
}

/// A part of an instance. It becomes a Deployment, and a Service where it has a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.expose) || has(self.port)").message("a component with expose needs the port that its requests go to: add port"))]
#[x_kube(validation = Rule::new("!has(self.probes) || has(self.port)").message("probes ask the component's port: add port, or leave probes out"))]
pub struct Component {
    /// The name, such as `web`; also the name of the Deployment and the Service.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("a component's name begins with a small letter and has only small letters, digits and hyphens, such as web"))]
    #[x_kube(validation = Rule::new("self != 'migrate'").message("migrate is what the migration's pods are called: choose another name for the component"))]
    #[x_kube(validation = Rule::new("self != 'first-login'").message("first-login is what the pods are called that make a link for the first login: choose another name for the component"))]
    pub name: String,
    /// Another image than the blueprint's, with its tag or digest, such as `redis:7.4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 400))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9._]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([-._a-z0-9]*[a-z0-9])?)*(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}|@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}@sha256:[0-9a-f]{64})$')").message("image is an image with its tag or digest, such as redis:7.4"))]
    pub image: Option<String>,
    /// What runs, instead of the image's entry point. `$(NAME)` is the value of an environment variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 2000)))]
    pub command: Vec<String>,
    /// Environment variables of this component alone. They win over settings, secrets and what every instance has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(validation = Rule::new("self.all(k, k.size() <= 100 && k.matches('^[A-Za-z_][A-Za-z0-9_]*$'))").message("an environment variable's name has only letters, digits and _, and doesn't begin with a digit"))]
    pub env: BTreeMap<String, super::tenant::Setting>,
    /// The port that the component listens on. A component with a port gets a Service of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Visitors reach it at this path of the tenant's hosts. Where left out, only the other components reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// How Kubernetes knows that a pod is well. Where left out, a connection to the port is enough to get requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Never more than one pod: no second one is started before the first has ended. For schedulers such as Celery's beat.
    #[serde(default)]
    pub singleton: bool,
    /// Seconds that a pod goes on serving after it was told to end, until every router has forgotten it. Only with a port.
    #[serde(default = "default_drain_seconds")]
    #[schemars(range(min = 0, max = 300))]
    pub drain_seconds: u32,
    /// Seconds that the program has, after the drain, to finish what it is doing before it is killed.
    #[serde(default = "default_termination_seconds")]
    #[schemars(range(min = 1, max = 86400))]
    pub termination_seconds: u32,
}

fn default_drain_seconds() -> u32 {
    5
}

fn default_termination_seconds() -> u32 {
    30
}

/// Reached from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Expose {
    /// Requests whose path begins with this go to the component.
    #[serde(default = "root_path")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^/[A-Za-z0-9._~/-]*$') && !self.contains('..') && !self.contains('//') && !self.contains('/./') && !self.endsWith('/.')").message("path begins with /, has only letters, digits and . _ ~ - /, and no empty or dotted part, such as /api"))]
    pub path: String,
}

fn root_path() -> String {
    "/".to_owned()
}

/// How Kubernetes knows that a pod is well. Requests carry the tenant's host name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Whether a pod may get requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Whether a pod must be restarted. It should not ask the database: a restart heals none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// Whether a pod has started. Until then the other two don't ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<StartupProbe>,
}

/// An HTTP request, or, without a path, a connection to the port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// The path of the request. Without one, a connection to the port is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^/[!-~]*$')").message("path begins with / and has no spaces, such as /healthz"))]
    pub path: Option<String>,
    /// Seconds between two requests.
    #[serde(default = "default_probe_period")]
    #[schemars(range(min = 1, max = 300))]
    pub every_seconds: u32,
}

fn default_probe_period() -> u32 {
    5
}

/// How long a program may take to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartupProbe {
    /// The path of the request. Without one, a connection to the port is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^/[!-~]*$')").message("path begins with / and has no spaces, such as /healthz"))]
    pub path: Option<String>,
    /// Seconds after which a pod that has not started is restarted.
    #[serde(default = "default_startup_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub seconds: u32,
}

fn default_startup_seconds() -> u32 {
    60
}

/// The database that each tenant gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// What kind of database: `Postgres`.
    #[serde(default)]
    pub engine: Engine,
    /// What a tenant has for itself: `Schema`, a schema in a database that many tenants share, or `Database`, a database of its own on a
    /// server that many share. It can't be changed later.
    #[serde(default)]
    pub isolation: Isolation,
    /// How the containers are told where it is.
    #[serde(default)]
    pub url: DatabaseUrl,
    /// Extensions that are made in the database. With `isolation: Schema` they are in the shared database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub extensions: Vec<Extension>,
}

/// What a tenant has for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// A schema in a database that many tenants share.
    #[default]
    Schema,
    /// A database of its own on a server that many tenants share.
    Database,
}

/// Extensions that are safe to give a tenant: none reaches files, the network or other databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Extension {
    BtreeGin,
    BtreeGist,
    Citext,
    Cube,
    Earthdistance,
    Fuzzystrmatch,
    Hstore,
    Intarray,
    Isn,
    Ltree,
    PgTrgm,
    Pgcrypto,
    Postgis,
    Seg,
    Unaccent,
    #[serde(rename = "uuid-ossp")]
    UuidOssp,
    Vector,
}

/// How the containers are told where the database is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseUrl {
    /// The environment variable that holds the URL, as `postgresql://user:password@host:port/name?sslmode=…`.
    #[serde(default = "default_url_env")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("env is the name of an environment variable, such as DATABASE_URL"))]
    #[x_kube(validation = Rule::new(NOT_RESERVED).message("TENANT_…, BRANDING_…, ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS are set by the operator in every instance: choose another name"))]
    pub env: String,
}

impl Default for DatabaseUrl {
    fn default() -> Self {
        Self { env: default_url_env() }
    }
}

fn default_url_env() -> String {
    "DATABASE_URL".to_owned()
}

/// What brings the database to a version. It must be safe to run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Migrate {
    /// What runs, in the image of the new version.
    #[schemars(length(min = 1, max = 50), inner(length(max = 2000)))]
    pub command: Vec<String>,
    /// Seconds after which it is ended and counts as failed.
    #[serde(default = "default_migrate_timeout")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: u32,
    /// How often it is tried again, at once, before it counts as failed.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
}

fn default_migrate_timeout() -> u32 {
    600
}

/// How the first person of a new tenant gets in: by a link that works once, which is the tenant's address, a path, and a token. The operator draws the token,
/// and the product's own command sees to it that whoever comes with it is let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirstLogin {
    /// What runs, in the image of the version that serves, once for each link. `TENANT_FIRST_LOGIN_TOKEN` is the token, which the product should keep as
    /// a digest and forget when it was used; `TENANT_FIRST_LOGIN_UNTIL` is the moment from which on it is worth nothing. It must be safe to run again.
    #[schemars(length(min = 1, max = 50), inner(length(max = 2000)))]
    pub command: Vec<String>,
    /// What the link has between the address and the token, such as `/first-login/`.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^/[-A-Za-z0-9._~/%?&=]*$')").message("path begins with a / and has only what a link can have, such as /first-login/ or /login?token="))]
    pub path: String,
    /// For so many minutes the link works.
    #[serde(default = "default_valid_minutes")]
    #[schemars(range(min = 1, max = 10080))]
    pub valid_minutes: u32,
    /// Seconds after which the command is ended and counts as failed.
    #[serde(default = "default_first_login_timeout")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: u32,
}

fn default_valid_minutes() -> u32 {
    60
}

fn default_first_login_timeout() -> u32 {
    120
}

/// A secret that is made once for each tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedSecret {
    /// The environment variable that holds it.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("env is the name of an environment variable, such as SECRET_KEY"))]
    #[x_kube(validation = Rule::new(NOT_RESERVED).message("TENANT_…, BRANDING_…, ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS are set by the operator in every instance: choose another name"))]
    pub env: String,
    /// How it is made.
    #[serde(default)]
    pub generate: Generate,
}

/// How a secret is made: from letters and digits, evenly, by the system's source of randomness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generate {
    /// How many characters.
    #[serde(default = "default_secret_length")]
    #[schemars(range(min = 16, max = 256))]
    pub length: u32,
}

impl Default for Generate {
    fn default() -> Self {
        Self { length: default_secret_length() }
    }
}

fn default_secret_length() -> u32 {
    50
}

/// A setting of the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintSetting {
    /// The environment variable that holds it.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("env is the name of an environment variable, such as LANGUAGE_CODE"))]
    #[x_kube(validation = Rule::new(NOT_RESERVED).message("TENANT_…, BRANDING_…, ALLOWED_HOSTS and CSRF_TRUSTED_ORIGINS are set by the operator in every instance: choose another name"))]
    pub env: String,
    /// The value where the tenant sets none. Without a default, and where the tenant sets none, the variable isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub default: Option<String>,
    /// Whether a tenant may set it.
    #[serde(default)]
    pub tenant_may_set: bool,
}

/// How it is known that an instance serves. The operator asks it as a visitor would, by its first host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The path of the request.
    #[serde(default = "root_path")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(validation = Rule::new("self.matches('^/[!-~]*$')").message("path begins with / and has no spaces, such as /healthz"))]
    pub path: String,
    /// The status that a well instance answers with.
    #[serde(default = "default_check_status")]
    #[schemars(range(min = 100, max = 599))]
    pub status: u16,
    /// Seconds between two checks.
    #[serde(default = "default_check_period")]
    #[schemars(range(min = 5, max = 3600))]
    pub every_seconds: u32,
}

fn default_check_status() -> u16 {
    200
}

fn default_check_period() -> u32 {
    30
}

/// Reached by an Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The IngressClass; the cluster's default, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("className is the name of an IngressClass, such as nginx"))]
    pub class_name: Option<String>,
    /// Annotations of each tenant's Ingress, for the ingress controller and external-dns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(validation = Rule::new(QUALIFIED_KEYS).message("each key of annotations is an annotation's name, such as nginx.ingress.kubernetes.io/proxy-body-size"))]
    pub annotations: BTreeMap<String, AnnotationValue>,
    /// Where the certificates come from. Without this, instances are reached by http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouteTls>,
    /// The port that visitors use, where it isn't 443 (or 80 without TLS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Whether a route counts only once the ingress controller has published its address in the Ingress' status. Switch it off for a
    /// controller that publishes none.
    #[serde(default = "yes")]
    pub wait_for_address: bool,
}

fn yes() -> bool {
    true
}

/// Where the certificate of an instance's hosts comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.clusterIssuer) != self.wildcard").message("say where certificates come from, once: clusterIssuer with the name of cert-manager's issuer, or wildcard: true where the ingress controller or gateway has one for all hosts"))]
pub struct RouteTls {
    /// A ClusterIssuer of cert-manager, which makes each tenant's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("clusterIssuer is the name of a ClusterIssuer, such as letsencrypt"))]
    pub cluster_issuer: Option<String>,
    /// The ingress controller, or the gateway's listener, has its own certificate for all hosts; none is made for a tenant.
    #[serde(default)]
    pub wildcard: bool,
}

/// Reached by an HTTPRoute of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.tls) && has(self.tls.clusterIssuer) && has(self.parentRef.sectionName))").message("with tls.clusterIssuer each tenant gets listeners of its own: leave parentRef.sectionName out"))]
pub struct Gateway {
    /// The Gateway that the routes belong to.
    pub parent_ref: ParentRef,
    /// Where the certificates come from. With `clusterIssuer`, each tenant gets listeners of its own (a ListenerSet), which the Gateway has to
    /// allow by `spec.allowedListeners`; with `wildcard`, those of the Gateway serve. Without this, instances are reached by http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouteTls>,
    /// The port that visitors use, where it isn't 443 (or 80 without TLS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// A Gateway, as an HTTPRoute names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// The Gateway's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("name is the name of a Gateway, such as public"))]
    pub name: String,
    /// The Gateway's namespace.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("namespace is the name of a namespace, such as gateways: small letters, digits and hyphens"))]
    pub namespace: String,
    /// One of its listeners; all, where left out. Not with `tls.clusterIssuer`, which makes listeners for each tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(OBJECT_NAME).message("sectionName is the name of one of the Gateway's listeners, such as https"))]
    pub section_name: Option<String>,
}

/// What an instance may talk to. All that isn't named is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Where requests to exposed components come from: the ingress controller. From anywhere, where left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub ingress_from: Vec<Peer>,
    /// Where pods may connect to, beside one another, the cluster's DNS and their database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub egress_to: Vec<Egress>,
}

/// Where pods may connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// The other end.
    pub to: Peer,
    /// TCP ports; all, where left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
}

/// The identity of the pods. No token of Kubernetes is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    /// Annotations for the cloud's identities, such as `eks.amazonaws.com/role-arn`. `${…}` works as in `extras`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = Rule::new(QUALIFIED_KEYS).message("each key of annotations is an annotation's name, such as eks.amazonaws.com/role-arn"))]
    pub annotations: BTreeMap<String, AnnotationValue>,
}

/// A further object, as a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Extra {
    /// Its API group and version.
    #[schemars(length(min = 1, max = 200))]
    pub api_version: String,
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name, labels and annotations. It is made in the tenant's namespace.
    pub metadata: ExtraMetadata,
    /// All else that the kind has.
    #[serde(flatten)]
    #[schemars(skip)]
    pub content: serde_json::Map<String, serde_json::Value>,
}

/// The metadata of a further object. Its namespace is the tenant's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtraMetadata {
    /// The name; `${…}` works here too.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Labels, beside those that every object of a tenant has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = Rule::new(QUALIFIED_KEYS).message("each key of labels is a label's name, such as release"))]
    pub labels: BTreeMap<String, AnnotationValue>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = Rule::new(QUALIFIED_KEYS).message("each key of annotations is an annotation's name, such as example.com/owner"))]
    pub annotations: BTreeMap<String, AnnotationValue>,
}
