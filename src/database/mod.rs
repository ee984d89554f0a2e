//! All SQL of the product: one owner role, its schema or database, and logins that act as it, for each tenant.
//!
//! ```text
//! survey (what is) + DesiredDatabase (what should be) ──plan──► changes ──ensure──► Postgres
//! ```
//!
//! The identity of what belongs to a tenant is a comment on its owner role; what has no such comment isn't ours and is never touched.

mod ensure;
mod error;
mod identifier;
mod identity;
mod login;
mod remove;
mod session;
mod survey;

pub use ensure::{Change, plan};
pub use error::DatabaseError;
pub use login::{Login, generate_password};
pub use session::{Address, TlsMode};
pub use survey::{Observed, ServerFacts};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A tenant's database as it should be.
#[derive(Clone, Debug)]
pub struct DesiredDatabase {
    /// The tenant's name.
    pub tenant: String,
    /// The tenant's UID.
    pub uid: String,
    /// The role that owns everything.
    pub owner: String,
    /// The database that holds the data.
    pub database: String,
    /// The schema; none where the tenant has the database for itself.
    pub schema: Option<String>,
    /// Connections that a login may hold.
    pub connection_limit: i32,
    /// Seconds after which a statement is ended; 0 for never.
    pub statement_timeout_seconds: i32,
    /// Seconds after which an idle transaction is ended; 0 for never.
    pub idle_in_transaction_timeout_seconds: i32,
    /// Extensions that must be there.
    pub extensions: Vec<String>,
    /// The login that pods use.
    pub login: Login,
    /// The UID of a former namesake whose data is taken over.
    pub adopt: Option<String>,
}

/// A server, and how many statements were sent to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    address: Arc<Address>,
    statements: Arc<AtomicU64>,
}

impl Server {
    /// A server at this address. Nothing is sent before it is asked for something.
    pub fn new(address: Address) -> Self {
        Self { address: Arc::new(address), statements: Arc::default() }
    }

    /// Statements sent so far.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// What the server is and whether it can be worked with.
    ///
    /// # Errors
    /// Where it can't be reached, or refuses the login.
    pub async fn check(&self) -> Result<ServerFacts, DatabaseError> {
        survey::facts(&self.connect(None).await?).await
    }

    /// Brings the tenant's database to what is wanted and tells what had to be changed.
    ///
    /// # Errors
    /// Where it can't be reached, or something there isn't the tenant's own.
    pub async fn ensure(&self, desired: &DesiredDatabase) -> Result<Vec<Change>, DatabaseError> {
        ensure::ensure(self, desired).await
    }

    /// What the server holds of this owner.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn observe(&self, owner: &str) -> Result<Option<Observed>, DatabaseError> {
        survey::observe(&self.connect(None).await?, owner).await
    }

    /// Drops the owner's logins other than `keep` that nobody uses any more, and tells how many are still used.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn retire_logins(&self, owner: &str, uid: &str, keep: &str) -> Result<usize, DatabaseError> {
        remove::retire_logins(self, owner, uid, keep).await
    }

    /// Locks the tenant's logins and keeps its data. What isn't this tenant's is left alone.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn retain(&self, owner: &str, uid: &str) -> Result<(), DatabaseError> {
        remove::retain(self, owner, uid).await
    }

    /// Drops the tenant's data, roles and logins. What isn't this tenant's is left alone. It may be called again after a failure.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn drop_tenant(&self, owner: &str, uid: &str) -> Result<(), DatabaseError> {
        remove::drop_tenant(self, owner, uid).await
    }

    async fn connect(&self, database: Option<&str>) -> Result<session::Session, DatabaseError> {
        session::Session::open(&self.address, database.unwrap_or(&self.address.database), self.statements.clone()).await
    }
}
