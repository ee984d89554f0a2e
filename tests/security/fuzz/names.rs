//! Names, hosts, versions, kinds and quantities: what passes can be put into a path, a label, a host header, an image and an identifier as it is.

use super::fuzz;
use super::hostile::{nearly, text};
use proptest::prelude::*;
use tenantry::api::shared::Amount;
use tenantry::instance::names::{Host, TenantName, Version, is_dns_subdomain, is_label_value, login_number};
use tenantry::instance::quantity;
use tenantry::instance::render::Kind;

fn plain(text: &str, more: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.as_bytes().contains(&byte))
}

#[test]
fn whatever_passes_for_a_tenants_name_is_one_in_kubernetes_and_in_postgres() {
    fuzz(&nearly("[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?"), |text| {
        let Ok(name) = TenantName::parse(text.as_str()) else { return Ok(()) };
        prop_assert_eq!(name.as_str(), text.as_str());
        let (namespace, owner, login) = (name.namespace(), name.database_owner(), name.database_login(u32::MAX));
        prop_assert!(plain(&namespace, "-") && namespace.len() <= 63 && !namespace.ends_with('-') && namespace.starts_with("tenant-"));
        prop_assert!(plain(&owner, "_") && owner.starts_with("tenant_") && owner.len() <= 63);
        prop_assert!(plain(&login, "_.") && login.len() <= 63 && login_number(&login) == Some(u32::MAX));
        // The way back is unique: no other tenant has the same names.
        prop_assert_eq!(owner["tenant_".len()..].replace('_', "-"), text);
        Ok(())
    });
}

#[test]
fn whatever_passes_for_a_host_has_no_path_port_space_or_line() {
    fuzz(&nearly("([a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\\.){0,5}[a-z]{1,20}"), |text| {
        let Ok(host) = Host::parse(text.as_str()) else { return Ok(()) };
        prop_assert_eq!(host.as_str(), text.as_str());
        prop_assert!(plain(&text, "-.") && !text.is_empty() && text.len() <= 253);
        prop_assert!(text.split('.').all(|label| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')));
        let url = format!("https://{text}/path").parse::<http::Uri>().map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!((url.host(), url.port(), url.path()), (Some(text.as_str()), None, "/path"));
        prop_assert!(http::HeaderValue::from_str(&text).is_ok());
        Ok(())
    });
}

#[test]
fn whatever_passes_for_a_version_is_a_tag_and_a_labels_value() {
    fuzz(&nearly("[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"), |text| {
        if Version::parse(text.as_str()).is_ok() {
            prop_assert!(is_label_value(&text) && (1..=63).contains(&text.len()));
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "it could end the tag: {text:?}");
        }
        prop_assert!(!is_dns_subdomain(&text) || (plain(&text, "-.") && text.len() <= 253));
        Ok(())
    });
}

#[test]
fn whatever_passes_for_a_kind_stays_within_its_place_in_a_path() {
    let parts =
        prop::collection::vec(prop_oneof![text(), nearly("[A-Z]?[a-z]{1,10}(\\.[a-z]{1,5})?")], 1..6).prop_map(|parts| parts.join("/"));
    let kinds = prop_oneof![parts, nearly("([a-z]{1,8}\\.example\\.com/)?v1/[A-Z][a-z]{1,10}(/[a-z]{1,10})?")];
    fuzz(&kinds, |text| {
        let Ok(kind) = text.parse::<Kind>() else { return Ok(()) };
        prop_assert!(kind.group.is_empty() || is_dns_subdomain(&kind.group), "{kind:?}");
        prop_assert!(kind.version.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !kind.version.is_empty(), "{kind:?}");
        prop_assert!(plain(&kind.plural, "") && !kind.plural.is_empty(), "{kind:?}");
        prop_assert!(kind.kind.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{kind:?}");
        Ok(())
    });
}

#[test]
fn a_quantity_keeps_its_amount_however_it_is_written() {
    fuzz(&nearly("([0-9]{1,15}|[0-9]{1,6}(\\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?)"), |text| {
        let canonical = quantity::canonical(&Amount(text.clone())).0;
        prop_assert_eq!(&quantity::canonical(&Amount(canonical.clone())).0, &canonical, "it has one form");
        prop_assert_eq!(quantity::thousandths(&canonical), quantity::thousandths(&text), "{} became {}", text, canonical);
        prop_assert!(canonical.len() <= text.len().max(40));
        Ok(())
    });
}
