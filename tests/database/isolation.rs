//! One tenant's real login against all that is another's. Each attempt has a control, which is the same by somebody who may, so that an
//! attempt that fails for a reason of its own is noticed.

use crate::support::*;

/// Who may do what the neighbour may not.
#[derive(Clone, Copy)]
enum Control {
    /// The tenant that it belongs to.
    Victim,
    /// The same by its login as itself: who acts as the owner hasn't the rights of the login.
    Login,
    /// The superuser, in the database that holds it.
    Superuser,
}
use Control::{Login, Superuser, Victim};

/// `{s}` is the victim's schema, `{o}` its owner, `{l}` its login, `{d}` the shared database, `{own}` the neighbour's login, `{oown}` its owner.
const ATTEMPTS: &[(Control, &str)] = &[
    (Victim, "CREATE TABLE {s}.planted (id int)"),
    (Victim, "SELECT 1 FROM {s}.note"),
    (Victim, "INSERT INTO {s}.note VALUES ('planted')"),
    (Victim, "UPDATE {s}.note SET text = 'planted'"),
    (Victim, "DELETE FROM {s}.note"),
    (Victim, "TRUNCATE {s}.note"),
    (Victim, "LOCK TABLE {s}.note"),
    (Victim, "ALTER TABLE {s}.note ADD COLUMN planted int"),
    (Victim, "CREATE INDEX ON {s}.note (text)"),
    (Victim, "CREATE TRIGGER planted BEFORE INSERT ON {s}.note FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
    (Victim, "DROP TABLE {s}.note CASCADE"),
    (Victim, "ANALYZE {s}.missing_unless_mine"),
    (Victim, "SELECT 1 FROM {s}.note_view"),
    (Victim, "SELECT 1 FROM {s}.note_copy"),
    (Victim, "REFRESH MATERIALIZED VIEW {s}.note_copy"),
    (Victim, "SELECT nextval('{s}.number')"),
    (Victim, "SELECT setval('{s}.number', 5)"),
    (Victim, "SELECT last_value FROM {s}.number"),
    (Victim, "SELECT {s}.secret()"),
    (Victim, "SELECT has_schema_privilege('{s}', 'CREATE') WHERE has_schema_privilege('{s}', 'CREATE')"),
    (Victim, "CREATE OR REPLACE FUNCTION {s}.secret() RETURNS text LANGUAGE sql AS $$ SELECT 'planted' $$"),
    (Victim, "CREATE TEMP TABLE borrowed (mood {s}.mood)"),
    (Victim, "SELECT 'calm'::{s}.mood"),
    (Victim, "CREATE TEMP TABLE inherited () INHERITS ({s}.note)"),
    (Victim, "SELECT lo_get({lo})"),
    (Victim, "SELECT lo_put({lo}, 0, 'planted')"),
    (Victim, "SELECT lo_unlink({lo})"),
    (Victim, "GRANT USAGE ON SCHEMA {s} TO {oown}"),
    (Victim, "GRANT SELECT ON {s}.note TO {oown}"),
    (Superuser, "ALTER SCHEMA {s} RENAME TO taken_{u}"),
    (Victim, "DROP SCHEMA {s} CASCADE"),
    (Victim, "ALTER DEFAULT PRIVILEGES FOR ROLE {o} GRANT SELECT ON TABLES TO PUBLIC"),
    (Victim, "COMMENT ON TABLE {s}.note IS 'planted'"),
    (Login, "SELECT query FROM pg_stat_activity WHERE usename = '{l}' AND query LIKE '%canary%'"),
    (Victim, "SELECT most_common_vals FROM pg_stats WHERE schemaname = '{s}'"),
    (Victim, "SELECT table_name FROM information_schema.tables WHERE table_schema = '{s}'"),
    (Login, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = '{l}' AND pid <> pg_backend_pid()"),
    (Login, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{l}' AND pid <> pg_backend_pid()"),
    (Victim, "SET ROLE {o}"),
    (Victim, "SET ROLE \"{l}\""),
    (Superuser, "SET ROLE tenantry"),
    (Superuser, "SET SESSION AUTHORIZATION \"{l}\""),
    (Superuser, "GRANT {o} TO {oown}"),
    (Superuser, "GRANT \"{l}\" TO \"{own}\""),
    (Superuser, "GRANT tenantry TO {oown}"),
    (Superuser, "GRANT pg_read_all_data TO {oown}"),
    (Superuser, "GRANT pg_execute_server_program TO \"{own}\""),
    (Superuser, "GRANT CREATE ON DATABASE {d} TO {oown}; CREATE SCHEMA granted_{u}"),
    (Superuser, "ALTER ROLE \"{l}\" PASSWORD 'planted'"),
    (Superuser, "ALTER ROLE \"{l}\" SET search_path = {oown}"),
    (Superuser, "ALTER ROLE {o} LOGIN"),
    (Superuser, "ALTER ROLE \"{own}\" CONNECTION LIMIT 1000"),
    (Superuser, "ALTER ROLE {oown} SUPERUSER"),
    (Superuser, "ALTER ROLE ALL SET search_path = {oown}"),
    (Superuser, "ALTER DATABASE {d} SET search_path = {oown}"),
    (Superuser, "ALTER SYSTEM SET work_mem = '1GB'"),
    (Superuser, "COMMENT ON ROLE {oown} IS 'planted'"),
    (Superuser, "DROP ROLE \"{own}\""),
    (Superuser, "DROP OWNED BY {o}"),
    (Superuser, "REASSIGN OWNED BY {o} TO {oown}"),
    (Superuser, "CREATE ROLE planted_{u}"),
    (Superuser, "CREATE DATABASE planted_{u}"),
    (Superuser, "CREATE SCHEMA planted_{u}"),
    (Superuser, "CREATE TABLE public.planted_{u} (id int)"),
    (Superuser, "CREATE EXTENSION dblink"),
    (Superuser, "CREATE EXTENSION file_fdw"),
    (Superuser, "CREATE EXTENSION intarray"),
    (Superuser, "CREATE FUNCTION planted() RETURNS int LANGUAGE c AS 'libc', 'abs'"),
    (Superuser, "CREATE EVENT TRIGGER planted ON ddl_command_start EXECUTE FUNCTION pg_catalog.planted()"),
    (Superuser, "CREATE PUBLICATION planted_{u} FOR ALL TABLES"),
    (Superuser, "COPY (SELECT 1) TO PROGRAM 'cat'"),
    (Superuser, "COPY (SELECT 1) TO '/dev/null'"),
    (Superuser, "SELECT pg_read_file('postgresql.conf')"),
    (Superuser, "SELECT pg_ls_dir('.')"),
    (Superuser, "SELECT lo_import('/etc/hostname')"),
    (Superuser, "SELECT rolpassword FROM pg_authid"),
    (Superuser, "SELECT pg_reload_conf()"),
    (Superuser, "SET session_replication_role = replica"),
    (Superuser, "SET log_statement = 'none'"),
];

/// Controls that can't be: there is nothing to succeed with, it would outlast the test, or the operator, who made the role, may
/// grant it since Postgres 16 and so can't be its member.
const WITHOUT_CONTROL: [&str; 5] = ["CREATE FUNCTION planted", "CREATE EVENT TRIGGER", "ANALYZE", "ALTER SYSTEM", "GRANT tenantry TO"];

/// What Postgres runs in no transaction.
const ALONE: [&str; 2] = ["CREATE DATABASE", "ALTER SYSTEM"];

/// What Postgres says to those who may not: a lack of rights, or that there is no such thing for them.
const REFUSALS: [&str; 4] = ["42501", "42P01", "3F000", "42704"];

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reaches_nothing_of_another() {
    let (server, shared) = server_with_own_database();
    let (neighbour, victim) = (schema_tenant_in(&shared), schema_tenant_in(&shared));
    for tenant in [&neighbour, &victim] {
        server.ensure(tenant).await.unwrap();
    }
    let own = tenant_session(&victim).await;
    let large_object = own
        .run(
            "CREATE TABLE note (text text); INSERT INTO note SELECT 'canary' FROM generate_series(1, 100); ANALYZE note;
             CREATE VIEW note_view AS SELECT * FROM note; CREATE MATERIALIZED VIEW note_copy AS SELECT * FROM note;
             CREATE SEQUENCE number; SELECT nextval('number'); CREATE TYPE mood AS ENUM ('calm');
             CREATE FUNCTION secret() RETURNS text LANGUAGE sql AS $$ SELECT 'canary' $$; SELECT lo_from_bytea(0, 'canary')",
        )
        .await
        .pop()
        .unwrap();
    let superuser = superuser_session(&shared).await;
    let attacker = tenant_session(&neighbour).await;
    let mut permitted = Vec::new();
    for (control, attempt) in ATTEMPTS {
        let sql = attempt
            .replace("{s}", &victim.owner)
            .replace("{oown}", &neighbour.owner)
            .replace("{own}", &neighbour.login.name)
            .replace("{o}", &victim.owner)
            .replace("{l}", &victim.login.name)
            .replace("{d}", &shared)
            .replace("{u}", &unique())
            .replace("{lo}", &large_object);
        // A session of the victim's, busy with something that it says in its statement, and to be ended.
        let busy = tenant_session(&victim).await;
        busy.run("SELECT 'canary'").await;
        let alone = ALONE.iter().any(|start| sql.starts_with(start));
        for role in [neighbour.owner.as_str(), "NONE"] {
            attacker.run(&format!("SET ROLE {role}")).await;
            match attacker.try_run(&if alone { sql.clone() } else { format!("BEGIN; {sql}") }).await {
                Ok(rows) if sql.starts_with("SELECT") && rows.is_empty() => {}
                Ok(_) => permitted.push(format!("as {role}: {sql}")),
                Err(error) if REFUSALS.contains(&code(&error).as_str()) => {}
                Err(error) => panic!("{sql} failed, but not for lack of rights: {}", said(&error)),
            }
            attacker.run("ROLLBACK").await;
        }
        if WITHOUT_CONTROL.iter().any(|start| sql.starts_with(start)) {
            continue;
        }
        let session = match control {
            Victim | Login => &own,
            Superuser => &superuser,
        };
        if matches!(control, Login) {
            session.run("SET ROLE NONE").await;
        }
        let sql = if alone { sql } else { format!("BEGIN; {sql}") };
        let rows = session.try_run(&sql).await.unwrap_or_else(|error| panic!("the control of {sql} failed: {}", said(&error)));
        assert!(!sql.starts_with("BEGIN; SELECT") || !rows.is_empty(), "the control of {sql} gave nothing");
        session.run("ROLLBACK").await;
        // RESET ROLE is to what a session began with, which for a tenant's is the owner.
        session.run("RESET SESSION AUTHORIZATION; RESET ROLE").await;
    }
    assert!(permitted.is_empty(), "a tenant may do to another: {permitted:#?}");
}

#[tokio::test]
async fn nobody_logs_in_to_anothers_database() {
    let [shared, own] = both_kinds();
    let other = database_tenant();
    for tenant in [&shared, &own, &other] {
        server().ensure(tenant).await.unwrap();
        tenant_session(tenant).await;
    }
    for (login, database) in [(&shared, &own), (&own, &shared), (&other, &own)] {
        let refused = log_in(&login.login, &database.database).await.err().unwrap();
        assert_eq!(code(&refused), "42501", "{}", said(&refused));
    }
    // The owner of a database may let others in, and doesn't for long.
    tenant_session(&own).await.run(&format!("GRANT CONNECT ON DATABASE {} TO PUBLIC", own.database)).await;
    log_in(&other.login, &own.database).await.unwrap();
    server().ensure(&own).await.unwrap();
    assert!(log_in(&other.login, &own.database).await.is_err());
}

#[tokio::test]
async fn a_tenant_holds_no_more_connections_than_its_plan_says() {
    let desired = schema_tenant();
    server().ensure(&desired).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..desired.connection_limit {
        sessions.push(tenant_session(&desired).await);
    }
    assert_eq!(code(&log_in(&desired.login, &desired.database).await.err().unwrap()), "53300");
}

#[tokio::test]
async fn the_operators_statements_run_nothing_of_a_tenants() {
    let desired = database_tenant();
    server().ensure(&desired).await.unwrap();
    let session = tenant_session(&desired).await;
    // The owner of a database may set what its sessions begin with, the operator's among them.
    session
        .run(&format!(
            "CREATE TABLE ran (who text);
             CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.ran VALUES (session_user) RETURNING who $$;
             CREATE FUNCTION public.split_part(text, text, int) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.ran VALUES (session_user) RETURNING who $$;
             ALTER DATABASE {0} SET search_path = public, pg_catalog; ALTER DATABASE {0} SET default_transaction_read_only = on",
            desired.owner
        ))
        .await;
    let wanting = tenantry::database::DesiredDatabase { extensions: vec!["hstore".into()], ..desired.clone() };
    server().ensure(&wanting).await.unwrap();
    server().retire_logins(&desired.owner, &desired.uid, &desired.login.name).await.unwrap();
    assert_eq!(session.run("SELECT who FROM public.ran").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_isolated_is_what_the_documentation_says() {
    let (one, two) = (schema_tenant(), schema_tenant());
    for tenant in [&one, &two] {
        server().ensure(tenant).await.unwrap();
    }
    let session = tenant_session(&one).await;
    assert_eq!(session.run(&format!("SELECT rolname FROM pg_roles WHERE rolname = '{}'", two.owner)).await, [two.owner.as_str()]);
    assert_eq!(session.run(&format!("SELECT nspname FROM pg_namespace WHERE nspname = '{}'", two.owner)).await, [two.owner.as_str()]);
    tenant_session(&two).await.run("CREATE TABLE visible_name (id int)").await;
    let named = format!("SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace AND relkind = 'r'", two.owner);
    assert_eq!(session.run(&named).await, ["visible_name"]);
    session.run("SET statement_timeout = 0").await;
    session.run("SELECT pg_advisory_lock(1)").await;
    session.run("NOTIFY everybody, 'who listens'; LISTEN everybody").await;
    let group = format!("SET ROLE \"tenantry.{}\"", one.database);
    assert_eq!(session.try_run(&group).await.is_ok(), environment("VERSION") == "15", "{group}");
}
