//! The blueprint as it stood when a release was made, as it is kept: a ControllerRevision in the operator's namespace, which goes with the release.

use crate::api::{Blueprint, Release, labels};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::{Resource, ResourceExt};

/// Holds this blueprint for a release that has this number.
///
/// # Errors
/// Where the blueprint can't be written as JSON.
pub fn make(release: &Release, number: i64, blueprint: &Blueprint) -> Result<ControllerRevision, kube::Error> {
    let labels = [(labels::MANAGED_BY, labels::MANAGER), (labels::NAME, release.spec.blueprint.as_str())];
    Ok(ControllerRevision {
        metadata: ObjectMeta {
            name: Some(release.name_any()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: Some(vec![OwnerReference {
                api_version: Release::api_version(&()).into_owned(),
                kind: Release::kind(&()).into_owned(),
                name: release.name_any(),
                uid: release.uid().unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        data: RawExtension(serde_json::to_value(&blueprint.spec).map_err(kube::Error::SerdeError)?),
        revision: Some(number),
    })
}

/// The UID of the release that a ControllerRevision is of, and the blueprint that it holds; none where it is something else.
pub fn read(revision: ControllerRevision) -> Option<(String, Blueprint)> {
    let owners = revision.metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.kind == Release::kind(&()) && owner.api_version == Release::api_version(&()))?;
    let uid = owner.uid.clone();
    let spec = serde_json::from_value(revision.data.0).ok()?;
    let mut blueprint = Blueprint::new(revision.metadata.name.as_deref().unwrap_or_default(), spec);
    // To be deleted by.
    blueprint.metadata.uid = revision.metadata.uid;
    Some((uid, blueprint))
}
