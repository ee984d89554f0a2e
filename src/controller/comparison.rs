//! Whether an object of an instance is as it is wanted: pure, and without a read.

use crate::instance::render::{Kind, Object};
use serde_json::Value;

/// Parts of an object in which nobody else may add anything, because it would open the instance, or send its visitors elsewhere.
pub fn closed_parts(kind: &Kind) -> &'static [&'static str] {
    match kind {
        kind if *kind == Kind::NETWORK_POLICY => &["/spec"],
        kind if *kind == Kind::SERVICE => &["/spec/ports", "/spec/selector"],
        kind if *kind == Kind::ROLE_BINDING => &["/subjects"],
        kind if *kind == Kind::INGRESS => &["/spec/rules"],
        kind if *kind == Kind::HTTP_ROUTE => &["/spec/hostnames", "/spec/parentRefs", "/spec/rules"],
        _ => &[],
    }
}

/// The closed parts that aren't just what they should be.
pub fn parts_that_differ(desired: &Object, live: &Value) -> Vec<&'static str> {
    let differs = |path: &&&str| match (desired.content.pointer(path), live.pointer(path)) {
        (Some(desired), Some(live)) => !is_no_more_than(live, desired) || !is_within(desired, live),
        (Some(desired), None) => !is_empty(desired),
        (None, _) => false,
    };
    closed_parts(&desired.key.kind).iter().filter(differs).copied().collect()
}

/// Whether all that is there is wanted.
fn is_no_more_than(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Array(live), Value::Array(desired)) => {
            live.len() <= desired.len() && live.iter().zip(desired).all(|(live, desired)| is_no_more_than(live, desired))
        }
        (Value::Object(live), Value::Object(desired)) => live.iter().all(|(key, live)| match desired.get(key) {
            Some(desired) => is_no_more_than(live, desired),
            None => is_empty(live),
        }),
        _ => true,
    }
}

/// Whether all that is wanted is so already. Fields that others set are no difference, and empty is the same as missing.
pub fn is_within(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            desired.iter().all(|(key, value)| live.get(key).map_or_else(|| is_empty(value), |live| is_within(value, live)))
        }
        (Value::Array(desired), Value::Array(live)) if desired.len() == live.len() => {
            desired.iter().zip(live).all(|(desired, live)| is_within(desired, live))
        }
        // Others may add to a list, such as owners or containers; ours have to be among them.
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() < live.len()
                && !desired.is_empty()
                && desired.iter().all(|desired| live.iter().any(|live| is_within(desired, live)))
        }
        (desired, live) => desired == live || (is_empty(desired) && is_empty(live)),
    }
}

/// Whether a value is the same as none. `false` and 0 are not: where a field is missing, the default may be otherwise.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::render::ObjectKey;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::json;

    #[test]
    fn what_others_add_to_a_closed_part_is_found() {
        let policy = |spec: Value| Object {
            key: ObjectKey { kind: Kind::NETWORK_POLICY, namespace: Some("a".into()), name: "b".into() },
            content: json!({"spec": spec}),
            starting_replicas: None,
        };
        let rule = json!({"from": [{"podSelector": {}}]});
        let desired = policy(json!({"podSelector": {"matchLabels": {"a/b": "c"}}, "policyTypes": ["Ingress"], "ingress": [rule]}));
        assert!(parts_that_differ(&desired, &desired.content).is_empty());
        for (path, value) in [
            ("/spec/ingress", json!([rule, {}])),
            ("/spec/ingress/0/from", json!([{"podSelector": {}}, {"ipBlock": {"cidr": "0.0.0.0/0"}}])),
            ("/spec/podSelector/matchLabels", json!({"a/b": "c", "d": "e"})),
            ("/spec/policyTypes", json!(["Ingress", "Egress"])),
            ("/spec/ingress/0", json!({"from": [{"podSelector": {}}], "ports": [{"port": 1, "endPort": 65535}]})),
            ("/spec/ingress/0/from/0/podSelector", json!({"matchLabels": {"a": "b"}})),
        ] {
            let mut live = desired.content.clone();
            *live.pointer_mut(path).unwrap() = value;
            assert_eq!(parts_that_differ(&desired, &live), ["/spec"], "{path}");
        }
    }

    #[test]
    fn fields_of_others_are_no_difference_and_ours_are() {
        let live = json!({"spec": {"replicas": 2, "list": [{"name": "a", "x": 1}, {"name": "b"}]}});
        assert!(is_within(&json!({"spec": {"replicas": 2}}), &live));
        assert!(is_within(&json!({"spec": {"list": [{"name": "b"}]}}), &live));
        assert!(is_within(&json!({"spec": {"none": {}}}), &live));
        assert!(!is_within(&json!({"spec": {"replicas": 3}}), &live));
        assert!(!is_within(&json!({"spec": {"automountServiceAccountToken": false}}), &live));
        assert!(!is_within(&json!({"spec": {"list": [{"name": "c"}]}}), &live));
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = "[a-c]{0,2}".prop_map(Value::from);
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i8>().prop_map(Value::from), text];
        leaf.prop_recursive(4, 24, 3, |inner| prop_oneof![prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from), object(inner)])
    }

    fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-c]", value, 0..3).prop_map(|fields| fields.into_iter().collect())
    }

    /// Where in a value there are objects.
    fn objects(value: &Value, at: &str) -> Vec<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
            _ => Vec::new(),
        };
        let below = below.into_iter().flat_map(|(name, value)| objects(value, &format!("{at}/{name}")));
        value.is_object().then(|| at.to_owned()).into_iter().chain(below).collect()
    }

    /// The same with one field more, somewhere.
    fn with_another_field(value: &Value, place: Index) -> Value {
        let mut larger = value.clone();
        larger.pointer_mut(place.get::<String>(&objects(value, ""))).unwrap()["another"] = json!("x");
        larger
    }

    proptest! {
        #[test]
        fn an_object_is_just_what_it_is(desired in object(value())) {
            prop_assert!(is_within(&desired, &desired) && is_no_more_than(&desired, &desired));
        }

        #[test]
        fn a_field_of_others_anywhere_is_no_difference_where_nothing_is_closed(desired in object(value()), place in any::<Index>()) {
            let live = with_another_field(&desired, place);
            prop_assert!(is_within(&desired, &live));
            prop_assert!(!is_no_more_than(&live, &desired));
        }

        #[test]
        fn a_field_of_ours_that_is_missing_anywhere_is_one(live in object(value()), place in any::<Index>()) {
            let desired = with_another_field(&live, place);
            prop_assert!(!is_within(&desired, &live));
        }
    }
}
