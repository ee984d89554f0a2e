//! What processes use: CPU by program, and memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// Seconds of CPU that each program of the run has used so far. Those of Postgres are with their sessions, ended or not.
pub fn cpu_seconds(further: &[(&str, u32)]) -> BTreeMap<String, f64> {
    let state = PathBuf::from(std::env::var("KUBECONFIG").expect("KUBECONFIG")).parent().expect("its folder").to_owned();
    let name = state.file_name().expect("a name").to_owned();
    let pids = state.join("kwok/clusters").join(name).join("pids");
    let mut seconds = BTreeMap::new();
    for entry in std::fs::read_dir(pids).expect("the cluster's processes").flatten() {
        let program = entry.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(pid) = pid_in(&entry.path()) {
            seconds.insert(program, of(pid).unwrap_or_default());
        }
    }
    if let Some(pid) = pid_in(&state.join("ingress.pid")) {
        seconds.insert("local-ingress".to_owned(), of(pid).unwrap_or_default());
    }
    if let Some(pid) = pid_in(&state.join("postgres/data/postmaster.pid")) {
        seconds.insert("postgres".to_owned(), with_children(pid));
    }
    for (program, pid) in further {
        seconds.insert((*program).to_owned(), of(*pid).unwrap_or_default());
    }
    seconds
}

/// What was used between two looks.
pub fn between(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    after.iter().map(|(program, seconds)| (program.clone(), seconds - before.get(program).copied().unwrap_or_default())).collect()
}

fn pid_in(file: &std::path::Path) -> Option<u32> {
    std::fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

/// The numbers of `/proc/PID/stat` from the third on; see proc_pid_stat(5). Before them is a name that may have blanks in it.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn ticks(stat: &[String], fields: &[usize]) -> f64 {
    let all = fields.iter().filter_map(|field| stat.get(field - 3)?.parse::<f64>().ok()).sum::<f64>();
    all / ticks_a_second()
}

/// User and system time of one process.
pub fn of(pid: u32) -> Option<f64> {
    stat(pid).map(|stat| ticks(&stat, &[14, 15]))
}

fn with_children(pid: u32) -> f64 {
    let own = stat(pid).map_or(0.0, |stat| ticks(&stat, &[14, 15, 16, 17]));
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let children = processes.filter_map(|entry| stat(entry.file_name().to_string_lossy().parse().ok()?));
    own + children.filter(|stat| stat.get(1) == Some(&pid.to_string())).map(|stat| ticks(&stat, &[14, 15])).sum::<f64>()
}

fn ticks_a_second() -> f64 {
    static TICKS: std::sync::OnceLock<f64> = std::sync::OnceLock::new();
    *TICKS.get_or_init(|| {
        let output = Command::new("getconf").arg("CLK_TCK").output().expect("getconf starts");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    })
}

/// Resident memory now and at its most, in MiB.
pub fn memory(pid: u32) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let of = |field: &str| {
        let line = text.lines().find(|line| line.starts_with(field)).expect("a line of /proc/PID/status");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("KiB") / 1024.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}
