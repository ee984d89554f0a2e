//! `tenantry publish`: makes a Release, for CI, and follows it to its end.

use super::cluster::Cluster;
use super::{Failure, NOT_READY, PAUSED, TIMED_OUT, complain, print, time};
use futures::TryStreamExt;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tenantry::api::{Release, conditions, labels, schema};
use tenantry::follow::changes;

/// How often a line is printed where there is no terminal and nothing but numbers has changed.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Options of `tenantry publish`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit codes, with --wait: 0 the release is complete; 1 it isn't, because too many tenants failed, it was rolled back, a newer one took over, or it can't be made; 3 it is paused; 124 it isn't complete within --timeout.

Examples:
  tenantry publish --blueprint planner --version 2026.11.3 --channel rc --wait
  tenantry publish -f release.yaml --version $CI_COMMIT_TAG --digest $DIGEST --wait --timeout 2h"
)]
pub struct Options {
    /// A Release whose waves, health and all else are taken; what the other options say wins.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The Blueprint.
    #[arg(long, value_name = "NAME")]
    blueprint: Option<String>,
    /// The version.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// The image's tag, where it isn't the version.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// The image's digest, such as sha256:…
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// The channel; stable, where neither this nor the file says.
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// The commit that the version was built from, which `kubectl tenantry trace` shows; what GitLab's and GitHub's CI say, where left out.
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// The Release's name; made of blueprint and version, where left out.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Follows the release to its end.
    #[arg(long)]
    wait: bool,
    /// How long it is followed at most, such as 90s, 30m or 2h.
    #[arg(long, value_name = "TIME", default_value = "1h", requires = "wait")]
    timeout: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// Makes the Release, unless the very same is there, and follows it if asked to.
pub async fn publish(options: Options) -> Result<ExitCode, Failure> {
    let timeout = time(&options.timeout)?;
    let manifest = manifest(&options)?;
    let release: Release = serde_json::from_value(manifest)?;
    let api: Api<Release> = Api::all(options.cluster.client().await?);
    let name = release.name_any();
    match api.create(&PostParams::default(), &release).await {
        Ok(_) => print(&format!(
            "release {name} of {} {} on channel {} is made\n",
            release.spec.blueprint, release.spec.version, release.spec.channel
        ))?,
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let known = api.get(&name).await?;
            let stops = |release: &Release| tenantry::api::ReleaseSpec { paused: false, rolled_back: false, ..release.spec.clone() };
            if stops(&known) != stops(&release) {
                return Err(format!(
                    "there is a Release {name} already, and it differs from this one: give this one another name with --name"
                )
                .into());
            }
            print(&format!("release {name} was made before\n"))?;
        }
        Err(kube::Error::Api(status)) => return Err(format!("the API server refuses the Release: {}", status.message).into()),
        Err(error) => return Err(error.into()),
    }
    if options.wait { follow(&api, &name, timeout).await } else { Ok(ExitCode::SUCCESS) }
}

/// The manifest, as the API server would take it.
fn manifest(options: &Options) -> Result<Value, Failure> {
    let mut manifest = match &options.file {
        None => json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Release", "metadata": {}, "spec": {}}),
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            serde_saphyr::from_str(&text).map_err(|error| format!("{}: it is no YAML: {error}", file.display()))?
        }
    };
    let spec = &mut manifest["spec"];
    for (field, value) in [("blueprint", &options.blueprint), ("version", &options.version), ("channel", &options.channel)] {
        if let Some(value) = value {
            spec[field] = value.clone().into();
        }
    }
    for (field, value) in [("tag", &options.tag), ("digest", &options.digest)] {
        if let Some(value) = value {
            spec["image"][field] = value.clone().into();
        }
    }
    let of_ci = || ["CI_COMMIT_SHA", "GITHUB_SHA"].into_iter().find_map(|name| std::env::var(name).ok());
    if let Some(commit) = options.commit.clone().or_else(of_ci).filter(|commit| !commit.is_empty()) {
        manifest["metadata"]["annotations"][labels::COMMIT] = commit.into();
    }
    let text = |field: &str| manifest["spec"][field].as_str().map(str::to_owned).ok_or_else(|| format!("which {field}? Add --{field}"));
    let (blueprint, version) = (text("blueprint")?, text("version")?);
    match &options.name {
        Some(name) => manifest["metadata"]["name"] = name.clone().into(),
        None if manifest["metadata"]["name"].is_null() || options.version.is_some() => {
            manifest["metadata"]["name"] = name_of(&blueprint, &version).into();
        }
        None => {}
    }
    schema::admit(&manifest).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        format!("the release can't be made:{}", lines.concat()).into()
    })
}

/// Blueprint and version, as an object may be called.
fn name_of(blueprint: &str, version: &str) -> String {
    let version = version.to_lowercase().replace('_', "-");
    format!("{blueprint}-{version}").chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// How a followed release ended.
enum End {
    Complete,
    Failed,
    Paused,
    Superseded,
}

impl End {
    /// What it is, if it is one.
    fn of(release: &Release) -> Option<Self> {
        let status = release.status.as_ref().filter(|status| Some(status.observed_generation) == release.metadata.generation)?;
        let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY)?;
        match ready.reason.as_str() {
            "Complete" => Some(Self::Complete),
            "Superseded" => Some(Self::Superseded),
            "Paused" => Some(Self::Paused),
            "RolledBack" => Some(Self::Failed),
            _ if conditions::is_true(&status.conditions, conditions::STALLED) => Some(Self::Failed),
            _ => None,
        }
    }

    fn code(&self) -> ExitCode {
        match self {
            Self::Complete => ExitCode::SUCCESS,
            Self::Failed | Self::Superseded => NOT_READY.into(),
            Self::Paused => PAUSED.into(),
        }
    }
}

/// Follows a release until it ends or the time is over.
async fn follow(api: &Api<Release>, name: &str, timeout: Duration) -> Result<ExitCode, Failure> {
    let mut display = Display::new();
    let follow = async {
        let mut changes = std::pin::pin!(changes(api.clone(), name).applied_objects());
        while let Some(release) = changes.try_next().await? {
            display.show(&line(&release), &stage(&release));
            if let Some(end) = End::of(&release) {
                return Ok::<_, Failure>(Some((end, message(&release))));
            }
        }
        Ok(None)
    };
    let ended = tokio::time::timeout(timeout, follow).await;
    display.end();
    match ended {
        Ok(Ok(Some((end, message)))) => {
            match end {
                End::Complete => print(&format!("{message}\n"))?,
                _ => complain(&message),
            }
            Ok(end.code())
        }
        Ok(Ok(None)) => Err("the API server stopped telling of the release".into()),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            complain(&format!("release {name} isn't done after {} s; it goes on without being followed", timeout.as_secs()));
            Ok(TIMED_OUT.into())
        }
    }
}

fn message(release: &Release) -> String {
    let conditions = release.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == conditions::READY);
    ready.map(|ready| format!("{}: {}", ready.reason, ready.message)).unwrap_or_default()
}

/// What it is at, without numbers.
fn stage(release: &Release) -> String {
    let status = release.status.as_ref();
    let reason = message(release).split(':').next().unwrap_or_default().to_owned();
    format!("{reason} {}", status.and_then(|status| status.wave.clone()).unwrap_or_default())
}

/// How far it is, in a line.
fn line(release: &Release) -> String {
    let Some(status) = release.status.as_ref().filter(|status| status.progress.is_some()) else {
        return format!("{}: waiting for the operator", release.name_any());
    };
    let mut line = format!(
        "{}: {} done, {} moving, {} failed",
        stage(release),
        status.progress.as_deref().unwrap_or_default(),
        status.tenants.moving,
        status.tenants.failed
    );
    if let Some(estimate) = &status.estimate {
        let left = estimate.0.duration_since(jiff::Timestamp::now()).as_secs().max(0);
        line += &format!(", about {} min {} s left", left / 60, left % 60);
    }
    line
}

/// One line that changes, on a terminal; else a line for each change worth one.
struct Display {
    is_terminal: bool,
    stage: String,
    printed: Option<Instant>,
    line: String,
}

impl Display {
    fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), stage: String::new(), printed: None, line: String::new() }
    }

    /// Whoever doesn't listen misses nothing that the exit code doesn't say.
    fn show(&mut self, line: &str, stage: &str) {
        let mut out = std::io::stdout();
        if self.is_terminal {
            let _ = write!(out, "\r\x1b[K{line}").and_then(|()| out.flush());
        } else if self.line != line && (self.stage != stage || self.printed.is_none_or(|printed| printed.elapsed() >= LINE_EVERY)) {
            let _ = writeln!(out, "{line}");
            self.printed = Some(Instant::now());
        }
        (self.stage, self.line) = (stage.to_owned(), line.to_owned());
    }

    fn end(&self) {
        if self.is_terminal {
            let _ = std::io::stdout().write_all(b"\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_called_by_what_it_is_of() {
        assert_eq!(name_of("planner", "2026.11.3"), "planner-2026.11.3");
        assert_eq!(name_of("planner", "2026.11.3-RC_1"), "planner-2026.11.3-rc-1");
        let long = name_of(&"p".repeat(40), &format!("1.{}", "0".repeat(60)));
        assert!(long.len() <= 63 && !long.ends_with('.'), "{long}");
    }
}
