//! When the certificates end by which a tenant's visitors are served: those of [cert-manager](https://cert-manager.io/docs/reference/api-docs/), which
//! tells that where anybody may read it.

use super::foreign;
use jiff::{SignedDuration, Timestamp};
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};

/// Those of a namespace; none where there is no cert-manager, or they may not be read.
pub async fn of_namespace(client: &Client, namespace: &str) -> Vec<DynamicObject> {
    let kind = foreign::resource("cert-manager.io", "Certificate", "certificates");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
}

/// How long it is of use, in words.
pub fn sentence(certificate: &DynamicObject, now: Timestamp) -> String {
    let name = certificate.name_any();
    let end = certificate.data["status"]["notAfter"].as_str().and_then(|end| end.parse::<Timestamp>().ok());
    let problem = foreign::holds(certificate, "Ready").err();
    match (end, problem) {
        (Some(end), _) if end <= now => format!("{name} ended at {end}"),
        (Some(end), problem) => {
            let left = end.duration_since(now);
            let left = if left < SignedDuration::from_hours(48) {
                format!("{} h", left.as_hours())
            } else {
                format!("{} days", left.as_hours() / 24)
            };
            let problem = problem.map(|why| format!("; no next one comes: {why}")).unwrap_or_default();
            format!("{name} until {end}, {left} left{problem}")
        }
        (None, Some(why)) => format!("{name} isn't there yet: {why}"),
        (None, None) => format!("{name}, which doesn't say when it ends"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_end_is_told_with_what_is_left_and_what_is_in_the_way() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let told = |end: Option<&str>, ready: &str| {
            let condition = json!({"type": "Ready", "status": ready, "message": "the issuer says no"});
            let status = json!({"notAfter": end, "conditions": [condition]});
            let whole = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "tls"}, "status": status});
            sentence(&serde_json::from_value(whole).unwrap(), now)
        };
        assert_eq!(told(Some("2027-01-29T12:00:00Z"), "True"), "tls until 2027-01-29T12:00:00Z, 60 days left");
        assert_eq!(
            told(Some("2026-12-01T13:30:00Z"), "False"),
            "tls until 2026-12-01T13:30:00Z, 25 h left; no next one comes: the issuer says no"
        );
        assert_eq!(told(Some("2026-11-30T11:00:00Z"), "True"), "tls ended at 2026-11-30T11:00:00Z");
        assert_eq!(told(None, "False"), "tls isn't there yet: the issuer says no");
    }
}
