//! Fuzzing for a bounded time: random inputs until it is up, and the smallest that fails is shown. `TENANTRY_FUZZ_SECONDS` sets how long each of the
//! tests that use this goes on; a few seconds, where it isn't set.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::time::{Duration, Instant};

/// How long each goes on by default.
const SECONDS: u64 = 3;
/// No single input may take longer, on a machine that does much else and without optimisation.
const LONGEST: Duration = Duration::from_secs(10);

/// Tries inputs until the time is up.
#[track_caller]
pub fn fuzz<S: Strategy>(strategy: &S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds = std::env::var("TENANTRY_FUZZ_SECONDS").map_or(SECONDS, |text| text.parse().expect("TENANTRY_FUZZ_SECONDS is a number"));
    let started = Instant::now();
    let mut tried = 0;
    while tried == 0 || started.elapsed() < Duration::from_secs(seconds) {
        // The first input that fails is enough; what it is made smaller by is bounded too.
        let config = Config { cases: 16, failure_persistence: None, max_shrink_time: 20_000, ..Config::default() };
        let result = TestRunner::new(config).run(strategy, |input| {
            let begun = Instant::now();
            check(input)?;
            let took = begun.elapsed();
            if took < LONGEST { Ok(()) } else { Err(TestCaseError::fail(format!("it took {took:?}"))) }
        });
        if let Err(failure) = result {
            panic!("after {tried} inputs that were fine: {failure}");
        }
        tried += 16;
    }
    eprintln!("{tried} inputs");
}
