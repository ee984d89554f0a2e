//! What is kept of an object of the cluster: who it is, and what decisions go by. All of it is kept only until it was found to be as wanted.

use super::live::Live;
use crate::api::labels;
use crate::instance::render::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The kinds whose status counts. That of all others changes with every pod of an instance, and tells nothing that isn't known.
const WITH_STATUS: [Kind; 5] = [Kind::NAMESPACE, Kind::DEPLOYMENT, Kind::JOB, Kind::INGRESS, Kind::HTTP_ROUTE];

/// An object of the cluster, as far as decisions need it.
pub struct Observed {
    /// Its UID, a precondition of every deletion.
    pub uid: String,
    /// Its resource version.
    pub resource_version: u64,
    /// The UID of the Tenant that owns it.
    pub owner: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What of it decisions go by as long as it is there, as JSON.
    state: Box<str>,
    /// SHA-256 of all of it but its status.
    digest: [u8; 32],
    /// Where in `managedFields` our entry of its creation is, which holds what it has until it is gone.
    pub created_entry: Option<usize>,
    /// Whether there is an entry of our applies.
    pub is_applied: bool,
    /// Whether the number of a Deployment's pods is a field of our applies.
    pub owns_replicas: bool,
    compared: Mutex<Compared>,
}

/// Whether an object was compared with what is wanted.
#[derive(Clone)]
enum Compared {
    /// Not yet. All of it but its status, as JSON.
    Not(Box<str>),
    /// It was found to be what is wanted and has this mark. All of it isn't kept any longer: that would be most of the operator's memory.
    FoundToBe(Box<str>),
}

impl Observed {
    /// From what the API server gave of an object of this kind.
    pub fn new(kind: &Kind, live: Live) -> Self {
        let types = [("apiVersion", kind.api_version()), ("kind", kind.kind.to_string())]
            .map(|(name, value)| (name, Value::from(value).to_string()));
        let types = types.iter().map(|(name, value)| (*name, value.as_str()));
        let given = live.fields.iter().map(|(name, value)| (name.as_str(), value.get()));
        let content = object(types.chain(given.filter(|(name, _)| *name != "status")));
        Self {
            uid: live.uid().unwrap_or_default(),
            resource_version: live.version(),
            owner: owner(&live.identity),
            deleting: live.identity.deletion_timestamp.is_some(),
            state: state(kind, &live.fields).into(),
            digest: Sha256::digest(&content).into(),
            created_entry: live.created_entry,
            is_applied: live.is_applied,
            owns_replicas: live.owns_replicas,
            compared: Mutex::new(Compared::Not(content.into())),
        }
    }

    /// Takes over what is known of the object as it was before. Tells whether it is any other now, as far as decisions go.
    pub fn follows(&mut self, before: &Self) -> bool {
        let is_same = self.digest == before.digest;
        if is_same {
            self.compared = Mutex::new(before.compared().clone());
        }
        !is_same || self.state != before.state
    }

    /// Whether what has this digest was compared with it before, and found to be so. An object that changes is observed anew, so this holds
    /// for ever.
    pub fn is_known_to_be(&self, digest: &str) -> bool {
        matches!(&*self.compared(), Compared::FoundToBe(mark) if digest_of(mark) == digest)
    }

    /// What has this mark was compared with it, and found to be so.
    pub fn was_found_to_be(&self, mark: String) {
        *self.compared() = Compared::FoundToBe(mark.into());
    }

    /// What was applied last, or made, by its digest and that of which fields it had; none where nothing says so.
    pub fn mark(&self) -> Option<String> {
        match &*self.compared() {
            Compared::FoundToBe(mark) => Some(mark.to_string()),
            Compared::Not(content) => mark_of(content),
        }
    }

    /// The digest of which fields were applied last, or made; none where nothing says so.
    pub fn shape(&self) -> Option<String> {
        self.mark()?.split_once('-').map(|(_, shape)| shape.to_owned())
    }

    /// Whether all of it is known.
    pub fn is_whole(&self) -> bool {
        matches!(&*self.compared(), Compared::Not(_))
    }

    /// All of it but its status; none once it was found to be what was wanted.
    pub fn content(&self) -> Option<Value> {
        match &*self.compared() {
            Compared::Not(content) => serde_json::from_str(content).ok(),
            Compared::FoundToBe(_) => None,
        }
    }

    /// What of it decisions go by as long as it is there, where it is in the object.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.state).unwrap_or_default()
    }

    fn compared(&self) -> MutexGuard<'_, Compared> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status, where it counts, and of the rest the parts that are looked at beside it.
fn state(kind: &Kind, fields: &[(String, Box<RawValue>)]) -> String {
    let counts = WITH_STATUS.contains(kind);
    let kept = |field: &str, value: &RawValue| match field {
        "status" if counts => Some(value.get().to_owned()),
        "metadata" if counts => Some(parts(value, &["annotations", "finalizers", "generation"])),
        "metadata" => Some(parts(value, &["finalizers"])),
        "spec" if counts => Some(parts(value, &["hostnames", "replicas", "rules"])),
        _ => None,
    };
    let kept: Vec<_> = fields.iter().filter_map(|(field, value)| Some((field.as_str(), kept(field, value)?))).collect();
    object(kept.iter().map(|(field, value)| (*field, value.as_str())))
}

/// The digest of what was applied, of a mark.
pub fn digest_of(mark: &str) -> &str {
    mark.split('-').next().unwrap_or(mark)
}

/// What was applied last, as the object says itself.
fn mark_of(content: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Marked {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        annotations: BTreeMap<String, String>,
    }
    serde_json::from_str::<Marked>(content).ok()?.metadata.annotations.remove(labels::APPLIED)
}

/// These fields of an object of JSON.
fn parts(value: &RawValue, names: &[&str]) -> String {
    let all: BTreeMap<String, &RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
    object(all.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(name, value)| (name.as_str(), value.get())))
}

/// An object of JSON, from its fields and their values as JSON.
fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let fields: Vec<_> = fields.map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
    format!("{{{}}}", fields.join(","))
}

/// No value of a Secret gets into a log this way.
impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("uid", &self.uid).field("resource_version", &self.resource_version).finish_non_exhaustive()
    }
}

/// The UID of the Tenant that owns the object.
fn owner(metadata: &ObjectMeta) -> Option<String> {
    let owners = metadata.owner_references.as_ref()?;
    let ours = |group: &str| group.split('/').next() == Some(crate::api::GROUP);
    owners.iter().find(|owner| owner.kind == "Tenant" && ours(&owner.api_version)).map(|owner| owner.uid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    fn deployment() -> Value {
        let fields = |fields: Value| json!({"manager": "tenantry", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let others =
            json!({"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}});
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "tenant-acme", "uid": "u", "resourceVersion": "7", "generation": 2, "labels": {"a\"b": "ü\n"},
                "ownerReferences": [{"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": "acme", "uid": "t"}],
                "managedFields": [others, fields(json!({"f:spec": {"f:replicas": {}}}))],
            },
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"image": "a", "args": ["}", "{", ","]}]}}},
            "status": {"replicas": 3},
        })
    }

    fn is_whole(observed: &Observed) {
        let mut expected = deployment();
        expected["metadata"].as_object_mut().unwrap().retain(|name, _| name != "managedFields" && name != "resourceVersion");
        let status = expected.as_object_mut().unwrap().remove("status");
        assert_eq!(observed.content(), Some(expected));
        let state = json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": status});
        assert_eq!(observed.state(), state);
        assert_eq!((observed.uid.as_str(), observed.resource_version, observed.owner.as_deref()), ("u", 7, Some("t")));
        assert_eq!((observed.created_entry, observed.is_applied, observed.owns_replicas), (Some(1), false, false));
        assert!(!observed.deleting);
    }

    #[test]
    fn an_object_is_the_same_by_a_watch_in_a_list_and_by_itself() {
        let text = deployment().to_string();
        is_whole(&Observed::new(&Kind::DEPLOYMENT, serde_json::from_str(&text).unwrap()));
        let event = format!(r#"{{"type":"MODIFIED","object":{text}}}"#);
        let WatchEvent::Modified(live) = serde_json::from_str::<WatchEvent<Live>>(&event).unwrap() else { panic!("another event") };
        is_whole(&Observed::new(&Kind::DEPLOYMENT, live));
        let mut item = deployment();
        item.as_object_mut().unwrap().retain(|name, _| name != "apiVersion" && name != "kind");
        let list =
            json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "metadata": {"resourceVersion": "9"}, "items": [item]}).to_string();
        let list: ObjectList<Live> = serde_json::from_str(&list).unwrap();
        is_whole(&Observed::new(&Kind::DEPLOYMENT, list.items[0].clone()));
    }

    #[test]
    fn only_what_decisions_go_by_makes_an_object_another() {
        let observed = |kind: &Kind, path: &str, value: Value| {
            let mut object = deployment();
            *object.pointer_mut(path).unwrap() = value;
            Observed::new(kind, serde_json::from_value(object).unwrap())
        };
        let follows = |kind: &Kind, path: &str, value: Value| {
            let before = observed(kind, "/status/replicas", json!(3));
            before.was_found_to_be("wanted".into());
            let mut after = observed(kind, path, value);
            assert!(before.content().is_none(), "what is known is not kept twice");
            (after.follows(&before), after.is_known_to_be("wanted"))
        };
        assert_eq!(follows(&Kind::DEPLOYMENT, "/metadata/resourceVersion", json!("8")), (false, true));
        assert_eq!(follows(&Kind::DEPLOYMENT, "/metadata/managedFields", json!([])), (false, true));
        assert_eq!(follows(&Kind::DEPLOYMENT, "/status/replicas", json!(2)), (true, true));
        assert_eq!(follows(&Kind::DEPLOYMENT, "/spec/replicas", json!(2)), (true, false));
        assert_eq!(follows(&Kind::RESOURCE_QUOTA, "/status/replicas", json!(2)), (false, true));
        assert_eq!(follows(&Kind::RESOURCE_QUOTA, "/spec/replicas", json!(2)), (true, false));
        assert_eq!(follows(&Kind::RESOURCE_QUOTA, "/metadata/labels", json!({})), (true, false));
    }

    #[test]
    fn no_value_is_shown_for_debugging() {
        let secret = json!({"metadata": {"name": "database", "uid": "u"}, "data": {"password": "c2VjcmV0"}});
        let live: Live = serde_json::from_value(secret).unwrap();
        let shown = format!("{live:?} {:?}", Observed::new(&Kind::SECRET, live.clone()));
        assert!(shown.contains("database") && !shown.contains("c2VjcmV0"), "{shown}");
    }

    #[test]
    fn only_what_our_manager_sets_is_ours() {
        let mut object = deployment();
        object["metadata"]["managedFields"][1]["manager"] = "kubectl".into();
        object["metadata"]["deletionTimestamp"] = "2026-11-25T00:00:00Z".into();
        object["metadata"]["ownerReferences"][0]["apiVersion"] = "tenantry.example/v1".into();
        let observed = Observed::new(&Kind::DEPLOYMENT, serde_json::from_value(object).unwrap());
        assert_eq!((observed.created_entry, observed.owns_replicas, observed.deleting, observed.owner), (None, false, true, None));
    }

    #[test]
    fn what_was_applied_is_told_from_what_was_made() {
        let mut object = deployment();
        object["metadata"]["managedFields"][1]["operation"] = "Apply".into();
        let unmarked = Observed::new(&Kind::DEPLOYMENT, serde_json::from_value(object.clone()).unwrap());
        assert_eq!((unmarked.created_entry, unmarked.is_applied, unmarked.owns_replicas, unmarked.mark()), (None, true, true, None));
        object["metadata"]["annotations"] = json!({"tenantry.dev/applied": "digest"});
        let before_shapes = Observed::new(&Kind::DEPLOYMENT, serde_json::from_value(object.clone()).unwrap());
        assert_eq!((before_shapes.mark().as_deref(), before_shapes.shape()), (Some("digest"), None));
        object["metadata"]["annotations"] = json!({"tenantry.dev/applied": "digest-shape"});
        let marked = Observed::new(&Kind::DEPLOYMENT, serde_json::from_value(object).unwrap());
        assert_eq!(marked.shape().as_deref(), Some("shape"));
        marked.was_found_to_be("digest-another".into());
        assert!(marked.is_known_to_be("digest") && !marked.is_known_to_be("digest-another"));
        assert_eq!(marked.shape().as_deref(), Some("another"));
    }
}
