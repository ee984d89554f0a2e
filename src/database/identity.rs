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
    /// The extensions that were made in the tenant's own database, where only a connection to it could tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
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
        Self {
            tenantry: 1,
            tenant: desired.tenant.clone(),
            uid: desired.uid.clone(),
            state,
            database: desired.database.clone(),
            schema: desired.schema.clone(),
            extensions: if desired.schema.is_none() { desired.extensions.clone() } else { Vec::new() },
        }
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

impl LoginIdentity {
    /// Reads a comment; none where it isn't ours, or another owner's.
    pub fn parse(comment: Option<&str>, owner: &str) -> Option<Self> {
        serde_json::from_str(comment?).ok().filter(|identity: &Self| identity.tenantry_login_of == owner)
    }

    /// As a comment.
    pub fn comment(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the comment on the group of a shared database says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupIdentity {
    /// The database whose tenants are its members.
    pub tenantry_group_of: String,
}

impl GroupIdentity {
    /// Whether the comment is that of this database's group.
    pub fn matches(comment: Option<&str>, database: &str) -> bool {
        comment.and_then(|comment| serde_json::from_str::<Self>(comment).ok()).is_some_and(|group| group.tenantry_group_of == database)
    }

    /// As a comment.
    pub fn comment(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
