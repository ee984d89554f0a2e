//! What somebody changed is found and put right; what somebody added beside it stays.

use crate::support::*;
use tenantry::database::{DatabaseError, Server};

/// A way to spoil a tenant, as the superuser in the database that holds its data; `{owner}`, `{login}`, `{place}` and `{group}` stand
/// for names, `{other}` for another tenant's login.
const SPOILS_OF_ALL: [&str; 14] = [
    "DROP OWNED BY \"{login}\"; DROP ROLE \"{login}\"",
    "ALTER ROLE \"{login}\" NOLOGIN",
    "ALTER ROLE \"{login}\" CONNECTION LIMIT 50",
    "ALTER ROLE \"{login}\" CREATEDB",
    "ALTER ROLE \"{login}\" NOINHERIT",
    "COMMENT ON ROLE \"{login}\" IS '{\"tenantry_login_of\":\"{owner}\",\"fingerprint\":\"0\"}'",
    "ALTER ROLE \"{login}\" IN DATABASE {database} SET statement_timeout = 0",
    "ALTER ROLE \"{login}\" IN DATABASE {database} RESET ALL",
    "ALTER ROLE {owner} LOGIN",
    "ALTER ROLE {owner} CREATEROLE",
    "GRANT CREATE ON {place} TO PUBLIC",
    "GRANT ALL ON {place} TO \"{other}\"",
    "SET ROLE {owner}; REVOKE ALL ON {place} FROM {owner}; RESET ROLE",
    "SET ROLE {owner}; GRANT ALL ON {place} TO \"{other}\" WITH GRANT OPTION; RESET ROLE",
];

/// The same, as the operator, who may take back what he granted.
const SPOILS_BY_OPERATOR: [&str; 4] = [
    "REVOKE {owner} FROM \"{login}\"",
    "GRANT {owner} TO \"{other}\"",
    "GRANT \"{login}\" TO \"{other}\"",
    "GRANT \"{other}\" TO \"{login}\"",
];

/// The same for what tenants of one database share.
const SPOILS_OF_SHARED: [&str; 7] = [
    "REVOKE CONNECT ON DATABASE {database} FROM \"{group}\"",
    "GRANT CREATE ON DATABASE {database} TO \"{group}\"",
    "GRANT CONNECT ON DATABASE {database} TO PUBLIC",
    "GRANT CREATE ON SCHEMA public TO PUBLIC",
    "ALTER ROLE \"{group}\" LOGIN",
    "DROP OWNED BY \"{group}\"; DROP ROLE \"{group}\"",
    "ALTER ROLE \"{group}\" CREATEDB",
];

#[tokio::test]
async fn every_spoiled_part_is_found_and_put_right() {
    for own in [false, true] {
        let (server, name) = server_with_own_database();
        let desired = if own { database_tenant() } else { schema_tenant_in(&name) };
        let other = schema_tenant_in(&name);
        server.ensure(&other).await.unwrap();
        server.ensure(&desired).await.unwrap();
        tenant_session(&desired).await.run("CREATE TABLE note (text text)").await;
        let place = if own { format!("DATABASE {}", desired.owner) } else { format!("SCHEMA {}", desired.owner) };
        let shared: &[_] = if own { &[] } else { &SPOILS_OF_SHARED };
        let superuser = superuser_session(&desired.database).await;
        let operator = operator_session(&name).await;
        let by_superuser = SPOILS_OF_ALL.iter().chain(shared).map(|spoil| (spoil, &superuser));
        for (spoil, session) in by_superuser.chain(SPOILS_BY_OPERATOR.iter().map(|spoil| (spoil, &operator))) {
            if own && spoil.contains("GRANT CREATE ON {place}") {
                continue; // the superuser's own grant on a database is tried by the others
            }
            let spoil = spoil
                .replace("{owner}", &desired.owner)
                .replace("{login}", &desired.login.name)
                .replace("{place}", &place)
                .replace("{database}", &desired.database)
                .replace("{group}", &format!("tenantry.{name}"))
                .replace("{other}", &other.login.name);
            session.run(&spoil).await;
            let found = server.verify(std::slice::from_ref(&desired)).await.unwrap().remove(&desired.owner).unwrap().unwrap();
            assert!(!found.is_empty(), "not found: {spoil}");
            let made = server.ensure(&desired).await.unwrap_or_else(|error| panic!("{spoil}: {error}"));
            assert_eq!(told(&made), told(&found), "{spoil}");
            assert_eq!(told(&server.ensure(&desired).await.unwrap()), Vec::<String>::new(), "{spoil}");
            tenant_session(&desired).await.run("INSERT INTO note VALUES ('whole again'); CREATE TEMP TABLE passing (text text)").await;
        }
    }
}

#[tokio::test]
async fn what_only_an_admin_may_put_right_is_named_with_the_statement() {
    let spoils = ["ALTER ROLE \"{login}\" BYPASSRLS", "ALTER ROLE {owner} REPLICATION"];
    let desired = schema_tenant();
    server().ensure(&desired).await.unwrap();
    let superuser = superuser_session(&environment("DATABASE")).await;
    let fill = |text: &str| text.replace("{owner}", &desired.owner).replace("{login}", &desired.login.name);
    for spoil in spoils {
        superuser.run(&fill(spoil)).await;
        let error = server().ensure(&desired).await.unwrap_err();
        let DatabaseError::NeedsAdmin { statement, .. } = &error else { panic!("{error}") };
        assert!(error.is_retryable());
        superuser.run(statement).await;
        assert_eq!(told(&server().ensure(&desired).await.unwrap()), Vec::<String>::new());
    }
    // Whoever has CREATEROLE on 15 may take any role's membership back; later only who may grant it.
    superuser.run(&fill("GRANT pg_read_all_data TO \"{login}\"")).await;
    match server().ensure(&desired).await {
        Ok(changes) => assert_eq!((environment("VERSION").as_str(), changes.len()), ("15", 1)),
        Err(DatabaseError::NeedsAdmin { statement, .. }) => {
            superuser.run(&statement).await;
        }
        Err(error) => panic!("{error}"),
    }
    assert_eq!(told(&server().ensure(&desired).await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn what_an_admin_adds_for_himself_stays() {
    for desired in both_kinds() {
        server().ensure(&desired).await.unwrap();
        let superuser = superuser_session(&desired.database).await;
        let reporting = format!("reporting_{}", unique());
        let place = if desired.schema.is_some() { format!("SCHEMA {}", desired.owner) } else { format!("DATABASE {}", desired.owner) };
        let right = if desired.schema.is_some() { "USAGE" } else { "CONNECT" };
        superuser
            .run(&format!(
                "CREATE ROLE {reporting}; GRANT {right} ON {place} TO {reporting}; ALTER ROLE \"{0}\" SET work_mem = '8MB';
                 ALTER ROLE \"{0}\" VALID UNTIL '2999-01-01'; ALTER ROLE \"{0}\" SET log_min_duration_statement = 1",
                desired.login.name
            ))
            .await;
        assert_eq!(told(&server().ensure(&desired).await.unwrap()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_operator_whose_role_did_not_make_the_tenants_is_told_what_it_lacks() {
    if environment("VERSION") == "15" {
        return; // there CREATEROLE is enough
    }
    let desired = schema_tenant();
    server().ensure(&desired).await.unwrap();
    let superuser = superuser_session(&environment("DATABASE")).await;
    let login = tenantry::database::Login { name: format!("operator_{}", unique()), password: tenantry::database::generate_password() };
    superuser
        .run(&format!(
            "CREATE ROLE {0} LOGIN CREATEROLE CREATEDB PASSWORD '{1}'; GRANT CONNECT ON DATABASE {2} TO {0}",
            login.name,
            login.verifier(),
            desired.database
        ))
        .await;
    let other = Server::new(tenantry::database::Address { user: login.name, password: login.password, ..address() });
    let error = other.ensure(&with_login(&desired, 1)).await.unwrap_err();
    assert!(matches!(error, DatabaseError::NeedsAdmin { .. }), "{error}");
}
