//! What the program can be told to do.

pub mod crd;
mod manifests;
pub mod publish;
mod reference;
pub mod render;
pub mod run;

use std::io::Write;

/// Runs one product for many customers, an independent instance for each.
#[derive(clap::Parser, Debug)]
#[command(name = "tenantry", version)]
pub enum Command {
    /// Keep every Tenant's instance as its manifest says.
    Run(run::Options),
    /// Make a Release, and follow it to its end: for CI.
    Publish(publish::Options),
    /// Print the custom resource definitions, or write or check the files that hold them.
    Crd(crd::Options),
    /// Print all objects of an instance as YAML, without a cluster and without secrets.
    Render(render::Options),
}

/// What any command may fail with.
pub type Failure = Box<dyn std::error::Error>;

/// Says on standard error what went wrong. If that is closed, nobody wants to know.
pub fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "tenantry: {message}");
}

/// Writes to standard output; a reader that went away, such as `head`, is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
