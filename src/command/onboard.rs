//! `kubectl tenantry onboard NAME`: a customer, from a few answers to a page that answers.

use super::cluster::Cluster;
use super::completion;
use super::follow::{Waiting, wait};
use super::get::find;
use super::{Failure, MANAGER, USAGE, moment_in, note, print};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use tenantry::api::tenant::Branding;
use tenantry::api::{Blueprint, Plan, Tenant, schema};
use tenantry::inspect::State;
use tenantry::instance::names::Host;
use tenantry::instance::resolve::hosts;

/// Options of `kubectl tenantry onboard`.
#[derive(clap::Args, Debug)]
#[command(after_help = "What is missing is asked for on a terminal. The address goes to standard output, all else to standard error.

Examples:
  kubectl tenantry onboard acme
  kubectl tenantry onboard acme --customer 'Acme Inc.' --plan business --trial 30d --yes
  kubectl tenantry onboard acme --customer 'Acme Inc.' --plan business --manifest > tenants/acme.yaml")]
pub struct Options {
    /// The tenant, which is also the first part of its address.
    #[arg(value_name = "NAME")]
    name: String,
    /// The customer's name, as people write it.
    #[arg(long, value_name = "NAME")]
    customer: Option<String>,
    /// The Blueprint. It isn't asked for where there is only one.
    #[arg(long, value_name = "NAME", add = completion::blueprints())]
    blueprint: Option<String>,
    /// The Plan. It isn't asked for where there is only one.
    #[arg(long, value_name = "NAME", add = completion::plans())]
    plan: Option<String>,
    /// A further host name. May be given several times.
    #[arg(long = "domain", value_name = "HOST")]
    domains: Vec<String>,
    /// The region of the data.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// A trial of so long, such as 14d; after it the tenant is suspended.
    #[arg(long, value_name = "TIME")]
    trial: Option<String>,
    /// The main colour, such as '#0a5c36'.
    #[arg(long, value_name = "COLOR")]
    color: Option<String>,
    /// The logo, by its https address.
    #[arg(long, value_name = "URL")]
    logo: Option<String>,
    /// The channel whose releases it gets.
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// A setting. May be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Only prints the manifest, for whoever keeps it in Git. Nothing is made.
    #[arg(long)]
    manifest: bool,
    /// Doesn't ask whether it shall be so.
    #[arg(short = 'y', long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    cluster: Cluster,
}

/// Makes the tenant, and follows it until its page answers.
pub async fn onboard(options: Options) -> Result<ExitCode, Failure> {
    let limit = options.waiting.limit()?;
    let client = options.cluster.client().await?;
    let manifest = manifest(&client, &options).await?;
    let text = serde_saphyr::to_string(&manifest)?;
    let api: Api<Tenant> = Api::all(client.clone());
    let tenant: Tenant = serde_json::from_value(manifest)?;
    let parameters = |dry_run| PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) };
    if let Err(error) = api.create(&parameters(true), &tenant).await {
        return Err(refused(&client, &options.name, error).await);
    }
    if let Some((host, other)) = taken(&client, &tenant).await? {
        return Err(format!("{host} is {other}'s already: choose another name or domain").into());
    }
    if options.manifest {
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    note(&text);
    if !options.yes && !is_agreed("Shall it be so? [y/N]")? {
        note("nothing was made");
        return Ok(USAGE.into());
    }
    if let Err(error) = api.create(&parameters(false), &tenant).await {
        return Err(refused(&client, &options.name, error).await);
    }
    if options.waiting.no_wait {
        note(&format!("{} is being made; next: kubectl tenantry get {} --watch", options.name, options.name));
        return Ok(ExitCode::SUCCESS);
    }
    let code = wait(&client, &options.name, limit, None).await?;
    let made = find(&client, &options.name).await?;
    if let Some(url) = made.status.as_ref().and_then(|status| status.url.clone()).filter(|_| State::of(&made) == State::Ready) {
        print(&format!("{url}\n"))?;
    }
    Ok(code)
}

/// The Tenant that is asked for, with what was answered.
async fn manifest(client: &Client, options: &Options) -> Result<Value, Failure> {
    let mut spec = json!({
        "displayName": answer("customer", options.customer.clone(), &[])?,
        "blueprint": choice::<Blueprint>(client, "blueprint", options.blueprint.clone()).await?,
        "plan": choice::<Plan>(client, "plan", options.plan.clone()).await?,
    });
    if !options.domains.is_empty() {
        spec["domains"] = options.domains.clone().into();
    }
    if let Some(region) = &options.region {
        spec["region"] = region.clone().into();
    }
    if let Some(trial) = &options.trial {
        spec["expiresAt"] = moment_in("--trial", trial, jiff::Timestamp::now())?.into();
    }
    let branding = Branding { primary_color: options.color.clone(), logo_url: options.logo.clone() };
    if branding != Branding::default() {
        spec["branding"] = json!(branding);
    }
    if let Some(channel) = &options.channel {
        spec["release"] = json!({"channel": channel});
    }
    let settings = options.settings.iter().map(|setting| {
        let (name, value) = setting.split_once('=').ok_or_else(|| format!("--set {setting:?} is no setting: write it as NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let settings: BTreeMap<String, String> = settings.collect::<Result<_, Failure>>()?;
    if !settings.is_empty() {
        spec["settings"] = json!(settings);
    }
    let manifest = json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": options.name}, "spec": spec});
    // What the API server would refuse is said before it is asked, and all of it at once.
    schema::admit(&manifest).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        format!("{} can't be made:{}", options.name, lines.concat())
    })?;
    Ok(manifest)
}

/// What was said, or the only one that there is, or what a person answers.
async fn choice<K>(client: &Client, what: &str, given: Option<String>) -> Result<String, Failure>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    if let Some(given) = given {
        return Ok(given);
    }
    let all = Api::<K>::all(client.clone()).list(&ListParams::default()).await?;
    let names: Vec<_> = all.items.iter().map(ResourceExt::name_any).collect();
    match names.as_slice() {
        [] => Err(format!("there is no {what}: an admin has to make one first").into()),
        [only] => Ok(only.clone()),
        several => answer(what, None, several),
    }
}

/// What was said, or what a person answers.
fn answer(what: &str, given: Option<String>, choices: &[String]) -> Result<String, Failure> {
    let among = if choices.is_empty() { String::new() } else { format!(" ({})", choices.join(", ")) };
    if let Some(given) = given {
        return Ok(given);
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!("which {what}{among}? Say it with --{what}").into());
    }
    loop {
        let typed = ask(&format!("{what}{among}: "))?;
        if !typed.is_empty() && (choices.is_empty() || choices.contains(&typed)) {
            return Ok(typed);
        }
    }
}

fn is_agreed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err("nobody can be asked here: say it with --yes".into());
    }
    Ok(matches!(ask(&format!("{question} "))?.to_lowercase().as_str(), "y" | "yes"))
}

fn ask(question: &str) -> Result<String, Failure> {
    let mut out = std::io::stderr();
    write!(out, "{question}").and_then(|()| out.flush())?;
    let mut typed = String::new();
    if std::io::stdin().lock().read_line(&mut typed)? == 0 {
        return Err("nobody answers".into());
    }
    Ok(typed.trim().to_owned())
}

/// What the API server says of it, in words that help.
async fn refused(client: &Client, name: &str, error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 409 => {
            let other = Api::<Tenant>::all(client.clone()).get_opt(name).await.ok().flatten();
            let whose = other.map(|other| format!(", {}", other.spec.display_name)).unwrap_or_default();
            format!("there is a tenant {name} already{whose}: choose another name").into()
        }
        kube::Error::Api(status) => format!("the API server refuses {name}: {}", status.message).into(),
        error => error.into(),
    }
}

/// A host that this tenant would have, and the tenant that has it.
async fn taken(client: &Client, tenant: &Tenant) -> Result<Option<(Host, String)>, Failure> {
    let name = &tenant.spec.blueprint;
    let blueprint = Api::<Blueprint>::all(client.clone()).get_opt(name).await?.ok_or_else(|| format!("there is no blueprint {name}"))?;
    let wanted = hosts(tenant, &blueprint.spec.base_domain)?;
    let others = super::list::all(client, None).await?;
    let whose = |host: &Host| {
        let has = |other: &&Tenant| other.status.as_ref().is_some_and(|status| status.hosts.iter().any(|known| known == host.as_str()));
        others.iter().find(has).map(ResourceExt::name_any)
    };
    Ok(wanted.into_iter().find_map(|host| whose(&host).map(|other| (host, other))))
}
