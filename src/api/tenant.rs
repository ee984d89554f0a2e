//! `Tenant`: one customer, and what is particular about it.

use super::Release;
use super::release::{CHANNEL, DEFAULT_CHANNEL};
use super::shared::{COMPONENT_KEYS, Replicas};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A customer of the product that a Blueprint describes. From it the operator makes, and keeps, a whole instance:
/// a namespace with guard rails, a database with its own login, secrets, workloads and routes.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Tenant",
    status = "TenantStatus",
    derive = "PartialEq",
    shortname = "tn",
    category = "tenantry",
    cel,
    doc = "A customer of the product that a Blueprint describes, and its whole instance.",
    validation = Rule::new("self.metadata.name.size() <= 40").message("a tenant's name has at most 40 characters, because namespaces, hosts and database roles are made from it: choose a shorter one"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("a tenant's name has only small letters, digits and hyphens (no dots), and begins and ends with a letter or digit, because it becomes part of a host name: write acme-west instead of acme.west"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether all that was asked for is so"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why it is, or is not yet, ready"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "Where the instance is reached"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "The version that serves"),
    printcolumn(name = "Plan", type_ = "string", json_path = ".spec.plan", description = "The tenant's plan"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when the tenant exists"),
    printcolumn(name = "Blueprint", type_ = "string", json_path = ".spec.blueprint", priority = 1, description = "The product"),
    printcolumn(name = "Server", type_ = "string", json_path = ".status.database.server", priority = 1, description = "The DatabaseServer that holds the tenant's data"),
    printcolumn(name = "Customer", type_ = "string", json_path = ".spec.displayName", priority = 1, description = "The customer's name"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "The reason, as a sentence")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.blueprint == oldSelf.blueprint").message("blueprint can't be changed, because another product would meet this one's data: make a new Tenant for the other product"))]
#[x_kube(validation = Rule::new("!has(oldSelf.region) || (has(self.region) && self.region == oldSelf.region)").message("region can't be changed once it is set, because the data would have to move: make a new Tenant in the other region"))]
pub struct TenantSpec {
    /// The customer's name, as people write it.
    #[schemars(length(min = 1, max = 80))]
    #[x_kube(validation = Rule::new("!self.matches('[\\\\x00-\\\\x1f\\\\x7f]')").message("displayName is one line of text, without control characters"))]
    pub display_name: String,

    /// The name of the Blueprint: the product that the customer gets. It can't be changed later.
    #[schemars(length(min = 1, max = 63))]
    pub blueprint: String,

    /// The name of the Plan: how big the instance is.
    #[schemars(length(min = 1, max = 63))]
    pub plan: String,

    /// The region of the database server and of the nodes (their label `topology.kubernetes.io/region`). Any, where
    /// left out. It can't be changed once it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("region must look like a label's value, such as eu-central"))]
    pub region: Option<String>,

    /// Which version runs, and when it may change. The channel `stable`, at any time, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<TenantRelease>,

    /// Further host names, beside `<name>.<baseDomain of the blueprint>`. The customer points them to the ingress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(d, d.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\\\\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$'))").message("each of domains is a full host name in small letters, such as projects.acme.com: without https://, a path, a port or a *, and in punycode (xn--…) where it has other letters"))]
    pub domains: Vec<String>,

    /// Values for the settings that the blueprint lets a tenant set, by the name of their environment variable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(validation = Rule::new("self.all(k, k.size() <= 100)").message("each key of settings is the name of one of the blueprint's settings, which has at most 100 characters"))]
    pub settings: BTreeMap<String, Setting>,

    /// The look of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branding: Option<Branding>,

    /// What differs from the plan, by the name of the blueprint's component, within the plan's bounds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    #[x_kube(validation = Rule::new(COMPONENT_KEYS).message("each key of components is the name of one of the blueprint's components, which has at most 40 characters"))]
    pub components: BTreeMap<String, TenantComponent>,

    /// Takes the instance out of service: no pods, no route, the data untouched. Setting it back brings it back.
    #[serde(default)]
    pub suspended: bool,

    /// The end of a trial: from this moment on the instance is suspended; it is never deleted by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,

    /// What concerns the tenant's database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<TenantDatabase>,

    /// When the Tenant is deleted, and what happens then.
    #[serde(default)]
    pub deletion: Deletion,
}

/// A setting's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Setting(#[schemars(length(max = 1000))] pub String);

/// Which version a tenant runs, and when it may change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.channel) && has(self.version))").message("a tenant follows a channel or is pinned to a version, not both: leave one out"))]
pub struct TenantRelease {
    /// The channel whose releases the tenant gets, such as rc, early or stable. `stable`, where neither this nor `version` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new(CHANNEL).message("channel is a name in small letters, such as rc, early or stable"))]
    pub channel: Option<String>,
    /// A version of the product: the one of a Release, or else the tag of an image. The tenant stays on it until it is changed by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("version must be the tag of an image that is also a label's value, such as 2026.11.3"))]
    pub version: Option<String>,
    /// When a release may begin to move the tenant. At any time, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// No release moves the tenant before a moment; releases don't wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// A maintenance window. What has begun in it goes on to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.from != self.to").message("a window from a time to the same time is none: write from: \"22:00\" and to: \"04:00\""))]
pub struct Window {
    /// The days on which it opens. Every day, where left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub days: Vec<Day>,
    /// When it opens, such as `"22:00"`.
    #[schemars(length(min = 5, max = 5))]
    #[x_kube(validation = Rule::new(TIME_OF_DAY).message("from is a time of the day in quotes, such as \"22:00\""))]
    pub from: String,
    /// When it closes, such as `"04:00"`; on the next day, where that is before `from`.
    #[schemars(length(min = 5, max = 5))]
    #[x_kube(validation = Rule::new(TIME_OF_DAY).message("to is a time of the day in quotes, such as \"04:00\""))]
    pub to: String,
    /// The time zone of both, by its name in the IANA database, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 60))]
    pub time_zone: String,
}

/// A time of the day, to the minute.
const TIME_OF_DAY: &str = "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')";

fn utc() -> String {
    "UTC".to_owned()
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Until when a tenant stays on what it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The moment from which on releases may move it again.
    pub until: Time,
}

/// The look of an instance. Containers get it as environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Branding {
    /// The main colour, as `BRANDING_PRIMARY_COLOR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^#[0-9a-fA-F]{6}$')").message("primaryColor is # and six hexadecimal digits, in quotes, such as \"#0a5c36\""))]
    pub primary_color: Option<String>,
    /// The address of the logo, as `BRANDING_LOGO_URL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    #[x_kube(validation = Rule::new("self.matches('^https://[^ \"<>\\'\\\\\\\\]+$')").message("logoUrl is an https address, such as https://acme.com/logo.svg"))]
    pub logo_url: Option<String>,
}

/// What a tenant sets of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantComponent {
    /// How many pods; the plan's, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
}

/// What a tenant's manifest says of its database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantDatabase {
    /// The UID of a former Tenant of this name whose retained data this one takes over. The message of the stalled
    /// Tenant names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[-A-Za-z0-9]+$')").message("adopt is the UID of the former Tenant, such as 2b1f5c0e-6a0e-4c0f-9b58-3d0a8f1f1f11"))]
    pub adopt: Option<String>,
}

/// When a Tenant is deleted, and what happens then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.at) && has(self.protected) && self.protected)").message("a protected tenant can't be given a moment at which it is deleted: leave deletion.at out, or set deletion.protected to false"))]
pub struct Deletion {
    /// What becomes of the data in the database: `Retain` locks the logins and keeps it until an admin drops it; `Delete` drops the data, the
    /// roles and the logins.
    #[serde(default)]
    pub policy: DeletionPolicy,
    /// Whether a deletion of this Tenant is refused, until this is set back.
    #[serde(default)]
    pub protected: bool,
    /// The moment at which the operator deletes the Tenant. Until then it is suspended, and comes back where this is taken away. Only who may
    /// delete Tenants may set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// What becomes of a deleted tenant's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The logins are locked; the data stays in the database until an admin drops it.
    #[default]
    Retain,
    /// The data, the roles and the logins are dropped.
    Delete,
}

/// What the operator saw and did. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct TenantStatus {
    /// The generation of the manifest that the rest of this status speaks of; -1 before the first look.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,
    /// Where the instance is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The host names that the instance has. It keeps them as long as it claims them; no other tenant can take them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The version whose migration is done and whose pods serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<String>,
    /// The release that the rest of this status speaks of; none where the tenant runs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<CurrentRelease>,
    /// The UID of the Release whose version serves; none where it is none's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving_release: Option<String>,
    /// The namespace of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Where the tenant's data is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    /// The last migration that ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationStatus>,
    /// The link for the first login that was asked for last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_login: Option<FirstLoginStatus>,
    /// What the tenant was given of what tenants compete for. Only where several operators share the tenants: the one that holds shard 0
    /// decides and writes it, the one that holds the tenant's shard waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// The value of the annotation `tenantry.dev/reconcile` that was answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// `Ready`, then `Reconciling` or `Stalled` while they are so, then one for each step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

fn not_observed() -> i64 {
    -1
}

/// A link by which a tenant's first person logs in, as far as it may be known: the token is in the Secret `first-login` alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FirstLoginStatus {
    /// The value of the annotation `tenantry.dev/first-login` that it answers.
    pub request: String,
    /// How far it is.
    pub state: FirstLoginState,
    /// What the link has between the tenant's address and the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Until when it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far a link for the first login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FirstLoginState {
    /// The product is being told of it.
    Making,
    /// It works, once.
    Ready,
    /// There is none.
    Failed,
    /// Its time has passed.
    Over,
}

/// Where a tenant's data is. Set once; the tenant stays there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// The DatabaseServer.
    pub server: String,
    /// The database on that server.
    pub name: String,
    /// The schema, where many tenants share the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The role that owns all the tenant's data.
    pub owner: String,
}

/// What a tenant was given of what tenants compete for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The host names that it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The DatabaseServer that its data comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// The release that a tenant has, or is on its way to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentRelease {
    /// The Release.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When the tenant began to move to it.
    pub since: Time,
    /// The UIDs of those that it had before, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
}

/// A migration that ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationStatus {
    /// The version that it migrated to.
    pub version: String,
    /// Digest of what it ran; the same is not run twice.
    pub key: String,
    /// Those of the ones before, the latest first: a version that the database was once brought to needs no migration when it comes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
}

/// So many releases and migrations of before are remembered. Nobody rolls back further.
const REMEMBERED: usize = 10;

/// The latest first.
fn remember(latest: String, mut before: Vec<String>) -> Vec<String> {
    before.retain(|known| *known != latest);
    before.insert(0, latest);
    before.truncate(REMEMBERED);
    before
}

impl CurrentRelease {
    /// What a tenant has once it gets this release; what it had is remembered. The same as before where that is what it has.
    pub fn after(before: Option<Self>, release: Option<&Release>, now: Timestamp) -> Option<Self> {
        let release = release?;
        let uid = release.uid().unwrap_or_default();
        match before {
            Some(before) if before.uid == uid => Some(before),
            Some(before) => {
                let mut earlier = remember(before.uid, before.before);
                earlier.retain(|known| *known != uid);
                Some(Self { name: release.name_any(), uid, since: Time(now), before: earlier })
            }
            None => Some(Self { name: release.name_any(), uid, since: Time(now), before: Vec::new() }),
        }
    }
}

impl MigrationStatus {
    /// After a migration. One that was done before, and whose version comes back, is remembered as the last before the newest: else its version would
    /// be migrated again once enough newer ones have come and were taken back.
    pub fn after(before: Option<Self>, version: &str, key: &str) -> Self {
        match before {
            Some(done) if done.key == key => done,
            Some(done) if done.has_done(key) => Self { before: remember(key.to_owned(), done.before), ..done },
            before => {
                let before = before.map(|before| remember(before.key, before.before)).unwrap_or_default();
                Self { version: version.to_owned(), key: key.to_owned(), before }
            }
        }
    }

    /// Whether the database was brought there already, if only before it was brought further.
    pub fn has_done(&self, key: &str) -> bool {
        self.key == key || self.before.iter().any(|before| before == key)
    }
}

impl TenantStatus {
    /// The hosts that the tenant was given. Without a grant there was one operator, which needed none.
    pub fn granted_hosts(&self) -> &[String] {
        self.grant.as_ref().map_or(&self.hosts, |grant| &grant.hosts)
    }

    /// The DatabaseServer that has the tenant's data, or that it was given.
    pub fn server(&self) -> Option<&str> {
        let placed = self.database.as_ref().map(|database| database.server.as_str());
        placed.or_else(|| self.grant.as_ref()?.server.as_deref())
    }
}

impl Tenant {
    /// The version that it is pinned to.
    pub fn pinned(&self) -> Option<&str> {
        self.spec.release.as_ref()?.version.as_deref()
    }

    /// The channel whose releases it gets.
    pub fn channel(&self) -> &str {
        self.spec.release.as_ref().and_then(|release| release.channel.as_deref()).unwrap_or(DEFAULT_CHANNEL)
    }

    /// When the operator deletes it, which it does of nobody who was made later: that moment was meant for another of the name.
    pub fn leaves_at(&self) -> Option<&Time> {
        let made = self.metadata.creation_timestamp.as_ref();
        self.spec.deletion.at.as_ref().filter(|at| made.is_none_or(|made| made.0 < at.0))
    }

    /// The conditions, or none where there is no status yet.
    pub fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |s| &s.conditions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_leaves_at_a_moment_before_it_was_made() {
        let tenant = |made: Option<&str>| -> Tenant {
            let spec = serde_json::json!({"displayName": "A", "blueprint": "b", "plan": "p", "deletion": {"at": "2026-12-01T00:00:00Z"}});
            serde_json::from_value(serde_json::json!({"metadata": {"name": "acme", "creationTimestamp": made}, "spec": spec})).unwrap()
        };
        for (made, leaves) in [
            (None, true),
            (Some("2026-11-30T23:59:59Z"), true),
            (Some("2026-12-01T00:00:00Z"), false),
            (Some("2027-01-01T00:00:00Z"), false),
        ] {
            assert_eq!(tenant(made).leaves_at().is_some(), leaves, "{made:?}");
        }
    }

    #[test]
    fn a_version_that_comes_back_again_and_again_is_never_migrated_again() {
        let mut status = MigrationStatus::after(None, "1.0", "base");
        for number in 0..3 * REMEMBERED {
            status = MigrationStatus::after(Some(status), "1.1", &format!("next{number}"));
            assert!(status.has_done("base"), "taken back {number} times");
            status = MigrationStatus::after(Some(status), "1.0", "base");
            assert_eq!(
                (status.key.as_str(), status.version.as_str()),
                (format!("next{number}").as_str(), "1.1"),
                "the database is where it was"
            );
        }
        assert_eq!(status.before.len(), REMEMBERED);
    }
}
