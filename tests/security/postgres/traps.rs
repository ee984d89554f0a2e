//! Traps for the operator's next session, for the tenant that comes next, and for its own deletion.

use super::neighbours::Neighbours;
use super::support::*;
use tenantry::database::DesiredDatabase;

#[tokio::test]
async fn the_operators_statements_run_nothing_of_a_tenants() {
    let desired = database_tenant();
    server().ensure(&desired).await.unwrap();
    let session = tenant_session(&desired).await;
    // The owner of a database may set what its sessions begin with, the operator's among them. Functions, operators, casts and tables that are
    // called like the catalog's then come first.
    session
        .run(&format!(
            "CREATE TABLE ran (who text);
             CREATE FUNCTION public.note(text) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.ran VALUES (session_user) RETURNING who $$;
             CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT public.note($1) $$;
             CREATE FUNCTION public.split_part(text, text, int) RETURNS text LANGUAGE sql AS $$ SELECT public.note($1) $$;
             CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT public.note($1) $$;
             CREATE FUNCTION public.pg_get_userbyid(oid) RETURNS name LANGUAGE sql AS $$ SELECT public.note('')::name $$;
             CREATE FUNCTION public.lo_unlink(oid) RETURNS int LANGUAGE sql AS $$ SELECT length(public.note('')) $$;
             CREATE FUNCTION public.same(name, name) RETURNS bool LANGUAGE sql AS $$ SELECT public.note('') IS NOT NULL $$;
             CREATE OPERATOR public.= (leftarg = name, rightarg = name, function = public.same);
             CREATE VIEW public.pg_roles AS SELECT public.note('') AS rolname, 0::oid AS oid;
             CREATE VIEW public.pg_extension AS SELECT public.note('')::name AS extname, 0::oid AS extnamespace;
             ALTER DATABASE {0} SET search_path = public, pg_catalog; ALTER DATABASE {0} SET default_transaction_read_only = on",
            desired.owner
        ))
        .await;
    let wanting = DesiredDatabase { extensions: vec!["hstore".into()], ..desired.clone() };
    server().ensure(&wanting).await.unwrap();
    // A login that made things of its own is dropped from within the database.
    let next = with_login(&wanting, 2);
    server().ensure(&next).await.unwrap();
    session.run("SET ROLE NONE; SELECT lo_create(0)").await;
    drop(session);
    let gone = format!("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = '{}')", desired.login.name);
    until_found(&superuser_session("postgres").await, &gone).await;
    assert_eq!(server().retire_logins(&desired.owner, &desired.uid, &next.login.name).await.unwrap(), 0);
    assert_eq!(tenant_session(&next).await.run("SELECT who FROM public.ran").await, Vec::<String>::new());
}

#[tokio::test]
async fn no_setting_of_a_tenants_keeps_its_former_login_alive() {
    let desired = database_tenant();
    server().ensure(&desired).await.unwrap();
    let session = tenant_session(&desired).await;
    let mut settings = vec![
        "idle_in_transaction_session_timeout = '1ms'",
        "idle_session_timeout = '1ms'",
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "default_transaction_read_only = on",
    ];
    if environment("VERSION") == "17" {
        settings.push("transaction_timeout = '1ms'");
    }
    // Its own sessions are spared, as the login's settings go before the database's.
    for setting in &settings {
        session.run(&format!("ALTER DATABASE {} SET {setting}", desired.database)).await;
    }
    // What the login itself owns has to be given to the owner, within the database, before it can be dropped.
    session.run("SET ROLE NONE; SELECT lo_create(0)").await;
    drop(session);
    let next = with_login(&desired, 2);
    server().ensure(&next).await.unwrap();
    let gone = format!("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = '{}')", desired.login.name);
    until_found(&superuser_session("postgres").await, &gone).await;
    assert_eq!(server().retire_logins(&desired.owner, &desired.uid, &next.login.name).await.unwrap(), 0);
    assert_eq!(code(&log_in(&desired.login, &desired.database).await.err().expect("it is refused")), "28P01");
}

#[tokio::test]
async fn nothing_in_template1_reaches_a_tenants_database() {
    let (planter, desired) = (schema_tenant(), database_tenant());
    server().ensure(&planter).await.unwrap();
    let superuser = superuser_session("template1").await;
    // Where nobody took CONNECT away, as the documentation asks for, everybody may leave large objects there, and be in the way of a copy.
    let plant = log_in(&planter.login, "template1").await.unwrap();
    let planted = plant.run("SELECT lo_from_bytea(0, 'planted')").await.pop().unwrap();
    let made = server().ensure(&desired).await;
    plant.run(&format!("SELECT lo_unlink({planted})")).await;
    drop((plant, superuser));
    made.unwrap();
    assert_eq!(tenant_session(&desired).await.run("SELECT oid FROM pg_largeobject_metadata").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_tenant_cannot_keep_its_database_from_being_dropped() {
    for hindrance in ["IS_TEMPLATE true", "ALLOW_CONNECTIONS false", "CONNECTION LIMIT 0", "SET default_transaction_read_only = on"] {
        let desired = database_tenant();
        server().ensure(&desired).await.unwrap();
        // From elsewhere, because nobody may close the database that he is in.
        let session = log_in(&desired.login, "postgres").await.unwrap();
        session.run(&format!("ALTER DATABASE {} {hindrance}", desired.database)).await;
        server().drop_tenant(&desired.owner, &desired.uid).await.unwrap_or_else(|error| panic!("{hindrance}: {error}"));
        let left = format!("SELECT datname FROM pg_database WHERE datname = '{}'", desired.database);
        assert_eq!(superuser_session("postgres").await.run(&left).await, Vec::<String>::new(), "{hindrance}");
    }
}

#[tokio::test]
async fn a_tenant_that_holds_locks_holds_nobody_up() {
    let (server, shared) = server_with_own_database();
    let (greedy, other) = (schema_tenant_in(&shared), schema_tenant_in(&shared));
    server.ensure(&greedy).await.unwrap();
    let session = tenant_session(&greedy).await;
    // Every advisory lock that a program would think of, and what may be locked of the catalog.
    session
        .run(&format!(
            "BEGIN; SELECT pg_advisory_lock(key) FROM generate_series(0, 1000) AS key; SELECT pg_advisory_lock(hashtext(word))
               FROM unnest(ARRAY['tenantry', 'tenants', '{shared}', '{}', '{}']) AS word;
             LOCK TABLE pg_roles, pg_database, pg_namespace, pg_auth_members IN ACCESS SHARE MODE; SELECT count(*) FROM pg_class",
            greedy.owner, other.owner
        ))
        .await;
    server.ensure(&other).await.unwrap();
    tenant_session(&other).await.run("CREATE TABLE note (text text)").await;
    server.verify(&[greedy.clone(), other.clone()]).await.unwrap();
    server.drop_tenant(&other.owner, &other.uid).await.unwrap();
    server.drop_tenant(&greedy.owner, &greedy.uid).await.unwrap();
}

#[tokio::test]
async fn a_tenant_takes_nothing_from_the_group_that_lets_all_connect() {
    let neighbours = Neighbours::new().await;
    let attacker = tenant_session(&neighbours.attacker).await;
    for attempt in [
        "DROP OWNED BY \"{g}\"",
        "REASSIGN OWNED BY \"{g}\" TO {oown}",
        "REVOKE ALL ON DATABASE {d} FROM \"{g}\"",
        "REVOKE \"{g}\" FROM {o}",
        "ALTER ROLE \"{g}\" SET search_path = {oown}",
        "GRANT \"{g}\" TO {oown} WITH ADMIN OPTION",
        "COMMENT ON ROLE \"{g}\" IS 'planted'",
        "DROP ROLE \"{g}\"",
    ] {
        // Some are done and change nothing: only that counts.
        let _ = attacker.try_run(&neighbours.fill(attempt)).await;
        let victim = tenant_session(&neighbours.victim).await;
        victim.run("CREATE TEMP TABLE scratch (id int)").await;
        assert_eq!(victim.run("SELECT count(*) FROM note").await, ["100"], "{attempt}");
    }
    let differs = neighbours.server.verify(std::slice::from_ref(&neighbours.victim)).await.unwrap();
    assert_eq!(told(differs[&neighbours.victim.owner].as_ref().unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn the_owner_of_a_database_reaches_nothing_beyond_it() {
    let (one, two) = (database_tenant(), database_tenant());
    for tenant in [&one, &two] {
        server().ensure(tenant).await.unwrap();
    }
    let session = tenant_session(&one).await;
    let mut done = Vec::new();
    for attempt in [
        "ALTER DATABASE {d} RENAME TO taken_{u}",
        "ALTER DATABASE {d} OWNER TO {other}",
        "CREATE DATABASE more_{u}",
        "CREATE DATABASE copied_{u} TEMPLATE {otherd}",
        "DROP DATABASE {otherd}",
        "GRANT {other} TO {o}",
        "CREATE EXTENSION dblink",
        "CREATE EXTENSION postgres_fdw",
        "CREATE EXTENSION file_fdw",
        "CREATE EXTENSION pg_stat_statements",
        "CREATE EXTENSION pageinspect",
        "CREATE EXTENSION adminpack",
        "CREATE EXTENSION plpython3u",
        "CREATE EVENT TRIGGER planted ON ddl_command_start EXECUTE FUNCTION public.planted()",
        "ALTER DATABASE {d} SET log_statement = 'none'",
        "ALTER DATABASE {d} SET session_preload_libraries = 'auto_explain'",
        "ALTER SCHEMA pg_catalog OWNER TO {o}",
        "CREATE FUNCTION pg_catalog.planted() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
    ] {
        let sql = attempt
            .replace("{d}", &one.database)
            .replace("{otherd}", &two.database)
            .replace("{other}", &two.owner)
            .replace("{o}", &one.owner);
        let sql = sql.replace("{u}", &unique());
        match session.try_run(&sql).await {
            Ok(_) => done.push(sql),
            // Without its files an extension can't be made by anybody.
            Err(error) => assert!(["42501", "58P01", "0A000", "42704"].contains(&code(&error).as_str()), "{sql}: {}", said(&error)),
        }
    }
    assert_eq!(done, Vec::<String>::new(), "the owner of a database may");
}

#[tokio::test]
async fn new_functions_are_nobody_elses_even_where_the_schema_is_opened() {
    let neighbours = Neighbours::new().await;
    let (victim, attacker) = (tenant_session(&neighbours.victim).await, tenant_session(&neighbours.attacker).await);
    // As a tenant does that shares one table.
    victim.run(&neighbours.fill("GRANT USAGE ON SCHEMA {s} TO {oown}; GRANT SELECT ON {s}.note TO {oown}")).await;
    assert_eq!(attacker.run(&neighbours.fill("SELECT count(*) FROM {s}.note")).await, ["100"]);
    for call in ["SELECT {s}.secret()", "CALL {s}.clear()"] {
        let error = attacker.try_run(&neighbours.fill(call)).await.expect_err(call);
        assert_eq!(code(&error), "42501", "{call}: {}", said(&error));
    }
}
