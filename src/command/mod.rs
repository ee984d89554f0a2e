//! What the program can be told to do.

mod access;
mod apply;
mod certificates;
pub mod change;
pub mod check;
mod cluster;
pub mod completion;
pub mod compose;
pub mod console;
pub mod cost;
pub mod crd;
pub mod delete;
pub mod diff;
pub mod events;
pub mod first_login;
mod follow;
mod foreign;
pub mod get;
mod installation;
pub mod list;
pub mod man;
mod manifests;
pub mod onboard;
pub mod open;
pub mod pass_on;
pub mod psql;
pub mod publish;
mod reference;
pub mod render;
pub mod report;
pub mod run;
mod terminal;
pub mod tree;
pub mod why;

use jiff::{SignedDuration, Timestamp, Unit};
use std::io::Write;
use std::time::Duration;
use tenantry::api::release::Span;

/// Exit code: something isn't as was asked for, or a command has failed.
pub const NOT_READY: u8 = 1;
/// Exit code: what was typed makes no sense, or was taken back.
pub const USAGE: u8 = 2;
/// Exit code: it is paused.
pub const PAUSED: u8 = 3;
/// Exit code: the time is over, as that of timeout(1).
pub const TIMED_OUT: u8 = 124;

/// The field manager of what people change by this program.
pub const MANAGER: &str = "kubectl-tenantry";

/// Runs one product for many customers, an independent instance for each.
#[derive(clap::Parser, Debug)]
#[command(name = "tenantry", version, max_term_width = 120)]
pub enum Command {
    /// All tenants at a glance.
    List(list::Options),
    /// One tenant: what it is, how far it is, what runs, what to do next.
    Get(get::Options),
    /// The one deepest cause of what a tenant is at.
    Why(why::Options),
    /// Whether everything that the operator needs is there, and what mends what isn't.
    Check(check::Options),
    /// All that a tenant consists of.
    Tree(tree::Tree),
    /// From a pod to its tenant, release and commit.
    Trace(tree::Trace),
    /// What happened to a tenant.
    Events(events::Options),
    /// The logs of a tenant's components.
    Logs(pass_on::Logs),
    /// Run a command in a component of a tenant.
    Exec(pass_on::Exec),
    /// Open the tenant's own database.
    Psql(psql::Options),
    /// Open a tenant's page.
    Open(open::Options),
    /// Make a link by which a tenant's first person logs in.
    FirstLogin(first_login::Options),
    /// Make a tenant, and follow it until its page answers.
    Onboard(onboard::Options),
    /// What the operator would do once manifests are applied: objects and SQL.
    Diff(diff::Options),
    /// Take a tenant out of service. Its data stays.
    Suspend(change::Options),
    /// Bring a tenant back into service.
    Resume(change::Options),
    /// Look at everything of a tenant anew.
    Reconcile(change::Options),
    /// Run a tenant's migration again.
    Retry(change::Options),
    /// Give a tenant a new login of its database.
    Rotate(change::Options),
    /// Delete a tenant, after its name was typed, at once or after a time of grace.
    Delete(delete::Options),
    /// Take back a deletion that is yet to come.
    Keep(change::Options),
    /// What tenants pay, and what they reserve for it.
    Cost(cost::Options),
    /// Write a file to be mailed to whoever is asked for help, without secrets.
    Report(report::Options),
    /// Print a tenant's instance as a file of Docker Compose, for a notebook.
    Compose(compose::Options),
    /// Keep every Tenant's instance as its manifest says: the operator itself.
    Run(run::Options),
    /// Serve the web console, which acts with its visitors' rights.
    Console(console::Options),
    /// Make a Release, and follow it to its end: for CI.
    Publish(publish::Options),
    /// Print the custom resource definitions, or write or check the files that hold them.
    Crd(crd::Options),
    /// Print all objects of an instance as YAML, without a cluster and without secrets.
    Render(render::Options),
    /// Print the manual page, or write those of all commands.
    Man(man::Options),
}

/// What any command may fail with.
pub type Failure = Box<dyn std::error::Error>;

/// Says on standard error what went wrong. If that is closed, nobody wants to know.
pub fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "tenantry: {message}");
}

/// A `--timeout`.
///
/// # Errors
/// Where it is no time.
pub fn time(text: &str) -> Result<Duration, Failure> {
    let time = Span(text.to_owned()).duration();
    if time.is_zero() {
        return Err(format!("--timeout {text:?} is no time: write it as 90s, 30m or 2h").into());
    }
    Ok(time)
}

/// The moment after a time from now, to the second, as a manifest has it.
///
/// # Errors
/// Where what was typed is no time.
pub fn moment_in(option: &str, text: &str, now: Timestamp) -> Result<String, Failure> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()).and_then(|days| days.checked_mul(24));
    let length = days.and_then(SignedDuration::try_from_hours).or_else(|| SignedDuration::try_from(Span(text.to_owned()).duration()).ok());
    let moment =
        length.filter(SignedDuration::is_positive).and_then(|length| now.checked_add(length).and_then(|end| end.round(Unit::Second)).ok());
    Ok(moment.ok_or_else(|| format!("{option} {text:?} is no time: write it as 14d or 36h"))?.to_string())
}

/// Says something to whoever looks, beside the data that is asked for.
pub fn note(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

/// Writes to standard output; a reader that went away, such as `head`, is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_so_long_from_now_to_the_second() {
        let now: Timestamp = "2026-11-25T10:00:00.75Z".parse().unwrap();
        assert_eq!(moment_in("--trial", "14d", now).unwrap(), "2026-12-09T10:00:01Z");
        assert_eq!(moment_in("--in", "36h", now).unwrap(), "2026-11-26T22:00:01Z");
        for nonsense in ["", "soon", "-3d", "0d", "999999999999999999d"] {
            let error = moment_in("--trial", nonsense, now).unwrap_err().to_string();
            assert!(error.starts_with("--trial") && error.contains("write it as 14d"), "{nonsense}: {error}");
        }
    }
}
