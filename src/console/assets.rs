//! Scripts, styles and pictures, which are part of the program. Their addresses have a digest of what they are, so a browser keeps them for good.

use super::{Console, guard};
use axum::Router;
use axum::http::header;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::LazyLock;

const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// A file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const ALL: [Asset; 5] = [
    Asset { name: "console.css", kind: "text/css; charset=utf-8", content: include_bytes!("assets/console.css") },
    Asset { name: "console.js", kind: "text/javascript; charset=utf-8", content: include_bytes!("assets/console.js") },
    Asset { name: "htmx.js", kind: "text/javascript; charset=utf-8", content: include_bytes!("assets/htmx.min.js") },
    Asset { name: "htmx-sse.js", kind: "text/javascript; charset=utf-8", content: include_bytes!("assets/hx-sse.min.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", content: include_bytes!("assets/icon.svg") },
];

/// What is in all addresses of this build's files.
static DIGEST: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    ALL.iter().for_each(|asset| digest.update(asset.content));
    digest.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        // To a string it can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
});

/// Where a file is.
pub fn address(name: &str) -> String {
    format!("/assets/{}/{name}", *DIGEST)
}

/// All of them. Nobody has to say who he is to see them.
pub fn routes() -> Router<Console> {
    ALL.iter()
        .fold(Router::new(), |router, asset| {
            let file = async || ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, FOR_GOOD)], asset.content).into_response();
            router.route(&address(asset.name), get(file))
        })
        .layer(from_fn(guard::protect))
}
