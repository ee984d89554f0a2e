//! Which machine it is, and which commit.

use std::process::Command;

/// Cores, processor, memory and kernel.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0) / 1024.0 / 1024.0;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let release = kernel.trim().split('-').next().unwrap_or_default();
    format!("{cores} cores ({processor}), {memory:.0} GiB of memory, Linux {release}")
}

/// The commit that was measured, with a sign where files differed from it.
pub fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--exclude", "*"]).output().expect("git starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// How much the machine does before the bench begins: its load over five minutes.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split_whitespace().nth(1).and_then(|load| load.parse().ok()).unwrap_or_default();
    if load < 0.5 { "idle".to_owned() } else { format!("busy: its load was {load:.1} before the bench began") }
}
