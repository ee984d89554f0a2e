//! Takes a tenant's database away: locks it, or drops it, and never what isn't the tenant's own.

use super::ensure::{become_member, end_membership};
use super::identifier::{identifier, literal};
use super::identity::{Identity, LoginIdentity, State};
use super::session::Session;
use super::survey::{self, ObservedServer, ObservedTenant, Wanted};
use super::{DatabaseError, Server};

/// Large objects are dropped this many at a time, because each takes a lock until the transaction ends.
const LARGE_OBJECTS_AT_ONCE: i64 = 1000;

/// What is there of this very tenant.
struct Found {
    session: Session,
    server: ObservedServer,
    identity: Identity,
    /// Names of its logins, and the sessions of each.
    logins: Vec<(String, i64)>,
}

/// Looks for what is there of this very tenant; none where it is gone, or another's.
async fn find(server: &Server, owner: &str, uid: &str) -> Result<Option<Found>, DatabaseError> {
    let session = server.connect(None).await?;
    let mut observed = survey::observe(&session, [Wanted::roles_of(owner)]).await?;
    let ObservedTenant { owner: role, logins, .. } = observed.tenants.remove(owner).unwrap_or_default();
    let identity = role.and_then(|role| role.comment).as_deref().and_then(Identity::parse).filter(|identity| identity.uid == uid);
    Ok(identity.map(|identity| {
        let ours = logins.into_iter().filter(|(_, role)| LoginIdentity::parse(role.comment.as_deref(), owner).is_some());
        Found { session, server: observed.server, identity, logins: ours.map(|(name, role)| (name, role.sessions)).collect() }
    }))
}

/// Drops logins other than `keep` that have no session, and tells how many have one.
pub async fn retire_logins(server: &Server, owner: &str, uid: &str, keep: &str) -> Result<usize, DatabaseError> {
    let Some(found) = find(server, owner, uid).await? else { return Ok(0) };
    let mut used = 0;
    for (name, sessions) in found.logins.iter().filter(|(name, _)| name != keep) {
        if *sessions > 0 {
            used += 1;
        } else {
            drop_login(server, &found.session, &found.server, owner, name).await?;
        }
    }
    Ok(used)
}

/// Drops one login. What it made while it did not act as the owner goes to the owner first.
pub async fn drop_login(server: &Server, session: &Session, facts: &ObservedServer, owner: &str, login: &str) -> Result<(), DatabaseError> {
    let doing = format!("drop login {login}");
    for database in survey::databases_of(session, &[login.to_owned()]).await? {
        let inside = server.connect(Some(&database)).await?;
        let (role, to) = (identifier(login), identifier(owner));
        let sql = [format!("REASSIGN OWNED BY {role} TO {to}"), format!("DROP OWNED BY {role}")];
        as_members(&inside, facts, &[owner, login], &doing, &sql).await?;
    }
    session.execute(&doing, &format!("DROP ROLE IF EXISTS {}", identifier(login))).await
}

/// Locks the logins and keeps the data.
pub async fn retain(server: &Server, owner: &str, uid: &str) -> Result<(), DatabaseError> {
    match find(server, owner, uid).await? {
        // What is half dropped can't be kept any more.
        Some(found) if found.identity.state != State::Dropping => lock(&found, owner, State::Retained).await,
        _ => Ok(()),
    }
}

/// Drops data, roles and logins. The owner goes last: as long as its comment is there, it can be called again.
pub async fn drop_tenant(server: &Server, owner: &str, uid: &str) -> Result<(), DatabaseError> {
    let Some(found) = find(server, owner, uid).await? else { return Ok(()) };
    lock(&found, owner, State::Dropping).await?;
    if found.identity.schema.is_none() {
        drop_database(&found, owner).await?;
    }
    let mut roles: Vec<_> = found.logins.iter().map(|(name, _)| name.clone()).collect();
    roles.push(owner.to_owned());
    for database in survey::databases_of(&found.session, &roles).await? {
        drop_owned(&server.connect(Some(&database)).await?, &found.server, &roles).await?;
    }
    let sql = roles.iter().map(|role| format!("DROP ROLE IF EXISTS {}", identifier(role))).collect::<Vec<_>>().join("; ");
    found.session.execute(&format!("drop role {owner} and its logins"), &sql).await
}

/// The operator takes the database over, because only its owner may drop it, and no transaction may hold that.
async fn drop_database(found: &Found, owner: &str) -> Result<(), DatabaseError> {
    let database = &found.identity.database;
    let doing = format!("drop database {database}");
    let holder = survey::database_owner(&found.session, database).await?;
    if holder.as_deref() == Some(owner) {
        let sql = format!("ALTER DATABASE {} OWNER TO CURRENT_USER", identifier(database));
        as_members(&found.session, &found.server, &[owner], &doing, &[sql]).await?;
    } else if holder.as_deref() != Some(&found.server.operator) {
        return Ok(());
    }
    // Its owner may have made it a template, which can't be dropped.
    let name = identifier(database);
    found.session.execute(&doing, &format!("ALTER DATABASE {name} IS_TEMPLATE false")).await?;
    found.session.execute(&doing, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
}

/// Drops all that these roles own in this database, and what is granted to them.
async fn drop_owned(session: &Session, facts: &ObservedServer, roles: &[String]) -> Result<(), DatabaseError> {
    let doing = format!("drop what {} own in database {}", roles.join(", "), session.database());
    session.execute(&doing, "SET statement_timeout = '10min'").await?;
    let names: Vec<&str> = roles.iter().map(String::as_str).collect();
    let quoted: Vec<_> = roles.iter().map(|role| identifier(role)).collect();
    let literals: Vec<_> = roles.iter().map(|role| literal(role)).collect();
    let unlink = format!(
        "SELECT lo_unlink(oid) FROM (SELECT l.oid FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner \
         WHERE r.rolname IN ({}) LIMIT {LARGE_OBJECTS_AT_ONCE}) AS few",
        literals.join(", ")
    );
    let left = "SELECT EXISTS (SELECT 1 FROM pg_largeobject_metadata l JOIN pg_roles r ON r.oid = l.lomowner WHERE r.rolname = ANY ($1::text[]::name[]))";
    while session.query(&doing, left, &[&names]).await?.first().is_some_and(|row| row.get(0)) {
        as_members(session, facts, &names, &doing, std::slice::from_ref(&unlink)).await?;
    }
    as_members(session, facts, &names, &doing, &[format!("DROP OWNED BY {} CASCADE", quoted.join(", "))]).await
}

/// No login logs in any more, and those that are in are put out.
async fn lock(found: &Found, owner: &str, state: State) -> Result<(), DatabaseError> {
    let doing = format!("lock {owner} and its logins");
    let logins = found.logins.iter().map(|(name, _)| name);
    let mut sql: Vec<_> = logins.clone().map(|name| format!("ALTER ROLE {} NOLOGIN", identifier(name))).collect();
    let comment = found.identity.with_state(state).comment();
    sql.push(format!("COMMENT ON ROLE {} IS {}", identifier(owner), literal(&comment)));
    // Several statements that are sent at once are one transaction.
    found.session.execute(&doing, &sql.join("; ")).await?;
    for name in logins {
        // It waits for each to end, and looks only now that no new one can begin.
        let sql = format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = {}", literal(name));
        as_members(&found.session, &found.server, &[name], &format!("end the sessions of {name}"), &[sql]).await?;
    }
    Ok(())
}

/// Runs statements as one, with the rights of these roles for no longer than that.
async fn as_members(
    session: &Session,
    facts: &ObservedServer,
    roles: &[&str],
    doing: &str,
    statements: &[String],
) -> Result<(), DatabaseError> {
    session.execute(doing, "BEGIN").await?;
    let run = async {
        for role in roles {
            become_member(session, facts, role).await?;
        }
        for statement in statements {
            session.execute(doing, statement).await?;
        }
        for role in roles {
            end_membership(session, role).await?;
        }
        Ok(())
    };
    match run.await {
        Ok(()) => session.execute(doing, "COMMIT").await,
        Err(error) => {
            session.execute(doing, "ROLLBACK").await?;
            Err(error)
        }
    }
}
