//! Names that can only be made valid: whoever holds one need not check it again.

use std::fmt;

/// Why a text is not such a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it is valid.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidName { text, what: $what }) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A tenant's name: a DNS label of at most 40 bytes, so that `tenant-<name>` and `tenant_<name>.<number>` fit everywhere.
    TenantName, "a tenant's name: at most 40 small letters, digits and hyphens", |t| t.len() <= 40 && is_dns_label(t)
);
name!(
    /// A host name in small letters: at most 253 bytes, of labels of at most 63.
    Host, "a host name of at most 253 characters, whose parts have at most 63", |t| t.len() <= 253 && t.split('.').all(is_dns_label)
);
name!(
    /// A version: an image's tag that is also a label's value.
    Version, "a version: at most 63 letters, digits, dots, hyphens and underscores", |t| t.len() <= 63
        && t.starts_with(|c: char| c.is_ascii_alphanumeric())
        && t.ends_with(|c: char| c.is_ascii_alphanumeric())
        && t.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
);

/// Whether the text is a label of the domain name system; see RFC 1123, section 2.1.
fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether the text is the name of most kinds of objects; see
/// [names](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names).
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// Whether the text is a label's value; see
/// [labels](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || Version::parse(text).is_ok()
}

impl TenantName {
    /// The namespace of the tenant's instance.
    pub fn namespace(&self) -> String {
        format!("{NAMESPACE_PREFIX}{self}")
    }

    /// The role that owns the tenant's data, which is also the name of its schema or database. Kubernetes names have no `_`, so no two collide.
    pub fn database_owner(&self) -> String {
        format!("tenant_{}", self.0.replace('-', "_"))
    }

    /// The tenant's login with this number. No owner's name has a dot, so no tenant's owner is called like another's login.
    pub fn database_login(&self, number: u32) -> String {
        format!("{}.{number}", self.database_owner())
    }
}

/// What the names of tenants' namespaces begin with.
pub const NAMESPACE_PREFIX: &str = "tenant-";

/// The number of a login made by [`TenantName::database_login`].
pub fn login_number(login: &str) -> Option<u32> {
    login.rsplit_once('.')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tenants_names_are_made_from_its_name() {
        let name = TenantName::parse("acme-west").unwrap();
        assert_eq!(name.namespace(), "tenant-acme-west");
        assert_eq!(name.database_owner(), "tenant_acme_west");
        assert_eq!(name.database_login(12), "tenant_acme_west.12");
        assert_eq!(login_number(&name.database_login(12)), Some(12));
        assert_eq!(login_number(&TenantName::parse("acme-1").unwrap().database_owner()), None);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "-a.com", "a-.com", "a..com", "A.com", "a.com/", "a.com:80", "*.a.com", &"a".repeat(64), &"a.".repeat(127)] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
        assert!(Host::parse("projects.acme.com").is_ok());
    }

    proptest! {
        #[test]
        fn every_name_of_a_tenant_fits_into_postgres_and_kubernetes(name in "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", number in 1u32..) {
            let name = TenantName::parse(name).unwrap();
            prop_assert!(name.database_login(number).len() <= 63);
            prop_assert!(is_dns_label(&name.namespace()));
        }
    }
}
