//! `kubectl tenantry get NAME`: one screen on one tenant: what it is, how far it is, what runs, what happened last, and what to do next.

use super::access::access;
use super::cluster::Cluster;
use super::follow::wait;
use super::terminal::{Style, age, bytes, table};
use super::{Failure, NOT_READY, certificates, completion, note, print, time};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use std::process::ExitCode;
use std::time::Duration;
use tenantry::api::{Tenant, labels};
use tenantry::database;
use tenantry::events::{events_of, happened};
use tenantry::inspect::{State, advice, state, steps};

/// So many events are shown.
const EVENTS_SHOWN: usize = 5;
/// A database that takes longer to answer isn't waited for.
const MEASURED_WITHIN: Duration = Duration::from_secs(3);

/// Options of `kubectl tenantry get`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit codes: 0 the tenant is as was asked for, 1 it isn't, 124 it wasn't within --timeout.

Examples:
  kubectl tenantry get acme
  kubectl tenantry get acme --watch --timeout 5m
  kubectl tenantry get acme -o yaml")]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// Follows it until it is ready, suspended, or a person has to act.
    #[arg(short = 'w', long)]
    watch: bool,
    /// How long it is followed at most, such as 90s or 10m.
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "watch")]
    timeout: String,
    /// More: each component's image, all hosts, the manifest's other values, and how much data there is, which takes the right to read the tenant's Secret and a server that is reached from here.
    #[arg(short = 'v', long)]
    verbose: bool,
    /// How it is printed.
    #[arg(short = 'o', long, value_name = "FORMAT", conflicts_with = "watch")]
    output: Option<Format>,
    #[command(flatten)]
    cluster: Cluster,
}

/// How a tenant is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The Tenant in JSON.
    Json,
    /// The Tenant in YAML.
    Yaml,
}

/// What the screen is made of. What may not be read is left out.
pub struct Found {
    pub tenant: Tenant,
    pub deployments: Vec<Deployment>,
    pub events: Vec<Event>,
    pub certificates: Vec<DynamicObject>,
    /// The bytes of the tenant's data, where they were asked for.
    pub size: Option<u64>,
}

/// Prints one tenant.
pub async fn get(options: Options) -> Result<ExitCode, Failure> {
    let client = options.cluster.client().await?;
    if options.watch {
        return wait(&client, &options.name, time(&options.timeout)?, None).await;
    }
    let tenant = find(&client, &options.name).await?;
    match options.output {
        Some(Format::Json) => print(&format!("{}\n", serde_json::to_string_pretty(&tenant)?))?,
        Some(Format::Yaml) => print(&serde_saphyr::to_string(&tenant)?)?,
        None => {
            let mut found = look(&client, tenant.clone()).await;
            if options.verbose {
                found.size = measure(&client, &tenant).await;
            }
            print(&screen(&found, options.verbose, Timestamp::now(), Style::of_output()))?;
            note(&next(&tenant));
        }
    }
    Ok(code_of(State::of(&tenant)))
}

/// The tenant.
pub async fn find(client: &Client, name: &str) -> Result<Tenant, Failure> {
    let api: Api<Tenant> = Api::all(client.clone());
    match api.get_opt(name).await? {
        Some(tenant) => Ok(super::list::without_managed_fields(tenant)),
        None => Err(format!("there is no tenant {name}: kubectl tenantry list tells which there are").into()),
    }
}

/// Everything else that the screen shows.
pub async fn look(client: &Client, tenant: Tenant) -> Found {
    let namespace = tenant.status.as_ref().and_then(|status| status.namespace.clone());
    let (mut deployments, mut certificates) = (Vec::new(), Vec::new());
    if let Some(namespace) = &namespace {
        let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let own = ListParams::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGER));
        let listed;
        (listed, certificates) = tokio::join!(api.list(&own), certificates::of_namespace(client, namespace));
        match listed {
            Ok(list) => deployments = list.items,
            Err(error) => note(&format!("what runs can't be read: {error}")),
        }
    }
    let events = events_of(client, &tenant).await.unwrap_or_default();
    Found { tenant, deployments, events, certificates, size: None }
}

/// How much data a tenant has, as its own login sees it. Why that can't be told is said.
async fn measure(client: &Client, tenant: &Tenant) -> Option<u64> {
    let schema = tenant.status.as_ref()?.database.as_ref()?.schema.clone();
    let asked = async {
        let address = access(client, tenant).await?.address().ok_or("its Secret says in another way how it is reached")?;
        Ok::<_, Failure>(database::size(&address, schema.as_deref()).await?)
    };
    let told = tokio::time::timeout(MEASURED_WITHIN, asked).await;
    let told = told.unwrap_or_else(|_| Err(format!("no answer within {} s", MEASURED_WITHIN.as_secs()).into()));
    told.map_err(|error| note(&format!("how much data there is can't be told from here: {error}"))).ok()
}

/// The screen.
pub fn screen(found: &Found, verbose: bool, now: Timestamp, style: Style) -> String {
    let tenant = &found.tenant;
    let status = tenant.status.clone().unwrap_or_default();
    let spec = &tenant.spec;
    let mut text = format!("{}   {}\n", style.bold(&tenant.name_any()), spec.display_name);
    let release = status.release.as_ref().map(|release| format!(" by release {}", release.name)).unwrap_or_default();
    let version = status.version.clone().map(|version| format!(" · {version}{release}")).unwrap_or_default();
    text += &style.dim(&format!("{} · plan {}{version}", spec.blueprint, spec.plan));
    text += "\n\n";
    let at = State::of(tenant);
    let ready = state::ready(tenant);
    let since = ready.map(|ready| format!(" for {}", age(ready.last_transition_time.0, now))).unwrap_or_default();
    text += &style.state(at, &format!("{}{since}", state::told(tenant)));
    if let Some(url) = status.url.as_ref().filter(|_| at == State::Ready) {
        text += &format!("   {url}");
    }
    text += "\n\n";
    for step in steps::steps(tenant) {
        text += &format!("  {}\n", style.step(&step));
    }
    let mut rows = Vec::new();
    let mut deployments: Vec<_> = found.deployments.iter().collect();
    deployments.sort_by_key(|deployment| deployment.name_any());
    for deployment in deployments {
        rows.push(component(deployment, verbose));
    }
    if !rows.is_empty() {
        text += &format!("\n{}\n{}", style.dim("Components"), indented(&table(&rows)));
    }
    let mut facts = Vec::new();
    if let Some(database) = &status.database {
        let schema = database.schema.as_ref().map(|schema| format!(", schema {schema}")).unwrap_or_default();
        let size = found.size.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
        facts.push(vec!["Database".to_owned(), format!("{} on {}{schema}{size}", database.name, database.server)]);
    }
    if status.hosts.len() > 1 || verbose {
        facts.push(vec!["Hosts".to_owned(), status.hosts.join(", ")]);
    }
    for certificate in &found.certificates {
        facts.push(vec!["Certificate".to_owned(), certificates::sentence(certificate, now)]);
    }
    if let Some(end) = &spec.expires_at {
        facts.push(vec!["Trial".to_owned(), format!("ends at {}", end.0)]);
    }
    if let Some(at) = tenant.leaves_at() {
        facts.push(vec!["Deleted".to_owned(), format!("at {}", at.0)]);
    }
    if verbose {
        facts.push(vec![
            "Channel".to_owned(),
            tenant.pinned().map_or_else(|| tenant.channel().to_owned(), |pin| format!("pinned to {pin}")),
        ]);
        facts.push(vec![
            "Deletion".to_owned(),
            format!("{:?}{}", spec.deletion.policy, if spec.deletion.protected { ", protected" } else { "" }),
        ]);
    }
    if !facts.is_empty() {
        text += &format!("\n{}", table(&facts));
    }
    let latest = found.events.iter().rev().take(EVENTS_SHOWN).rev();
    let rows: Vec<_> = latest.map(|event| line_of(event, now)).collect();
    if !rows.is_empty() {
        text += &format!("\n{}\n{}", style.dim("Last events"), indented(&table(&rows)));
    }
    text
}

fn component(deployment: &Deployment, verbose: bool) -> Vec<String> {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let mut row = vec![deployment.name_any(), format!("{}/{wanted} pods", status.available_replicas.unwrap_or_default())];
    let pod = &deployment.spec.template;
    let version = pod.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref()?.get(labels::APP_VERSION).cloned());
    row.push(version.unwrap_or_default());
    if verbose {
        let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()).and_then(|container| container.image.clone());
        row.push(image.unwrap_or_default());
    }
    row
}

/// An event, as the cells of a row.
pub fn line_of(event: &Event, now: Timestamp) -> Vec<String> {
    let when = happened(event).map(|at| age(at, now)).unwrap_or_default();
    let times = event.series.as_ref().map(|series| format!(" ({}×)", series.count)).unwrap_or_default();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![when, text(&event.type_), text(&event.reason), format!("{}{times}", text(&event.note))]
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// What to do next.
pub fn next(tenant: &Tenant) -> String {
    let name = tenant.name_any();
    match State::of(tenant) {
        State::Ready => format!("next: kubectl tenantry open {name}"),
        _ => {
            let known = advice::about(state::told(tenant));
            known.map_or_else(|| format!("next: kubectl tenantry why {name}"), |advice| advice.sentence_for(&name))
        }
    }
}

/// Whether a tenant is as was asked for.
pub fn code_of(state: State) -> ExitCode {
    match state {
        State::Ready | State::Suspended => ExitCode::SUCCESS,
        State::Stalled | State::Working | State::Deleting => NOT_READY.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of<K: serde::de::DeserializeOwned>(manifest: serde_json::Value) -> K {
        serde_json::from_value(manifest).unwrap()
    }

    fn found() -> Found {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-25T10:00:00Z"});
        let deploying = "web: 1 of 2 pods are available";
        let conditions = json!([
            condition("Ready", "False", "Deploying", deploying),
            condition("Reconciling", "True", "Deploying", deploying),
            condition("DatabaseReady", "True", "Ready", "the data is on main"),
            condition("Migrated", "True", "Migrated", "migrated to version 2"),
            condition("Available", "False", "Deploying", deploying),
        ]);
        let status = json!({
            "observedGeneration": 1, "namespace": "tenant-acme", "version": "2", "url": "https://acme.example.com", "conditions": conditions,
            "hosts": ["acme.example.com", "orders.acme.example"], "release": {"name": "planner-2", "uid": "1", "since": "2026-11-25T09:00:00Z"},
            "database": {"server": "main", "name": "tenants", "schema": "tenant_acme", "owner": "tenant_acme"},
        });
        let spec = json!({"displayName": "Acme Inc.", "blueprint": "planner", "plan": "starter", "expiresAt": "2026-12-24T00:00:00Z"});
        let template = json!({
            "metadata": {"labels": {"app.kubernetes.io/version": "2"}},
            "spec": {"containers": [{"name": "web", "image": "registry.example.com/planner:2"}]},
        });
        let event = json!({
            "metadata": {"name": "a"}, "type": "Normal", "reason": "Migrated", "note": "migrated to version 2", "eventTime": "2026-11-25T09:59:30.000000Z",
        });
        Found {
            tenant: of(json!({"metadata": {"name": "acme", "generation": 1}, "spec": spec, "status": status})),
            deployments: vec![of(json!({
                "metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {}, "template": template}, "status": {"availableReplicas": 1},
            }))],
            events: vec![of(event)],
            certificates: vec![of(json!({
                "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "tls"},
                "status": {"notAfter": "2027-02-01T10:00:40Z", "conditions": [{"type": "Ready", "status": "True"}]},
            }))],
            size: None,
        }
    }

    #[test]
    fn one_screen_has_all_that_is_asked_most() {
        let now = "2026-11-25T10:00:40Z".parse().unwrap();
        let mut found = found();
        insta::assert_snapshot!(screen(&found, false, now, Style::default()), @r"
        acme   Acme Inc.
        planner · plan starter · 2 by release planner-2

        ◐ Deploying for 40s

          ✓ Space      namespace tenant-acme
          ✓ Database   the data is on main
          ✓ Secrets    passwords and keys are made
          ✓ Migration  migrated to version 2
          ◐ Pods       web: 1 of 2 pods are available

        Components
          web   1/2 pods   2

        Database      tenants on main, schema tenant_acme
        Hosts         acme.example.com, orders.acme.example
        Certificate   tls until 2027-02-01T10:00:40Z, 68 days left
        Trial         ends at 2026-12-24T00:00:00Z

        Last events
          70s   Normal   Migrated   migrated to version 2
        ");
        let plain = screen(&found, false, now, Style::default());
        found.size = Some(3 << 20);
        let more = screen(&found, true, now, Style::default());
        let more: Vec<_> = more.lines().filter(|line| !plain.lines().any(|known| known == *line)).collect();
        insta::assert_snapshot!(more.join("\n"), @r"
          web   1/2 pods   2   registry.example.com/planner:2
        Database      tenants on main, schema tenant_acme, 3 MiB
        Channel       stable
        Deletion      Retain
        ");
    }
}
