//! How a tenant's database is reached by the tenant's own login, which is in its Secret.

use super::Failure;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tenantry::api::{Tenant, labels};
use tenantry::database::{Address, TlsMode};
use tenantry::instance::render::DATABASE_SECRET;

/// What the tenant's Secret says.
pub struct Access {
    host: String,
    port: String,
    database: String,
    user: String,
    password: String,
    /// The options of the URL.
    options: BTreeMap<String, String>,
    /// Where the server's certificate isn't of a public authority.
    pub authority: Option<Vec<u8>>,
}

/// Reads it.
///
/// # Errors
/// Where there is none yet, or the caller may not read it.
pub async fn access(client: &kube::Client, tenant: &Tenant) -> Result<Access, Failure> {
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
    pub fn variables(&self, address: Option<SocketAddr>) -> BTreeMap<&'static str, String> {
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

    /// As this program connects to it; none where its Secret says what this program doesn't know.
    pub fn address(&self) -> Option<Address> {
        let tls = match self.options.get("sslmode").map(String::as_str) {
            Some("verify-full") => TlsMode::VerifyFull,
            Some("require") => TlsMode::Require,
            Some("disable") => TlsMode::Disable,
            _ => return None,
        };
        Some(Address {
            host: self.host.clone(),
            port: self.port.parse().ok()?,
            database: self.database.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            tls,
            authority: self.authority.clone(),
        })
    }

    /// What is opened.
    pub fn sentence(&self, tenant: &Tenant) -> String {
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
