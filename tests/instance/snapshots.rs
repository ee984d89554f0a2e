//! The whole sample as it is drawn. What a change does to an instance is seen in these files.

use crate::planner::{Planner, draw, settings};
use serde_json::{Value, json};
use tenantry::instance::Settings;

fn yaml(planner: &Planner, settings: &Settings) -> String {
    let instance = planner.resolve(settings).expect("an instance");
    draw(&instance, settings).all().map(|object| format!("---\n{}", serde_saphyr::to_string(&object.content).expect("YAML"))).collect()
}

/// Only objects of some kinds: what a variant is about.
fn only(planner: &Planner, settings: &Settings, kinds: &[&str]) -> String {
    let instance = planner.resolve(settings).expect("an instance");
    let rendered = draw(&instance, settings);
    let chosen = rendered.all().filter(|object| kinds.contains(&object.key.kind.kind.as_ref()));
    chosen.map(|object| format!("---\n{}", serde_saphyr::to_string(&object.content).expect("YAML"))).collect()
}

const ROUTES: [&str; 3] = ["Ingress", "HTTPRoute", "ListenerSet"];

#[test]
fn acme_on_the_business_plan() {
    insta::assert_snapshot!(yaml(&Planner::of("acme"), &settings(&[])));
}

#[test]
fn globex_on_the_starter_plan() {
    insta::assert_snapshot!(yaml(&Planner::of("globex"), &settings(&[])));
}

#[test]
fn initech_on_the_enterprise_plan() {
    insta::assert_snapshot!(yaml(&Planner::of("initech"), &settings(&[])));
}

#[test]
fn a_suspended_tenant() {
    let planner = Planner::of("acme").tenant(|spec| spec["suspended"] = true.into());
    insta::assert_snapshot!(only(
        &planner,
        &settings(&[]),
        &["Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Job", "Ingress"]
    ));
}

#[test]
fn a_tenant_with_domains_and_a_certificate_from_an_issuer() {
    let planner = Planner::of("acme")
        .tenant(|spec| spec["domains"] = json!(["projects.acme.com", "projekte.acme.de"]))
        .blueprint(|spec| spec["ingress"] = json!({
            "className": "nginx", "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "20m"}, "tls": {"clusterIssuer": "letsencrypt"},
        }));
    insta::assert_snapshot!(only(&planner, &settings(&[]), &["Ingress", "ConfigMap"]));
}

#[test]
fn a_tenant_under_a_wildcard_certificate() {
    let planner = Planner::of("acme").blueprint(|spec| spec["ingress"] = json!({"tls": {"wildcard": true}}));
    insta::assert_snapshot!(only(&planner, &settings(&[]), &ROUTES));
}

fn by_gateway(planner: Planner, tls: Value) -> Planner {
    planner.blueprint(|spec| {
        spec.as_object_mut().expect("a map").remove("ingress");
        spec["gateway"] = json!({"parentRef": {"name": "public", "namespace": "gateways"}});
        if !tls.is_null() {
            spec["gateway"]["tls"] = tls;
        }
    })
}

#[test]
fn a_tenant_behind_a_gateway_with_its_own_certificate() {
    let planner = by_gateway(Planner::of("acme"), json!({"clusterIssuer": "letsencrypt"}))
        .tenant(|spec| spec["domains"] = json!(["projects.acme.com"]));
    insta::assert_snapshot!(only(&planner, &settings(&[]), &ROUTES));
}

#[test]
fn a_tenant_behind_a_gateway_with_more_hosts_than_one_route_takes() {
    let planner = by_gateway(Planner::of("acme"), json!({"wildcard": true}))
        .tenant(|spec| spec["domains"] = (0..20).map(|number| format!("{number}.acme.com")).collect());
    insta::assert_snapshot!(only(&planner, &settings(&[]), &ROUTES));
}

#[test]
fn a_tenant_with_a_database_of_its_own_on_ipv6() {
    let planner = Planner::of("acme")
        .blueprint(|spec| {
            spec["database"] = json!({"isolation": "Database", "extensions": ["pg_trgm", "citext"], "url": {"env": "PLANNER_DATABASE"}})
        })
        .server(|spec| spec["host"] = "2001:db8::7".into());
    let instance = planner.instance();
    insta::assert_snapshot!(format!("{:#?}\n{}", instance.database, only(&planner, &settings(&[]), &["NetworkPolicy", "Job"])));
}

#[test]
fn a_tenant_of_a_region_at_a_pinned_version() {
    let planner = Planner::of("globex")
        .tenant(|spec| {
            spec["region"] = "eu-central".into();
            spec["release"] = json!({"version": "2026.10.9"});
        })
        .server(|spec| spec["region"] = "eu-central".into());
    insta::assert_snapshot!(only(&planner, &settings(&[]), &["Deployment", "Job", "ConfigMap"]));
}

#[test]
fn a_tenant_with_extras_and_an_identity_in_the_cloud() {
    let planner = Planner::of("acme").blueprint(|spec| {
        spec["serviceAccount"] = json!({"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/${tenant.name}"}});
        spec["extras"] = json!([{
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
            "metadata": {"name": "web", "labels": {"release": "${tenant.settings.LANGUAGE_CODE}"}, "annotations": {"example.com/url": "${url}/metrics"}},
            "spec": {"selector": {"matchLabels": {"app.kubernetes.io/component": "web"}}, "sampleLimit": "${hosts.size() * 1000}"},
        }]);
        spec["network"]["egressTo"] = json!([{"to": {"namespace": "mail", "podLabels": {"app": "smtp"}}, "ports": [25, 587]}]);
    });
    insta::assert_snapshot!(only(
        &planner,
        &settings(&["monitoring.coreos.com/v1/PodMonitor"]),
        &["PodMonitor", "ServiceAccount", "NetworkPolicy"]
    ));
}
