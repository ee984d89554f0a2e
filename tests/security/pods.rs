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
