//! The client of the API server: every request is counted, and no write leaves once the lease has run out.

use crate::lease::Fence;
use crate::telemetry::Requests;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use std::task::{Context, Poll};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::{BoxError, Service};

/// Requests that may wait to be sent.
const BUFFERED: usize = 1024;

/// Why a write was held back.
#[derive(Debug, thiserror::Error)]
#[error("this process no longer holds the lease, so it writes nothing")]
pub struct Fenced;

/// A client whose requests are counted, and whose writes need an open fence, if there is one.
///
/// The fence stands inside the retries: a write that waited to be tried again is asked for the lease again.
///
/// # Errors
/// Where the configuration names no cluster that can be spoken to.
pub fn connect(mut config: Config, requests: Requests, fence: Option<Fence>) -> Result<Client, kube::Error> {
    config.default_retry = false;
    let gate = tower::layer::layer_fn(move |inner| Gate { inner, requests: requests.clone(), fence: fence.clone() });
    let retry = RetryLayer::new(RetryPolicy::server_retry());
    // A retry needs a service that can be cloned, and kube's own stack can't be: a buffer before it can.
    Ok(ClientBuilder::try_from(config)?.with_layer(&BufferLayer::new(BUFFERED)).with_layer(&gate).with_layer(&retry).build())
}

/// Counts what passes, and lets writes pass only while the fence is open.
#[derive(Clone)]
struct Gate<S> {
    inner: S,
    requests: Requests,
    fence: Option<Fence>,
}

impl<S, B> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let writes = request.method() != Method::GET;
        if writes && self.fence.as_ref().is_some_and(|fence| !fence.is_open()) {
            return Box::pin(async { Err(Fenced.into()) });
        }
        let verb = verb(&request);
        let requests = self.requests.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into);
            requests.count(verb, answer.as_ref().ok().map(|response| response.status().as_u16()));
            answer
        })
    }
}

/// What a request does, in the words of Kubernetes' own metrics.
fn verb(request: &Request<Body>) -> &'static str {
    let asks_to_watch =
        || request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1"));
    match *request.method() {
        Method::GET if asks_to_watch() => "WATCH",
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}
