//! The API server's own record of what the operator asked of it.

use super::wait::wait_until;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// For so long nothing may be heard before all is taken to have settled.
const SETTLED: Duration = Duration::from_secs(4);

/// The record from a moment on.
pub struct Audit {
    path: PathBuf,
    from: u64,
}

/// One request of the operator.
#[derive(Debug)]
pub struct Request {
    pub verb: String,
    /// Resource, and subresource where there is one.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// Whether the API server did what it was asked to. It may refuse the first object in a namespace, before it knows of the RoleBinding there.
    pub accepted: bool,
    /// Which of the operators asked.
    pub by: String,
    /// Whether it only asked what would come of it.
    pub is_dry_run: bool,
    /// As what it wrote, where it applied something.
    pub field_manager: String,
    /// When the API server got the request, and when it had answered.
    pub began: Timestamp,
    pub ended: Timestamp,
}

impl Request {
    /// Whether it changed something.
    pub fn is_write(&self) -> bool {
        self.accepted && !self.is_dry_run && self.asks_to_write()
    }

    pub fn asks_to_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it read an object or a list; a watch doesn't.
    pub fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list")
    }

    fn is_lease(&self) -> bool {
        self.resource == "leases"
    }
}

impl Audit {
    /// From now on.
    pub fn begin() -> Self {
        let path = PathBuf::from(std::env::var("TENANTRY_AUDIT_LOG").expect("TENANTRY_AUDIT_LOG isn't set: run dev/test"));
        let from = std::fs::metadata(&path).map_or(0, |file| file.len());
        Self { path, from }
    }

    /// All requests but those for leases.
    pub fn requests(&self) -> Vec<Request> {
        self.all().into_iter().filter(|request| !request.is_lease()).collect()
    }

    /// All writes of leases.
    pub fn lease_writes(&self) -> Vec<Request> {
        self.all().into_iter().filter(|request| request.is_lease() && request.is_write()).collect()
    }

    fn all(&self) -> Vec<Request> {
        let mut file = std::fs::File::open(&self.path).expect("the audit log");
        file.seek(SeekFrom::Start(self.from)).expect("the audit log");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let time = |value: &Value| text(value).parse().expect("a time");
        // The user agent is `tenantry/VERSION (IDENTITY)`.
        let identity = |agent: &str| agent.split_once('(').map(|(_, rest)| rest.trim_end_matches(')').to_owned()).unwrap_or_default();
        let field_manager = |uri: &str| {
            let query = uri.split_once('?').map_or("", |(_, query)| query);
            query.split('&').find_map(|pair| pair.strip_prefix("fieldManager=")).unwrap_or_default().to_owned()
        };
        BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            // The last line may be half written.
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .map(|entry| {
                let object = &entry["objectRef"];
                let subresource = object["subresource"].as_str().map_or_else(String::new, |name| format!("/{name}"));
                Request {
                    verb: text(&entry["verb"]),
                    resource: format!("{}{subresource}", text(&object["resource"])),
                    namespace: text(&object["namespace"]),
                    name: text(&object["name"]),
                    accepted: entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 400),
                    by: identity(&text(&entry["userAgent"])),
                    is_dry_run: text(&entry["requestURI"]).contains("dryRun=All"),
                    field_manager: field_manager(&text(&entry["requestURI"])),
                    began: time(&entry["requestReceivedTimestamp"]),
                    ended: time(&entry["stageTimestamp"]),
                }
            })
            .collect()
    }

    /// All writes but those of leases.
    pub fn writes(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_write).collect()
    }

    /// All reads of single objects and lists; watches are none.
    pub fn reads(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_read).collect()
    }

    /// Waits until nothing is written any more.
    pub async fn settle(&self) {
        let mut last = (self.writes().len(), Instant::now());
        wait_until("the operator writes nothing any more", Duration::from_secs(60), async || {
            let now = self.writes().len();
            if now != last.0 {
                last = (now, Instant::now());
            }
            if last.1.elapsed() > SETTLED { Ok(()) } else { Err(format!("{now} writes so far")) }
        })
        .await;
    }
}

/// How often each was asked, to be shown where a number is too high.
pub fn summary(requests: &[Request]) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for request in requests {
        let Request { verb, resource, namespace, name, .. } = request;
        *counts.entry(format!("{verb} {resource} {namespace}/{name}")).or_default() += 1;
    }
    counts.iter().map(|(what, count)| format!("  {count} × {what}")).collect::<Vec<_>>().join("\n")
}
