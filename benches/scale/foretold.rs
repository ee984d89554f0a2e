//! How long it takes to foretell what a change would do to all tenants.

use crate::fleet::PLAN;
use crate::operated::Site;
use crate::support::manifest;
use crate::support::program::{code, said, tenantry};
use std::io::Write;
use std::time::Instant;

/// Seconds in which `kubectl tenantry diff` has looked at all, for a plan that gives each of their containers more.
pub async fn seconds(site: &Site) -> f64 {
    eprintln!("  diff of a plan");
    let mut spec = site.world.get("Plan", None, PLAN).await["spec"].take();
    spec["defaults"]["resources"]["requests"]["memory"] = "65Mi".into();
    let mut file = tempfile::NamedTempFile::with_suffix(".json").expect("a file");
    file.write_all(manifest("Plan", PLAN, spec).to_string().as_bytes()).expect("it is written");
    let path = file.path().to_str().expect("a path").to_owned();
    let started = Instant::now();
    let told = tenantry(&["diff", "--filename", &path, "--output", "json"]).await;
    let seconds = started.elapsed().as_secs_f64();
    assert_eq!(code(&told), 1, "something would be done: {}", said(&told));
    seconds
}
