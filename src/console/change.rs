//! What can be done with a tenant: each is asked before it is done.

use super::apply::{Refusal, apply};
use super::brand::Brand;
use super::form::Submitted;
use super::frame::Frame;
use super::guard::let_logos_in;
use super::offer::{Offer, offers};
use super::problem::{Problem, show};
use super::rights::Right;
use super::tenant;
use crate::api::Tenant;
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::{SignedDuration, Timestamp, Unit};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

/// Something that can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Suspend,
    Resume,
    Plan,
    Trial,
    /// Colour and logo.
    Look,
    Delete,
    /// Takes a deletion back that is yet to come.
    Keep,
}

impl Change {
    fn right(self) -> Right {
        if self == Self::Delete { Right::DeleteTenants } else { Right::ChangeTenants }
    }
}

/// What a visitor answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    plan: String,
    color: String,
    logo: String,
    /// So many days more of a trial, or of grace; none takes the end of a trial away, or deletes at once.
    days: String,
    /// The name, typed.
    name: String,
    /// Overwrites what somebody else has set.
    overwrite: bool,
    /// The tenant that was shown, which may be another of the same name by now.
    uid: String,
}

impl Answer {
    fn brand(&self, tenant: &Tenant) -> Brand {
        Brand { customer: tenant.spec.display_name.clone(), color: self.color.clone(), logo: self.logo.clone() }
    }
}

#[derive(Template)]
#[template(path = "change.html")]
struct Page {
    frame: Frame,
    change: Change,
    tenant: Tenant,
    offers: Vec<Offer>,
    /// Why the last answer wasn't enough.
    refusal: Option<Refusal>,
    answer: Answer,
}

impl Page {
    fn name(&self) -> String {
        self.tenant.name_any()
    }

    /// The plan that is chosen: the one that was answered, or else the tenant's.
    fn chosen(&self) -> &str {
        if self.answer.plan.is_empty() { &self.tenant.spec.plan } else { &self.answer.plan }
    }

    fn brand(&self) -> Brand {
        self.answer.brand(&self.tenant)
    }

    fn answered(&self, status: StatusCode) -> Response {
        let page = show(status, self);
        if self.change == Change::Look { let_logos_in(page) } else { page }
    }

    fn keeps_data(&self) -> bool {
        self.tenant.spec.deletion.policy == crate::api::tenant::DeletionPolicy::Retain
    }
}

/// Asks.
pub async fn ask(frame: Frame, Path((name, change)): Path<(String, Change)>) -> Result<Response, Problem> {
    let page = page(frame, &name, change).await?;
    Ok(page.answered(StatusCode::OK))
}

async fn page(frame: Frame, name: &str, change: Change) -> Result<Page, Problem> {
    if !frame.visitor.rights.has(change.right()) {
        return Err(Problem::forbidden(change.right().missing()));
    }
    let tenant = tenant::find(&frame.visitor.client, name).await?;
    let offers = if change == Change::Plan { offers(&frame.visitor.client).await? } else { Vec::new() };
    let Brand { color, logo, .. } = Brand::of("", &tenant.spec.branding.clone().unwrap_or_default());
    Ok(Page { frame, change, tenant, offers, refusal: None, answer: Answer { color, logo, ..Answer::default() } })
}

/// Does it, and goes back to the tenant's page.
pub async fn make(
    frame: Frame,
    Path((name, change)): Path<(String, Change)>,
    Submitted(answer): Submitted<Answer>,
) -> Result<Response, Problem> {
    let client = frame.visitor.client.clone();
    let mut page = page(frame, &name, change).await?;
    if page.tenant.uid().unwrap_or_default() != answer.uid {
        return Err(Problem::replaced("tenant", &name));
    }
    let outcome = match asked(change, &answer, &page.tenant, Timestamp::now()) {
        Ok(Asked::Delete) => delete(&client, &page.tenant).await,
        Ok(Asked::Set(spec)) => apply(&client, &page.tenant, &spec, answer.overwrite).await,
        Err(why) => Err(Refusal::Problem(why)),
    };
    let Err(refusal) = outcome else { return Ok(Redirect::to(&format!("/tenants/{name}")).into_response()) };
    let status = refusal.status();
    page.refusal = Some(refusal);
    page.answer = answer;
    Ok(page.answered(status))
}

/// What an answer comes to.
enum Asked {
    /// These fields of `spec`; those that are null go.
    Set(Value),
    Delete,
}

fn asked(change: Change, answer: &Answer, tenant: &Tenant, now: Timestamp) -> Result<Asked, String> {
    Ok(match change {
        Change::Suspend => Asked::Set(json!({"suspended": true})),
        Change::Resume => Asked::Set(json!({"suspended": false})),
        Change::Plan if answer.plan.is_empty() => return Err("choose a plan".to_owned()),
        Change::Plan => Asked::Set(json!({"plan": answer.plan})),
        Change::Trial if answer.days.is_empty() => Asked::Set(json!({"expiresAt": null})),
        Change::Trial => {
            // A trial that runs is made longer; one that is over, or was none, begins now.
            let from = tenant.spec.expires_at.as_ref().map(|end| end.0).filter(|end| *end > now).unwrap_or(now);
            Asked::Set(json!({"expiresAt": days_after(from, &answer.days)?}))
        }
        Change::Look => {
            let changes = answer.brand(tenant).changes(&tenant.spec.branding.clone().unwrap_or_default());
            Asked::Set(json!({"branding": changes?}))
        }
        Change::Keep => Asked::Set(json!({"deletion": {"at": null}})),
        Change::Delete if answer.name.trim() != tenant.name_any() => {
            return Err(format!("type {} to say that you mean it; nothing was done", tenant.name_any()));
        }
        Change::Delete if answer.days.is_empty() => Asked::Delete,
        Change::Delete => Asked::Set(json!({"deletion": {"at": days_after(now, &answer.days)?}})),
    })
}

/// The moment so many days after another, to the second, as a manifest has it.
///
/// # Errors
/// Where it is no number of days, or too great a one.
pub fn days_after(from: Timestamp, days: &str) -> Result<String, String> {
    let days = days.parse::<i64>().ok().filter(|days| (1..=730).contains(days)).ok_or("choose from 1 to 730 days")?;
    let moment = from.checked_add(SignedDuration::from_hours(24 * days)).and_then(|moment| moment.round(Unit::Second));
    moment.map(|moment| moment.to_string()).map_err(|error| error.to_string())
}

/// Of this very tenant, and not of another of the name that came meanwhile.
async fn delete(client: &Client, tenant: &Tenant) -> Result<(), Refusal> {
    let api: Api<Tenant> = Api::all(client.clone());
    let preconditions = Preconditions { uid: tenant.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    api.delete(&tenant.name_any(), &parameters).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(end: Option<&str>) -> Tenant {
        let spec = json!({"displayName": "A", "blueprint": "b", "plan": "p", "expiresAt": end});
        serde_json::from_value(json!({"metadata": {"name": "acme"}, "spec": spec})).unwrap()
    }

    fn set(change: Change, answer: Answer, tenant: &Tenant) -> Result<Value, String> {
        match asked(change, &answer, tenant, "2026-11-30T10:00:00Z".parse().unwrap())? {
            Asked::Set(spec) => Ok(spec),
            Asked::Delete => Ok(json!("deleted")),
        }
    }

    #[test]
    fn a_trial_is_made_longer_from_its_end_or_begins_now() {
        let days = |days: &str| Answer { days: days.to_owned(), ..Answer::default() };
        assert_eq!(set(Change::Trial, days("7"), &tenant(None)), Ok(json!({"expiresAt": "2026-12-07T10:00:00Z"})));
        assert_eq!(set(Change::Trial, days("7"), &tenant(Some("2026-12-02T00:00:00Z"))), Ok(json!({"expiresAt": "2026-12-09T00:00:00Z"})));
        assert_eq!(set(Change::Trial, days("7"), &tenant(Some("2026-01-01T00:00:00Z"))), Ok(json!({"expiresAt": "2026-12-07T10:00:00Z"})));
        assert_eq!(set(Change::Trial, days(""), &tenant(Some("2026-12-02T00:00:00Z"))), Ok(json!({"expiresAt": null})));
        for nonsense in ["0", "-1", "731", "x", "1e3"] {
            assert!(set(Change::Trial, days(nonsense), &tenant(None)).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn only_who_types_the_name_deletes_and_what_has_grace_is_taken_back() {
        let named = |name: &str| Answer { name: name.to_owned(), ..Answer::default() };
        let later = Answer { days: "7".to_owned(), ..named("acme") };
        assert_eq!(set(Change::Delete, later, &tenant(None)), Ok(json!({"deletion": {"at": "2026-12-07T10:00:00Z"}})));
        assert_eq!(set(Change::Keep, Answer::default(), &tenant(None)), Ok(json!({"deletion": {"at": null}})));
        assert!(set(Change::Delete, Answer { days: "7".to_owned(), ..named("other") }, &tenant(None)).is_err());
        for wrong in ["", "acm", "ACME", "acme2"] {
            assert!(set(Change::Delete, named(wrong), &tenant(None)).is_err(), "{wrong}");
        }
        assert_eq!(set(Change::Delete, named("acme "), &tenant(None)), Ok(json!("deleted")));
    }
}
