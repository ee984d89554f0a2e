//! `kubectl tenantry psql NAME`: the tenant's own database, by the login that its pods use, so that nothing can be seen or broken that isn't the tenant's.

use super::access::access;
use super::cluster::Cluster;
use super::completion;
use super::get::find;
use super::{Failure, note};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Options of `kubectl tenantry psql`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "psql has to be in PATH, and you need the right to read the tenant's Secret database. The password is handed over by the environment, never on a
command line. Whatever is created belongs to the tenant's owner, as what the product creates does.

Examples:
  kubectl tenantry psql acme
  kubectl tenantry psql acme -- -c 'select count(*) from orders'
  kubectl tenantry psql acme --address 127.0.0.1:5432      through a tunnel, such as kubectl port-forward"
)]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// Where the server is reached from here, where that isn't where pods reach it. Its certificate is checked all the same.
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
    /// What else psql is told.
    #[arg(last = true, value_name = "OPTIONS")]
    rest: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
}

/// Runs psql, and ends as it ends.
pub async fn psql(options: Options) -> Result<ExitCode, Failure> {
    let client = options.cluster.client().await?;
    let tenant = find(&client, &options.name).await?;
    let access = access(&client, &tenant).await?;
    let mut variables = access.variables(options.address);
    // psql reads the authority whenever it connects, also later by \c, so the file stays until it has ended.
    let authority = match &access.authority {
        Some(certificates) => {
            let mut file = tempfile::Builder::new().prefix("tenantry-").suffix(".crt").tempfile()?;
            file.write_all(certificates)?;
            variables.insert("PGSSLROOTCERT", file.path().display().to_string());
            Some(file)
        }
        None => None,
    };
    note(&access.sentence(&tenant));
    // Ctrl-C ends a query of psql's, and not this program before it.
    let _heeded = signal(SignalKind::interrupt())?;
    let ended = Command::new("psql").args(&options.rest).envs(&variables).status();
    drop(authority);
    let ended =
        ended.map_err(|error| format!("psql can't be started: {error}; it has to be in PATH, as by the package postgresql-client"))?;
    Ok(u8::try_from(ended.code().unwrap_or(1)).unwrap_or(1).into())
}
