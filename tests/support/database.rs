//! Postgres as its users see it: by `psql`, with libpq's own reading of a URL; or by a connection, where there are thousands of questions.

use super::environment::{Environment, variable};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};
use tokio::process::Command;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Where the tests' Postgres is.
#[derive(Clone, Debug)]
pub struct Postgres {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: String,
    pub authority: String,
    pub authority_file: String,
    pub superuser: String,
    pub log: String,
}

impl Postgres {
    /// The one that dev/postgres started.
    pub fn from_environment() -> Self {
        Self::from_variables(variable)
    }

    /// One that dev/postgres started, by the variables that it wrote of it.
    pub fn from_variables(variable: impl Fn(&str) -> String) -> Self {
        let read = |name| std::fs::read_to_string(variable(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            host: variable("TENANTRY_POSTGRES_HOST"),
            port: variable("TENANTRY_POSTGRES_PORT").parse().expect("TENANTRY_POSTGRES_PORT is a port"),
            database: variable("TENANTRY_POSTGRES_DATABASE"),
            user: variable("TENANTRY_POSTGRES_USER"),
            password: read("TENANTRY_POSTGRES_PASSWORD_FILE"),
            authority: read("TENANTRY_POSTGRES_CA_FILE"),
            authority_file: variable("TENANTRY_POSTGRES_CA_FILE"),
            superuser: variable("TENANTRY_POSTGRES_SUPERUSER_URL"),
            log: variable("TENANTRY_POSTGRES_LOG"),
        }
    }

    /// Runs SQL as the superuser in the shared database; fails the test where it fails.
    pub async fn admin(&self, sql: &str) -> String {
        self.admin_in(&self.database, sql).await
    }

    /// Runs SQL as the superuser in a database.
    pub async fn admin_in(&self, database: &str, sql: &str) -> String {
        let (server, _) = self.superuser.rsplit_once('/').expect("a URL with a database");
        psql(&format!("{server}/{database}"), sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same without a program of its own; see [`query`].
    pub async fn query(&self, sql: &str) -> String {
        let (server, _) = self.superuser.rsplit_once('/').expect("a URL with a database");
        query(&format!("{server}/{}", self.database), &self.authority, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The URL as it works outside of a pod: the authority's certificate is where the tests have it.
    pub fn reachable(&self, uri: &str) -> String {
        uri.replace("/etc/tenantry/database/ca.crt", &self.authority_file)
    }
}

/// Debian's `psql` is a script that looks for the newest one, and takes longer for that than most queries do.
static PSQL: LazyLock<PathBuf> = LazyLock::new(|| {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs = installed.map(|version| version.path().join("bin/psql")).filter(|program| program.is_file());
    programs.max().unwrap_or_else(|| PathBuf::from("psql"))
});

/// Runs SQL; the rows as text, one a line, columns apart by `|`.
pub async fn psql(uri: &str, sql: &str) -> Result<String, String> {
    let output = Command::new(PSQL.as_os_str())
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1", "--dbname", uri, "--file", "-"])
        .env("PGCONNECT_TIMEOUT", "10")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| child.stdin.take().map(|input| (child, input)).ok_or_else(|| std::io::Error::other("no input")))
        .expect("psql starts");
    let (child, mut input) = output;
    // Where it isn't let in, it ends before it has read all; what it says of that is the answer.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut input, sql.as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.expect("psql ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The same over a connection of this process, where there are so many that to start a program for each would take longer than what is tested. The
/// certificate of the server is of this authority, in PEM.
pub async fn query(uri: &str, authority: &str, sql: &str) -> Result<String, String> {
    let in_words = |error: tokio_postgres::Error| match error.as_db_error() {
        Some(said) => format!("{}: {}", said.severity(), said.message()),
        None => error.to_string(),
    };
    let (client, connection) = tokio_postgres::connect(uri, MakeRustlsConnect::new(encrypted(authority))).await.map_err(in_words)?;
    let connection = tokio::spawn(connection);
    let answer = client.simple_query(sql).await.map_err(in_words);
    drop(client);
    let _ = connection.await;
    let line = |message: &tokio_postgres::SimpleQueryMessage| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            let cells = (0..row.len()).map(|column| row.get(column).unwrap_or_default());
            Some(cells.collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    Ok(answer?.iter().filter_map(line).collect::<Vec<_>>().join("\n"))
}

/// How a connection to a server whose certificate is of this authority, in PEM, is encrypted.
pub fn encrypted(authority: &str) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.expect("a certificate")).expect("an authority");
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions of TLS");
    builder.with_root_certificates(roots).with_no_client_auth()
}

impl Environment {
    /// The spec of a DatabaseServer that is this Postgres.
    pub fn server_spec(&self) -> serde_json::Value {
        serde_json::json!({
            "host": self.postgres.host, "port": self.postgres.port, "database": self.postgres.database,
            "adminSecret": {"name": "postgres"},
        })
    }
}
