//! The real program, as people call it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The program, with kubectl in reach and nobody at its input.
pub async fn tenantry(arguments: &[&str]) -> Output {
    let path = format!("{}/.local/bin:{}", env!("CARGO_MANIFEST_DIR"), std::env::var("PATH").unwrap_or_default());
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.args(arguments).env("PATH", path).stdin(Stdio::null()).output().await.expect("the program starts")
}

/// Another program, with this at its input.
pub fn fed(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Its data.
pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it told people.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Its exit code.
pub fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}
