//! How a tenant is followed until it is as was asked for: the options for it, and the steps on the screen.

use super::get::{code_of, find, next};
use super::terminal::{Style, cut};
use super::{Failure, TIMED_OUT, note, time};
use futures::TryStreamExt;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use tenantry::api::Tenant;
use tenantry::follow::changes;
use tenantry::inspect::{State, steps};

/// Options of every command that changes a tenant and then follows it.
#[derive(clap::Args, Debug)]
pub struct Waiting {
    /// Doesn't wait until the tenant is so.
    #[arg(long)]
    pub no_wait: bool,
    /// How long is waited at most, such as 90s or 10m.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: String,
}

impl Waiting {
    /// How long is waited at most.
    ///
    /// # Errors
    /// Where what was typed is no time.
    pub fn limit(&self) -> Result<Duration, Failure> {
        time(&self.timeout)
    }
}

/// Follows a tenant, step by step, until it is as was asked for or a person has to act; where something was asked for by an annotation, not before
/// that was answered.
pub async fn wait(client: &Client, name: &str, limit: Duration, asked: Option<&str>) -> Result<ExitCode, Failure> {
    let before = find(client, name).await?;
    let mut display = Display::default();
    match tokio::time::timeout(limit, follow(client, &before, asked, &mut display)).await {
        Ok(Ok(Some(tenant))) => {
            note(&next(&tenant));
            Ok(code_of(State::of(&tenant)))
        }
        Ok(Ok(None)) => {
            note(&format!("tenant {name} is gone"));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            note(&format!("tenant {name} isn't ready after {} s; next: kubectl tenantry why {name}", limit.as_secs()));
            Ok(TIMED_OUT.into())
        }
    }
}

/// None where it was deleted meanwhile.
async fn follow(client: &Client, before: &Tenant, asked: Option<&str>, display: &mut Display) -> Result<Option<Tenant>, Failure> {
    let mut changes = std::pin::pin!(changes(Api::<Tenant>::all(client.clone()), &before.name_any()));
    let mut is_listed = false;
    while let Some(event) = changes.try_next().await? {
        match event {
            watcher::Event::Apply(tenant) | watcher::Event::InitApply(tenant) if tenant.uid() == before.uid() => {
                is_listed = true;
                display.show(&tenant);
                let answered = tenant.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
                let is_answered = asked.is_none() || answered == asked;
                if is_answered && matches!(State::of(&tenant), State::Ready | State::Suspended | State::Stalled) {
                    return Ok(Some(tenant));
                }
            }
            watcher::Event::Delete(tenant) if tenant.uid() == before.uid() => return Ok(None),
            watcher::Event::InitDone if !is_listed => return Ok(None),
            _ => {}
        }
    }
    Err("the API server stopped telling of the tenant".into())
}

/// The steps: on a terminal drawn over themselves, else a line for each that has changed.
#[derive(Default)]
struct Display {
    shown: Vec<steps::Step>,
}

impl Display {
    /// Progress is for people, and goes to standard error.
    fn show(&mut self, tenant: &Tenant) {
        let steps = steps::steps(tenant);
        let mut out = std::io::stderr();
        let is_terminal = out.is_terminal();
        let style = Style { colours: is_terminal && Style::of_output().colours };
        let up = if is_terminal && !self.shown.is_empty() { format!("\x1b[{}A", self.shown.len()) } else { String::new() };
        let changed = |step: &&steps::Step| {
            is_terminal
                || !self
                    .shown
                    .iter()
                    .any(|known| (known.name, known.progress, &known.sentence) == (step.name, step.progress, &step.sentence))
        };
        let columns = terminal_size::terminal_size_of(&out).map_or(usize::MAX, |(columns, _)| columns.0.into());
        let drawn = |step: &steps::Step| match is_terminal {
            true => format!("\x1b[K{}\n", cut(&style.step(step), columns)),
            false => format!("{}\n", style.step(step)),
        };
        let lines = steps.iter().filter(changed).map(drawn);
        let _ = write!(out, "{up}{}", lines.collect::<String>()).and_then(|()| out.flush());
        self.shown = steps;
    }
}
