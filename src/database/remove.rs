//! Takes a tenant's database away: locks it, or drops it, and never what isn't the tenant's own.

use super::identifier::{identifier, literal};
use super::identity::{Identity, State};
use super::session::Session;
use super::survey::{self, Observed};
use super::{DatabaseError, Server};

/// What is there of this very tenant; none where it is gone, or another's.
async fn own(session: &Session, owner: &str, uid: &str) -> Result<Option<(Observed, Identity)>, DatabaseError> {
    let Some(observed) = survey::observe(session, owner).await? else { return Ok(None) };
    let identity = observed.identity.clone().filter(|identity| identity.uid == uid);
    Ok(identity.map(|identity| (observed, identity)))
}

/// Drops logins other than `keep` that have no session, and tells how many have one.
pub async fn retire_logins(server: &Server, owner: &str, uid: &str, keep: &str) -> Result<usize, DatabaseError> {
    let session = server.connect(None).await?;
    let Some((observed, _)) = own(&session, owner, uid).await? else { return Ok(0) };
    let others = observed.logins.iter().filter(|(name, login)| *name != keep && login.fingerprint.is_some());
    let mut used = 0;
    for (name, login) in others {
        if login.sessions > 0 {
            used += 1;
        } else {
            session.execute(&format!("drop login {name}"), &format!("DROP ROLE {}", identifier(name))).await?;
        }
    }
    Ok(used)
}

/// Locks the logins and keeps the data.
pub async fn retain(server: &Server, owner: &str, uid: &str) -> Result<(), DatabaseError> {
    let session = server.connect(None).await?;
    let Some((observed, identity)) = own(&session, owner, uid).await? else { return Ok(()) };
    lock(&session, owner, &observed).await?;
    mark(&session, owner, &identity.with_state(State::Retained)).await
}

/// Drops data, roles and logins.
pub async fn drop_tenant(server: &Server, owner: &str, uid: &str) -> Result<(), DatabaseError> {
    let session = server.connect(None).await?;
    let Some((observed, identity)) = own(&session, owner, uid).await? else { return Ok(()) };
    mark(&session, owner, &identity.with_state(State::Dropping)).await?;
    lock(&session, owner, &observed).await?;
    let role = identifier(owner);
    session.execute("act as the owner", &format!("GRANT {role} TO CURRENT_USER")).await?;
    match &identity.schema {
        Some(schema) => {
            let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(schema));
            session.execute(&format!("drop schema {schema}"), &sql).await?;
        }
        None => {
            let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(&identity.database));
            session.execute(&format!("drop database {}", identity.database), &sql).await?;
        }
    }
    for name in observed.logins.iter().filter(|(_, login)| login.fingerprint.is_some()).map(|(name, _)| name) {
        session.execute(&format!("drop login {name}"), &format!("DROP ROLE IF EXISTS {}", identifier(name))).await?;
    }
    session.execute(&format!("drop what {owner} owns"), &format!("DROP OWNED BY {role}")).await?;
    session.execute(&format!("drop role {owner}"), &format!("DROP ROLE {role}")).await
}

/// No login logs in any more, and those that are in are put out.
async fn lock(session: &Session, owner: &str, observed: &Observed) -> Result<(), DatabaseError> {
    for (name, login) in observed.logins.iter().filter(|(_, login)| login.fingerprint.is_some()) {
        let role = identifier(name);
        session.execute(&format!("lock login {name}"), &format!("ALTER ROLE {role} NOLOGIN")).await?;
        if login.sessions > 0 {
            // Only a member of a role may end its sessions.
            let sql = format!(
                "BEGIN; GRANT {role} TO CURRENT_USER; \
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {}; \
                 REVOKE {role} FROM CURRENT_USER; COMMIT",
                literal(name)
            );
            session.execute(&format!("end the sessions of {owner}"), &sql).await?;
        }
    }
    Ok(())
}

async fn mark(session: &Session, owner: &str, identity: &Identity) -> Result<(), DatabaseError> {
    let sql = format!("COMMENT ON ROLE {} IS {}", identifier(owner), literal(&identity.comment()));
    session.execute(&format!("mark role {owner}"), &sql).await
}
