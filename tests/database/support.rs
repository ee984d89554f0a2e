//! What the tests share: the server of the environment, tenants with names of their own, and clients that log in for real.

use rand::RngExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenantry::database::{Address, Change, DesiredDatabase, Login, Server, TlsMode, generate_password};
use tenantry::instance::names::TenantName;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// What the environment says of the server.
pub fn environment(name: &str) -> String {
    let name = format!("TENANTRY_POSTGRES_{name}");
    std::env::var(&name).unwrap_or_else(|_| {
        panic!("{name} is not set: run dev/postgres up test --log-statements, then . .local/test/env (dev/test does both)")
    })
}

/// How the operator reaches the server.
pub fn address() -> Address {
    let file = |name| std::fs::read(environment(name)).unwrap();
    Address {
        host: environment("HOST"),
        port: environment("PORT").parse().unwrap(),
        database: environment("DATABASE"),
        user: environment("USER"),
        password: String::from_utf8(file("PASSWORD_FILE")).unwrap().trim().to_owned(),
        tls: TlsMode::VerifyFull,
        authority: Some(file("CA_FILE")),
    }
}

/// The server, with the shared database that all tests use.
pub fn server() -> Server {
    Server::new(address())
}

/// The server, with a shared database that nobody else uses.
pub fn server_with_own_database() -> (Server, String) {
    let database = format!("shared_{}", unique());
    (Server::new(Address { database: database.clone(), ..address() }), database)
}

pub fn unique() -> String {
    format!("{:08x}", rand::rng().random_range(0..u32::MAX))
}

/// A tenant that has a schema in the shared database.
pub fn schema_tenant() -> DesiredDatabase {
    schema_tenant_in(&environment("DATABASE"))
}

pub fn schema_tenant_in(database: &str) -> DesiredDatabase {
    let name = TenantName::parse(format!("t-{}", unique())).unwrap();
    let owner = name.database_owner();
    DesiredDatabase {
        tenant: name.to_string(),
        uid: unique(),
        database: database.to_owned(),
        schema: Some(owner.clone()),
        owner,
        connection_limit: 5,
        statement_timeout_seconds: 60,
        idle_in_transaction_timeout_seconds: 300,
        extensions: Vec::new(),
        login: Login { name: name.database_login(1), password: generate_password() },
        adopt: None,
        held_data: false,
    }
}

/// A tenant that has a database for itself.
pub fn database_tenant() -> DesiredDatabase {
    let tenant = schema_tenant();
    DesiredDatabase { database: tenant.owner.clone(), schema: None, ..tenant }
}

pub fn both_kinds() -> [DesiredDatabase; 2] {
    [schema_tenant(), database_tenant()]
}

/// The same tenant with another login.
pub fn with_login(desired: &DesiredDatabase, number: u32) -> DesiredDatabase {
    let login = Login { name: format!("{}.{number}", desired.owner), password: generate_password() };
    DesiredDatabase { login, ..desired.clone() }
}

pub fn told(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

/// A client that is logged in.
pub struct Session(Client);

/// Logs in to a database.
pub async fn log_in(login: &Login, database: &str) -> Result<Session, tokio_postgres::Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&address().authority.unwrap()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = Config::new();
    config.host(environment("HOST")).port(address().port).user(&login.name).password(&login.password).dbname(database);
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let (client, connection) = config.connect(tokio_postgres_rustls::MakeRustlsConnect::new(tls)).await?;
    tokio::spawn(connection);
    Ok(Session(client))
}

/// Logs in as the tenant's pods do.
pub async fn tenant_session(desired: &DesiredDatabase) -> Session {
    log_in(&desired.login, &desired.database).await.unwrap()
}

/// Logs in as the operator's role.
pub async fn operator_session(database: &str) -> Session {
    let Address { user, password, .. } = address();
    log_in(&Login { name: user, password }, database).await.unwrap()
}

/// Logs in as the superuser, whom only tests use.
pub async fn superuser_session(database: &str) -> Session {
    let mut config: Config = environment("SUPERUSER_URL").parse().unwrap();
    let (client, connection) = config.dbname(database).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    Session(client)
}

impl Session {
    /// Runs statements and gives the first column of the rows.
    pub async fn try_run(&self, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
        let messages = self.0.simple_query(sql).await?;
        let column = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        Ok(messages.iter().filter_map(column).collect())
    }

    /// Runs statements that have to succeed.
    pub async fn run(&self, sql: &str) -> Vec<String> {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}: {}", said(&error)))
    }
}

pub fn code(error: &tokio_postgres::Error) -> String {
    error.code().map(|code| code.code().to_owned()).unwrap_or_default()
}

pub fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{} {}", error.code().code(), error.message()))
}

/// Waits until there are rows, for ten seconds at most.
pub async fn until_found(session: &Session, sql: &str) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let rows = session.run(sql).await;
        if !rows.is_empty() {
            return rows;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "nothing came of {sql}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
