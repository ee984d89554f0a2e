//! One connection to a server: the only place that speaks to the Postgres client library.

use super::DatabaseError;
use crate::lease::Fence;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What a session of the operator's starts with. It goes before any setting that a tenant made for its own database, which could else send names
/// to objects of its own, or end the operator's work before it is done, so that a former login is never dropped.
const SETTINGS: &str = "-c search_path=pg_catalog,pg_temp -c default_transaction_read_only=off -c statement_timeout=30s -c lock_timeout=10s \
    -c idle_in_transaction_session_timeout=60s -c idle_session_timeout=0 -c client_min_messages=warning -c jit=off";
/// Settings that only this version and later ones have; an older one would refuse the session.
const LATER_SETTINGS: (u32, &str) = (17, " -c transaction_timeout=0");

/// A server that takes longer counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How connections are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// The certificate is verified.
    VerifyFull,
    /// The certificate is not looked at.
    Require,
    /// In clear.
    Disable,
}

/// How a server is reached, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database to connect to, which is also the one that schemas are in.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// How the connection is protected.
    pub tls: TlsMode,
    /// The authority of the server's certificate as PEM; the system's, where there is none.
    pub authority: Option<Vec<u8>>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

/// An open connection. It closes when it is dropped.
pub struct Session {
    client: Arc<Client>,
    address: String,
    database: String,
    statements: Arc<AtomicU64>,
    fence: Option<Fence>,
}

impl Session {
    /// Connects, and takes down the server's version, which has to be known before a tenant's own database is entered: 0 as long as it isn't.
    pub async fn open(
        address: &Address,
        database: &str,
        statements: Arc<AtomicU64>,
        version: &AtomicU32,
        fence: Option<Fence>,
    ) -> Result<Self, DatabaseError> {
        let (since, later) = LATER_SETTINGS;
        let later = if version.load(Ordering::Relaxed) >= since { later } else { "" };
        let mut config = Config::new();
        config
            .host(&address.host)
            .port(address.port)
            .dbname(database)
            .user(&address.user)
            .password(&address.password)
            .application_name("tenantry")
            .options(format!("{SETTINGS}{later}"))
            .connect_timeout(CONNECT_TIMEOUT);
        let name = format!("{}:{}", address.host, address.port);
        let unreachable = |cause: String| DatabaseError::Unreachable { address: name.clone(), cause };
        let connecting = async {
            if address.tls == TlsMode::Disable {
                config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                let (client, connection) = config.connect(NoTls).await.map_err(|error| connect_error(&name, database, &error))?;
                note_version(&connection, version);
                drive(connection);
                return Ok(client);
            }
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
            let tls = MakeRustlsConnect::new(tls_config(address).map_err(unreachable)?);
            let (client, connection) = config.connect(tls).await.map_err(|error| connect_error(&name, database, &error))?;
            note_version(&connection, version);
            drive(connection);
            Ok(client)
        };
        let client = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(unreachable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))))?;
        Ok(Self { client: Arc::new(client), address: name, database: database.to_owned(), statements, fence })
    }

    /// The database that it is connected to.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Runs a query with bound parameters.
    pub async fn query(&self, doing: &str, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, DatabaseError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.client.query(sql, parameters).await.map_err(|error| self.failed(doing, &error))
    }

    /// Runs a statement that takes no parameters. All changes are made by it, so it passes the fence.
    pub async fn execute(&self, doing: &str, sql: &str) -> Result<(), DatabaseError> {
        let passage = match self.fence.as_ref().map(Fence::enter) {
            Some(None) => return Err(DatabaseError::Fenced),
            passage => passage.flatten(),
        };
        self.statements.fetch_add(1, Ordering::Relaxed);
        // What was sent takes effect although nobody waits for the answer any more, so it is under way until it is answered.
        let (client, sql) = (self.client.clone(), sql.to_owned());
        let sent = tokio::spawn(async move {
            let answer = client.batch_execute(&sql).await;
            drop(passage);
            answer
        });
        match sent.await {
            Ok(answer) => answer.map_err(|error| self.failed(doing, &error)),
            Err(error) => Err(DatabaseError::Unreachable { address: self.address.clone(), cause: error.to_string() }),
        }
    }

    /// The server's message, without the statement and the values that its detail may repeat.
    fn failed(&self, doing: &str, error: &tokio_postgres::Error) -> DatabaseError {
        match error.as_db_error() {
            Some(said) => {
                DatabaseError::Refused { doing: doing.to_owned(), cause: said.message().to_owned(), code: said.code().code().to_owned() }
            }
            None => DatabaseError::Unreachable { address: self.address.clone(), cause: causes(error) },
        }
    }
}

/// The first number of the server's version.
fn note_version<S, T>(connection: &tokio_postgres::Connection<S, T>, version: &AtomicU32)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let told = connection.parameter("server_version").and_then(|text| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    if let Some(told) = told {
        version.store(told, Ordering::Relaxed);
    }
}

fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    tokio_postgres::Connection<S, T>: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a database connection ended");
        }
    });
}

fn connect_error(address: &str, database: &str, error: &tokio_postgres::Error) -> DatabaseError {
    let address = address.to_owned();
    match error.as_db_error() {
        Some(said) if said.code().code().starts_with("28") => {
            DatabaseError::AuthenticationFailed { address, cause: said.message().to_owned() }
        }
        // Too many connections, shutting down, starting up.
        Some(said) if ["53", "57"].iter().any(|class| said.code().code().starts_with(class)) => {
            DatabaseError::Unreachable { address, cause: said.message().to_owned() }
        }
        Some(said) => DatabaseError::Refused {
            doing: format!("let the operator into database {database}"),
            cause: said.message().to_owned(),
            code: said.code().code().to_owned(),
        },
        None => DatabaseError::Unreachable { address, cause: causes(error) },
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn tls_config(address: &Address) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if address.tls == TlsMode::Require {
        return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))).with_no_client_auth());
    }
    let mut roots = rustls::RootCertStore::empty();
    match &address.authority {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("ca.crt of the admin Secret is no PEM certificate: {error}"))?;
                roots.add(certificate).map_err(|error| format!("ca.crt of the admin Secret can't be used: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Takes any certificate, as libpq does with `sslmode=require`; the signatures of the handshake are still verified.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
