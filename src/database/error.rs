//! What can go wrong with a database, in words for the person who has to act.

/// Why a tenant's database isn't as it should be.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No answer.
    #[error("the database server {address} can't be reached: {cause}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the network or the TLS library said.
        cause: String,
    },
    /// The login is refused.
    #[error(
        "the database server {address} refuses the operator's login: {cause}; check the Secret that spec.adminSecret of the DatabaseServer names"
    )]
    AuthenticationFailed {
        /// Host and port.
        address: String,
        /// What the server said.
        cause: String,
    },
    /// A role of that name exists that we did not make.
    #[error(
        "a role {role} exists that isn't this tenant's, and it is not touched: rename or drop it, or choose another name for the tenant"
    )]
    ForeignRole {
        /// The role.
        role: String,
    },
    /// A schema or database of that name exists that we did not make.
    #[error(
        "{what} exists already and isn't this tenant's, and it is not touched: rename or drop it, or choose another name for the tenant"
    )]
    ForeignData {
        /// Which one.
        what: String,
    },
    /// Data of a former namesake.
    #[error(
        "the server holds the data of a former tenant of this name: set spec.database.adopt to {uid} to take it over, or have an admin drop it"
    )]
    FormerTenant {
        /// The former tenant's UID.
        uid: String,
    },
    /// The data that was there is gone.
    #[error(
        "{what} once held this tenant's data and is gone; it is not made anew, because that would hide the loss: restore it from a backup, or delete the Tenant"
    )]
    DataMissing {
        /// The schema or the database.
        what: String,
    },
    /// Another isolation than the data has.
    #[error("the tenant's data is in {found}, but {wanted} is asked for: data is never moved; make a new tenant")]
    PlaceChanged {
        /// Where it is.
        found: String,
        /// Where it should be.
        wanted: String,
    },
    /// The server refuses a statement.
    #[error("the database server refuses to {doing}: {cause}")]
    Refused {
        /// What was being done.
        doing: String,
        /// What the server said, without its statement.
        cause: String,
        /// The SQLSTATE code.
        code: String,
    },
}

impl DatabaseError {
    /// The CamelCase reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "DatabaseUnreachable",
            Self::AuthenticationFailed { .. } => "DatabaseAuthenticationFailed",
            Self::ForeignRole { .. } => "ForeignRole",
            Self::ForeignData { .. } => "ForeignData",
            Self::FormerTenant { .. } => "FormerTenant",
            Self::DataMissing { .. } => "DataMissing",
            Self::PlaceChanged { .. } => "PlaceChanged",
            Self::Refused { .. } => "DatabaseRefused",
        }
    }

    /// Whether waiting may help; otherwise a person has to act.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::AuthenticationFailed { .. } | Self::Refused { .. })
    }
}
