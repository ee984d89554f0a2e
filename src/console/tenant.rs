//! A tenant's page: how far it is, what it is, and what can be done with it.

use super::Console;
use super::fleet::days_left;
use super::frame::Frame;
use super::offer::{Offer, offers};
use super::problem::{Problem, show};
use super::progress::{View, usually};
use crate::api::Tenant;
use crate::events::{events_of, happened};
use crate::inspect;
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, Client};

/// So many events are shown.
const EVENTS_SHOWN: usize = 10;

#[derive(Template)]
#[template(path = "tenant.html")]
struct Page {
    frame: Frame,
    tenant: Tenant,
    view: View,
    now: Timestamp,
    /// The tenant's plan, where the visitor may see plans.
    offer: Option<Offer>,
    events: Vec<Happened>,
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
    fn is_suspended(&self) -> bool {
        self.tenant.spec.suspended
    }

    fn is_deleting(&self) -> bool {
        self.view.state == inspect::State::Deleting
    }

    fn trial_days(&self) -> Option<i64> {
        self.tenant.spec.expires_at.as_ref().map(|end| days_left(end.0, self.now))
    }

    fn color(&self) -> Option<&str> {
        self.tenant.spec.branding.as_ref()?.primary_color.as_deref()
    }
}

/// The page.
pub async fn page(State(console): State<Console>, frame: Frame, Path(name): Path<String>) -> Result<Response, Problem> {
    let client = &frame.visitor.client;
    let tenant = find(client, &name).await?;
    let (usual, offers, events) =
        futures::join!(usually(&console, &frame.visitor, &tenant.spec.blueprint), offers(client), events_of(client, &tenant));
    let offer = offers.ok().and_then(|offers| offers.into_iter().find(|offer| offer.name == tenant.spec.plan));
    // Who may not see events sees the rest.
    let events = events.unwrap_or_default().iter().rev().take(EVENTS_SHOWN).map(Happened::of).collect();
    let view = View::of(&tenant, &usual);
    Ok(show(StatusCode::OK, &Page { frame, view, tenant, now: Timestamp::now(), offer, events }))
}

/// The tenant.
///
/// # Errors
/// Where there is none, or it may not be seen.
pub async fn find(client: &Client, name: &str) -> Result<Tenant, Problem> {
    let api: Api<Tenant> = Api::all(client.clone());
    api.get_opt(name).await?.ok_or_else(|| Problem::missing(format!("there is no tenant {name}")))
}
