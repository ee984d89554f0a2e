//! Scenarios of tests/browser/scenarios.mjs, played in a real Chromium.

use super::browser::Browser;
use super::console::{Console, token_of};
use super::{LIMIT, World, wait_until};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A browser takes much of a small machine, and the steps of others would be late.
static BROWSERS: Semaphore = Semaphore::const_new(2);

async fn browser() -> SemaphorePermit<'static> {
    BROWSERS.acquire().await.expect("it is never closed")
}

fn scenario(console: &Console, name: &str, mut facts: Value) -> Command {
    facts["url"] = format!("http://{}", console.address).into();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let mut command = Command::new("node");
    command.current_dir(folder).args(["run.mjs", name]).env("TENANTRY_SCENARIO", facts.to_string()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Plays a scenario to its end.
pub async fn play(console: &Console, name: &str, facts: Value) {
    let _browser = browser().await;
    let output = scenario(console, name, facts).output().await.expect("node runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
}

/// A scenario that waits for what a test does meanwhile.
pub struct Open {
    playing: Child,
    _browser: SemaphorePermit<'static>,
}

/// Begins a scenario that says `watching` once its page is open.
pub async fn open(console: &Console, name: &str, facts: Value) -> Open {
    let browser = browser().await;
    let mut command = scenario(console, name, facts);
    let mut playing = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("node runs");
    let mut lines = BufReader::new(playing.stdout.take().expect("its output")).lines();
    let line = tokio::time::timeout(LIMIT, lines.next_line()).await.expect("the page opens").expect("a line");
    assert_eq!(line.as_deref(), Some("watching"));
    Open { playing, _browser: browser }
}

impl Open {
    /// Waits until the page has seen what it waits for.
    pub async fn ends_well(self) {
        let output = tokio::time::timeout(LIMIT, self.playing.wait_with_output()).await.expect("the page sees it").expect("node runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A token that the API server's authorizer already knows to have the role.
pub async fn known(world: &World, console: &Console, role: &str) -> String {
    let token = token_of(world, role).await;
    let browser = Browser::with_token(console.address, &token);
    wait_until("the visitor is let in", LIMIT, async || {
        let answer = browser.clone().get("/tenants").await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text)) }
    })
    .await;
    token
}
