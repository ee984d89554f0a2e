//! The pods of an instance and what belongs to them: Deployments, Services, autoscalers, disruption budgets.

use super::{Kind, Object, Serving, metadata, pod};
use crate::api::blueprint::{Probe as ProbeSpec, Probes, StartupProbe};
use crate::instance::names::Host;
use crate::instance::{Component, Instance};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HTTPGetAction, HTTPHeader, Lifecycle, LifecycleHandler, Probe, Service, ServicePort, ServiceSpec,
    SleepAction, TCPSocketAction,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The name of a component's port.
pub const PORT: &str = "main";

/// Deployments, and the autoscalers and budgets that go with them.
pub fn workloads(instance: &Instance, serving: &Serving<'_>) -> Vec<Object> {
    let running = instance.suspension.is_none();
    let mut objects: Vec<_> = instance.components.iter().map(|component| deployment(instance, component, serving)).collect();
    if running {
        objects.extend(instance.components.iter().filter(|c| c.is_autoscaled()).map(|c| autoscaler(instance, c)));
        objects.extend(instance.components.iter().filter(|c| c.replicas.min > 1).map(|c| disruption_budget(instance, c)));
    }
    objects
}

/// A Service for each component with a port.
pub fn services(instance: &Instance) -> Vec<Object> {
    instance.components.iter().filter_map(|component| service(instance, &component.spec.name, component.spec.port?)).collect()
}

fn deployment(instance: &Instance, component: &Component, serving: &Serving<'_>) -> Object {
    let name = &component.spec.name;
    let metadata = metadata(instance, name, Some(name));
    let mut template = pod::template(instance, name, serving, container(instance, component, serving), component.grace_seconds());
    if let Some(spec) = &mut template.spec {
        spec.topology_spread_constraints = Some(pod::spread(instance, name));
    }
    let deployment = Deployment {
        metadata: metadata.clone(),
        spec: DeploymentSpec {
            replicas: replicas(instance, component),
            selector: pod::selector(instance, name),
            strategy: Some(strategy(component)),
            template,
            revision_history_limit: Some(2),
            progress_deadline_seconds: Some(progress_deadline(component)),
            ..Default::default()
        },
        ..Default::default()
    };
    let starting = (deployment.spec.replicas.is_none()).then_some(component.replicas.min);
    Object::new(Kind::DEPLOYMENT, &metadata, &deployment).starting_with(starting)
}

/// A program that may take long to start is not stuck before it had that time, and five minutes to be scheduled and pulled.
fn progress_deadline(component: &Component) -> i32 {
    let startup = component.spec.probes.as_ref().and_then(|probes| probes.startup.as_ref()).map_or(0, |startup| startup.seconds);
    i32::try_from(startup).unwrap_or(i32::MAX).saturating_add(300).max(600)
}

/// None while an autoscaler decides: a number here would fight with it.
fn replicas(instance: &Instance, component: &Component) -> Option<i32> {
    if instance.suspension.is_some() {
        return Some(0);
    }
    (!component.is_autoscaled()).then_some(component.replicas.min)
}

/// A new pod is there before an old one goes; a singleton's old pod is gone before the new one comes.
fn strategy(component: &Component) -> DeploymentStrategy {
    if component.spec.singleton {
        return DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None };
    }
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::Int(0)),
            max_surge: Some(IntOrString::String("25%".to_owned())),
        }),
    }
}

fn container(instance: &Instance, component: &Component, serving: &Serving<'_>) -> Container {
    let spec = &component.spec;
    let program = pod::Program {
        name: &spec.name,
        image: spec.image.clone().unwrap_or_else(|| pod::image(instance, serving.version)),
        command: &spec.command,
        env: spec.env.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
        resources: component.resources.clone(),
    };
    let mut container = pod::container(instance, program, serving.version);
    let Some(port) = spec.port else { return container };
    container.ports = Some(vec![ContainerPort {
        name: Some(PORT.to_owned()),
        container_port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..Default::default()
    }]);
    // A pod is taken out of the routes at the same moment as it is told to end, and each router learns of it in its own time: until then it serves.
    let drain = component.drain_seconds();
    container.lifecycle = (drain > 0).then(|| Lifecycle {
        pre_stop: Some(LifecycleHandler { sleep: Some(SleepAction { seconds: drain.into() }), ..Default::default() }),
        ..Default::default()
    });
    let Probes { readiness, liveness, startup } = spec.probes.clone().unwrap_or_default();
    let host = &instance.hosts[0];
    container.readiness_probe = Some(readiness.map_or_else(|| ask(None, host), |probe| regular(&probe, host)));
    container.liveness_probe = liveness.map(|probe| regular(&probe, host));
    container.startup_probe = startup.map(|probe| starting(&probe, host));
    container
}

fn regular(probe: &ProbeSpec, host: &Host) -> Probe {
    Probe {
        period_seconds: i32::try_from(probe.every_seconds).ok(),
        timeout_seconds: Some(5),
        failure_threshold: Some(3),
        ..ask(probe.path.as_deref(), host)
    }
}

/// Asked every second, so that a pod serves as soon as it can.
fn starting(probe: &StartupProbe, host: &Host) -> Probe {
    Probe {
        period_seconds: Some(1),
        timeout_seconds: Some(5),
        failure_threshold: i32::try_from(probe.seconds).ok(),
        ..ask(probe.path.as_deref(), host)
    }
}

/// The kubelet asks with the tenant's host, because a product that serves only its own hosts answers others with 400.
fn ask(path: Option<&str>, host: &Host) -> Probe {
    let port = || IntOrString::String(PORT.to_owned());
    match path {
        Some(path) => Probe {
            http_get: Some(HTTPGetAction {
                path: Some(path.to_owned()),
                port: port(),
                http_headers: Some(vec![HTTPHeader { name: "Host".to_owned(), value: host.to_string() }]),
                ..Default::default()
            }),
            ..Default::default()
        },
        None => Probe { tcp_socket: Some(TCPSocketAction { port: port(), host: None }), ..Default::default() },
    }
}

fn service(instance: &Instance, name: &str, port: u16) -> Option<Object> {
    let metadata = metadata(instance, name, Some(name));
    let service = Service {
        metadata: metadata.clone(),
        spec: Some(ServiceSpec {
            selector: pod::selector(instance, name).match_labels,
            ports: Some(vec![ServicePort {
                name: Some(PORT.to_owned()),
                port: port.into(),
                target_port: Some(IntOrString::String(PORT.to_owned())),
                protocol: Some("TCP".to_owned()),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    };
    Some(Object::new(Kind::SERVICE, &metadata, &service))
}

fn autoscaler(instance: &Instance, component: &Component) -> Object {
    let name = &component.spec.name;
    let metadata = metadata(instance, name, Some(name));
    let autoscaler = HorizontalPodAutoscaler {
        metadata: metadata.clone(),
        spec: HorizontalPodAutoscalerSpec {
            min_replicas: Some(component.replicas.min),
            max_replicas: component.replicas.max,
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: name.clone(),
            },
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(component.target_cpu_percent),
                        ..Default::default()
                    },
                }),
                ..Default::default()
            }]),
            behavior: None,
        },
        ..Default::default()
    };
    Object::new(Kind::HORIZONTAL_POD_AUTOSCALER, &metadata, &autoscaler)
}

/// A node's maintenance takes one pod at a time, and a broken one never blocks it.
fn disruption_budget(instance: &Instance, component: &Component) -> Object {
    let name = &component.spec.name;
    let metadata = metadata(instance, name, Some(name));
    let budget = PodDisruptionBudget {
        metadata: metadata.clone(),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(pod::selector(instance, name)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    Object::new(Kind::POD_DISRUPTION_BUDGET, &metadata, &budget)
}
