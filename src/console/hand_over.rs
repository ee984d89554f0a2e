//! What a new customer is given: the link, the same as a picture for a phone's camera, and a mail that is ready to be sent.

use super::frame::Frame;
use super::problem::{Problem, show};
use super::tenant;
use crate::api::Tenant;
use crate::inspect::State;
use askama::Template;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use qrcode::{Color, EcLevel, QrCode};
use std::fmt::Write;

/// Light around the picture, in modules; see ISO/IEC 18004, section 5.3.8.
const QUIET_ZONE: usize = 4;

#[derive(Template)]
#[template(path = "hand_over.html")]
struct Page {
    frame: Frame,
    tenant: Tenant,
    name: String,
    url: String,
    is_up: bool,
    code: Option<Code>,
    mail: Mail,
}

/// The page.
pub async fn page(frame: Frame, Path(name): Path<String>) -> Result<Response, Problem> {
    let tenant = tenant::find(&frame.visitor.client, &name).await?;
    let url = tenant.status.as_ref().and_then(|status| status.url.clone()).unwrap_or_default();
    let (is_up, code, mail) = (State::of(&tenant) == State::Ready, Code::of(&url), Mail::of(&tenant, &url));
    Ok(show(StatusCode::OK, &Page { frame, name, is_up, code, mail, url, tenant }))
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
    fn of(tenant: &Tenant, url: &str) -> Self {
        let customer = &tenant.spec.display_name;
        let trial = tenant.spec.expires_at.as_ref().map(|end| format!("\nYour trial lasts until {}.\n", end.0.strftime("%-d %B %Y")));
        Self {
            subject: format!("Your {} is ready", tenant.spec.blueprint),
            text: format!("Hello {customer},\n\neverything is set up for you at\n\n  {url}\n{}\nWelcome!\n", trial.unwrap_or_default()),
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
        let mail = Mail::of(&tenant, "https://mueller.example.com");
        insta::assert_snapshot!(mail.text, @"
        Hello Müller + Sons,

        everything is set up for you at

          https://mueller.example.com

        Your trial lasts until 14 December 2026.

        Welcome!
        ");
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
