//! What a tenant's pods may do at the API server: nothing.

use crate::attack::*;
use crate::support::{LIMIT, NAMESPACE, SERVICE_ACCOUNT, Tenant, World, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn the_account_of_a_tenants_pods_may_do_nothing_anywhere() {
    let world = World::new().await;
    let (a, b) = tokio::join!(Tenant::new("a").ready(), Tenant::new("b").ready());
    let account = (a.namespace.as_str(), "instance");
    let places = [a.namespace.as_str(), b.namespace.as_str(), "default", "kube-system", NAMESPACE, ""];
    assert_eq!(rights(&world, account, &VERBS, &NAMESPACED, &places).await, BTreeSet::new());
    assert_eq!(rights(&world, account, &VERBS, &CLUSTER_WIDE, &["", &a.namespace, &b.namespace]).await, BTreeSet::new());
    // The same questions about somebody who may.
    let operator = rights(&world, (NAMESPACE, SERVICE_ACCOUNT), &["get"], &["secrets", "apps/deployments"], &places).await;
    assert!(operator.contains(&format!("get secrets in {:?}", b.namespace)), "{operator:?}");

    let pods = world.environment.client_of(&world.cluster, &a.namespace, "instance").await;
    let user = format!("User \"system:serviceaccount:{}:instance\" cannot", a.namespace);
    refused("its own Secret", pods.try_get("Secret", Some(&a.namespace), "database").await, &user);
    refused("another's Secret", pods.try_get("Secret", Some(&b.namespace), "database").await, &user);
    refused("all Secrets", pods.try_list("Secret", None, "").await, &user);
    refused("all pods", pods.try_list("Pod", Some(&b.namespace), "").await, &user);
    refused("all tenants", pods.try_list("Tenant", None, "").await, &user);
    refused("its own Tenant", pods.try_merge("Tenant", None, &a.name, &json!({"spec": {"plan": "large"}})).await, &user);
    refused("a pod", pods.try_create_dry(&pod(&a.namespace)).await, &user);
    refused("a pod", pods.try_create_dry(&pod(&b.namespace)).await, &user);
    refused("a deletion", pods.try_delete_dry("Deployment", Some(&b.namespace), "web").await, &user);
    refused("all deletions", pods.try_delete_all("Pod", Some(&b.namespace), "").await, &user);
}

#[tokio::test]
async fn no_pod_of_a_tenant_has_a_token() {
    let tenant = Tenant::new("tokenless").ready().await;
    let has_token = |pod: &Value| {
        let sources = |volume: &Value| volume["projected"]["sources"].to_string().contains("serviceAccountToken");
        pod["spec"]["volumes"].as_array().into_iter().flatten().any(sources)
    };
    let pods = tenant.objects("Pod").await;
    assert!(pods.len() >= 3, "{} pods", pods.len());
    for pod in &pods {
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "{}", name(pod));
        assert!(!has_token(pod), "{pod}");
    }
    assert_eq!(tenant.object("ServiceAccount", "instance").await["automountServiceAccountToken"], false);
    // A pod that says nothing gets one.
    let plain = plain_namespace(&tenant.world).await;
    let world = &tenant.world;
    let usual = wait_until("the default ServiceAccount is there", LIMIT, async || world.try_create(&pod(&plain)).await).await;
    assert!(has_token(&usual), "{usual}");
    world.delete("Namespace", None, &plain).await;
}

#[tokio::test]
async fn no_pod_of_a_tenants_people_is_more_than_restricted() {
    let tenant = Tenant::new("modestpods").ready().await;
    let ruler = person(&tenant, "cluster-admin").await;
    allowed("a restricted pod", ruler.try_create_dry(&pod(&tenant.namespace)).await);
    let container = |changes: Value| json!({"containers": [{"securityContext": changes}]});
    for change in [
        json!({"hostNetwork": true}),
        json!({"hostPID": true}),
        json!({"hostIPC": true}),
        json!({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}),
        json!({"securityContext": {"runAsNonRoot": false}}),
        json!({"securityContext": {"runAsUser": 0}}),
        json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
        json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
        container(json!({"privileged": true})),
        container(json!({"allowPrivilegeEscalation": true})),
        container(json!({"capabilities": {"add": ["NET_RAW"]}})),
    ] {
        let mut loose = pod(&tenant.namespace);
        for (field, value) in change.as_object().unwrap() {
            match field.as_str() {
                "containers" => crate::support::merge(&mut loose["spec"]["containers"][0], &value[0]),
                _ => crate::support::merge(&mut loose["spec"][field], value),
            }
        }
        // What isn't allowed beside privileges is refused with them.
        if change["containers"][0]["securityContext"]["privileged"] == true {
            loose["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
        }
        refused(&change.to_string(), ruler.try_create_dry(&loose).await, "violates PodSecurity \"restricted:latest\"");
    }
}

#[tokio::test]
async fn every_pod_of_an_instance_is_restricted_and_writes_no_root_file_system() {
    let tenant = Tenant::new("restricted").ready().await;
    let pods = tenant.objects("Pod").await;
    let jobs = tenant.objects("Job").await;
    let specs: Vec<_> = pods.iter().map(|pod| &pod["spec"]).chain(jobs.iter().map(|job| &job["spec"]["template"]["spec"])).collect();
    assert!(specs.len() >= 4, "{} pods", specs.len());
    for spec in specs {
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{spec}");
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{spec}");
        assert_eq!(spec["enableServiceLinks"], false, "{spec}");
        for container in spec["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{container}");
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{container}");
            assert!(!container["resources"]["limits"]["memory"].is_null(), "{container}");
        }
    }
}

#[tokio::test]
async fn a_tenants_pods_push_nobody_off_and_choose_no_node() {
    let tenant = Tenant::new("patient").ready().await;
    let ruler = person(&tenant, "cluster-admin").await;
    for (field, value, sentence) in [
        ("priorityClassName", "system-node-critical", "the priority classes system-… are for Kubernetes' own pods"),
        ("priorityClassName", "system-cluster-critical", "the priority classes system-… are for Kubernetes' own pods"),
        ("nodeName", "node-1", "a tenant's pods are placed by the scheduler"),
    ] {
        let mut pushing = pod(&tenant.namespace);
        pushing["spec"][field] = value.into();
        refused(value, ruler.try_create_dry(&pushing).await, sentence);
    }
    // What a Deployment makes is made by Kubernetes itself, and refused all the same.
    let mut pushing = deployment(&tenant.namespace);
    pushing["spec"]["template"]["spec"]["priorityClassName"] = "system-node-critical".into();
    let made = name(&allowed("a Deployment", ruler.try_create(&pushing).await));
    tenant
        .object_until("Deployment", &made, "its pods are refused", |deployment| {
            let conditions = deployment["status"]["conditions"].as_array()?;
            conditions.iter().find(|condition| condition["message"].to_string().contains("are for Kubernetes' own pods")).map(|_| ())
        })
        .await;
}
