//! Where a process spends its time, by perf.

use super::folder;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Samples a second and core. Odd, so that it doesn't beat with what happens a hundred times a second.
const FREQUENCY: &str = "499";

/// A recording that goes on until it is dropped.
pub struct Profile {
    recording: Child,
    data: PathBuf,
    report: PathBuf,
}

impl Profile {
    /// Records this process.
    pub fn begin(pid: u32, name: &str) -> Self {
        let (data, report) = (folder().join(format!("{name}.perf")), folder().join(format!("{name}.txt")));
        // A virtual machine may have no counters of its own, but it has a clock.
        let recording = Command::new("perf")
            .args(["record", "--quiet", "--event", "cpu-clock", "--freq", FREQUENCY, "--call-graph", "dwarf,16384"])
            .args(["--pid", &pid.to_string(), "--output"])
            .arg(&data)
            .stdout(Stdio::null())
            .spawn()
            .expect("perf is installed: Debian has it as linux-perf");
        Self { recording, data, report }
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.recording.id().to_string()]).status();
        let _ = self.recording.wait();
        let report = Command::new("perf")
            .args(["report", "--stdio", "--no-children", "--call-graph", "none", "--percent-limit", "0.5", "--sort", "symbol", "--input"])
            .arg(&self.data)
            .stderr(Stdio::null())
            .output()
            .expect("perf is installed");
        // It fills every line up to the longest name.
        let lines: Vec<_> =
            String::from_utf8_lossy(&report.stdout).lines().map(|line| line.trim_end_matches([' ', '-', '.']).to_owned()).collect();
        std::fs::write(&self.report, lines.join("\n")).expect("a file for the profile");
        eprintln!("  profile: {}", self.report.display());
    }
}
