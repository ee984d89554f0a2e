//! What holds for every instance that the schemas admit.

use crate::generate::{EXTRA_KINDS, Sample, sample};
use crate::planner::{draw, resolve_manifests, settings};
use crate::restricted::violations;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::OnceLock;
use tenantry::instance::names::{is_dns_subdomain, is_label_value};
use tenantry::instance::render::Object;
use tenantry::instance::{Instance, digest};

/// How many samples are made.
const SAMPLES: usize = 200;

/// Samples, each with the instance that it is, where it is one. Made once for all tests of this file.
fn samples() -> &'static [(Sample, Option<Instance>)] {
    static ALL: OnceLock<Vec<(Sample, Option<Instance>)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let settings = settings(&EXTRA_KINDS);
        let mut runner = TestRunner::default();
        let strategy = sample();
        (0..SAMPLES)
            .map(|_| {
                let sample = strategy.new_tree(&mut runner).expect("a sample").current();
                let instance = resolve_manifests(&sample.tenant, &sample.blueprint, &sample.plan, &sample.server, &settings);
                (sample, instance.ok())
            })
            .collect()
    })
}

/// Asks `check` of every instance; the manifests of the first that isn't so are shown.
fn for_every_instance(check: impl Fn(&Sample, &Instance) -> Result<(), TestCaseError>) {
    let instances: Vec<_> = samples().iter().filter_map(|(sample, instance)| Some((sample, instance.as_ref()?))).collect();
    assert!(
        instances.len() * 2 > samples().len(),
        "only {} of {} samples are instances, so this says little",
        instances.len(),
        samples().len()
    );
    for (sample, instance) in instances {
        if let Err(failure) = check(sample, instance) {
            let manifests = sample.manifests().map(|manifest| serde_saphyr::to_string(manifest).expect("YAML")).join("---\n");
            panic!("{failure}\n{manifests}");
        }
    }
}

fn objects(instance: &Instance) -> Vec<Object> {
    draw(instance, &settings(&EXTRA_KINDS)).all().cloned().collect()
}

/// The template of the pods, where the object has one.
fn template(object: &Object) -> Option<&Value> {
    matches!(object.key.kind.kind.as_ref(), "Deployment" | "Job").then(|| &object.content["spec"]["template"])
}

#[test]
fn every_object_belongs_to_its_tenant_and_has_a_valid_name_of_its_own() {
    for_every_instance(|_, instance| {
        let objects = objects(instance);
        let keys: BTreeSet<_> = objects.iter().map(|object| &object.key).collect();
        prop_assert_eq!(keys.len(), objects.len(), "two objects share a name");
        for object in &objects {
            let metadata = &object.content["metadata"];
            let is_namespace = object.key.kind.kind == "Namespace";
            prop_assert_eq!(&metadata["ownerReferences"][0]["uid"], instance.uid.as_str());
            prop_assert_eq!(&metadata["labels"]["tenantry.dev/tenant"], instance.name.as_str());
            prop_assert_eq!(&metadata["labels"]["app.kubernetes.io/managed-by"], "tenantry");
            prop_assert_eq!(
                metadata["namespace"].as_str(),
                (!is_namespace).then_some(instance.namespace.as_str()).or(metadata["namespace"].as_str())
            );
            prop_assert!(!is_namespace || object.key.name == instance.namespace);
            prop_assert!(is_dns_subdomain(&object.key.name), "{}", object.key);
            if matches!(object.key.kind.kind.as_ref(), "Service" | "Namespace" | "Job" | "Deployment") {
                prop_assert!(object.key.name.len() <= 63 && !object.key.name.contains('.'), "{}", object.key);
            }
        }
        Ok(())
    });
}

#[test]
fn every_label_is_one_that_kubernetes_takes() {
    for_every_instance(|_, instance| {
        for object in objects(instance) {
            let of_pods = template(&object).map(|template| &template["metadata"]["labels"]);
            for labels in [Some(&object.content["metadata"]["labels"]), of_pods].into_iter().flatten() {
                for (name, value) in labels.as_object().expect("labels") {
                    prop_assert!(value.as_str().is_some_and(is_label_value), "{} {}={}", object.key, name, value);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn every_pod_is_restricted() {
    for_every_instance(|_, instance| {
        for object in objects(instance) {
            if let Some(template) = template(&object) {
                prop_assert_eq!(violations(&template["spec"]), Vec::<String>::new(), "{}", object.key);
            }
        }
        Ok(())
    });
}

#[test]
fn no_container_has_a_variable_twice() {
    for_every_instance(|_, instance| {
        for object in objects(instance) {
            for container in template(&object).iter().flat_map(|template| template["spec"]["containers"].as_array()).flatten() {
                let names: Vec<_> =
                    container["env"].as_array().into_iter().flatten().map(|variable| variable["name"].to_string()).collect();
                prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{}: {:?}", object.key, names);
            }
        }
        Ok(())
    });
}

#[test]
fn a_pod_has_time_to_drain_and_to_end() {
    for_every_instance(|_, instance| {
        for object in objects(instance).iter().filter(|object| object.key.kind.kind == "Deployment") {
            let pod = &object.content["spec"]["template"]["spec"];
            let component = instance.components.iter().find(|component| component.spec.name == object.key.name).expect("its component");
            let drain = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64().unwrap_or(0);
            let grace = pod["terminationGracePeriodSeconds"].as_i64().expect("a grace period");
            prop_assert!(grace >= drain + i64::from(component.spec.termination_seconds));
            if !component.spec.singleton {
                prop_assert_eq!(&object.content["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
            }
        }
        Ok(())
    });
}

#[test]
fn an_autoscaler_never_fights_with_the_replicas_of_its_deployment() {
    for_every_instance(|_, instance| {
        let objects = objects(instance);
        for scaler in objects.iter().filter(|object| object.key.kind.kind == "HorizontalPodAutoscaler") {
            let scaled = objects.iter().find(|o| o.key.kind.kind == "Deployment" && o.key.name == scaler.key.name).expect("its Deployment");
            prop_assert!(scaled.content["spec"]["replicas"].is_null());
        }
        Ok(())
    });
}

#[test]
fn a_suspended_instance_has_no_pods_and_no_routes() {
    for_every_instance(|_, instance| {
        if instance.suspension.is_some() {
            let rendered = draw(instance, &settings(&EXTRA_KINDS));
            prop_assert!(rendered.routes.is_empty() && rendered.migration.is_none());
            for object in &rendered.workloads {
                prop_assert_eq!(&object.content["spec"]["replicas"], 0, "{}", object.key);
            }
        }
        Ok(())
    });
}

#[test]
fn the_same_manifests_give_the_same_objects_in_the_same_order() {
    let settings = settings(&EXTRA_KINDS);
    for_every_instance(|sample, instance| {
        let again = resolve_manifests(&sample.tenant, &sample.blueprint, &sample.plan, &sample.server, &settings);
        let again = again.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (first, second) = (objects(instance), objects(&again));
        prop_assert_eq!(first.iter().map(Object::digest).collect::<Vec<_>>(), second.iter().map(Object::digest).collect::<Vec<_>>());
        prop_assert_eq!(digest::of(&instance.environment), digest::of(&again.environment));
        prop_assert_eq!(first, second);
        Ok(())
    });
}

#[test]
fn an_instance_fits_into_its_quota_while_it_is_updated() {
    // Not by the code under test: the pods are counted from what is drawn.
    for_every_instance(|_, instance| {
        let objects = objects(instance);
        let quota =
            objects.iter().find(|object| object.key.kind.kind == "ResourceQuota").map(|quota| &quota.content["spec"]["hard"]["pods"]);
        if let Some(most) = quota.and_then(Value::as_str).and_then(|most| most.parse::<i64>().ok()) {
            let pods: i64 = instance.components.iter().map(|c| i64::from(c.replicas.max) + i64::from(!c.spec.singleton)).sum();
            prop_assert!(pods + i64::from(instance.migration.is_some()) <= most);
        }
        Ok(())
    });
}
