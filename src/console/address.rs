//! The name of a new tenant, which is the first part of its address: what a customer's name proposes, and whether it can be had.

use super::fleet::Row;
use crate::instance::names::{Host, TenantName};
use deunicode::deunicode;
use std::sync::Arc;

/// A proposal should be quick to say on the phone.
const PROPOSED_CHARACTERS: usize = 30;
const SUGGESTIONS: usize = 3;

/// What mail, browsers and people expect to be something else than a customer. Not complete, and need not be: an admin can make any tenant by its manifest.
const RESERVED: [&str; 40] = [
    "abuse",
    "admin",
    "api",
    "app",
    "assets",
    "autoconfig",
    "autodiscover",
    "billing",
    "blog",
    "cdn",
    "console",
    "dev",
    "dns",
    "docs",
    "ftp",
    "help",
    "imap",
    "login",
    "mail",
    "mta-sts",
    "mx",
    "news",
    "ns1",
    "ns2",
    "pop",
    "postmaster",
    "root",
    "security",
    "shop",
    "smtp",
    "sso",
    "staging",
    "static",
    "status",
    "support",
    "test",
    "vpn",
    "webmail",
    "wpad",
    "www",
];

/// How a company is registered says nothing of how it is called.
const LEGAL_FORMS: [&str; 18] =
    ["ag", "bv", "co", "corp", "ev", "gmbh", "inc", "kg", "kgaa", "limited", "llc", "ltd", "mbh", "plc", "sa", "sarl", "se", "ug"];

/// Whether a name can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can.
    Free,
    /// Nothing was typed yet.
    Empty,
    /// It is no name, or makes no address.
    Malformed(String),
    /// It means something else to mail, browsers or people.
    Reserved,
    /// Somebody has it.
    Taken(String),
    /// The cluster refuses it, for this reason.
    Refused(String),
    /// It can be had, and is easily taken for this one.
    LooksLike(String),
}

impl Verdict {
    /// Whether a tenant of this name can be made.
    pub fn is_free(&self) -> bool {
        matches!(self, Self::Free | Self::LooksLike(_))
    }
}

/// Judges a name, among the tenants that there are.
pub fn judge(name: &str, base_domain: &str, tenants: &[Arc<Row>]) -> Verdict {
    if name.is_empty() {
        return Verdict::Empty;
    }
    let host = match (TenantName::parse(name), Host::parse(format!("{name}.{base_domain}"))) {
        (Ok(_), Ok(host)) => host,
        (Err(error), _) | (_, Err(error)) => return Verdict::Malformed(error.to_string()),
    };
    if RESERVED.contains(&name) {
        return Verdict::Reserved;
    }
    let has = |row: &&Arc<Row>| row.name == name || row.hosts.iter().any(|known| known == host.as_str());
    if let Some(row) = tenants.iter().find(has) {
        return Verdict::Taken(row.customer.clone());
    }
    let look = look_of(name);
    let alike = tenants.iter().find(|row| row.look == look);
    alike.map_or(Verdict::Free, |row| Verdict::LooksLike(row.name.clone()))
}

/// The name as a hurried reader sees it: what looks the same is the same. Of [UTS 39](https://www.unicode.org/reports/tr39/#Confusable_Detection), as far as
/// it concerns the letters that a name can have.
pub fn look_of(name: &str) -> String {
    let seen = name.replace("rn", "m").replace("vv", "w").replace("cl", "d");
    seen.chars()
        .filter(|character| *character != '-')
        .map(|character| match character {
            '0' => 'o',
            '1' | 'i' => 'l',
            '5' => 's',
            '8' => 'b',
            other => other,
        })
        .collect()
}

/// What a customer's name proposes: `Müller & Söhne GmbH` is `mueller-soehne`.
pub fn proposal(customer: &str) -> String {
    let german = customer.to_lowercase().replace('ä', "ae").replace('ö', "oe").replace('ü', "ue").replace('ß', "ss");
    let ascii = deunicode(&german).to_lowercase().replace(['\'', '.'], "");
    let words: Vec<_> = ascii.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let called: Vec<_> = words.iter().filter(|word| !LEGAL_FORMS.contains(word)).copied().collect();
    let mut name = String::new();
    for word in if called.is_empty() { words } else { called } {
        let longer = if name.is_empty() { word.to_owned() } else { format!("{name}-{word}") };
        if longer.len() > PROPOSED_CHARACTERS && !name.is_empty() {
            break;
        }
        name = longer;
    }
    name.truncate(PROPOSED_CHARACTERS);
    name.trim_end_matches('-').to_owned()
}

/// Names near to one that can't be had.
pub fn suggestions(name: &str, base_domain: &str, tenants: &[Arc<Row>]) -> Vec<String> {
    let stem = proposal(name);
    let stem = if stem.is_empty() { "customer".to_owned() } else { stem };
    let initials: String = stem.split('-').filter_map(|word| word.chars().next()).collect();
    let short = (initials.len() > 2).then_some(initials);
    let numbered = (2..100).map(|number| format!("{stem}-{number}"));
    let all = std::iter::once(stem.clone()).chain([format!("{stem}-online"), format!("get-{stem}")]).chain(short).chain(numbered);
    all.filter(|name| judge(name, base_domain, tenants) == Verdict::Free).take(SUGGESTIONS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenants(names: &[&str]) -> Vec<Arc<Row>> {
        names.iter().map(|name| Arc::new(Row::named(name))).collect()
    }

    #[test]
    fn a_customers_name_proposes_what_can_be_said() {
        for (customer, name) in [
            ("ACME Construction, Inc.", "acme-construction"),
            ("Müller & Söhne GmbH & Co. KG", "mueller-soehne"),
            ("Société Générale S.A.", "societe-generale"),
            ("O'Brien's Pub", "obriens-pub"),
            ("東京", "dong-jing"),
            ("AG", "ag"),
            ("!!!", ""),
            ("A very long name of a company that goes on and on", "a-very-long-name-of-a-company"),
        ] {
            assert_eq!(proposal(customer), name, "{customer}");
        }
    }

    #[test]
    fn a_name_is_judged_as_it_is_typed() {
        let all = tenants(&["acme", "globex", "modern"]);
        let judged = |name: &str| judge(name, "example.com", &all);
        assert_eq!(judged(""), Verdict::Empty);
        assert_eq!(judged("hooli"), Verdict::Free);
        assert_eq!(judged("acme"), Verdict::Taken("Customer acme".to_owned()));
        assert_eq!(judged("www"), Verdict::Reserved);
        for alike in ["g1obex", "gl0bex", "glo-bex", "acrne"] {
            assert!(matches!(judged(alike), Verdict::LooksLike(_)), "{alike}");
        }
        for wrong in ["Acme", "acme.", "-acme", "ac me", &"a".repeat(41)] {
            assert!(matches!(judged(wrong), Verdict::Malformed(_)), "{wrong}");
        }
        assert_eq!(suggestions("acme", "example.com", &all), ["acme-online", "get-acme", "acme-2"]);
        assert_eq!(suggestions("Acme West", "example.com", &all)[0], "acme-west");
    }

    #[test]
    fn reserved_names_are_in_order() {
        assert!(RESERVED.is_sorted() && LEGAL_FORMS.is_sorted());
    }

    proptest! {
        #[test]
        fn what_is_proposed_or_suggested_can_be_a_name(customer in "\\PC{0,60}") {
            let name = proposal(&customer);
            prop_assert!(name.is_empty() || TenantName::parse(name.as_str()).is_ok(), "{}", name);
            for name in suggestions(&customer, "example.com", &tenants(&["acme"])) {
                prop_assert!(TenantName::parse(name).is_ok());
            }
        }
    }
}
