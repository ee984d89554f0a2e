//! Objects of kinds that are others', and may not be known to the cluster: of cert-manager, or of the Gateway API.

use kube::Api;
use kube::api::{ApiResource, DynamicObject};

/// A kind, at the version that all of them have.
pub fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{group}/v1"),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// The object; none also where the cluster doesn't know the kind, which the API server says in other words.
pub async fn find(api: &Api<DynamicObject>, name: &str) -> Result<Option<DynamicObject>, kube::Error> {
    match api.get_opt(name).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        found => found,
    }
}

/// Why a condition isn't true, where it isn't.
pub fn holds(object: &DynamicObject, kind: &str) -> Result<(), String> {
    let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    match conditions.iter().find(|condition| condition["type"] == kind) {
        Some(condition) if condition["status"] == "True" => Ok(()),
        Some(condition) => Err(condition["message"].as_str().unwrap_or("it doesn't say why").to_owned()),
        None => Err("nobody has looked at it".to_owned()),
    }
}
