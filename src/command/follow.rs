//! How something is followed until it is as was asked for: the options for it, a watch that outlives an API server, and the steps on the screen.

use super::get::{code_of, find, next};
use super::terminal::{Style, cut};
use super::{Failure, TIMED_OUT, note, time};
use futures::{Stream, StreamExt, TryStreamExt, future};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use tenantry::api::Tenant;
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

/// What becomes of the object of this name. A watch that is interrupted, as where an API server is replaced, goes on by itself; it ends only where it is
/// refused.
pub fn changes<K>(api: Api<K>, name: &str) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + use<K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    // The backoff has seen the error by then, and waits before the next try.
    let goes_on = |event: &Result<watcher::Event<K>, watcher::Error>| event.as_ref().err().is_none_or(is_refused);
    watcher(api, config).default_backoff().filter(move |event| future::ready(goes_on(event)))
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

/// Whether the API server will go on saying no.
fn is_refused(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            status.code
        }
        watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 401 | 403)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn a_watch_ends_only_where_it_is_refused() {
        let says = |code: u16| watcher::Error::WatchError(Box::new(Status::failure("no", "No").with_code(code)));
        assert!(is_refused(&says(403)) && is_refused(&says(401)));
        assert!(!is_refused(&says(410)) && !is_refused(&says(500)) && !is_refused(&watcher::Error::NoResourceVersion));
    }
}
