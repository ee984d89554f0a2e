//! A part of a page that is drawn anew whenever the cluster tells of a change, by [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
//! What is shown comes from the cluster alone, so a reload, a closed laptop or another console make no difference.

use super::problem::Problem;
use crate::follow::changes;
use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, future};
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::fmt::Debug;

/// By it nginx is told not to hold a stream back until it has much of it; see
/// [`proxy_buffering`](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering).
const PASS_ON_AT_ONCE: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Draws the object of this name as it is now, and at each change, until the page goes away. Where the watch is refused the stream ends, and the browser's next
/// try is told why.
///
/// # Errors
/// Where there is no such object, or it may not be seen.
pub async fn draw<K>(api: Api<K>, name: &str, what: &str, draw: impl Fn(&K) -> Option<String> + Send + 'static) -> Result<Response, Problem>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    if api.get_opt(name).await?.is_none() {
        return Err(Problem::missing(format!("there is no {what} {name}")));
    }
    let gone = format!("<p class=\"gone\">The {what} is gone.</p>");
    let drawn = changes(api, name).filter_map(move |event| {
        let text = match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => draw(&object),
            Ok(watcher::Event::Delete(_)) => Some(gone.clone()),
            _ => None,
        };
        future::ready(text.map(|text| Ok::<_, Infallible>(Event::default().data(text))))
    });
    let events = Sse::new(drawn.boxed()).keep_alive(KeepAlive::default());
    Ok(([(PASS_ON_AT_ONCE, "no")], events).into_response())
}
