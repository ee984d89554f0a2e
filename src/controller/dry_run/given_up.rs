//! What an apply takes out of an object: the fields that its manager set before and doesn't set now, and that nobody else has set. See
//! [Server-Side Apply](https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management) and, for the form of the fields,
//! [FieldsV1](https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.34/#fieldsv1-v1-meta).

use serde_json::Value;

/// Takes them out of what is there. What was set by default goes as well; the API server sets it again. `owned` are the fields that the manager set, `others` those of all others, `wanted` what it sets now.
pub fn give_up(owned: &Value, others: &[&Value], wanted: Option<&Value>, there: &mut Value) {
    // The last items first: to take one out moves those behind it.
    let mut fields: Vec<_> = owned.as_object().into_iter().flatten().filter(|(name, _)| *name != ".").collect();
    fields.sort_by_key(|(name, _)| std::cmp::Reverse(place(there, name)));
    for (name, fields) in fields {
        let others: Vec<_> = others.iter().filter_map(|other| other.get(name)).collect();
        let wanted = wanted.and_then(|wanted| place(wanted, name).and_then(|place| place.of(wanted)));
        let Some(place) = place(there, name) else { continue };
        let is_leaf = fields.as_object().is_none_or(|fields| fields.is_empty());
        match wanted {
            None if others.is_empty() => place.take_out_of(there),
            Some(_) if is_leaf => {}
            wanted => {
                if let Some(there) = place.of_mut(there) {
                    give_up(fields, &others, wanted, there);
                }
            }
        }
    }
}

/// Where in an object or a list something is.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Field(String),
    Item(usize),
}

impl Place {
    fn of<'a>(&self, whole: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Field(name) => whole.get(name),
            Self::Item(index) => whole.get(index),
        }
    }

    fn of_mut<'a>(&self, whole: &'a mut Value) -> Option<&'a mut Value> {
        match self {
            Self::Field(name) => whole.get_mut(name),
            Self::Item(index) => whole.get_mut(index),
        }
    }

    fn take_out_of(&self, whole: &mut Value) {
        match (self, whole) {
            (Self::Field(name), Value::Object(fields)) => {
                fields.remove(name);
            }
            (Self::Item(index), Value::Array(items)) => {
                items.remove(*index);
            }
            _ => {}
        }
    }
}

/// What a name of FieldsV1 means: a field, the item of a list that has these keys, or the item that is this value.
fn place(whole: &Value, name: &str) -> Option<Place> {
    let (kind, rest) = name.split_once(':')?;
    let item = |is: &dyn Fn(&Value) -> bool| whole.as_array()?.iter().position(is).map(Place::Item);
    match kind {
        "f" => whole.get(rest).map(|_| Place::Field(rest.to_owned())),
        "k" => {
            let keys: Value = serde_json::from_str(rest).ok()?;
            let has_default = |key: &str, value: &Value| key == "protocol" && value == "TCP";
            let has =
                |item: &Value, key: &str, value: &Value| item.get(key).map_or_else(|| has_default(key, value), |found| found == value);
            item(&|item| keys.as_object().is_some_and(|keys| keys.iter().all(|(key, value)| has(item, key, value))))
        }
        "v" => {
            let value: Value = serde_json::from_str(rest).ok()?;
            item(&|item| *item == value)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn owned() -> Value {
        json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}, "f:b": {}}, "f:finalizers": {".": {}, "v:\"x\"": {}, "v:\"y\"": {}}},
               "f:spec": {"f:containers": {
                   "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}, "f:env": {"k:{\"name\":\"A\"}": {}, "k:{\"name\":\"B\"}": {}}},
                   "k:{\"name\":\"aside\"}": {".": {}, "f:name": {}}},
                   "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}}}}})
    }

    fn there() -> Value {
        json!({"metadata": {"labels": {"a": "1", "b": "2", "theirs": "3"}, "finalizers": ["x", "y", "z"]},
               "spec": {"containers": [{"name": "aside"}, {"name": "web", "image": "i", "env": [{"name": "A"}, {"name": "B"}, {"name": "C"}]}],
                        "ports": [{"port": 80, "protocol": "TCP"}]}})
    }

    #[test]
    fn what_is_no_longer_wanted_goes_and_what_others_added_stays() {
        let wanted = json!({"metadata": {"labels": {"a": "1"}, "finalizers": ["y"]},
                            "spec": {"containers": [{"name": "web", "image": "i", "env": [{"name": "B"}]}], "ports": [{"port": 80}]}});
        let mut object = there();
        give_up(&owned(), &[], Some(&wanted), &mut object);
        let left = json!({"metadata": {"labels": {"a": "1", "theirs": "3"}, "finalizers": ["y", "z"]},
                          "spec": {"containers": [{"name": "web", "image": "i", "env": [{"name": "B"}, {"name": "C"}]}], "ports": [{"port": 80}]}});
        assert_eq!(object, left, "the protocol is known by its default");
    }

    #[test]
    fn what_somebody_else_has_set_too_stays() {
        let others =
            json!({"f:metadata": {"f:labels": {"f:b": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"aside\"}": {"f:name": {}}}}});
        let mut object = there();
        give_up(
            &owned(),
            &[&others],
            Some(&json!({"metadata": {"labels": {"a": "1"}, "finalizers": ["x", "y"]}, "spec": {"ports": [{"port": 80}]}})),
            &mut object,
        );
        assert_eq!(object["metadata"]["labels"], json!({"a": "1", "b": "2", "theirs": "3"}));
        assert_eq!(object["spec"]["containers"], json!([{"name": "aside"}]));
    }

    #[test]
    fn what_is_all_wanted_stays_as_it_is() {
        let mut object = there();
        give_up(&owned(), &[], Some(&there()), &mut object);
        assert_eq!(object, there());
    }
}
