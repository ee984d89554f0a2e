//! `kubectl tenantry check` on an installation of which one thing after another is broken: each is named, with what mends it, and nothing else is.

use crate::support::program::{code, out, said, tenantry};
use crate::support::{LIMIT, NAMESPACE, Tenant, World, admin_secret, kubectl, unique, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::process::Command;

/// Waits until all is well, or, with words, until one check fails and says all of them.
async fn says(options: &[&str], words: &[&str]) {
    wait_until(&format!("check says {words:?}"), LIMIT, async || {
        let answer = tenantry(&[&["check"], options].concat()).await;
        let text = out(&answer);
        let failed: Vec<_> = text.split("\n✗ ").skip(1).chain(text.strip_prefix("✗ ")).collect();
        let is_so = match (words.is_empty(), failed.as_slice()) {
            (true, []) => code(&answer) == 0,
            (false, [one]) => {
                let mended = one.split_once("mend it: ").is_some_and(|(_, rest)| rest.contains("see docs/"));
                code(&answer) == 1 && mended && words.iter().all(|word| one.contains(word))
            }
            _ => false,
        };
        if is_so { Ok(()) } else { Err(format!("{text}{}", said(&answer))) }
    })
    .await;
}

/// Installs this folder of config again.
fn install_again(folder: &str) {
    let path = format!("{}/config/{folder}", env!("CARGO_MANIFEST_DIR"));
    kubectl(&["apply", "--server-side", "--force-conflicts", "--kustomize", &path]).expect("it is installed");
}

#[tokio::test]
async fn what_is_broken_of_the_installation_is_named() {
    let (_alone, world) = World::alone().await;
    // Whether somebody has looked at the database server depends on the test before.
    let without = tenantry(&["check"]).await;
    assert_eq!(code(&without), 1);
    let words = "✗ operator: no operator is at work: nobody holds its Lease\n    mend it: kubectl get pods -n tenantry-system";
    assert!(out(&without).contains(words), "{}", out(&without));
    let _operator = world.environment.start_leader().await;
    says(&[], &[]).await;

    kubectl(&["delete", "validatingadmissionpolicy", "tenantry-pods"]).expect("it was there");
    says(&[], &["admission policies: 1 not in force", "tenantry-pods", "-k config/admission"]).await;
    kubectl(&["delete", "validatingadmissionpolicybinding", "tenantry-marks"]).expect("it was there");
    says(&[], &["admission policies: 2 not in force", "tenantry-marks, tenantry-pods"]).await;
    install_again("admission");
    says(&[], &[]).await;

    kubectl(&["delete", "clusterrole", "tenantry-instance"]).expect("it was there");
    says(&[], &["operator's account: there is no ClusterRole tenantry-instance", "-k config/rbac"]).await;
    install_again("rbac");
    says(&[], &[]).await;
    kubectl(&["delete", "clusterrole", "tenantry-instance-base"]).expect("it was there");
    // The aggregation leaves nothing but what tests let the operator make.
    kubectl(&["delete", "clusterrole", "tenantry-instance-cronjobs"]).expect("it was there");
    says(&[], &["operator's account: ClusterRole tenantry-instance has no rules"]).await;
    install_again("rbac");
    kubectl(&["apply", "--filename", &format!("{}/tests/support/extras.yaml", env!("CARGO_MANIFEST_DIR"))]).expect("it is installed");
    says(&[], &[]).await;
    says(&["--service-account", "nobody-here"], &["there is no ServiceAccount tenantry-system/nobody-here"]).await;

    let without = json!({"rules": [{"apiGroups": ["tenantry.dev"], "resources": ["*"], "verbs": ["*"]}]});
    kubectl(&["patch", "clusterrole", "tenantry-operator", "--type", "merge", "--patch", &without.to_string()]).expect("it was there");
    says(&[], &["operator's rights: system:serviceaccount:tenantry-system:tenantry-operator may not", "bind clusterroles", "more"]).await;
    install_again("rbac");
    says(&[], &[]).await;

    let older = json!([{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/price"}]);
    kubectl(&["patch", "crd", "plans.tenantry.dev", "--type", "json", "--patch", &older.to_string()]).expect("it was there");
    says(&[], &["resources: plans.tenantry.dev is of another version", "tenantry crd | kubectl apply"]).await;
    install_again("crd");
    says(&[], &[]).await;
}

#[tokio::test]
async fn what_is_broken_of_a_database_server_is_named() {
    let (_alone, world) = World::alone().await;
    let _operator = world.environment.start_leader().await;
    let postgres = &world.environment.postgres;
    let secret = |name: &str, changes: Value| {
        let mut secret = admin_secret(postgres);
        secret["metadata"]["name"] = name.into();
        crate::support::merge(&mut secret["data"], &changes);
        secret
    };
    // A certificate of an authority that has nothing to do with the server's.
    let options =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=other"];
    let other = Command::new("openssl").args(options).args(["-keyout", "/dev/null"]).output().expect("openssl starts").stdout;
    let weak = unique("weak").replace('-', "_");
    postgres.admin(&format!("CREATE ROLE {weak} LOGIN PASSWORD '0123456789abcdef0123456789abcdef'")).await;
    postgres.admin(&format!("CREATE DATABASE {weak} OWNER {weak}")).await;
    world.apply(&secret("other-authority", json!({"ca.crt": BASE64.encode(other)}))).await;
    world.apply(&secret("wrong-password", json!({"password": BASE64.encode("wrong")}))).await;
    let login = json!({"username": BASE64.encode(&weak), "password": BASE64.encode("0123456789abcdef0123456789abcdef")});
    world.apply(&secret("weak", login)).await;

    let broken = [
        (json!({"port": 1}), vec!["can't be reached"]),
        (json!({"adminSecret": {"name": "nowhere"}}), vec!["nowhere"]),
        (json!({"adminSecret": {"name": "other-authority"}}), vec!["certificate"]),
        (json!({"adminSecret": {"name": "wrong-password"}}), vec!["password"]),
        (json!({"adminSecret": {"name": "weak"}, "database": weak}), vec!["CREATEROLE"]),
    ];
    for (changes, mut words) in broken {
        let server = world.server(changes).await;
        let (what, mend) = (format!("database server {server}: "), format!("kubectl describe databaseserver {server}"));
        words.extend([what.as_str(), mend.as_str()]);
        says(&[], &words).await;
        world.delete("DatabaseServer", None, &server).await;
        says(&[], &[]).await;
    }
    postgres.admin(&format!("DROP DATABASE {weak}")).await;
    postgres.admin(&format!("DROP ROLE {weak}")).await;
    for name in ["other-authority", "wrong-password", "weak"] {
        world.delete("Secret", Some(NAMESPACE), name).await;
    }
}

#[tokio::test]
async fn what_a_blueprint_or_a_tenant_lacks_is_named() {
    let (_alone, world) = World::alone().await;
    let _operator = world.environment.start_leader().await;
    let gateway = json!({"ingress": null, "gateway": {"parentRef": {"name": "public", "namespace": "gateways"}}});
    let broken = [
        (json!({"ingress": {"className": "nowhere"}}), "there is no IngressClass nowhere"),
        (json!({"image": {"pullSecret": "nowhere"}}), "its pull secret nowhere isn't in namespace tenantry-system"),
        (json!({"ingress": {"tls": {"clusterIssuer": "letsencrypt"}}}), "come from ClusterIssuer letsencrypt, and there is none"),
        (gateway, "belong to Gateway gateways/public, and there is none"),
        (json!({"baseDomain": "product.invalid"}), "tenantry-check.product.invalid doesn't resolve here"),
    ];
    for (changes, words) in broken {
        let blueprint = world.blueprint(changes).await;
        says(&[], &[&format!("blueprint {blueprint}: "), words]).await;
        world.delete("Blueprint", None, &blueprint).await;
        says(&[], &[]).await;
    }
    let tenant = Tenant::new("lacking").with(json!({"plan": "nowhere"})).create_in(&world).await;
    tenant.stalled("PlanMissing").await;
    says(&[], &["tenants: 1 of 1 need somebody", &format!("kubectl tenantry why {}", tenant.name)]).await;
    tenant.delete().await.gone().await;
    says(&[], &[]).await;
}

#[tokio::test]
async fn before_the_installation_it_says_what_is_lacking() {
    let (_alone, _world) = World::alone().await;
    says(&["--pre"], &[]).await;
    let nobody = tenantry(&["check", "--pre", "--as", "nobody"]).await;
    assert_eq!(code(&nobody), 1, "{}", out(&nobody));
    assert!(out(&nobody).contains("✗ your rights: you may not create customresourcedefinitions"), "{}", out(&nobody));
    assert!(out(&nobody).contains("mend it: ask for cluster-admin"), "{}", out(&nobody));
    let nowhere = std::env::temp_dir().join(unique("nowhere"));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x", "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
    });
    std::fs::write(&nowhere, config.to_string()).expect("a file");
    let unreachable = tenantry(&["check", "--kubeconfig", nowhere.to_str().expect("a path")]).await;
    assert!(code(&unreachable) == 1 && said(&unreachable).contains("the API server doesn't answer"), "{}", said(&unreachable));
    std::fs::remove_file(nowhere).expect("the file is ours");
}
