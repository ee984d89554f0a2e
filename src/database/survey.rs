//! What a server holds of a tenant, read in one query.

use super::DatabaseError;
use super::identity::{Identity, LoginIdentity};
use super::session::Session;
use std::collections::BTreeMap;

/// What a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, such as `15.18`.
    pub version: String,
    /// Whether the operator's own role is a superuser there, which it needn't be.
    pub superuser: bool,
}

/// Reads what the server is.
pub async fn facts(session: &Session) -> Result<ServerFacts, DatabaseError> {
    let rows = session
        .query(
            "tell its version",
            "SELECT split_part(current_setting('server_version'), ' ', 1), (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
            &[],
        )
        .await?;
    Ok(rows
        .first()
        .map_or(ServerFacts { version: String::new(), superuser: false }, |row| ServerFacts { version: row.get(0), superuser: row.get(1) }))
}

/// What there is of one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// What the comment says; none where the role isn't ours.
    pub identity: Option<Identity>,
    /// Whether the role has rights that an owner never has.
    pub privileged: bool,
    /// Its logins.
    pub logins: BTreeMap<String, ObservedLogin>,
}

/// A login of an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedLogin {
    /// Tells its password from others; none where its comment isn't ours.
    pub fingerprint: Option<String>,
    /// Whether it may log in.
    pub can_login: bool,
    /// Whether it has rights that a login never has.
    pub privileged: bool,
    /// Connections that it may hold.
    pub connection_limit: i32,
    /// Whether it is a member of the owner, and of nothing else.
    pub acts_as_owner: bool,
    /// Its settings, as `database/name=value`.
    pub settings: Vec<String>,
    /// Sessions that it has.
    pub sessions: i64,
}

const ROLES: &str = "
SELECT r.rolname::text,
       shobj_description(r.oid, 'pg_authid'),
       r.rolcanlogin,
       r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls,
       r.rolconnlimit,
       COALESCE((SELECT array_agg(g.rolname::text) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid), '{}') = ARRAY[$1::text],
       COALESCE((SELECT array_agg(COALESCE(d.datname, '')::text || '/' || c ORDER BY 1)
                   FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
                  WHERE s.setrole = r.oid), '{}'),
       (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)
  FROM pg_roles r
 WHERE r.rolname = $1 OR r.rolname ~ ('^' || $1 || '_[0-9]+$')";

/// Reads what there is of the owner; none where there is no role of its name.
pub async fn observe(session: &Session, owner: &str) -> Result<Option<Observed>, DatabaseError> {
    let rows = session.query("list the tenant's roles", ROLES, &[&owner]).await?;
    let mut observed = Observed::default();
    let mut exists = false;
    for row in rows {
        let (name, comment): (String, Option<String>) = (row.get(0), row.get(1));
        if name == owner {
            exists = true;
            observed.identity = comment.as_deref().and_then(Identity::parse);
            observed.privileged = row.get::<_, bool>(2) || row.get::<_, bool>(3);
            continue;
        }
        // Tenant acme's login 1 is called like the owner of a tenant acme-1: the comment tells them apart.
        let identity: Option<LoginIdentity> = comment.as_deref().and_then(|comment| serde_json::from_str(comment).ok());
        if comment.as_deref().and_then(Identity::parse).is_some() {
            continue;
        }
        observed.logins.insert(
            name,
            ObservedLogin {
                fingerprint: identity.filter(|identity| identity.tenantry_login_of == owner).map(|identity| identity.fingerprint),
                can_login: row.get(2),
                privileged: row.get(3),
                connection_limit: row.get(4),
                acts_as_owner: row.get(5),
                settings: row.get(6),
                sessions: row.get(7),
            },
        );
    }
    Ok(exists.then_some(observed))
}

/// What the database that holds the data has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedPlace {
    /// The owner of the schema, where there is one.
    pub schema_owner: Option<String>,
    /// Whether anybody but the owner has rights on the schema.
    pub schema_open: bool,
    /// Whether everybody has rights on the database or on its schema `public`.
    pub database_open: bool,
    /// Whether the owner may connect.
    pub owner_connects: bool,
    /// The extensions that are there.
    pub extensions: Vec<String>,
}

const PLACE: &str = "
SELECT (SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = $2),
       COALESCE((SELECT bool_or(a.grantee <> n.nspowner) FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = $2), false),
       (SELECT bool_or(a.grantee = 0) FROM pg_database d, aclexplode(COALESCE(d.datacl, acldefault('d', d.datdba))) a WHERE d.datname = current_database())
       OR COALESCE((SELECT bool_or(a.grantee = 0) FROM pg_namespace n, aclexplode(COALESCE(n.nspacl, acldefault('n', n.nspowner))) a WHERE n.nspname = 'public'), false),
       COALESCE((SELECT bool_or(a.grantee = r.oid AND a.privilege_type = 'CONNECT') FROM pg_roles r, pg_database d, aclexplode(d.datacl) a WHERE r.rolname = $1 AND d.datname = current_database()), false),
       (SELECT COALESCE(array_agg(extname::text), '{}') FROM pg_extension)";

/// Reads what the database of this session has for the owner and its schema.
pub async fn place(session: &Session, owner: &str, schema: Option<&str>) -> Result<ObservedPlace, DatabaseError> {
    let rows = session.query("look at the tenant's schema", PLACE, &[&owner, &schema]).await?;
    Ok(rows.first().map_or_else(ObservedPlace::default, |row| ObservedPlace {
        schema_owner: row.get(0),
        schema_open: row.get(1),
        database_open: row.get(2),
        owner_connects: row.get(3),
        extensions: row.get(4),
    }))
}

/// The owner of a database, where there is one.
pub async fn database_owner(session: &Session, database: &str) -> Result<Option<String>, DatabaseError> {
    let sql = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1";
    Ok(session.query("look for the tenant's database", sql, &[&database]).await?.first().map(|row| row.get(0)))
}
