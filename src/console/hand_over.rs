//! What a new customer is given: the link, which may be one that logs in once, the same as a picture for a phone's camera, and a mail that is ready to be sent.

use super::MANAGER;
use super::form::Submitted;
use super::frame::Frame;
use super::problem::{Problem, show};
use super::rights::Right;
use super::tenant;
use crate::api::tenant::FirstLoginState;
use crate::api::{Blueprint, Tenant, labels};
use crate::first_login;
use crate::inspect::State;
use askama::Template;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt};
use qrcode::{Color, EcLevel, QrCode};
use serde::Deserialize;
use std::fmt::Write;

/// Light around the picture, in modules; see ISO/IEC 18004, section 5.3.8.
const QUIET_ZONE: usize = 4;

#[derive(Template)]
#[template(path = "hand_over.html")]
struct Page {
    frame: Frame,
    tenant: Tenant,
    name: String,
    /// What the customer opens: the tenant's address, or the link for the first login.
    url: String,
    is_up: bool,
    first: First,
    code: Option<Code>,
    mail: Mail,
}

impl Page {
    fn namespace(&self) -> &str {
        self.tenant.status.as_ref().and_then(|status| status.namespace.as_deref()).unwrap_or_default()
    }
}

/// A link by which the customer's first person logs in.
enum First {
    /// The product has a way of its own, or nobody asks for a link who may.
    NotOffered,
    /// It can be made.
    Offered,
    Making,
    /// It works once, until then.
    Made(Timestamp),
    Failed(String),
    Over,
    /// The visitor may not see it.
    Hidden,
}

impl First {
    /// How far it is, and the link where there is one.
    async fn of(frame: &Frame, tenant: &Tenant) -> Result<(Self, Option<String>), Problem> {
        let client = &frame.visitor.client;
        let answer = first_login::answer(tenant);
        let state = answer.map(|answer| answer.state);
        if state == Some(FirstLoginState::Ready) {
            return match first_login::link(client, tenant).await {
                Ok(Some(link)) => {
                    let until = answer.and_then(|answer| answer.until.as_ref()).map(|until| until.0).unwrap_or_default();
                    Ok((Self::Made(until), Some(link)))
                }
                Ok(None) => Ok((Self::Over, None)),
                Err(kube::Error::Api(status)) if status.code == 403 => Ok((Self::Hidden, None)),
                Err(error) => Err(error.into()),
            };
        }
        let is_asked = tenant.annotations().get(labels::FIRST_LOGIN).is_some_and(|request| !request.is_empty());
        let first = match state {
            Some(FirstLoginState::Failed) => Self::Failed(answer.and_then(|answer| answer.message.clone()).unwrap_or_default()),
            Some(FirstLoginState::Over) => Self::Over,
            _ if is_asked => Self::Making,
            _ if frame.may_change() && is_offered(client, &tenant.spec.blueprint).await => Self::Offered,
            _ => Self::NotOffered,
        };
        Ok((first, None))
    }

    /// Whether it would be the first.
    fn is_offered(&self) -> bool {
        matches!(self, Self::Offered)
    }

    /// Whether one can be asked for now.
    fn can_be_made(&self) -> bool {
        !matches!(self, Self::NotOffered | Self::Making)
    }
}

/// Whether the product has a command for it. Who may not see the product isn't offered any.
async fn is_offered(client: &Client, blueprint: &str) -> bool {
    let found = Api::<Blueprint>::all(client.clone()).get_opt(blueprint).await;
    found.is_ok_and(|found| found.is_some_and(|blueprint| blueprint.spec.first_login.is_some()))
}

/// The page.
pub async fn page(frame: Frame, Path(name): Path<String>) -> Result<Response, Problem> {
    let tenant = tenant::find(&frame.visitor.client, &name).await?;
    let address = tenant.status.as_ref().and_then(|status| status.url.clone()).unwrap_or_default();
    let (first, link) = First::of(&frame, &tenant).await?;
    let is_being_made = matches!(first, First::Making);
    let url = link.unwrap_or(address);
    let (is_up, code, mail) = (State::of(&tenant) == State::Ready, Code::of(&url), Mail::of(&tenant, &url, &first));
    let page = show(StatusCode::OK, &Page { frame, name, is_up, first, code, mail, url, tenant });
    // The browser itself looks again, with scripts or without.
    Ok(if is_being_made { ([(header::REFRESH, "1")], page).into_response() } else { page })
}

/// Which tenant was shown, that may be another of the same name by now.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shown {
    uid: String,
}

/// Asks for a link for the first login.
pub async fn ask_first_login(frame: Frame, Path(name): Path<String>, Submitted(shown): Submitted<Shown>) -> Result<Response, Problem> {
    if !frame.may_change() {
        return Err(Problem::forbidden(Right::ChangeTenants.missing()));
    }
    let tenant = tenant::find(&frame.visitor.client, &name).await?;
    if tenant.uid().unwrap_or_default() != shown.uid {
        return Err(Problem::replaced("tenant", &name));
    }
    first_login::ask(&frame.visitor.client, &tenant, MANAGER).await?;
    Ok(Redirect::to(&format!("/tenants/{name}/hand-over")).into_response())
}

/// A QR code, as the dark modules of a picture.
struct Code {
    /// Of the picture, in modules, with the light around it.
    width: usize,
    /// The dark ones, as an SVG's path.
    dark: String,
}

impl Code {
    /// None where the text is too long, which no address is.
    fn of(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::M).ok().filter(|_| !text.is_empty())?;
        let width = code.width();
        let mut dark = String::new();
        for (number, color) in code.to_colors().into_iter().enumerate() {
            if color == Color::Dark {
                // To a string it can't fail.
                let _ = write!(dark, "M{} {}h1v1h-1z", number % width + QUIET_ZONE, number / width + QUIET_ZONE);
            }
        }
        Some(Self { width: width + 2 * QUIET_ZONE, dark })
    }
}

/// A mail to the customer.
struct Mail {
    subject: String,
    text: String,
}

impl Mail {
    fn of(tenant: &Tenant, url: &str, first: &First) -> Self {
        let customer = &tenant.spec.display_name;
        let once = match first {
            First::Made(until) => {
                format!("\nThe link logs you in the first time. It works once, until {}.\n", until.strftime("%-d %B %Y, %H:%M UTC"))
            }
            _ => String::new(),
        };
        let trial = tenant.spec.expires_at.as_ref().map(|end| format!("\nYour trial lasts until {}.\n", end.0.strftime("%-d %B %Y")));
        Self {
            subject: format!("Your {} is ready", tenant.spec.blueprint),
            text: format!(
                "Hello {customer},\n\neverything is set up for you at\n\n  {url}\n{once}{}\nWelcome!\n",
                trial.unwrap_or_default()
            ),
        }
    }

    /// Opens it in the visitor's own mail program; see [RFC 6068](https://www.rfc-editor.org/rfc/rfc6068).
    fn address(&self) -> String {
        let fields = [("subject", &self.subject), ("body", &self.text.replace('\n', "\r\n"))];
        // There a space isn't a plus.
        format!("mailto:?{}", serde_urlencoded::to_string(fields).unwrap_or_default().replace('+', "%20"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mail_opens_with_its_lines() {
        let spec = json!({"displayName": "Müller + Sons", "blueprint": "planner", "plan": "p", "expiresAt": "2026-12-14T10:00:00Z"});
        let tenant: Tenant = serde_json::from_value(json!({"metadata": {"name": "mueller"}, "spec": spec})).unwrap();
        let mail = Mail::of(&tenant, "https://mueller.example.com", &First::NotOffered);
        insta::assert_snapshot!(mail.text, @"
        Hello Müller + Sons,

        everything is set up for you at

          https://mueller.example.com

        Your trial lasts until 14 December 2026.

        Welcome!
        ");
        let once = Mail::of(&tenant, "https://mueller.example.com/in/x", &First::Made("2026-12-01T09:05:00Z".parse().unwrap()));
        assert!(once.text.contains("It works once, until 1 December 2026, 09:05 UTC."), "{}", once.text);
        let address = mail.address();
        assert!(
            address.starts_with("mailto:?subject=Your%20planner%20is%20ready&body=Hello%20M%C3%BCller%20%2B%20Sons%2C%0D%0A"),
            "{address}"
        );
    }

    #[test]
    fn a_code_is_square_and_has_light_around_it() {
        let code = Code::of("https://mueller.example.com").unwrap();
        assert_eq!(code.width, 29 + 8, "27 bytes take version 3 at level M, with 29 modules a side");
        assert!(code.dark.starts_with("M4 4h1v1h-1z"), "the corner of the finder is dark: {}", &code.dark[..20]);
        assert!(Code::of("").is_none());
    }
}
