//! Whose a role is: a comment on it, as JSON, that a person can read and that a restore from a dump keeps.

use serde::{Deserialize, Serialize};

/// What the comment on an owner role says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The form of this comment.
    tenantry: u8,
    /// The tenant's name.
    pub tenant: String,
    /// The tenant's UID.
    pub uid: String,
    /// How far it is.
    pub state: State,
    /// The database that holds the data.
    pub database: String,
    /// The schema, where the database is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

/// How far a tenant's data is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being made: nothing is lost if parts are missing.
    Creating,
    /// Made: what is missing was lost.
    Ready,
    /// The tenant is gone and the data kept.
    Retained,
    /// Being dropped.
    Dropping,
}

impl Identity {
    /// The identity of this tenant's data.
    pub fn new(desired: &super::DesiredDatabase, state: State) -> Self {
        let (tenant, uid) = (desired.tenant.clone(), desired.uid.clone());
        Self { tenantry: 1, tenant, uid, state, database: desired.database.clone(), schema: desired.schema.clone() }
    }

    /// The same in another state.
    pub fn with_state(&self, state: State) -> Self {
        Self { state, ..self.clone() }
    }

    /// Reads a comment; none where it isn't ours.
    pub fn parse(comment: &str) -> Option<Self> {
        serde_json::from_str(comment).ok().filter(|identity: &Self| identity.tenantry == 1)
    }

    /// As a comment.
    pub fn comment(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the comment on a login role says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginIdentity {
    /// The owner role that it acts as.
    pub tenantry_login_of: String,
    /// Tells whether the server has the password that the Secret has.
    pub fingerprint: String,
}
