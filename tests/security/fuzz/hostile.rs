//! Texts and values by which programs have been broken.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// Each has broken something somewhere.
const TEXTS: [&str; 44] = [
    "",
    " ",
    ".",
    "..",
    "../",
    "/",
    "//",
    "\\",
    "\"",
    "'",
    "`",
    ";",
    "--",
    "-",
    "_",
    "*",
    "%",
    "%00",
    "\0",
    "\n",
    "\r\n",
    "\t",
    "\u{7f}",
    "\u{200b}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "ß",
    "İ",
    "🦀",
    "${",
    "${}",
    "$${",
    "$(",
    "$(A)",
    "{{",
    "}}",
    "~",
    "#",
    "?",
    "@",
    ":",
    "null",
    "2147483648",
];

/// A text: some of those, between letters, or anything at all; now and then a very long one.
pub fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![3 => select(TEXTS.as_slice()).prop_map(str::to_owned), 3 => "[a-z0-9]{1,8}", 1 => "\\PC{0,6}", 1 => any::<char>().prop_map(String::from)];
    prop_oneof![
        6 => vec(piece, 0..6).prop_map(|pieces| pieces.concat()),
        1 => ("[a-z.-]", 1usize..20_000).prop_map(|(letter, times)| letter.repeat(times)),
    ]
}

/// A text that is nearly of the form that is asked for: one with a piece of hostility somewhere in it.
pub fn nearly(form: &'static str) -> impl Strategy<Value = String> {
    let spoiled = (form, select(TEXTS.as_slice()), any::<prop::sample::Index>()).prop_map(
        |(mut text, piece, index): (String, &str, prop::sample::Index)| {
            let places: Vec<_> = (0..=text.len()).filter(|place| text.is_char_boundary(*place)).collect();
            text.insert_str(places[index.index(places.len())], piece);
            text
        },
    );
    prop_oneof![2 => form, 2 => spoiled, 1 => text()]
}

/// Any JSON, with hostile texts as keys and values.
pub fn json() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 48, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::Array),
            vec((text(), inner), 0..8).prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        select(vec![json!(0), json!(-1), json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), json!(1e308), json!(-0.0), json!(0.1)]),
        any::<i32>().prop_map(|number| json!(number)),
        text().prop_map(Value::String),
    ]
}

/// The value with one part of it changed: replaced by anything, taken out, doubled, or its key misspelt.
pub fn mutated(original: Value) -> impl Strategy<Value = Value> {
    let places = places(&original);
    (any::<prop::sample::Index>(), 0..5, json(), text()).prop_map(move |(index, how, value, text)| {
        let mut changed = original.clone();
        let place = &places[index.index(places.len())];
        let Some((parent, key)) = place.rsplit_once('/') else { return changed };
        let key = key.replace("~1", "/").replace("~0", "~");
        match (changed.pointer_mut(parent), how) {
            (Some(Value::Object(fields)), 0) => drop(fields.remove(&key)),
            (Some(Value::Object(fields)), 1) => {
                if let Some(known) = fields.remove(&key) {
                    fields.insert(text, known);
                }
            }
            (Some(Value::Object(fields)), 2) => drop(fields.insert(key, text.into())),
            (Some(Value::Object(fields)), _) => drop(fields.insert(key, value)),
            (Some(Value::Array(items)), 0) => drop(items.pop()),
            (Some(Value::Array(items)), 1) => items.extend(items.clone()),
            (Some(Value::Array(items)), 2) => items.push(text.into()),
            (Some(Value::Array(items)), _) => items.push(value),
            _ => {}
        }
        changed
    })
}

/// JSON pointers to every part.
fn places(value: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut walk = |prefix: String, inner: &Value| found.extend(places(inner).into_iter().map(|place| format!("{prefix}{place}")));
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, inner)| walk(format!("/{}", key.replace('~', "~0").replace('/', "~1")), inner))
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, inner)| walk(format!("/{index}"), inner)),
        _ => {}
    }
    found
}
