//! The whole matrix: everything that the catalogs of the server hold and that isn't the attacker's × every right that Postgres knows of it. What is
//! permitted is public by Postgres' own nature, and is listed here with the reason.

use super::neighbours::Neighbours;
use super::support::*;

/// What is permitted, as a regular expression of `database: kind name right`, and why that is harmless.
const PUBLIC: &[(&str, &str)] = &[
    // Whoever runs the server takes this away, as docs/database.md asks for: these databases aren't the operator's.
    (
        r"^\S+: database (postgres|template1) (CONNECT|TEMPORARY)$",
        "Postgres opens its own databases to everybody; nothing of a tenant's is in them",
    ),
    (r"^\S+: database template0 CONNECT$", "nobody can connect to it, whatever rights there are"),
    (r"^\S+: schema (pg_catalog|information_schema) USAGE$", "the catalogs, which show names and no data"),
    (
        r"^\S+: type \S+ USAGE$",
        "a type can't be named without the schema that it is in, and the schemas are closed (tried in isolation.rs)",
    ),
    (r"^\S+: language (internal|c|sql|plpgsql) USAGE$", "internal and c are refused to all but superusers when a function is made"),
    (r"^\S+: group \S+ (USAGE|MEMBER)$", "the attacker's own group, which lets it connect and owns nothing"),
    (r"^(postgres|template1): schema public USAGE$", "nothing of a tenant's is in it, and nobody may put anything there"),
    (r"^postgres: (relation|column of|function) pg_stat_statements\S* \S+$", "it hides others' statements (tried in isolation.rs)"),
];

/// All pairs of an object and a right, as text, that `{who}` has on what isn't `{mine}`'s, in one database. Objects of Postgres itself are left out where
/// they only show names or compute; and databases that an admin made by hand, which are open to everybody until he closes them.
const RIGHTS: &str = r#"
WITH who AS (SELECT rolname, oid FROM pg_roles WHERE rolname = '{who}'),
     mine AS (SELECT oid FROM pg_roles WHERE rolname IN ({mine})),
     spaces AS (SELECT oid, nspname FROM pg_namespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND nspname !~ '^pg_(toast_)?temp_')
SELECT 'database ' || datname || ' ' || r FROM who, pg_database, unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) r
 WHERE has_database_privilege(rolname, pg_database.oid, r) AND datdba NOT IN (SELECT oid FROM mine) AND datname <> '{shared}'
   AND (pg_get_userbyid(datdba) ~ '^tenant(_|ry$)' OR datname IN ('postgres', 'template0', 'template1'))
UNION ALL
SELECT 'database ' || datname || ' ' || r FROM who, pg_database, unnest(ARRAY['CREATE', 'CONNECT WITH GRANT OPTION', 'TEMPORARY WITH GRANT OPTION']) r
 WHERE has_database_privilege(rolname, pg_database.oid, r) AND datname = '{shared}'
UNION ALL
SELECT 'schema ' || nspname || ' ' || r FROM who, pg_namespace, unnest(ARRAY['USAGE', 'CREATE']) r
 WHERE has_schema_privilege(rolname, pg_namespace.oid, r) AND nspowner NOT IN (SELECT oid FROM mine) AND nspname !~ '^pg_(toast_)?temp_'
UNION ALL
SELECT 'relation ' || relname || ' ' || r FROM who, pg_class JOIN spaces s ON s.oid = relnamespace,
       unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) r
 WHERE relkind IN ('r', 'v', 'm', 'f', 'p') AND has_table_privilege(rolname, pg_class.oid, r) AND relowner NOT IN (SELECT oid FROM mine)
UNION ALL
SELECT 'column of ' || relname || ' ' || r FROM who, pg_class JOIN spaces s ON s.oid = relnamespace, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) r
 WHERE relkind IN ('r', 'v', 'm', 'f', 'p') AND has_any_column_privilege(rolname, pg_class.oid, r) AND relowner NOT IN (SELECT oid FROM mine)
UNION ALL
SELECT 'sequence ' || relname || ' ' || r FROM who, pg_class JOIN spaces s ON s.oid = relnamespace, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) r
 WHERE relkind = 'S' AND has_sequence_privilege(rolname, pg_class.oid, r) AND relowner NOT IN (SELECT oid FROM mine)
UNION ALL
SELECT 'function ' || proname || ' EXECUTE' FROM who, pg_proc JOIN spaces s ON s.oid = pronamespace
 WHERE has_function_privilege(rolname, pg_proc.oid, 'EXECUTE') AND proowner NOT IN (SELECT oid FROM mine)
UNION ALL
SELECT 'type ' || typname || ' USAGE' FROM who, pg_type JOIN spaces s ON s.oid = typnamespace
 WHERE has_type_privilege(rolname, pg_type.oid, 'USAGE') AND typowner NOT IN (SELECT oid FROM mine)
UNION ALL
SELECT 'language ' || lanname || ' USAGE' FROM who, pg_language WHERE has_language_privilege(rolname, pg_language.oid, 'USAGE')
UNION ALL
SELECT 'tablespace ' || spcname || ' CREATE' FROM who, pg_tablespace WHERE has_tablespace_privilege(rolname, pg_tablespace.oid, 'CREATE')
UNION ALL
SELECT 'wrapper ' || fdwname || ' USAGE' FROM who, pg_foreign_data_wrapper WHERE has_foreign_data_wrapper_privilege(rolname, pg_foreign_data_wrapper.oid, 'USAGE')
UNION ALL
SELECT 'server ' || srvname || ' USAGE' FROM who, pg_foreign_server WHERE has_server_privilege(rolname, pg_foreign_server.oid, 'USAGE')
UNION ALL
SELECT 'setting ' || name || ' ' || r FROM who, pg_settings, unnest(ARRAY['SET', 'ALTER SYSTEM']) r
 WHERE context IN ('superuser', 'superuser-backend', 'sighup', 'postmaster', 'internal') AND has_parameter_privilege(rolname, name, r)
UNION ALL
SELECT 'large object ' || l.oid || ' ' || a.privilege_type FROM who, pg_largeobject_metadata l, aclexplode(l.lomacl) a
 WHERE l.lomowner NOT IN (SELECT oid FROM mine) AND (a.grantee = 0 OR pg_has_role(who.oid, a.grantee, 'USAGE'))
UNION ALL
SELECT CASE WHEN r.rolname ~ '^tenantry[.]' THEN 'group ' ELSE 'role ' END || r.rolname || ' ' || p FROM who, pg_roles r, unnest(ARRAY{role_rights}) p
 WHERE pg_has_role(who.oid, r.oid, p) AND r.oid NOT IN (SELECT oid FROM mine)
UNION ALL
SELECT 'attribute of ' || r.rolname || ' ' || a FROM pg_roles r, unnest(ARRAY['SUPERUSER', 'CREATEROLE', 'CREATEDB', 'REPLICATION', 'BYPASSRLS']) a
 WHERE r.oid IN (SELECT oid FROM mine)
   AND CASE a WHEN 'SUPERUSER' THEN rolsuper WHEN 'CREATEROLE' THEN rolcreaterole WHEN 'CREATEDB' THEN rolcreatedb WHEN 'REPLICATION' THEN rolreplication ELSE rolbypassrls END
"#;

/// All that a role may in a database on what isn't the attacker's, as far as nothing in the list allows it; and how much was allowed.
async fn permitted(neighbours: &Neighbours, database: &str, who: &str) -> (Vec<String>, usize) {
    let mine = format!("'{}', '{}'", neighbours.attacker.owner, neighbours.attacker.login.name);
    // Before Postgres 16 every member may become the group, which owns nothing.
    let role_rights = if environment("VERSION") == "15" { "['USAGE', 'MEMBER']" } else { "['USAGE', 'MEMBER', 'SET']" };
    let sql =
        RIGHTS.replace("{who}", who).replace("{mine}", &mine).replace("{shared}", &neighbours.shared).replace("{role_rights}", role_rights);
    let allowed: Vec<_> = PUBLIC.iter().map(|(pattern, _)| format!("'{pattern}'")).collect();
    let judged = format!(
        "WITH rights AS (SELECT '{database}: ' || r AS r FROM ({sql}) AS found(r)), judged AS (SELECT r, r ~ ANY (ARRAY[{}]) AS public FROM rights)
         SELECT count(*) FILTER (WHERE public)::text FROM judged UNION ALL SELECT r FROM judged WHERE NOT public",
        allowed.join(", ")
    );
    let mut rows = superuser_session(database).await.run(&judged).await;
    let count = rows.remove(0).parse().unwrap();
    (rows, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cell_of_the_matrix_is_permitted() {
    let neighbours = Neighbours::new().await;
    let own = database_tenant();
    server().ensure(&own).await.unwrap();
    tenant_session(&own).await.run("CREATE TABLE note (text text); CREATE SEQUENCE number; SELECT lo_create(0)").await;
    // Databases of tests beside this one come and go, and stand open for the moment in which they are made: only what stays counts.
    for database in [neighbours.shared.as_str(), own.database.as_str(), "postgres", "template1"] {
        for who in [&neighbours.attacker.login.name, &neighbours.attacker.owner] {
            let begin = std::time::Instant::now();
            loop {
                let (mut left, public) = permitted(&neighbours, database, who).await;
                assert!(public > 4, "the question finds nothing in {database}");
                // What the owner of a database of its own leaves to everybody is everybody's who gets in, which is nobody.
                if database == own.database && log_in(&neighbours.attacker.login, database).await.is_err() {
                    left.retain(|right| !right.ends_with(": schema public USAGE"));
                }
                if left.is_empty() {
                    break;
                }
                assert!(begin.elapsed().as_secs() < 10, "{who} may {left:#?}");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
    // The same question about somebody who may.
    let (victims, _) = permitted(&neighbours, &neighbours.shared, &neighbours.victim.owner).await;
    for right in ["relation note SELECT", "sequence number USAGE", "function secret EXECUTE", "schema"] {
        assert!(victims.iter().any(|found| found.contains(right)), "{right} is not among the victim's own: {victims:#?}");
    }
}
