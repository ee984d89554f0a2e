//! Where a password must not be: in no statement, so in no log and no statistics of the server, and in no text of ours.

use crate::support::*;

#[tokio::test]
async fn no_password_is_in_the_servers_log_or_statistics() {
    let mut canaries = Vec::new();
    for first in both_kinds() {
        let second = with_login(&first, 2);
        let changed = with_login(&first, 1);
        let mut shown = String::new();
        for desired in [&first, &second, &changed] {
            shown += &format!("{desired:?} {:?} ", server().verify(std::slice::from_ref(desired)).await.unwrap());
            shown += &format!("{:?}", server().ensure(desired).await.unwrap());
            tenant_session(desired).await.run("SELECT 1").await;
            canaries.push(desired.login.password.clone());
        }
        server().retain(&first.owner, &first.uid).await.unwrap();
        server().drop_tenant(&first.owner, &first.uid).await.unwrap();
        assert!(!canaries.iter().any(|canary| shown.contains(canary)) && !shown.contains("SCRAM"), "{shown}");
    }
    canaries.push(address().password);
    let log = std::fs::read(environment("LOG")).unwrap();
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("PASSWORD 'SCRAM-SHA-256$4096:"), "the log has no statements: start Postgres with --log-statements");
    assert!(!canaries.iter().any(|canary| log.contains(canary)), "a password is in {}", environment("LOG"));
    let statements = superuser_session("postgres").await.run("SELECT query FROM pg_stat_statements").await.join("\n");
    assert!(statements.contains("CREATE ROLE"), "pg_stat_statements sees nothing");
    assert!(!canaries.iter().any(|canary| statements.contains(canary)), "a password is in pg_stat_statements");
}
