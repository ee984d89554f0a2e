//! A tenant's page: how far it is, what it is, and what can be done with it.

use super::Console;
use super::fleet::days_left;
use super::frame::Frame;
use super::live;
use super::offer::{Offer, offers};
use super::problem::{Problem, show};
use super::progress::{View, usually};
use super::rights::{Right, Rights};
use super::usual::Seconds;
use super::visitor::Visitor;
use crate::api::Tenant;
use crate::api::tenant::DeletionPolicy;
use crate::events::{events_of, happened};
use crate::inspect;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client, ResourceExt};

/// So many events are shown.
const EVENTS_SHOWN: usize = 10;

#[derive(Template)]
#[template(path = "tenant.html")]
struct Page {
    frame: Frame,
    tenant: Tenant,
    now: Timestamp,
    /// What changes while somebody looks, drawn.
    content: String,
    events: Vec<Happened>,
}

/// What changes while somebody looks: the steps, what the tenant is, and what can be done with it.
#[derive(Template)]
#[template(path = "tenant_content.html")]
struct Content<'a> {
    view: View,
    tenant: &'a Tenant,
    /// The tenant's plan, where the visitor may see plans.
    offer: Option<&'a Offer>,
    rights: &'a Rights,
}

impl Content<'_> {
    fn is_deleting(&self) -> bool {
        self.view.state == inspect::State::Deleting
    }

    /// When it is deleted, where that is yet to come.
    fn leaves_at(&self) -> Option<Timestamp> {
        self.tenant.leaves_at().map(|at| at.0).filter(|_| !self.is_deleting())
    }

    fn color(&self) -> Option<&str> {
        self.tenant.spec.branding.as_ref()?.primary_color.as_deref()
    }

    fn logo(&self) -> Option<&str> {
        self.tenant.spec.branding.as_ref()?.logo_url.as_deref()
    }
}

/// What a tenant is held against while it is drawn.
struct Background {
    usual: Seconds,
    offers: Vec<Offer>,
    rights: Rights,
}

impl Background {
    async fn of(console: &Console, visitor: &Visitor, blueprint: &str) -> Self {
        let (usual, offers) = futures::join!(usually(console, visitor, blueprint), offers(&visitor.client));
        Self { usual, offers: offers.unwrap_or_default(), rights: visitor.rights.clone() }
    }

    fn draw(&self, tenant: &Tenant) -> Result<String, askama::Error> {
        let offer = self.offers.iter().find(|offer| offer.is(&tenant.spec.plan));
        Content { view: View::of(tenant, &self.usual), tenant, offer, rights: &self.rights }.render()
    }
}

/// An event, as it is shown.
struct Happened {
    at: Option<Timestamp>,
    is_warning: bool,
    note: String,
    times: i32,
}

impl Happened {
    fn of(event: &Event) -> Self {
        Self {
            at: happened(event),
            is_warning: event.type_.as_deref() == Some("Warning"),
            note: event.note.clone().unwrap_or_default(),
            times: event.series.as_ref().map_or(1, |series| series.count),
        }
    }
}

impl Page {
    fn name(&self) -> String {
        self.tenant.name_any()
    }

    fn trial_days(&self) -> Option<i64> {
        self.tenant.spec.expires_at.as_ref().map(|end| days_left(end.0, self.now))
    }
}

/// The page.
pub async fn page(State(console): State<Console>, frame: Frame, Path(name): Path<String>) -> Result<Response, Problem> {
    let client = &frame.visitor.client;
    let tenant = find(client, &name).await?;
    let background = Background::of(&console, &frame.visitor, &tenant.spec.blueprint);
    let (background, events) = futures::join!(background, events_of(client, &tenant));
    // Who may not see events sees the rest.
    let events = events.unwrap_or_default().iter().rev().take(EVENTS_SHOWN).map(Happened::of).collect();
    let content = background.draw(&tenant).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    Ok(show(StatusCode::OK, &Page { frame, tenant, now: Timestamp::now(), content, events }))
}

/// What changes on it, until it goes away.
pub async fn stream(State(console): State<Console>, visitor: Visitor, Path(name): Path<String>) -> Result<Response, Problem> {
    let tenant = find(&visitor.client, &name).await?;
    let background = Background::of(&console, &visitor, &tenant.spec.blueprint).await;
    live::draw(Api::all(visitor.client), &name, "tenant", move |tenant| background.draw(tenant).ok()).await
}

/// The tenant.
///
/// # Errors
/// Where there is none, or it may not be seen.
pub async fn find(client: &Client, name: &str) -> Result<Tenant, Problem> {
    let api: Api<Tenant> = Api::all(client.clone());
    api.get_opt(name).await?.ok_or_else(|| Problem::missing(format!("there is no tenant {name}")))
}
