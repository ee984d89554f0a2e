//! Quoting, for statements that take no bound parameters; see
//! [Lexical Structure](https://www.postgresql.org/docs/current/sql-syntax-lexical.html).

/// The name as a quoted identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// The text as a literal that means the same whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let text = text.replace('\0', "").replace('\'', "''");
    if text.contains('\\') { format!(" E'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's \\"), " E'it''s \\\\'");
    }

    proptest! {
        #[test]
        fn no_text_ends_its_own_quotes(text in "\\PC*") {
            let inner = identifier(&text);
            prop_assert!(!inner[1..inner.len() - 1].replace("\"\"", "").contains('"'));
            let inner = literal(&text);
            let start = inner.find('\'').unwrap();
            let body = inner[start + 1..inner.len() - 1].replace("\\\\", "").replace("''", "");
            prop_assert!(!body.contains('\''));
        }
    }
}
