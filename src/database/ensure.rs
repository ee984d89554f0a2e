//! Brings a tenant's database to what is wanted: a pure plan, then one transaction a database.

use super::identifier::{identifier, literal};
use super::identity::{Identity, LoginIdentity, State};
use super::session::Session;
use super::survey::{self, Observed, ObservedLogin, ObservedPlace};
use super::{DatabaseError, DesiredDatabase, Server};
use std::fmt;

/// One thing that had to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it does, such as `create role tenant_acme`; it holds no secret.
    pub doing: String,
    sql: String,
}

impl Change {
    fn new(doing: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { doing: doing.into(), sql: sql.into() }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

/// Brings the tenant's database to what is wanted and tells what had to be changed.
pub async fn ensure(server: &Server, desired: &DesiredDatabase) -> Result<Vec<Change>, DatabaseError> {
    let session = server.connect(None).await?;
    let observed = survey::observe(&session, &desired.owner).await?;
    let exists = match &desired.schema {
        Some(_) => true,
        None => database_exists(&session, desired, observed.as_ref()).await?,
    };
    let mut changes = plan(desired, observed.as_ref())?;
    in_transaction(&session, &desired.owner, &changes).await?;
    if !exists {
        changes.push(create_database(&session, desired).await?);
        // The login's settings belong to the database, so they could not be made before it.
        let settings = plan(desired, survey::observe(&session, &desired.owner).await?.as_ref())?;
        in_transaction(&session, &desired.owner, &settings).await?;
        changes.extend(settings);
    }
    let session = if desired.schema.is_some() { session } else { server.connect(Some(&desired.database)).await? };
    let place = survey::place(&session, &desired.owner, desired.schema.as_deref()).await?;
    let was_ready = observed.as_ref().and_then(|o| o.identity.as_ref()).is_some_and(|identity| identity.state != State::Creating);
    let inside = plan_place(desired, &place, was_ready)?;
    in_transaction(&session, &desired.owner, &inside).await?;
    changes.extend(inside);
    Ok(changes)
}

/// What has to be changed of the roles.
///
/// # Errors
/// Where a role isn't this tenant's, or its data is of a former one.
pub fn plan(desired: &DesiredDatabase, observed: Option<&Observed>) -> Result<Vec<Change>, DatabaseError> {
    let mut changes = Vec::new();
    let owner = identifier(&desired.owner);
    match observed {
        None => {
            changes.push(Change::new(format!("create role {}", desired.owner), format!("CREATE ROLE {owner} NOLOGIN")));
            changes.push(comment(desired, State::Creating));
        }
        Some(observed) => changes.extend(plan_owner(desired, observed)?),
    }
    let login = observed.and_then(|observed| observed.logins.get(&desired.login.name));
    changes.extend(plan_login(desired, login)?);
    Ok(changes)
}

fn plan_owner(desired: &DesiredDatabase, observed: &Observed) -> Result<Vec<Change>, DatabaseError> {
    let Some(identity) = &observed.identity else { return Err(DatabaseError::ForeignRole { role: desired.owner.clone() }) };
    if identity.tenant != desired.tenant {
        return Err(DatabaseError::ForeignRole { role: desired.owner.clone() });
    }
    let mut changes = Vec::new();
    if identity.uid != desired.uid {
        if identity.state == State::Dropping || desired.adopt.as_ref() != Some(&identity.uid) {
            return Err(DatabaseError::FormerTenant { uid: identity.uid.clone() });
        }
        changes.push(comment(desired, State::Ready));
    } else if identity.state == State::Retained {
        changes.push(comment(desired, State::Ready));
    }
    if (&identity.database, &identity.schema) != (&desired.database, &desired.schema) {
        let place = |database: &str, schema: Option<&String>| {
            schema.map_or_else(|| format!("database {database}"), |schema| format!("schema {schema} of database {database}"))
        };
        return Err(DatabaseError::PlaceChanged {
            found: place(&identity.database, identity.schema.as_ref()),
            wanted: place(&desired.database, desired.schema.as_ref()),
        });
    }
    if observed.privileged {
        changes.push(Change::new(
            format!("take rights from role {}", desired.owner),
            format!("ALTER ROLE {} NOLOGIN NOCREATEDB NOCREATEROLE", identifier(&desired.owner)),
        ));
    }
    Ok(changes)
}

fn plan_login(desired: &DesiredDatabase, observed: Option<&ObservedLogin>) -> Result<Vec<Change>, DatabaseError> {
    let DesiredDatabase { login, owner, connection_limit, .. } = desired;
    let role = identifier(&login.name);
    let mut changes = Vec::new();
    let settings = login_settings(desired);
    if observed.is_some_and(|observed| observed.fingerprint.is_none()) {
        return Err(DatabaseError::ForeignRole { role: login.name.clone() });
    }
    if observed.is_none() {
        changes.push(Change::new(format!("create login {}", login.name), format!("CREATE ROLE {role}")));
    }
    let attributes_differ = observed.is_none_or(|o| {
        !o.can_login || o.privileged || o.connection_limit != *connection_limit || o.fingerprint.as_ref() != Some(&login.fingerprint())
    });
    if attributes_differ {
        let verifier = login.verifier();
        let sql = format!(
            "ALTER ROLE {role} LOGIN INHERIT NOCREATEDB NOCREATEROLE CONNECTION LIMIT {connection_limit} PASSWORD {}",
            literal(&verifier)
        );
        changes.push(Change::new(format!("set password and limits of login {}", login.name), sql));
        let identity = LoginIdentity { tenantry_login_of: owner.clone(), fingerprint: login.fingerprint() };
        let text = serde_json::to_string(&identity).unwrap_or_default();
        changes.push(Change::new(format!("mark login {}", login.name), format!("COMMENT ON ROLE {role} IS {}", literal(&text))));
    }
    if observed.is_none_or(|o| !o.acts_as_owner) {
        changes.push(Change::new(format!("let login {} act as {owner}", login.name), format!("GRANT {} TO {role}", identifier(owner))));
    }
    let mut expected: Vec<_> = settings.iter().map(|(name, value)| format!("{}/{name}={value}", desired.database)).collect();
    expected.sort();
    let mut found = observed.map(|o| o.settings.clone()).unwrap_or_default();
    found.sort();
    if found != expected {
        let database = identifier(&desired.database);
        let mut sql = format!("ALTER ROLE {role} RESET ALL;");
        // A database that doesn't exist yet has no settings; they follow once it does.
        if desired.schema.is_some() || observed.is_some() {
            sql += &format!("ALTER ROLE {role} IN DATABASE {database} RESET ALL;");
            for (name, value) in &settings {
                sql += &format!("ALTER ROLE {role} IN DATABASE {database} SET {name} = {};", literal(value));
            }
            changes.push(Change::new(format!("pin the settings of login {}", login.name), sql));
        }
    }
    Ok(changes)
}

/// The settings that every session of a login starts with. Acting as the owner makes whatever one login creates the next one's too.
fn login_settings(desired: &DesiredDatabase) -> Vec<(&'static str, String)> {
    let search_path = desired.schema.clone().unwrap_or_else(|| "public".to_owned());
    vec![
        ("role", desired.owner.clone()),
        ("search_path", search_path),
        ("statement_timeout", format!("{}s", desired.statement_timeout_seconds)),
        ("idle_in_transaction_session_timeout", format!("{}s", desired.idle_in_transaction_timeout_seconds)),
    ]
}

fn plan_place(desired: &DesiredDatabase, place: &ObservedPlace, was_ready: bool) -> Result<Vec<Change>, DatabaseError> {
    let owner = identifier(&desired.owner);
    let database = identifier(&desired.database);
    let mut changes = Vec::new();
    if let Some(schema) = &desired.schema {
        match place.schema_owner.as_deref() {
            None if was_ready => {
                return Err(DatabaseError::DataMissing { what: format!("schema {schema} of database {}", desired.database) });
            }
            None => changes.push(Change::new(
                format!("create schema {schema}"),
                format!("CREATE SCHEMA {} AUTHORIZATION {owner}", identifier(schema)),
            )),
            Some(name) if name == desired.owner => {}
            Some(_) => return Err(DatabaseError::ForeignData { what: format!("schema {schema} of database {}", desired.database) }),
        }
        if place.schema_open {
            changes.push(Change::new(format!("close schema {schema}"), close_schema(schema)));
        }
    }
    if place.database_open {
        let mut sql = format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC");
        if desired.schema.is_none() {
            sql += &format!("; GRANT ALL ON SCHEMA public TO {owner}");
        }
        changes.push(Change::new(format!("close database {} to others", desired.database), sql));
    }
    if !place.owner_connects {
        changes.push(Change::new(
            format!("let {} connect", desired.owner),
            format!("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {owner}"),
        ));
    }
    for extension in desired.extensions.iter().filter(|name| !place.extensions.contains(name)) {
        changes.push(Change::new(
            format!("add extension {extension}"),
            format!("CREATE EXTENSION IF NOT EXISTS {} SCHEMA public", identifier(extension)),
        ));
    }
    if !was_ready {
        changes.push(comment(desired, State::Ready));
    }
    Ok(changes)
}

fn close_schema(schema: &str) -> String {
    format!("REVOKE ALL ON SCHEMA {} FROM PUBLIC", identifier(schema))
}

fn comment(desired: &DesiredDatabase, state: State) -> Change {
    let text = Identity::new(desired, state).comment();
    Change::new(
        format!("mark role {} as this tenant's", desired.owner),
        format!("COMMENT ON ROLE {} IS {}", identifier(&desired.owner), literal(&text)),
    )
}

async fn database_exists(session: &Session, desired: &DesiredDatabase, observed: Option<&Observed>) -> Result<bool, DatabaseError> {
    let what = || format!("database {}", desired.database);
    match survey::database_owner(session, &desired.database).await? {
        Some(owner) if owner == desired.owner => Ok(true),
        Some(_) => Err(DatabaseError::ForeignData { what: what() }),
        None => match observed.and_then(|observed| observed.identity.as_ref()) {
            Some(identity) if identity.state != State::Creating => Err(DatabaseError::DataMissing { what: what() }),
            _ => Ok(false),
        },
    }
}

/// A database can't be made inside a transaction, so the operator's role is made a member of the owner around it.
async fn create_database(session: &Session, desired: &DesiredDatabase) -> Result<Change, DatabaseError> {
    let (owner, database) = (identifier(&desired.owner), identifier(&desired.database));
    let change = Change::new(format!("create database {}", desired.database), format!("CREATE DATABASE {database} OWNER {owner}"));
    session.execute("act as the owner", &format!("GRANT {owner} TO CURRENT_USER")).await?;
    let made = session.execute(&change.doing, &change.sql).await;
    session.execute("stop acting as the owner", &format!("REVOKE {owner} FROM CURRENT_USER")).await?;
    made.map(|()| change)
}

/// Runs the changes as one, alone for this owner, as a member of it for no longer than that.
async fn in_transaction(session: &Session, owner: &str, changes: &[Change]) -> Result<(), DatabaseError> {
    if changes.is_empty() {
        return Ok(());
    }
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended({}, 0))", literal(owner));
    session.execute("begin", &begin).await?;
    let result = run(session, owner, changes).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    session.execute("end the transaction", end).await?;
    result
}

async fn run(session: &Session, owner: &str, changes: &[Change]) -> Result<(), DatabaseError> {
    let mut member = false;
    let role = identifier(owner);
    for change in changes {
        if !member && !change.sql.starts_with("CREATE ROLE") {
            session.execute("act as the owner", &format!("GRANT {role} TO CURRENT_USER")).await?;
            member = true;
        }
        session.execute(&change.doing, &change.sql).await?;
    }
    if member {
        session.execute("stop acting as the owner", &format!("REVOKE {role} FROM CURRENT_USER")).await?;
    }
    Ok(())
}
