//! One tenant's real login against all that is another's, and against the server.

use super::neighbours::Control::{Login, Nobody, Superuser, Victim};
use super::neighbours::Neighbours;
use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reads_and_writes_no_data_of_another() {
    let data = [
        (Victim, "SELECT 1 FROM {s}.note"),
        (Victim, "TABLE {s}.note"),
        (Victim, "INSERT INTO {s}.note VALUES ('planted')"),
        (Victim, "UPDATE {s}.note SET text = 'planted'"),
        (Victim, "DELETE FROM {s}.note"),
        (Victim, "MERGE INTO {s}.note USING (SELECT 1) AS one ON false WHEN NOT MATCHED THEN INSERT VALUES ('planted')"),
        (Victim, "TRUNCATE {s}.note"),
        (Victim, "LOCK TABLE {s}.note"),
        (Victim, "SELECT 1 FROM {s}.note_view"),
        (Victim, "SELECT 1 FROM {s}.note_copy"),
        (Victim, "REFRESH MATERIALIZED VIEW {s}.note_copy"),
        (Victim, "SELECT nextval('{s}.number')"),
        (Victim, "SELECT setval('{s}.number', 5)"),
        (Victim, "SELECT last_value FROM {s}.number"),
        (Victim, "SELECT lo_get({lo})"),
        (Victim, "SELECT lo_put({lo}, 0, 'planted')"),
        (Victim, "SELECT lo_open({lo}, 131072)"),
        (Victim, "SELECT lo_unlink({lo})"),
        (Victim, "SELECT most_common_vals FROM pg_stats WHERE schemaname = '{s}'"),
        (Victim, "SELECT table_name FROM information_schema.tables WHERE table_schema = '{s}'"),
        (Victim, "CREATE TEMP TABLE inherited () INHERITS ({s}.note)"),
        (Victim, "CREATE TEMP TABLE alike (LIKE {s}.note)"),
        (Victim, "CREATE TEMP VIEW borrowed AS SELECT * FROM {s}.note"),
    ];
    Neighbours::new().await.refuse(&data).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_calls_no_function_and_uses_no_type_of_another() {
    let functions = [
        (Victim, "SELECT {s}.secret()"),
        (Victim, "CALL {s}.clear()"),
        (Victim, "SELECT {s}.joined(text) FROM (VALUES ('a')) AS t(text)"),
        (Victim, "SELECT 'a' OPERATOR({s}.<=>) 'b'"),
        (Victim, "CREATE TEMP TABLE borrowed (mood {s}.mood)"),
        (Victim, "SELECT 'calm'::{s}.mood"),
        (Victim, "SELECT 'a'::{s}.short"),
        (Victim, "DO $$ BEGIN PERFORM {s}.secret(); END $$"),
    ];
    Neighbours::new().await.refuse(&functions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_changes_nothing_of_anothers_schema() {
    let definitions = [
        (Victim, "CREATE TABLE {s}.planted (id int)"),
        (Victim, "ALTER TABLE {s}.note ADD COLUMN planted int"),
        (Victim, "CREATE INDEX ON {s}.note (text)"),
        (Victim, "CREATE TRIGGER planted BEFORE INSERT ON {s}.note FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
        (Victim, "CREATE RULE planted AS ON INSERT TO {s}.note DO ALSO NOTHING"),
        (Victim, "CREATE POLICY planted ON {s}.note USING (true)"),
        (Victim, "CREATE STATISTICS {s}.planted ON (lower(text)), (upper(text)) FROM {s}.note"),
        (Victim, "CREATE OR REPLACE FUNCTION {s}.secret() RETURNS text LANGUAGE sql AS $$ SELECT 'planted' $$"),
        (Victim, "CREATE VIEW {s}.planted AS SELECT 1"),
        (Victim, "COMMENT ON TABLE {s}.note IS 'planted'"),
        (Victim, "DROP TABLE {s}.note CASCADE"),
        (Victim, "DROP SCHEMA {s} CASCADE"),
        (Superuser, "ALTER SCHEMA {s} RENAME TO taken_{u}"),
        (Superuser, "ALTER SCHEMA {s} OWNER TO {oown}"),
        (Victim, "GRANT USAGE ON SCHEMA {s} TO {oown}"),
        (Victim, "GRANT SELECT ON {s}.note TO {oown}"),
        (Victim, "ALTER DEFAULT PRIVILEGES FOR ROLE {o} GRANT SELECT ON TABLES TO PUBLIC"),
        (Victim, "SELECT has_schema_privilege('{s}', 'CREATE') WHERE has_schema_privilege('{s}', 'CREATE')"),
        (Nobody, "ANALYZE {s}.missing_unless_mine"),
    ];
    Neighbours::new().await.refuse(&definitions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_becomes_nobody_else() {
    let roles = [
        (Victim, "SET ROLE {o}"),
        (Victim, "SET ROLE \"{l}\""),
        (Superuser, "SET ROLE tenantry"),
        (Superuser, "SET ROLE pg_read_all_data"),
        (Superuser, "SET SESSION AUTHORIZATION \"{l}\""),
        (Superuser, "SELECT set_config('role', 'tenantry', false)"),
        (Superuser, "SELECT set_config('session_authorization', '{l}', false)"),
        (Superuser, "GRANT {o} TO {oown}"),
        (Superuser, "GRANT \"{l}\" TO \"{own}\""),
        // Since Postgres 16 the operator, who made the role, may grant it and so can't be its member.
        (Nobody, "GRANT tenantry TO {oown}"),
        (Superuser, "GRANT pg_read_all_data TO {oown}"),
        (Superuser, "GRANT pg_monitor TO {oown}"),
        (Superuser, "GRANT pg_signal_backend TO \"{own}\""),
        (Superuser, "GRANT pg_execute_server_program TO \"{own}\""),
    ];
    Neighbours::new().await.refuse(&roles).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_changes_no_role_and_no_database() {
    let changes = [
        (Superuser, "ALTER ROLE \"{l}\" PASSWORD 'planted'"),
        (Superuser, "ALTER ROLE \"{l}\" SET search_path = {oown}"),
        (Superuser, "ALTER ROLE \"{l}\" RENAME TO taken_{u}"),
        (Superuser, "ALTER ROLE {o} LOGIN"),
        (Superuser, "ALTER ROLE \"{own}\" CONNECTION LIMIT 1000"),
        (Superuser, "ALTER ROLE \"{own}\" VALID UNTIL 'infinity'"),
        (Superuser, "ALTER ROLE \"{own}\" BYPASSRLS"),
        (Superuser, "ALTER ROLE \"{own}\" REPLICATION"),
        (Superuser, "ALTER ROLE {oown} SUPERUSER"),
        (Superuser, "ALTER ROLE {oown} CREATEROLE"),
        (Superuser, "ALTER ROLE ALL SET search_path = {oown}"),
        (Superuser, "ALTER ROLE tenantry PASSWORD 'planted'"),
        (Superuser, "COMMENT ON ROLE {oown} IS 'planted'"),
        (Superuser, "COMMENT ON ROLE \"{own}\" IS 'planted'"),
        (Superuser, "DROP ROLE \"{own}\""),
        (Superuser, "DROP OWNED BY {o}"),
        (Superuser, "REASSIGN OWNED BY {o} TO {oown}"),
        (Superuser, "ALTER DATABASE {d} SET search_path = {oown}"),
        (Nobody, "ALTER DATABASE {d} RENAME TO taken_{u}"),
        (Superuser, "ALTER DATABASE {d} OWNER TO {oown}"),
        (Superuser, "ALTER DATABASE {d} CONNECTION LIMIT 0"),
        (Nobody, "DROP DATABASE {d}"),
        (Superuser, "GRANT CREATE ON DATABASE {d} TO {oown}; CREATE SCHEMA granted_{u}"),
        (Superuser, "GRANT CONNECT ON DATABASE {d} TO PUBLIC; CREATE SCHEMA granted_{u}"),
        (Nobody, "ALTER SYSTEM SET work_mem = '1GB'"),
    ];
    Neighbours::new().await.refuse(&changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_makes_no_role_database_schema_or_extension() {
    let made = [
        (Superuser, "CREATE ROLE planted_{u}"),
        (Superuser, "CREATE DATABASE planted_{u}"),
        (Nobody, "CREATE DATABASE planted_{u} TEMPLATE {d}"),
        (Superuser, "CREATE SCHEMA planted_{u}"),
        (Superuser, "CREATE TABLE public.planted_{u} (id int)"),
        (Superuser, "CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'planted' $$"),
        (Superuser, "CREATE FUNCTION pg_catalog.planted() RETURNS text LANGUAGE sql AS $$ SELECT 'planted' $$"),
        (Superuser, "CREATE EXTENSION dblink"),
        (Superuser, "CREATE EXTENSION file_fdw"),
        (Superuser, "CREATE EXTENSION postgres_fdw"),
        (Superuser, "CREATE EXTENSION refint"),
        (Superuser, "CREATE EXTENSION intarray"),
        (Superuser, "CREATE FOREIGN DATA WRAPPER planted_{u}"),
        (Nobody, "CREATE FUNCTION planted() RETURNS int LANGUAGE c AS 'libc', 'abs'"),
        (Nobody, "CREATE EVENT TRIGGER planted ON ddl_command_start EXECUTE FUNCTION pg_catalog.planted()"),
        (Superuser, "CREATE CAST (text AS point) WITH INOUT"),
        (Superuser, "CREATE PUBLICATION planted_{u} FOR ALL TABLES"),
        (Nobody, "CREATE SUBSCRIPTION planted_{u} CONNECTION 'host=127.0.0.1' PUBLICATION p"),
        (Nobody, "CREATE TABLESPACE planted_{u} LOCATION '/tmp'"),
    ];
    Neighbours::new().await.refuse(&made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reaches_no_file_program_or_setting_of_the_server() {
    let server = [
        (Superuser, "COPY (SELECT 1) TO PROGRAM 'cat'"),
        (Superuser, "COPY (SELECT 1) TO '/dev/null'"),
        (Superuser, "SELECT pg_read_file('postgresql.conf')"),
        (Superuser, "SELECT pg_read_binary_file('PG_VERSION')"),
        (Superuser, "SELECT pg_stat_file('PG_VERSION')"),
        (Superuser, "SELECT pg_ls_dir('.')"),
        (Superuser, "SELECT name FROM pg_ls_waldir()"),
        (Superuser, "SELECT lo_import('/etc/hostname')"),
        (Superuser, "SELECT sourcefile FROM pg_file_settings"),
        (Superuser, "SELECT line_number FROM pg_hba_file_rules"),
        (Superuser, "SELECT current_setting('data_directory')"),
        (Superuser, "SELECT rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL"),
        (Superuser, "SELECT pg_reload_conf()"),
        (Superuser, "SELECT pg_rotate_logfile() IS NOT NULL"),
        (Superuser, "SELECT pg_stat_reset()"),
        (Superuser, "SET session_replication_role = replica"),
        (Superuser, "SET log_statement = 'none'"),
        (Superuser, "SET session_preload_libraries = 'auto_explain'"),
        (Superuser, "SET temp_file_limit = -1"),
        (Superuser, "LOAD 'auto_explain'"),
    ];
    Neighbours::new().await.refuse(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_neither_sees_nor_ends_what_another_does() {
    let neighbours = Neighbours::new().await;
    let activity = [
        (Login, "SELECT query FROM pg_stat_activity WHERE usename = '{l}' AND query LIKE '%canary%'"),
        (Login, "SELECT client_addr FROM pg_stat_activity WHERE usename = '{l}' AND client_addr IS NOT NULL"),
        (Login, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = '{l}' AND pid <> pg_backend_pid()"),
        (Login, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{l}' AND pid <> pg_backend_pid()"),
        (Superuser, "SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity WHERE usename = '{l}'"),
    ];
    neighbours.refuse(&activity).await;
    // The statistics of statements are the whole server's, and everybody may be let into the database that shows them.
    let elsewhere = log_in(&neighbours.attacker.login, "postgres").await.unwrap();
    let others = format!(
        "SELECT query FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
          WHERE r.rolname NOT IN ('{}', '{}') AND query <> '<insufficient privilege>'",
        neighbours.attacker.login.name, neighbours.attacker.owner
    );
    assert_eq!(elsewhere.run(&others).await, Vec::<String>::new());
    let all = superuser_session("postgres").await.run(&others).await;
    assert!(!all.is_empty(), "pg_stat_statements sees nothing");
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
        let refused = log_in(&login.login, &database.database).await.err().expect("it is refused");
        assert_eq!(code(&refused), "42501", "{}", said(&refused));
    }
    // The owner of a database may let others in, and doesn't for long.
    tenant_session(&own).await.run(&format!("GRANT CONNECT ON DATABASE {} TO PUBLIC", own.database)).await;
    log_in(&other.login, &own.database).await.unwrap();
    server().ensure(&own).await.unwrap();
    assert!(log_in(&other.login, &own.database).await.is_err());
}

/// Between its making and its handing over a database is everybody's, and who is connected stays.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_slips_into_a_database_that_is_just_being_made() {
    let (neighbour, fresh) = (schema_tenant(), database_tenant());
    server().ensure(&neighbour).await.unwrap();
    let superuser = superuser_session("postgres").await;
    // As soon as the first step is done, the one after CREATE DATABASE is held up: it has to grant a role.
    let hold = format!(
        "BEGIN; DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{}') LOOP PERFORM pg_sleep(0.001); END LOOP; END $$;
         LOCK TABLE pg_auth_members IN SHARE MODE",
        fresh.owner
    );
    let making = server();
    let (held, made) = (superuser.run(&hold), making.ensure(&fresh));
    let attempt = async {
        held.await;
        let there = format!("SELECT 1 FROM pg_database WHERE datname = '{}'", fresh.database);
        until_found(&superuser, &there).await;
        let slipped = log_in(&neighbour.login, &fresh.database).await;
        superuser.run("COMMIT").await;
        slipped.err().map(|error| said(&error))
    };
    let (refused, made) = tokio::join!(attempt, made);
    made.unwrap();
    let refused = refused.expect("a neighbour is in the new database");
    assert!(refused.contains("not currently accepting connections") || refused.contains("permission denied"), "{refused}");
    tenant_session(&fresh).await.run("CREATE TABLE note (text text)").await;
}

#[tokio::test]
async fn a_login_opens_no_replication() {
    let tenant = Neighbours::new().await.attacker;
    let uri = format!(
        "host={} port={} user={} password={} dbname={} sslmode=require replication=database",
        environment("HOST"),
        address().port,
        tenant.login.name,
        tenant.login.password,
        tenant.database
    );
    let refused = crate::support::psql(&uri, "IDENTIFY_SYSTEM").await.expect_err("it is refused");
    assert!(
        refused.contains("must be superuser or replication role") || refused.contains("permission denied to start WAL sender"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_former_login_is_of_no_use_once_it_was_rotated_out() {
    for tenant in both_kinds() {
        server().ensure(&tenant).await.unwrap();
        let next = with_login(&tenant, 2);
        server().ensure(&next).await.unwrap();
        tenant_session(&tenant).await;
        let gone = format!("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = '{}')", tenant.login.name);
        until_found(&superuser_session("postgres").await, &gone).await;
        server().retire_logins(&tenant.owner, &tenant.uid, &next.login.name).await.unwrap();
        let refused = log_in(&tenant.login, &tenant.database).await.err().expect("it is refused");
        assert_eq!(code(&refused), "28P01", "{}", said(&refused));
        tenant_session(&next).await;
    }
}

#[tokio::test]
async fn a_tenant_holds_no_more_connections_than_its_plan_says() {
    let desired = schema_tenant();
    server().ensure(&desired).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..desired.connection_limit {
        sessions.push(tenant_session(&desired).await);
    }
    assert_eq!(code(&log_in(&desired.login, &desired.database).await.err().expect("one too many")), "53300");
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
    tenant_session(&two).await.run("CREATE TABLE visible_name (id int); INSERT INTO visible_name VALUES (1); ANALYZE visible_name").await;
    let named = format!("SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace AND relkind = 'r'", two.owner);
    assert_eq!(session.run(&named).await, ["visible_name"]);
    assert_eq!(session.run(&named.replace("relname FROM", "reltuples FROM")).await, ["1"]);
    session.run("SET statement_timeout = 0").await;
    session.run("SELECT pg_advisory_lock(1)").await;
    session.run("NOTIFY everybody, 'who listens'; LISTEN everybody").await;
    let group = format!("SET ROLE \"tenantry.{}\"", one.database);
    assert_eq!(session.try_run(&group).await.is_ok(), environment("VERSION") == "15", "{group}");
}
