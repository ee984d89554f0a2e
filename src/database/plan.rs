//! What has to be changed to bring a tenant's database from what is to what should be. Pure: it knows no connection.

use super::error::place_name;
use super::identifier::{identifier, literal};
use super::identity::{GroupIdentity, Identity, LoginIdentity, State};
use super::survey::{EXTENSION_SCHEMA, Membership, Observed, ObservedPlace, ObservedRole, ObservedServer, ObservedTenant};
use super::{DatabaseError, DesiredDatabase, group_name};
use std::fmt;

/// The rights that the group has on the shared database, sorted.
const GROUP_RIGHTS: [&str; 2] = ["CONNECT", "TEMPORARY"];

/// One thing that has to be changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// What it does, such as `create role tenant_acme`; it holds no secret.
    pub doing: String,
    /// How it is done.
    pub(super) action: Action,
    /// What an admin has to run, where the operator may not.
    pub(super) by_admin: Option<String>,
    /// What of the statement nobody may see.
    secret: Option<String>,
}

/// How a change is made.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// By this statement, in one transaction with its neighbours.
    Statement(String),
    /// The same, by somebody with the rights of the owner.
    AsOwner(String),
    /// The same, in the tenant's own database.
    Inside(String),
    /// By this statement, which Postgres runs in no transaction.
    Alone(String),
    /// By dropping this login, after what it owns went to the owner.
    DropLogin(String),
}

impl Change {
    fn new(doing: impl Into<String>, action: Action) -> Self {
        Self { doing: doing.into(), action, by_admin: None, secret: None }
    }

    /// Makes the database that tenants share. Nobody can have put anything into template0, nor be connected to it, which would keep it from being
    /// copied.
    pub(super) fn make_shared_database(name: &str) -> Self {
        let sql = format!("CREATE DATABASE {} TEMPLATE template0", identifier(name));
        Self::new(format!("create database {name}"), Action::Alone(sql))
    }

    /// The statements; none for what takes more than statements.
    pub(super) fn sql(&self) -> &str {
        match &self.action {
            Action::Statement(sql) | Action::AsOwner(sql) | Action::Inside(sql) | Action::Alone(sql) => sql,
            Action::DropLogin(_) => "",
        }
    }

    /// The statements as they can be shown: without what the server keeps of a password.
    pub fn shown(&self) -> String {
        match (&self.action, &self.secret) {
            (Action::DropLogin(login), _) => format!("DROP ROLE {}", identifier(login)),
            (_, Some(secret)) => self.sql().replace(secret, "'[secret]'"),
            (_, None) => self.sql().to_owned(),
        }
    }

    fn hiding(self, secret: String) -> Self {
        Self { secret: Some(secret), ..self }
    }

    fn or_by_admin(self, statement: impl Into<String>) -> Self {
        Self { by_admin: Some(statement.into()), ..self }
    }
}

/// The statement stays out of it, since it may hold what the server keeps of a password.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.doing)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

/// What has to be changed, in this order; nothing where all is as it should be.
///
/// # Errors
/// Where a role, schema or database isn't this tenant's, is a former tenant's, or is gone.
pub fn plan(desired: &DesiredDatabase, observed: &Observed) -> Result<Vec<Change>, DatabaseError> {
    let nothing = ObservedTenant::default();
    let tenant = observed.tenants.get(&desired.owner).unwrap_or(&nothing);
    let identity = identity(desired, tenant)?;
    check_place(desired, tenant, identity.as_ref(), &observed.server)?;
    let mut changes = Vec::new();
    if desired.schema.is_some() {
        changes.extend(plan_shared(desired, &observed.server)?);
    }
    changes.extend(plan_owner(desired, tenant, &observed.server));
    changes.extend(plan_place(desired, tenant.place.as_ref(), &observed.server));
    changes.extend(plan_login(desired, tenant, &observed.server)?);
    changes.extend(plan_other_logins(desired, tenant, identity.as_ref(), &observed.server));
    changes.extend(plan_identity(desired, identity.as_ref()));
    // Each transaction that makes an owner a member of the group waits for the others, so it does that last.
    let group = desired.schema.is_some().then(|| Parent { role: group_name(&desired.database), set: false });
    changes.extend(plan_memberships(&desired.owner, tenant.owner.as_ref(), group, &observed.server));
    Ok(changes)
}

/// Whose the owner role is; none where there is no such role.
fn identity(desired: &DesiredDatabase, tenant: &ObservedTenant) -> Result<Option<Identity>, DatabaseError> {
    let Some(owner) = &tenant.owner else { return Ok(None) };
    let identity = owner.comment.as_deref().and_then(Identity::parse).filter(|identity| identity.tenant == desired.tenant);
    let Some(identity) = identity else { return Err(DatabaseError::ForeignRole { role: desired.owner.clone() }) };
    if identity.state == State::Dropping {
        return Err(DatabaseError::HalfDropped { owner: desired.owner.clone(), uid: identity.uid });
    }
    if identity.uid != desired.uid && desired.adopt.as_ref() != Some(&identity.uid) {
        return Err(DatabaseError::FormerTenant { uid: identity.uid });
    }
    if (&identity.database, &identity.schema) != (&desired.database, &desired.schema) {
        let (found, wanted) = ((&*identity.database, identity.schema.as_deref()), (&*desired.database, desired.schema.as_deref()));
        return Err(DatabaseError::place_changed(found, wanted));
    }
    Ok(Some(identity))
}

/// Data that was there must still be there, and must be this tenant's.
fn check_place(
    desired: &DesiredDatabase,
    tenant: &ObservedTenant,
    identity: Option<&Identity>,
    server: &ObservedServer,
) -> Result<(), DatabaseError> {
    let what = || place_name(&desired.database, desired.schema.as_deref());
    let held_data = identity.map_or(desired.held_data, |identity| identity.state != State::Creating);
    match &tenant.place {
        None if held_data => Err(DatabaseError::DataMissing { what: what() }),
        None => Ok(()),
        Some(place) if identity.is_some() && place.owner == desired.owner => Ok(()),
        // The operator owns a database for as long as it takes to hand it over.
        Some(place) if desired.schema.is_none() && place.owner == server.operator && identity.is_some() && !held_data => Ok(()),
        Some(_) => Err(DatabaseError::ForeignData { what: what() }),
    }
}

/// What all tenants of the shared database have in common.
fn plan_shared(desired: &DesiredDatabase, server: &ObservedServer) -> Result<Vec<Change>, DatabaseError> {
    let name = group_name(&desired.database);
    let (group, database) = (identifier(&name), identifier(&desired.database));
    let mut changes = Vec::new();
    match &server.group {
        None => {
            changes.push(Change::new(format!("create role {name}"), Action::Statement(create_role(&name, "NOLOGIN"))));
            let comment = GroupIdentity { tenantry_group_of: desired.database.clone() }.comment();
            changes.push(comment_on_role(&name, &comment, "the group of tenants"));
        }
        Some(role) if !GroupIdentity::matches(role.comment.as_deref(), &desired.database) => {
            return Err(DatabaseError::ForeignGroup { role: name });
        }
        Some(role) => changes.extend(plan_attributes(&name, role)),
    }
    changes.extend(plan_memberships(&name, server.group.as_ref(), None, server));
    if server.open_to_all {
        let sql = format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC");
        let change = Change::new(format!("close database {} to others", desired.database), Action::Statement(sql.clone()));
        changes.push(change.or_by_admin(sql));
    }
    if server.group_rights != GROUP_RIGHTS {
        let sql = format!(
            "REVOKE ALL ON DATABASE {database} FROM {group} CASCADE; GRANT {} ON DATABASE {database} TO {group}",
            GROUP_RIGHTS.join(", ")
        );
        changes.push(Change::new(format!("let {name} connect"), Action::Statement(sql.clone())).or_by_admin(sql));
    }
    changes.extend(plan_shared_extensions(desired, server, &group)?);
    Ok(changes)
}

/// Extensions are where every tenant finds them and none can put anything.
fn plan_shared_extensions(desired: &DesiredDatabase, server: &ObservedServer, group: &str) -> Result<Vec<Change>, DatabaseError> {
    let mut changes = Vec::new();
    if desired.extensions.is_empty() {
        return Ok(changes);
    }
    match server.extension_schema_owner.as_deref() {
        None => changes
            .push(Change::new(format!("create schema {EXTENSION_SCHEMA}"), Action::Statement(format!("CREATE SCHEMA {EXTENSION_SCHEMA}")))),
        Some(owner) if owner == server.operator => {}
        Some(_) => return Err(DatabaseError::ForeignData { what: place_name(&desired.database, Some(EXTENSION_SCHEMA)) }),
    }
    if !server.group_uses_extensions {
        let sql = format!("GRANT USAGE ON SCHEMA {EXTENSION_SCHEMA} TO {group}");
        changes.push(Change::new("let tenants use extensions", Action::Statement(sql)));
    }
    for extension in &desired.extensions {
        let name = identifier(extension);
        match server.extensions.get(extension).map(String::as_str) {
            // What an extension brings with it into Postgres' own catalog can be used by all as it is.
            Some(EXTENSION_SCHEMA | "pg_catalog") => {}
            Some(_) => {
                let sql = format!("ALTER EXTENSION {name} SET SCHEMA {EXTENSION_SCHEMA}");
                changes.push(Change::new(format!("move extension {extension}"), Action::Statement(sql.clone())).or_by_admin(sql));
            }
            None => changes.push(create_extension(extension, EXTENSION_SCHEMA, Action::Statement)),
        }
    }
    Ok(changes)
}

fn create_extension(extension: &str, schema: &str, action: fn(String) -> Action) -> Change {
    let sql = format!("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {schema} CASCADE", identifier(extension));
    Change::new(format!("create extension {extension}"), action(sql.clone())).or_by_admin(sql)
}

fn plan_owner(desired: &DesiredDatabase, tenant: &ObservedTenant, server: &ObservedServer) -> Vec<Change> {
    let Some(role) = &tenant.owner else {
        let state = if desired.schema.is_some() { State::Ready } else { State::Creating };
        return vec![
            Change::new(format!("create role {}", desired.owner), Action::Statement(create_role(&desired.owner, "NOLOGIN"))),
            mark(desired, &Identity::new(desired, state)),
        ];
    };
    let mut changes = Vec::new();
    changes.extend(plan_attributes(&desired.owner, role));
    if desired.schema.is_some() && !role.functions_closed && tenant.place.is_some() {
        changes.push(close_functions(desired));
    }
    let is_login = |member: &str| tenant.logins.get(member).is_some_and(|login| is_ours(desired, login));
    changes.extend(strangers(role, server, is_login));
    changes
}

/// Postgres lets everybody call a new function. Only that nobody else may use the schema is then in the way, and the owner may let somebody in.
fn close_functions(desired: &DesiredDatabase) -> Change {
    let sql = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC", identifier(&desired.owner));
    Change::new(format!("keep new functions of {} from everybody", desired.owner), Action::AsOwner(sql))
}

/// The data: made where it never was, closed to others, and whole for its owner.
fn plan_place(desired: &DesiredDatabase, place: Option<&ObservedPlace>, server: &ObservedServer) -> Vec<Change> {
    let owner = identifier(&desired.owner);
    let mut changes = Vec::new();
    let (kind, name) = match &desired.schema {
        Some(schema) => ("SCHEMA", schema),
        None => ("DATABASE", &desired.database),
    };
    let quoted = identifier(name);
    // Extensions are made inside, and what roles own there is dropped there.
    let let_in = format!("GRANT CONNECT ON DATABASE {quoted} TO {}", identifier(&server.operator));
    if place.is_none() {
        let doing = format!("create {} {name}", kind.to_lowercase());
        if desired.schema.is_some() {
            changes.push(Change::new(doing, Action::AsOwner(format!("CREATE SCHEMA {quoted} AUTHORIZATION {owner}"))));
            changes.push(close_functions(desired));
            return changes;
        }
        // From template0, into which no tenant can have put anything; and closed, because until it is handed over everybody may connect, and
        // who is connected stays.
        changes.push(Change::new(doing, Action::Alone(format!("CREATE DATABASE {quoted} TEMPLATE template0 ALLOW_CONNECTIONS false"))));
    }
    if desired.schema.is_none() && place.is_none_or(|place| place.owner != desired.owner) {
        let sql = format!(
            "ALTER DATABASE {quoted} OWNER TO {owner}; REVOKE ALL ON DATABASE {quoted} FROM PUBLIC; {let_in}; \
             ALTER DATABASE {quoted} ALLOW_CONNECTIONS true"
        );
        changes.push(Change::new(format!("give database {name} to {}", desired.owner), Action::AsOwner(sql)));
        return changes;
    }
    for guest in place.iter().flat_map(|place| &place.guests) {
        let (shown, grantee) = if guest.is_empty() { ("everybody", "PUBLIC".to_owned()) } else { (guest.as_str(), identifier(guest)) };
        let sql = format!("REVOKE ALL ON {kind} {quoted} FROM {grantee} CASCADE");
        changes.push(Change::new(format!("close {} {name} to {shown}", kind.to_lowercase()), Action::AsOwner(sql)));
    }
    if place.is_some_and(|place| !place.whole) {
        let sql = format!("GRANT ALL ON {kind} {quoted} TO {owner}");
        changes.push(Change::new(format!("give {} all rights on its {}", desired.owner, kind.to_lowercase()), Action::AsOwner(sql)));
    }
    if desired.schema.is_none() && place.is_some_and(|place| !place.operator_connects) {
        changes.push(Change::new(format!("let the operator into database {name}"), Action::AsOwner(let_in)));
    }
    changes
}

/// The login that pods use.
fn plan_login(desired: &DesiredDatabase, tenant: &ObservedTenant, server: &ObservedServer) -> Result<Vec<Change>, DatabaseError> {
    let DesiredDatabase { login, owner, connection_limit, .. } = desired;
    let role = identifier(&login.name);
    let observed = tenant.logins.get(&login.name);
    if observed.is_some_and(|observed| !is_ours(desired, observed)) {
        return Err(DatabaseError::ForeignRole { role: login.name.clone() });
    }
    let identity = LoginIdentity { tenantry_login_of: owner.clone(), fingerprint: login.fingerprint() };
    let mut changes = Vec::new();
    if observed.is_none() {
        let verifier = literal(&login.verifier());
        let sql = create_role(&login.name, &format!("LOGIN CONNECTION LIMIT {connection_limit} PASSWORD {verifier}"));
        changes.push(Change::new(format!("create login {}", login.name), Action::Statement(sql)).hiding(verifier));
    }
    if observed.is_some_and(|observed| observed.above) {
        changes.push(take_above(&login.name));
    }
    let known = |role: &ObservedRole| LoginIdentity::parse(role.comment.as_deref(), owner).as_ref() == Some(&identity);
    if observed.is_some_and(|role| !role.login || !role.inherit || role.creates || role.connection_limit != *connection_limit) {
        let sql = format!("ALTER ROLE {role} LOGIN INHERIT NOCREATEDB NOCREATEROLE CONNECTION LIMIT {connection_limit}");
        changes.push(Change::new(format!("set the limits of login {}", login.name), Action::Statement(sql)));
    }
    if observed.is_some_and(|role| !known(role) || !role.login) {
        let verifier = literal(&login.verifier());
        let sql = format!("ALTER ROLE {role} PASSWORD {verifier}");
        changes.push(Change::new(format!("set the password of login {}", login.name), Action::Statement(sql)).hiding(verifier));
    }
    if !observed.is_some_and(known) {
        changes.push(comment_on_role(&login.name, &identity.comment(), "this tenant's login"));
    }
    let parent = Parent { role: owner.clone(), set: true };
    changes.extend(plan_memberships(&login.name, observed, Some(parent), server));
    changes.extend(observed.into_iter().flat_map(|role| strangers(role, server, |_| false)));
    changes.extend(plan_settings(desired, observed));
    Ok(changes)
}

/// Settings that others made beside ours stay.
fn plan_settings(desired: &DesiredDatabase, observed: Option<&ObservedRole>) -> Option<Change> {
    let settings = login_settings(desired);
    let is_set = |(name, value): &(&str, String)| {
        observed.is_some_and(|role| role.settings.contains(&format!("{}/{name}={value}", desired.database)))
    };
    if settings.iter().all(is_set) {
        return None;
    }
    let (role, database) = (identifier(&desired.login.name), identifier(&desired.database));
    let statement = |(name, value): &(&str, String)| {
        let value = match *name {
            "search_path" => value.split(", ").map(identifier).collect::<Vec<_>>().join(", "),
            _ => literal(value),
        };
        format!("ALTER ROLE {role} IN DATABASE {database} SET {name} = {value}")
    };
    let sql = settings.iter().map(statement).collect::<Vec<_>>().join("; ");
    Some(Change::new(format!("pin the settings of login {}", desired.login.name), Action::Statement(sql)))
}

/// The settings that every session of a login starts with. Acting as the owner makes whatever one login creates the next one's too.
fn login_settings(desired: &DesiredDatabase) -> Vec<(&'static str, String)> {
    let search_path = match &desired.schema {
        Some(schema) if !desired.extensions.is_empty() => format!("{schema}, {EXTENSION_SCHEMA}"),
        Some(schema) => schema.clone(),
        None => "public".to_owned(),
    };
    vec![
        ("role", desired.owner.clone()),
        ("search_path", search_path),
        ("statement_timeout", format!("{}s", desired.statement_timeout_seconds)),
        ("idle_in_transaction_session_timeout", format!("{}s", desired.idle_in_transaction_timeout_seconds)),
    ]
}

/// Logins of before: a rotation's keep working until they are retired; a former tenant's are locked, and dropped once nobody uses them.
fn plan_other_logins(
    desired: &DesiredDatabase,
    tenant: &ObservedTenant,
    identity: Option<&Identity>,
    server: &ObservedServer,
) -> Vec<Change> {
    let adopting = identity.is_some_and(|identity| identity.uid != desired.uid);
    let mut changes = Vec::new();
    for (name, role) in tenant.logins.iter().filter(|(name, role)| **name != desired.login.name && is_ours(desired, role)) {
        if role.login && adopting {
            let sql = format!("ALTER ROLE {} NOLOGIN", identifier(name));
            changes.push(Change::new(format!("lock login {name} of the former tenant"), Action::Statement(sql)));
        } else if !role.login && role.sessions == 0 {
            changes.push(Change::new(format!("drop login {name}"), Action::DropLogin(name.clone())));
            continue;
        }
        if role.above {
            changes.push(take_above(name));
        }
        let parent = Parent { role: desired.owner.clone(), set: true };
        changes.extend(plan_memberships(name, Some(role), Some(parent), server));
        changes.extend(strangers(role, server, |_| false));
    }
    changes
}

/// What the comment on the owner has to say once all else is done.
fn plan_identity(desired: &DesiredDatabase, found: Option<&Identity>) -> Vec<Change> {
    let wanted = Identity::new(desired, State::Ready);
    let made_at_once = found.is_none() && desired.schema.is_some();
    if made_at_once || found == Some(&wanted) {
        return Vec::new();
    }
    let there = found.map(|identity| identity.extensions.as_slice()).unwrap_or_default();
    let missing = wanted.extensions.iter().filter(|extension| !there.contains(extension));
    let mut changes: Vec<_> = missing.map(|extension| create_extension(extension, "public", Action::Inside)).collect();
    changes.push(mark(desired, &wanted));
    changes
}

fn is_ours(desired: &DesiredDatabase, login: &ObservedRole) -> bool {
    LoginIdentity::parse(login.comment.as_deref(), &desired.owner).is_some()
}

/// All that only a superuser may give is said when a role is made, because only a superuser may say it later.
fn create_role(name: &str, options: &str) -> String {
    format!("CREATE ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT {options}", identifier(name))
}

/// The attributes of a role that nobody logs in as.
fn plan_attributes(name: &str, role: &ObservedRole) -> Vec<Change> {
    let mut changes = Vec::new();
    if role.above {
        changes.push(take_above(name));
    }
    if role.login || role.creates || !role.inherit {
        let sql = format!("ALTER ROLE {} NOLOGIN INHERIT NOCREATEDB NOCREATEROLE", identifier(name));
        changes.push(Change::new(format!("take rights from role {name}"), Action::Statement(sql)));
    }
    changes
}

fn take_above(name: &str) -> Change {
    let sql = format!("ALTER ROLE {} NOSUPERUSER NOREPLICATION NOBYPASSRLS", identifier(name));
    Change::new(format!("take SUPERUSER, REPLICATION and BYPASSRLS from role {name}"), Action::Statement(sql.clone())).or_by_admin(sql)
}

fn mark(desired: &DesiredDatabase, identity: &Identity) -> Change {
    comment_on_role(&desired.owner, &identity.comment(), "this tenant's")
}

fn comment_on_role(name: &str, text: &str, whose: &str) -> Change {
    let sql = format!("COMMENT ON ROLE {} IS {}", identifier(name), literal(text));
    Change::new(format!("mark role {name} as {whose}"), Action::Statement(sql))
}

/// The one role that another is to be a member of.
#[derive(Clone)]
struct Parent {
    role: String,
    /// Whether it may become that role. Before Postgres 16 every member may.
    set: bool,
}

fn revoke(server: &ObservedServer, Membership { role, member, grantor, .. }: &Membership) -> Change {
    let mut sql = format!("REVOKE {} FROM {}", identifier(role), identifier(member));
    // Without it, a later server only revokes what the operator itself granted, and calls that a success.
    if server.major_version >= 16 {
        sql += &format!(" GRANTED BY {}", identifier(grantor));
    }
    sql += " CASCADE";
    Change::new(format!("end that {member} is a member of {role}"), Action::Statement(sql.clone())).or_by_admin(sql)
}

/// A grant of a role. Since Postgres 16 it can be said what the member may do with it.
pub(super) fn grant(server: &ObservedServer, role: &str, member: &str, set: bool) -> String {
    let options = match (server.major_version >= 16, set) {
        (false, _) => "",
        (true, true) => " WITH INHERIT TRUE, SET TRUE",
        (true, false) => " WITH INHERIT TRUE, SET FALSE",
    };
    format!("GRANT {} TO {member}{options}", identifier(role))
}

/// Makes the role a member of its parent and of nothing else.
fn plan_memberships(name: &str, role: Option<&ObservedRole>, parent: Option<Parent>, server: &ObservedServer) -> Vec<Change> {
    let edges = role.map(|role| role.member_of.as_slice()).unwrap_or_default();
    let right = |edge: &&Membership| {
        let becomes = |parent: &Parent| server.major_version < 16 || edge.set == parent.set;
        parent.as_ref().is_some_and(|parent| edge.role == parent.role && !edge.admin && edge.inherit && becomes(parent))
    };
    let mut changes: Vec<_> = edges.iter().filter(|edge| !right(edge)).map(|edge| revoke(server, edge)).collect();
    if let Some(parent) = parent.as_ref().filter(|_| !edges.iter().any(|edge| right(&edge))) {
        let sql = grant(server, &parent.role, &identifier(name), parent.set);
        changes.push(Change::new(format!("make {name} a member of {}", parent.role), Action::Statement(sql)));
    }
    changes
}

/// Members of a role that it shouldn't have. Since Postgres 16 who makes a role may grant it, which isn't the same as having its rights.
fn strangers<'a>(
    role: &'a ObservedRole,
    server: &'a ObservedServer,
    belongs: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = Change> + 'a {
    let makes_it = |edge: &Membership| edge.member == server.operator && edge.admin && !edge.inherit && !edge.set;
    role.members.iter().filter(move |edge| !makes_it(edge) && !belongs(&edge.member)).map(|edge| revoke(server, edge))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Login;

    fn desired(schema: bool) -> DesiredDatabase {
        let owner = "tenant_acme".to_owned();
        DesiredDatabase {
            tenant: "acme".into(),
            uid: "1".into(),
            database: if schema { "tenants".into() } else { owner.clone() },
            schema: schema.then(|| owner.clone()),
            login: Login { name: format!("{owner}.1"), password: "p".into() },
            owner,
            connection_limit: 5,
            statement_timeout_seconds: 60,
            idle_in_transaction_timeout_seconds: 300,
            extensions: Vec::new(),
            adopt: None,
            held_data: false,
        }
    }

    fn edge(role: &str, member: &str, set: bool) -> Membership {
        Membership { role: role.into(), member: member.into(), grantor: "operator".into(), admin: false, inherit: true, set }
    }

    fn role(login: bool, comment: String) -> ObservedRole {
        ObservedRole { comment: Some(comment), login, inherit: true, connection_limit: -1, ..ObservedRole::default() }
    }

    /// What is there once all is as it should be, on Postgres 17.
    fn whole(desired: &DesiredDatabase) -> Observed {
        let DesiredDatabase { owner: name, login, database, .. } = desired;
        let mut owner = role(false, Identity::new(desired, State::Ready).comment());
        owner.functions_closed = true;
        owner.members =
            vec![edge(name, &login.name, true), Membership { admin: true, inherit: false, set: false, ..edge(name, "operator", false) }];
        let mut group = role(false, GroupIdentity { tenantry_group_of: database.clone() }.comment());
        group.members = Vec::new();
        if desired.schema.is_some() {
            owner.member_of = vec![edge(&group_name(database), name, false)];
        }
        let comment = LoginIdentity { tenantry_login_of: name.clone(), fingerprint: login.fingerprint() }.comment();
        let settings = login_settings(desired).iter().map(|(name, value)| format!("{database}/{name}={value}")).collect();
        let login_role =
            ObservedRole { connection_limit: 5, member_of: vec![edge(name, &login.name, true)], settings, ..role(true, comment) };
        let place = ObservedPlace { owner: name.clone(), guests: Vec::new(), whole: true, operator_connects: true };
        let tenant = ObservedTenant { owner: Some(owner), logins: [(login.name.clone(), login_role)].into(), place: Some(place) };
        let server = ObservedServer {
            major_version: 17,
            operator: "operator".into(),
            group: Some(group),
            group_rights: GROUP_RIGHTS.map(str::to_owned).into(),
            ..ObservedServer::default()
        };
        Observed { server, tenants: [(name.clone(), tenant)].into() }
    }

    #[test]
    fn what_the_server_keeps_of_a_password_is_never_shown() {
        let desired = desired(true);
        let mut locked = whole(&desired);
        locked.tenants.values_mut().flat_map(|tenant| tenant.logins.values_mut()).for_each(|login| login.login = false);
        for observed in [Observed::default(), locked] {
            let changes = plan(&desired, &observed).unwrap();
            assert!(changes.iter().any(|change| change.sql().contains("SCRAM-SHA-256")), "a password is set");
            let shown: Vec<_> = changes.iter().map(Change::shown).collect();
            assert!(shown.iter().any(|statement| statement.contains("PASSWORD '[secret]'")), "{shown:?}");
            assert!(!shown.iter().any(|statement| statement.contains("SCRAM")), "{shown:?}");
        }
    }

    fn told(desired: &DesiredDatabase, observed: &Observed) -> Vec<String> {
        plan(desired, observed).unwrap().iter().map(ToString::to_string).collect()
    }

    /// What is planned after one thing was spoiled.
    fn after(spoil: impl Fn(&mut Observed, &mut ObservedTenant)) -> Vec<String> {
        let desired = desired(true);
        let mut observed = whole(&desired);
        let mut tenant = observed.tenants.remove("tenant_acme").unwrap();
        spoil(&mut observed, &mut tenant);
        observed.tenants.insert("tenant_acme".into(), tenant);
        told(&desired, &observed)
    }

    fn login(tenant: &mut ObservedTenant) -> &mut ObservedRole {
        tenant.logins.get_mut("tenant_acme.1").unwrap()
    }

    #[test]
    fn where_all_is_as_it_should_be_nothing_is_planned() {
        for schema in [true, false] {
            let desired = desired(schema);
            assert_eq!(told(&desired, &whole(&desired)), Vec::<String>::new());
        }
    }

    #[test]
    fn where_nothing_is_all_is_planned_in_order() {
        let server = ObservedServer { major_version: 15, operator: "operator".into(), open_to_all: true, ..ObservedServer::default() };
        let nothing = Observed { server, ..Observed::default() };
        assert_eq!(
            told(&desired(true), &nothing),
            [
                "create role tenantry.tenants",
                "mark role tenantry.tenants as the group of tenants",
                "close database tenants to others",
                "let tenantry.tenants connect",
                "create role tenant_acme",
                "mark role tenant_acme as this tenant's",
                "create schema tenant_acme",
                "keep new functions of tenant_acme from everybody",
                "create login tenant_acme.1",
                "mark role tenant_acme.1 as this tenant's login",
                "make tenant_acme.1 a member of tenant_acme",
                "pin the settings of login tenant_acme.1",
                "make tenant_acme a member of tenantry.tenants",
            ]
        );
        let own = DesiredDatabase { extensions: vec!["citext".into()], ..desired(false) };
        assert_eq!(
            told(&own, &nothing),
            [
                "create role tenant_acme",
                "mark role tenant_acme as this tenant's",
                "create database tenant_acme",
                "give database tenant_acme to tenant_acme",
                "create login tenant_acme.1",
                "mark role tenant_acme.1 as this tenant's login",
                "make tenant_acme.1 a member of tenant_acme",
                "pin the settings of login tenant_acme.1",
                "create extension citext",
                "mark role tenant_acme as this tenant's",
            ]
        );
    }

    #[test]
    fn each_difference_is_put_right_alone() {
        let limits = ["set the limits of login tenant_acme.1"];
        assert_eq!(after(|_, tenant| login(tenant).connection_limit = 9), limits);
        assert_eq!(after(|_, tenant| login(tenant).inherit = false), limits);
        assert_eq!(after(|_, tenant| login(tenant).creates = true), limits);
        let locked = ["set the limits of login tenant_acme.1", "set the password of login tenant_acme.1"];
        assert_eq!(after(|_, tenant| login(tenant).login = false), locked);
        assert_eq!(
            after(|_, tenant| login(tenant).comment = Some(r#"{"tenantry_login_of":"tenant_acme","fingerprint":"0"}"#.into())),
            ["set the password of login tenant_acme.1", "mark role tenant_acme.1 as this tenant's login"]
        );
        assert_eq!(after(|_, tenant| login(tenant).above = true), ["take SUPERUSER, REPLICATION and BYPASSRLS from role tenant_acme.1"]);
        assert_eq!(after(|_, tenant| login(tenant).settings.truncate(1)), ["pin the settings of login tenant_acme.1"]);
        assert_eq!(after(|_, tenant| login(tenant).member_of.clear()), ["make tenant_acme.1 a member of tenant_acme"]);
        assert_eq!(
            after(|_, tenant| login(tenant).member_of.push(edge("pg_read_all_data", "tenant_acme.1", true))),
            ["end that tenant_acme.1 is a member of pg_read_all_data"]
        );
        assert_eq!(
            after(|_, tenant| login(tenant).member_of[0].admin = true),
            ["end that tenant_acme.1 is a member of tenant_acme", "make tenant_acme.1 a member of tenant_acme"]
        );
        assert_eq!(after(|_, tenant| tenant.owner.as_mut().unwrap().login = true), ["take rights from role tenant_acme"]);
        assert_eq!(
            after(|_, tenant| tenant.owner.as_mut().unwrap().members.push(edge("tenant_acme", "mallory", true))),
            ["end that mallory is a member of tenant_acme"]
        );
        assert_eq!(
            after(|_, tenant| tenant.place.as_mut().unwrap().guests = vec![String::new(), "tenant_other".into()]),
            ["close schema tenant_acme to everybody", "close schema tenant_acme to tenant_other"]
        );
        assert_eq!(
            after(|_, tenant| tenant.owner.as_mut().unwrap().functions_closed = false),
            ["keep new functions of tenant_acme from everybody"]
        );
        assert_eq!(after(|_, tenant| tenant.place.as_mut().unwrap().whole = false), ["give tenant_acme all rights on its schema"]);
        assert_eq!(after(|observed, _| observed.server.open_to_all = true), ["close database tenants to others"]);
        assert_eq!(after(|observed, _| observed.server.group_rights.clear()), ["let tenantry.tenants connect"]);
    }

    #[test]
    fn what_others_set_beside_ours_is_no_difference() {
        assert_eq!(after(|_, tenant| login(tenant).settings.push("/work_mem=8MB".into())), Vec::<String>::new());
    }

    #[test]
    fn before_16_nobody_can_say_what_a_member_may_do() {
        let group_edge = |observed: &mut Observed, tenant: &mut ObservedTenant, version| {
            observed.server.major_version = version;
            tenant.owner.as_mut().unwrap().member_of[0].set = true;
        };
        assert_eq!(after(|observed, tenant| group_edge(observed, tenant, 15)), Vec::<String>::new());
        assert_eq!(after(|observed, tenant| group_edge(observed, tenant, 16)).len(), 2);
    }

    #[test]
    fn only_a_locked_login_that_nobody_uses_is_dropped() {
        let with = |can_login, sessions| {
            after(|_, tenant| {
                let other = ObservedRole { login: can_login, sessions, ..login(tenant).clone() };
                let member_of = vec![edge("tenant_acme", "tenant_acme.2", true)];
                tenant.logins.insert("tenant_acme.2".into(), ObservedRole { member_of, ..other });
                tenant.owner.as_mut().unwrap().members.push(edge("tenant_acme", "tenant_acme.2", true));
            })
        };
        assert_eq!(with(true, 0), Vec::<String>::new());
        assert_eq!(with(false, 1), Vec::<String>::new());
        assert_eq!(with(false, 0), ["drop login tenant_acme.2"]);
    }

    #[test]
    fn a_role_of_somebody_else_is_refused() {
        let mut observed = whole(&desired(true));
        for comment in
            [None, Some("hello".to_owned()), Some(Identity::new(&desired(true), State::Ready).comment().replace("acme\"", "b\""))]
        {
            observed.tenants.get_mut("tenant_acme").unwrap().owner.as_mut().unwrap().comment = comment;
            assert!(matches!(plan(&desired(true), &observed), Err(DatabaseError::ForeignRole { .. })));
        }
    }

    #[test]
    fn a_former_tenants_data_needs_its_uid() {
        let former = whole(&desired(true));
        let namesake = DesiredDatabase { uid: "2".into(), ..desired(true) };
        assert!(matches!(plan(&namesake, &former), Err(DatabaseError::FormerTenant { uid }) if uid == "1"));
        let heir = DesiredDatabase { adopt: Some("1".into()), ..namesake };
        assert_eq!(told(&heir, &former), ["mark role tenant_acme as this tenant's"]);
    }

    #[test]
    fn missing_data_is_a_loss_once_it_was_there() {
        for schema in [true, false] {
            let desired = desired(schema);
            let mut observed = whole(&desired);
            observed.tenants.get_mut("tenant_acme").unwrap().place = None;
            assert!(matches!(plan(&desired, &observed), Err(DatabaseError::DataMissing { .. })));
            let comment = Some(Identity::new(&desired, State::Creating).comment());
            observed.tenants.get_mut("tenant_acme").unwrap().owner.as_mut().unwrap().comment = comment;
            assert!(plan(&desired, &observed).is_ok());
            let known = DesiredDatabase { held_data: true, ..desired };
            assert!(matches!(plan(&known, &Observed::default()), Err(DatabaseError::DataMissing { .. })));
        }
    }

    #[test]
    fn no_change_shows_the_verifier() {
        let shown = format!("{:?}", plan(&desired(true), &Observed::default()).unwrap());
        assert!(shown.contains("create login") && !shown.contains("SCRAM"), "{shown}");
    }

    #[test]
    fn the_groups_name_fits_whatever_the_database_is_called() {
        assert_eq!(group_name("tenants"), "tenantry.tenants");
        let (one, two) = (group_name(&format!("{}a", "x".repeat(62))), group_name(&format!("{}b", "x".repeat(62))));
        assert!(one.len() <= 63 && two.len() <= 63 && one != two);
    }
}
