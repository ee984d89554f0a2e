//! `kubectl tenantry diff`: what the operator would do, objects and SQL, before anything is applied.

use super::apply::{self, Applied};
use super::cluster::Cluster;
use super::completion;
use super::manifests::Manifests;
use super::terminal::Style;
use super::{Failure, complain, note, print};
use kube::{Client, ResourceExt};
use serde_json::{Map, Value, json};
use similar::TextDiff;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use tenantry::api::tenant::TenantStatus;
use tenantry::api::{Tenant, labels};
use tenantry::controller::dry_run::{DryRun, Foreseen, Written};
use tenantry::database;
use tenantry::inspect::redact::MASK;
use tenantry::instance::Settings;
use tenantry::instance::render::Kind;

/// Exit code: something would be done.
const DIFFERS: u8 = 1;
/// Exit code: that can't be told.
const FAILED: u8 = 2;

/// What the cluster keeps of an object for itself.
const OF_THE_CLUSTER: [&str; 6] = ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];

/// Options of `kubectl tenantry diff`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The operator's own pass is made over the cluster as it would be, each write as a dry run, each migration as if it came to a good end, and the database is
looked at without changing it. So you need the rights to read and write what the operator does, and its login to the database server has to be of use from
here: else leave the database out. Values of Secrets are never shown, nor what the server keeps of a password.

With -f, the tenants are those of the files, and all that use a Blueprint, Plan, DatabaseServer or Release that would be another. A new Release is taken to
have come to everybody. Without, it tells what the operator would do now: as a rule nothing.

Exit codes: 0 nothing would be done, 1 something would, 2 that can't be told, or the operator would stop before the end.

Examples:
  kubectl tenantry diff -f tenants/acme.yaml
  kubectl tenantry diff -f blueprint.yaml --tenant acme -o json
  kubectl tenantry diff --tenant acme      whether the operator has anything to do"
)]
pub struct Options {
    /// A file, a folder of them, or - for standard input, with Tenants, Blueprints, Plans, DatabaseServers or Releases. May be given several times.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only this tenant. May be given several times.
    #[arg(long = "tenant", value_name = "NAME", required_unless_present = "files", add = completion::tenants())]
    tenants: Vec<String>,
    /// Takes the database to be as it should be, as where it can't be reached from here.
    #[arg(long)]
    skip_database: bool,
    /// All that would be written, as it is and as it would be.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
    /// A kind that extras may be of, as the operator is started with. May be given several times.
    #[arg(long = "extra-kind", value_name = "GROUP/VERSION/KIND")]
    extra_kinds: Vec<Kind>,
    /// The namespace of the operator.
    #[arg(short = 'n', long, value_name = "NAME", default_value = "tenantry-system")]
    namespace: String,
    /// The ServiceAccount of the operator.
    #[arg(long, value_name = "NAME", default_value = "tenantry-operator")]
    service_account: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// How else it is told.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// A JSON object.
    Json,
}

/// Tells what would be done.
pub async fn diff(options: Options) -> ExitCode {
    match foresee(&options).await {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

async fn foresee(options: &Options) -> Result<ExitCode, Failure> {
    let client = options.cluster.client().await?;
    let files = Manifests::read_all(&options.files)?;
    let mut fleet = Manifests::of_fleet(&client, &options.namespace).await?;
    let applied = apply::foresee(&client, &mut fleet, &files.documents).await?;
    let tenants = affected(&fleet, &applied, &options.tenants)?;
    let all = foresee_each(client, options, fleet, &tenants).await?;
    let told = Told { applied: &applied, tenants: &all };
    match options.output {
        Some(Format::Json) => print(&format!("{}\n", serde_json::to_string_pretty(&told.json())?))?,
        None => print(&told.text(Style::of_output()))?,
    }
    note(&told.sentence(options));
    let stops = all.iter().any(|(_, foreseen)| foreseen.stop.is_some());
    Ok(ExitCode::from(if stops { FAILED } else { u8::from(told.differs()) * DIFFERS }))
}

async fn foresee_each(client: Client, options: &Options, fleet: Manifests, tenants: &[String]) -> Result<Vec<(String, Foreseen)>, Failure> {
    if tenants.is_empty() {
        return Ok(Vec::new());
    }
    let settings = Settings {
        namespace: options.namespace.clone(),
        service_account: options.service_account.clone(),
        extra_kinds: options.extra_kinds.clone(),
    };
    let database = if options.skip_database { database::DryRun::that_trusts() } else { database::DryRun::that_asks() };
    let run = DryRun::new(client, settings, fleet.into_own_objects(), tenants, database).await?;
    let mut all = Vec::new();
    for tenant in tenants {
        all.push((tenant.clone(), run.of(tenant).await));
    }
    Ok(all)
}

/// The tenants that a change concerns, or of those the ones that are asked for.
fn affected(fleet: &Manifests, applied: &[Applied], asked: &[String]) -> Result<Vec<String>, Failure> {
    for name in asked {
        if !fleet.tenants.iter().any(|tenant| tenant.name_any() == *name) {
            return Err(format!("there is no tenant {name}, in the cluster or in a file").into());
        }
    }
    let uses = |tenant: &Tenant, changed: &Applied| match changed.kind.as_str() {
        "Tenant" => changed.name == tenant.name_any(),
        _ if !changed.changes_what_is_asked() => false,
        "Plan" => changed.name == tenant.spec.plan,
        "Blueprint" => changed.name == tenant.spec.blueprint,
        "Release" => changed.after["spec"]["blueprint"] == *tenant.spec.blueprint,
        _ => tenant.status.as_ref().and_then(TenantStatus::server) == Some(changed.name.as_str()),
    };
    let is_meant = |tenant: &&Tenant| {
        let is_asked = asked.is_empty() || asked.contains(&tenant.name_any());
        let is_concerned = applied.is_empty() || applied.iter().any(|changed| uses(tenant, changed));
        is_asked && is_concerned && tenant.metadata.deletion_timestamp.is_none()
    };
    let names: BTreeSet<_> = fleet.tenants.iter().filter(is_meant).map(ResourceExt::name_any).collect();
    Ok(names.into_iter().collect())
}

/// All that is told.
struct Told<'a> {
    applied: &'a [Applied],
    tenants: &'a [(String, Foreseen)],
}

impl Told<'_> {
    fn changed(&self) -> impl Iterator<Item = &Applied> {
        self.applied.iter().filter(|applied| applied.changes_what_is_asked())
    }

    fn differs(&self) -> bool {
        self.changed().next().is_some() || self.tenants.iter().any(|(_, foreseen)| is_something(foreseen))
    }

    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for applied in self.changed() {
            let name = format!("{} {}", applied.kind, applied.name);
            text += &unified(&name, applied.before.clone(), Some(applied.after.clone()), style);
        }
        for (tenant, foreseen) in self.tenants.iter().filter(|(_, foreseen)| is_something(foreseen) || foreseen.stop.is_some()) {
            text += &format!("{}\n", style.bold(&format!("Tenant {tenant}")));
            for written in in_order(&foreseen.objects) {
                text += &unified(&name_of(written), written.before.clone(), written.after.clone(), style);
            }
            for change in &foreseen.database {
                text += &format!("{}\n{}\n", style.dim(&format!("-- {}", change.doing)), style.added(&format!("{};", change.shown())));
            }
            if let Some(stop) = &foreseen.stop {
                text += &format!("{}\n", style.removed(&format!("it would stop there: {stop}")));
            }
        }
        text
    }

    fn json(&self) -> Value {
        let object = |written: &Written| {
            let (before, after) = masked(written.before.clone(), written.after.clone());
            let whole = after.as_ref().or(before.as_ref()).cloned().unwrap_or_default();
            json!({
                "verb": verb(written), "apiVersion": whole["apiVersion"], "kind": whole["kind"],
                "namespace": whole["metadata"]["namespace"], "name": whole["metadata"]["name"], "before": before, "after": after,
            })
        };
        let statement = |change: &database::Change| json!({"doing": change.doing, "statement": change.shown()});
        let tenant = |(name, foreseen): &(String, Foreseen)| {
            json!({
                "tenant": name, "objects": in_order(&foreseen.objects).into_iter().map(object).collect::<Vec<_>>(),
                "statements": foreseen.database.iter().map(statement).collect::<Vec<_>>(), "stop": foreseen.stop,
            })
        };
        let applied = |applied: &Applied| {
            let (before, after) = (applied.before.clone().map(plain), plain(applied.after.clone()));
            json!({"kind": applied.kind, "name": applied.name, "before": before, "after": after})
        };
        json!({
            "applied": self.changed().map(applied).collect::<Vec<_>>(), "tenants": self.tenants.iter().map(tenant).collect::<Vec<_>>(),
        })
    }

    /// What it comes to, and what to do next.
    fn sentence(&self, options: &Options) -> String {
        let objects: usize = self.tenants.iter().map(|(_, foreseen)| foreseen.objects.len()).sum();
        let statements: usize = self.tenants.iter().map(|(_, foreseen)| foreseen.database.len()).sum();
        let tenants = self.tenants.iter().filter(|(_, foreseen)| is_something(foreseen)).count();
        let database =
            if options.skip_database { "the database wasn't asked".to_owned() } else { format!("{statements} changes in Postgres") };
        let files: Vec<_> = options.files.iter().map(|file| format!(" -f {}", file.display())).collect();
        let next = match (self.tenants.iter().find(|(_, foreseen)| foreseen.stop.is_some()), files.is_empty()) {
            (Some((tenant, _)), _) => format!("the operator would stop at {tenant}"),
            (None, true) => "kubectl tenantry reconcile NAME has a tenant looked at now".to_owned(),
            (None, false) => format!("to do it: kubectl apply{}", files.concat()),
        };
        let stops = self.tenants.iter().any(|(_, foreseen)| foreseen.stop.is_some());
        if !self.differs() && !stops {
            return format!("nothing would be done; {} tenants were looked at", self.tenants.len());
        }
        format!("{objects} objects written for {tenants} of {} tenants, {database}; {next}", self.tenants.len())
    }
}

fn is_something(foreseen: &Foreseen) -> bool {
    !foreseen.objects.is_empty() || !foreseen.database.is_empty()
}

/// As the operator writes them: what holds others first.
fn in_order(objects: &[Written]) -> Vec<&Written> {
    let rank = |written: &&Written| {
        let whole = written.after.as_ref().or(written.before.as_ref());
        let kind = whole.and_then(|whole| whole["kind"].as_str()).unwrap_or_default().to_owned();
        (Kind::WATCHED.iter().position(|known| known.kind == kind).unwrap_or(usize::MAX), name_of(written))
    };
    let mut objects: Vec<_> = objects.iter().collect();
    objects.sort_by_cached_key(rank);
    objects
}

fn name_of(written: &Written) -> String {
    let whole = written.after.as_ref().or(written.before.as_ref()).cloned().unwrap_or_default();
    let text = |path: &str| whole.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    match text("/metadata/namespace") {
        namespace if namespace.is_empty() => format!("{} {}", text("/kind"), text("/metadata/name")),
        namespace => format!("{} {namespace}/{}", text("/kind"), text("/metadata/name")),
    }
}

fn verb(written: &Written) -> &'static str {
    match (&written.before, &written.after) {
        (None, _) => "create",
        (Some(_), Some(_)) => "patch",
        (Some(_), None) => "delete",
    }
}

/// The lines that differ, with a few around them.
fn unified(name: &str, before: Option<Value>, after: Option<Value>, style: Style) -> String {
    let (before, after) = masked(before, after);
    let yaml = |object: &Option<Value>| object.as_ref().and_then(|object| serde_saphyr::to_string(object).ok()).unwrap_or_default();
    let side = |object: &Option<Value>| if object.is_some() { name.to_owned() } else { "/dev/null".to_owned() };
    let (old, new) = (yaml(&before), yaml(&after));
    let diff = TextDiff::from_lines(&old, &new);
    let text = diff.unified_diff().context_radius(3).header(&side(&before), &side(&after)).to_string();
    if text.is_empty() {
        return format!("{}\n", style.dim(&format!("{name}: written, and nothing of it would be another")));
    }
    let paint = |line: &str| match line.as_bytes().first() {
        Some(b'+') => style.added(line),
        Some(b'-') => style.removed(line),
        Some(b'@') => style.dim(line),
        _ => line.to_owned(),
    };
    text.lines().map(|line| format!("{}\n", paint(line))).collect()
}

/// Both without what is the cluster's alone, and without a secret; whether one would be another is told.
fn masked(before: Option<Value>, after: Option<Value>) -> (Option<Value>, Option<Value>) {
    let values = |object: &Option<Value>| object.as_ref().and_then(|object| object["data"].as_object().cloned()).unwrap_or_default();
    let old = values(&before);
    let shown = |object: Option<Value>, mask: &dyn Fn(&String, &Value) -> Value| {
        let mut object = object?;
        if object["kind"] == "Secret" {
            let data: Map<_, _> = values(&Some(object.clone())).iter().map(|(key, value)| (key.clone(), mask(key, value))).collect();
            object["data"] = Value::Object(data);
        }
        Some(plain(object))
    };
    let is_other = |key: &String, value: &Value| old.get(key).is_some_and(|old| old != value);
    let before = shown(before, &|_, _| MASK.into());
    let after = shown(after, &|key, value| if is_other(key, value) { format!("{MASK}, another than before").into() } else { MASK.into() });
    (before, after)
}

fn plain(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|name, _| !OF_THE_CLUSTER.contains(&name.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(labels::LAST_APPLIED);
        }
    }
    object
}
