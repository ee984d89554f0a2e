//! Many at once: Postgres' statements on roles and databases don't wait for each other, so somebody has to try again.

use crate::support::*;
use futures::future::join_all;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_tenants_are_made_at_once_in_a_shared_database_that_is_made_with_them() {
    let (server, name) = server_with_own_database();
    let tenants: Vec<_> = (0..30).map(|_| schema_tenant_in(&name)).collect();
    for result in join_all(tenants.iter().map(|tenant| server.ensure(tenant))).await {
        result.unwrap();
    }
    let verified = server.verify(&tenants).await.unwrap();
    assert!(verified.values().all(|changes| changes.as_ref().is_ok_and(Vec::is_empty)), "{verified:?}");
    for result in join_all(tenants.iter().map(|tenant| server.drop_tenant(&tenant.owner, &tenant.uid))).await {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_databases_are_made_at_once() {
    let tenants: Vec<_> = (0..10).map(|_| database_tenant()).collect();
    let server = server();
    for result in join_all(tenants.iter().map(|tenant| server.ensure(tenant))).await {
        result.unwrap();
    }
    for result in join_all(tenants.iter().map(|tenant| server.drop_tenant(&tenant.owner, &tenant.uid))).await {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_is_made_by_several_at_once() {
    for desired in both_kinds() {
        let server = server();
        for result in join_all((0..4).map(|_| server.ensure(&desired))).await {
            result.unwrap();
        }
        assert_eq!(told(&server.ensure(&desired).await.unwrap()), Vec::<String>::new());
        tenant_session(&desired).await.run("CREATE TABLE note (text text)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_takes_every_advisory_lock_holds_nobody_up() {
    let (guest, desired) = (schema_tenant(), schema_tenant());
    server().ensure(&guest).await.unwrap();
    let session = tenant_session(&guest).await;
    session
        .run(&format!(
            "SELECT pg_advisory_lock(hashtextextended('{}', 0)), pg_advisory_lock(n) FROM generate_series(0, 999) n",
            desired.owner
        ))
        .await;
    let begin = std::time::Instant::now();
    server().ensure(&desired).await.unwrap();
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
}
