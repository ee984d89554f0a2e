//! `tenantry console`: the web console, which acts with its visitors' tokens and has none of its own.

use super::Failure;
use kube::Config;
use std::net::SocketAddr;
use std::path::PathBuf;
use tenantry::console::{Console, router};
use tokio::signal::unix::{SignalKind, signal};

/// A shorter secret could be guessed.
const SECRET_BYTES: usize = 32;

/// Options of `tenantry console`. The cluster is the one that KUBECONFIG names, or the one that the program runs in; its credentials aren't used.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Where the pages are served, without encryption: put an ingress before it, or reach it by kubectl port-forward.
    #[arg(long, env = "TENANTRY_CONSOLE_LISTEN", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// A file with at least 32 random bytes, by which sessions are encrypted; consoles that share it share their sessions. Without one, a session ends with the
    /// program.
    #[arg(long, env = "TENANTRY_CONSOLE_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// Serves until it is told to end.
pub async fn console(options: Options) -> Result<(), Failure> {
    let config = Config::infer().await.map_err(|error| format!("no cluster: {error}; set KUBECONFIG, or run inside a cluster"))?;
    let secret = match &options.secret_file {
        None => rand::random::<[u8; SECRET_BYTES]>().to_vec(),
        Some(path) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
    };
    if secret.len() < SECRET_BYTES {
        return Err(format!("the secret has {} bytes, and needs {SECRET_BYTES}: head -c 32 /dev/urandom > FILE", secret.len()).into());
    }
    let listener =
        tokio::net::TcpListener::bind(options.listen).await.map_err(|error| format!("can't listen on {}: {error}", options.listen))?;
    super::note(&format!("the console is at http://{}", listener.local_addr()?));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told_to_end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        served = axum::serve(listener, router(Console::new(&config, &secret)).into_make_service_with_connect_info::<SocketAddr>()).into_future() => served?,
        () = told_to_end => {}
    }
    Ok(())
}
