//! Plays the controllers that this cluster doesn't have: Deployments and Jobs are done at once, Ingresses get an address, what is deleted goes,
//! namespaces end.

use crate::support::Cluster;
use crate::support::kinds::{OF_AN_INSTANCE, resource};
use futures::TryStreamExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use serde_json::{Value, json};

/// Works for as long as the process lives.
pub fn start(cluster: &Cluster) {
    for kind in OF_AN_INSTANCE.into_iter().chain(["Namespace"]) {
        tokio::spawn(play(cluster.clone(), kind));
    }
}

async fn play(cluster: Cluster, kind: &'static str) {
    let all: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource(kind));
    let mut changes = std::pin::pin!(watcher(all, watcher::Config::default()).default_backoff().applied_objects());
    loop {
        match changes.try_next().await {
            Ok(Some(object)) => act(&cluster, kind, &object).await,
            Ok(None) => return,
            Err(error) => eprintln!("the watch of {} of who plays the controllers: {error}", kind),
        }
    }
}

async fn act(cluster: &Cluster, kind: &str, object: &DynamicObject) {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let live = serde_json::to_value(object).expect("JSON");
    if kind == "Namespace" {
        if object.metadata.deletion_timestamp.is_some() {
            end_namespace(cluster, name).await;
        }
        return;
    }
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), object.metadata.namespace.as_deref().unwrap_or_default(), &resource(kind));
    // Whoever is quicker, or deletes it meanwhile, is right; the next event tells.
    if object.metadata.deletion_timestamp.is_some() {
        let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await;
        return;
    }
    let status = match kind {
        "Job" => done_job(&live),
        "Ingress" => addressed_ingress(&live),
        "Deployment" => done_deployment(&live),
        _ => None,
    };
    if let Some(status) = status {
        let _ = api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await;
    }
}

fn done_deployment(live: &Value) -> Option<Value> {
    let generation = &live["metadata"]["generation"];
    let replicas = live.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    if live["status"]["observedGeneration"] == *generation {
        return None;
    }
    Some(json!({
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
        "availableReplicas": replicas,
    }))
}

fn addressed_ingress(live: &Value) -> Option<Value> {
    live.pointer("/status/loadBalancer/ingress").is_none().then(|| json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}))
}

fn done_job(live: &Value) -> Option<Value> {
    if live["status"]["succeeded"] == 1 {
        return None;
    }
    let now = live["metadata"]["creationTimestamp"].clone();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "reason": "CompletionsReached"});
    Some(json!({
        "startTime": now, "completionTime": now, "succeeded": 1, "uncountedTerminatedPods": {}, "ready": 0, "terminating": 0,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }))
}

/// Deletes what is in it, and lets it go.
pub async fn end_namespace(cluster: &Cluster, name: &str) {
    let background = DeleteParams::background();
    for kind in OF_AN_INSTANCE {
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), name, &resource(kind));
        if kind == "Service" {
            for service in api.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
                let _ = api.delete(service.metadata.name.as_deref().unwrap_or_default(), &background).await;
            }
        } else {
            let _ = api.delete_collection(&background, &ListParams::default()).await;
        }
    }
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}});
    let request = http::Request::put(format!("/api/v1/namespaces/{name}/finalize"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes());
    let _ = cluster.client.request::<Value>(request.expect("a request")).await;
}
