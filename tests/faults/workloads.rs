//! What people ask of the operator, one change at a time, in the order in which a run goes through them.

use crate::lane::Lane;
use serde_json::{Value, json};

/// A change that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    Create,
    Settings,
    LargerPlan,
    SmallerPlan,
    AddHost,
    RemoveHost,
    Suspend,
    Resume,
    RefusedIsolation,
    IsolationAsBefore,
    Version,
    Rotate,
    Delete,
    /// A setting of the blueprint, which all its tenants follow.
    SharedChange,
    SharedChangeBack,
    /// A version in two waves, the second of which has only some begin at once.
    Release,
    /// The release before that one, which was taken back, is deleted.
    Withdraw,
    /// The release is taken back.
    RollBack,
}

/// The life of a tenant. It is suspended while it is large, so that what scales it goes and comes back.
pub const LIFE: [Workload; 13] = [
    Workload::Create,
    Workload::Settings,
    Workload::LargerPlan,
    Workload::Suspend,
    Workload::Resume,
    Workload::SmallerPlan,
    Workload::AddHost,
    Workload::RemoveHost,
    Workload::RefusedIsolation,
    Workload::IsolationAsBefore,
    Workload::Version,
    Workload::Rotate,
    Workload::Delete,
];

/// What meets many tenants at once, there and back.
pub const SHARED: [Workload; 2] = [Workload::SharedChange, Workload::SharedChangeBack];

/// A release that comes to many tenants, and is taken back.
pub const RELEASED: [Workload; 3] = [Workload::Release, Workload::Withdraw, Workload::RollBack];

impl Workload {
    /// The workload with which all begins that has to come with this one, in the order of a life. A tenant that is led through neither a host more nor
    /// one less is as one that is led through both; but to be suspended, which happens while it is large, takes the Job of the migration away, and only
    /// another version brings one.
    pub fn begins_with(self) -> Self {
        match self {
            Self::Suspend | Self::Resume | Self::SmallerPlan | Self::Version => Self::LargerPlan,
            Self::RemoveHost => Self::AddHost,
            Self::IsolationAsBefore => Self::RefusedIsolation,
            _ => self,
        }
    }

    /// Whether what begins with this leaves a tenant as it was.
    pub fn leaves_nothing(self) -> bool {
        matches!(self, Self::AddHost | Self::RefusedIsolation)
    }

    /// Asks for it.
    pub async fn ask(self, lane: &Lane) {
        let spec = match self {
            Self::Create => return lane.create_tenants().await,
            Self::Delete => return lane.delete_tenant().await,
            Self::Rotate => json!({"metadata": {"annotations": {"tenantry.dev/rotate": "once"}}}),
            Self::SharedChange => return lane.change_blueprint(json!({"settings": settings("staging")})).await,
            Self::SharedChangeBack => return lane.change_blueprint(json!({"settings": settings("production")})).await,
            Self::Release => return lane.release_next().await,
            Self::Withdraw => return lane.withdraw_release().await,
            Self::RollBack => return lane.roll_back().await,
            Self::RefusedIsolation => return lane.replace_blueprint(json!({"database": {"isolation": "Database"}})).await,
            Self::IsolationAsBefore => return lane.replace_blueprint(json!({"database": {"isolation": "Schema"}})).await,
            Self::Settings => json!({"spec": {"settings": {"LANGUAGE_CODE": "de"}}}),
            Self::LargerPlan => json!({"spec": {"plan": "large"}}),
            Self::SmallerPlan => json!({"spec": {"plan": "small"}}),
            Self::AddHost => json!({"spec": {"domains": ["www.customer.example"]}}),
            Self::RemoveHost => json!({"spec": {"domains": null}}),
            Self::Suspend => json!({"spec": {"suspended": true}}),
            Self::Resume => json!({"spec": {"suspended": false}}),
            Self::Version => json!({"spec": {"release": {"version": "2.0"}}}),
        };
        lane.change_tenant(spec).await;
    }

    /// Whether what was asked for is said of all tenants.
    pub fn is_done(self, tenants: &[Value]) -> bool {
        match self {
            Self::Delete => tenants.is_empty(),
            _ => !tenants.is_empty() && tenants.iter().all(|tenant| self.is_done_for(tenant)),
        }
    }

    fn is_done_for(self, tenant: &Value) -> bool {
        let is = |kind: &str, reason: &str| {
            let conditions = tenant["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True" && c["reason"] == reason)
        };
        let has_release = |name: &str| tenant["status"]["release"]["name"].as_str().is_some_and(|release| release.starts_with(name));
        tenant["status"]["observedGeneration"] == tenant["metadata"]["generation"]
            && match self {
                Self::Release => is("Ready", "Ready") && has_release("next"),
                Self::RollBack => is("Ready", "Ready") && has_release("base"),
                Self::RefusedIsolation => is("Stalled", "PlaceChanged"),
                Self::Suspend => is("Ready", "Suspended"),
                _ => is("Ready", "Ready"),
            }
    }
}

fn settings(mode: &str) -> Value {
    json!([{"env": "LANGUAGE_CODE", "default": "en", "tenantMaySet": true}, {"env": "MODE", "default": mode}])
}
