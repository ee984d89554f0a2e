//! What becomes of an instance when its Tenant, or something that it uses, is deleted.

use crate::support::Tenant;
use serde_json::json;

#[tokio::test]
async fn a_deleted_tenant_with_policy_delete_leaves_nothing() {
    let tenant = Tenant::new("leaves").with(json!({"deletion": {"policy": "Delete"}})).ready().await;
    tenant.delete().await.gone().await;
    assert!(tenant.world.find("Namespace", None, &tenant.namespace).await.is_none());
    let postgres = &tenant.world.environment.postgres;
    assert_eq!(postgres.admin(&format!("select rolname from pg_roles where rolname ~ '^{}'", tenant.owner())).await, "");
    assert_eq!(postgres.admin(&format!("select nspname from pg_namespace where nspname = '{}'", tenant.owner())).await, "");
}
