//! Who has set what of an object, as the API server remembers it. Who applies says all that is his each time, and what he says no more goes.
//! See [server-side apply](https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::{Map, Value};

/// The parts of an object that this manager has applied.
pub fn applied_by(manager: &str, fields: &[ManagedFieldsEntry], object: &Value) -> Value {
    let applies = |entry: &&ManagedFieldsEntry| {
        entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply") && entry.subresource.is_none()
    };
    let owned = fields.iter().find(applies).and_then(|entry| entry.fields_v1.as_ref());
    owned.map_or_else(|| Value::Object(Map::new()), |owned| part(&owned.0, object))
}

/// The managers that have set this field.
pub fn managers_of<'a>(fields: &'a [ManagedFieldsEntry], path: &[&str]) -> Vec<&'a str> {
    let has = |entry: &ManagedFieldsEntry| {
        let whole = entry.fields_v1.as_ref().filter(|_| entry.subresource.is_none()).map(|fields| &fields.0);
        whole.and_then(|whole| path.iter().try_fold(whole, |above, name| above.get(format!("f:{name}")))).is_some()
    };
    fields.iter().filter(|entry| has(entry)).filter_map(|entry| entry.manager.as_deref()).collect()
}

/// The part of a value that the fields name. A list is taken whole, or as those of its values that are named.
fn part(fields: &Value, value: &Value) -> Value {
    let (Value::Object(fields), Value::Object(known)) = (fields, value) else { return owned_of_list(fields, value) };
    let named = fields.iter().filter_map(|(name, below)| {
        let name = name.strip_prefix("f:")?;
        Some((name.to_owned(), part(below, known.get(name)?)))
    });
    let parts: Map<_, _> = named.collect();
    // A field that is owned as a whole has nothing below it.
    if parts.is_empty() && fields.keys().all(|name| name == ".") { value.clone() } else { Value::Object(parts) }
}

fn owned_of_list(fields: &Value, value: &Value) -> Value {
    let (Value::Object(fields), Value::Array(items)) = (fields, value) else { return value.clone() };
    let named: Vec<Value> = fields.keys().filter_map(|name| serde_json::from_str(name.strip_prefix("v:")?).ok()).collect();
    if named.is_empty() { value.clone() } else { Value::Array(items.iter().filter(|item| named.contains(item)).cloned().collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_manager_applied_is_said_again() {
        let entry = |manager: &str, operation: &str, fields: Value| -> ManagedFieldsEntry {
            serde_json::from_value(
                json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}),
            )
            .unwrap()
        };
        let object = json!({
            "metadata": {"name": "acme", "labels": {"a": "1", "b": "2"}},
            "spec": {"plan": "large", "displayName": "Acme", "suspended": true, "domains": ["a.example", "b.example"], "branding": {"primaryColor": "#000000"}},
        });
        let own = json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:plan": {}, "f:domains": {"v:\"b.example\"": {}}, "f:branding": {".": {}, "f:primaryColor": {}}, "f:gone": {}},
        });
        let fields = [
            entry("other", "Apply", json!({"f:spec": {"f:displayName": {}}})),
            entry("console", "Update", json!({"f:spec": {"f:suspended": {}}})),
            entry("console", "Apply", own),
        ];
        let expected = json!({
            "metadata": {"labels": {"a": "1"}},
            "spec": {"plan": "large", "domains": ["b.example"], "branding": {"primaryColor": "#000000"}},
        });
        assert_eq!(applied_by("console", &fields, &object), expected);
        assert_eq!(applied_by("nobody", &fields, &object), json!({}));
        assert_eq!(managers_of(&fields, &["spec", "branding", "primaryColor"]), ["console"]);
        assert_eq!(managers_of(&fields, &["spec", "displayName"]), ["other"]);
        assert!(managers_of(&fields, &["spec", "expiresAt"]).is_empty());
    }
}
