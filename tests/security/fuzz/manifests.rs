//! Whole manifests: anything at all, and sound ones with one thing wrong, through the schema, the types, resolve and render.

use super::fuzz;
use super::generate::{EXTRA_KINDS, Sample, sample};
use super::hostile::{json as any_json, mutated};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tenantry::api::{Blueprint, DatabaseServer, Plan, Tenant, schema};
use tenantry::instance::render::{self, Rendered, Serving};
use tenantry::instance::resolve::{Inputs, resolve};
use tenantry::instance::{Instance, Settings};

/// All objects of an instance together, as JSON.
const LARGEST: usize = 16 * 1024 * 1024;

fn settings() -> Settings {
    Settings {
        namespace: "tenantry-system".to_owned(),
        service_account: "tenantry-operator".to_owned(),
        extra_kinds: EXTRA_KINDS.iter().map(|kind| kind.parse().expect("a kind")).collect(),
    }
}

/// A sample with one of its manifests changed.
fn spoiled() -> impl Strategy<Value = Sample> {
    (sample().boxed(), 0..4usize).prop_flat_map(|(sample, which)| {
        let chosen = sample.manifests()[which].clone();
        mutated(chosen).boxed().prop_map(move |changed| {
            let mut sample = sample.clone();
            match which {
                0 => sample.tenant = changed,
                1 => sample.blueprint = changed,
                2 => sample.plan = changed,
                _ => sample.server = changed,
            }
            sample
        })
    })
}

/// The instance of these manifests, if they can be read and give one. The schema has not been asked.
fn instance(sample: &Sample) -> Option<Instance> {
    let mut tenant: Tenant = serde_json::from_value(sample.tenant.clone()).ok()?;
    tenant.metadata.uid = Some("6f1f5c0e-6a0e-4c0f-9b58-3d0a8f1f1f11".to_owned());
    let blueprint: Blueprint = serde_json::from_value(sample.blueprint.clone()).ok()?;
    let plan: Plan = serde_json::from_value(sample.plan.clone()).ok()?;
    let server: DatabaseServer = serde_json::from_value(sample.server.clone()).ok()?;
    let inputs = Inputs {
        tenant: &tenant,
        blueprint_name: &tenant.spec.blueprint,
        blueprint: &blueprint.spec,
        version: tenant.pinned(),
        image: None,
        plan: &plan.spec,
        server: Some(&server),
        settings: &settings(),
        now: &Time("2026-07-01T00:00:00Z".parse().expect("a time")),
    };
    resolve(&inputs).ok()
}

fn draw(instance: &Instance) -> Rendered {
    render::render(instance, &settings(), Some(&Serving { version: instance.version.as_str(), configuration: "0" }))
}

/// What holds of every instance, whatever it was made from.
fn is_harmless(sample: &Sample, instance: &Instance, admitted: bool) -> Result<(), TestCaseError> {
    let rendered = draw(instance);
    let (mut keys, mut size) = (BTreeSet::new(), 0);
    for object in rendered.all() {
        let metadata = &object.content["metadata"];
        let kind = object.key.kind.kind.as_ref();
        size += object.content.to_string().len();
        // That a component is there twice only the schema refuses.
        prop_assert!(keys.insert(&object.key) || !admitted, "{} is there twice", object.key);
        if kind == "Namespace" {
            prop_assert_eq!(metadata["name"].as_str(), Some(instance.namespace.as_str()));
            prop_assert_eq!(&metadata["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        } else {
            prop_assert_eq!(metadata["namespace"].as_str(), Some(instance.namespace.as_str()), "{}", object.key);
        }
        prop_assert_eq!(
            &metadata["ownerReferences"],
            &json!([{
                "apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": instance.name.as_str(), "uid": instance.uid,
                "controller": true, "blockOwnerDeletion": true,
            }])
        );
        prop_assert_eq!(&metadata["labels"]["tenantry.dev/tenant"], instance.name.as_str());
        let own = ["ResourceQuota", "LimitRange", "ServiceAccount", "NetworkPolicy", "RoleBinding", "Namespace"];
        let extra = instance.extras.iter().any(|extra| extra.key == object.key);
        prop_assert!(!(extra && own.contains(&kind)), "{} is an extra", object.key);
        match kind {
            "RoleBinding" => {
                prop_assert_eq!(&object.content["roleRef"]["name"], "tenantry-instance");
                let operator = json!([{"kind": "ServiceAccount", "name": "tenantry-operator", "namespace": "tenantry-system"}]);
                prop_assert_eq!(&object.content["subjects"], &operator);
            }
            "Ingress" if !extra => {
                let hosts: Vec<_> = instance.hosts.iter().map(|host| host.as_str()).collect();
                for rule in object.content["spec"]["rules"].as_array().into_iter().flatten() {
                    prop_assert!(rule["host"].as_str().is_some_and(|host| hosts.contains(&host)), "{rule}");
                }
                let allowed = &sample.blueprint["spec"]["ingress"]["annotations"];
                for (name, value) in metadata["annotations"].as_object().into_iter().flatten() {
                    prop_assert!(name == "cert-manager.io/cluster-issuer" || allowed.get(name) == Some(value), "{name}");
                }
            }
            "Deployment" | "Job" if !extra => {
                let pod = &object.content["spec"]["template"]["spec"];
                prop_assert_eq!(&pod["automountServiceAccountToken"], false);
                prop_assert_eq!(&pod["securityContext"]["runAsNonRoot"], true);
                prop_assert!(pod["hostNetwork"].is_null() && pod["nodeName"].is_null() && pod["priorityClassName"].is_null());
                for container in pod["containers"].as_array().into_iter().flatten() {
                    prop_assert_eq!(&container["securityContext"]["allowPrivilegeEscalation"], false);
                }
            }
            _ => {}
        }
    }
    prop_assert!(size <= LARGEST, "{size} bytes");
    for host in &instance.hosts {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        prop_assert!(host.as_str().bytes().all(plain), "{host}");
    }
    Ok(())
}

#[test]
fn no_manifest_panics_and_what_comes_of_it_is_harmless() {
    fuzz(&spoiled(), |sample| match instance(&sample) {
        Some(instance) => is_harmless(&sample, &instance, false),
        None => Ok(()),
    });
}

#[test]
fn what_the_schema_admits_can_be_read_and_what_it_refuses_is_told_in_bounds() {
    fuzz(&spoiled(), |sample| {
        let mut admitted = sample.clone();
        for (read, manifest) in [
            (&mut admitted.tenant, &sample.tenant),
            (&mut admitted.blueprint, &sample.blueprint),
            (&mut admitted.plan, &sample.plan),
            (&mut admitted.server, &sample.server),
        ] {
            match schema::admit(manifest) {
                Ok(with_defaults) => *read = with_defaults,
                Err(problems) => {
                    prop_assert!(!problems.is_empty());
                    let told: usize = problems.iter().map(|problem| problem.to_string().len()).sum();
                    prop_assert!(told <= 4096 + 64 * manifest.to_string().len(), "{told} bytes");
                    return Ok(());
                }
            }
        }
        let reads = serde_json::from_value::<Tenant>(admitted.tenant.clone()).map(|_| ()).and_then(|()| {
            serde_json::from_value::<Blueprint>(admitted.blueprint.clone())?;
            serde_json::from_value::<Plan>(admitted.plan.clone())?;
            serde_json::from_value::<DatabaseServer>(admitted.server.clone()).map(|_| ())
        });
        prop_assert!(reads.is_ok(), "admitted, but not read: {:?}", reads);
        match instance(&admitted) {
            Some(instance) => is_harmless(&admitted, &instance, true),
            None => Ok(()),
        }
    });
}

#[test]
fn anything_at_all_is_refused_in_bounded_time() {
    let kinds = prop::sample::select(vec!["Tenant", "Blueprint", "Plan", "DatabaseServer", "Secret", ""]);
    fuzz(&(kinds, any_json(), any_json(), any_json()), |(kind, metadata, spec, status)| {
        let manifest = json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status});
        for manifest in [&manifest, &spec, &Value::Null] {
            if let Err(problems) = schema::admit(manifest) {
                let told: usize = problems.iter().map(|problem| problem.to_string().len()).sum();
                prop_assert!(told <= 4096 + 256 * manifest.to_string().len(), "{told} bytes");
            }
        }
        Ok(())
    });
}
