//! What all pages have around what they show: who visits, where one can go, and the token of forms.

use super::Console;
use super::assets;
use super::form::FormToken;
use super::problem::Problem;
use super::rights::Right;
use super::visitor::Visitor;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// A visitor on a page.
pub struct Frame {
    /// Who visits.
    pub visitor: Visitor,
    /// What forms have to say.
    pub form_token: String,
    /// The path of the page.
    pub path: String,
    /// Whether there is a Git repository to propose tenants in.
    has_git: bool,
}

impl FromRequestParts<Console> for Frame {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        let visitor = Visitor::from_request_parts(parts, console).await?;
        let Ok(FormToken(form_token)) = FormToken::from_request_parts(parts, console).await;
        Ok(Self { visitor, form_token, path: parts.uri.path().to_owned(), has_git: console.git.is_some() })
    }
}

impl Frame {
    /// Where a file is, for templates.
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }

    /// Whether the visitor may make tenants.
    pub fn may_create(&self) -> bool {
        self.visitor.rights.has(Right::CreateTenants)
    }

    /// Whether the visitor may propose tenants in Git.
    pub fn may_propose(&self) -> bool {
        self.has_git && (self.may_create() || self.visitor.rights.has(Right::ProposeTenants))
    }

    /// Whether the visitor may onboard, in the one way or the other.
    pub fn may_onboard(&self) -> bool {
        self.may_create() || self.may_propose()
    }

    /// Whether the visitor may change tenants.
    pub fn may_change(&self) -> bool {
        self.visitor.rights.has(Right::ChangeTenants)
    }

    /// Whether the visitor may see releases.
    pub fn may_see_releases(&self) -> bool {
        self.visitor.rights.has(Right::ListReleases)
    }

    /// Whether the visitor may stop releases.
    pub fn may_change_releases(&self) -> bool {
        self.visitor.rights.has(Right::ChangeReleases)
    }

    /// Whether this is the page, or one below it.
    pub fn is_at(&self, path: &str) -> bool {
        self.path == path || self.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    }
}
