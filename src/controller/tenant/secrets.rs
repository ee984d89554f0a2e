//! The secrets of a tenant: made once, kept, and rotated on request. Between passes only the login and digests are kept in memory.

use super::assess::{Step, Stop};
use crate::api::{DatabaseServer, Tenant, labels};
use crate::controller::apply::Applier;
use crate::controller::context::Context;
use crate::controller::inventory::Observed;
use crate::database::{Login, generate_password};
use crate::instance::names::login_number;
use crate::instance::render::{self, DatabaseLogin, Kind, Object, ObjectKey, SecretContent};
use crate::instance::{Instance, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rand::RngExt;
use rand::distr::Alphanumeric;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the Secrets are read, since nothing may watch them.
const READ_EVERY: Duration = Duration::from_secs(600);

/// What is known of a tenant's secrets.
#[derive(Clone)]
pub struct Known {
    read: Instant,
    wanted: String,
    digest: String,
    /// The login that pods use.
    pub login: Option<Login>,
    /// Whether logins of before may still be in use.
    pub rotating: bool,
}

impl Known {
    /// Digests of all that pods get.
    pub fn digests(&self) -> Vec<&str> {
        vec![&self.digest]
    }
}

/// Makes what is missing, and tells what there is.
pub async fn ensure(
    context: &Context,
    tenant: &Tenant,
    instance: &Instance,
    server: Option<&DatabaseServer>,
    applier: &Applier<'_>,
) -> Result<Known, Stop> {
    let authority = match server {
        Some(server) => context.servers.reach(context, server).await?.authority,
        None => None,
    };
    let rotation = tenant.annotations().get(labels::ROTATE).cloned();
    let wanted = digest::of(&(
        instance.generated_secrets.iter().map(|secret| &secret.env).collect::<Vec<_>>(),
        instance.database.as_ref().map(|database| format!("{database:?}")),
        &rotation,
        &authority,
        &instance.pull_secret,
    ));
    let memory = context.memory.of(&instance.uid);
    if let Some(known) = memory.secrets.filter(|known| known.wanted == wanted && known.read.elapsed() < READ_EVERY) {
        return Ok(known);
    }
    let generated = generated(instance, applier).await?;
    let mut parts = vec![digest::of(&generated.0)];
    let (mut login, mut rotating) = (None, false);
    if let (Some(database), Some(server)) = (&instance.database, server) {
        let found = read(applier, instance, render::DATABASE_SECRET).await?;
        let (chosen, changed) = choose_login(instance, found.as_ref(), rotation, authority);
        rotating = changed && found.is_some();
        if rotating {
            // The server has to know the new login before any pod is given it.
            let next = Login { name: chosen.username.clone(), password: chosen.password.clone() };
            let desired = super::desired_database(&instance.uid, instance, database, &next);
            context.servers.reach(context, server).await?.server.ensure(&desired).await?;
        }
        write(applier, &render::database_secret(instance, database, &chosen), found).await?;
        parts.push(digest::of(&(&chosen.username, &chosen.password, &database.host, database.port)));
        login = Some(Login { name: chosen.username, password: chosen.password });
    }
    if let Some(name) = &instance.pull_secret {
        copy_pull_secret(context, instance, name, applier).await?;
    }
    let known = Known { read: Instant::now(), wanted, digest: digest::of(&parts), login, rotating };
    context.memory.update(&instance.uid, |memory| memory.secrets = Some(known.clone()));
    Ok(known)
}

async fn generated(instance: &Instance, applier: &Applier<'_>) -> Result<SecretContent, Stop> {
    if instance.generated_secrets.is_empty() {
        return Ok(SecretContent::default());
    }
    let found = read(applier, instance, render::GENERATED_SECRET).await?;
    let mut content = SecretContent(BTreeMap::new());
    let before = found.as_ref().map(content_of).unwrap_or_default();
    for secret in &instance.generated_secrets {
        let value =
            before.0.get(&secret.env).filter(|value| !value.is_empty()).cloned().unwrap_or_else(|| {
                rand::rng().sample_iter(Alphanumeric).take(usize::try_from(secret.generate.length).unwrap_or(50)).collect()
            });
        content.0.insert(secret.env.clone(), value);
    }
    write(applier, &render::generated_secret(instance, &content), found).await?;
    Ok(content)
}

/// The login that the Secret has, unless a rotation is asked for that it doesn't answer.
fn choose_login(
    instance: &Instance,
    found: Option<&DynamicObject>,
    rotation: Option<String>,
    authority: Option<Vec<u8>>,
) -> (DatabaseLogin, bool) {
    let content = found.map(content_of).unwrap_or_default();
    let before = content.text("username").zip(content.text("password"));
    let answered = found.and_then(|secret| secret.annotations().get(labels::ROTATED).cloned());
    match before {
        Some((username, password)) if rotation == answered || rotation.is_none() => {
            (DatabaseLogin { username: username.to_owned(), password: password.to_owned(), authority, rotation: answered }, false)
        }
        before => {
            let number = before.and_then(|(username, _)| login_number(username)).unwrap_or(0) + 1;
            let username = instance.name.database_login(number);
            (DatabaseLogin { username, password: generate_password(), authority, rotation }, true)
        }
    }
}

async fn copy_pull_secret(context: &Context, instance: &Instance, name: &str, applier: &Applier<'_>) -> Result<(), Stop> {
    let namespace = &context.configuration.settings.namespace;
    let key = ObjectKey { kind: Kind::SECRET, namespace: Some(namespace.clone()), name: name.to_owned() };
    let missing = || {
        Stop::failed(
            Step::Instance,
            "PullSecretMissing",
            format!("Secret {namespace}/{name}, which the blueprint names as image.pullSecret, doesn't exist"),
        )
    };
    let source = applier.get(&key).await?.ok_or_else(missing)?;
    let found = read(applier, instance, render::PULL_SECRET).await?;
    write(applier, &render::pull_secret(instance, &content_of(&source)), found).await
}

async fn read(applier: &Applier<'_>, instance: &Instance, name: &str) -> Result<Option<DynamicObject>, Stop> {
    let key = ObjectKey { kind: Kind::SECRET, namespace: Some(instance.namespace.clone()), name: name.to_owned() };
    Ok(applier.get(&key).await?)
}

async fn write(applier: &Applier<'_>, secret: &Object, found: Option<DynamicObject>) -> Result<(), Stop> {
    let observed = found.map(|found| Arc::new(Observed::new(found)));
    applier.apply_unmarked(secret, observed.as_ref()).await?;
    Ok(())
}

fn content_of(secret: &DynamicObject) -> SecretContent {
    let data = secret.data.get("data").and_then(serde_json::Value::as_object);
    let decode = |(key, value): (&String, &serde_json::Value)| Some((key.clone(), BASE64.decode(value.as_str()?).ok()?));
    SecretContent(data.into_iter().flatten().filter_map(decode).collect())
}
