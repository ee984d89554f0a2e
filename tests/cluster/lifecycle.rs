//! The life of a tenant, from its creation through changes to its suspension and back.

use crate::support::Tenant;

#[tokio::test]
async fn a_new_tenant_becomes_ready_with_every_condition() {
    let tenant = Tenant::new("fresh").ready().await;
    for kind in ["DatabaseReady", "Migrated", "Available", "Routed", "Healthy"] {
        tenant.condition(kind, "True").await;
    }
    let status = &tenant.get().await["status"];
    assert_eq!(status["url"], format!("http://{}.sample.localhost", tenant.name));
    assert_eq!(status["version"], "1.0");
    assert_eq!(status["namespace"], tenant.namespace);
    assert_eq!(status["database"]["owner"], tenant.owner());
}
