//! How an object is changed in a visitor's name: by server-side apply, and never over what Git keeps; over what somebody else has set only where the visitor
//! says so. What goes is taken away whoever has set it: who asks for that sees that it is there.

use super::MANAGER;
use super::own_fields::{applied_by, managers_of};
use super::problem::in_words;
use axum::http::StatusCode;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::iter;

/// How the field managers begin of programs that set an object back to what they have of it elsewhere, in Git as a rule.
const KEEPERS: [&str; 10] =
    ["argocd", "configsync", "crossplane", "fleet", "flux", "helm", "kapp", "kustomize-controller", "pulumi", "terraform"];

/// Why something wasn't done.
pub enum Refusal {
    /// For this reason.
    Problem(String),
    /// These have set it, and may be overwritten.
    SetByOthers(String),
}

impl Refusal {
    /// With which the question is asked again.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Problem(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SetByOthers(_) => StatusCode::CONFLICT,
        }
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        Self::Problem(in_words(&error))
    }
}

/// Sets these fields of `spec`, takes those away that are null, and touches none besides. What this console had set before stays.
///
/// # Errors
/// Where Git keeps one of them, somebody else has set one that is to be another, or the API server refuses it.
pub async fn apply<K>(client: &Client, object: &K, spec: &Value, overwrite: bool) -> Result<(), Refusal>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let (wanted, gone) = set_and_gone(spec);
    for field in &gone {
        let path: Vec<_> = iter::once("spec").chain(field.iter().map(String::as_str)).collect();
        if let Some(keeper) = managers_of(object.managed_fields(), &path).into_iter().find(|manager| keeps(manager)) {
            return Err(kept_in_git(keeper));
        }
    }
    if let Some(wanted) = wanted {
        set(client, object, &wanted, overwrite).await?;
    }
    if gone.is_empty() { Ok(()) } else { take_away(client, object, &gone).await }
}

/// What is to be set, if anything is, and the paths to what is to go.
fn set_and_gone(spec: &Value) -> (Option<Value>, Vec<Vec<String>>) {
    let fields = match spec {
        Value::Null => return (None, vec![Vec::new()]),
        Value::Object(fields) => fields,
        value => return (Some(value.clone()), Vec::new()),
    };
    let (mut wanted, mut gone) = (Map::new(), Vec::new());
    for (name, value) in fields {
        let (set, paths) = set_and_gone(value);
        wanted.extend(set.map(|set| (name.clone(), set)));
        gone.extend(paths.into_iter().map(|path| iter::once(name.clone()).chain(path).collect()));
    }
    ((!wanted.is_empty()).then_some(Value::Object(wanted)), gone)
}

async fn set<K>(client: &Client, object: &K, spec: &Value, overwrite: bool) -> Result<(), Refusal>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let name = object.name_any();
    let whole = serde_json::to_value(object).unwrap_or_default();
    let mut wanted = applied_by(MANAGER, object.managed_fields(), &whole);
    json_patch::merge(
        &mut wanted,
        &json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name, "uid": object.uid()}, "spec": spec,
        }),
    );
    let parameters = PatchParams::apply(MANAGER);
    let error = match api.patch(&name, &parameters, &Patch::Apply(&wanted)).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let conflicts = conflicts(&error);
    if conflicts.is_empty() {
        return Err(error.into());
    }
    if let Some(Conflict { manager, .. }) = conflicts.iter().find(|conflict| keeps(&conflict.manager)) {
        return Err(kept_in_git(manager));
    }
    let choices = conflicts.iter().filter(|conflict| conflict.is_anothers_choice(&whole));
    let others: BTreeSet<_> = choices.map(|conflict| conflict.manager.as_str()).collect();
    if !overwrite && !others.is_empty() {
        return Err(Refusal::SetByOthers(Vec::from_iter(others).join(", ")));
    }
    api.patch(&name, &parameters.force(), &Patch::Apply(&wanted)).await?;
    Ok(())
}

async fn take_away<K>(client: &Client, object: &K, fields: &[Vec<String>]) -> Result<(), Refusal>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let mut spec = json!({});
    for field in fields {
        field.iter().fold(&mut spec, |above, name| &mut above[name.as_str()]);
    }
    let patch = json!({"metadata": {"uid": object.uid()}, "spec": spec});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&object.name_any(), &parameters, &Patch::Merge(&patch)).await?;
    Ok(())
}

fn kept_in_git(keeper: &str) -> Refusal {
    Refusal::Problem(format!(
        "{keeper} keeps this as it is in Git: change it there, since it would set back what is changed here; nothing was done"
    ))
}

fn keeps(manager: &str) -> bool {
    let manager = manager.to_lowercase();
    KEEPERS.iter().any(|keeper| manager.starts_with(keeper))
}

/// Somebody has set what is to be another.
#[derive(Debug, PartialEq, Eq)]
struct Conflict {
    manager: String,
    /// As a JSON pointer.
    field: String,
}

impl Conflict {
    /// Who makes an object without a word of what is off by default is said to have set it, too.
    fn is_anothers_choice(&self, object: &Value) -> bool {
        self.manager != MANAGER && !matches!(object.pointer(&self.field), None | Some(Value::Null | Value::Bool(false)))
    }
}

fn conflicts(error: &kube::Error) -> Vec<Conflict> {
    let kube::Error::Api(status) = error else { return Vec::new() };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        // conflict with "kubectl-edit" using tenantry.dev/v1alpha1
        .filter_map(|cause| Some(Conflict { manager: cause.message.split('"').nth(1)?.to_owned(), field: cause.field.replace('.', "/") }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_the_way_is_told_from_the_conflict() {
        let cause = |manager: &str, field: &str| json!({"reason": "FieldManagerConflict", "message": format!("conflict with \"{manager}\" using tenantry.dev/v1alpha1"), "field": field});
        let causes = [cause("kubectl-edit", ".spec.suspended"), cause("kubectl-edit", ".spec.plan"), cause(MANAGER, ".spec.plan")];
        let status = json!({"status": "Failure", "message": "no", "reason": "Conflict", "code": 409, "details": {"causes": causes}});
        let conflicts = conflicts(&kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())));
        assert_eq!(conflicts[0], Conflict { manager: "kubectl-edit".to_owned(), field: "/spec/suspended".to_owned() });
        let object = |suspended: bool| json!({"spec": {"suspended": suspended, "plan": "small"}});
        let are_choices = |object: Value| conflicts.iter().map(|conflict| conflict.is_anothers_choice(&object)).collect::<Vec<_>>();
        assert_eq!(are_choices(object(false)), [false, true, false]);
        assert_eq!(are_choices(object(true)), [true, true, false]);
    }

    #[test]
    fn what_is_null_goes_and_the_rest_is_set() {
        let path = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let spec =
            json!({"plan": "large", "expiresAt": null, "branding": {"primaryColor": "#0a5c36", "logoUrl": null}, "deletion": {"at": null}});
        let gone = vec![path(&["branding", "logoUrl"]), path(&["deletion", "at"]), path(&["expiresAt"])];
        assert_eq!(set_and_gone(&spec), (Some(json!({"plan": "large", "branding": {"primaryColor": "#0a5c36"}})), gone));
        assert_eq!(set_and_gone(&json!({"suspended": false})), (Some(json!({"suspended": false})), vec![]));
        assert_eq!(set_and_gone(&json!({})), (None, vec![]));
    }

    #[test]
    fn who_keeps_what_is_in_git_is_known() {
        for manager in [
            "argocd-controller",
            "argocd-application-controller",
            "kustomize-controller",
            "helm-controller",
            "Terraform",
            "flux-client-side-apply",
        ] {
            assert!(keeps(manager), "{manager}");
        }
        for manager in ["kubectl-edit", "kubectl-client-side-apply", "unknown", "Mozilla", "python-requests", MANAGER] {
            assert!(!keeps(manager), "{manager}");
        }
    }
}
