//! Asks an instance as a visitor would.

use super::assess::Assessment;
use crate::api::conditions::{self, Verdict};
use crate::controller::context::Context;
use crate::instance::{Instance, Routing};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// An instance that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How soon an instance that isn't well is asked again.
const AGAIN: Duration = Duration::from_secs(2);

/// The last answer.
#[derive(Clone, Debug)]
pub struct Answer {
    at: Instant,
    outcome: Result<(), String>,
}

/// Asks, if it is time to, and says what came of it.
pub async fn probe(context: &Context, instance: &Instance, assessment: &mut Assessment) {
    let (Some(check), Some(routing)) = (&instance.check, &instance.routing) else { return };
    if instance.suspension.is_some() {
        return assessment.say(Verdict::unknown(conditions::HEALTHY, "Suspended", "a suspended tenant isn't asked"));
    }
    if !assessment.is_true(conditions::ROUTED) || assessment.status.version.is_none() {
        return assessment.say(Verdict::unknown(conditions::HEALTHY, "NotRouted", "it is asked once it serves"));
    }
    let every = Duration::from_secs(check.every_seconds.into());
    let known = context.memory.of(&instance.uid).probe;
    let fresh = known.filter(|answer| answer.at.elapsed() < if answer.outcome.is_ok() { every } else { AGAIN });
    let answer = match fresh {
        Some(answer) => answer,
        None => {
            let asking = ask(context, instance, routing, &check.path, check.status);
            let outcome =
                tokio::time::timeout(TIMEOUT, asking).await.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())));
            Answer { at: Instant::now(), outcome }
        }
    };
    context.memory.update(&instance.uid, |memory| memory.probe = Some(answer.clone()));
    assessment.look_again_in(if answer.outcome.is_ok() { every } else { AGAIN });
    let verdict = match answer.outcome {
        Ok(()) => Verdict::new(conditions::HEALTHY, true, "Answering", format!("{} answers {}", check.path, check.status)),
        Err(why) => Verdict::new(conditions::HEALTHY, false, "NotAnswering", format!("{}{}: {why}", routing.url, check.path)),
    };
    assessment.say(verdict);
}

async fn ask(context: &Context, instance: &Instance, routing: &Routing, path: &str, status: u16) -> Result<(), String> {
    let host = instance.hosts.first().map(|host| host.as_str()).unwrap_or_default();
    let tls = routing.tls.is_some();
    let port = routing.port.unwrap_or(if tls { 443 } else { 80 });
    let connection = match context.configuration.check_address {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect((host, port)).await,
    };
    let connection = connection.map_err(|error| format!("can't connect: {error}"))?;
    let found = if tls { over_tls(connection, host, path).await } else { request(TokioIo::new(connection), host, path).await }?;
    if found == status { Ok(()) } else { Err(format!("answers {found} instead of {status}")) }
}

async fn over_tls(connection: TcpStream, host: &str, path: &str) -> Result<u16, String> {
    let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let stream = tokio_rustls::TlsConnector::from(tls_config()?).connect(name, connection).await.map_err(|error| error.to_string())?;
    request(TokioIo::new(stream), host, path).await
}

/// The authorities that the system trusts are read once: there are hundreds of files.
fn tls_config() -> Result<Arc<rustls::ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<rustls::ClientConfig>, String>> = OnceLock::new();
    let make = || {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    };
    CONFIG.get_or_init(make).clone()
}

async fn request<S>(stream: TokioIo<S>, host: &str, path: &str) -> Result<u16, String>
where
    TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get(path)
        .header(http::header::HOST, host)
        .header(http::header::USER_AGENT, "tenantry-check")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string());
    driver.abort();
    response.map(|response| response.status().as_u16())
}
