//! Two tenants of one shared database: one that attacks, with its real login, and one that is to be left alone; and attempts, each with a control,
//! which is the same by somebody who may, so that an attempt that fails for a reason of its own is noticed.

use super::support::*;
use tenantry::database::{DesiredDatabase, Server};

/// Who may do what the attacker may not.
#[derive(Clone, Copy)]
pub enum Control {
    /// The tenant that it belongs to.
    Victim,
    /// The same by its login as itself: who acts as the owner hasn't the rights of the login.
    Login,
    /// The superuser, in the database that holds it.
    Superuser,
    /// Nobody: there is nothing to succeed with, it would outlast the test, or it has to fail for the superuser too.
    Nobody,
}

/// What Postgres runs in no transaction.
const ALONE: [&str; 5] = ["CREATE DATABASE", "DROP DATABASE", "ALTER SYSTEM", "CREATE TABLESPACE", "CREATE SUBSCRIPTION"];

/// What Postgres says to those who may not: a lack of rights, or that there is no such thing for them.
const REFUSALS: [&str; 4] = ["42501", "42P01", "3F000", "42704"];

/// The attacker and the victim, in a database that nobody else shares.
pub struct Neighbours {
    pub server: Server,
    pub shared: String,
    pub attacker: DesiredDatabase,
    pub victim: DesiredDatabase,
    large_object: String,
}

impl Neighbours {
    /// Both made by the operator's own code; the victim has an object of every kind.
    pub async fn new() -> Self {
        let (server, shared) = server_with_own_database();
        let (attacker, victim) = (schema_tenant_in(&shared), schema_tenant_in(&shared));
        for tenant in [&attacker, &victim] {
            server.ensure(tenant).await.unwrap();
        }
        let own = tenant_session(&victim).await;
        let large_object = own
            .run(
                "CREATE TABLE note (text text); INSERT INTO note SELECT 'canary' FROM generate_series(1, 100); ANALYZE note;
                 CREATE VIEW note_view AS SELECT * FROM note; CREATE MATERIALIZED VIEW note_copy AS SELECT * FROM note;
                 CREATE SEQUENCE number; SELECT nextval('number'); CREATE TYPE mood AS ENUM ('calm'); CREATE DOMAIN short AS text;
                 CREATE FUNCTION secret() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT text FROM note LIMIT 1 $$;
                 CREATE PROCEDURE clear() LANGUAGE sql SECURITY DEFINER AS $$ DELETE FROM note $$;
                 CREATE AGGREGATE joined (text) (sfunc = textcat, stype = text);
                 CREATE OPERATOR <=> (leftarg = text, rightarg = text, function = bttextcmp);
                 SELECT lo_from_bytea(0, 'canary')",
            )
            .await
            .pop()
            .unwrap();
        let neighbours = Self { server, shared, attacker, victim, large_object };
        neighbours.weaken().await;
        neighbours
    }

    /// For the proof that these tests see what they are to see: takes a guard away by SQL; see dev/prove-guards.
    async fn weaken(&self) {
        if let Ok(sql) = std::env::var("TENANTRY_TESTS_WEAKEN") {
            superuser_session(&self.shared).await.run(&self.fill(&sql)).await;
        }
    }

    /// `{s}` is the victim's schema, `{o}` its owner, `{l}` its login, `{lo}` its large object, `{d}` the shared database, `{g}` the group, `{own}` the
    /// attacker's login, `{oown}` its owner, `{u}` something unique.
    pub fn fill(&self, sql: &str) -> String {
        sql.replace("{s}", &self.victim.owner)
            .replace("{oown}", &self.attacker.owner)
            .replace("{own}", &self.attacker.login.name)
            .replace("{o}", &self.victim.owner)
            .replace("{l}", &self.victim.login.name)
            .replace("{d}", &self.shared)
            .replace("{g}", &format!("tenantry.{}", self.shared))
            .replace("{u}", &unique())
            .replace("{lo}", &self.large_object)
    }

    /// None of these works, neither as the owner, as which the attacker's sessions begin, nor as its login.
    pub async fn refuse(&self, attempts: &[(Control, &str)]) {
        let superuser = superuser_session(&self.shared).await;
        let (attacker, own) = (tenant_session(&self.attacker).await, tenant_session(&self.victim).await);
        let mut permitted = Vec::new();
        for (control, attempt) in attempts {
            let sql = self.fill(attempt);
            // A session of the victim's, busy with something that it says in its statement, and to be ended.
            let busy = tenant_session(&self.victim).await;
            busy.run("SELECT 'canary'").await;
            let alone = ALONE.iter().any(|start| sql.starts_with(start));
            for role in [self.attacker.owner.as_str(), "NONE"] {
                attacker.run(&format!("SET ROLE {role}")).await;
                match attacker.try_run(&if alone { sql.clone() } else { format!("BEGIN; {sql}") }).await {
                    Ok(rows) if sql.starts_with("SELECT") && rows.is_empty() => {}
                    Ok(_) => permitted.push(format!("as {role}: {sql}")),
                    Err(error) if REFUSALS.contains(&code(&error).as_str()) => {}
                    Err(error) => panic!("{sql} failed, but not for lack of rights: {}", said(&error)),
                }
                attacker.run("ROLLBACK").await;
            }
            let session = match control {
                Control::Victim | Control::Login => &own,
                Control::Superuser => &superuser,
                Control::Nobody => continue,
            };
            if matches!(control, Control::Login) {
                session.run("SET ROLE NONE").await;
            }
            let sql = if alone { sql } else { format!("BEGIN; {sql}") };
            let rows = session.try_run(&sql).await.unwrap_or_else(|error| panic!("the control of {sql} failed: {}", said(&error)));
            assert!(!sql.starts_with("BEGIN; SELECT") || !rows.is_empty(), "the control of {sql} gave nothing");
            session.run("ROLLBACK").await;
            if let Some(made) = sql.strip_prefix("CREATE DATABASE ") {
                session.run(&format!("DROP DATABASE {made}")).await;
            }
            // RESET ROLE is to what a session began with, which for a tenant's is the owner.
            session.run("RESET SESSION AUTHORIZATION; RESET ROLE").await;
        }
        assert!(permitted.is_empty(), "a tenant may do to another: {permitted:#?}");
    }
}
