//! What a customer's pages look like, as it is filled in: judged, and shown while it is typed.

use super::color::Color;
use super::problem::show;
use super::visitor::Visitor;
use crate::api::tenant::Branding;
use askama::Template;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

/// How an address of a picture ends. Half an address isn't asked for, nor is what is no picture.
const PICTURES: [&str; 6] = [".svg", ".png", ".jpg", ".jpeg", ".webp", ".gif"];

/// Colour and logo, and the customer whose they are.
#[derive(Clone, Debug, Default, Deserialize, Template)]
#[serde(default)]
#[template(path = "preview.html")]
pub struct Brand {
    pub customer: String,
    pub color: String,
    pub logo: String,
}

impl Brand {
    /// As a tenant has it.
    pub fn of(customer: &str, branding: &Branding) -> Self {
        Self {
            customer: customer.to_owned(),
            color: branding.primary_color.clone().unwrap_or_default(),
            logo: branding.logo_url.clone().unwrap_or_default(),
        }
    }

    /// What is to be another than it was, as a merge patch of a tenant's `branding`; or what is wrong with that. What somebody has set elsewhere and this form
    /// leaves alone isn't judged.
    pub fn changes(&self, known: &Branding) -> Result<Value, String> {
        let known = Self::of("", known);
        let (color, logo) = (self.color.trim(), self.logo.trim());
        let mut changes = json!({});
        if color != known.color {
            changes["primaryColor"] = color_of(color)?;
        }
        // Whether it is an address the API server says.
        if logo != known.logo {
            changes["logoUrl"] = if logo.is_empty() { Value::Null } else { logo.into() };
        }
        Ok(changes)
    }

    fn shown_color(&self) -> Option<Color> {
        Color::parse(&self.color)
    }

    /// A colour for what isn't chosen yet.
    fn fill(&self) -> Color {
        self.shown_color().unwrap_or(Color::UNDECIDED)
    }

    /// The address of the logo, where it is whole.
    fn shown_logo(&self) -> Option<&str> {
        let logo = self.logo.trim();
        let path = logo.split(['?', '#']).next().unwrap_or_default().to_lowercase();
        (logo.starts_with("https://") && PICTURES.iter().any(|end| path.ends_with(end))).then_some(logo)
    }
}

/// How it will look, while it is typed.
pub async fn preview(_: Visitor, Query(brand): Query<Brand>) -> Response {
    show(StatusCode::OK, &brand)
}

fn color_of(typed: &str) -> Result<Value, String> {
    match Color::parse(typed) {
        _ if typed.is_empty() => Ok(Value::Null),
        Some(color) if color.is_readable() => Ok(color.to_string().into()),
        Some(color) => Err(format!("{color} can't be read on white: take {}", color.readable())),
        None => Err("a colour is # and six digits, such as #0a5c36".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brand(color: &str, logo: &str) -> Brand {
        Brand { color: color.to_owned(), logo: logo.to_owned(), ..Brand::default() }
    }

    #[test]
    fn only_what_is_another_is_set_and_judged() {
        let known = Branding { primary_color: Some("#F2B705".to_owned()), logo_url: Some("https://acme.com/logo.svg".to_owned()) };
        let changes = |color: &str, logo: &str| brand(color, logo).changes(&known);
        assert_eq!(
            changes("#F2B705", "https://acme.com/logo.svg"),
            Ok(json!({})),
            "an unreadable colour that is there already isn't judged"
        );
        assert_eq!(changes("#F2B705 ", ""), Ok(json!({"logoUrl": null})));
        assert_eq!(changes("", "https://acme.com/new.svg"), Ok(json!({"primaryColor": null, "logoUrl": "https://acme.com/new.svg"})));
        assert_eq!(changes("#0A5C36", "https://acme.com/logo.svg"), Ok(json!({"primaryColor": "#0a5c36"})));
        assert!(changes("#f2b706", "").is_err_and(|why| why.contains("can't be read on white: take #")));
        assert!(changes("red", "").is_err_and(|why| why.contains("six digits")));
        assert_eq!(brand("", "").changes(&Branding::default()), Ok(json!({})));
    }

    #[test]
    fn a_logo_is_shown_once_its_address_is_whole() {
        for whole in ["https://acme.com/logo.svg", " https://acme.com/a/Logo.PNG?v=2#x ", "https://acme.com/logo.webp"] {
            assert_eq!(brand("", whole).shown_logo(), Some(whole.trim()), "{whole}");
        }
        for other in ["", "https://", "https://acme.c", "https://acme.com/logo.p", "http://acme.com/logo.svg", "javascript:1.svg"] {
            assert_eq!(brand("", other).shown_logo(), None, "{other}");
        }
    }
}
