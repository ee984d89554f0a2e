//! `DatabaseServer`: where tenants' databases live, how to reach it, and how many it may hold.

use super::shared::Peer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A database server that holds tenants' data.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "DatabaseServer",
    status = "DatabaseServerStatus",
    derive = "PartialEq",
    shortname = "dbs",
    category = "tenantry",
    cel,
    doc = "A database server that holds tenants' data: how to reach it, and how many tenants it may hold.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("a database server's name has at most 63 characters: choose a shorter one"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the operator can work there"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why it can, or can't"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region", description = "The region"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants", description = "Tenants placed there"),
    printcolumn(name = "Capacity", type_ = "integer", json_path = ".spec.capacity.tenants", description = "Tenants that it may hold"),
    printcolumn(name = "Server", type_ = "string", json_path = ".status.serverVersion", description = "The server's own version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when it is known"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host", priority = 1, description = "Its address"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "The reason, as a sentence")
)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseServerSpec {
    /// What kind of database it is: `Postgres`, version 14 or later.
    #[serde(default)]
    pub engine: Engine,

    /// The host name or address, as both the operator and the tenants' pods reach it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9._-]+$') || isIP(self)").message("host is a name or an address, without a port or a scheme: the port has a field of its own"))]
    pub host: String,

    /// The port.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// The database that tenants with `isolation: Schema` share, and that the operator connects to. The operator makes it where it is missing.
    #[serde(default = "default_database")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z_][a-z0-9_]*$') && !(self in ['postgres', 'template0', 'template1'])").message("database is a name in small letters, digits and _, and none of Postgres' own (postgres, template0, template1): for example tenants"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("database can't be changed, because tenants' data is in it: make another DatabaseServer"))]
    pub database: String,

    /// The region that it is in. Tenants without a region may be placed on any server; tenants with one only on a server of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("region must look like a label's value, such as eu-central"))]
    pub region: Option<String>,

    /// How much it may hold.
    #[serde(default)]
    pub capacity: Capacity,

    /// How the connections are protected, the operator's and the tenants'.
    #[serde(default)]
    pub tls: Tls,

    /// The Secret in the operator's namespace that holds the operator's own login.
    pub admin_secret: AdminSecret,

    /// Where the server is on the network, for the tenants' NetworkPolicy. Where left out: its address, if `host` is one,
    /// else any address on its port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub peers: Vec<Peer>,
}

fn default_port() -> u16 {
    5432
}

fn default_database() -> String {
    "tenants".to_owned()
}

/// A kind of database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Engine {
    /// PostgreSQL, 14 or later.
    #[default]
    Postgres,
}

/// How much a server may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// How many tenants may be placed there. 0 takes no more.
    #[serde(default = "default_capacity")]
    #[schemars(range(min = 0, max = 100000))]
    pub tenants: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { tenants: default_capacity() }
    }
}

fn default_capacity() -> u32 {
    1000
}

/// How connections are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// What is asked of the server. `VerifyFull`: encrypted, and the certificate is signed by the authority in `ca.crt` of the admin Secret, or
    /// without one by one that the system knows, and made for the host (for the latter the product needs libpq 16). `Require`: encrypted, the
    /// certificate not looked at. `Disable`: in clear, for a server on the same machine only.
    #[serde(default)]
    pub mode: TlsMode,
}

/// What is asked of a server's TLS; the names are libpq's `sslmode` in our spelling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// Encrypted, the certificate signed by a known authority and made for the host: `ca.crt` of the admin Secret, or the system's.
    #[default]
    VerifyFull,
    /// Encrypted, the certificate not looked at.
    Require,
    /// In clear. For a server on the same machine only.
    Disable,
}

/// The Secret of the operator's own login, in the operator's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminSecret {
    /// Its name. It has the keys `username` and `password`, and `ca.crt` where the server's authority isn't a public one.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("name is the name of a Secret, such as postgres-admin"))]
    pub name: String,
}

/// What the operator saw of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct DatabaseServerStatus {
    /// The generation that the rest speaks of; -1 before the first look.
    #[serde(default)]
    pub observed_generation: i64,
    /// The server's own version, such as `15.18`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// How many tenants are placed there.
    #[serde(default)]
    pub tenants: u32,
    /// `Ready` (can the operator work there) and `InUse` (may it be deleted).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
