//! The Job that tells the product of a link for the first login, and the Secret that holds the link's token.

use super::job::{self, Task};
use super::{FIRST_LOGIN_SECRET, Object};
use crate::api::blueprint::FirstLogin;
use crate::instance::{Instance, digest};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use std::collections::BTreeMap;

/// The component label of the Job and its pods.
const COMPONENT: &str = "first-login";
/// The key of the token, in the Secret.
pub const TOKEN: &str = "token";
/// How often the command is tried again.
const RETRIES: u32 = 2;

/// The Job for this request. Another request is another Job.
pub fn first_login_job(instance: &Instance, first_login: &FirstLogin, request: &str, until: Timestamp) -> Object {
    let key = digest::of(&(request, &instance.uid));
    let source = SecretKeySelector { name: FIRST_LOGIN_SECRET.to_owned(), key: TOKEN.to_owned(), optional: None };
    let token = EnvVar {
        name: "TENANT_FIRST_LOGIN_TOKEN".to_owned(),
        value: None,
        value_from: Some(EnvVarSource { secret_key_ref: Some(source), ..Default::default() }),
    };
    let until = EnvVar { name: "TENANT_FIRST_LOGIN_UNTIL".to_owned(), value: Some(until.to_string()), value_from: None };
    let task = Task {
        component: COMPONENT,
        name: format!("{COMPONENT}-{key}"),
        configuration: &key,
        command: &first_login.command,
        env: vec![token, until],
        retries: RETRIES,
        timeout_seconds: first_login.timeout_seconds,
        annotations: BTreeMap::new(),
    };
    job::job(instance, task)
}
