//! What applying manifests would make of the objects of our own kinds: the API server is asked, and nothing is changed.

use super::manifests::Manifests;
use super::{Failure, MANAGER};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ClusterResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;
use tenantry::api::labels;

/// An object of our own kinds that a manifest is of.
pub struct Applied {
    pub kind: String,
    pub name: String,
    /// As it is; none where it would be made.
    pub before: Option<Value>,
    pub after: Value,
}

impl Applied {
    /// Whether what is asked for would be anything else.
    pub fn changes_what_is_asked(&self) -> bool {
        let part = |path: &str| self.before.as_ref().and_then(|before| before.pointer(path)) != self.after.pointer(path);
        ["/spec", "/metadata/labels", "/metadata/annotations"].into_iter().any(part)
    }
}

/// Puts into the fleet what applying the manifests would make of it, and tells of each what that is.
///
/// # Errors
/// Where the API server would refuse one.
pub async fn foresee(client: &Client, fleet: &mut Manifests, documents: &[Value]) -> Result<Vec<Applied>, Failure> {
    let mut all = Vec::new();
    for document in documents {
        all.push(match document["kind"].as_str() {
            Some("Tenant") => put(client, &mut fleet.tenants, document).await?,
            Some("Blueprint") => put(client, &mut fleet.blueprints, document).await?,
            Some("Plan") => put(client, &mut fleet.plans, document).await?,
            Some("Release") => put(client, &mut fleet.releases, document).await?,
            _ => put(client, &mut fleet.servers, document).await?,
        });
    }
    Ok(all)
}

async fn put<K>(client: &Client, known: &mut Vec<K>, document: &Value) -> Result<Applied, Failure>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let kind = K::kind(&()).to_string();
    let refused = |error: kube::Error| match error {
        kube::Error::Api(status) => format!("the API server refuses {kind} {name}: {}", status.message),
        error => format!("{kind} {name}: {error}"),
    };
    let before = api.get_opt(&name).await.map_err(refused)?;
    let after = match &before {
        None => {
            let parameters = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
            api.create(&parameters, &serde_json::from_value(document.clone())?).await.map_err(refused)?
        }
        Some(live) => match live.annotations().get(labels::LAST_APPLIED).and_then(|text| serde_json::from_str(text).ok()) {
            Some(last) => {
                let patch = three_way(&last, document);
                api.patch(&name, &PatchParams { dry_run: true, ..PatchParams::apply(MANAGER) }, &Patch::Merge(&patch))
                    .await
                    .map_err(refused)?
            }
            None => {
                let manager = applied_by(live.managed_fields()).unwrap_or(MANAGER);
                let parameters = PatchParams { dry_run: true, ..PatchParams::apply(manager).force() };
                api.patch(&name, &parameters, &Patch::Apply(document)).await.map_err(refused)?
            }
        },
    };
    known.retain(|object| object.name_any() != name);
    known.push(after.clone());
    let before = before.map(serde_json::to_value).transpose()?;
    Ok(Applied { kind: kind.clone(), name: name.clone(), before, after: serde_json::to_value(after)? })
}

/// Who applies the object as a rule, such as Flux: what that one no longer sets goes.
fn applied_by(fields: &[ManagedFieldsEntry]) -> Option<&str> {
    let applies = |entry: &&ManagedFieldsEntry| entry.operation.as_deref() == Some("Apply") && entry.subresource.is_none();
    fields.iter().find(applies)?.manager.as_deref()
}

/// The patch that `kubectl apply` makes: what the manifest says, and without what the one before said and this one doesn't. See
/// [How apply calculates differences](https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#how-apply-calculates-differences-and-merges-changes).
fn three_way(last: &Value, manifest: &Value) -> Value {
    let part = |whole: &Value| json!({"spec": whole["spec"], "metadata": {"labels": whole["metadata"]["labels"], "annotations": whole["metadata"]["annotations"]}});
    merge_patch(&without_null(part(last)), &without_null(part(manifest)))
}

fn merge_patch(last: &Value, wanted: &Value) -> Value {
    let (Value::Object(last), Value::Object(wanted)) = (last, wanted) else { return wanted.clone() };
    let gone = last.keys().filter(|name| !wanted.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let nothing = Value::Null;
    let set = wanted.iter().map(|(name, value)| (name.clone(), merge_patch(last.get(name).unwrap_or(&nothing), value)));
    Value::Object(gone.chain(set).collect::<Map<_, _>>())
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, without_null(value))).collect(),
        ),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_said_before_and_says_no_more_goes() {
        let last = json!({"metadata": {"name": "a", "annotations": {}}, "spec": {"plan": "small", "domains": ["a"], "settings": {"A": "1", "B": "2"}}});
        let now = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"plan": "large", "settings": {"A": "1"}}});
        let patch = json!({"metadata": {"labels": {"x": "y"}, "annotations": null},
                           "spec": {"plan": "large", "domains": null, "settings": {"A": "1", "B": null}}});
        assert_eq!(three_way(&last, &now), patch);
    }

    #[test]
    fn who_applies_is_whose_fields_go() {
        let entry = |manager: &str, operation: &str, subresource: Option<&str>| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            subresource: subresource.map(str::to_owned),
            ..ManagedFieldsEntry::default()
        };
        let all = [
            entry("kubectl-edit", "Update", None),
            entry("tenantry", "Apply", Some("status")),
            entry("kustomize-controller", "Apply", None),
        ];
        assert_eq!(applied_by(&all), Some("kustomize-controller"));
        assert_eq!(applied_by(&all[..2]), None);
    }
}
