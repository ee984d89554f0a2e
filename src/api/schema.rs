//! The schemas of our kinds, as the API server is given them, and the same checks without a server.
//!
//! [`admit`] does to a manifest what the API server does: it applies the defaults, refuses what the schema doesn't admit, and asks the CEL
//! rules. Unlike the server, which drops fields that it doesn't know, it refuses them: offline nobody would notice a misspelt one.

use super::{GROUP, VERSION, custom_resource_definitions};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrBool;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::core::cel::{CompiledSchema, Validator, apply_defaults, compile_schema};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;

/// What is wrong with a manifest, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `spec.components[0].port`; empty for the whole manifest.
    pub place: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.place, self.message) }
    }
}

/// The manifest with its defaults, if the API server would admit it when it is created.
///
/// # Errors
/// All that is wrong with it; the CEL rules are asked only where nothing else is, as the server does.
pub fn admit(manifest: &Value) -> Result<Value, Vec<Problem>> {
    let one = |place: &str, message: String| Err(vec![Problem { place: place.to_owned(), message }]);
    let kind = manifest.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some(Checks { schema, rules, .. }) = checks().iter().find(|checks| checks.kind == kind) else {
        let known: Vec<_> = checks().iter().map(|checks| checks.kind.as_str()).collect();
        return one("kind", format!("{kind:?} is none of our kinds, which are {}", known.join(", ")));
    };
    let api_version = format!("{GROUP}/{VERSION}");
    if manifest.get("apiVersion").and_then(Value::as_str) != Some(&api_version) {
        return one("apiVersion", format!("it has to be {api_version}"));
    }
    let admitted = apply_defaults(schema, manifest);
    let mut problems = Vec::new();
    envelope(&admitted, &mut problems);
    for field in ["spec", "status"] {
        match (admitted.get(field), &schema["properties"][field]) {
            (Some(value), schema) => check(value, schema, field, &mut problems),
            (None, _) if field == "spec" => problems.push(Problem { place: field.to_owned(), message: "it is missing".to_owned() }),
            (None, _) => {}
        }
    }
    if problems.is_empty()
        && let Err(errors) = Validator::new().validate_compiled(rules, &admitted, None)
    {
        problems.extend(errors.into_vec().into_iter().map(|error| Problem { place: error.field_path, message: error.message }));
    }
    if problems.is_empty() { Ok(admitted) } else { Err(problems) }
}

/// What a kind's manifests are checked by.
struct Checks {
    kind: String,
    schema: Value,
    rules: CompiledSchema,
}

/// Those of every kind; made once, since to derive a schema and to compile its rules takes longer than to use them.
fn checks() -> &'static [Checks] {
    static CHECKS: OnceLock<Vec<Checks>> = OnceLock::new();
    CHECKS.get_or_init(|| {
        let of = |definition: &CustomResourceDefinition| {
            let schema = schema(definition);
            Checks { kind: definition.spec.names.kind.clone(), rules: compile_schema(&schema), schema }
        };
        custom_resource_definitions().iter().map(of).collect()
    })
}

/// The schema of the one version that a definition has.
pub fn schema(definition: &CustomResourceDefinition) -> Value {
    let schema = definition.spec.versions.first().and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    schema.map_or(Value::Null, whole_numbers)
}

/// The value as JSON, with `3` where a float says `3.0`.
pub fn whole_numbers(value: &impl serde::Serialize) -> Value {
    fn rewrite(value: &mut Value) {
        match value {
            // Bounds of a schema are floats, and small enough to be exact.
            Value::Number(number) if number.as_f64().is_some_and(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15) => {
                let whole = number.as_f64().unwrap_or_default();
                *value = Value::from(whole as i64);
            }
            Value::Array(items) => items.iter_mut().for_each(rewrite),
            Value::Object(fields) => fields.values_mut().for_each(rewrite),
            _ => {}
        }
    }
    // What is given here are Kubernetes' own types, which have string keys and no other reason to fail.
    let mut json = serde_json::to_value(value).unwrap_or_default();
    rewrite(&mut json);
    json
}

/// Puts a derived schema into the API server's terms: descriptions without the line breaks of their source, and none of the formats that only
/// Rust knows, about which the server would warn.
pub(super) fn tidy(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        let paragraphs: Vec<_> =
            description.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        *description = paragraphs.join("\n\n");
    }
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(tidy);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// What is around `spec`: only what every object of Kubernetes has.
fn envelope(manifest: &Value, problems: &mut Vec<Problem>) {
    const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    const METADATA: [&str; 14] = [
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    let empty = Map::new();
    let metadata = manifest.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    unknown(manifest.as_object().unwrap_or(&empty).keys(), &TOP, "", problems);
    unknown(metadata.keys(), &METADATA, "metadata", problems);
    if metadata.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
        problems.push(Problem { place: "metadata.name".to_owned(), message: "it is missing".to_owned() });
    }
}

fn check(value: &Value, schema: &Value, place: &str, problems: &mut Vec<Problem>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let mut say = |message: String| problems.push(Problem { place: place.to_owned(), message });
    let wanted = schema["type"].as_str().unwrap_or_default();
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    if !fits {
        let hint = if wanted == "string" && (value.is_number() || value.is_boolean()) { ": put it in quotes" } else { "" };
        return say(format!("it is {}, but has to be {}{hint}", kind_of(value), named(wanted)));
    }
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        let choices: Vec<_> = choices.iter().filter_map(Value::as_str).collect();
        say(format!("{value} is none of {}", choices.join(", ")));
    }
    let bound = |name: &str| schema[name].as_f64();
    let mut within = |amount: f64, least: &str, most: &str, of: &str| {
        if let Some(least) = bound(least).filter(|least| amount < *least) {
            say(format!("it has to be at least {least}{of}, and is {amount}"));
        }
        if let Some(most) = bound(most).filter(|most| amount > *most) {
            say(format!("it may be at most {most}{of}, and is {amount}"));
        }
    };
    match value {
        Value::String(text) => {
            within(text.chars().count() as f64, "minLength", "maxLength", " characters long");
            if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
                say(format!("{value} is no moment: write it as 2027-01-31T00:00:00Z"));
            }
        }
        Value::Number(number) => within(number.as_f64().unwrap_or_default(), "minimum", "maximum", ""),
        Value::Array(items) => {
            within(items.len() as f64, "minItems", "maxItems", " entries long");
            repeated(items, schema, place, problems);
            for (index, item) in items.iter().enumerate() {
                check(item, &schema["items"], &format!("{place}[{index}]"), problems);
            }
        }
        Value::Object(fields) => {
            within(fields.len() as f64, "minProperties", "maxProperties", " entries long");
            check_fields(fields, schema, place, problems);
        }
        _ => {}
    }
}

fn check_fields(fields: &Map<String, Value>, schema: &Value, place: &str, problems: &mut Vec<Problem>) {
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            problems.push(Problem { place: format!("{place}.{name}"), message: "it is missing".to_owned() });
        }
    }
    if schema["additionalProperties"].is_null() && schema["x-kubernetes-preserve-unknown-fields"] != true {
        let known: Vec<_> = properties.keys().map(String::as_str).collect();
        unknown(fields.keys(), &known, place, problems);
    }
    for (name, value) in fields {
        let schema = properties.get(name).unwrap_or(&schema["additionalProperties"]);
        if schema.is_object() {
            check(value, schema, &format!("{place}.{name}"), problems);
        }
    }
}

fn unknown<'a>(names: impl Iterator<Item = &'a String>, known: &[&str], place: &str, problems: &mut Vec<Problem>) {
    for name in names.filter(|name| !known.contains(&name.as_str())) {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        problems.push(Problem { place, message: format!("there is no such field; there are {}", known.join(", ")) });
    }
}

/// Entries that a list which is a set, or a map by some key, has twice.
fn repeated(items: &[Value], schema: &Value, place: &str, problems: &mut Vec<Problem>) {
    let keys: Vec<_> = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.to_string()),
        Some("map") => Some(keys.iter().map(|key| item[*key].to_string()).collect::<Vec<_>>().join(" ")),
        _ => None,
    };
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        if identity(item).is_some_and(|identity| !seen.insert(identity)) {
            problems.push(Problem { place: format!("{place}[{index}]"), message: "it is in the list twice: leave one out".to_owned() });
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn named(kind: &str) -> &'static str {
    match kind {
        "object" => "a map",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tenant(spec: Value) -> Value {
        json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"}, "spec": spec})
    }

    fn problems(manifest: &Value) -> String {
        admit(manifest).map_or_else(|problems| problems.iter().map(|p| format!("{p}\n")).collect(), |_| String::new())
    }

    #[test]
    fn the_smallest_tenant_is_admitted_and_gets_its_defaults() {
        let admitted = admit(&tenant(json!({"displayName": "ACME", "blueprint": "planner", "plan": "starter"}))).unwrap();
        assert_eq!(admitted["spec"]["deletion"], json!({"policy": "Retain", "protected": false}));
        assert_eq!(admitted["spec"]["suspended"], false);
    }

    #[test]
    fn a_number_or_a_percentage_of_failed_tenants_is_admitted_and_nothing_else() {
        let problems = |most: Value| {
            let spec = json!({"blueprint": "planner", "version": "1", "health": {"maxFailed": most}});
            let manifest =
                json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Release", "metadata": {"name": "planner-1"}, "spec": spec});
            problems(&manifest)
        };
        for most in [json!(0), json!(3), json!("3"), json!("1%"), json!("100%")] {
            assert_eq!(problems(most.clone()), "", "{most}");
        }
        for most in [json!(-1), json!("101%"), json!("few"), json!(1_000_000)] {
            assert!(problems(most.clone()).contains("such as 3 or 1%"), "{most}");
        }
    }

    #[test]
    fn what_the_server_would_refuse_or_drop_is_refused_with_its_place() {
        let smallest = json!({"displayName": "ACME", "blueprint": "planner", "plan": "starter"});
        let with = |field: &str, value: Value| {
            let mut spec = smallest.clone();
            spec[field] = value;
            problems(&tenant(spec))
        };
        for (found, wanted) in [
            (with("domain", json!(["a.com"])), "spec.domain: there is no such field"),
            (with("suspended", json!("yes")), "spec.suspended: it is a text, but has to be true or false"),
            (with("plan", json!(3)), "spec.plan: it is a whole number, but has to be a text: put it in quotes"),
            (with("domains", json!(["a.com", "a.com"])), "spec.domains[1]: it is in the list twice"),
            (with("domains", json!(vec!["a.com"; 10_000])), "spec.domains: it may be at most 20 entries long, and is 10000"),
            (with("domains", json!(["https://a.com"])), "punycode"),
            (with("displayName", json!("a".repeat(1_000_000))), "spec.displayName: it may be at most 80 characters long"),
            (with("expiresAt", json!("tomorrow")), "spec.expiresAt: \"tomorrow\" is no moment"),
            (with("deletion", json!({"policy": "Backup"})), "spec.deletion.policy: \"Backup\" is none of Retain, Delete"),
            (with("components", json!({"web": {"replicas": {"min": 3, "max": 2}}})), "replicas.min must not be more than replicas.max"),
            (with("branding", json!({"primaryColor": "green"})), "six hexadecimal digits"),
            (problems(&tenant(json!({"displayName": "ACME"}))), "spec.plan: it is missing"),
            (problems(&json!({"kind": "Tenant", "apiVersion": "tenantry.dev/v1"})), "apiVersion: it has to be tenantry.dev/v1alpha1"),
            (problems(&json!({"kind": "Deployment"})), "none of our kinds"),
        ] {
            assert!(found.contains(wanted), "{wanted:?} is not in {found:?}");
        }
    }

    /// Every place of a schema.
    fn each(schema: &Value, place: &str, visit: &mut impl FnMut(&str, &Value)) {
        visit(place, schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            each(property, &format!("{place}.{name}"), visit);
        }
        for (field, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
            if schema[field].is_object() {
                each(&schema[field], &format!("{place}{suffix}"), visit);
            }
        }
    }

    #[test]
    fn every_text_list_map_and_number_that_a_person_writes_is_bounded_and_described() {
        for definition in custom_resource_definitions() {
            let kind = &definition.spec.names.kind;
            each(&schema(&definition)["properties"]["spec"], kind, &mut |place, schema| {
                let has = |name: &str| !schema[name].is_null();
                let bounded = match schema["type"].as_str() {
                    Some("string") => has("maxLength") || has("enum") || schema["format"] == "date-time",
                    Some("array") => has("maxItems"),
                    Some("integer" | "number") => has("minimum") && has("maximum"),
                    Some("object") => has("maxProperties") || has("properties"),
                    _ => true,
                };
                assert!(bounded, "{place} has no bound");
                assert!(place.ends_with("[]") || place.ends_with("{}") || has("description"), "{place} has no description");
                assert!(!has("pattern"), "{place} has a pattern, whose message tells nobody what to write: make it a rule");
                for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                    assert!(rule["message"].is_string(), "{place} has a rule without a message");
                }
                if schema["additionalProperties"].is_object() {
                    let rules = schema["x-kubernetes-validations"].to_string();
                    assert!(rules.contains("self.all("), "{place} doesn't bound its keys");
                }
            });
        }
    }
}
