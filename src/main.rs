//! The program: `tenantry run`, `tenantry crd`, `tenantry render`.

mod command;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let result = match command::Command::parse() {
        command::Command::Run(options) => command::run::run(options).await,
        command::Command::Crd(options) => command::crd::crd(&options),
        command::Command::Render(options) => command::render::render(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            command::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
