//! `kubectl tenantry list`: all tenants at a glance.

use super::cluster::Cluster;
use super::completion;
use super::terminal::{Style, age, table};
use super::{Failure, note, print};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use tenantry::api::Tenant;
use tenantry::inspect::{State, state};

/// Tenants of a page: ten thousand are asked for in twenty requests.
const PAGE_SIZE: u32 = 500;

/// Options of `kubectl tenantry list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  kubectl tenantry list
  kubectl tenantry list --state stalled
  kubectl tenantry list --plan business --version 2026.11.3 -o wide")]
pub struct Options {
    /// Only tenants that are at this. May be given several times.
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    state: Vec<State>,
    /// Only those of this plan.
    #[arg(long, value_name = "NAME", add = completion::plans())]
    plan: Option<String>,
    /// Only those that this version serves.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Only those of this blueprint.
    #[arg(long, value_name = "NAME", add = completion::blueprints())]
    blueprint: Option<String>,
    /// Only those with these labels, such as tier=gold.
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// How it is printed.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    cluster: Cluster,
}

/// How a list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// More columns.
    Wide,
    /// The Tenants as a List in JSON.
    Json,
    /// The Tenants as a List in YAML.
    Yaml,
    /// Only the names.
    Name,
}

fn parse_state(word: &str) -> Result<State, String> {
    let words = || State::ALL.map(State::word).join(", ");
    State::ALL.into_iter().find(|state| state.word() == word).ok_or_else(|| format!("a state is one of {}", words()))
}

/// Prints the tenants that are asked for.
pub async fn list(options: Options) -> Result<(), Failure> {
    let client = options.cluster.client().await?;
    let mut tenants = all(&client, options.selector.as_deref()).await?;
    let total = tenants.len();
    tenants.retain(|tenant| is_asked_for(tenant, &options));
    match options.output {
        Some(Format::Name) => return print(&tenants.iter().map(|tenant| format!("{}\n", tenant.name_any())).collect::<String>()),
        Some(Format::Json) => return print(&format!("{}\n", serde_json::to_string_pretty(&as_list(&tenants))?)),
        Some(Format::Yaml) => return print(&serde_saphyr::to_string(&as_list(&tenants))?),
        Some(Format::Wide) | None => {}
    }
    if tenants.is_empty() {
        let why = if total == 0 {
            "there is no tenant: kubectl tenantry onboard NAME".to_owned()
        } else {
            format!("none of {total} tenants is so")
        };
        note(&why);
        return Ok(());
    }
    print(&screen(&mut tenants, options.output == Some(Format::Wide), Timestamp::now(), Style::of_output()))?;
    note(&summary(&tenants));
    Ok(())
}

/// All Tenants.
pub async fn all(client: &Client, selector: Option<&str>) -> Result<Vec<Tenant>, Failure> {
    let parameters = ListParams { label_selector: selector.map(str::to_owned), ..ListParams::default() };
    page_by_page(&Api::all(client.clone()), parameters).await
}

/// All objects that are asked for, page by page.
pub async fn page_by_page<K>(api: &Api<K>, parameters: ListParams) -> Result<Vec<K>, Failure>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut parameters = parameters.limit(PAGE_SIZE);
    let mut all = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        // Half of each, and of no use to anybody who reads it.
        all.extend(page.items.into_iter().map(without_managed_fields));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// As kubectl shows an object.
pub fn without_managed_fields<K: kube::Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

fn is_asked_for(tenant: &Tenant, options: &Options) -> bool {
    let version = tenant.status.as_ref().and_then(|status| status.version.as_deref());
    (options.state.is_empty() || options.state.contains(&State::of(tenant)))
        && options.plan.as_ref().is_none_or(|plan| *plan == tenant.spec.plan)
        && options.blueprint.as_ref().is_none_or(|blueprint| *blueprint == tenant.spec.blueprint)
        && options.version.as_deref().is_none_or(|wanted| version == Some(wanted))
}

fn as_list(tenants: &[Tenant]) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": tenants})
}

/// The table: what needs somebody first, then by name.
pub fn screen(tenants: &mut [Tenant], wide: bool, now: Timestamp, style: Style) -> String {
    tenants.sort_by_key(|tenant| (State::of(tenant), tenant.name_any()));
    let mut head = vec!["TENANT", "STATE", "VERSION", "PLAN", "URL", "AGE"];
    if wide {
        head.extend(["BLUEPRINT", "SERVER", "CUSTOMER", "MESSAGE"]);
    }
    let row = |tenant: &Tenant| {
        let status = tenant.status.as_ref();
        let text = |value: Option<&String>| value.cloned().unwrap_or_else(|| "-".to_owned());
        let ready = state::ready(tenant);
        let at = State::of(tenant);
        let created = tenant.creation_timestamp().map_or_else(|| "-".to_owned(), |created| age(created.0, now));
        let mut row = vec![
            tenant.name_any(),
            style.state(at, state::told(tenant)),
            text(status.and_then(|status| status.version.as_ref())),
            tenant.spec.plan.clone(),
            text(status.and_then(|status| status.url.as_ref())),
            created,
        ];
        if wide {
            row.extend([
                tenant.spec.blueprint.clone(),
                text(status.and_then(|status| status.database.as_ref()).map(|database| &database.server)),
                tenant.spec.display_name.clone(),
                ready.map(|ready| ready.message.clone()).unwrap_or_default(),
            ]);
        }
        row
    };
    let head = head.into_iter().map(|name| style.dim(name)).collect();
    table(&std::iter::once(head).chain(tenants.iter().map(row)).collect::<Vec<_>>())
}

/// How many are at what, and what to look at next.
fn summary(tenants: &[Tenant]) -> String {
    let mut counts: BTreeMap<State, usize> = BTreeMap::new();
    tenants.iter().for_each(|tenant| *counts.entry(State::of(tenant)).or_default() += 1);
    let counted: Vec<_> = counts.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
    let next = tenants.first().map(|first| match State::of(first) {
        State::Stalled | State::Working => format!("; next: kubectl tenantry why {}", first.name_any()),
        _ => format!("; next: kubectl tenantry get {}", first.name_any()),
    });
    format!("{} tenants: {}{}", tenants.len(), counted.join(", "), next.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_somebody_comes_first() {
        let tenant = |name: &str, reason: &str, kind: &str| -> Tenant {
            let condition = |kind: &str, status: bool| {
                let status = if status { "True" } else { "False" };
                json!({"type": kind, "status": status, "reason": reason, "message": "a sentence", "lastTransitionTime": "2026-11-25T10:00:00Z"})
            };
            let conditions = match kind {
                "" => json!([condition("Ready", true)]),
                kind => json!([condition("Ready", false), condition(kind, true)]),
            };
            let status =
                json!({"observedGeneration": 1, "version": "2", "url": format!("https://{name}.example.com"), "conditions": conditions});
            let metadata = json!({"name": name, "generation": 1, "creationTimestamp": "2026-11-25T10:00:00Z"});
            let spec = json!({"displayName": "Acme Inc.", "blueprint": "planner", "plan": "starter"});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
        };
        let mut tenants = [
            tenant("acme", "Ready", ""),
            tenant("globex", "Migrating", "Reconciling"),
            tenant("initech", "PlanMissing", "Stalled"),
            tenant("hooli", "Suspended", ""),
        ];
        let now = "2026-11-25T13:00:00Z".parse().unwrap();
        insta::assert_snapshot!(screen(&mut tenants, false, now, Style::default()), @r"
        TENANT    STATE           VERSION   PLAN      URL                           AGE
        initech   ✗ PlanMissing   2         starter   https://initech.example.com   3h
        globex    ◐ Migrating     2         starter   https://globex.example.com    3h
        hooli     ○ Suspended     2         starter   https://hooli.example.com     3h
        acme      ✓ ready         2         starter   https://acme.example.com      3h
        ");
        assert_eq!(summary(&tenants), "4 tenants: 1 stalled, 1 working, 1 suspended, 1 ready; next: kubectl tenantry why initech");
    }
}
