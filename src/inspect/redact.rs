//! Takes secrets out of what is given away: pure, for reports that are mailed to people who may know none.
//!
//! Three nets, one behind the other: what an object is known to hold secrets in is masked whatever it says; then every value that is known to be secret,
//! wherever it turns up, also encoded; then what looks like a secret. A word that is in no Secret and looks like any other can't be told from it.

use crate::api::labels;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use regex::{Captures, Regex};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// What stands where a secret was.
pub const MASK: &str = "[secret]";

/// A known value shorter than this is a word like any other, such as a port or a database's name.
const SHORTEST: usize = 6;

/// How long a word is at least that is taken for a random one, and how many bits each of its characters tells at least.
const LONG: usize = 20;
const RANDOM: f64 = 3.5;

/// What has a form of its own: the whole match goes, or, where there is a group `secret`, that.
static FORMS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // Private keys and certificates' requests in PEM.
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\z)",
        // The user's part of a URL.
        r"[A-Za-z][A-Za-z0-9+.-]*://(?P<secret>[^/\s@\x22']+)@",
        // HTTP's header.
        r"(?i)\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9._~+/=-]{8,})",
        r"(?i)\b(?:set-)?cookie[\x22']?\s*[:=]\s*[\x22']?(?P<secret>[^\x22'\r\n]+)",
        // A word that says so, and what follows it: of an environment, a flag, JSON or a sentence of a log.
        r"(?i)[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization|dsn|salt)[\w.-]*[\x22']?\s*(?:[:=]|=>|\s(?:is|was)\s)\s*(?P<secret>\x22(?:[^\x22\\]|\\.)*\x22|'(?:[^'\\]|\\.)*'|[^\s,;&\x22']+)",
        r"(?i)--?[\w-]*(?:password|secret|token|key|credential)[\w-]*\s+(?P<secret>[^\s-]\S*)",
        // JSON Web Tokens.
        r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*",
        // Tokens that their issuers gave a beginning to be known by.
        r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}",
        r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abposr]-|sk_live_|sk_test_|rk_live_|whsec_|AIza|ya29\.|SG\.|npm_|dckr_pat_|hvs\.|pypi-)[A-Za-z0-9_.-]{8,}",
    ]
    .map(pattern)
    .into()
});

/// Words of which a random one may consist.
static WORDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z0-9_+=-]+"));

/// A pattern of this file. One that were left out because it is wrong would let secrets through.
#[allow(clippy::expect_used)] // each is a constant, and a test meets them all
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a regular expression")
}

/// Annotations that repeat a whole manifest.
const COPIES: [&str; 2] = [labels::LAST_APPLIED, "meta.helm.sh/last-applied"];

/// Knows what is secret.
#[derive(Default)]
pub struct Redactor {
    /// The longest first: one may be a part of another.
    values: Vec<String>,
}

impl Redactor {
    /// One that knows these values, and what they look like encoded.
    pub fn new(secrets: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut values = BTreeSet::new();
        for secret in secrets {
            let Ok(text) = String::from_utf8(secret) else { continue };
            // A file of several lines may be logged line by line.
            for part in std::iter::once(text.trim()).chain(text.lines().map(str::trim)).filter(|part| part.len() >= SHORTEST) {
                values.extend([part.to_owned(), STANDARD.encode(part), URL_SAFE_NO_PAD.encode(part), percent_encoded(part)]);
                values.insert(serde_json::to_string(part).unwrap_or_default().trim_matches('"').to_owned());
            }
            values.insert(STANDARD.encode(&text));
        }
        let mut values: Vec<_> = values.into_iter().filter(|value| value.len() >= SHORTEST).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { values }
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.contains(value.as_str()) {
                text = text.replace(value, MASK);
            }
        }
        for form in FORMS.iter() {
            let mask = |found: &Captures<'_>| {
                let whole = found.get(0).map_or("", |whole| whole.as_str());
                match (found.get(0), found.name("secret")) {
                    (Some(outer), Some(inner)) => {
                        let (before, after) = (inner.start() - outer.start(), inner.end() - outer.start());
                        format!("{}{MASK}{}", &whole[..before], &whole[after..])
                    }
                    _ => MASK.to_owned(),
                }
            };
            if form.is_match(&text) {
                text = form.replace_all(&text, mask).into_owned();
            }
        }
        WORDS.replace_all(&text, |found: &Captures<'_>| without_random(&found[0])).into_owned()
    }

    /// The object as it may be given away: names and structure stay.
    pub fn object(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.retain(|name, _| !COPIES.contains(&name.as_str()));
            }
        }
        match object["kind"].as_str() {
            Some("Secret" | "ConfigMap") => {
                for part in ["data", "stringData", "binaryData"] {
                    object.get_mut(part).into_iter().for_each(mask_all);
                }
            }
            Some("Tenant") => object.pointer_mut("/spec/settings").into_iter().for_each(mask_all),
            Some("Blueprint") => {
                let settings = object.pointer_mut("/spec/settings").and_then(Value::as_array_mut).into_iter().flatten();
                settings.for_each(|setting| mask_field(setting, "default"));
            }
            _ => {}
        }
        self.within(&mut object);
        object
    }

    fn within(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => {
                mask_after_flags(items);
                items.iter_mut().for_each(|item| self.within(item));
            }
            Value::Object(fields) => {
                // A container's variables, as a list with names, and a blueprint's, as a map.
                if let Some(variables) = fields.get_mut("env") {
                    let of_operator = |variable: &&mut Value| variable["name"] == "TENANT_VERSION";
                    let others = variables.as_array_mut().into_iter().flatten().filter(|variable| !of_operator(variable));
                    others.for_each(|variable| mask_field(variable, "value"));
                    if variables.is_object() {
                        mask_all(variables);
                    }
                }
                mask_words(fields);
                fields.values_mut().for_each(|field| self.within(field));
            }
            _ => {}
        }
    }
}

/// Masks the values of a map.
fn mask_all(map: &mut Value) {
    for value in map.as_object_mut().into_iter().flat_map(Map::values_mut) {
        *value = MASK.into();
    }
}

/// Masks a field, where it is there.
fn mask_field(map: &mut Value, field: &str) {
    if let Some(value) = map.get_mut(field).filter(|value| !value.is_null()) {
        *value = MASK.into();
    }
}

/// Masks the words of a command that follow a flag whose name says that they are secret.
fn mask_after_flags(words: &mut [Value]) {
    static FLAGS: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^--?[\w-]*(passw(or)?d|secret|token|key|credential|dsn)[\w-]*$"));
    let is_flag = |word: &Value| word.as_str().is_some_and(|word| FLAGS.is_match(word));
    for at in 1..words.len() {
        if is_flag(&words[at - 1]) && words[at].is_string() {
            words[at] = MASK.into();
        }
    }
}

/// Masks texts of fields whose name says that they are secret.
fn mask_words(fields: &mut Map<String, Value>) {
    static NAMES: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"(?i)(passw(or)?d|passphrase|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization|token)$")
    });
    for (name, value) in fields.iter_mut() {
        if value.is_string() && NAMES.is_match(name) {
            *value = MASK.into();
        }
    }
}

/// The word, unless it looks random: long, of small and capital letters and digits, with nearly no two the same.
fn without_random(word: &str) -> String {
    let has = |is: fn(&char) -> bool| word.chars().any(|character| is(&character));
    let is_mixed = has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit);
    if word.len() >= LONG && is_mixed && bits(word) >= RANDOM { MASK.to_owned() } else { word.to_owned() }
}

/// How much each character of a word tells, in bits; see Shannon, A Mathematical Theory of Communication (1948).
fn bits(word: &str) -> f64 {
    let length = word.len() as f64;
    let letters: BTreeSet<_> = word.bytes().collect();
    let share = |letter: &u8| word.bytes().filter(|other| other == letter).count() as f64 / length;
    letters.iter().map(share).map(|share| -share * share.log2()).sum()
}

/// As in a URL; see RFC 3986, section 2.1.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_looks_like_a_secret_goes_and_what_tells_something_stays() {
        let redactor = Redactor::default();
        let cases = [
            ("connecting to postgresql://tenant_acme.1:hunter22@db:5432/shared", "connecting to postgresql://[secret]@db:5432/shared"),
            ("DATABASE_PASSWORD=hunter22 DEBUG=1", "DATABASE_PASSWORD=[secret] DEBUG=1"),
            ("{\"api_key\": \"abc def\", \"port\": 80}", "{\"api_key\": [secret], \"port\": 80}"),
            ("--admin-password hunter22 --port 80", "--admin-password [secret] --port 80"),
            ("Authorization: Bearer abcdefgh.ijk", "Authorization: [secret] [secret]"),
            ("the token is tr0ub4dor", "the token is [secret]"),
            ("key AKIAIOSFODNN7EXAMPLE", "key [secret]"),
            ("glpat-abcDEF12345678", "[secret]"),
            ("a eyJhbGciOiJI.eyJzdWIiOiIx.c2ln b", "a [secret] b"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "[secret]"),
            ("value q7Zp2LxV9sKd3mTbR8wY", "value [secret]"),
        ];
        for (text, expected) in cases {
            assert_eq!(redactor.text(text), expected);
        }
        let harmless = [
            "image registry.example.com/planner@sha256:6d2a8b5d3e1f4c7a9b0d2e4f6a8c0e2d4f6a8c0e2d4f6a8c0e2d4f6a8c0e2d4f",
            "pod web-7d9f8c6b5-x2x4z of tenant-acme at 2026-11-25T10:00:00Z, uid 3f2a9c1e-77aa-4c1b-9d1e-0a1b2c3d4e5f",
            "relation \"board_table\" doesn't exist (psycopg.errors.UndefinedTable)",
            "failed to pull image: manifest unknown",
        ];
        for text in harmless {
            assert_eq!(redactor.text(text), text);
        }
    }

    #[test]
    fn an_object_keeps_its_names_and_loses_its_values() {
        let redactor = Redactor::new([b"open-sesame".to_vec()]);
        let secret =
            redactor.object(&json!({"kind": "Secret", "metadata": {"name": "s", "managedFields": [1]}, "data": {"a": "b3Blbg=="}}));
        assert_eq!(secret, json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "[secret]"}}));
        let pod = json!({"kind": "Pod", "spec": {"containers": [{"env": [{"name": "A", "value": "plain"}, {"name": "B", "valueFrom": {}}], "command": ["run", "open-sesame", "--token", "abc"]}]}});
        let container = &redactor.object(&pod)["spec"]["containers"][0];
        assert_eq!(container["env"], json!([{"name": "A", "value": "[secret]"}, {"name": "B", "valueFrom": {}}]));
        assert_eq!(container["command"], json!(["run", "[secret]", "--token", "[secret]"]));
    }

    proptest! {
        /// Whatever a known secret is, and however it is written down, it is not there afterwards.
        #[test]
        fn a_known_secret_is_never_there(secret in "[ -~]{6,60}", before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            let redactor = Redactor::new([secret.clone().into_bytes()]);
            let secret = secret.trim();
            prop_assume!(secret.len() >= SHORTEST);
            let forms = [secret.to_owned(), STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret), percent_encoded(secret)];
            for form in forms {
                let told = redactor.text(&format!("{before}{form}{after}"));
                prop_assert!(!told.contains(&form) || MASK.contains(&form), "{form} in {told}");
            }
        }
    }
}
