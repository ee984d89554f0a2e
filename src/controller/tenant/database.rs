//! The tenant's database: made where something changed, and otherwise left to the bulk look that asks a server for all its tenants at once.

use super::Pass;
use super::assess::{Assessment, Step, Stop};
use super::memory::Verified;
use super::secrets::Known;
use crate::api::DatabaseServer;
use crate::api::conditions;
use crate::database::{DesiredDatabase, Login};
use crate::instance::{Database, Instance, digest};
use std::sync::Arc;
use std::time::Duration;

/// How soon it is looked again whether a former login is still in use.
const RETIRE_AGAIN: Duration = Duration::from_secs(10);

/// Makes the database as it should be.
pub async fn ensure(pass: &Pass<'_>, instance: &Instance, database: &Database, server: &DatabaseServer, login: &Login) -> Result<(), Stop> {
    let context = pass.context;
    let desired = desired(pass, instance, database, login);
    // From here on its data being gone would be a loss; that it is known now is no change of what is wanted.
    let held = DesiredDatabase { held_data: true, ..desired.clone() };
    let digest = digest::of(&format!("{held:?} {}", login.fingerprint()));
    let known = context.memory.of(&pass.uid).database;
    if known.is_some_and(|known| known.digest == digest && known.server == database.server) {
        return Ok(());
    }
    let verified = Arc::new(Verified { server: database.server.clone(), desired: held, digest });
    if was_ready(pass) && context.servers.is_up(&database.server) && !context.memory.has_seen_database(&pass.uid) {
        // After a restart one bulk look tells of all tenants what would otherwise be asked for each.
        context.memory.trust_database(&pass.uid, verified);
        context.servers.look_soon(&database.server);
        return Ok(());
    }
    if !context.servers.is_up(&database.server) {
        // It is asked by one for all; each tenant is woken once it answers.
        let message = format!("DatabaseServer {0} can't be used now: `kubectl get databaseserver {0} -o wide` says why", database.server);
        return Err(Stop::failed(Step::Database, "DatabaseUnreachable", message));
    }
    let changes = pass.reach(server).await?.server.ensure(&desired).await?;
    for change in &changes {
        tracing::info!(tenant = instance.name.as_str(), server = database.server, %change, "database changed");
    }
    context.memory.trust_database(&pass.uid, verified);
    Ok(())
}

/// Whether this very manifest was found to be so before.
fn was_ready(pass: &Pass<'_>) -> bool {
    let Some(status) = &pass.tenant.status else { return false };
    Some(status.observed_generation) == pass.tenant.metadata.generation && conditions::is_true(&status.conditions, conditions::READY)
}

/// Drops logins of before a rotation once nobody uses them. Nothing waits for it.
pub async fn retire_logins(
    pass: &Pass<'_>,
    instance: &Instance,
    server: Option<&DatabaseServer>,
    secrets: &Known,
    assessment: &mut Assessment,
) {
    let (Some(database), Some(server), Some(login)) = (&instance.database, server, &secrets.login) else { return };
    if !secrets.rotating || !assessment.is_true(conditions::AVAILABLE) {
        return;
    }
    let Ok(reachable) = pass.reach(server).await else { return };
    match reachable.server.retire_logins(&database.owner, &pass.uid, &login.name).await {
        Ok(0) => pass.context.memory.update(&pass.uid, |memory| {
            if let Some(known) = &mut memory.secrets {
                known.rotating = false;
            }
        }),
        Ok(_) => assessment.look_again_in(RETIRE_AGAIN),
        Err(error) => {
            tracing::warn!(tenant = instance.name.as_str(), %error, "former logins can't be dropped yet");
            assessment.look_again_in(RETIRE_AGAIN);
        }
    }
}

/// What the database should be.
pub fn desired(pass: &Pass<'_>, instance: &Instance, database: &Database, login: &Login) -> DesiredDatabase {
    let held_data = pass.tenant.status.as_ref().is_some_and(|status| status.database.is_some());
    database.desired(instance, login.clone(), held_data)
}
