//! How visitors come in: an Ingress, or HTTPRoutes of the Gateway API, with the listeners that they need.

use super::{Kind, Object, metadata};
use crate::api::blueprint::{Gateway, Ingress as IngressSettings};
use crate::instance::names::Host;
use crate::instance::{Instance, Routing, RoutingKind};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, IngressTLS,
    ServiceBackendPort,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The Ingress, the HTTPRoute and the ListenerSet are called this.
const NAME: &str = "instance";
/// The Secret of the certificate, which cert-manager makes.
const CERTIFICATE: &str = "instance-tls";
/// Tells cert-manager who signs the certificate; see [its documentation](https://cert-manager.io/docs/usage/ingress/).
const ISSUER: &str = "cert-manager.io/cluster-issuer";
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The most host names that one HTTPRoute takes; see the [API](https://gateway-api.sigs.k8s.io/reference/spec/#httproutespec).
const HOSTS_OF_A_ROUTE: usize = 16;

/// All routes of the instance.
pub fn routes(instance: &Instance) -> Vec<Object> {
    let Some(routing) = &instance.routing else { return Vec::new() };
    match &routing.kind {
        RoutingKind::Ingress(settings) => vec![ingress(instance, routing, settings)],
        RoutingKind::Gateway(gateway) => {
            let issuer = routing.tls.as_ref().and_then(|tls| tls.cluster_issuer.as_deref());
            let listeners = issuer.map(|issuer| listener_set(instance, routing, gateway, issuer));
            let parent = if listeners.is_some() { own_listeners() } else { gateway_listeners(gateway) };
            let routes = instance.hosts.chunks(HOSTS_OF_A_ROUTE).enumerate();
            listeners.into_iter().chain(routes.map(|(index, hosts)| http_route(instance, &parent, index, hosts))).collect()
        }
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

fn ingress(instance: &Instance, routing: &Routing, settings: &IngressSettings) -> Object {
    let mut metadata = metadata(instance, NAME, None);
    let mut annotations: BTreeMap<_, _> = settings.annotations.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
    if let Some(issuer) = routing.tls.as_ref().and_then(|tls| tls.cluster_issuer.clone()) {
        annotations.insert(ISSUER.to_owned(), issuer);
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
            tls: routing.tls.as_ref().map(|tls| {
                vec![IngressTLS {
                    hosts: Some(instance.hosts.iter().map(Host::to_string).collect()),
                    secret_name: (!tls.wildcard).then(|| CERTIFICATE.to_owned()),
                }]
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    Object::new(Kind::INGRESS, &metadata, &ingress)
}

/// The Gateway, as a route names its parent.
fn gateway_listeners(gateway: &Gateway) -> Value {
    let mut parent = gateway_reference(gateway);
    if let Some(section) = &gateway.parent_ref.section_name {
        parent["sectionName"] = section.clone().into();
    }
    parent
}

/// The instance's own listeners, as a route names its parent.
fn own_listeners() -> Value {
    json!({"group": GATEWAY_GROUP, "kind": "ListenerSet", "name": NAME})
}

fn gateway_reference(gateway: &Gateway) -> Value {
    json!({"group": GATEWAY_GROUP, "kind": "Gateway", "name": gateway.parent_ref.name, "namespace": gateway.parent_ref.namespace})
}

/// A listener with TLS for each host, added to the shared Gateway from the tenant's own namespace, where the certificate is too. Drawn as
/// JSON: the Gateway API is no part of Kubernetes' own types.
fn listener_set(instance: &Instance, routing: &Routing, gateway: &Gateway, issuer: &str) -> Object {
    let mut metadata = metadata(instance, NAME, None);
    metadata.annotations = Some(BTreeMap::from([(ISSUER.to_owned(), issuer.to_owned())]));
    let listeners: Vec<_> = instance
        .hosts
        .iter()
        .enumerate()
        .map(|(index, host)| {
            json!({
                "name": format!("https-{}", index + 1),
                "hostname": host.as_str(),
                "port": routing.port.unwrap_or(443),
                "protocol": "HTTPS",
                "tls": {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": CERTIFICATE}]},
                "allowedRoutes": {"namespaces": {"from": "Same"}},
            })
        })
        .collect();
    let spec = json!({"parentRef": gateway_reference(gateway), "listeners": listeners});
    Object::from_parts(Kind::LISTENER_SET, metadata, Map::from_iter([("spec".to_owned(), spec)]))
}

fn http_route(instance: &Instance, parent: &Value, index: usize, hosts: &[Host]) -> Object {
    let name = if index == 0 { NAME.to_owned() } else { format!("{NAME}-{}", index + 1) };
    let metadata = metadata(instance, &name, None);
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
    Object::from_parts(Kind::HTTP_ROUTE, metadata, Map::from_iter([("spec".to_owned(), spec)]))
}
