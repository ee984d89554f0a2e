//! Brings a tenant's database to what is wanted: looks, plans, and makes the changes. What somebody else did at the same time is no
//! failure: it looks again, and finds that less is left to do.

use super::identifier::identifier;
use super::plan::{Action, Change, grant, plan};
use super::session::Session;
use super::survey::{self, ObservedServer};
use super::{DatabaseError, DesiredDatabase, Server, remove};
use std::time::Duration;

/// How often it is tried. Each time at least one of those that are in each other's way gets through.
const ATTEMPTS: u32 = 12;
/// The longest wait before the second attempt; it doubles, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(40);
const LONGEST_WAIT: Duration = Duration::from_millis(1000);

/// Brings the tenant's database to what is wanted and tells what had to be changed.
pub async fn ensure(server: &Server, desired: &DesiredDatabase) -> Result<Vec<Change>, DatabaseError> {
    let session = server.connect(None).await?;
    let mut made = Vec::new();
    let mut attempt = 0;
    loop {
        match once(server, &session, desired, &mut made).await {
            Err(error) if error.is_conflict() && attempt + 1 < ATTEMPTS => {
                let longest = FIRST_WAIT.saturating_mul(1 << attempt.min(10)).min(LONGEST_WAIT);
                tokio::time::sleep(longest.mul_f32(rand::random_range(0.2..=1.0))).await;
                attempt += 1;
            }
            result => return result.map(|()| made),
        }
    }
}

async fn once(server: &Server, session: &Session, desired: &DesiredDatabase, made: &mut Vec<Change>) -> Result<(), DatabaseError> {
    let observed = survey::observe(session, [desired.into()]).await?;
    let changes = plan(desired, &observed)?;
    for step in changes.chunk_by(|one, next| kind(one) == kind(next)) {
        match &step[0].action {
            Action::Statement(_) | Action::AsOwner(_) => transaction(session, &observed.server, &desired.owner, step).await?,
            Action::Inside(_) => {
                let inside = server.connect(Some(&desired.database)).await?;
                transaction(&inside, &observed.server, &desired.owner, step).await?;
            }
            Action::Alone(_) | Action::DropLogin(_) => {
                for change in step {
                    alone(server, session, &observed.server, desired, change).await?;
                }
            }
        }
        made.extend_from_slice(step);
    }
    Ok(())
}

/// Changes of one kind can be made together.
fn kind(change: &Change) -> u8 {
    match change.action {
        Action::Statement(_) | Action::AsOwner(_) => 0,
        Action::Inside(_) => 1,
        Action::Alone(_) | Action::DropLogin(_) => 2,
    }
}

async fn alone(
    server: &Server,
    session: &Session,
    facts: &ObservedServer,
    desired: &DesiredDatabase,
    change: &Change,
) -> Result<(), DatabaseError> {
    match &change.action {
        Action::DropLogin(login) => remove::drop_login(server, session, facts, &desired.owner, login).await,
        Action::Alone(sql) | Action::Statement(sql) | Action::AsOwner(sql) | Action::Inside(sql) => {
            session.execute(&change.doing, sql).await.map_err(|error| error.or_by_admin(session.database(), change.by_admin.as_ref()))
        }
    }
}

/// Makes the changes as one: all of them, or none.
async fn transaction(session: &Session, facts: &ObservedServer, owner: &str, changes: &[Change]) -> Result<(), DatabaseError> {
    session.execute("begin a transaction", "BEGIN").await?;
    let result = run(session, facts, owner, changes).await;
    match result {
        Ok(()) => session.execute("commit", "COMMIT").await,
        Err(error) => {
            session.execute("roll back", "ROLLBACK").await?;
            Err(error)
        }
    }
}

/// The operator is a member of the owner for no longer than its statements need, and no other transaction ever sees it.
async fn run(session: &Session, facts: &ObservedServer, owner: &str, changes: &[Change]) -> Result<(), DatabaseError> {
    let mut member = false;
    for change in changes {
        let (sql, as_owner) = match &change.action {
            Action::Statement(sql) => (sql, false),
            Action::AsOwner(sql) | Action::Inside(sql) | Action::Alone(sql) => (sql, true),
            Action::DropLogin(_) => continue,
        };
        if as_owner && !member {
            become_member(session, facts, owner).await?;
            member = true;
        }
        if !as_owner && member {
            end_membership(session, owner).await?;
            member = false;
        }
        session.execute(&change.doing, sql).await.map_err(|error| error.or_by_admin(session.database(), change.by_admin.as_ref()))?;
    }
    if member {
        end_membership(session, owner).await?;
    }
    Ok(())
}

/// Gives the operator the rights of a role, which it may because it made that role.
pub(super) async fn become_member(session: &Session, facts: &ObservedServer, role: &str) -> Result<(), DatabaseError> {
    let by_admin = format!("GRANT {} TO {} WITH ADMIN OPTION", identifier(role), identifier(&facts.operator));
    let result = session.execute(&format!("act as {role}"), &grant(facts, role, "CURRENT_USER", true)).await;
    result.map_err(|error| error.or_by_admin(session.database(), Some(&by_admin)))
}

pub(super) async fn end_membership(session: &Session, role: &str) -> Result<(), DatabaseError> {
    session.execute(&format!("stop acting as {role}"), &format!("REVOKE {} FROM CURRENT_USER", identifier(role))).await
}
