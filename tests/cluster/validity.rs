//! Whatever the schemas admit, the API server takes: random manifests and all that is drawn of them are created as a dry run, in a namespace
//! under Pod Security `restricted`. The schemas' bounds are tried too.

use crate::support::{World, unique};
use futures::StreamExt;
use generate::{EXTRA_KINDS, Sample, sample};
use planner::{draw, resolve_manifests, settings};
use proptest::prelude::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[path = "../instance/generate.rs"]
mod generate;
#[path = "../instance/planner.rs"]
#[allow(dead_code)] // the other binary uses the rest
mod planner;

/// How many samples are tried.
const SAMPLES: usize = 60;
/// How many requests are under way at once.
const AT_ONCE: usize = 16;

fn samples() -> Vec<Sample> {
    let mut runner = TestRunner::default();
    let strategy = sample();
    (0..SAMPLES).map(|_| strategy.new_tree(&mut runner).expect("a sample").current()).collect()
}

/// Tries to create all of them, and shows those that are refused.
async fn all_are_taken(world: &World, objects: Vec<Value>) {
    assert!(!objects.is_empty());
    let refused: Vec<String> = futures::stream::iter(objects)
        .map(|object| async move { world.try_create_dry(&object).await.err().map(|error| format!("{error}\n{object:#}")) })
        .buffer_unordered(AT_ONCE)
        .filter_map(|refused| async move { refused })
        .collect()
        .await;
    assert!(refused.is_empty(), "{} are refused; the first: {}", refused.len(), refused[0]);
}

#[tokio::test]
async fn every_manifest_that_is_admitted_offline_is_admitted_by_the_server() {
    let world = World::without_operator().await;
    all_are_taken(&world, samples().iter().flat_map(|sample| sample.manifests().map(Value::clone)).collect()).await;
}

#[tokio::test]
async fn every_object_of_every_instance_is_taken_by_the_server() {
    let world = World::without_operator().await;
    let namespace = unique("validity");
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    world.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})).await;
    // Without it, no pod is taken.
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "instance", "namespace": namespace}});
    world.create(&account).await;

    let settings = settings(&EXTRA_KINDS);
    let mut kinds = BTreeSet::new();
    let mut objects = Vec::new();
    for sample in samples() {
        let Ok(instance) = resolve_manifests(&sample.tenant, &sample.blueprint, &sample.plan, &sample.server, &settings) else { continue };
        for object in draw(&instance, &settings).all() {
            // The tests' cluster has no Gateway API.
            if object.key.kind.group == "gateway.networking.k8s.io" {
                continue;
            }
            let kind = object.key.kind.kind.to_string();
            let mut content = object.content.clone();
            match kind.as_str() {
                "Namespace" => {}
                // Ours has one already.
                "ServiceAccount" => content["metadata"]["namespace"] = "default".into(),
                _ => content["metadata"]["namespace"] = namespace.as_str().into(),
            }
            // Pod Security refuses pods, and only warns of what makes them.
            if matches!(kind.as_str(), "Deployment" | "Job") {
                let mut pod = content["spec"]["template"].clone();
                pod["apiVersion"] = "v1".into();
                pod["kind"] = "Pod".into();
                pod["metadata"]["name"] = unique("pod").into();
                pod["metadata"]["namespace"] = namespace.as_str().into();
                objects.push(pod);
            }
            kinds.insert(kind);
            objects.push(content);
        }
    }
    all_are_taken(&world, objects).await;
    let wanted = [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Ingress",
        "Job",
        "LimitRange",
        "Namespace",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ResourceQuota",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    ];
    assert_eq!(kinds, wanted.map(str::to_owned).into(), "not every kind was tried");
    world.delete("Namespace", None, &namespace).await;
}
