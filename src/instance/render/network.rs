//! Who may talk to an instance and to whom it may talk. Everything that isn't named here is denied.

use super::{Kind, Object, metadata};
use crate::api::labels;
use crate::api::shared::Peer;
use crate::instance::Instance;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// The name that every namespace carries as a label, set by the API server itself.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// All policies of the instance.
pub fn policies(instance: &Instance) -> Vec<Object> {
    let mut policies = vec![deny_all(instance), within_namespace(instance), dns(instance)];
    policies.extend(
        instance.components.iter().filter(|c| c.spec.expose.is_some()).filter_map(|c| visitors(instance, &c.spec.name, c.spec.port?)),
    );
    policies.extend(database(instance));
    policies.extend(allowed(instance));
    policies
}

/// Nothing in, nothing out, for every pod of the namespace.
fn deny_all(instance: &Instance) -> Object {
    policy(instance, "deny-all", LabelSelector::default(), Some(vec![]), Some(vec![]))
}

/// The parts of an instance reach one another.
fn within_namespace(instance: &Instance) -> Object {
    let here = || vec![NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..Default::default() }];
    policy(
        instance,
        "within-namespace",
        LabelSelector::default(),
        Some(vec![NetworkPolicyIngressRule { from: Some(here()), ports: None }]),
        Some(vec![NetworkPolicyEgressRule { to: Some(here()), ports: None }]),
    )
}

/// Where [NodeLocal DNSCache](https://kubernetes.io/docs/tasks/administer-cluster/nodelocaldns/) listens, on clusters that have it.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";

/// Names are resolved by the cluster's own DNS. Its pods listen on 53, or, where they may not, on 5353 (OpenShift).
fn dns(instance: &Instance) -> Object {
    let servers = NetworkPolicyPeer {
        namespace_selector: Some(matching(&[(NAMESPACE_NAME, "kube-system")])),
        pod_selector: Some(matching(&[("k8s-app", "kube-dns")])),
        ..Default::default()
    };
    let ports = ["UDP", "TCP"].iter().flat_map(|protocol| [53, 5353].map(|number| port(protocol, number))).collect();
    let cache = NetworkPolicyPeer { ip_block: Some(IPBlock { cidr: NODE_LOCAL_DNS.to_owned(), except: None }), ..Default::default() };
    egress(instance, "dns", vec![servers, cache], Some(ports))
}

/// Visitors come through the ingress controller to an exposed component. Where the blueprint doesn't say where that is, from anywhere.
fn visitors(instance: &Instance, component: &str, number: u16) -> Option<Object> {
    let from = instance.network.ingress_from.iter().map(peer).collect::<Vec<_>>();
    let rule = NetworkPolicyIngressRule { from: (!from.is_empty()).then_some(from), ports: Some(vec![port("TCP", number)]) };
    let pods = matching(&[(labels::COMPONENT, component)]);
    Some(policy(instance, &format!("visitors-{component}"), pods, Some(vec![rule]), None))
}

/// The tenant's database server.
fn database(instance: &Instance) -> Option<Object> {
    let database = instance.database.as_ref()?;
    Some(egress(instance, "database", database.peers.iter().map(peer).collect(), Some(vec![port("TCP", database.port)])))
}

/// What the blueprint allows.
fn allowed(instance: &Instance) -> Option<Object> {
    if instance.network.egress_to.is_empty() {
        return None;
    }
    let rules = instance
        .network
        .egress_to
        .iter()
        .map(|egress| NetworkPolicyEgressRule {
            to: Some(vec![peer(&egress.to)]),
            ports: (!egress.ports.is_empty()).then(|| egress.ports.iter().map(|number| port("TCP", *number)).collect()),
        })
        .collect();
    Some(policy(instance, "allowed", LabelSelector::default(), None, Some(rules)))
}

fn egress(instance: &Instance, name: &str, to: Vec<NetworkPolicyPeer>, ports: Option<Vec<NetworkPolicyPort>>) -> Object {
    let rule = NetworkPolicyEgressRule { to: (!to.is_empty()).then_some(to), ports };
    policy(instance, name, LabelSelector::default(), None, Some(vec![rule]))
}

/// A policy for the selected pods, in the directions for which it has rules.
fn policy(
    instance: &Instance,
    name: &str,
    pods: LabelSelector,
    ingress: Option<Vec<NetworkPolicyIngressRule>>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> Object {
    let types = [("Ingress", ingress.is_some()), ("Egress", egress.is_some())];
    let metadata = metadata(instance, name, None);
    let policy = NetworkPolicy {
        metadata: metadata.clone(),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(types.iter().filter(|(_, is)| *is).map(|(name, _)| (*name).to_owned()).collect()),
            ingress: ingress.filter(|rules| !rules.is_empty()),
            egress: egress.filter(|rules| !rules.is_empty()),
        }),
    };
    Object::new(Kind::NETWORK_POLICY, &metadata, &policy)
}

fn peer(peer: &Peer) -> NetworkPolicyPeer {
    match (&peer.cidr, &peer.namespace) {
        (Some(cidr), _) => NetworkPolicyPeer { ip_block: Some(IPBlock { cidr: cidr.clone(), except: None }), ..Default::default() },
        (None, namespace) => NetworkPolicyPeer {
            namespace_selector: Some(matching(&[(NAMESPACE_NAME, namespace.as_deref().unwrap_or_default())])),
            pod_selector: (!peer.pod_labels.is_empty())
                .then(|| matching(&peer.pod_labels.iter().map(|(key, value)| (key.as_str(), value.0.as_str())).collect::<Vec<_>>())),
            ..Default::default()
        },
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(IntOrString::Int(number.into())), end_port: None }
}

fn matching(labels: &[(&str, &str)]) -> LabelSelector {
    let labels: BTreeMap<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    LabelSelector { match_labels: Some(labels), ..Default::default() }
}
