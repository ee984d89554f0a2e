//! Every reason for which there is no instance, and the sentence that a person reads.

use crate::planner::{Planner, settings};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What was changed, why there is no instance then, and how it is said.
fn table() -> Vec<(Planner, &'static str, &'static str)> {
    let acme = || Planner::of("acme");
    let extra = |extra: Value| acme().blueprint(|spec| spec["extras"] = json!([extra]));
    let config_map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let mut restored = acme().tenant(|spec| spec["deletion"] = json!({"at": "2026-05-01T00:00:00Z"}));
    restored.tenant["metadata"]["creationTimestamp"] = "2026-06-01T00:00:00Z".into();
    vec![
        (restored, "DeletionBeforeCreation", "spec.deletion.at is 2026-05-01T00:00:00Z, which was before this Tenant was made"),
        (
            acme().tenant(|spec| spec["settings"] = json!({"CELERY_BROKER_URL": "redis://elsewhere"})),
            "SettingNotAllowed",
            "spec.settings.CELERY_BROKER_URL can't be set by a tenant of blueprint planner; these can: LANGUAGE_CODE, TIME_ZONE",
        ),
        (
            acme().tenant(|spec| spec["components"] = json!({"wbe": {}})),
            "UnknownComponent",
            "spec.components.wbe is no component of blueprint planner; these are: web, worker, beat, redis",
        ),
        (
            acme().tenant(|spec| spec["components"] = json!({"web": {"replicas": {"min": 1, "max": 9}}})),
            "ReplicasOutOfBounds",
            "spec.components.web.replicas asks for 1 to 9, but plan business allows 2 to 4: stay within it, or choose another plan",
        ),
        (
            acme().plan(|spec| spec["components"]["beat"]["replicas"] = json!({"min": 2, "max": 2})),
            "SingletonScaled",
            "component beat is a singleton, so it runs as one pod: the plan asks for 2",
        ),
        (
            acme().plan(|spec| {
                spec["quota"] = json!({});
                spec["defaults"] = json!({"resources": {"limits": {"memory": "1Gi"}}});
                spec["components"]["web"]["resources"] = json!({});
            }),
            "AutoscalerNeedsRequest",
            "component web is to have 2 to 4 pods by its use of CPU, but plan business has no request for CPU",
        ),
        (
            acme().plan(|spec| spec["quota"]["pods"] = "10".into()),
            "QuotaTooSmall",
            "plan business: its quota for pods is 10, but an instance at its largest needs 11 while it is updated",
        ),
        (
            acme().plan(|spec| spec["quota"]["limits.memory"] = "1Gi".into()),
            "QuotaTooSmall",
            "its quota for limits.memory is 1Gi, but an instance at its largest needs 2656Mi while",
        ),
        (
            extra(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "${tenant.nam}"}})),
            "TemplateFailed",
            "blueprint planner, extras[0]: data.a: ${tenant.nam}: No such key: nam",
        ),
        (
            acme().blueprint(|spec| spec["serviceAccount"] = json!({"annotations": {"example.com/role": "${nobody}"}})),
            "TemplateFailed",
            "blueprint planner, serviceAccount.annotations: example.com/role: ${nobody}: Undeclared reference to 'nobody'",
        ),
        (
            extra(json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}})),
            "ExtraKindNotAllowed",
            "blueprint planner, extras[0]: Thing of example.com/v1 is not among the kinds that this operator may make: an admin can allow it with --extra-kind",
        ),
        (
            extra(config_map("settings")),
            "ExtraInvalid",
            "extras[0]: ConfigMap settings is one that every instance has: choose another name",
        ),
        (extra(config_map("Not_a_name")), "ExtraInvalid", "extras[0]: metadata.name: \"Not_a_name\" is no name of an object"),
        (
            acme().blueprint(|spec| spec["extras"] = json!([config_map("x"), config_map("x")])),
            "ExtraInvalid",
            "extras[1]: ConfigMap x is there twice: give each extra its own name",
        ),
        (
            extra(
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"customer": "${tenant.displayName}"}}}),
            ),
            "ExtraInvalid",
            "extras[0]: metadata.labels.customer: \"ACME Construction\" is no label's value",
        ),
    ]
}

#[test]
fn each_says_what_where_and_what_to_do() {
    for (planner, reason, sentence) in table() {
        let error = planner.resolve(&settings(&["v1/ConfigMap"])).expect_err(reason);
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(sentence), "{sentence:?} is not in {:?}", error.to_string());
    }
}

/// Those that no admitted manifest leads to, because the schema refuses it before. They are there for objects that an older schema admitted.
#[test]
fn what_the_schema_refuses_is_refused_again() {
    use tenantry::api::{Blueprint, Plan, Tenant};
    use tenantry::instance::resolve::{Inputs, resolve};
    let planner = Planner::of("acme");
    let read = |change: &dyn Fn(&mut Value, &mut Value)| {
        let (mut tenant, mut blueprint) = (planner.tenant.clone(), planner.blueprint.clone());
        change(&mut tenant, &mut blueprint);
        let tenant: Tenant = serde_json::from_value(tenant).expect("a tenant");
        let blueprint: Blueprint = serde_json::from_value(blueprint).expect("a blueprint");
        let plan: Plan = serde_json::from_value(planner.plan.clone()).expect("a plan");
        let inputs = Inputs {
            tenant: &tenant,
            blueprint_name: "planner",
            blueprint: &blueprint.spec,
            version: tenant.pinned(),
            image: None,
            plan: &plan.spec,
            server: None,
            settings: &settings(&[]),
            now: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        };
        resolve(&inputs).expect_err("no instance")
    };
    let long = read(&|_, blueprint| blueprint["spec"]["baseDomain"] = vec!["a".repeat(60); 5].join(".").into());
    assert_eq!(long.reason(), "InvalidHost");
    assert!(long.to_string().contains("choose a shorter name for the tenant"), "{long}");
    let twice = read(&|_, blueprint| blueprint["spec"]["secrets"] = json!([{"env": "LANGUAGE_CODE"}]));
    assert_eq!(
        twice.to_string(),
        "blueprint planner sets the environment variable LANGUAGE_CODE twice, as a secret and as a setting: rename one"
    );
    let reserved = read(&|_, blueprint| blueprint["spec"]["settings"][2] = json!({"env": "TENANT_VERSION"}));
    assert_eq!(reserved.reason(), "VariableTwice");
    let name = read(&|tenant, _| tenant["metadata"]["name"] = "a.b".into());
    assert_eq!(name.reason(), "InvalidName");
}

#[test]
fn no_reason_is_without_a_test() {
    let tested: BTreeSet<_> =
        table().into_iter().map(|(_, reason, _)| reason).chain(["InvalidName", "InvalidHost", "VariableTwice"]).collect();
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/instance/resolve.rs")).expect("the source");
    let all: BTreeSet<_> =
        source.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \"")?.1.strip_suffix("\",")).collect();
    assert_eq!(tested, all);
}
