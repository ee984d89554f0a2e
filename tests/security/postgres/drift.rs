//! What opens a tenant's data is closed again at the next look, whoever opened it.

use super::support::*;
use tenantry::database::DatabaseError;

#[tokio::test]
async fn what_opens_a_tenants_data_is_found_and_closed() {
    let (server, shared) = server_with_own_database();
    let (tenant, other) = (schema_tenant_in(&shared), schema_tenant_in(&shared));
    for tenant in [&tenant, &other] {
        server.ensure(tenant).await.unwrap();
    }
    let superuser = superuser_session(&shared).await;
    for opened in [
        format!("GRANT USAGE ON SCHEMA {} TO PUBLIC", tenant.owner),
        format!("GRANT ALL ON SCHEMA {} TO {}", tenant.owner, other.owner),
        format!("GRANT {} TO {}", tenant.owner, other.owner),
        format!("GRANT pg_read_all_data TO \"{}\"", tenant.login.name),
        format!("ALTER ROLE {} LOGIN", tenant.owner),
        format!("ALTER ROLE \"{}\" CREATEROLE CREATEDB", tenant.login.name),
        format!("ALTER ROLE \"{}\" CONNECTION LIMIT -1", tenant.login.name),
        format!("GRANT CONNECT ON DATABASE {shared} TO PUBLIC"),
        "GRANT CREATE ON SCHEMA public TO PUBLIC".to_owned(),
        format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} GRANT EXECUTE ON FUNCTIONS TO PUBLIC", tenant.owner),
    ] {
        superuser.run(&opened).await;
        let found = server.verify(std::slice::from_ref(&tenant)).await.unwrap();
        assert!(!found[&tenant.owner].as_ref().unwrap().is_empty(), "{opened} isn't seen");
        match server.ensure(&tenant).await {
            Ok(_) => {}
            // Since Postgres 16 only who granted a role, or an admin, can take it back: it is said with the statement.
            Err(DatabaseError::NeedsAdmin { statement, .. }) if environment("VERSION") != "15" => {
                superuser.run(&statement).await;
                server.ensure(&tenant).await.unwrap();
            }
            Err(error) => panic!("{opened}: {error}"),
        }
        let found = server.verify(std::slice::from_ref(&tenant)).await.unwrap();
        assert_eq!(told(found[&tenant.owner].as_ref().unwrap()), Vec::<String>::new(), "{opened}");
    }
}
