//! One host, one tenant.

use crate::support::{Tenant, unique};
use serde_json::json;

#[tokio::test]
async fn the_older_of_two_tenants_keeps_a_host_and_the_other_gets_it_once_it_is_let_go() {
    let host = format!("{}.example.com", unique("contested"));
    let older = Tenant::new("older").with(json!({"domains": [host]})).ready().await;
    let younger = Tenant::new("younger").with(json!({"domains": [host]})).create().await;
    let message = younger.stalled("HostConflict").await;
    assert!(message.contains(&host) && message.contains(&older.name), "{message}");
    assert!(younger.world.find("Namespace", None, &younger.namespace).await.is_none(), "nothing is made of a tenant in conflict");
    older.ready().await;

    older.change(json!({"domains": []})).await;
    younger.ready().await;
    older.ready().await;

    // Who has a host keeps it, whatever the age of who asks for it.
    older.change(json!({"domains": [host]})).await;
    let message = older.stalled("HostConflict").await;
    assert!(message.contains(&younger.name), "{message}");
    older.condition("Available", "True").await;
    younger.delete().await.gone().await;
    older.ready().await;
}

#[tokio::test]
async fn a_domain_that_is_the_own_host_of_another_tenant_is_refused() {
    let first = Tenant::new("first").ready().await;
    let second = Tenant::new("second").with(json!({"domains": [format!("{}.sample.localhost", first.name)]})).create().await;
    assert!(second.stalled("HostConflict").await.contains(&first.name));
    first.delete().await;
    second.ready().await;
}
