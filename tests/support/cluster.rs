//! Requests to the API server on objects of any kind, as JSON: what tests look at needs no types.

use super::kinds::resource;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// The cluster, as somebody.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
}

impl Cluster {
    fn api(&self, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource(kind)),
            None => Api::all_with(self.client.clone(), &resource(kind)),
        }
    }

    /// The object, if there is one.
    pub async fn find(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let found = self.api(kind, namespace).get_opt(name).await.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
        found.map(|object| serde_json::to_value(object).expect("JSON"))
    }

    /// The object.
    pub async fn get(&self, kind: &str, namespace: Option<&str>, name: &str) -> Value {
        self.find(kind, namespace, name).await.unwrap_or_else(|| panic!("there is no {kind} {namespace:?} {name}"))
    }

    /// Reads an object, or says why not.
    pub async fn try_get(&self, kind: &str, namespace: Option<&str>, name: &str) -> Result<Value, String> {
        self.api(kind, namespace).get(name).await.map(|object| serde_json::to_value(object).expect("JSON")).map_err(message)
    }

    /// All objects with these labels.
    pub async fn list(&self, kind: &str, namespace: Option<&str>, labels: &str) -> Vec<Value> {
        self.try_list(kind, namespace, labels).await.unwrap_or_else(|error| panic!("{kind}: {error}"))
    }

    /// All objects with these labels, or why they can't be listed.
    pub async fn try_list(&self, kind: &str, namespace: Option<&str>, labels: &str) -> Result<Vec<Value>, String> {
        let list = self.api(kind, namespace).list(&ListParams::default().labels(labels)).await.map_err(message)?;
        Ok(list.items.into_iter().map(|object| serde_json::to_value(object).expect("JSON")).collect())
    }

    /// Creates an object.
    pub async fn create(&self, object: &Value) -> Value {
        self.try_create(object).await.unwrap_or_else(|error| panic!("{object}: {error}"))
    }

    /// Creates an object, or says why it is refused.
    pub async fn try_create(&self, object: &Value) -> Result<Value, String> {
        self.post(object, false).await
    }

    /// Asks whether an object could be created.
    pub async fn try_create_dry(&self, object: &Value) -> Result<(), String> {
        self.post(object, true).await.map(|_| ())
    }

    async fn post(&self, object: &Value, dry_run: bool) -> Result<Value, String> {
        let kind = object["kind"].as_str().expect("a kind");
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        let api = self.api(kind, object.metadata.namespace.as_deref());
        let created = api.create(&PostParams { dry_run, ..Default::default() }, &object).await.map_err(message)?;
        Ok(serde_json::to_value(created).expect("JSON"))
    }

    /// Applies an object as an admin does.
    pub async fn apply(&self, object: &Value) {
        let (kind, name) = (object["kind"].as_str().expect("a kind"), object["metadata"]["name"].as_str().expect("a name"));
        let api = self.api(kind, object["metadata"]["namespace"].as_str());
        api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(object)).await.unwrap_or_else(|e| panic!("{kind} {name}: {e}"));
    }

    /// Merges fields into an object.
    pub async fn merge(&self, kind: &str, namespace: Option<&str>, name: &str, patch: &Value) -> Value {
        self.try_merge(kind, namespace, name, patch).await.unwrap_or_else(|error| panic!("{kind} {name}, {patch}: {error}"))
    }

    /// Merges fields into an object, or says why it is refused.
    pub async fn try_merge(&self, kind: &str, namespace: Option<&str>, name: &str, patch: &Value) -> Result<Value, String> {
        let changed = self.api(kind, namespace).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(message)?;
        Ok(serde_json::to_value(changed).expect("JSON"))
    }

    /// Sends a request as it is, for what the other ways don't reach: subresources, further kinds of patches, a whole object.
    pub async fn try_request(&self, method: &str, path: &str, content: Option<(&str, &Value)>) -> Result<Value, String> {
        let (content_type, body) = content.map_or(("application/json", Vec::new()), |(kind, body)| (kind, body.to_string().into_bytes()));
        let request = http::Request::builder().method(method).uri(path).header("Content-Type", content_type).body(body).expect("a request");
        let answer = self.client.request_text(request).await.map_err(message)?;
        Ok(serde_json::from_str(&answer).unwrap_or(Value::String(answer)))
    }

    /// Merges fields into an object's status.
    pub async fn merge_status(&self, kind: &str, namespace: Option<&str>, name: &str, patch: &Value) {
        let result = self.api(kind, namespace).patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        result.unwrap_or_else(|error| panic!("{kind} {name}, {patch}: {error}"));
    }

    /// Applies the status of an object of ours as somebody.
    pub async fn apply_status_as(&self, manager: &str, kind: &str, name: &str, status: &Value) {
        let patch = json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "status": status});
        let result = self.api(kind, None).patch_status(name, &PatchParams::apply(manager).force(), &Patch::Apply(&patch)).await;
        result.unwrap_or_else(|error| panic!("{kind} {name}, {patch}: {error}"));
    }

    /// Deletes an object.
    pub async fn delete(&self, kind: &str, namespace: Option<&str>, name: &str) {
        self.try_delete(kind, namespace, name).await.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }

    /// Deletes an object, or says why it is refused.
    pub async fn try_delete(&self, kind: &str, namespace: Option<&str>, name: &str) -> Result<(), String> {
        self.api(kind, namespace).delete(name, &DeleteParams::background()).await.map(|_| ()).map_err(message)
    }

    /// Deletes all objects with these fields by one request, or says why that is refused.
    pub async fn try_delete_all(&self, kind: &str, namespace: Option<&str>, fields: &str) -> Result<(), String> {
        let chosen = ListParams::default().fields(fields);
        self.api(kind, namespace).delete_collection(&DeleteParams::background(), &chosen).await.map(|_| ()).map_err(message)
    }

    /// Asks whether an object could be deleted.
    pub async fn try_delete_dry(&self, kind: &str, namespace: Option<&str>, name: &str) -> Result<(), String> {
        self.api(kind, namespace).delete(name, &DeleteParams { dry_run: true, ..Default::default() }).await.map(|_| ()).map_err(message)
    }
}

fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
