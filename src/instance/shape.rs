//! Which fields an object has, whatever their values: between two objects of one shape, no field is taken away.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Fields of a list's items by which no item is told from another, by the list's name. All other fields of an item may be its key, as `name` is one
/// of containers, and `containerPort` of ports: with another value it is another item, and the one before is taken away.
const NO_KEYS: [(&str, &str); 3] = [("containers", "image"), ("initContainers", "image"), ("env", "value")];

/// The shape of a value, to be serialised.
pub struct Shape<'a> {
    value: &'a Value,
    /// The name of the field that it is the value of, or of the list that it is in.
    name: &'a str,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In an object, where it may have any value.
    Field,
    /// In a list.
    Item,
    /// In an object of a list, which it may tell from the others.
    Key,
}

impl<'a> Shape<'a> {
    /// Of a whole object.
    pub const fn of(value: &'a Value) -> Self {
        Self { value, name: "", place: Place::Field }
    }

    fn field(&self, name: &'a str, value: &'a Value) -> Self {
        let may_be_key = self.place == Place::Item && !NO_KEYS.contains(&(self.name, name));
        Self { value, name, place: if may_be_key { Place::Key } else { Place::Field } }
    }
}

impl Serialize for Shape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Object(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, self.field(name, value)))),
            Value::Array(items) => serializer.collect_seq(items.iter().map(|value| Self { value, name: self.name, place: Place::Item })),
            value if self.place != Place::Field => value.serialize(serializer),
            _ => serializer.serialize_unit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::digest;
    use serde_json::json;

    fn is_same(path: &str, value: Value) -> bool {
        let before = json!({
            "metadata": {"labels": {"a": "b"}, "finalizers": ["f"]}, "data": {"TIME_ZONE": "UTC"},
            "spec": {
                "replicas": 1,
                "containers": [{
                    "name": "web", "image": "a:1", "args": ["serve"], "ports": [{"containerPort": 80}], "resources": {"limits": {"memory": "1Gi"}},
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                }],
                "tolerations": [{"key": "k", "value": "v"}],
            },
        });
        let mut after = before.clone();
        *after.pointer_mut(path).unwrap() = value;
        digest::of(&Shape::of(&before)) == digest::of(&Shape::of(&after))
    }

    #[test]
    fn another_value_is_no_other_shape() {
        for (path, value) in [
            ("/metadata/labels/a", json!("c")),
            ("/data/TIME_ZONE", json!("")),
            ("/spec/replicas", json!(2)),
            ("/spec/containers/0/image", json!("a:2")),
            ("/spec/containers/0/resources/limits/memory", json!("2Gi")),
            ("/spec/containers/0/env/0/value", json!("2")),
            ("/spec/containers/0/env/1/valueFrom/secretKeyRef/name", json!("t")),
        ] {
            assert!(is_same(path, value), "{path}");
        }
    }

    #[test]
    fn another_field_or_item_is() {
        for (path, value) in [
            ("/metadata/labels", json!({})),
            ("/metadata/labels", json!({"b": "b"})),
            ("/metadata/finalizers", json!([])),
            ("/metadata/finalizers/0", json!("g")),
            ("/data", json!({"TIME_ZONE": "UTC", "A": "1"})),
            ("/spec/replicas", json!({})),
            ("/spec/containers/0/name", json!("beat")),
            ("/spec/containers/0/args/0", json!("work")),
            ("/spec/containers/0/ports/0/containerPort", json!(81)),
            ("/spec/containers/0/env/0/name", json!("C")),
            ("/spec/containers/0/env/1", json!({"name": "B", "value": "1"})),
            ("/spec/tolerations/0/value", json!("w")),
        ] {
            assert!(!is_same(path, value), "{path}");
        }
    }
}
