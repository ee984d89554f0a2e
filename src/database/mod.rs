//! All SQL of the product: one owner role, its schema or database, and logins that act as it, for each tenant.
//!
//! ```text
//! survey (what is) + DesiredDatabase (what should be) ──plan──► changes ──ensure──► Postgres
//! ```
//!
//! [`Server::verify`] does the first half for all tenants of a server with a handful of statements; [`Server::ensure`] the whole for one.
//! The identity of what belongs to a tenant is a comment on its owner role; what has no such comment isn't ours and is never touched.

mod dry_run;
mod ensure;
mod error;
mod identifier;
mod identity;
mod login;
mod plan;
mod remove;
mod session;
mod size;
mod survey;

pub use dry_run::DryRun;
pub use error::DatabaseError;
pub use login::{Login, generate_password, is_password};
pub use plan::{Change, plan};
pub use session::{Address, TlsMode};
pub use size::size;
pub use survey::{Membership, Observed, ObservedPlace, ObservedRole, ObservedServer, ObservedTenant, ServerFacts};

use crate::lease::Fence;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::sync::Mutex;

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
    /// Whether the tenant is known to have had data on this server. Then nothing of it being there is a loss, and no beginning.
    pub held_data: bool,
}

/// The role that holds the rights on a shared database. One for each, because roles are the whole server's; a name that would be
/// longer than Postgres' 63 bytes ends in a digest of it.
fn group_name(database: &str) -> String {
    let name = format!("tenantry.{database}");
    if name.len() <= 63 {
        return name;
    }
    let digest: String = Sha256::digest(&name).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let kept: String = name.chars().take(54).collect();
    format!("{kept}.{digest}")
}

/// A server, and how many statements were sent to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    address: Arc<Address>,
    statements: Arc<AtomicU64>,
    making: Arc<Mutex<()>>,
    /// The first number of the server's version; 0 before the first session.
    version: Arc<AtomicU32>,
    fence: Option<Fence>,
    dry_run: Option<Arc<DryRun>>,
}

impl Server {
    /// A server at this address. Nothing is sent before it is asked for something.
    pub fn new(address: Address) -> Self {
        Self {
            address: Arc::new(address),
            statements: Arc::default(),
            making: Arc::default(),
            version: Arc::default(),
            fence: None,
            dry_run: None,
        }
    }

    /// The same server, to which no change is sent once the fence has closed; in a dry run none is sent at all.
    pub fn behind(&self, fence: Fence) -> Self {
        let fence = if self.dry_run.is_some() { Fence::shut() } else { fence };
        Self { fence: Some(fence), ..self.clone() }
    }

    /// The same server, to which no change is sent: what [`Server::ensure`] would do is noted.
    pub fn in_dry_run(self, dry_run: Arc<DryRun>) -> Self {
        Self { fence: Some(Fence::shut()), dry_run: Some(dry_run), ..self }
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
        match &self.dry_run {
            Some(dry_run) => dry_run.ensure(self, desired).await,
            None => ensure::ensure(self, desired).await,
        }
    }

    /// What differs from what is wanted, for each tenant by its owner: nothing where all is as it should be, else the changes that
    /// [`Server::ensure`] would make, or why it could not. It sends the same few statements for one tenant as for ten thousand, and
    /// changes nothing.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn verify(&self, desired: &[DesiredDatabase]) -> Result<BTreeMap<String, Result<Vec<Change>, DatabaseError>>, DatabaseError> {
        let observed = survey::observe(&self.connect(None).await?, desired.iter().map(survey::Wanted::from)).await?;
        Ok(desired.iter().map(|desired| (desired.owner.clone(), plan(desired, &observed))).collect())
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

    /// Connects to a database, else to the shared one, which is made where it is missing.
    async fn connect(&self, database: Option<&str>) -> Result<session::Session, DatabaseError> {
        let shared = &self.address.database;
        let name = database.unwrap_or(shared);
        match self.open(name).await {
            Err(error) if name == shared && error.is_missing_database() => self.make_shared_database().await,
            result => result,
        }
    }

    /// One at a time, because Postgres copies a whole template before it finds that somebody was quicker.
    async fn make_shared_database(&self) -> Result<session::Session, DatabaseError> {
        let shared = &self.address.database;
        let _one = self.making.lock().await;
        match self.open(shared).await {
            Err(error) if error.is_missing_database() => {}
            result => return result,
        }
        let make = Change::make_shared_database(shared);
        let session = self.open("postgres").await?;
        match session.execute(&make.doing, make.sql()).await {
            Err(error) if !error.is_conflict() => return Err(error),
            Err(_) => {}
            Ok(()) => {
                let close = format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", identifier::identifier(shared));
                session.execute(&format!("close database {shared} to others"), &close).await?;
            }
        }
        self.open(shared).await
    }

    async fn open(&self, database: &str) -> Result<session::Session, DatabaseError> {
        session::Session::open(&self.address, database, self.statements.clone(), &self.version, self.fence.clone()).await
    }
}
