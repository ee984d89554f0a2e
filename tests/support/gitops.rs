//! What GitOps tools make of every change of our resources that a test process sees: Argo CD, Flux and kstatus, each by its own code, never
//! disagree, and none says that a tenant is well before its page has answered.

use super::environment::variable;
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Our kinds.
const KINDS: [(&str, &str); 5] =
    [("Tenant", "tenants"), ("Release", "releases"), ("DatabaseServer", "databaseservers"), ("Blueprint", "blueprints"), ("Plan", "plans")];

/// The program in which the tools' own code runs.
pub struct Judge {
    // Ends with its input.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Judge {
    /// With these further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join(".local/bin/local-health"))
            .arg("--argo")
            .arg(root.join("integrations/argocd/resource_customizations"))
            .arg("--flux")
            .arg(root.join("integrations/flux/health-checks.yaml"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("local-health starts: dev/build-tools makes it");
        let input = child.stdin.take().expect("an input");
        let output = BufReader::new(child.stdout.take().expect("an output"));
        Self { _child: child, input, output }
    }

    /// What it answers on an object.
    pub fn ask(&mut self, object: &Value) -> Value {
        writeln!(self.input, "{object}").expect("it listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?} on {object}"))
    }
}

/// What is wrong with what the tools say of an object.
pub fn contradiction(object: &Value, told: &Value) -> Option<String> {
    let argo = match (told["argo"].as_str(), object["kind"].as_str()) {
        // A release that is paused isn't where it was to come; a tenant that is suspended is.
        (Some("Suspended"), Some("Release")) | (Some("Progressing"), _) => "InProgress",
        (Some("Healthy" | "Suspended"), _) => "Current",
        (Some("Degraded"), _) => "Failed",
        _ => return Some("Argo CD knows no such status".to_owned()),
    };
    let kstatus = if told["kstatus"] == "Terminating" { "InProgress" } else { told["kstatus"].as_str().unwrap_or_default() };
    if kstatus != argo || told["flux"].as_str().is_some_and(|flux| flux != argo) {
        return Some("they disagree".to_owned());
    }
    let is_said_well = object["kind"] == "Tenant" && told["argo"] == "Healthy";
    let conditions = object["status"]["conditions"].as_array();
    // A product without a check has no page to ask for.
    let answers = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition["type"] == "Healthy")
        .all(|condition| condition["status"] == "True" && condition["observedGeneration"] == object["metadata"]["generation"]);
    (is_said_well && !answers).then(|| "it is said to be well, and its page has not answered".to_owned())
}

/// Judges every change from now on, until this process ends. What contradicts itself ends it.
pub fn watch() {
    std::thread::Builder::new()
        .name("gitops".to_owned())
        .spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(judge_all());
        })
        .expect("a thread");
}

async fn judge_all() {
    // Said here, so that whoever runs a test by itself knows what is missing.
    variable("KUBECONFIG");
    let client = Client::try_default().await.expect("a client");
    let mut judge = Judge::start(&[]);
    let of_kind = |(kind, plural): (&str, &str)| {
        let resource = ApiResource {
            group: "tenantry.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "tenantry.dev/v1alpha1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let kind = kind.to_owned();
        watcher(api, watcher::Config::default()).map(move |event| (kind.clone(), event)).boxed()
    };
    let mut events = futures::stream::select_all(KINDS.map(of_kind));
    while let Some((kind, event)) = events.next().await {
        let object = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => object,
            // The API server is being stopped, or a definition is being replaced.
            Err(_) => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
            Ok(_) => continue,
        };
        let mut object = serde_json::to_value(&object).expect("JSON");
        (object["apiVersion"], object["kind"]) = ("tenantry.dev/v1alpha1".into(), kind.into());
        let told = judge.ask(&object);
        if let Some(why) = contradiction(&object, &told) {
            // Not by eprintln: what a thread of a test prints is kept for a test that fails, and this one ends them all.
            let _ = writeln!(std::io::stderr(), "GitOps tools say {told}: {why}, of\n{object:#}");
            std::process::exit(101);
        }
    }
}
