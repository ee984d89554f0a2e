//! Every label, annotation, finalizer and field manager that the operator writes or reads, in one place.

/// The field manager of all our writes; also the value of [`MANAGED_BY`].
pub const MANAGER: &str = "tenantry";
/// The field manager of what is granted to tenants: a status that another process writes from an older view doesn't take it back.
pub const COORDINATOR: &str = "tenantry-coordinator";

/// Which program keeps an object; see the [recommended labels](https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The product: the blueprint's name.
pub const NAME: &str = "app.kubernetes.io/name";
/// The instance: the tenant's name.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// The part of the instance: a component's name.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// What the instance belongs to: the blueprint's name.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// The version that runs.
pub const APP_VERSION: &str = "app.kubernetes.io/version";
/// The tenant that an object belongs to. On a namespace it is also what the admission policy looks at.
pub const TENANT: &str = "tenantry.dev/tenant";

/// Digest of what the operator last applied to an object, so that a restart needs no write to know, and, after a hyphen, the digest of which fields it had.
pub const APPLIED: &str = "tenantry.dev/applied";
/// Digest of the configuration and secrets that a pod was started with; a change rolls the pods.
pub const CONFIGURATION: &str = "tenantry.dev/configuration";
/// On a Tenant: any new value asks for a new database login and a new password.
pub const ROTATE: &str = "tenantry.dev/rotate";
/// On the database Secret: the value of [`ROTATE`] that it answers.
pub const ROTATED: &str = "tenantry.dev/rotated";
/// On a Tenant: any new value runs the migration again.
pub const RETRY: &str = "tenantry.dev/retry";
/// On a Tenant: any new value asks for a link by which its first person logs in; see [`crate::api::blueprint::FirstLogin`]. On the Secret of the link: the
/// value that it answers.
pub const FIRST_LOGIN: &str = "tenantry.dev/first-login";
/// On a Tenant: any new value makes the operator look at everything anew, also at what can't be watched: Secrets and the database.
pub const RECONCILE: &str = "tenantry.dev/reconcile";
/// On the database Secret: the DatabaseServer that the tenant was placed on.
pub const DATABASE_SERVER: &str = "tenantry.dev/database-server";
/// On a Tenant that is being deleted: with the tenant's name as value, lets go of a database that can't be reached.
pub const FORCE_DELETE: &str = "tenantry.dev/force-delete";
/// On a Release: the commit of the source that its version was built from, as CI tells it.
pub const COMMIT: &str = "tenantry.dev/commit";
/// On a migration Job: what it was made for, see [`crate::instance::Migration::key`].
pub const MIGRATION: &str = "tenantry.dev/migration";
/// On a Lease: into how many shards its holder splits the tenants.
pub const SHARDS: &str = "tenantry.dev/shards";

/// Where `kubectl apply` keeps the whole manifest that was applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Holds a Tenant until all that it had is gone or retained.
pub const TENANT_FINALIZER: &str = "tenantry.dev/instance";
/// Holds a Blueprint, Plan, Release or DatabaseServer while a tenant uses it.
pub const IN_USE_FINALIZER: &str = "tenantry.dev/in-use";
