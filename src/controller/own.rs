//! Our own kinds: one way to write a status, and the answers to our writes, which count until the watch has brought them.

use kube::api::{Patch, PatchParams};
use kube::core::ClusterResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

/// Which object is meant by a write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// The one that was read, whatever has become of it since. What was made anew under its name is another.
    ThisOne,
    /// The one that was read, as it was read.
    AsItWas,
}

/// Writes this manager's part of a status, and gives the object as it is then. What the manager wrote before and doesn't write now is taken back. See
/// [Server-Side Apply](https://kubernetes.io/docs/reference/using-api/server-side-apply/).
///
/// # Errors
/// Where the API server doesn't take it; with 404 or 409 where the object isn't the one that is meant any more.
pub async fn apply_status<K>(client: &Client, object: &K, meant: Meant, manager: &str, status: impl Serialize) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let name = object.name_any();
    let mut metadata = json!({"name": name, "uid": object.uid()});
    if meant == Meant::AsItWas {
        metadata["resourceVersion"] = object.resource_version().into();
    }
    let patch = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status});
    Api::all(client.clone()).patch_status(&name, &PatchParams::apply(manager).force(), &Patch::Apply(&patch)).await
}

/// None where the object was deleted since it was read: the watch will tell.
///
/// # Errors
/// Where a write failed for any other reason. After a conflict it has to be tried again: with what was made anew under the name, or with the same.
pub fn if_still_there<T>(written: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers to our own writes, by UID, until the watch has brought them: whoever goes by what was before does the same again.
pub struct Written<K>(HashMap<String, Arc<K>>);

impl<K> Default for Written<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Resource> Written<K> {
    /// Keeps an answer.
    pub fn keep(&mut self, mut object: K) -> Arc<K> {
        object.meta_mut().managed_fields = None;
        let object = Arc::new(object);
        self.0.insert(object.uid().unwrap_or_default(), object.clone());
        object
    }

    /// The object as the watch has brought it, or as it is since our own last write.
    pub fn newest(&mut self, watched: Arc<K>) -> Arc<K> {
        let version = |object: &K| object.resource_version().and_then(|version| version.parse::<u64>().ok());
        let uid = watched.uid().unwrap_or_default();
        match self.0.get(&uid) {
            Some(written) if version(written) > version(&watched) => written.clone(),
            _ => {
                self.0.remove(&uid);
                watched
            }
        }
    }

    /// It is gone.
    pub fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Tenant;

    #[test]
    fn our_own_write_is_known_before_the_watch_has_brought_it() {
        let version = |version: &str| -> Tenant {
            let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p"});
            let metadata = json!({"name": "acme", "uid": "u", "resourceVersion": version});
            serde_json::from_value(json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": metadata, "spec": spec}))
                .unwrap()
        };
        let mut written = Written::default();
        assert_eq!(written.newest(Arc::new(version("9"))).resource_version().unwrap(), "9");
        written.keep(version("11"));
        let mut newest = |watched: &str| written.newest(Arc::new(version(watched))).resource_version().unwrap();
        assert_eq!(newest("10"), "11");
        assert_eq!(newest("12"), "12");
        // From here on the watch knows best, even if it lists something older.
        assert_eq!(newest("10"), "10");
    }
}
