//! `kubectl tenantry psql NAME`: the tenant's own database, by the login that its pods use, so that nothing can be seen or broken that isn't the tenant's.

use super::cluster::Cluster;
use super::completion;
use super::get::find;
use super::{Failure, note};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use tenantry::api::Tenant;
use tenantry::api::labels;
use tenantry::instance::render::DATABASE_SECRET;
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

/// What the tenant's Secret says.
struct Access {
    host: String,
    port: String,
    database: String,
    user: String,
    password: String,
    /// The options of the URL.
    options: BTreeMap<String, String>,
    authority: Option<Vec<u8>>,
}

async fn access(client: &kube::Client, tenant: &Tenant) -> Result<Access, Failure> {
    let name = tenant.name_any();
    let namespace = tenant.status.as_ref().and_then(|status| status.namespace.clone());
    let Some(namespace) = namespace.filter(|_| tenant.status.as_ref().is_some_and(|status| status.database.is_some())) else {
        return Err(format!("{name} has no database yet: kubectl tenantry why {name}").into());
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secret = secrets.get_opt(DATABASE_SECRET).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 403 => {
            format!("you may not read Secret {namespace}/{DATABASE_SECRET}, which holds the login: ask an admin for the right to")
        }
        error => error.to_string(),
    })?;
    let secret = secret.filter(|secret| secret.labels().get(labels::MANAGED_BY).is_some_and(|manager| manager == labels::MANAGER));
    let secret = secret.ok_or_else(|| format!("{name} has no login yet: kubectl tenantry why {name}"))?;
    Access::read(secret).ok_or_else(|| {
        format!("Secret {namespace}/{DATABASE_SECRET} isn't as the operator writes it: kubectl tenantry reconcile {name}").into()
    })
}

impl Access {
    fn read(secret: Secret) -> Option<Self> {
        let mut data = secret.data?;
        let mut text = |key: &str| String::from_utf8(data.remove(key)?.0).ok();
        let (host, port, database, user, password) = (text("host")?, text("port")?, text("dbname")?, text("username")?, text("password")?);
        let uri = text("uri")?;
        let query = uri.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
        let options = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned()));
        Some(Self {
            host,
            port,
            database,
            user,
            password,
            options: options.collect(),
            authority: data.remove("ca.crt").map(|value| value.0),
        })
    }

    /// As [libpq](https://www.postgresql.org/docs/current/libpq-envars.html) reads them. At another address the server still has its own name, which its
    /// certificate has to have.
    fn variables(&self, address: Option<SocketAddr>) -> BTreeMap<&'static str, String> {
        let mut variables = BTreeMap::from([
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.clone()),
            ("PGDATABASE", self.database.clone()),
            ("PGUSER", self.user.clone()),
            ("PGPASSWORD", self.password.clone()),
        ]);
        if let Some(mode) = self.options.get("sslmode") {
            variables.insert("PGSSLMODE", mode.clone());
        }
        if let Some(root) = self.options.get("sslrootcert").filter(|_| self.authority.is_none()) {
            variables.insert("PGSSLROOTCERT", root.clone());
        }
        if let Some(address) = address {
            variables.insert("PGHOSTADDR", address.ip().to_string());
            variables.insert("PGPORT", address.port().to_string());
        }
        variables
    }

    fn sentence(&self, tenant: &Tenant) -> String {
        let schema = tenant.status.as_ref().and_then(|status| status.database.as_ref()?.schema.clone());
        let schema = schema.map(|schema| format!("schema {schema} of ")).unwrap_or_default();
        format!("{}: {schema}database {} on {}:{}, as {}", tenant.name_any(), self.database, self.host, self.port, self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    fn access(uri: &str) -> Access {
        let data = [
            ("host", "db.internal"),
            ("port", "5432"),
            ("dbname", "shared"),
            ("username", "tenant_acme.1"),
            ("password", "pw"),
            ("uri", uri),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
        Access::read(Secret { data: Some(data.into()), ..Secret::default() }).unwrap()
    }

    #[test]
    fn a_tunnel_changes_where_it_is_reached_and_not_whom_it_has_to_be() {
        let access = access("postgresql://x:y@db.internal:5432/shared?sslmode=verify-full&sslrootcert=system");
        let direct = access.variables(None);
        assert_eq!(
            (direct["PGHOST"].as_str(), direct["PGSSLMODE"].as_str(), direct["PGSSLROOTCERT"].as_str()),
            ("db.internal", "verify-full", "system")
        );
        let tunnel = access.variables(Some("127.0.0.1:15432".parse().unwrap()));
        assert_eq!(
            (tunnel["PGHOST"].as_str(), tunnel["PGHOSTADDR"].as_str(), tunnel["PGPORT"].as_str()),
            ("db.internal", "127.0.0.1", "15432")
        );
    }
}
