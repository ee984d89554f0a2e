//! The web console: pages by which sales make customers and live with them. It has no rights of its own: each request to the API server is made with the
//! visitor's token, and what a visitor may not do has no button.
//!
//! ```text
//! request ─► guard ─► visitor ─► page ─► the API server, as the visitor
//!            limits,   whose      what
//!            headers   token      is drawn
//! ```

mod address;
mod apply;
mod assets;
mod brand;
mod change;
mod color;
mod fleet;
mod form;
mod frame;
mod git;
mod guard;
mod hand_over;
mod limits;
mod live;
mod login;
mod offer;
mod onboard;
mod own_fields;
mod problem;
mod progress;
mod releases;
mod rights;
mod session;
mod tenant;
mod usual;
mod visitor;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::map_response;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum_extra::extract::cookie::Key;
use fleet::Fleet;
use limits::Limits;
use std::future::ready;
use std::sync::Arc;
use visitor::Visitors;

pub use git::{GitRepository, NAME};

/// The field manager of what visitors change.
const MANAGER: &str = "tenantry-console";

/// What all requests share.
#[derive(Clone)]
pub struct Console {
    key: Key,
    visitors: Arc<Visitors>,
    fleet: Arc<Fleet>,
    limits: Arc<Limits>,
    git: Option<Arc<GitRepository>>,
}

impl Console {
    /// A console of this cluster. Of its configuration only the address and the authority are used: credentials are the visitors' own.
    ///
    /// The secret is what cookies are encrypted by, at least 32 bytes; consoles that share it share their visitors' sessions.
    pub fn new(config: &kube::Config, secret: &[u8]) -> Self {
        let (visitors, fleet, limits) = (Arc::new(Visitors::new(config)), Arc::default(), Arc::default());
        Self { key: Key::derive_from(secret), visitors, fleet, limits, git: None }
    }

    /// The same, whose visitors may also propose tenants in a Git repository.
    #[must_use]
    pub fn proposing_in(self, git: GitRepository) -> Self {
        Self { git: Some(Arc::new(git)), ..self }
    }
}

impl FromRef<Console> for Key {
    fn from_ref(console: &Console) -> Self {
        console.key.clone()
    }
}

/// All pages.
pub fn router(console: Console) -> Router {
    // Where a logo is chosen it is shown; so it is where the look of a tenant is changed.
    let with_logos = Router::new()
        .route("/onboard", get(onboard::page).post(onboard::make))
        .route("/onboard/manifest", post(onboard::download))
        .route("/onboard/proposal", post(onboard::propose))
        .layer(map_response(|page| ready(guard::let_logos_in(page))));
    let pages = Router::new()
        .route("/", get(|| async { Redirect::to("/tenants") }))
        .route("/login", get(login::page).post(login::begin))
        .route("/logout", post(login::end))
        .route("/tenants", get(fleet::page))
        .route("/tenants.csv", get(fleet::csv))
        .route("/tenants/{name}", get(tenant::page))
        .route("/tenants/{name}/progress", get(tenant::stream))
        .route("/tenants/{name}/hand-over", get(hand_over::page))
        .route("/tenants/{name}/first-login", post(hand_over::ask_first_login))
        .route("/tenants/{name}/{change}", get(change::ask).post(change::make))
        .route("/preview", get(brand::preview))
        .route("/onboard/look", get(onboard::look))
        .route("/onboard/proposed/{name}", get(onboard::proposed))
        .route("/releases", get(releases::list))
        .route("/releases/{name}", get(releases::page))
        .route("/releases/{name}/progress", get(releases::stream))
        .route("/releases/{name}/{change}", get(releases::ask).post(releases::make))
        .merge(with_logos);
    guard::around(pages, &console).merge(assets::routes()).route("/healthz", get(|| async { "ok" })).with_state(console)
}
