//! What a server holds, of one tenant as of ten thousand: two statements, whatever their number.

use super::identifier::identifier;
use super::session::Session;
use super::{DatabaseError, DesiredDatabase, group_name};
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio_postgres::Row;

/// What a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, such as `15.18`.
    pub version: String,
    /// Whether the operator's own role is a superuser there, which it needn't be.
    pub superuser: bool,
}

/// Reads what the server is.
///
/// # Errors
/// Where the operator's role can't do there what each tenant takes.
pub async fn facts(session: &Session) -> Result<ServerFacts, DatabaseError> {
    let sql = "SELECT split_part(current_setting('server_version'), ' ', 1), rolsuper, rolsuper OR rolcreaterole, \
               has_database_privilege(current_database(), 'CREATE'), rolname::text, current_database()::text \
               FROM pg_roles WHERE rolname = current_user";
    let rows = session.query("tell its version", sql, &[]).await?;
    let Some(row) = rows.first() else { return Ok(ServerFacts { version: String::new(), superuser: false }) };
    let (role, database): (String, String) = (row.get(4), row.get(5));
    let lacks = |doing: &str, cause: &str, statement: String| {
        Err(DatabaseError::NeedsAdmin { doing: doing.to_owned(), cause: cause.to_owned(), database: database.clone(), statement })
    };
    if !row.get::<_, bool>(2) {
        return lacks("make roles", "it lacks CREATEROLE", format!("ALTER ROLE {} CREATEROLE", identifier(&role)));
    }
    if !row.get::<_, bool>(3) {
        let statement = format!("GRANT CREATE ON DATABASE {} TO {}", identifier(&database), identifier(&role));
        return lacks("make schemas", "it lacks CREATE on the database", statement);
    }
    Ok(ServerFacts { version: row.get(0), superuser: row.get(1) })
}

/// What there is of the tenants that were asked for, and what they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What is the same for all.
    pub server: ObservedServer,
    /// By owner: each that was asked for, with nothing in it where there is nothing.
    pub tenants: BTreeMap<String, ObservedTenant>,
}

/// What tenants of one server share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedServer {
    /// The first number of its version.
    pub major_version: i32,
    /// The operator's own role.
    pub operator: String,
    /// The role that holds the rights on the shared database, of which each owner is a member.
    pub group: Option<ObservedRole>,
    /// The group's rights on the shared database, sorted.
    pub group_rights: Vec<String>,
    /// Whether everybody has rights on the shared database or on its schema `public`.
    pub open_to_all: bool,
    /// The owner of the schema that holds the extensions of the shared database, where there is one.
    pub extension_schema_owner: Option<String>,
    /// Whether the group may use that schema.
    pub group_uses_extensions: bool,
    /// The extensions of the shared database, and the schema that each is in.
    pub extensions: BTreeMap<String, String>,
}

/// What there is of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedTenant {
    /// The role that owns the data.
    pub owner: Option<ObservedRole>,
    /// The roles whose names are those of its logins.
    pub logins: BTreeMap<String, ObservedRole>,
    /// The schema or database that holds the data.
    pub place: Option<ObservedPlace>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ObservedRole {
    /// Its comment, which says whose it is.
    #[serde(default)]
    pub comment: Option<String>,
    /// Whether it may log in.
    pub login: bool,
    /// Whether it has the rights of the roles that it is a member of.
    pub inherit: bool,
    /// Whether it may make roles or databases.
    pub creates: bool,
    /// Whether it has what only a superuser can give: SUPERUSER, REPLICATION or BYPASSRLS.
    pub above: bool,
    /// Connections that it may hold.
    pub connection_limit: i32,
    /// Whether in the shared database nobody else may call what functions it makes.
    #[serde(default)]
    pub functions_closed: bool,
    /// The roles that it is a member of.
    #[serde(default)]
    pub member_of: Vec<Membership>,
    /// The roles that are members of it.
    #[serde(default)]
    pub members: Vec<Membership>,
    /// Its settings, as `database/name=value`, sorted.
    #[serde(default)]
    pub settings: Vec<String>,
    /// The sessions that it has.
    #[serde(default)]
    pub sessions: i64,
}

/// That one role is a member of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// The role.
    pub role: String,
    /// Its member.
    pub member: String,
    /// Who granted it.
    pub grantor: String,
    /// Whether the member may grant it on.
    pub admin: bool,
    /// Whether the member has the role's rights.
    pub inherit: bool,
    /// Whether the member may become the role.
    pub set: bool,
}

/// The schema or database that holds a tenant's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ObservedPlace {
    /// Its owner.
    pub owner: String,
    /// Who else has rights on it: everybody, as the empty name, or other tenants. What an admin grants to a role of his own is his affair.
    #[serde(default)]
    pub guests: Vec<String>,
    /// Whether its owner has all rights on it.
    pub whole: bool,
    /// Whether the operator is let in, where it is a database.
    pub operator_connects: bool,
}

/// The schema of the shared database that holds what tenants' extensions bring.
pub const EXTENSION_SCHEMA: &str = "extensions";

const SERVER: &str = "
SELECT current_setting('server_version_num')::int / 10000 AS major_version,
       current_user::text AS operator,
       COALESCE((SELECT array_agg(a.privilege_type ORDER BY a.privilege_type)
                   FROM pg_database d, aclexplode(d.datacl) a JOIN pg_roles r ON r.oid = a.grantee
                  WHERE d.datname = current_database() AND r.rolname = $1), '{}') AS group_rights,
       COALESCE((SELECT bool_or(a.grantee = 0) FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) a
                  WHERE d.datname = current_database()), false)
       OR COALESCE((SELECT bool_or(a.grantee = 0) FROM pg_namespace n, aclexplode(COALESCE(n.nspacl, acldefault('n', n.nspowner))) a
                     WHERE n.nspname = 'public'), false) AS open_to_all,
       (SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = $2) AS extension_schema_owner,
       COALESCE((SELECT bool_or(a.privilege_type = 'USAGE') FROM pg_namespace n, aclexplode(n.nspacl) a JOIN pg_roles r ON r.oid = a.grantee
                  WHERE n.nspname = $2 AND r.rolname = $1), false) AS group_uses_extensions,
       (SELECT array_agg(e.extname::text) FROM pg_extension e) AS extension_names,
       (SELECT array_agg(n.nspname::text) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace) AS extension_schemas";

/// Names are compared as `name`, so that the catalogs' own indexes serve. A login is called like its owner, a dot, and a number,
/// and `/` is the character after the dot. Columns of pg_auth_members that only 16 and later have are read through JSON.
const TENANTS: &str = r#"
WITH wanted AS MATERIALIZED (
  SELECT w.owner, w.database::name, w.schema::name
    FROM unnest($1::text[], $2::text[], $3::text[]) AS w(owner, database, schema)
), named AS MATERIALIZED (
  SELECT w.owner, r.oid, r.rolname FROM wanted w JOIN pg_roles r ON r.rolname = w.owner::name
  UNION ALL
  SELECT w.owner, r.oid, r.rolname FROM wanted w JOIN pg_roles r ON r.rolname > (w.owner || '.')::name AND r.rolname < (w.owner || '/')::name
), edges AS (
  SELECT n.oid, true AS upward, m FROM named n JOIN pg_auth_members m ON m.member = n.oid
  UNION ALL
  SELECT n.oid, false, m FROM named n JOIN pg_auth_members m ON m.roleid = n.oid WHERE n.rolname <> $4::text::name
), described AS (
  SELECT e.oid, e.upward,
         jsonb_build_object('role', pg_get_userbyid((e.m).roleid), 'member', pg_get_userbyid((e.m).member),
                            'grantor', pg_get_userbyid((e.m).grantor), 'admin', (e.m).admin_option,
                            'inherit', COALESCE((to_jsonb(e.m) ->> 'inherit_option')::boolean, true),
                            'set', COALESCE((to_jsonb(e.m) ->> 'set_option')::boolean, true)) AS edge
    FROM edges e
), memberships AS (
  SELECT oid, jsonb_agg(edge ORDER BY edge) FILTER (WHERE upward) AS member_of, jsonb_agg(edge ORDER BY edge) FILTER (WHERE NOT upward) AS members
    FROM described GROUP BY oid
), settings AS (
  SELECT s.setrole AS oid, jsonb_agg(COALESCE(d.datname::text, '') || '/' || c ORDER BY COALESCE(d.datname::text, '') || '/' || c) AS settings
    FROM named n JOIN pg_db_role_setting s ON s.setrole = n.oid LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
   GROUP BY s.setrole
), sessions AS (
  SELECT a.usesysid AS oid, count(*) AS sessions FROM pg_stat_activity a WHERE a.usesysid IS NOT NULL GROUP BY a.usesysid
), roles AS (
  SELECT n.owner, n.rolname::text AS role,
         jsonb_build_object('comment', c.description, 'login', r.rolcanlogin, 'inherit', r.rolinherit, 'creates', r.rolcreaterole OR r.rolcreatedb,
                            'above', r.rolsuper OR r.rolreplication OR r.rolbypassrls, 'connection_limit', r.rolconnlimit,
                            'functions_closed', EXISTS (SELECT 1 FROM pg_default_acl d WHERE d.defaclrole = n.oid AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f'
                                                           AND NOT EXISTS (SELECT 1 FROM aclexplode(d.defaclacl) a WHERE a.grantee = 0)),
                            'member_of', COALESCE(m.member_of, '[]'), 'members', COALESCE(m.members, '[]'),
                            'settings', COALESCE(s.settings, '[]'), 'sessions', COALESCE(a.sessions, 0))::text AS observed
    FROM named n
    JOIN pg_roles r ON r.oid = n.oid
    LEFT JOIN pg_shdescription c ON c.objoid = n.oid AND c.classoid = 'pg_authid'::regclass
    LEFT JOIN memberships m ON m.oid = n.oid
    LEFT JOIN settings s ON s.oid = n.oid
    LEFT JOIN sessions a ON a.oid = n.oid
), places AS (
  SELECT w.owner, n.nspowner AS place_owner, 2 AS rights, a.grantee, a.privilege_type
    FROM wanted w JOIN pg_namespace n ON n.nspname = w.schema LEFT JOIN LATERAL aclexplode(COALESCE(n.nspacl, acldefault('n', n.nspowner))) a ON true
  UNION ALL
  SELECT w.owner, d.datdba, 3, a.grantee, a.privilege_type
    FROM wanted w JOIN pg_database d ON d.datname = w.database AND w.schema IS NULL LEFT JOIN LATERAL aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) a ON true
), place AS (
  SELECT p.owner,
         jsonb_build_object('owner', pg_get_userbyid(p.place_owner),
                            'whole', count(DISTINCT p.privilege_type) FILTER (WHERE p.grantee = p.place_owner) = p.rights,
                            'operator_connects', COALESCE(bool_or(p.grantee = o.oid AND p.privilege_type = 'CONNECT'), false),
                            'guests', COALESCE(jsonb_agg(DISTINCT CASE p.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(p.grantee)::text END)
                                               FILTER (WHERE p.grantee <> p.place_owner AND (p.grantee = 0 OR c.description LIKE '{"tenantry%')), '[]'))::text AS observed
    FROM places p JOIN pg_roles o ON o.rolname = current_user LEFT JOIN pg_shdescription c ON c.objoid = p.grantee AND c.classoid = 'pg_authid'::regclass
   GROUP BY p.owner, p.place_owner, p.rights
)
SELECT w.owner, r.role, r.observed, p.observed
  FROM wanted w LEFT JOIN roles r ON r.owner = w.owner LEFT JOIN place p ON p.owner = w.owner"#;

/// Whom to look for.
pub struct Wanted<'a> {
    owner: &'a str,
    database: Option<&'a str>,
    schema: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// A tenant's roles, whatever holds its data.
    pub fn roles_of(owner: &'a str) -> Self {
        Self { owner, database: None, schema: None }
    }
}

impl<'a> From<&'a DesiredDatabase> for Wanted<'a> {
    fn from(desired: &'a DesiredDatabase) -> Self {
        Self { owner: &desired.owner, database: Some(&desired.database), schema: desired.schema.as_deref() }
    }
}

/// Reads what there is of these tenants. The session is one to the shared database.
pub async fn observe<'a>(session: &Session, wanted: impl IntoIterator<Item = Wanted<'a>>) -> Result<Observed, DatabaseError> {
    let group = group_name(session.database());
    let row = session.query("tell what tenants share", SERVER, &[&group, &EXTENSION_SCHEMA]).await?;
    let mut observed = Observed { server: row.first().map_or_else(ObservedServer::default, observed_server), ..Observed::default() };
    let mut all = vec![Wanted::roles_of(&group)];
    all.extend(wanted.into_iter().map(|wanted| Wanted { ..wanted }));
    let owners: Vec<_> = all.iter().map(|wanted| wanted.owner).collect();
    let databases: Vec<_> = all.iter().map(|wanted| wanted.database).collect();
    let schemas: Vec<_> = all.iter().map(|wanted| wanted.schema).collect();
    for row in session.query("list the tenants' roles", TENANTS, &[&owners, &databases, &schemas, &group]).await? {
        let (owner, role): (String, Option<String>) = (row.get(0), row.get(1));
        let found = role.zip(row.get::<_, Option<&str>>(2).map(parse::<ObservedRole>));
        if owner == group {
            observed.server.group = found.map(|(_, role)| role).transpose()?;
            continue;
        }
        let tenant = observed.tenants.entry(owner.clone()).or_default();
        tenant.place = row.get::<_, Option<&str>>(3).map(parse).transpose()?;
        match found {
            Some((name, role)) if name == owner => tenant.owner = Some(role?),
            Some((name, role)) => {
                tenant.logins.insert(name, role?);
            }
            None => {}
        }
    }
    Ok(observed)
}

fn observed_server(row: &Row) -> ObservedServer {
    let list = |column| row.get::<_, Option<Vec<String>>>(column).unwrap_or_default();
    ObservedServer {
        major_version: row.get("major_version"),
        operator: row.get("operator"),
        group: None,
        group_rights: row.get("group_rights"),
        open_to_all: row.get("open_to_all"),
        extension_schema_owner: row.get("extension_schema_owner"),
        group_uses_extensions: row.get("group_uses_extensions"),
        extensions: list("extension_names").into_iter().zip(list("extension_schemas")).collect(),
    }
}

fn parse<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, DatabaseError> {
    serde_json::from_str(text).map_err(|error| DatabaseError::Refused {
        doing: "tell what there is of a tenant".to_owned(),
        cause: format!("its answer can't be read: {error}"),
        code: String::new(),
    })
}

/// The databases in which something belongs to one of these roles, or is granted to it. That a role is in none of them any more
/// is what Postgres asks before it drops it.
pub async fn databases_of(session: &Session, roles: &[String]) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT DISTINCT d.datname::text FROM pg_roles r
                 JOIN pg_shdepend s ON s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid
                 JOIN pg_database d ON d.oid = s.dbid OR (s.dbid = 0 AND d.datname = current_database())
                WHERE r.rolname = ANY ($1::text[]::name[]) ORDER BY 1";
    Ok(session.query("look for what roles own", sql, &[&roles]).await?.iter().map(|row| row.get(0)).collect())
}

/// The owner of a database, where there is one.
pub async fn database_owner(session: &Session, database: &str) -> Result<Option<String>, DatabaseError> {
    let sql = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1::text::name";
    Ok(session.query("look for the tenant's database", sql, &[&database]).await?.first().map(|row| row.get(0)))
}
