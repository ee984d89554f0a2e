//! An API server that is only asked what it would do: writes reach it as dry runs, and deletions don't reach it at all.
//!
//! What a dry run answers isn't there for the next request. So what a write would have left behind is kept here as far as the writes of one pass build
//! on each other: a namespace that everything else is in, and the requests by which one object is brought to what is wanted.
//! See [Dry-run](https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run).

use super::given_up::give_up;
use crate::api::labels;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode, Uri};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tower::BoxError;

const APPLY: &str = "application/apply-patch+yaml";
const MANAGED_FIELDS: &str = "/metadata/managedFields/";

/// An object that would be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// As it is; none where it would be made.
    pub before: Option<Value>,
    /// As it would be; none where it would be deleted.
    pub after: Option<Value>,
}

/// In front of a real API server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// By path.
    written: BTreeMap<String, Written>,
    /// The namespaces that would be there.
    namespaces: BTreeSet<String>,
    /// What earlier requests would have done to an object, by path.
    begun: HashMap<String, Begun>,
    made: u64,
}

/// What was asked of an object before its last request.
#[derive(Clone, Default)]
struct Begun {
    /// The fields that nothing but the operator's applies holds any longer, where something else has held them.
    held_by_applies: Option<Value>,
    /// Parts that were replaced, and by what.
    replaced: Vec<(String, Value)>,
    /// What others than the operator's usual manager applied.
    applied: Vec<Value>,
}

/// A request, read.
struct Asked {
    request: http::request::Parts,
    body: Vec<u8>,
}

impl Api {
    /// In front of the API server that this client speaks to.
    pub fn new(client: Client) -> Self {
        Self { client, state: Arc::default() }
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        let api = self.clone();
        Client::new(tower::service_fn(move |request| api.clone().answer(request)), "default")
    }

    /// What would have been written since the last time, by path.
    pub fn take(&self) -> BTreeMap<String, Written> {
        std::mem::take(&mut self.lock().written)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (request, body) = request.into_parts();
        if request.method == Method::GET {
            return Ok(self.client.send(Request::from_parts(request, body)).await?);
        }
        let asked = Asked { request, body: body.collect_bytes().await?.to_vec() };
        match asked.request.method {
            Method::POST => self.create(asked).await,
            Method::PATCH => self.patch(asked).await,
            Method::DELETE => self.delete(&asked).await,
            _ => Err(format!("a dry run doesn't know what {} does", asked.request.method).into()),
        }
    }

    async fn create(&self, asked: Asked) -> Result<Response<Body>, BoxError> {
        let mut object: Value = serde_json::from_slice(&asked.body)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let path = format!("{}/{name}", asked.path());
        if asked.namespace().is_some_and(|namespace| self.lock().namespaces.contains(namespace)) {
            // Nobody can be asked of what is to be in a namespace that isn't there.
            let number = {
                let mut state = self.lock();
                state.made += 1;
                state.made
            };
            object["metadata"]["uid"] = format!("00000000-0000-0000-0000-{number:012}").into();
            object["metadata"]["resourceVersion"] = "1".into();
            object["metadata"]["namespace"] = asked.namespace().into();
            self.note(path, None, Some(object.clone()));
            return Ok(answer(StatusCode::CREATED, &object));
        }
        let (status, object) = self.ask(&asked).await?;
        if status.is_success() {
            if object["kind"] == "Namespace" {
                self.lock().namespaces.insert(name);
            }
            self.note(path, None, Some(object.clone()));
        }
        Ok(answer(status, &object))
    }

    async fn patch(&self, asked: Asked) -> Result<Response<Body>, BoxError> {
        let path = asked.path().to_owned();
        let before = self.get(&path).await?;
        let patch: Value = serde_json::from_slice(&asked.body)?;
        let (mut status, mut object) = self.ask(&asked).await?;
        if status.is_success() && asked.is(APPLY) && asked.manager() == Some(labels::MANAGER) {
            let begun = self.lock().begun.get(&path).cloned().unwrap_or_default();
            if begun.adds_to(&mut object, &patch) {
                (status, object) = self.ask(&asked.replaces(&object)?).await?;
            }
        }
        if !status.is_success() {
            return Ok(answer(status, &object));
        }
        self.lock().begun.entry(path.clone()).or_default().note(&asked, patch, &object);
        self.note(path, before, Some(object.clone()));
        Ok(answer(status, &object))
    }

    async fn delete(&self, asked: &Asked) -> Result<Response<Body>, BoxError> {
        let before = self.get(asked.path()).await?;
        if before.is_some() {
            self.note(asked.path().to_owned(), before, None);
        }
        Ok(answer(StatusCode::OK, &json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"})))
    }

    fn note(&self, path: String, before: Option<Value>, after: Option<Value>) {
        self.lock().written.entry(path).and_modify(|written| written.after = after.clone()).or_insert(Written { before, after });
    }

    /// An object as it is.
    async fn get(&self, path: &str) -> Result<Option<Value>, BoxError> {
        let (status, object) = self.send(Request::get(path).body(Body::empty())?).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(object)),
            _ => Err(format!("{path} can't be read: {}", object["message"].as_str().unwrap_or_default()).into()),
        }
    }

    /// Asks what a write would do.
    async fn ask(&self, asked: &Asked) -> Result<(StatusCode, Value), BoxError> {
        let mut uri = asked.request.uri.path().to_owned();
        let query = asked.request.uri.query().unwrap_or_default();
        uri += &format!("?{query}{}dryRun=All", if query.is_empty() || query.ends_with('&') { "" } else { "&" });
        let mut request = Request::builder().method(&asked.request.method).uri(uri.parse::<Uri>()?);
        for (name, value) in asked.request.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
            request = request.header(name, value);
        }
        self.send(request.body(Body::from(asked.body.clone()))?).await
    }

    async fn send(&self, request: Request<Body>) -> Result<(StatusCode, Value), BoxError> {
        let response = self.client.send(request).await?;
        let status = response.status();
        let body = response.into_body().collect_bytes().await?;
        // What stands between may answer by other than JSON.
        let said = || json!({"message": String::from_utf8_lossy(&body)});
        Ok((status, serde_json::from_slice(&body).unwrap_or_else(|_| said())))
    }
}

impl Begun {
    /// Takes down what a request would have left for the next one.
    fn note(&mut self, asked: &Asked, patch: Value, answered: &Value) {
        if asked.is(APPLY) {
            if asked.manager() != Some(labels::MANAGER) {
                self.applied.push(patch);
            }
            return;
        }
        for operation in patch.as_array().into_iter().flatten().filter(|operation| operation["op"] != "test") {
            let path = operation["path"].as_str().unwrap_or_default();
            if path.starts_with(MANAGED_FIELDS) {
                let mut entries = answered["metadata"]["managedFields"].as_array().into_iter().flatten();
                let applied = entries.find(|entry| entry["manager"] == labels::MANAGER && entry["operation"] == "Apply");
                self.held_by_applies = applied.map(|entry| entry["fieldsV1"].clone());
            } else {
                self.replaced.push((path.to_owned(), operation["value"].clone()));
            }
        }
    }

    /// Brings what an apply answered to what it would have answered after all that; tells whether that is anything else.
    fn adds_to(&self, object: &mut Value, wanted: &Value) -> bool {
        let before = object.clone();
        if let Some(held) = &self.held_by_applies {
            let others: Vec<_> = before["metadata"]["managedFields"].as_array().into_iter().flatten().cloned().collect();
            let others: Vec<_> =
                others.iter().filter(|entry| entry["manager"] != labels::MANAGER).map(|entry| &entry["fieldsV1"]).collect();
            give_up(held, &others, Some(wanted), object);
        }
        for (path, value) in &self.replaced {
            if let Some(part) = object.pointer_mut(path) {
                *part = value.clone();
            }
        }
        for applied in &self.applied {
            json_patch::merge(object, applied);
        }
        *object != before
    }
}

impl Asked {
    fn path(&self) -> &str {
        self.request.uri.path()
    }

    fn namespace(&self) -> Option<&str> {
        let mut parts = self.path().split('/').skip_while(|part| *part != "namespaces").skip(1);
        let namespace = parts.next()?;
        parts.next().map(|_| namespace)
    }

    fn is(&self, content_type: &str) -> bool {
        self.request.headers.get(CONTENT_TYPE).is_some_and(|given| given == content_type)
    }

    fn manager(&self) -> Option<&str> {
        self.request.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("fieldManager="))
    }

    /// The request to make the object just so.
    fn replaces(&self, object: &Value) -> Result<Self, BoxError> {
        let mut object = object.clone();
        object["metadata"].as_object_mut().map(|metadata| metadata.remove("managedFields"));
        let uri = format!("{}?fieldManager={}", self.path(), labels::MANAGER);
        let request = Request::put(uri).header(CONTENT_TYPE, "application/json").body(())?;
        Ok(Self { request: request.into_parts().0, body: object.to_string().into_bytes() })
    }
}

fn answer(status: StatusCode, object: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(object.to_string().into_bytes()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON_PATCH: &str = "application/json-patch+json";

    fn asked(method: Method, uri: &str, content_type: &str) -> Asked {
        let request = Request::builder().method(method).uri(uri).header(CONTENT_TYPE, content_type).body(()).unwrap();
        Asked { request: request.into_parts().0, body: Vec::new() }
    }

    #[test]
    fn a_request_says_where_and_as_whom() {
        let inside = asked(Method::PATCH, "/apis/apps/v1/namespaces/tenant-acme/deployments/web?&fieldManager=tenantry&force=true", APPLY);
        assert_eq!((inside.namespace(), inside.manager(), inside.is(APPLY)), (Some("tenant-acme"), Some("tenantry"), true));
        let itself = asked(Method::PATCH, "/api/v1/namespaces/tenant-acme", JSON_PATCH);
        assert_eq!((itself.namespace(), itself.manager(), itself.is(APPLY)), (None, None, false));
    }

    #[test]
    fn what_was_asked_before_counts_for_the_last_answer() {
        let path = "/apis/apps/v1/namespaces/tenant-acme/deployments/web";
        let entry =
            json!({"manager": "tenantry", "operation": "Apply", "fieldsV1": {"f:spec": {"f:old": {}, "f:replicas": {}, "f:rules": {}}}});
        let answered = json!({"metadata": {"managedFields": [entry]}});
        let mut begun = Begun::default();
        let own = json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
                         {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Apply"}]);
        begun.note(&asked(Method::PATCH, path, JSON_PATCH), own, &answered);
        let close = json!([{"op": "add", "path": "/spec/rules", "value": [1]}]);
        begun.note(&asked(Method::PATCH, path, JSON_PATCH), close, &answered);
        let starting = json!({"spec": {"replicas": 3}});
        begun.note(&asked(Method::PATCH, &format!("{path}?fieldManager=tenantry-starting-replicas"), APPLY), starting, &answered);
        let mut object = json!({"spec": {"old": 1, "replicas": 2, "rules": [1, 2], "others": true}});
        assert!(begun.adds_to(&mut object, &json!({"spec": {"rules": [1]}})));
        assert_eq!(object, json!({"spec": {"replicas": 3, "rules": [1], "others": true}}));
        assert!(!Begun::default().adds_to(&mut object, &json!({})));
    }

    #[test]
    fn where_the_creations_entry_goes_what_applies_have_set_goes() {
        let fields = json!({"f:spec": {"f:old": {}, "f:kept": {}}});
        // Another's entry has moved to where the creation's was.
        let entries = json!([{"manager": "tenantry", "operation": "Apply", "fieldsV1": fields},
                             {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:theirs": {}}}}]);
        let goes = json!([{"op": "remove", "path": "/metadata/managedFields/1"}]);
        let mut begun = Begun::default();
        let path = "/api/v1/namespaces/tenant-acme/configmaps/settings";
        begun.note(&asked(Method::PATCH, path, JSON_PATCH), goes, &json!({"metadata": {"managedFields": entries}}));
        let mut object = json!({"spec": {"old": 1, "kept": 2, "theirs": 3}});
        assert!(begun.adds_to(&mut object, &json!({"spec": {"kept": 2}})));
        assert_eq!(object, json!({"spec": {"kept": 2, "theirs": 3}}));
    }
}
