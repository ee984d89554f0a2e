//! Waiting for what is to come: with a limit, and telling what was seen last.

use std::time::{Duration, Instant};

/// Far longer than anything takes on a machine that does nothing else.
pub const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// How long is waited where this is the limit: `TENANTRY_TESTS_LIMIT_SECONDS` makes every limit shorter, for who knows that an answer won't come.
pub fn limited(limit: Duration) -> Duration {
    let shorter = std::env::var("TENANTRY_TESTS_LIMIT_SECONDS").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    shorter.map_or(limit, |shorter| limit.min(shorter))
}

/// Looks until there is an answer, or fails with what it saw last.
pub async fn wait_until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    let limit = limited(limit);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if started.elapsed() > limit => panic!("after {} s not so: {what}\nseen last: {seen}", limit.as_secs()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
