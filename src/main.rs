//! The program: the operator, and all that people do by hand. As `kubectl-tenantry` in PATH it is `kubectl tenantry`.

mod command;

use clap::Parser;
use command::Command;
use command::change::{Change, change};
use std::process::ExitCode;

fn main() -> ExitCode {
    if command::completion::answer() {
        return ExitCode::SUCCESS;
    }
    act()
}

#[tokio::main]
async fn act() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Command::parse() {
        Command::List(options) => command::list::list(options).await.map(done),
        Command::Get(options) => command::get::get(options).await,
        Command::Why(options) => command::why::why(options).await,
        Command::Check(options) => command::check::check(options).await,
        Command::Tree(options) => command::tree::tree(options).await.map(done),
        Command::Trace(options) => command::tree::trace(options).await.map(done),
        Command::FirstLogin(options) => command::first_login::first_login(options).await.map(done),
        Command::Onboard(options) => command::onboard::onboard(options).await,
        Command::Diff(options) => Ok(command::diff::diff(options).await),
        Command::Events(options) => command::events::events(options).await.map(done),
        Command::Logs(options) => command::pass_on::logs(options).await.map(done),
        Command::Exec(options) => command::pass_on::exec(options).await.map(done),
        Command::Psql(options) => command::psql::psql(options).await,
        Command::Open(options) => command::open::open(options).await.map(done),
        Command::Suspend(options) => change(Change::Suspend, options).await,
        Command::Resume(options) => change(Change::Resume, options).await,
        Command::Reconcile(options) => change(Change::Reconcile, options).await,
        Command::Retry(options) => change(Change::Retry, options).await,
        Command::Rotate(options) => change(Change::Rotate, options).await,
        Command::Keep(options) => change(Change::Keep, options).await,
        Command::Delete(options) => command::delete::delete(options).await,
        Command::Cost(options) => command::cost::cost(options).await.map(done),
        Command::Report(options) => command::report::report(options).await.map(done),
        Command::Compose(options) => command::compose::compose(options).await.map(done),
        Command::Run(options) => command::run::run(options).await.map(done),
        Command::Console(options) => command::console::console(options).await.map(done),
        Command::Publish(options) => command::publish::publish(options).await,
        Command::Crd(options) => command::crd::crd(&options).map(done),
        Command::Render(options) => command::render::render(&options).map(done),
        Command::Man(options) => command::man::man(&options).map(done),
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
