//! The custom resources: one file a kind, each with its fields, its CEL rules and its status.
//!
//! The types here say what a manifest *may* say. What it *means* is decided in [`crate::instance`].

pub mod blueprint;
pub mod conditions;
pub mod database_server;
pub mod labels;
pub mod plan;
pub mod release;
pub mod schema;
pub mod shared;
pub mod tenant;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use blueprint::{Blueprint, BlueprintSpec};
pub use database_server::{DatabaseServer, DatabaseServerSpec};
pub use plan::{Plan, PlanSpec};
pub use release::{Release, ReleaseSpec};
pub use tenant::{Tenant, TenantSpec};

/// The API group of all our kinds.
pub const GROUP: &str = "tenantry.dev";
/// The one version that is served.
pub const VERSION: &str = "v1alpha1";

/// All custom resource definitions, in the order in which the documentation speaks of them.
pub fn custom_resource_definitions() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![Tenant::crd(), Blueprint::crd(), Plan::crd(), Release::crd(), DatabaseServer::crd()];
    for version in definitions.iter_mut().flat_map(|definition| &mut definition.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            schema::tidy(schema);
        }
    }
    definitions
}
