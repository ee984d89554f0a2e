//! A link by which a tenant's first person logs in, from outside the operator: asked for, and put together once it is there, by the console and the command line with
//! the rights of whoever asks.

use crate::api::tenant::{FirstLoginState, FirstLoginStatus};
use crate::api::{Tenant, labels};
use crate::instance::render::{FIRST_LOGIN_SECRET, TOKEN};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// Whether this can be the token of a link: what else is in its place may be anything, and is in no link of ours.
pub fn is_token(text: &str) -> bool {
    (20..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Asks for a link, and tells by what it was asked for. One that was there before is worth nothing any more.
///
/// # Errors
/// Where the Tenant can't be changed.
pub async fn ask(client: &Client, tenant: &Tenant, manager: &str) -> Result<String, kube::Error> {
    let request = Timestamp::now().to_string();
    let patch = json!({"metadata": {"uid": tenant.uid(), "annotations": {labels::FIRST_LOGIN: request}}});
    let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    Api::<Tenant>::all(client.clone()).patch(&tenant.name_any(), &parameters, &Patch::Merge(&patch)).await?;
    Ok(request)
}

/// What became of the link that was asked for last; none where the operator hasn't come to it, or nothing was asked for.
pub fn answer(tenant: &Tenant) -> Option<&FirstLoginStatus> {
    let asked = tenant.annotations().get(labels::FIRST_LOGIN)?;
    tenant.status.as_ref()?.first_login.as_ref().filter(|answer| answer.request == *asked)
}

/// The link that was asked for last; none where there is none, or no longer one.
///
/// # Errors
/// Where its Secret can't be read.
pub async fn link(client: &Client, tenant: &Tenant) -> Result<Option<String>, kube::Error> {
    let status = tenant.status.as_ref();
    let made = answer(tenant).filter(|answer| answer.state == FirstLoginState::Ready);
    let (Some(url), Some(namespace), Some(made)) =
        (status.and_then(|status| status.url.as_ref()), status.and_then(|status| status.namespace.as_ref()), made)
    else {
        return Ok(None);
    };
    let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(FIRST_LOGIN_SECRET).await?;
    let answers = |secret: &Secret| secret.annotations().get(labels::FIRST_LOGIN) == Some(&made.request);
    let token = secret.filter(answers).and_then(|secret| String::from_utf8(secret.data?.remove(TOKEN)?.0).ok());
    // Only the token is taken from the Secret: a tenant's people may edit it, and no link of ours leads elsewhere.
    let path = made.path.as_deref().unwrap_or_default();
    Ok(token.filter(|token| is_token(token)).map(|token| format!("{url}{path}{token}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_and_digits_are_a_token() {
        assert!(is_token(&crate::random::letters(40)));
        for other in ["", "short", "https://evil.example/aaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaa/../b", &"a".repeat(101)] {
            assert!(!is_token(other), "{other}");
        }
    }
}
