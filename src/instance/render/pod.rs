//! The pod that every workload and the migration share: its containers' environment, its security, its place.

use super::{DATABASE_SECRET, GENERATED_SECRET, PULL_SECRET, Serving, common_labels, configuration::CONFIG_MAP};
use crate::api::database_server::TlsMode;
use crate::api::labels;
use crate::instance::Instance;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapEnvSource, Container, EmptyDirVolumeSource, EnvFromSource, EnvVar, EnvVarSource, KeyToPath,
    LocalObjectReference, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSecurityContext, PodSpec,
    PodTemplateSpec, ResourceRequirements, SeccompProfile, SecretEnvSource, SecretKeySelector, SecretVolumeSource, SecurityContext,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;

/// The ServiceAccount of all pods.
pub const SERVICE_ACCOUNT: &str = "instance";
/// Where the authority of the database server's certificate is mounted.
pub const DATABASE_AUTHORITY_PATH: &str = "/etc/tenantry/database";

/// What a container runs.
pub struct Program<'a> {
    /// The component's name, or the migration's.
    pub name: &'a str,
    /// The image with its tag.
    pub image: String,
    /// The command, or the image's own.
    pub command: &'a [String],
    /// Variables of this container alone.
    pub env: BTreeMap<String, String>,
    /// What it asks for and may use.
    pub resources: ResourceRequirements,
}

/// The image of the product at a version.
pub fn image(instance: &Instance, version: &str) -> String {
    let released = instance.image.as_ref().filter(|_| version == instance.version.as_str());
    match released.map(|image| (image.tag.as_deref(), image.digest.as_deref())) {
        Some((_, Some(digest))) => format!("{}@{digest}", instance.repository),
        Some((Some(tag), None)) => format!("{}:{tag}", instance.repository),
        _ => format!("{}:{version}", instance.repository),
    }
}

/// The container, without ports and probes.
pub fn container(instance: &Instance, program: Program<'_>, version: &str) -> Container {
    Container {
        name: program.name.to_owned(),
        image: Some(program.image),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: (!program.command.is_empty()).then(|| program.command.to_vec()),
        env: Some(environment(instance, program.env, version)),
        env_from: Some(environment_sources(instance)),
        resources: Some(program.resources),
        security_context: Some(container_security()),
        volume_mounts: Some(volume_mounts(instance)),
        ..Default::default()
    }
}

/// The pod around the container.
pub fn template(instance: &Instance, component: &str, serving: &Serving<'_>, container: Container, grace_seconds: i64) -> PodTemplateSpec {
    let mut pod_labels = common_labels(instance, Some(component));
    pod_labels.insert(labels::APP_VERSION.to_owned(), serving.version.to_owned());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(BTreeMap::from([(labels::CONFIGURATION.to_owned(), serving.configuration.to_owned())])),
            ..Default::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            service_account_name: Some(SERVICE_ACCOUNT.to_owned()),
            automount_service_account_token: Some(false),
            // The environment of old-style links grows with every Service, and nothing uses it.
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            termination_grace_period_seconds: Some(grace_seconds),
            image_pull_secrets: instance.pull_secret.as_ref().map(|_| vec![LocalObjectReference { name: PULL_SECRET.to_owned() }]),
            affinity: instance.region.as_deref().map(in_region),
            volumes: Some(volumes(instance)),
            ..Default::default()
        }),
    }
}

/// Pods of a component are spread over zones and nodes as far as there are any; a full zone keeps none from starting.
pub fn spread(instance: &Instance, component: &str) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(selector(instance, component)),
            // Only pods of the same rollout count: else the old ones push the new ones to one side.
            match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
            ..Default::default()
        })
        .to_vec()
}

/// The labels that select a component's pods. A Deployment's selector can't be changed, so they are the fewest that tell it apart.
pub fn selector(instance: &Instance, component: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([
            (labels::INSTANCE.to_owned(), instance.name.to_string()),
            (labels::COMPONENT.to_owned(), component.to_owned()),
        ])),
        ..Default::default()
    }
}

fn environment(instance: &Instance, own: BTreeMap<String, String>, version: &str) -> Vec<EnvVar> {
    let plain = |name: String, value: String| EnvVar { name, value: Some(value), value_from: None };
    let mut variables = vec![plain("TENANT_VERSION".to_owned(), version.to_owned())];
    if let Some(database) = &instance.database {
        variables.push(EnvVar {
            name: database.url_env.clone(),
            value: None,
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector { name: DATABASE_SECRET.to_owned(), key: "uri".to_owned(), optional: None }),
                ..Default::default()
            }),
        });
    }
    // The component's own come last and replace, because the names in this list have to be unique.
    variables.retain(|variable| !own.contains_key(&variable.name));
    variables.extend(own.into_iter().map(|(name, value)| plain(name, value)));
    variables
}

fn environment_sources(instance: &Instance) -> Vec<EnvFromSource> {
    let mut sources = vec![EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource { name: CONFIG_MAP.to_owned(), optional: None }),
        ..Default::default()
    }];
    if !instance.generated_secrets.is_empty() {
        sources.push(EnvFromSource {
            secret_ref: Some(SecretEnvSource { name: GENERATED_SECRET.to_owned(), optional: None }),
            ..Default::default()
        });
    }
    sources
}

/// What Pod Security `restricted` asks of a pod.
fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..Default::default()
    }
}

/// What Pod Security `restricted` asks of a container, and a root file system that can't be written.
fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..Default::default()
    }
}

fn volumes(instance: &Instance) -> Vec<Volume> {
    let mut volumes = vec![Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity("1Gi".to_owned())), ..Default::default() }),
        ..Default::default()
    }];
    if mounts_authority(instance) {
        volumes.push(Volume {
            name: "database".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(DATABASE_SECRET.to_owned()),
                // Only the authority: the password is no file that a bug in serving files could give away.
                items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), ..Default::default() }]),
                optional: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        });
    }
    volumes
}

fn volume_mounts(instance: &Instance) -> Vec<VolumeMount> {
    let mut mounts = vec![VolumeMount { name: "tmp".to_owned(), mount_path: "/tmp".to_owned(), ..Default::default() }];
    if mounts_authority(instance) {
        mounts.push(VolumeMount {
            name: "database".to_owned(),
            mount_path: DATABASE_AUTHORITY_PATH.to_owned(),
            read_only: Some(true),
            ..Default::default()
        });
    }
    mounts
}

fn mounts_authority(instance: &Instance) -> bool {
    instance.database.as_ref().is_some_and(|database| database.tls == TlsMode::VerifyFull)
}

fn in_region(region: &str) -> Affinity {
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_expressions: Some(vec![NodeSelectorRequirement {
                        key: "topology.kubernetes.io/region".to_owned(),
                        operator: "In".to_owned(),
                        values: Some(vec![region.to_owned()]),
                    }]),
                    match_fields: None,
                }],
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}
