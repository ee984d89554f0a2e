//! What the containers are told: settings as a ConfigMap, and the tenant's secrets.
//!
//! The values of secrets come from outside; nothing here makes one, and [`SecretContent`] shows none.

use super::{Kind, Object, metadata};
use crate::api::database_server::TlsMode;
use crate::api::labels;
use crate::instance::{Database, Instance};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// The ConfigMap of settings.
pub const CONFIG_MAP: &str = "settings";
/// The Secret of generated secrets.
pub const GENERATED_SECRET: &str = "generated";
/// The Secret of the database login.
pub const DATABASE_SECRET: &str = "database";
/// The Secret of the token of a link for the first login.
pub const FIRST_LOGIN_SECRET: &str = "first-login";
/// The copied pull secret.
pub const PULL_SECRET: &str = "registry";

/// The settings of the instance, as environment variables.
pub fn config_map(instance: &Instance) -> Object {
    let metadata = metadata(instance, CONFIG_MAP, None);
    let settings = ConfigMap { metadata: metadata.clone(), data: Some(instance.environment.clone()), ..Default::default() };
    Object::new(Kind::CONFIG_MAP, &metadata, &settings)
}

/// The values of a Secret. It is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretContent(pub BTreeMap<String, Vec<u8>>);

impl fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl SecretContent {
    /// A value that is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.0.get(key)?).ok()
    }

    fn encoded(&self) -> Map<String, Value> {
        self.0.iter().map(|(key, value)| (key.clone(), BASE64.encode(value).into())).collect()
    }
}

/// A login to the tenant's database.
#[derive(Clone)]
pub struct DatabaseLogin {
    /// The role.
    pub username: String,
    /// Its password: letters and digits only, so that it needs no escape in a URL.
    pub password: String,
    /// The authority that signed the server's certificate, where it isn't a public one.
    pub authority: Option<Vec<u8>>,
    /// The request for a rotation that this login answers.
    pub rotation: Option<String>,
}

impl fmt::Debug for DatabaseLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseLogin").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The Secret of generated secrets.
pub fn generated_secret(instance: &Instance, content: &SecretContent) -> Object {
    secret(instance, GENERATED_SECRET, "Opaque", BTreeMap::new(), content)
}

/// The Secret of the database login, with the keys that charts for [CloudNativePG](https://cloudnative-pg.io/documentation/current/applications/)
/// expect.
pub fn database_secret(instance: &Instance, database: &Database, login: &DatabaseLogin) -> Object {
    let DatabaseLogin { username, password, .. } = login;
    let Database { host, port, name, .. } = database;
    let mut content = BTreeMap::from(
        [
            ("username", username.clone()),
            ("password", password.clone()),
            ("host", host.clone()),
            ("port", port.to_string()),
            ("dbname", name.clone()),
            ("uri", format!("postgresql://{username}:{password}@{}:{port}/{name}?{}", url_host(host), tls_options(database, login))),
            (
                "jdbc-uri",
                format!(
                    "jdbc:postgresql://{}:{port}/{name}?user={username}&password={password}&{}",
                    url_host(host),
                    jdbc_tls_options(database, login)
                ),
            ),
            // Its separator is escaped in an IPv6 address; see https://www.postgresql.org/docs/current/libpq-pgpass.html.
            ("pgpass", format!("{}:{port}:{name}:{username}:{password}\n", host.replace(':', "\\:"))),
        ]
        .map(|(key, value)| (key.to_owned(), value.into_bytes())),
    );
    if let Some(authority) = &login.authority {
        content.insert("ca.crt".to_owned(), authority.clone());
    }
    let mut annotations = BTreeMap::from([(labels::DATABASE_SERVER.to_owned(), database.server.clone())]);
    if let Some(rotation) = &login.rotation {
        annotations.insert(labels::ROTATED.to_owned(), rotation.clone());
    }
    secret(instance, DATABASE_SECRET, "Opaque", annotations, &SecretContent(content))
}

/// The tenant's copy of the operator's pull secret.
pub fn pull_secret(instance: &Instance, content: &SecretContent) -> Object {
    secret(instance, PULL_SECRET, "kubernetes.io/dockerconfigjson", BTreeMap::new(), content)
}

/// The Secret of the token that answers this request.
pub fn first_login_secret(instance: &Instance, request: &str, content: &SecretContent) -> Object {
    let annotations = BTreeMap::from([(labels::FIRST_LOGIN.to_owned(), request.to_owned())]);
    secret(instance, FIRST_LOGIN_SECRET, "Opaque", annotations, content)
}

fn secret(instance: &Instance, name: &str, type_: &str, annotations: BTreeMap<String, String>, content: &SecretContent) -> Object {
    let mut metadata = metadata(instance, name, None);
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let Value::Object(fields) = json!({"type": type_, "data": content.encoded()}) else {
        return Object::from_parts(Kind::SECRET, metadata, Map::new());
    };
    Object::from_parts(Kind::SECRET, metadata, fields)
}

/// An IPv6 address is in brackets in a URL; see RFC 3986, section 3.2.2.
fn url_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// As [`tls_options`], but the JDBC driver knows no `system`: it asks Java's own authorities by a factory; see
/// [its documentation](https://jdbc.postgresql.org/documentation/ssl/).
fn jdbc_tls_options(database: &Database, login: &DatabaseLogin) -> String {
    match (database.tls, &login.authority) {
        (TlsMode::VerifyFull, None) => "sslmode=verify-full&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory".to_owned(),
        _ => tls_options(database, login),
    }
}

/// The options as libpq names them. The search path isn't among them: it belongs to the role, because poolers refuse it here.
fn tls_options(database: &Database, login: &DatabaseLogin) -> String {
    match (database.tls, &login.authority) {
        (TlsMode::Disable, _) => "sslmode=disable".to_owned(),
        (TlsMode::Require, _) => "sslmode=require".to_owned(),
        (TlsMode::VerifyFull, Some(_)) => format!("sslmode=verify-full&sslrootcert={}/ca.crt", super::pod::DATABASE_AUTHORITY_PATH),
        (TlsMode::VerifyFull, None) => "sslmode=verify-full&sslrootcert=system".to_owned(),
    }
}
