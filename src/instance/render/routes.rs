//! How visitors come in: an Ingress, or HTTPRoutes of the Gateway API.

use super::{Kind, Object, metadata};
use crate::api::blueprint::{Gateway, Ingress as IngressSettings};
use crate::instance::names::Host;
use crate::instance::{Instance, RoutingKind};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, IngressTLS,
    ServiceBackendPort,
};
use serde_json::{Value, json};

/// The Ingress, the HTTPRoute and the certificate's Secret are called this.
const NAME: &str = "instance";
/// The most host names that one HTTPRoute takes; see the [API](https://gateway-api.sigs.k8s.io/reference/spec/#httproutespec).
const HOSTS_OF_A_ROUTE: usize = 16;

/// All routes of the instance.
pub fn routes(instance: &Instance) -> Vec<Object> {
    match instance.routing.as_ref().map(|routing| &routing.kind) {
        Some(RoutingKind::Ingress(settings)) => vec![ingress(instance, settings)],
        Some(RoutingKind::Gateway(gateway)) => {
            instance.hosts.chunks(HOSTS_OF_A_ROUTE).enumerate().map(|(index, hosts)| http_route(instance, gateway, index, hosts)).collect()
        }
        None => Vec::new(),
    }
}

/// The exposed paths, the longest first, each with its component and port.
fn paths(instance: &Instance) -> Vec<(&str, &str, u16)> {
    let mut paths: Vec<_> = instance
        .components
        .iter()
        .filter_map(|c| Some((c.spec.expose.as_ref()?.path.as_str(), c.spec.name.as_str(), c.spec.port?)))
        .collect();
    paths.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(b.0)));
    paths
}

fn ingress(instance: &Instance, settings: &IngressSettings) -> Object {
    let mut metadata = metadata(instance, NAME, None);
    let mut annotations = settings.annotations.clone();
    if let Some(issuer) = settings.tls.as_ref().and_then(|tls| tls.cluster_issuer.clone()) {
        annotations.insert("cert-manager.io/cluster-issuer".to_owned(), issuer);
    }
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let backend = |component: &str, port: u16| IngressBackend {
        service: Some(IngressServiceBackend {
            name: component.to_owned(),
            port: Some(ServiceBackendPort { number: Some(port.into()), name: None }),
        }),
        resource: None,
    };
    let rule = |host: &Host| IngressRule {
        host: Some(host.to_string()),
        http: Some(HTTPIngressRuleValue {
            paths: paths(instance)
                .into_iter()
                .map(|(path, component, port)| HTTPIngressPath {
                    path: Some(path.to_owned()),
                    path_type: "Prefix".to_owned(),
                    backend: backend(component, port),
                })
                .collect(),
        }),
    };
    let ingress = Ingress {
        metadata: metadata.clone(),
        spec: Some(IngressSpec {
            ingress_class_name: settings.class_name.clone(),
            rules: Some(instance.hosts.iter().map(rule).collect()),
            tls: settings.tls.as_ref().map(|tls| {
                vec![IngressTLS {
                    hosts: Some(instance.hosts.iter().map(Host::to_string).collect()),
                    secret_name: (!tls.wildcard).then(|| format!("{NAME}-tls")),
                }]
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    Object::new(Kind::INGRESS, &metadata, &ingress)
}

/// Drawn as JSON: the Gateway API is no part of Kubernetes' own types.
fn http_route(instance: &Instance, gateway: &Gateway, index: usize, hosts: &[Host]) -> Object {
    let name = if index == 0 { NAME.to_owned() } else { format!("{NAME}-{}", index + 1) };
    let metadata = metadata(instance, &name, None);
    let mut parent = json!({
        "group": "gateway.networking.k8s.io", "kind": "Gateway",
        "name": gateway.parent_ref.name, "namespace": gateway.parent_ref.namespace,
    });
    if let Some(section) = &gateway.parent_ref.section_name {
        parent["sectionName"] = section.clone().into();
    }
    let rules: Vec<Value> = paths(instance)
        .into_iter()
        .map(|(path, component, port)| {
            json!({
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "backendRefs": [{"group": "", "kind": "Service", "name": component, "port": port, "weight": 1}],
            })
        })
        .collect();
    let hosts: Vec<_> = hosts.iter().map(Host::as_str).collect();
    let spec = json!({"parentRefs": [parent], "hostnames": hosts, "rules": rules});
    Object::from_parts(Kind::HTTP_ROUTE, metadata, serde_json::Map::from_iter([("spec".to_owned(), spec)]))
}
