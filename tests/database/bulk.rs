//! All tenants of a server are verified at once, by as many statements as one.

use crate::support::*;
use tenantry::database::{DatabaseError, DesiredDatabase, Server};

async fn statements_of_verifying(server: &Server, tenants: &[DesiredDatabase]) -> u64 {
    let before = server.statements();
    server.verify(tenants).await.unwrap();
    server.statements() - before
}

#[tokio::test]
async fn verifying_tells_each_tenant_apart_with_two_statements() {
    let (server, name) = server_with_own_database();
    let superuser = superuser_session("postgres").await;
    let [fine, own, drifted, lost, missing, foreign] = [
        schema_tenant_in(&name),
        database_tenant(),
        schema_tenant_in(&name),
        database_tenant(),
        schema_tenant_in(&name),
        schema_tenant_in(&name),
    ];
    for tenant in [&fine, &own, &drifted, &lost] {
        server.ensure(tenant).await.unwrap();
    }
    superuser.run(&format!("ALTER ROLE \"{}\" CONNECTION LIMIT 99", drifted.login.name)).await;
    superuser.run(&format!("DROP DATABASE {}", lost.owner)).await;
    superuser.run(&format!("CREATE ROLE {}", foreign.owner)).await;
    let tenants = [fine, own, drifted, lost, missing, foreign];
    let verified = server.verify(&tenants).await.unwrap();
    let [fine, own, drifted, lost, missing, foreign] = tenants.each_ref().map(|tenant| &verified[&tenant.owner]);
    assert!(fine.as_ref().unwrap().is_empty() && own.as_ref().unwrap().is_empty(), "{fine:?} {own:?}");
    assert_eq!(told(drifted.as_ref().unwrap()), [format!("set the limits of login {}", tenants[2].login.name)]);
    assert!(matches!(lost, Err(DatabaseError::DataMissing { .. })), "{lost:?}");
    assert!(missing.as_ref().unwrap().len() > 4, "{missing:?}");
    assert!(matches!(foreign, Err(DatabaseError::ForeignRole { .. })), "{foreign:?}");
    assert_eq!(statements_of_verifying(&server, &tenants).await, 2);
    assert_eq!(statements_of_verifying(&server, &tenants[..1]).await, 2);
    assert_eq!(statements_of_verifying(&server, &[]).await, 2);
}

/// The number can be set, as ten thousand take the server a minute to make.
#[tokio::test]
async fn thousands_of_tenants_are_verified_within_seconds() {
    let count: usize = std::env::var("TENANTRY_TEST_TENANTS").map_or(500, |count| count.parse().unwrap());
    let (server, name) = server_with_own_database();
    let first = schema_tenant_in(&name);
    server.ensure(&first).await.unwrap();
    let tenants: Vec<_> = (0..count).map(|_| schema_tenant_in(&name)).collect();
    // Made as the operator would, but for the password, and without its round trips.
    let operator = operator_session(&name).await;
    let comments = superuser_session(&name).await;
    let described = |role: &str| format!("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '{role}'");
    let owner_comment = comments.run(&described(&first.owner)).await.remove(0);
    for some in tenants.chunks(100) {
        let mut sql = "BEGIN;".to_owned();
        for tenant in some {
            let (owner, login) = (&tenant.owner, &tenant.login.name);
            let comment =
                owner_comment.replace(&first.owner, owner).replace(&first.tenant, &tenant.tenant).replace(&first.uid, &tenant.uid);
            let fingerprint = tenant.login.fingerprint();
            sql += &format!(
                "CREATE ROLE {owner}; COMMENT ON ROLE {owner} IS '{comment}'; GRANT {owner} TO CURRENT_USER; CREATE SCHEMA AUTHORIZATION {owner};
                 ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
                 REVOKE {owner} FROM CURRENT_USER; CREATE ROLE \"{login}\" LOGIN CONNECTION LIMIT 5;
                 COMMENT ON ROLE \"{login}\" IS '{{\"tenantry_login_of\":\"{owner}\",\"fingerprint\":\"{fingerprint}\"}}';
                 GRANT {owner} TO \"{login}\"; GRANT \"tenantry.{name}\" TO {owner} {options};
                 ALTER ROLE \"{login}\" IN DATABASE {name} SET role = {owner}; ALTER ROLE \"{login}\" IN DATABASE {name} SET search_path = {owner};
                 ALTER ROLE \"{login}\" IN DATABASE {name} SET statement_timeout = '60s';
                 ALTER ROLE \"{login}\" IN DATABASE {name} SET idle_in_transaction_session_timeout = '300s';",
                options = if environment("VERSION") == "15" { "" } else { "WITH INHERIT TRUE, SET FALSE" },
            );
        }
        operator.run(&(sql + "COMMIT")).await;
    }
    let begin = std::time::Instant::now();
    let before = server.statements();
    let verified = server.verify(&tenants).await.unwrap();
    let took = begin.elapsed();
    let drift: Vec<_> = verified.values().filter(|changes| !changes.as_ref().is_ok_and(Vec::is_empty)).collect();
    assert!(drift.is_empty(), "{} of {count}, the first {:?}", drift.len(), drift[0]);
    assert_eq!((verified.len(), server.statements() - before), (count, 2));
    println!("{count} tenants were verified within {took:?}");
    assert!(took.as_secs() < 10, "{took:?}");
    let begin = std::time::Instant::now();
    server.verify(&tenants[..1]).await.unwrap();
    println!("one among them within {:?}", begin.elapsed());
    let begin = std::time::Instant::now();
    server.ensure(&schema_tenant_in(&name)).await.unwrap();
    println!("one more was made within {:?}", begin.elapsed());
}
