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
    /// A role that has the name of the group of tenants, and isn't that.
    #[error(
        "a role {role} exists that isn't the group of this database's tenants, and it is not touched: rename or drop it, or use another shared database"
    )]
    ForeignGroup {
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
    /// The removal of the data of a namesake, or of this tenant, did not end.
    #[error(
        "the data of the tenant with UID {uid} is being dropped, and role {owner} goes last: where that doesn't end, docs/database.md says how to drop it by hand"
    )]
    HalfDropped {
        /// The owner role.
        owner: String,
        /// Whose data it was.
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
    /// The operator's role may not do it.
    #[error("the operator's role may not {doing}: {cause}; an admin of the server has to run, in database {database}: {statement}")]
    NeedsAdmin {
        /// What was being done.
        doing: String,
        /// What the server said.
        cause: String,
        /// Where to run it.
        database: String,
        /// What to run.
        statement: String,
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
    /// The tenant may be another process's.
    #[error("this process no longer holds the lease, so it changes nothing")]
    Fenced,
}

/// A database, or a schema in one, in words.
pub(super) fn place_name(database: &str, schema: Option<&str>) -> String {
    schema.map_or_else(|| format!("database {database}"), |schema| format!("schema {schema} of database {database}"))
}

impl DatabaseError {
    /// The data is in one database (and schema), and another is asked for.
    pub fn place_changed(found: (&str, Option<&str>), wanted: (&str, Option<&str>)) -> Self {
        Self::PlaceChanged { found: place_name(found.0, found.1), wanted: place_name(wanted.0, wanted.1) }
    }

    /// The CamelCase reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "DatabaseUnreachable",
            Self::AuthenticationFailed { .. } => "DatabaseAuthenticationFailed",
            Self::ForeignRole { .. } => "ForeignRole",
            Self::ForeignGroup { .. } => "ForeignGroup",
            Self::ForeignData { .. } => "ForeignData",
            Self::FormerTenant { .. } => "FormerTenant",
            Self::HalfDropped { .. } => "HalfDropped",
            Self::DataMissing { .. } => "DataMissing",
            Self::PlaceChanged { .. } => "PlaceChanged",
            Self::NeedsAdmin { .. } => "DatabaseNeedsAdmin",
            Self::Refused { .. } => "DatabaseRefused",
            Self::Fenced => "LeaseLost",
        }
    }

    /// Whether waiting may help; otherwise a person has to act on the tenant.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::AuthenticationFailed { .. }
                | Self::HalfDropped { .. }
                | Self::NeedsAdmin { .. }
                | Self::Refused { .. }
                | Self::Fenced
        )
    }

    /// Whether somebody did the same at the same time, so that it is worth looking and trying again at once. Postgres' statements on
    /// roles and databases take no locks that would make the second wait; it fails with one of these codes, `XX000` being
    /// "tuple concurrently updated".
    pub(super) fn is_conflict(&self) -> bool {
        const CODES: [&str; 8] = ["XX000", "23505", "40001", "40P01", "42704", "42710", "42P04", "42P06"];
        matches!(self, Self::Refused { code, .. } if CODES.contains(&code.as_str()))
    }

    /// Whether the database to connect to doesn't exist.
    pub(super) fn is_missing_database(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == NO_SUCH_DATABASE)
    }

    /// The same, with what an admin has to run if the operator lacks the right.
    pub(super) fn or_by_admin(self, database: &str, statement: Option<&String>) -> Self {
        match (self, statement) {
            (Self::Refused { doing, cause, code }, Some(statement)) if code == INSUFFICIENT_PRIVILEGE => {
                Self::NeedsAdmin { doing, cause, database: database.to_owned(), statement: statement.clone() }
            }
            (error, _) => error,
        }
    }
}

/// The SQLSTATE code of what a role may not do.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// The SQLSTATE code of a database that doesn't exist.
const NO_SUCH_DATABASE: &str = "3D000";
