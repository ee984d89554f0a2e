//! The program: `tenantry run`, `tenantry publish`, `tenantry crd`, `tenantry render`.

mod command;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match command::Command::parse() {
        command::Command::Run(options) => command::run::run(options).await.map(done),
        command::Command::Publish(options) => command::publish::publish(options).await,
        command::Command::Crd(options) => command::crd::crd(&options).map(done),
        command::Command::Render(options) => command::render::render(&options).map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            command::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
