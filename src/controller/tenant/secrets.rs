//! The secrets of a tenant: made once, kept, and rotated on request. Between passes only the login and digests are kept in memory.

use super::Pass;
use super::assess::{Step, Stop};
use crate::api::blueprint::FirstLogin;
use crate::api::{DatabaseServer, labels};
use crate::controller::apply::{ApplyError, Written};
use crate::controller::observed::Observed;
use crate::database::{Login, generate_password, is_password};
use crate::first_login::is_token;
use crate::instance::names::{NAMESPACE_PREFIX, TenantName, login_number};
use crate::instance::render::{self, DatabaseLogin, Kind, Object, ObjectKey, SecretContent};
use crate::instance::{Instance, digest};
use crate::random::letters;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp, Unit};
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often the Secrets are read, since nothing may watch them; spread, so that tenants that were made together are not read together.
const READ_EVERY: std::ops::Range<u64> = 900..1800;

/// Where the annotation [`labels::DATABASE_SERVER`] is in a Secret.
const SERVER_ANNOTATION: &str = "/metadata/annotations/tenantry.dev~1database-server";

/// Where the annotation [`labels::FIRST_LOGIN`] is in a Secret.
const FIRST_LOGIN_ANNOTATION: &str = "/metadata/annotations/tenantry.dev~1first-login";

/// The key of the moment until which a first login's token is good.
const UNTIL: &str = "until";

/// Letters of a first login's token, which are 238 bits.
const FIRST_LOGIN_LETTERS: usize = 40;

/// The type of a pull secret, and the key that it has.
const PULL_SECRET_TYPE: &str = "kubernetes.io/dockerconfigjson";
const PULL_SECRET_KEY: &str = ".dockerconfigjson";

/// What is known of a tenant's secrets.
#[derive(Clone)]
pub struct Known {
    read_again: Instant,
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
pub async fn ensure(pass: &Pass<'_>, instance: &Instance, server: Option<&DatabaseServer>) -> Result<Known, Stop> {
    let context = pass.context;
    let authority = match server {
        Some(server) => pass.reach(server).await?.authority,
        None => None,
    };
    let rotation = pass.tenant.annotations().get(labels::ROTATE).cloned();
    let namespace = ObjectKey { kind: Kind::NAMESPACE, namespace: None, name: instance.namespace.clone() };
    let wanted = digest::of(&(
        instance.generated_secrets.iter().map(|secret| &secret.env).collect::<Vec<_>>(),
        instance.database.as_ref().map(|database| format!("{database:?}")),
        &rotation,
        &authority,
        &instance.pull_secret,
        // A namespace that was made anew has none of the Secrets of the one before.
        context.inventory.get(&namespace).map(|found| found.uid.clone()),
    ));
    let memory = context.memory.of(&pass.uid);
    if let Some(known) = memory.secrets.filter(|known| known.wanted == wanted && Instant::now() < known.read_again) {
        return Ok(known);
    }
    // What may be missing for long is asked for first, so that a tenant that waits for it costs one read each time.
    let pull_secret = match &instance.pull_secret {
        Some(name) => Some(pull_secret(pass, name).await?),
        None => None,
    };
    let generated = generated(pass, instance).await?;
    let mut parts = vec![digest::of(&generated.0)];
    let (mut login, mut rotating) = (None, false);
    if let (Some(database), Some(server)) = (&instance.database, server) {
        let found = before(pass, instance, render::DATABASE_SECRET).await?;
        let chosen = choose_login(&instance.name, found.as_ref(), rotation, authority);
        let next = Login { name: chosen.username.clone(), password: chosen.password.clone() };
        // A login of a higher number had others before it, and any of them may still be in use.
        rotating = login_number(&next.name).is_some_and(|number| number > 1);
        if found.is_some() && rotates(found.as_ref(), &chosen) {
            // The server has to know the new login before any pod is given it.
            let desired = super::database::desired(pass, instance, database, &next);
            pass.reach(server).await?.server.ensure(&desired).await?;
        }
        write(pass, &render::database_secret(instance, database, &chosen), found).await?;
        parts.push(digest::of(&(&chosen.username, &chosen.password, &database.host, database.port)));
        login = Some(next);
    }
    if let Some(content) = pull_secret {
        let found = before(pass, instance, render::PULL_SECRET).await?;
        write(pass, &render::pull_secret(instance, &content), found).await?;
    }
    let read_again = Instant::now() + Duration::from_secs(rand::random_range(READ_EVERY));
    let known = Known { read_again, wanted, digest: digest::of(&parts), login, rotating };
    context.memory.update(&pass.uid, |memory| memory.secrets = Some(known.clone()));
    Ok(known)
}

/// The DatabaseServer that the tenant's Secret names, where there is one already.
pub async fn placed(pass: &Pass<'_>) -> Result<Option<String>, Stop> {
    let secret = own(pass, render::DATABASE_SECRET).await?;
    Ok(secret.and_then(|(_, secret)| secret.content()?.pointer(SERVER_ANNOTATION)?.as_str().map(str::to_owned)))
}

async fn generated(pass: &Pass<'_>, instance: &Instance) -> Result<SecretContent, Stop> {
    if instance.generated_secrets.is_empty() {
        return Ok(SecretContent::default());
    }
    let found = before(pass, instance, render::GENERATED_SECRET).await?;
    let mut content = SecretContent(BTreeMap::new());
    let values = found.as_ref().map(content_of).unwrap_or_default();
    for secret in &instance.generated_secrets {
        let kept = values.0.get(&secret.env).filter(|value| !value.is_empty()).cloned();
        let value = kept.unwrap_or_else(|| letters(usize::try_from(secret.generate.length).unwrap_or(50)).into_bytes());
        content.0.insert(secret.env.clone(), value);
    }
    write(pass, &render::generated_secret(instance, &content), found).await?;
    Ok(content)
}

/// The login that the Secret has, unless a rotation is asked for that it doesn't answer.
///
/// A tenant's people may edit the Secret. A name that isn't one of this tenant's logins would make them another's, so it counts for nothing. A
/// password that isn't one of ours is replaced: it may be weak, and then what tells passwords apart, which every role can read, would give it
/// away; or it may turn the URL that pods are given into another.
fn choose_login(tenant: &TenantName, found: Option<&Observed>, rotation: Option<String>, authority: Option<Vec<u8>>) -> DatabaseLogin {
    let number_of = |name: &str| login_number(name).filter(|number| *number > 0 && tenant.database_login(*number) == name);
    let before = found.and_then(login_of).and_then(|(username, password)| Some((number_of(&username)?, password)));
    let answered = found.and_then(rotation_of);
    match before {
        Some((number, password)) if rotation == answered || rotation.is_none() => {
            let password = if is_password(&password) { password } else { generate_password() };
            DatabaseLogin { username: tenant.database_login(number), password, authority, rotation: answered }
        }
        before => {
            // Beyond the greatest number it begins anew; only by hand can it have come so far.
            let number = before.and_then(|(number, _)| number.checked_add(1)).unwrap_or(1);
            DatabaseLogin { username: tenant.database_login(number), password: generate_password(), authority, rotation }
        }
    }
}

/// Whether the chosen login is another than the one that pods have.
fn rotates(found: Option<&Observed>, chosen: &DatabaseLogin) -> bool {
    found.and_then(login_of).is_some_and(|(username, _)| username != chosen.username)
}

/// Username and password of a database Secret.
fn login_of(secret: &Observed) -> Option<(String, String)> {
    let content = content_of(secret);
    content.text("username").zip(content.text("password")).map(|(username, password)| (username.to_owned(), password.to_owned()))
}

/// The rotation that a database Secret answers.
fn rotation_of(secret: &Observed) -> Option<String> {
    secret.content()?["metadata"]["annotations"][labels::ROTATED].as_str().map(str::to_owned)
}

/// Until when the token is good that answers this request for a first login: the one that is there, or a new one.
pub async fn first_login(
    pass: &Pass<'_>,
    instance: &Instance,
    first_login: &FirstLogin,
    request: &str,
    now: Timestamp,
) -> Result<Timestamp, Stop> {
    let longest = now + SignedDuration::from_mins(first_login.valid_minutes.into());
    let found = before(pass, instance, render::FIRST_LOGIN_SECRET).await?;
    if let Some(until) = found.as_ref().and_then(|found| good_until(found, request)).filter(|until| *until <= longest) {
        return Ok(until);
    }
    let until = longest.round(Unit::Second).unwrap_or(longest);
    let content = [(render::TOKEN, letters(FIRST_LOGIN_LETTERS)), (UNTIL, until.to_string())];
    let content = SecretContent(content.into_iter().map(|(key, value)| (key.to_owned(), value.into_bytes())).collect());
    write(pass, &render::first_login_secret(instance, request, &content), found).await?;
    Ok(until)
}

/// Until when the token of a Secret is good, where it answers this request. A tenant's people may edit it.
fn good_until(secret: &Observed, request: &str) -> Option<Timestamp> {
    let content = content_of(secret);
    let is_token = content.text(render::TOKEN).is_some_and(is_token);
    let answers = secret.content()?.pointer(FIRST_LOGIN_ANNOTATION)?.as_str() == Some(request);
    content.text(UNTIL)?.parse().ok().filter(|_| is_token && answers)
}

/// Takes the token of a first login away.
pub async fn forget_first_login(pass: &Pass<'_>) -> Result<(), Stop> {
    if let Some((key, found)) = own(pass, render::FIRST_LOGIN_SECRET).await? {
        pass.applier().delete(&key, &found).await?;
        pass.context.metrics.wrote();
    }
    Ok(())
}

/// The tenant's own Secret of this name, where there is one: found without an instance, which can't be resolved while something is missing.
async fn own(pass: &Pass<'_>, secret: &str) -> Result<Option<(ObjectKey, Observed)>, Stop> {
    let tenant = pass.tenant.name_any();
    // Before the operator is let into the namespace there is no Secret, and it may not ask.
    if !pass.context.inventory.of(&tenant).keys().any(|key| key.kind == Kind::ROLE_BINDING) {
        return Ok(None);
    }
    let key = ObjectKey { kind: Kind::SECRET, namespace: Some(format!("{NAMESPACE_PREFIX}{tenant}")), name: secret.to_owned() };
    let found = pass.applier().get(&key).await?.filter(|found| found.owner.as_deref() == Some(pass.uid.as_str()));
    Ok(found.map(|found| (key, found)))
}

/// The pull secret that the blueprint names.
async fn pull_secret(pass: &Pass<'_>, name: &str) -> Result<SecretContent, Stop> {
    let namespace = &pass.context.configuration.settings.namespace;
    let key = ObjectKey { kind: Kind::SECRET, namespace: Some(namespace.clone()), name: name.to_owned() };
    let stopped = |reason: &str, what: &str| {
        let message = format!("Secret {namespace}/{name}, which the blueprint names as image.pullSecret, {what}");
        Stop::failed(Step::Instance, reason, message)
    };
    let source = pass.applier().get(&key).await?.ok_or_else(|| stopped("PullSecretMissing", "doesn't exist: create it"))?;
    // The operator's namespace holds the logins to all database servers, too: nothing but a pull secret leaves it.
    let is_pull_secret = source.content().is_some_and(|content| content["type"] == PULL_SECRET_TYPE);
    let Some(configuration) = content_of(&source).0.remove(PULL_SECRET_KEY).filter(|_| is_pull_secret) else {
        return Err(stopped("PullSecretUnusable", "isn't of type kubernetes.io/dockerconfigjson, so it isn't copied: name another"));
    };
    Ok(SecretContent(BTreeMap::from([(PULL_SECRET_KEY.to_owned(), configuration)])))
}

/// The text without any value of the tenant's own secrets: what a product logs when it fails may hold its whole environment.
pub async fn hide(pass: &Pass<'_>, instance: &Instance, mut text: String) -> Result<String, Stop> {
    let mut values = Vec::new();
    for name in [render::DATABASE_SECRET, render::GENERATED_SECRET] {
        let Some(secret) = read(pass, instance, name).await? else { continue };
        let secret_of_all = |key: &str| name != render::DATABASE_SECRET || key == "password";
        let content = content_of(&secret).0.into_iter().filter(|(key, _)| secret_of_all(key));
        values.extend(content.filter_map(|(_, value)| String::from_utf8(value).ok()).filter(|value| !value.trim().is_empty()));
    }
    // The longest first: one may be a part of another.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    for value in values {
        text = text.replace(value.trim(), "[secret]");
    }
    Ok(text)
}

/// What there is of a Secret before this pass writes it.
async fn before(pass: &Pass<'_>, instance: &Instance, name: &str) -> Result<Option<Observed>, Stop> {
    match pass.made_namespace.get() {
        Some(()) => Ok(None),
        None => read(pass, instance, name).await,
    }
}

async fn read(pass: &Pass<'_>, instance: &Instance, name: &str) -> Result<Option<Observed>, Stop> {
    let key = ObjectKey { kind: Kind::SECRET, namespace: Some(instance.namespace.clone()), name: name.to_owned() };
    match pass.applier().get(&key).await? {
        // A Secret that was there before us tells nothing: its values are somebody else's.
        Some(found) if found.owner.as_deref() != Some(pass.uid.as_str()) => Err(ApplyError::NotOurs { key }.into()),
        found => Ok(found),
    }
}

async fn write(pass: &Pass<'_>, secret: &Object, found: Option<Observed>) -> Result<(), Stop> {
    if pass.applier().apply_unmarked(secret, found.as_ref()).await? != Written::Nothing {
        pass.context.metrics.wrote();
    }
    Ok(())
}

fn content_of(secret: &Observed) -> SecretContent {
    let content = secret.content().unwrap_or_default();
    let decode = |(key, value): (&String, &serde_json::Value)| Some((key.clone(), BASE64.decode(value.as_str()?).ok()?));
    SecretContent(content["data"].as_object().into_iter().flatten().filter_map(decode).collect())
}

#[cfg(test)]
mod tests {
    use super::super::fuzzing::fuzz;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn secret(username: &str, password: impl AsRef<[u8]>, rotated: Option<&str>) -> Observed {
        let data = json!({"username": BASE64.encode(username), "password": BASE64.encode(password)});
        let annotations = rotated.map(|value| json!({labels::ROTATED: value})).unwrap_or_default();
        let live = serde_json::from_value(json!({"metadata": {"name": "database", "annotations": annotations}, "data": data})).unwrap();
        Observed::new(&Kind::SECRET, live)
    }

    #[test]
    fn a_login_of_ours_is_kept_and_a_rotation_makes_the_next() {
        let (name, password) = (TenantName::parse("acme").unwrap(), generate_password());
        let kept = choose_login(&name, Some(&secret("tenant_acme.3", &password, None)), None, None);
        assert_eq!((kept.username.as_str(), &kept.password), ("tenant_acme.3", &password));
        let next = choose_login(&name, Some(&secret("tenant_acme.3", &password, None)), Some("now".into()), None);
        assert_eq!((next.username.as_str(), next.password == password), ("tenant_acme.4", false));
        let answered = choose_login(&name, Some(&secret("tenant_acme.4", &password, Some("now"))), Some("now".into()), None);
        assert_eq!((answered.username.as_str(), &answered.password), ("tenant_acme.4", &password));
    }

    #[test]
    fn whatever_a_secret_holds_the_login_is_the_tenants_own_and_its_password_one_of_ours() {
        let username = prop_oneof![
            any::<u32>().prop_map(|number| format!("tenant_acme.{number}")),
            "tenant_[a-z_]{1,8}(\\.[+0-9]{0,12})?",
            Just("tenantry".to_owned()),
            "\\PC{0,40}",
        ];
        let password = prop_oneof![1 => "[A-Za-z0-9]{32}", 1 => "[A-Za-z0-9]{0,200}", 2 => "\\PC{0,200}"];
        let rotations = (proptest::option::of("[a-z]{0,2}"), proptest::option::of("[a-z]{0,2}"));
        fuzz(&(username, password, rotations, any::<bool>()), |(username, password, (rotated, rotation), whole)| {
            let name = TenantName::parse("acme").unwrap();
            // It may not even be text.
            let password = if whole { password.into_bytes() } else { vec![0xff, 0xfe, 0] };
            let found = secret(&username, &password, rotated.as_deref());
            let chosen = choose_login(&name, Some(&found), rotation.clone(), None);
            let number = login_number(&chosen.username).unwrap();
            prop_assert_eq!(&chosen.username, &name.database_login(number));
            prop_assert!(number > 0 && is_password(&chosen.password));
            // A second look changes nothing, or passwords would be made for ever.
            let again = choose_login(&name, Some(&secret(&chosen.username, &chosen.password, chosen.rotation.as_deref())), rotation, None);
            prop_assert_eq!((again.username, again.password), (chosen.username, chosen.password));
            Ok(())
        });
    }
}
