//! A way to the API server on which requests meet faults. It passes on bytes, and knows of Kubernetes only what its faults need.

use crate::mask::mask;
use crate::traffic::{Effect, Fault, Passing, Side, Traffic, Watches};
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// Listens, for as long as the process lives; gives the port.
pub async fn serve(upstream: Client, traffic: Arc<Traffic>, names: Vec<(String, String)>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let proxy = Arc::new(Proxy { upstream, traffic, names });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let proxy = proxy.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| proxy.clone().handle(request));
                // A fault ends the connection as an error of the service.
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    port
}

struct Proxy {
    upstream: Client,
    traffic: Arc<Traffic>,
    names: Vec<(String, String)>,
}

/// The connection is to end without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the connection is cut")
    }
}

impl std::error::Error for Cut {}

impl Proxy {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Cut> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let mut request = Request::from_parts(head, body);
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            return self.watch(request).await;
        }
        // Who is the leader is another matter, and only a whole process asks for it.
        if request.uri().path().contains("/leases") {
            return self.forward(request).await;
        }
        let what = self.name_of(&request);
        let writes = request.method() != Method::GET;
        let fault = self.traffic.arrive(Side::Api, &what, writes);
        let passing = Passing(self.traffic.clone());
        match fault {
            Some(Fault::CrashBefore) => {
                self.traffic.end_operator(Fault::CrashBefore);
                return Err(Cut);
            }
            Some(Fault::LostBefore) => return Err(Cut),
            Some(Fault::Conflict) => return Ok(refusal(409, "Conflict", "the object has been modified")),
            Some(Fault::Forbidden) => return Ok(refusal(403, "Forbidden", "not allowed at this moment")),
            Some(Fault::TooMany) => return Ok(refusal(429, "TooManyRequests", "too many requests, please try again later")),
            Some(Fault::Internal) => return Ok(refusal(500, "InternalError", "etcdserver: leader changed")),
            // What the request itself changes is missed, too.
            Some(Fault::MissedNews) => self.traffic.miss_news(),
            _ if is_list(&request) && self.traffic.comes_late(&what) => return Ok(refusal(500, "InternalError", "etcdserver: no leader")),
            _ => {}
        }
        if let Some(version) = self.traffic.stale().filter(|_| is_list(&request)) {
            let uri = at_version(request.uri(), version);
            *request.uri_mut() = uri;
        }
        // A request that was sent takes effect also where nobody waits for its answer any more.
        let sent = tokio::spawn(async move {
            let _passing = passing;
            let answer = self.forward(request).await?;
            self.traffic.took_effect(Effect { side: Side::Api, what, status: answer.status().as_u16(), writes });
            match fault {
                Some(fault @ (Fault::CrashAfter | Fault::StaleView)) => {
                    self.traffic.end_operator(fault);
                    Err(Cut)
                }
                Some(Fault::LostAfter) => Err(Cut),
                Some(Fault::TimedOut) => Ok(refusal(504, "Timeout", "request did not complete within the allotted timeout")),
                _ => Ok(answer),
            }
        });
        sent.await.map_err(|_| Cut)?
    }

    async fn forward(&self, request: Request<Bytes>) -> Result<Answer, Cut> {
        let (head, body) = request.into_parts();
        let what = format!("{} {}", head.method, head.uri);
        let mut upstream = Request::builder().method(head.method).uri(head.uri);
        for name in [http::header::CONTENT_TYPE, http::header::ACCEPT, http::header::USER_AGENT] {
            if let Some(value) = head.headers.get(&name) {
                upstream = upstream.header(name, value);
            }
        }
        let request = upstream.body(Body::from(body.to_vec())).expect("a request like the one that came");
        let answer = self.upstream.send(request).await.map_err(|error| {
            eprintln!("the API server doesn't answer {what}: {error}");
            Cut
        })?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        if let Some(version) = version_of(&body) {
            self.traffic.saw_version(version);
        }
        let mut answer = Response::new(full(body));
        *answer.status_mut() = head.status;
        if let Some(value) = head.headers.get(http::header::CONTENT_TYPE) {
            answer.headers_mut().insert(http::header::CONTENT_TYPE, value.clone());
        }
        Ok(answer)
    }

    /// Passes a watch on, line by line, as long as watches tell.
    async fn watch(self: Arc<Self>, request: Request<Bytes>) -> Result<Answer, Cut> {
        if self.traffic.is_crashed() {
            return Err(Cut);
        }
        let upstream = Request::get(request.uri().clone()).body(Body::empty()).expect("a request");
        let answer = self.upstream.send(upstream).await.map_err(|_| Cut)?;
        let (head, body) = answer.into_parts();
        let path = request.uri().path().to_owned();
        let (_, lost_track) = self.traffic.watches(&path);
        let frames = body.into_data_stream().map_err(std::io::Error::other).boxed();
        let state =
            Watch { traffic: self.traffic.clone(), path, frames, waiting: VecDeque::new(), partial: Vec::new(), lost_track, ended: false };
        let lines = futures::stream::unfold(state, |mut watch| async move { watch.next().await.map(|line| (line, watch)) });
        let mut answer = Response::new(BodyExt::boxed_unsync(StreamBody::new(lines.map_ok(Frame::data))));
        *answer.status_mut() = head.status;
        Ok(answer)
    }

    /// What a request asks, without what differs from run to run.
    fn name_of(&self, request: &Request<Bytes>) -> String {
        let path = request.uri().path();
        let mut what = format!("{} {path}", request.method());
        if request.method() == Method::POST {
            let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
            // The name of an Event is by chance.
            if !path.ends_with("/events") {
                what += &format!(" {}", body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default());
            }
        } else if path.contains("/events/") {
            what = format!("{} {}", request.method(), path.rsplit_once('/').map_or(path, |(before, _)| before));
        }
        mask(&what, &self.names)
    }
}

/// A watch that is passed on.
struct Watch {
    traffic: Arc<Traffic>,
    path: String,
    frames: futures::stream::BoxStream<'static, Result<Bytes, std::io::Error>>,
    waiting: VecDeque<Bytes>,
    partial: Vec<u8>,
    lost_track: u64,
    ended: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if self.ended {
            return None;
        }
        loop {
            let traffic = self.traffic.clone();
            let released = traffic.watches.notified();
            let mut released = std::pin::pin!(released);
            released.as_mut().enable();
            let (watches, lost_track) = traffic.watches(&self.path);
            if lost_track != self.lost_track {
                self.ended = true;
                let gone = json!({"type": "ERROR", "object": {
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
                    "message": "too old resource version",
                }});
                return Some(Ok(Bytes::from(format!("{gone}\n"))));
            }
            if watches == Watches::Tell
                && let Some(line) = self.waiting.pop_front()
            {
                return Some(Ok(line));
            }
            tokio::select! {
                frame = self.frames.next() => match frame {
                    Some(Ok(bytes)) => self.take(&bytes),
                    Some(Err(error)) => return Some(Err(error)),
                    None => {
                        self.ended = true;
                        return None;
                    }
                },
                () = released => {}
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.partial.push(*byte);
            if *byte == b'\n' {
                self.waiting.push_back(std::mem::take(&mut self.partial).into());
            }
        }
    }
}

fn full(body: Bytes) -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn refusal(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code, "message": message,
    });
    let mut answer = Response::new(full(Bytes::from(status.to_string())));
    *answer.status_mut() = StatusCode::from_u16(code).expect("a status");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    if code == 429 {
        answer.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    answer
}

/// A list of objects, from its beginning on: discovery has no query, and the next page is of the time of the first.
fn is_list(request: &Request<Bytes>) -> bool {
    let begins_list = |query: &str| (query.contains("limit=") || query.contains("labelSelector=")) && !query.contains("continue=");
    request.method() == Method::GET && request.uri().query().is_some_and(begins_list)
}

/// The same list as it was at a resource version.
fn at_version(uri: &http::Uri, version: u64) -> http::Uri {
    let kept = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.starts_with("resourceVersion") && !pair.is_empty());
    let query: Vec<_> = kept.map(str::to_owned).chain([format!("resourceVersion={version}&resourceVersionMatch=Exact")]).collect();
    format!("{}?{}", uri.path(), query.join("&")).parse().expect("a URI")
}

fn version_of(body: &Bytes) -> Option<u64> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}
