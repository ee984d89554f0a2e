//! A new login while the old one is in use: both work, whatever they make is the owner's, and the old one leaves nothing behind.

use crate::support::*;
use std::process::Command;

#[tokio::test]
async fn both_logins_work_until_the_first_is_dropped() {
    let superuser = superuser_session("postgres").await;
    for first in both_kinds() {
        server().ensure(&first).await.unwrap();
        let one = tenant_session(&first).await;
        one.run("CREATE TABLE note (text text); CREATE SEQUENCE number").await;
        // What a login makes as itself has to go to the owner, too.
        one.run(&format!(
            "SET ROLE NONE; CREATE TABLE \"{}\".stray (text text); SET ROLE {}",
            first.schema.as_deref().unwrap_or("public"),
            first.owner
        ))
        .await;
        let second = with_login(&first, 2);
        server().ensure(&second).await.unwrap();
        let two = tenant_session(&second).await;
        two.run("INSERT INTO note VALUES ('two'); ALTER TABLE note ADD COLUMN more text; CREATE TABLE other (text text)").await;
        one.run("INSERT INTO note VALUES ('one'); INSERT INTO other VALUES ('one')").await;
        assert_eq!(tenant_session(&first).await.run("SELECT count(*) FROM note").await, ["2"], "the first password still works");
        assert_eq!(told(&server().ensure(&second).await.unwrap()), Vec::<String>::new(), "a login in use is no drift");

        assert_eq!(server().retire_logins(&first.owner, "another-uid", &second.login.name).await.unwrap(), 0);
        assert_eq!(server().retire_logins(&first.owner, &first.uid, &second.login.name).await.unwrap(), 1, "it is in use");
        drop(one);
        let idle = format!("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = '{}')", first.login.name);
        until_found(&superuser, &idle).await;
        assert_eq!(server().retire_logins(&first.owner, &first.uid, &second.login.name).await.unwrap(), 0);
        assert_eq!(code(&log_in(&first.login, &first.database).await.err().unwrap()), "28P01");
        assert_eq!(two.run("SELECT count(*) FROM note").await, ["2"]);
        two.run("DROP TABLE stray; INSERT INTO note (text) SELECT nextval('number')::text").await;
    }
}

#[tokio::test]
async fn a_new_password_for_the_same_login_ends_the_old_one() {
    let before = schema_tenant();
    server().ensure(&before).await.unwrap();
    let after = with_login(&before, 1);
    assert_eq!(
        told(&server().ensure(&after).await.unwrap()),
        [format!("set the password of login {}", after.login.name), format!("mark role {} as this tenant's login", after.login.name)]
    );
    tenant_session(&after).await;
    assert_eq!(code(&log_in(&before.login, &before.database).await.err().unwrap()), "28P01");
}

#[tokio::test]
async fn a_url_with_the_login_is_read_by_psql() {
    for desired in both_kinds() {
        server().ensure(&desired).await.unwrap();
        let url = format!(
            "postgresql://{}:{}@{}:{}/{}?sslmode=verify-full&sslrootcert={}",
            desired.login.name,
            desired.login.password,
            environment("HOST"),
            environment("PORT"),
            desired.database,
            environment("CA_FILE")
        );
        let sql = "SELECT current_user || ' ' || session_user || ' ' || current_schema";
        let output = Command::new("psql").args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql, &url]).output().unwrap();
        let schema = desired.schema.as_deref().unwrap_or("public");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            format!("{} {} {schema}", desired.owner, desired.login.name),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
