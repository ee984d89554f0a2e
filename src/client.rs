//! The client of the API server: every request is counted, and no write leaves once the fence of what it is about has closed.

use crate::lease::Fence;
use crate::telemetry::Requests;
use futures::future::BoxFuture;
use http::header::{HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use kube::{Client, Config};
use std::task::{Context, Poll};
use tower::retry::Retry;
use tower::{BoxError, Service};

/// Why a write was held back.
#[derive(Debug, thiserror::Error)]
#[error("this process no longer holds the lease, so it writes nothing")]
pub struct Fenced;

/// The connection that all clients of this process share, so that it takes no more of them for many shards than for one.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    requests: Requests,
}

impl Connection {
    /// Says to the API server, and so to its audit log, which of the operators this is.
    ///
    /// # Errors
    /// Where the configuration names no cluster that can be spoken to.
    pub fn open(mut config: Config, requests: Requests, identity: &str) -> Result<Self, kube::Error> {
        config.default_retry = false;
        if let Ok(agent) = HeaderValue::from_str(&format!("tenantry/{} ({identity})", env!("CARGO_PKG_VERSION"))) {
            config.headers.push((USER_AGENT, agent));
        }
        Ok(Self::over(Client::try_from(config)?, requests))
    }

    /// By a client that makes no retries of its own.
    pub fn over(client: Client, requests: Requests) -> Self {
        Self { client, requests }
    }

    /// A client whose writes nothing holds back.
    pub fn unfenced(&self) -> Client {
        self.with(None)
    }

    /// A client whose writes need the fence to be open.
    pub fn behind(&self, fence: Fence) -> Client {
        self.with(Some(fence))
    }

    /// The fence stands inside the retries: a write that waited to be tried again passes it again.
    fn with(&self, fence: Option<Fence>) -> Client {
        let gate = Gate { client: self.client.clone(), requests: self.requests.clone(), fence };
        Client::new(Retry::new(RetryPolicy::server_retry(), gate), self.client.default_namespace())
    }
}

/// Counts what passes, and lets writes pass only while the fence is open.
#[derive(Clone)]
struct Gate {
    client: Client,
    requests: Requests,
    fence: Option<Fence>,
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { client, requests, fence } = self.clone();
        let verb = verb(&request);
        let writes = request.method() != Method::GET;
        let send = async move {
            let answer = client.send(request).await;
            requests.count(verb, answer.as_ref().ok().map(|response| response.status().as_u16()));
            answer.map_err(BoxError::from)
        };
        let Some(fence) = fence.filter(|_| writes) else { return Box::pin(send) };
        let Some(passage) = fence.enter() else { return Box::pin(async { Err(Fenced.into()) }) };
        // What was sent takes effect although nobody waits for the answer any more, so it is under way until it is answered.
        let sent = tokio::spawn(async move {
            let answer = send.await;
            drop(passage);
            answer
        });
        Box::pin(async { sent.await? })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Trust;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, timeout};

    /// An API server that answers once it is let.
    fn connection(let_answer: Arc<Semaphore>) -> Connection {
        let server = tower::service_fn(move |_: Request<Body>| {
            let let_answer = let_answer.clone();
            async move {
                let_answer.acquire().await?.forget();
                let answer = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}"#;
                Ok::<_, BoxError>(Response::new(Body::from(answer.as_bytes().to_vec())))
            }
        });
        Connection::over(Client::new(server, "default"), Requests::default())
    }

    fn open_fence() -> Fence {
        let trust = Trust::default();
        trust.last_until(Instant::now() + Duration::from_secs(60));
        Fence::new(&trust)
    }

    async fn write(client: Client) -> Result<ConfigMap, kube::Error> {
        Api::<ConfigMap>::default_namespaced(client).create(&PostParams::default(), &ConfigMap::default()).await
    }

    #[tokio::test]
    async fn a_closed_fence_holds_writes_back_and_lets_reads_pass() {
        let connection = connection(Arc::new(Semaphore::new(9)));
        let (one, other) = (open_fence(), open_fence());
        write(connection.behind(one.clone())).await.unwrap();
        one.close();
        let error = write(connection.behind(one.clone())).await.unwrap_err();
        assert!(error.to_string().contains("no longer holds the lease"), "{error}");
        Api::<ConfigMap>::default_namespaced(connection.behind(one)).get("a").await.unwrap();
        write(connection.behind(other)).await.unwrap();
        write(connection.unfenced()).await.unwrap();
    }

    #[tokio::test]
    async fn a_write_is_under_way_until_it_is_answered_although_nobody_waits_for_it() {
        let let_answer = Arc::new(Semaphore::new(0));
        let connection = connection(let_answer.clone());
        let fence = open_fence();
        let sender = timeout(Duration::from_millis(50), write(connection.behind(fence.clone())));
        assert!(sender.await.is_err(), "it was answered before it was let");
        fence.close();
        assert!(timeout(Duration::from_millis(50), fence.empty()).await.is_err(), "it counts as done without an answer");
        let_answer.add_permits(1);
        timeout(Duration::from_secs(5), fence.empty()).await.unwrap();
    }
}
