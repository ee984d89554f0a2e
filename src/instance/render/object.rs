//! An object to be: its kind, its place and its content as JSON.

use super::Kind;
use crate::instance::digest;
use crate::instance::shape::Shape;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; none for a namespace itself.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.kind, self.name),
            None => write!(f, "{} {}", self.kind.kind, self.name),
        }
    }
}

/// An object as it should be: only the fields that the operator cares for.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Which one.
    pub key: ObjectKey,
    /// Its content, with `apiVersion`, `kind` and `metadata`.
    pub content: Value,
    /// How many pods a Deployment starts with, where an autoscaler decides from then on.
    pub starting_replicas: Option<i32>,
}

impl Object {
    /// From a typed object.
    pub fn new(kind: Kind, metadata: &ObjectMeta, typed: &impl Serialize) -> Self {
        // A Kubernetes type has string keys and no other reason to fail.
        let content = serde_json::to_value(typed).unwrap_or_default();
        Self { key: key(kind, metadata), content: without_empty(content), starting_replicas: None }
    }

    /// From its kind, its metadata, and all else that it has.
    pub fn from_parts(kind: Kind, metadata: ObjectMeta, mut content: Map<String, Value>) -> Self {
        content.insert("apiVersion".into(), kind.api_version().into());
        content.insert("kind".into(), kind.kind.clone().into());
        content.insert("metadata".into(), serde_json::to_value(&metadata).unwrap_or_default());
        Self { key: key(kind, &metadata), content: Value::Object(content), starting_replicas: None }
    }

    /// Digest of what is wanted.
    pub fn digest(&self) -> String {
        digest::of(&self.content)
    }

    /// Digest of which fields are wanted.
    pub fn shape(&self) -> String {
        digest::of(&Shape::of(&self.content))
    }

    /// The same, starting with so many pods.
    pub fn starting_with(self, replicas: Option<i32>) -> Self {
        Self { starting_replicas: replicas, ..self }
    }

    /// The same with an annotation more.
    pub fn annotated(mut self, name: &str, value: &str) -> Self {
        self.content["metadata"]["annotations"][name] = value.into();
        self
    }
}

fn key(kind: Kind, metadata: &ObjectMeta) -> ObjectKey {
    let namespace = if kind.is_cluster_scoped() { None } else { metadata.namespace.clone() };
    ObjectKey { kind, namespace, name: metadata.name.clone().unwrap_or_default() }
}

/// Without nulls, which the typed structs leave out anyway, and without the empty `status` that none of ours has.
fn without_empty(mut content: Value) -> Value {
    if let Value::Object(fields) = &mut content {
        fields.retain(|_, value| !value.is_null());
        fields.remove("status");
    }
    content
}
