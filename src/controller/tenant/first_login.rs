//! A link by which a tenant's first person logs in, where one is asked for: a token of ours in a Secret, and a Job that tells the product of it. The status says how
//! far it is, and never the token.

use super::assess::{Assessment, Stop};
use super::job::outcome;
use super::{Pass, secrets};
use crate::api::blueprint::FirstLogin;
use crate::api::labels;
use crate::api::tenant::{FirstLoginState, FirstLoginStatus};
use crate::instance::Instance;
use crate::instance::render::{ObjectKey, first_login_job};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing, for now.
    Rest,
    /// Nothing was asked for: what there was is forgotten.
    Forget,
    /// Nothing is asked for any more, so the token goes.
    TakeBack,
    /// The link's time has passed.
    End,
    /// The Job is kept for its log.
    KeepJob,
    /// The link is made.
    Make,
}

/// What there is to do for what is asked and known. A command runs only while something serves.
fn next(asked: Option<&str>, known: Option<&FirstLoginStatus>, serves: bool, now: Timestamp) -> Next {
    let Some(asked) = asked else {
        let holds_token = known.is_some_and(|known| matches!(known.state, FirstLoginState::Making | FirstLoginState::Ready));
        return if holds_token { Next::TakeBack } else { Next::Forget };
    };
    match known.filter(|known| known.request == asked).map(|known| (known.state, &known.until)) {
        Some((FirstLoginState::Failed, _)) => Next::KeepJob,
        Some((FirstLoginState::Ready, until)) if until.as_ref().is_none_or(|until| until.0 <= now) => Next::End,
        Some((FirstLoginState::Ready | FirstLoginState::Over, _)) => Next::Rest,
        _ if serves => Next::Make,
        _ => Next::Rest,
    }
}

/// Takes the token away whose time has passed, or that isn't asked for any more, also where something keeps the rest of a pass from being done.
pub async fn end(pass: &Pass<'_>, assessment: &mut Assessment) -> Result<(), Stop> {
    let status = &mut assessment.status.first_login;
    match next(asked(pass), status.as_ref(), false, Timestamp::now()) {
        Next::TakeBack => {
            secrets::forget_first_login(pass).await?;
            *status = None;
        }
        Next::End => {
            secrets::forget_first_login(pass).await?;
            if let Some(status) = status {
                status.state = FirstLoginState::Over;
            }
        }
        Next::Rest | Next::Forget | Next::KeepJob | Next::Make => {}
    }
    Ok(())
}

/// The request for a link, where there is one.
fn asked<'a>(pass: &Pass<'a>) -> Option<&'a str> {
    pass.tenant.annotations().get(labels::FIRST_LOGIN).map(String::as_str).filter(|request| !request.is_empty())
}

/// Makes the link that is asked for, as far as it can be now, and ends the one whose time has passed. Gives back the Job that is still needed. That a link can't be
/// made keeps nothing else from being done.
pub async fn first_login(
    pass: &Pass<'_>,
    instance: &Instance,
    serves: bool,
    assessment: &mut Assessment,
) -> Result<Option<ObjectKey>, Stop> {
    let now = Timestamp::now();
    end(pass, assessment).await?;
    let asked = asked(pass);
    let status = &mut assessment.status.first_login;
    let job_of = |request: &str| Some(first_login_job(instance, instance.first_login.as_ref()?, request, now).key);
    match next(asked, status.as_ref(), serves && instance.suspension.is_none(), now) {
        Next::Rest | Next::TakeBack | Next::End => {}
        Next::Forget => *status = None,
        Next::KeepJob => return Ok(asked.and_then(job_of)),
        Next::Make => {
            let asked = asked.unwrap_or_default();
            *status = Some(match &instance.first_login {
                None => failed(asked, format!("blueprint {} has no firstLogin", instance.blueprint)),
                Some(first_login) => match make(pass, instance, first_login, asked, now).await {
                    Err(stop) if stop.needs_a_person() => failed(asked, stop.to_string()),
                    made => made?,
                },
            });
            let is_needed = status.as_ref().is_some_and(|status| status.state != FirstLoginState::Ready);
            return Ok(job_of(asked).filter(|_| is_needed));
        }
    }
    Ok(None)
}

async fn make(
    pass: &Pass<'_>,
    instance: &Instance,
    first_login: &FirstLogin,
    request: &str,
    now: Timestamp,
) -> Result<FirstLoginStatus, Stop> {
    let until = secrets::first_login(pass, instance, first_login, request, now).await?;
    let job = first_login_job(instance, first_login, request, until);
    let objects = pass.context.inventory.of(instance.name.as_str());
    let found = objects.get(&job.key).filter(|observed| observed.owner.as_deref() == Some(pass.uid.as_str()));
    if found.is_none() {
        pass.apply(&job).await?;
    }
    let state = match found.and_then(|found| outcome(&found.state())) {
        None => FirstLoginState::Making,
        Some(Ok(())) => FirstLoginState::Ready,
        Some(Err(why)) => {
            let message = format!("the product's command failed ({why}): kubectl -n {} logs job/{}", instance.namespace, job.key.name);
            return Ok(failed(request, message));
        }
    };
    let path = Some(first_login.path.clone());
    Ok(FirstLoginStatus { request: request.to_owned(), state, path, until: Some(Time(until)), message: None })
}

fn failed(request: &str, message: String) -> FirstLoginStatus {
    FirstLoginStatus { request: request.to_owned(), state: FirstLoginState::Failed, path: None, until: None, message: Some(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(request: &str, state: FirstLoginState) -> FirstLoginStatus {
        let until = Some(Time("2026-11-30T11:00:00Z".parse().unwrap()));
        FirstLoginStatus { request: request.to_owned(), state, path: None, until, message: None }
    }

    #[test]
    fn a_link_is_made_once_for_each_request_and_ends() {
        use FirstLoginState::{Failed, Making, Over, Ready};
        let (now, later) = ("2026-11-30T10:00:00Z".parse().unwrap(), "2026-11-30T11:00:00Z".parse().unwrap());
        let next = |asked: Option<&str>, known: Option<FirstLoginStatus>, serves, now| super::next(asked, known.as_ref(), serves, now);
        assert_eq!(next(None, None, true, now), Next::Forget);
        assert_eq!(next(Some("1"), None, true, now), Next::Make);
        assert_eq!(next(Some("1"), None, false, now), Next::Rest, "nothing serves yet");
        assert_eq!(next(Some("1"), Some(known("1", Making)), true, now), Next::Make);
        assert_eq!(next(Some("1"), Some(known("1", Ready)), true, now), Next::Rest);
        assert_eq!(next(Some("1"), Some(known("1", Ready)), false, later), Next::End, "whatever serves");
        assert_eq!(next(Some("1"), Some(known("1", Over)), true, later), Next::Rest);
        assert_eq!(next(Some("1"), Some(known("1", Failed)), true, now), Next::KeepJob);
        for state in [Making, Ready, Failed, Over] {
            assert_eq!(next(Some("2"), Some(known("1", state)), true, now), Next::Make, "{state:?}");
            let taken_back = if matches!(state, Making | Ready) { Next::TakeBack } else { Next::Forget };
            assert_eq!(next(None, Some(known("1", state)), true, now), taken_back, "{state:?}");
        }
    }
}
