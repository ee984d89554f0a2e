//! The only writer of an instance's objects: creates what is missing, changes what differs, and never touches what isn't the tenant's.

use super::comparison::{closed_parts, is_within, parts_that_differ};
use super::inventory::Inventory;
use super::live::Live;
use super::observed::{Observed, digest_of};
use crate::api::labels;
use crate::instance::render::{Kind, Object, ObjectKey};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{Request, Status};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long after a RoleBinding was made the API server may still refuse what it allows.
const AUTHORIZATION_LAG: Duration = Duration::from_secs(2);
/// How soon it is asked again whether it still does.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The field manager that keeps the number of pods until an autoscaler sets it.
const STARTING_REPLICAS: &str = "tenantry-starting-replicas";

/// Why an object isn't as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It exists and belongs to somebody else.
    #[error("{key} exists already and isn't this tenant's; it is not touched: delete or rename it")]
    NotOurs {
        /// Which one.
        key: ObjectKey,
    },
    /// The API server refuses it for good.
    #[error("the API server refuses {key}: {message}")]
    Refused {
        /// Which one.
        key: ObjectKey,
        /// What it said.
        message: String,
    },
    /// It is on its way out, and is made anew once it is gone.
    #[error("waiting for {key} to be gone, before it is made anew")]
    Ending {
        /// Which one.
        key: ObjectKey,
    },
    /// Trying again may help.
    #[error("{key}: {source}")]
    Api {
        /// Which one.
        key: ObjectKey,
        /// What happened.
        source: Box<kube::Error>,
    },
}

/// What it took to bring an object to what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was so already.
    Nothing,
    /// There was none, and this very request made it.
    Created,
    /// It was otherwise.
    Changed,
}

/// Writes for one tenant.
pub struct Applier<'a> {
    /// The API server.
    pub client: &'a Client,
    /// Where the answers go.
    pub inventory: &'a Inventory,
    /// The tenant's UID.
    pub uid: &'a str,
    /// When the operator was let into the tenant's namespace, if that was in this pass.
    pub let_in: Option<Instant>,
}

impl Applier<'_> {
    /// Brings one object to what is wanted.
    ///
    /// # Errors
    /// Where it isn't the tenant's, or the API server doesn't take it.
    pub async fn apply(&self, desired: &Object) -> Result<Written, ApplyError> {
        let digest = desired.digest();
        let known = self.inventory.get(&desired.key);
        if known.as_ref().is_some_and(|known| known.is_known_to_be(&digest)) {
            return Ok(Written::Nothing);
        }
        // The annotation is one of the fields.
        let desired = desired.clone().annotated(labels::APPLIED, &digest);
        let marked_so = known.as_ref().and_then(|known| known.mark()).filter(|mark| digest_of(mark) == digest);
        let mark = marked_so.unwrap_or_else(|| format!("{digest}-{}", desired.shape()));
        let desired = desired.annotated(labels::APPLIED, &mark);
        let observed = match known {
            Some(known) if !known.is_whole() => self.know_enough(&desired, known).await?,
            known => known,
        };
        let written = self.apply_unmarked(&desired, observed.as_deref()).await?;
        // What came of a write is compared at once, because until then all of it is kept.
        let is_as_wanted = |now: &Arc<Observed>| match written {
            Written::Created | Written::Changed => self.is_as_wanted(&desired, now),
            Written::Nothing => observed.as_ref().is_some_and(|observed| observed.resource_version == now.resource_version),
        };
        if let Some(now) = self.inventory.get(&desired.key).filter(is_as_wanted) {
            now.was_found_to_be(mark);
        }
        Ok(written)
    }

    /// The same without a digest in an annotation, which for a Secret would be a digest of its values.
    ///
    /// # Errors
    /// Where it isn't the tenant's, or the API server doesn't take it.
    pub async fn apply_unmarked(&self, desired: &Object, observed: Option<&Observed>) -> Result<Written, ApplyError> {
        match observed {
            Some(observed) => self.update(desired, observed).await,
            None => self.create(desired).await,
        }
    }

    async fn create(&self, desired: &Object) -> Result<Written, ApplyError> {
        let api = self.api(&desired.key);
        let mut content = desired.content.clone();
        if let Some(replicas) = desired.starting_replicas {
            content["spec"]["replicas"] = replicas.into();
        }
        let parameters = PostParams { field_manager: Some(labels::MANAGER.to_owned()), ..Default::default() };
        let (request, body) = (Request::new(api.resource_url()), content.to_string().into_bytes());
        loop {
            let answer = match request.create(&parameters, body.clone()) {
                Ok(request) => self.client.request::<Live>(request).await,
                Err(error) => Err(kube::Error::BuildRequest(error)),
            };
            match answer {
                Ok(created) => {
                    self.inventory.record(&desired.key.kind, created);
                    return Ok(Written::Created);
                }
                Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => break,
                Err(kube::Error::Api(status)) if status.code == 403 && is_ending(&status) => {
                    let name = desired.key.namespace.clone().unwrap_or_default();
                    return Err(ApplyError::Ending { key: ObjectKey { kind: Kind::NAMESPACE, namespace: None, name } });
                }
                Err(kube::Error::Api(status))
                    if status.code == 403
                        && self.let_in.is_some_and(|time| time.elapsed() < AUTHORIZATION_LAG)
                        && !is_quota(&status.message) =>
                {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Err(error) => return Err(self.failed(&desired.key, error)),
            }
        }
        let found = api.get(&desired.key.name).await.map_err(|error| self.failed(&desired.key, error))?;
        self.update(desired, &Observed::new(&desired.key.kind, found)).await
    }

    fn is_as_wanted(&self, desired: &Object, observed: &Observed) -> bool {
        let is_within = |live: Value| parts_that_differ(desired, &live).is_empty() && is_within(&desired.content, &live);
        observed.owner.as_deref() == Some(self.uid) && !observed.deleting && observed.content().is_some_and(is_within)
    }

    async fn update(&self, desired: &Object, observed: &Observed) -> Result<Written, ApplyError> {
        let key = &desired.key;
        if observed.owner.as_deref() != Some(self.uid) {
            return Err(ApplyError::NotOurs { key: key.clone() });
        }
        if observed.deleting {
            return Err(ApplyError::Ending { key: key.clone() });
        }
        // What isn't known isn't as wanted.
        let live = observed.content().unwrap_or_default();
        let parts = parts_that_differ(desired, &live);
        if !parts.is_empty() {
            let replaced = self.replace(desired, observed, &parts).await.map_err(|error| self.failed(key, error))?;
            return self.apply_rest(desired, &replaced).await.map(|()| Written::Changed);
        }
        if is_within(&desired.content, &live) {
            return Ok(Written::Nothing);
        }
        self.apply_rest(desired, observed).await.map(|()| Written::Changed)
    }

    /// Applies what is wanted, if anything of it isn't so yet.
    async fn apply_rest(&self, desired: &Object, observed: &Observed) -> Result<(), ApplyError> {
        let key = &desired.key;
        let live = observed.content().unwrap_or_default();
        if is_within(&desired.content, &live) {
            return Ok(());
        }
        let api = self.api(key);
        let now;
        let observed = match observed.created_entry.filter(|_| takes_away(desired, observed)) {
            Some(index) => {
                let owned = self.own_by_apply(&api, key, observed, index).await.map_err(|error| self.failed(key, error))?;
                now = self.inventory.keep(&key.kind, owned);
                &now
            }
            None => observed,
        };
        if let Some(starting) = desired.starting_replicas.filter(|_| observed.owns_replicas) {
            self.hand_over_replicas(&api, desired, observed, starting).await.map_err(|error| self.failed(key, error))?;
        }
        // The UID is a precondition: what was made anew meanwhile is somebody else's until it was looked at.
        let mut content = desired.content.clone();
        content["metadata"]["uid"] = observed.uid.clone().into();
        let changed = api
            .patch(&key.name, &PatchParams::apply(labels::MANAGER).force(), &Patch::Apply(&content))
            .await
            .map_err(|error| self.failed(key, error))?;
        self.inventory.record(&key.kind, changed);
        Ok(())
    }

    /// Keeps the number of pods while the autoscaler takes over: a field that nobody sets any more goes back to its default, one pod. See
    /// [Transferring ownership](https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership).
    async fn hand_over_replicas(&self, api: &Api<Live>, desired: &Object, observed: &Observed, starting: i32) -> Result<(), kube::Error> {
        let replicas = match observed.state().pointer("/spec/replicas").and_then(Value::as_i64) {
            // An autoscaler leaves alone what stands at none.
            None | Some(0) => i64::from(starting),
            Some(replicas) => replicas,
        };
        let patch = json!({
            "apiVersion": desired.content["apiVersion"], "kind": desired.content["kind"],
            "metadata": {"name": desired.key.name, "uid": observed.uid}, "spec": {"replicas": replicas},
        });
        api.patch(&desired.key.name, &PatchParams::apply(STARTING_REPLICAS).force(), &Patch::Apply(&patch)).await.map(|_| ())
    }

    /// Writes whole parts of an object: an apply leaves what others added to a list or a map, and can't change what is a key of a list.
    async fn replace(&self, desired: &Object, observed: &Observed, parts: &[&str]) -> Result<Observed, kube::Error> {
        let mut operations = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": observed.uid}),
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": observed.resource_version.to_string()}),
        ];
        operations.extend(parts.iter().map(|path| json!({"op": "add", "path": path, "value": desired.content.pointer(path)})));
        let changed = self.json_patch(&self.api(&desired.key), &desired.key, operations).await?;
        Ok(self.inventory.keep(&desired.key.kind, changed))
    }

    async fn json_patch(&self, api: &Api<Live>, key: &ObjectKey, operations: Vec<Value>) -> Result<Live, kube::Error> {
        let patch = serde_json::from_value(Value::Array(operations)).map_err(kube::Error::SerdeError)?;
        let parameters = PatchParams { field_manager: Some(labels::MANAGER.to_owned()), ..Default::default() };
        match api.patch(&key.name, &parameters, &Patch::<()>::Json(patch)).await {
            // It was changed since it was looked at, if only by this patch, whose answer was lost: that is no refusal, and is looked at again.
            Err(kube::Error::Api(mut status)) if is_test_that_failed(&status) => {
                status.code = 409;
                Err(kube::Error::Api(status))
            }
            result => result,
        }
    }

    /// Makes the fields that our creation set fields of our applies, because an apply only takes away what an apply has set, and nobody else holds.
    /// Where there were applies, they have set all of them already.
    async fn own_by_apply(&self, api: &Api<Live>, key: &ObjectKey, observed: &Observed, index: usize) -> Result<Live, kube::Error> {
        let path = format!("/metadata/managedFields/{index}");
        let operations = vec![
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": observed.resource_version.to_string()}),
            json!({"op": "test", "path": format!("{path}/manager"), "value": labels::MANAGER}),
            if observed.is_applied {
                json!({"op": "remove", "path": path})
            } else {
                json!({"op": "replace", "path": format!("{path}/operation"), "value": "Apply"})
            },
        ];
        self.json_patch(api, key, operations).await
    }

    /// As much of an object, of which only parts are kept, as it takes to change it. That is all of it where parts are closed to others, and nothing more
    /// where its applies are known to have been of something else than is wanted now. Where its creation's fields have to become those of an apply, that
    /// is done on the occasion: its answer tells all of the object too.
    async fn know_enough(&self, desired: &Object, known: Arc<Observed>) -> Result<Option<Arc<Observed>>, ApplyError> {
        let key = &desired.key;
        if known.owner.as_deref() == Some(self.uid) && !known.deleting {
            match known.created_entry.filter(|_| takes_away(desired, &known)) {
                Some(index) => match self.own_by_apply(&self.api(key), key, &known, index).await {
                    Ok(found) => return Ok(Some(Arc::new(self.inventory.keep(&key.kind, found)))),
                    // It has changed since it was seen, or is gone.
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                    Err(error) => return Err(self.failed(key, error)),
                },
                None if closed_parts(&key.kind).is_empty() => return Ok(Some(known)),
                None => {}
            }
        }
        Ok(self.get(key).await?.map(Arc::new))
    }

    /// Deletes an object, if it is still the one that was seen, and keeps it there until all that it owns, such as pods, is gone. That it is
    /// gone already is fine.
    ///
    /// # Errors
    /// Where the API server can't or won't.
    pub async fn delete(&self, key: &ObjectKey, observed: &Observed) -> Result<(), ApplyError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(observed.uid.clone()), resource_version: None }),
            ..DeleteParams::foreground()
        };
        match self.api(key).delete(&key.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            Err(error) => Err(self.failed(key, error)),
        }
    }

    /// Reads one object.
    ///
    /// # Errors
    /// Where the API server can't or won't.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Observed>, ApplyError> {
        let found = self.api(key).get_opt(&key.name).await.map_err(|error| self.failed(key, error))?;
        Ok(found.map(|live| Observed::new(&key.kind, live)))
    }

    fn api(&self, key: &ObjectKey) -> Api<Live> {
        let resource = key.kind.api_resource();
        match &key.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    fn failed(&self, key: &ObjectKey, error: kube::Error) -> ApplyError {
        match error {
            kube::Error::Api(status) if matches!(status.code, 400 | 422) || (status.code == 403 && is_quota(&status.message)) => {
                ApplyError::Refused { key: key.clone(), message: status.message.clone() }
            }
            source => ApplyError::Api { key: key.clone(), source: Box::new(source) },
        }
    }
}

/// Whether the refusal is because the namespace is on its way out.
fn is_ending(status: &Status) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Whether a test in a JSON patch failed. What is wrong with the object itself would be told by its causes.
fn is_test_that_failed(status: &Status) -> bool {
    status.code == 422 && status.details.as_ref().is_none_or(|details| details.causes.is_empty())
}

/// Whether anything may have to go that was applied before, or made: then nothing but an apply may hold it. What is unknown may have to.
fn takes_away(desired: &Object, observed: &Observed) -> bool {
    observed.shape() != Some(desired.shape())
}

fn is_quota(message: &str) -> bool {
    message.contains("exceeded quota")
}
