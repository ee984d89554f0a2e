//! A new customer, from a few fields to a page that comes up.

use super::address::{self, Verdict};
use super::brand::Brand;
use super::change::days_after;
use super::fleet::Row;
use super::form::{Submitted, new_id};
use super::frame::Frame;
use super::git::Proposal;
use super::offer::{Offer, offers};
use super::problem::{Problem, in_words, show};
use super::rights::Right;
use super::visitor::Visitor;
use super::{Console, MANAGER};
use crate::api::tenant::Branding;
use crate::api::{Blueprint, GROUP, Tenant, VERSION, schema};
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Which form made a tenant: sent twice, it makes one.
const FORM: &str = "tenantry.dev/console-form";
/// Who onboarded a tenant, for who asks later.
const BY: &str = "tenantry.dev/onboarded-by";

/// How long a Git server may take.
const GIT_PATIENCE: Duration = Duration::from_secs(30);

/// What is filled in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filled {
    customer: String,
    name: String,
    blueprint: String,
    plan: String,
    /// Days of a trial; none where there is none.
    trial: String,
    color: String,
    logo: String,
    /// Tells this form from all others.
    form: String,
}

/// What is chosen from.
struct Choices {
    blueprints: Vec<Blueprint>,
    offers: Vec<Offer>,
}

impl Choices {
    async fn of(client: &Client) -> Result<Self, Problem> {
        let (blueprints, all) = (Api::<Blueprint>::all(client.clone()), ListParams::default());
        let (blueprints, offers) = futures::future::try_join(blueprints.list(&all), offers(client)).await?;
        Ok(Self { blueprints: blueprints.items, offers })
    }

    /// What is filled in, with what there is no choice about.
    fn complete(&self, mut filled: Filled) -> Filled {
        if let ([only], true) = (self.blueprints.as_slice(), filled.blueprint.is_empty()) {
            filled.blueprint = only.name_any();
        }
        if let ([only], true) = (self.offers.as_slice(), filled.plan.is_empty()) {
            filled.plan.clone_from(&only.name);
        }
        filled
    }

    /// What is filled in, with the first of what isn't chosen yet: good enough to try whether an address can be had.
    fn exemplary(&self, filled: Filled) -> Filled {
        let mut filled = self.complete(filled);
        if let (true, Some(first)) = (filled.blueprint.is_empty(), self.blueprints.first()) {
            filled.blueprint = first.name_any();
        }
        if let (true, Some(first)) = (filled.plan.is_empty(), self.offers.first()) {
            filled.plan.clone_from(&first.name);
        }
        filled
    }

    /// Where tenants of the chosen blueprint are.
    fn base_domain(&self, filled: &Filled) -> String {
        let chosen = self.blueprints.iter().find(|blueprint| blueprint.name_any() == filled.blueprint).or(self.blueprints.first());
        chosen.map(|blueprint| blueprint.spec.base_domain.clone()).unwrap_or_default()
    }
}

/// What can be said of it while it is filled in.
#[derive(Template)]
#[template(path = "look.html")]
pub struct Look {
    name: String,
    base_domain: String,
    verdict: Verdict,
    suggestions: Vec<String>,
    brand: Brand,
}

impl Filled {
    fn brand(&self) -> Brand {
        Brand { customer: self.customer.clone(), color: self.color.clone(), logo: self.logo.clone() }
    }
}

impl Look {
    fn of(filled: &Filled, base_domain: String, tenants: &[Arc<Row>]) -> Self {
        let name = if filled.name.trim().is_empty() { address::proposal(&filled.customer) } else { filled.name.trim().to_owned() };
        let verdict = address::judge(&name, &base_domain, tenants);
        let suggestions = match verdict {
            Verdict::Free | Verdict::Empty => Vec::new(),
            _ => address::suggestions(&name, &base_domain, tenants),
        };
        Self { name, base_domain, verdict, suggestions, brand: filled.brand() }
    }
}

#[derive(Template)]
#[template(path = "onboard.html")]
struct Page {
    frame: Frame,
    choices: Choices,
    filled: Filled,
    look: Look,
    problems: Vec<String>,
}

/// The form.
pub async fn page(State(console): State<Console>, frame: Frame, Query(filled): Query<Filled>) -> Result<Response, Problem> {
    let filled = Filled { form: new_id(), ..filled };
    Ok(show(StatusCode::OK, &form(&console, frame, filled, Vec::new()).await?))
}

async fn form(console: &Console, frame: Frame, filled: Filled, problems: Vec<String>) -> Result<Page, Problem> {
    if !frame.may_onboard() {
        return Err(Problem::forbidden(Right::CreateTenants.missing()));
    }
    let choices = Choices::of(&frame.visitor.client).await?;
    let tenants = console.fleet.rows(&frame.visitor).await?;
    let filled = choices.complete(filled);
    let look = Look::of(&filled, choices.base_domain(&filled), &tenants);
    Ok(Page { frame, choices, filled, look, problems })
}

/// What is said while somebody types.
pub async fn look(State(console): State<Console>, visitor: Visitor, Query(filled): Query<Filled>) -> Result<Response, Problem> {
    let choices = Choices::of(&visitor.client).await?;
    let tenants = console.fleet.rows(&visitor).await?;
    let filled = choices.exemplary(filled);
    let mut look = Look::of(&filled, choices.base_domain(&filled), &tenants);
    // Who may make none can't try either.
    if look.verdict.is_free()
        && visitor.rights.has(Right::CreateTenants)
        && let Err(why) = try_out(&visitor, &look, &filled).await
    {
        look.verdict = Verdict::Refused(why);
    }
    Ok(show(StatusCode::OK, &look))
}

/// Whether the cluster would take a tenant of this name, as far as it is filled in: its admission policies have a say, and somebody may just have made it.
async fn try_out(visitor: &Visitor, look: &Look, filled: &Filled) -> Result<(), String> {
    let customer = if filled.customer.trim().is_empty() { look.name.clone() } else { filled.customer.clone() };
    let plain = Filled { customer, color: String::new(), logo: String::new(), ..filled.clone() };
    let Ok(manifest) = manifest(&plain, look, visitor, Timestamp::now()) else {
        return Ok(());
    };
    create(&visitor.client, &manifest, DryRun(true)).await
}

/// Makes the tenant, once however often the form is sent.
pub async fn make(State(console): State<Console>, frame: Frame, Submitted(filled): Submitted<Filled>) -> Result<Response, Problem> {
    if !frame.may_create() {
        return Err(Problem::forbidden(Right::CreateTenants.missing()));
    }
    let visitor = frame.visitor.clone();
    let page = form(&console, frame, filled, Vec::new()).await?;
    let name = page.look.name.clone();
    let to_its_page = || Redirect::to(&format!("/tenants/{name}")).into_response();
    let problems = match manifest(&page.filled, &page.look, &visitor, Timestamp::now()) {
        Ok(manifest) => match create(&visitor.client, &manifest, DryRun(false)).await {
            Ok(()) => return Ok(to_its_page()),
            Err(why) => vec![why],
        },
        // What this very form has made is taken by itself.
        Err(_) if is_made_by(&visitor.client, &name, &page.filled.form).await => return Ok(to_its_page()),
        Err(problems) => problems,
    };
    Ok(show(StatusCode::UNPROCESSABLE_ENTITY, &Page { problems, ..page }))
}

/// The manifest, for whoever keeps tenants in Git. Nothing is made.
pub async fn download(State(console): State<Console>, frame: Frame, Submitted(filled): Submitted<Filled>) -> Result<Response, Problem> {
    let visitor = frame.visitor.clone();
    let page = form(&console, frame, filled, Vec::new()).await?;
    let manifest = match manifest(&page.filled, &page.look, &visitor, Timestamp::now()) {
        Ok(manifest) => manifest,
        Err(problems) => return Ok(show(StatusCode::UNPROCESSABLE_ENTITY, &Page { problems, ..page })),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/yaml".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.yaml\"", page.look.name)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, in_git(manifest)?).into_response())
}

/// A manifest as it is kept in Git.
fn in_git(mut manifest: Value) -> Result<String, Problem> {
    // Which form it was tells nothing there.
    if let Some(annotations) = manifest["metadata"]["annotations"].as_object_mut() {
        annotations.remove(FORM);
    }
    serde_saphyr::to_string(&manifest).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}

/// Proposes the tenant in Git. Nothing is made in the cluster.
pub async fn propose(State(console): State<Console>, frame: Frame, Submitted(filled): Submitted<Filled>) -> Result<Response, Problem> {
    let Some(git) = console.git.clone() else { return Err(Problem::missing("this console knows no Git repository".to_owned())) };
    let visitor = frame.visitor.clone();
    let page = form(&console, frame, filled, Vec::new()).await?;
    let refused = |page: Page, problems| Ok(show(StatusCode::UNPROCESSABLE_ENTITY, &Page { problems, ..page }));
    let manifest = match manifest(&page.filled, &page.look, &visitor, Timestamp::now()) {
        Ok(manifest) => in_git(manifest)?,
        Err(problems) => return refused(page, problems),
    };
    let (name, customer, form) = (page.look.name.clone(), page.filled.customer.trim().to_owned(), page.filled.form.clone());
    let proposal = Proposal { name: name.clone(), customer, manifest, visitor: visitor.name, form };
    let pushed = tokio::task::spawn_blocking(move || git.propose(&proposal));
    match tokio::time::timeout(GIT_PATIENCE, pushed).await {
        Ok(Ok(Ok(link))) => {
            let query = serde_urlencoded::to_string([("link", link.unwrap_or_default())]).unwrap_or_default();
            Ok(Redirect::to(&format!("/onboard/proposed/{name}?{query}")).into_response())
        }
        Ok(Ok(Err(error))) => refused(page, vec![error.to_string()]),
        Ok(Err(error)) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error)),
        Err(_) => refused(page, vec![format!("the Git server didn't answer within {} s: try again", GIT_PATIENCE.as_secs())]),
    }
}

/// Where a proposal can be looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Proposed {
    link: String,
}

#[derive(Template)]
#[template(path = "proposed.html")]
struct Waiting {
    frame: Frame,
    name: String,
    link: Option<String>,
}

/// Waits until what was proposed has come to the cluster, and leads there.
pub async fn proposed(
    State(console): State<Console>,
    frame: Frame,
    Path(name): Path<String>,
    Query(Proposed { link }): Query<Proposed>,
) -> Result<Response, Problem> {
    let tenants: Api<Tenant> = Api::all(frame.visitor.client.clone());
    if tenants.get_opt(&name).await?.is_some() {
        return Ok(Redirect::to(&format!("/tenants/{name}")).into_response());
    }
    // It comes from the page's address, so it may be anybody's.
    let link = console.git.as_ref().and_then(|git| git.has(&link).then_some(link));
    let page = show(StatusCode::OK, &Waiting { frame, name, link });
    Ok(([(header::REFRESH, "5")], page).into_response())
}

/// The Tenant, or all that is wrong with what was filled in.
fn manifest(filled: &Filled, look: &Look, visitor: &Visitor, now: Timestamp) -> Result<Value, Vec<String>> {
    let mut problems = Vec::new();
    if filled.customer.trim().is_empty() {
        problems.push("say what the customer is called".to_owned());
    }
    if !look.verdict.is_free() {
        problems.push("choose an address that can be had".to_owned());
    }
    if filled.plan.is_empty() {
        problems.push("choose a plan".to_owned());
    }
    let mut spec = json!({"displayName": filled.customer.trim(), "blueprint": filled.blueprint, "plan": filled.plan});
    match filled.brand().changes(&Branding::default()) {
        Ok(branding) if branding == json!({}) => {}
        Ok(branding) => spec["branding"] = branding,
        Err(why) => problems.push(why),
    }
    match filled.trial.as_str() {
        "" => {}
        days => match days_after(now, days) {
            Ok(end) => spec["expiresAt"] = end.into(),
            Err(why) => problems.push(format!("trial: {why}")),
        },
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let metadata = json!({"name": look.name, "annotations": {FORM: filled.form, BY: visitor.name}});
    let manifest = json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": "Tenant", "metadata": metadata, "spec": spec});
    schema::admit(&manifest).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// Whether it is only tried.
struct DryRun(bool);

async fn create(client: &Client, manifest: &Value, DryRun(dry_run): DryRun) -> Result<(), String> {
    let api: Api<Tenant> = Api::all(client.clone());
    let tenant: Tenant = serde_json::from_value(manifest.clone()).map_err(|error| error.to_string())?;
    let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), dry_run };
    match api.create(&parameters, &tenant).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let form = tenant.annotations().get(FORM).cloned().unwrap_or_default();
            if is_made_by(client, &tenant.name_any(), &form).await {
                Ok(())
            } else {
                Err("somebody took this address just now: choose another".to_owned())
            }
        }
        Err(error) => Err(in_words(&error)),
    }
}

/// Whether a tenant was made by this form.
async fn is_made_by(client: &Client, name: &str, form: &str) -> bool {
    let api: Api<Tenant> = Api::all(client.clone());
    let made = api.get_opt(name).await.ok().flatten();
    !form.is_empty() && made.is_some_and(|made| made.annotations().get(FORM).is_some_and(|known| known == form))
}
