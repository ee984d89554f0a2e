//! How much room a tenant's data takes.

use super::DatabaseError;
use super::session::{Address, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Tables with their indexes and what is too long for a row, sequences, and materialised views; see
/// [pg_total_relation_size](https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-DBSIZE).
const OF_SCHEMA: &str = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'm', 'S')";
const OF_DATABASE: &str = "SELECT pg_database_size(current_database())";

/// The bytes of this schema, or of the whole database, as the login of the address sees them.
///
/// # Errors
/// Where the server can't be reached or doesn't answer.
pub async fn size(address: &Address, schema: Option<&str>) -> Result<u64, DatabaseError> {
    const DOING: &str = "measure the data";
    let session = Session::open(address, &address.database, Arc::new(AtomicU64::new(0)), &AtomicU32::new(0), None).await?;
    let rows = match schema {
        Some(schema) => session.query(DOING, OF_SCHEMA, &[&schema]).await?,
        None => session.query(DOING, OF_DATABASE, &[]).await?,
    };
    let bytes = rows.first().map(|row| row.get::<_, i64>(0)).unwrap_or_default();
    Ok(u64::try_from(bytes).unwrap_or_default())
}
