//! An object as the API server gives it, read only as far as decisions need it. For a Deployment in a watch that is a third less work than a tree of
//! all of it, `managedFields` too, and all objects are read when the operator starts. Parts can be kept as text only where they come as text:
//! in an event the type has to stand before the object, as the API server writes it.

use crate::api::labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// An object as the API server gives it.
#[derive(Clone)]
pub struct Live {
    /// Name, namespace, UID, resource version, owners, and since when it is being deleted.
    pub(super) identity: ObjectMeta,
    /// Where in `managedFields` our entry of its creation is.
    pub(super) created_entry: Option<usize>,
    /// Whether there is an entry of our applies.
    pub(super) is_applied: bool,
    /// Whether the number of pods is a field of our applies.
    pub(super) owns_replicas: bool,
    /// Its fields as JSON, but for `apiVersion` and `kind`, which the items of a list don't have.
    pub(super) fields: Vec<(String, Box<RawValue>)>,
}

/// No value of a Secret gets into a log this way.
impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Resource for Live {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.identity
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.identity
    }
}

/// What decisions need of an object's metadata.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    deletion_timestamp: Option<Time>,
    managed_fields: Option<Vec<Entry>>,
}

/// Who wrote which fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    #[serde(rename = "fieldsV1")]
    fields: Option<Box<RawValue>>,
}

impl Entry {
    /// What our creation wrote, or a change that was no apply.
    fn is_created(&self) -> bool {
        self.is_ours("Update")
    }

    /// What our applies wrote.
    fn is_applied(&self) -> bool {
        self.is_ours("Apply")
    }

    fn is_ours(&self, operation: &str) -> bool {
        self.manager.as_deref() == Some(labels::MANAGER) && self.operation.as_deref() == Some(operation) && self.subresource.is_none()
    }

    fn sets_replicas(&self) -> bool {
        let fields = self.fields.as_ref().map(|fields| fields.get()).filter(|fields| fields.contains("f:replicas"));
        let fields = fields.and_then(|fields| serde_json::from_str::<Value>(fields).ok());
        fields.is_some_and(|fields| fields.pointer("/f:spec/f:replicas").is_some())
    }
}

impl<'de> Deserialize<'de> for Live {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LiveVisitor)
    }
}

struct LiveVisitor;

impl<'de> Visitor<'de> for LiveVisitor {
    type Value = Live;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of Kubernetes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Live, A::Error> {
        let mut live =
            Live { identity: ObjectMeta::default(), created_entry: None, is_applied: false, owns_replicas: false, fields: Vec::new() };
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "apiVersion" | "kind" => {
                    map.next_value::<IgnoredAny>()?;
                }
                "metadata" => {
                    let metadata = map.next_value::<Box<RawValue>>()?;
                    let kept = live.identify(&metadata).map_err(A::Error::custom)?;
                    live.fields.push((name, kept));
                }
                _ => live.fields.push((name, map.next_value()?)),
            }
        }
        Ok(live)
    }
}

impl Live {
    /// The resource version, as a number: those of one cluster are in the order of its changes, since Kubernetes 1.35 by promise. See
    /// [Resource versions](https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
    pub fn version(&self) -> u64 {
        self.identity.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
    }

    /// Reads the metadata, and gives back what is kept of it.
    fn identify(&mut self, metadata: &RawValue) -> serde_json::Result<Box<RawValue>> {
        let identity: Identity = serde_json::from_str(metadata.get())?;
        self.identity = ObjectMeta {
            name: identity.name,
            namespace: identity.namespace,
            uid: identity.uid,
            resource_version: identity.resource_version,
            owner_references: identity.owner_references,
            deletion_timestamp: identity.deletion_timestamp,
            ..ObjectMeta::default()
        };
        let entries = identity.managed_fields.unwrap_or_default();
        self.created_entry = entries.iter().position(Entry::is_created);
        let applied = entries.iter().find(|entry| entry.is_applied());
        self.is_applied = applied.is_some();
        self.owns_replicas = applied.is_some_and(Entry::sets_replicas);
        let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(metadata.get())?;
        fields.retain(|name, _| name != "managedFields" && name != "resourceVersion");
        serde_json::value::to_raw_value(&fields)
    }
}
