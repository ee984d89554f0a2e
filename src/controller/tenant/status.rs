//! Writes what a pass found out, if it differs, and tells people what they would want to know as Events.

use super::assess::Assessment;
use crate::api::conditions::{self, is_true};
use crate::api::{Tenant, labels};
use crate::controller::context::Context;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

/// Writes the status where it differs from what is there.
///
/// # Errors
/// Where the API server doesn't take it.
pub async fn write(context: &Context, tenant: &Tenant, assessment: &Assessment) -> Result<(), kube::Error> {
    let before = tenant.conditions();
    let now = Time(jiff::Timestamp::now());
    let mut status = assessment.status.clone();
    status.conditions = conditions::merge(before, &assessment.verdicts(), status.observed_generation, &now);
    if tenant.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<Tenant> = Api::all(context.client.clone());
    let name = tenant.name_any();
    let patch = json!({
        "apiVersion": Tenant::api_version(&()), "kind": Tenant::kind(&()),
        "metadata": {"name": name, "uid": tenant.uid()}, "status": status,
    });
    match api.patch_status(&name, &PatchParams::apply(labels::MANAGER).force(), &Patch::Apply(&patch)).await {
        Ok(_) => {}
        // It was deleted, or made anew, since it was read.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => return Ok(()),
        Err(error) => return Err(error),
    }
    if let Some(event) = event(before, &status.conditions)
        && let Err(error) = context.recorder.publish(&event, &tenant.object_ref(&())).await
    {
        tracing::warn!(tenant = name, %error, "an event can't be written");
    }
    Ok(())
}

/// What a person would want to be told: it is ready, it isn't any more, it needs somebody.
fn event(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let ready = after.iter().find(|condition| condition.type_ == conditions::READY)?;
    let reason_before = before.iter().find(|condition| condition.type_ == conditions::READY).map(|condition| condition.reason.as_str());
    let (was, is) = (is_true(before, conditions::READY), is_true(after, conditions::READY));
    let stalled = is_true(after, conditions::STALLED) && reason_before != Some(ready.reason.as_str());
    if was == is && !stalled {
        return None;
    }
    Some(Event {
        type_: if is { EventType::Normal } else { EventType::Warning },
        reason: ready.reason.clone(),
        note: Some(ready.message.clone()),
        action: "Reconcile".to_owned(),
        secondary: None,
    })
}
