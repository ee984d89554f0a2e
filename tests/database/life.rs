//! A tenant's database from its making to its end, and what a namesake gets.

use crate::support::*;
use tenantry::database::{DatabaseError, DesiredDatabase, Login, Server, generate_password};

#[tokio::test]
async fn a_tenant_is_made_once_and_then_left_alone() {
    for desired in both_kinds() {
        assert!(!server().ensure(&desired).await.unwrap().is_empty());
        assert_eq!(told(&server().ensure(&desired).await.unwrap()), Vec::<String>::new());
        let session = tenant_session(&desired).await;
        session.run("CREATE TABLE note (text text); INSERT INTO note VALUES ('hello')").await;
        assert_eq!(
            session.run("SELECT tableowner FROM pg_tables WHERE tablename = 'note' AND schemaname = current_schema").await,
            [desired.owner.as_str()]
        );
        assert_eq!(session.run("SHOW statement_timeout").await, ["1min"]);
        assert_eq!(session.run("SELECT current_user").await, [desired.owner.as_str()]);
    }
}

#[tokio::test]
async fn no_trace_of_the_operator_is_left_in_a_tenants_roles() {
    let [one, two] = both_kinds();
    for desired in [one, two] {
        server().ensure(&desired).await.unwrap();
        let rights = format!(
            "SELECT pg_has_role('{}', r.oid, 'USAGE') FROM pg_roles r WHERE rolname IN ('{}', '{}')",
            address().user,
            desired.owner,
            desired.login.name
        );
        assert_eq!(superuser_session("postgres").await.run(&rights).await, ["f", "f"]);
    }
}

#[tokio::test]
async fn deletion_leaves_nothing_and_may_be_repeated() {
    let superuser = superuser_session("postgres").await;
    for desired in both_kinds() {
        server().ensure(&desired).await.unwrap();
        let session = tenant_session(&desired).await;
        session
            .run("CREATE TABLE note (text text); CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT lo_create(0)")
            .await;
        session.run("SET ROLE NONE; SELECT lo_create(0); SELECT lo_create(0)").await;
        let elsewhere = log_in(&desired.login, "postgres").await.unwrap();
        elsewhere.run("SELECT lo_create(0)").await;
        let roles = superuser.run(&format!("SELECT oid FROM pg_roles WHERE rolname ~ '^{}'", desired.owner)).await.join(", ");
        assert!(roles.contains(','), "{roles}");

        server().drop_tenant(&desired.owner, "another-uid").await.unwrap();
        assert_eq!(session.run("SELECT 1").await, ["1"], "another tenant's deletion must not touch it");
        server().drop_tenant(&desired.owner, &desired.uid).await.unwrap();
        server().drop_tenant(&desired.owner, &desired.uid).await.unwrap();

        assert!(session.try_run("SELECT 1").await.is_err(), "its sessions end");
        let left = format!(
            "SELECT 'role', oid FROM pg_roles WHERE oid IN ({roles})
             UNION ALL SELECT 'depends', refobjid FROM pg_shdepend WHERE refobjid IN ({roles})
             UNION ALL SELECT 'member', roleid FROM pg_auth_members WHERE roleid IN ({roles}) OR member IN ({roles}) OR grantor IN ({roles})
             UNION ALL SELECT 'setting', setrole FROM pg_db_role_setting WHERE setrole IN ({roles})
             UNION ALL SELECT 'comment', objoid FROM pg_shdescription WHERE objoid IN ({roles})
             UNION ALL SELECT 'database', oid FROM pg_database WHERE datname = '{}'",
            desired.owner
        );
        assert_eq!(superuser.run(&left).await, Vec::<String>::new());
        let schemas = format!("SELECT nspname FROM pg_namespace WHERE nspname = '{}'", desired.owner);
        assert_eq!(operator_session(&environment("DATABASE")).await.run(&schemas).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_deletion_that_was_interrupted_goes_on_where_it_was() {
    for desired in both_kinds() {
        server().ensure(&desired).await.unwrap();
        tenant_session(&desired).await.run("CREATE TABLE note (text text)").await;
        // What belongs to somebody else hangs on a role of it, so that its last step is refused.
        let superuser = superuser_session("postgres").await;
        let blocker = format!("blocker_{}", unique());
        superuser.run(&format!("CREATE DATABASE {blocker} ALLOW_CONNECTIONS false OWNER \"{}\"", desired.login.name)).await;
        let error = server().drop_tenant(&desired.owner, &desired.uid).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        let error = server().ensure(&desired).await.unwrap_err();
        assert!(matches!(error, DatabaseError::HalfDropped { .. }), "{error}");
        superuser.run(&format!("DROP DATABASE {blocker}")).await;
        server().drop_tenant(&desired.owner, &desired.uid).await.unwrap();
        assert_eq!(
            superuser.run(&format!("SELECT rolname FROM pg_roles WHERE rolname ~ '^{}'", desired.owner)).await,
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn retained_data_is_a_namesakes_only_if_it_names_the_former_uid() {
    for former in both_kinds() {
        server().ensure(&former).await.unwrap();
        let other = with_login(&former, 2);
        server().ensure(&other).await.unwrap();
        let session = tenant_session(&former).await;
        session.run("CREATE TABLE note (text text); INSERT INTO note VALUES ('kept')").await;
        server().retain(&former.owner, "another-uid").await.unwrap();
        assert_eq!(session.run("SELECT 1").await, ["1"]);
        server().retain(&former.owner, &former.uid).await.unwrap();
        server().retain(&former.owner, &former.uid).await.unwrap();
        assert!(session.try_run("SELECT 1").await.is_err(), "its sessions end");
        for login in [&former.login, &other.login] {
            assert_eq!(code(&log_in(login, &former.database).await.err().unwrap()), "28000");
        }

        let login = Login { name: former.login.name.clone(), password: generate_password() };
        let namesake = DesiredDatabase { uid: unique(), login, ..former.clone() };
        for adopt in [None, Some("a-wrong-uid".to_owned())] {
            let error = server().ensure(&DesiredDatabase { adopt, ..namesake.clone() }).await.unwrap_err();
            assert!(matches!(&error, DatabaseError::FormerTenant { uid } if *uid == former.uid), "{error}");
        }
        let heir = DesiredDatabase { adopt: Some(former.uid.clone()), ..namesake };
        server().ensure(&heir).await.unwrap();
        assert_eq!(tenant_session(&heir).await.run("SELECT text FROM note").await, ["kept"]);
        assert_eq!(code(&log_in(&former.login, &former.database).await.err().unwrap()), "28P01", "the former password is of no use");
        let logins = format!("SELECT rolname FROM pg_roles WHERE rolname ~ '^{}[.]'", former.owner);
        assert_eq!(superuser_session("postgres").await.run(&logins).await, [heir.login.name.as_str()], "the former's other login is gone");
        assert_eq!(told(&server().ensure(&heir).await.unwrap()), Vec::<String>::new());
        server().drop_tenant(&former.owner, &former.uid).await.unwrap();
        assert_eq!(tenant_session(&heir).await.run("SELECT text FROM note").await, ["kept"], "the former tenant has no say any more");
    }
}

#[tokio::test]
async fn adopting_from_a_tenant_that_was_let_go_by_force_locks_its_logins_and_drops_them_once_unused() {
    let former = with_login(&schema_tenant(), 7);
    server().ensure(&former).await.unwrap();
    let session = tenant_session(&former).await;
    let heir = DesiredDatabase { uid: unique(), adopt: Some(former.uid.clone()), ..with_login(&former, 1) };
    server().ensure(&heir).await.unwrap();
    assert_eq!(code(&log_in(&former.login, &former.database).await.err().unwrap()), "28000");
    let superuser = superuser_session("postgres").await;
    let exists = format!("SELECT rolname FROM pg_roles WHERE rolname = '{}'", former.login.name);
    server().ensure(&heir).await.unwrap();
    assert_eq!(superuser.run(&exists).await, [former.login.name.as_str()], "it is still in use");
    drop(session);
    let gone = format!("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = '{}')", former.login.name);
    until_found(&superuser, &gone).await;
    server().ensure(&heir).await.unwrap();
    assert_eq!(superuser.run(&exists).await, Vec::<String>::new());
}

#[tokio::test]
async fn lost_data_is_never_made_anew() {
    let superuser = superuser_session(&environment("DATABASE")).await;
    for (desired, loss) in both_kinds().into_iter().zip(["SCHEMA", "DATABASE"]) {
        server().ensure(&desired).await.unwrap();
        superuser.run(&format!("DROP {loss} {} {}", desired.owner, if loss == "SCHEMA" { "CASCADE" } else { "" })).await;
        for _ in 0..2 {
            let error = server().ensure(&desired).await.unwrap_err();
            assert!(matches!(error, DatabaseError::DataMissing { .. }), "{error}");
        }
        let verified = server().verify(std::slice::from_ref(&desired)).await.unwrap();
        assert!(matches!(verified[&desired.owner], Err(DatabaseError::DataMissing { .. })));
    }
}

#[tokio::test]
async fn a_tenant_that_is_known_to_have_had_data_is_not_begun_anew_on_an_empty_server() {
    for desired in both_kinds() {
        let error = server().ensure(&DesiredDatabase { held_data: true, ..desired }).await.unwrap_err();
        assert!(matches!(error, DatabaseError::DataMissing { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_creation_that_was_interrupted_is_finished() {
    let superuser = superuser_session("postgres").await;
    // What is there after a crash behind the first transaction, behind CREATE DATABASE, and behind the database's change of hands.
    for then in ["DROP DATABASE {0}", "ALTER DATABASE {0} OWNER TO tenantry; GRANT CONNECT ON DATABASE {0} TO PUBLIC", "SELECT 1"] {
        let desired = database_tenant();
        server().ensure(&desired).await.unwrap();
        let comment =
            superuser.run(&format!("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '{}'", desired.owner)).await;
        let comment = comment[0].replace("\"ready\"", "\"creating\"");
        superuser.run(&format!("COMMENT ON ROLE {} IS '{comment}'", desired.owner)).await;
        for statement in then.replace("{0}", &desired.owner).split("; ") {
            superuser.run(statement).await;
        }
        assert!(!server().ensure(&desired).await.unwrap().is_empty(), "{then}");
        tenant_session(&desired).await.run("CREATE TABLE note (text text)").await;
        assert_eq!(told(&server().ensure(&desired).await.unwrap()), Vec::<String>::new(), "{then}");
    }
}

#[tokio::test]
async fn what_exists_and_is_not_ours_is_refused_and_not_touched() {
    let superuser = superuser_session(&environment("DATABASE")).await;
    let [schema, database] = both_kinds();
    let role = schema_tenant();
    superuser.run(&format!("CREATE ROLE {}", role.owner)).await;
    let login = schema_tenant();
    superuser.run(&format!("CREATE ROLE \"{}\"", login.login.name)).await;
    superuser.run(&format!("CREATE SCHEMA {}", schema.owner)).await;
    superuser.run(&format!("CREATE DATABASE {}", database.owner)).await;
    let reason = async |desired: &DesiredDatabase| server().ensure(desired).await.unwrap_err().reason();
    assert_eq!(reason(&role).await, "ForeignRole");
    assert_eq!(reason(&login).await, "ForeignRole");
    assert_eq!(reason(&schema).await, "ForeignData");
    assert_eq!(reason(&database).await, "ForeignData");
    let made = format!("SELECT rolname FROM pg_roles WHERE rolname IN ('{}', '{}')", schema.owner, database.owner);
    assert_eq!(superuser.run(&made).await, Vec::<String>::new());

    let (own, name) = server_with_own_database();
    superuser.run(&format!("CREATE ROLE \"tenantry.{name}\"")).await;
    let error = own.ensure(&schema_tenant_in(&name)).await.unwrap_err();
    assert!(matches!(error, DatabaseError::ForeignGroup { .. }), "{error}");
}

#[tokio::test]
async fn data_does_not_move_between_schema_and_database() {
    let [one, two] = both_kinds();
    server().ensure(&one).await.unwrap();
    let error = server().ensure(&DesiredDatabase { database: one.owner.clone(), schema: None, ..one.clone() }).await.unwrap_err();
    assert!(matches!(error, DatabaseError::PlaceChanged { .. }), "{error}");
    server().ensure(&two).await.unwrap();
    let moved = DesiredDatabase { database: environment("DATABASE"), schema: Some(two.owner.clone()), ..two.clone() };
    assert!(matches!(server().ensure(&moved).await.unwrap_err(), DatabaseError::PlaceChanged { .. }));
}

#[tokio::test]
async fn extensions_are_there_for_the_tenant_and_only_those_that_it_may_have() {
    for desired in both_kinds() {
        let desired = DesiredDatabase { extensions: vec!["citext".into(), "pg_trgm".into()], ..desired };
        server().ensure(&desired).await.unwrap();
        let session = tenant_session(&desired).await;
        session.run("CREATE TABLE person (name citext); INSERT INTO person VALUES ('Ada')").await;
        assert_eq!(session.run("SELECT name FROM person WHERE name = 'ADA'").await, ["Ada"]);
        assert_eq!(session.run("SELECT similarity('word', 'word')").await, ["1"]);
        assert_eq!(told(&server().ensure(&desired).await.unwrap()), Vec::<String>::new());

        let wanting = DesiredDatabase { extensions: vec!["pageinspect".into()], ..desired };
        let error = server().ensure(&wanting).await.unwrap_err();
        assert!(matches!(error, DatabaseError::NeedsAdmin { .. }), "{error}");
        assert!(error.to_string().contains("CREATE EXTENSION IF NOT EXISTS \"pageinspect\""), "{error}");
    }
}

#[tokio::test]
async fn the_shared_database_is_made_where_it_is_missing() {
    let (server, name) = server_with_own_database();
    let desired = schema_tenant_in(&name);
    server.ensure(&desired).await.unwrap();
    assert_eq!(tenant_session(&desired).await.run("SELECT current_database()").await, [name]);
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_said_to_be_so_without_the_password() {
    let canary = generate_password();
    let refused = Server::new(tenantry::database::Address { password: canary.clone(), ..address() });
    let error = refused.check().await.unwrap_err();
    assert_eq!(error.reason(), "DatabaseAuthenticationFailed");
    let nobody = Server::new(tenantry::database::Address { port: 1, password: canary.clone(), ..address() });
    let error_two = nobody.check().await.unwrap_err();
    assert_eq!(error_two.reason(), "DatabaseUnreachable");
    assert!(!format!("{error} {error:?} {error_two} {error_two:?} {refused:?}").contains(&canary));
    let facts = server().check().await.unwrap();
    assert!(facts.version.starts_with(&environment("VERSION")) && !facts.superuser, "{facts:?}");
}

#[tokio::test]
async fn a_login_that_lacks_a_right_is_told_with_the_statement_that_gives_it() {
    let (name, password) = (format!("weak_{}", unique()), generate_password());
    let superuser = superuser_session("postgres").await;
    superuser.run(&format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'")).await;
    superuser.run(&format!("CREATE DATABASE {name}")).await;
    superuser.run(&format!("GRANT CONNECT ON DATABASE {name} TO {name}")).await;
    let weak = Server::new(tenantry::database::Address { user: name.clone(), password, database: name.clone(), ..address() });
    for statement in [format!("ALTER ROLE \"{name}\" CREATEROLE"), format!("GRANT CREATE ON DATABASE \"{name}\" TO \"{name}\"")] {
        let error = weak.check().await.unwrap_err();
        assert_eq!(error.reason(), "DatabaseNeedsAdmin");
        assert!(error.to_string().ends_with(&statement), "{error}");
        superuser.run(&statement).await;
    }
    weak.check().await.unwrap();
    superuser.run(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
    superuser.run(&format!("DROP ROLE {name}")).await;
}

/// What docs/database.md says to run.
#[tokio::test]
async fn a_tenant_is_restored_and_dropped_by_hand_as_documented() {
    let desired = schema_tenant();
    server().ensure(&desired).await.unwrap();
    tenant_session(&desired).await.run("CREATE TABLE note (text text); INSERT INTO note VALUES ('kept')").await;
    let (owner, login, shared) = (&desired.owner, &desired.login.name, &desired.database);
    let by_hand =
        format!("GRANT {owner}, \"{login}\" TO CURRENT_USER; DROP OWNED BY {owner}, \"{login}\" CASCADE; DROP ROLE \"{login}\", {owner}");
    operator_session(shared).await.run(&by_hand).await;

    let superuser = superuser_session(shared).await;
    let admin = if environment("VERSION") == "15" {
        String::new()
    } else {
        format!("GRANT {owner} TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;", address().user)
    };
    superuser
        .run(&format!(
            "CREATE ROLE {owner}; COMMENT ON ROLE {owner} IS
             '{{\"tenantry\":1,\"tenant\":\"{}\",\"uid\":\"{}\",\"state\":\"ready\",\"database\":\"{shared}\",\"schema\":\"{owner}\"}}'; {admin}
             CREATE SCHEMA {owner} AUTHORIZATION {owner}; SET ROLE {owner};
             CREATE TABLE {owner}.note (text text); INSERT INTO {owner}.note VALUES ('kept')",
            desired.tenant, desired.uid
        ))
        .await;
    server().ensure(&DesiredDatabase { held_data: true, ..desired.clone() }).await.unwrap();
    assert_eq!(tenant_session(&desired).await.run("SELECT text FROM note").await, ["kept"]);
}
