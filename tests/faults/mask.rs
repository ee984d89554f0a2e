//! Takes out of a text what differs from run to run and means nothing: UIDs, times, digests, verifiers, the tenant's name.

/// The text without what is by chance.
pub fn mask(text: &str, names: &[(String, String)]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut word = String::new();
    for character in text.chars().chain([' ']) {
        if character.is_ascii_alphanumeric() || matches!(character, '-' | ':' | '+' | '$' | '=' | '/' | '.' | '_') {
            word.push(character);
        } else {
            let parts = || word.split('-').map(|part| kind_of(part).unwrap_or(part)).collect::<Vec<_>>().join("-");
            masked.push_str(&kind_of(&word).map_or_else(parts, str::to_owned));
            word.clear();
            masked.push(character);
        }
    }
    masked.pop();
    for (name, shown) in names {
        masked = masked.replace(name, shown);
    }
    masked
}

/// What a word is, where it is by chance.
fn kind_of(word: &str) -> Option<&'static str> {
    if word.starts_with("SCRAM-SHA-256$") {
        return Some("<verifier>");
    }
    let shape = |pattern: &str| {
        word.len() == pattern.len()
            && word.chars().zip(pattern.chars()).all(|(character, wanted)| match wanted {
                'x' => character.is_ascii_hexdigit(),
                '0' => character.is_ascii_digit(),
                wanted => character == wanted,
            })
    };
    if shape("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
        return Some("<uid>");
    }
    if word.len() >= 20 && word.get(..20).is_some_and(|begin| begin.ends_with('Z') || begin.ends_with('.')) && is_time(word) {
        return Some("<time>");
    }
    if matches!(word.len(), 10 | 16 | 32 | 64) && word.chars().all(|c| c.is_ascii_hexdigit()) && word.chars().any(|c| c.is_ascii_digit()) {
        return Some("<digest>");
    }
    None
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T' && bytes[13] == b':' && word.ends_with('Z')
}

#[test]
fn only_what_is_by_chance_is_masked() {
    let text = "{\"uid\":\"0b5c6d1e-1f9c-4f0d-a3c1-0123456789ab\",\"at\":\"2026-11-25T10:00:00Z\",\"name\":\"tenant-acme\",\"n\":\"3\"}";
    let names = [("acme".to_owned(), "T".to_owned())];
    assert_eq!(mask(text, &names), "{\"uid\":\"<uid>\",\"at\":\"<time>\",\"name\":\"tenant-T\",\"n\":\"3\"}");
}
