//! Comments on roles, which tell whose they are, and names as Postgres takes them.

use super::fuzz;
use super::hostile::{json as any_json, mutated, nearly, text};
use crate::postgres::support::{operator_session, schema_tenant, server, superuser_session, unique};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tenantry::database::{DesiredDatabase, Login, Observed, ObservedRole, ObservedServer, ObservedTenant, plan};

fn desired() -> DesiredDatabase {
    let owner = "tenant_acme".to_owned();
    DesiredDatabase {
        tenant: "acme".into(),
        uid: "uid-1".into(),
        database: "tenants".into(),
        schema: Some(owner.clone()),
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

/// A role with this comment.
fn role(comment: &str) -> ObservedRole {
    ObservedRole { comment: Some(comment.to_owned()), inherit: true, connection_limit: -1, ..ObservedRole::default() }
}

#[test]
fn only_the_tenants_own_comment_makes_a_role_the_tenants() {
    let own = json!({"tenantry": 1, "tenant": "acme", "uid": "uid-1", "state": "creating", "database": "tenants", "schema": "tenant_acme"});
    let comments = prop_oneof![
        3 => mutated(own).prop_map(|comment| comment.to_string()),
        1 => any_json().prop_map(|comment| comment.to_string()),
        1 => text(),
        1 => nearly("\\{\"tenantry\":1,\"tenant\":\"acme\",\"uid\":\"uid-[12]\",\"state\":\"ready\",\"database\":\"tenants\"\\}"),
    ];
    fuzz(&(comments, any::<bool>(), text()), |(comment, adopt, login)| {
        let desired = DesiredDatabase { adopt: adopt.then(|| "uid-2".to_owned()), ..desired() };
        let mut tenant = ObservedTenant { owner: Some(role(&comment)), ..ObservedTenant::default() };
        tenant.logins.insert(format!("tenant_acme.{login}"), role(&comment));
        let server = ObservedServer { major_version: 15, operator: "operator".into(), ..ObservedServer::default() };
        let observed = Observed { server, tenants: [(desired.owner.clone(), tenant)].into() };
        let Ok(changes) = plan(&desired, &observed) else { return Ok(()) };
        // It is taken for the tenant's own only if it says so in as many words.
        let read: serde_json::Value = serde_json::from_str(&comment).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&read["tenant"], "acme");
        prop_assert!(read["uid"] == "uid-1" || (adopt && read["uid"] == "uid-2"), "{}", comment);
        prop_assert_eq!((&read["database"], &read["schema"]), (&json!("tenants"), &json!("tenant_acme")));
        let told = format!("{changes:?}");
        prop_assert!(!told.contains("SCRAM"));
        Ok(())
    });
}

/// On a real server: whatever a name holds, it is one name, and none of it is a statement.
#[tokio::test]
async fn whatever_a_name_holds_postgres_takes_it_as_one_name() {
    let mut names = vec![
        "\"; DROP ROLE tenantry; --".to_owned(),
        "a\"b'c`d\\e".to_owned(),
        "$$; SELECT 1; $$".to_owned(),
        "{\"tenantry\":1}".to_owned(),
        "E'\\'".to_owned(),
        "name with spaces and ünïcödé 🦀".to_owned(),
    ];
    let (mut runner, strategy) = (TestRunner::default(), text());
    while names.len() < 16 {
        let name = strategy.new_tree(&mut runner).expect("a text").current();
        if !name.is_empty() && name.len() < 40 && !name.contains('\0') {
            names.push(name);
        }
    }
    let superuser = superuser_session("postgres").await;
    for name in names {
        let before = superuser.run("SELECT count(*) FROM pg_roles WHERE rolname !~ '^(t-|tenant)'").await;
        let tenant = schema_tenant();
        let owner = format!("{}{name}", unique());
        let login = Login { name: format!("{owner}.1"), password: tenant.login.password.clone() };
        // What is said of the tenant goes into comments as text.
        let desired =
            DesiredDatabase { owner: owner.clone(), schema: Some(owner.clone()), tenant: name.clone(), uid: name.clone(), login, ..tenant };
        server().ensure(&desired).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let found = operator_session(&desired.database).await.run("SELECT nspname FROM pg_namespace").await;
        assert!(found.contains(&owner), "{owner:?} is not among {found:?}");
        server().drop_tenant(&owner, &desired.uid).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let after = superuser.run("SELECT count(*) FROM pg_roles WHERE rolname !~ '^(t-|tenant)'").await;
        assert_eq!(before, after, "{name:?} left a role");
    }
}
