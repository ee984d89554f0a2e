//! The same object through another door: subresources, whole objects, and every kind of patch. The attacker has all rights in the tenant's
//! namespace, so that nothing but a policy is in the way.

use crate::attack::*;
use crate::support::{Cluster, Tenant};
use serde_json::{Value, json};

/// What the policy for namespaces says.
const NAMESPACE_IS_THE_PLATFORMS: &str = "a tenant's namespace, its labels and its owner are the platform's";

/// The same change of an object by every method that changes one, at each of its subresources, as a dry run.
async fn by_every_method(
    person: &Cluster,
    path: &str,
    subresources: &[&str],
    before: &Value,
    after: &Value,
) -> Vec<(String, Result<Value, String>)> {
    let mut whole = after.clone();
    whole["metadata"]["managedFields"] = Value::Null;
    let mut applied = after.clone();
    applied["metadata"]
        .as_object_mut()
        .unwrap()
        .retain(|field, _| ["name", "namespace", "labels", "annotations", "ownerReferences"].contains(&field.as_str()));
    let operations: Vec<_> = ["/metadata/labels", "/metadata/ownerReferences", "/spec", "/status"]
        .into_iter()
        .filter(|part| before.pointer(part) != after.pointer(part))
        .map(|part| match after.pointer(part) {
            Some(value) => json!({"op": "add", "path": part, "value": value}),
            None => json!({"op": "remove", "path": part}),
        })
        .collect();
    let mut merged = json!({});
    for part in ["metadata", "spec", "status"] {
        merged[part] = after[part].clone();
        if part == "metadata" {
            // A merge takes away only what it names.
            for field in ["labels", "ownerReferences"] {
                for key in before[part][field].as_object().into_iter().flat_map(|fields| fields.keys()) {
                    if after[part][field].get(key).is_none() {
                        merged[part][field][key] = Value::Null;
                    }
                }
                if after[part].get(field).is_none() {
                    merged[part][field] = Value::Null;
                }
            }
            merged[part].as_object_mut().unwrap().retain(|field, _| ["labels", "ownerReferences"].contains(&field.as_str()));
        }
    }
    let mut answers = Vec::new();
    for subresource in [""].iter().chain(subresources) {
        let at = format!("{path}{subresource}?dryRun=All");
        for (method, at, content_type, body) in [
            ("PUT", at.clone(), "application/json", whole.clone()),
            ("PATCH", at.clone(), "application/merge-patch+json", merged.clone()),
            ("PATCH", at.clone(), "application/strategic-merge-patch+json", merged.clone()),
            ("PATCH", at.clone(), "application/json-patch+json", operations.clone().into()),
            ("PATCH", format!("{at}&fieldManager=attacker&force=true"), "application/apply-patch+yaml", applied.clone()),
        ] {
            let answer = person.try_request(method, &at, Some((content_type, &body))).await;
            answers.push((format!("{method} {at} as {content_type}"), answer));
        }
    }
    answers
}

/// None of the answers changed these parts, and at least one said why.
#[track_caller]
fn none_changed(answers: Vec<(String, Result<Value, String>)>, before: &Value, parts: &[&str], sentence: &str) {
    let mut told = 0;
    for (what, answer) in answers {
        match answer {
            Err(message) if message.contains(sentence) => told += 1,
            // A subresource that takes no such method, or lets nothing of this through, changes nothing either.
            Err(message) => assert!(
                ["could not find", "does not allow", "not supported"].iter().any(|known| message.contains(known)),
                "{what}: {message}"
            ),
            Ok(after) => {
                for part in parts {
                    assert_eq!(after.pointer(part), before.pointer(part), "{what} changed {part}");
                }
            }
        }
    }
    assert!(told >= 5, "only {told} said {sentence:?}");
}

#[tokio::test]
async fn a_namespaces_labels_and_owner_are_changed_through_no_subresource_and_by_no_kind_of_patch() {
    let tenant = Tenant::new("doors").ready().await;
    let ruler = person(&tenant, "cluster-admin").await;
    let before = tenant.world.get("Namespace", None, &tenant.namespace).await;
    let path = format!("/api/v1/namespaces/{}", tenant.namespace);
    let parts = ["/metadata/labels", "/metadata/ownerReferences"];

    let mut privileged = before.clone();
    privileged["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged".into();
    let answers = by_every_method(&ruler, &path, &["/status", "/finalize"], &before, &privileged).await;
    none_changed(answers, &before, &parts, NAMESPACE_IS_THE_PLATFORMS);

    let mut unowned = before.clone();
    unowned["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    let answers = by_every_method(&ruler, &path, &["/status", "/finalize"], &before, &unowned).await;
    none_changed(answers, &before, &parts, NAMESPACE_IS_THE_PLATFORMS);

    refused("its end", ruler.try_delete_dry("Namespace", None, &tenant.namespace).await, NAMESPACE_IS_THE_PLATFORMS);
}

#[tokio::test]
async fn a_quota_is_raised_neither_by_its_spec_nor_by_its_status() {
    let tenant = Tenant::new("counted").ready().await;
    let ruler = person(&tenant, "cluster-admin").await;
    let before = tenant
        .object_until("ResourceQuota", "plan", "it counts", |quota| quota["status"]["hard"]["pods"].is_string().then(|| quota.clone()))
        .await;
    let path = format!("/api/v1/namespaces/{}/resourcequotas/plan", tenant.namespace);
    for part in ["spec", "status"] {
        let mut raised = before.clone();
        raised[part]["hard"]["pods"] = "9999".into();
        let answers = by_every_method(&ruler, &path, &["/status"], &before, &raised).await;
        none_changed(answers, &before, &["/spec", "/status"], THE_PLATFORMS);
    }
}
