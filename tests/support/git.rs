//! A Git server as companies have them: Git's own, over HTTP, which asks for a token, takes push options, and says where a merge request is.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

pub const USERNAME: &str = "tenantry";
pub const TOKEN: &str = "a-token-for-git";
/// More than any proposal.
const LIMIT: usize = 10 << 20;
/// What the server says of a push, as GitLab does, and the options that it was given.
const HOOK: &str = r#"#!/bin/sh
i=0
while [ "$i" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
  eval "echo \"\$GIT_PUSH_OPTION_$i\"" >>options
  i=$((i + 1))
done
echo "View merge request for this branch:"
echo "  http://127.0.0.1/platform/tenants/-/merge_requests/7"
"#;

/// A server with one repository.
pub struct GitServer {
    pub url: String,
    folder: Arc<TempDir>,
}

impl GitServer {
    /// With a file on the branch `main`.
    pub async fn start() -> Self {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        git(folder.path(), &["init", "--quiet", "--bare", "--initial-branch", "main", "tenants.git"]);
        let server = Self { url: String::new(), folder };
        for (name, value) in [("http.receivepack", "true"), ("receive.advertisePushOptions", "true")] {
            server.git(&["config", name, value]);
        }
        let hook = server.repository().join("hooks/post-receive");
        std::fs::write(&hook, HOOK).expect("a hook");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&hook, mode).expect("it can be run");
        server.put("tenants/first.yaml", "kind: Tenant\n");

        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("its address");
        let router = Router::new().fallback(answer).with_state(server.folder.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("http://{address}/tenants.git"), ..server }
    }

    /// The same server by TLS, with a certificate of its own authority: its address, and the authority's file.
    pub async fn encrypted(&self) -> (String, PathBuf) {
        let (certificate, key) = (self.folder.path().join("ca.crt"), self.folder.path().join("tls.key"));
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let chain = vec![CertificateDer::from_pem_file(&certificate).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(&key).expect("a key");
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions of TLS").with_no_client_auth();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a server")));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let plain: SocketAddr =
            self.url.trim_start_matches("http://").split('/').next().and_then(|address| address.parse().ok()).expect("an address");
        tokio::spawn(async move {
            while let Ok((visitor, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut visitor = acceptor.accept(visitor).await?;
                    let mut server = tokio::net::TcpStream::connect(plain).await?;
                    tokio::io::copy_bidirectional(&mut visitor, &mut server).await
                });
            }
        });
        (format!("https://localhost:{port}/tenants.git"), certificate)
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("tenants.git")
    }

    /// What Git says about the repository.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.repository(), arguments)
    }

    /// The options that were pushed.
    pub fn options(&self) -> String {
        std::fs::read_to_string(self.repository().join("options")).unwrap_or_default()
    }

    /// Commits a file to `main`.
    pub fn put(&self, path: &str, content: &str) {
        let work = TempDir::new().expect("a folder");
        let repository = self.repository();
        git(work.path(), &["clone", "--quiet", repository.to_str().expect("a path"), "."]);
        git(work.path(), &["checkout", "--quiet", "-B", "main"]);
        let file = work.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, content).expect("it is written");
        git(work.path(), &["add", "--all"]);
        git(work.path(), &["-c", "user.name=Admin", "-c", "user.email=admin@example.com", "commit", "--quiet", "--message", path]);
        git(work.path(), &["push", "--quiet", "origin", "main"]);
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(folder).output().expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Hands a request on to [git-http-backend](https://git-scm.com/docs/git-http-backend), a CGI program (RFC 3875).
async fn answer(State(folder): State<Arc<TempDir>>, request: Request) -> Response {
    let expected = format!("Basic {}", BASE64.encode(format!("{USERNAME}:{TOKEN}")));
    let text = |headers: &HeaderMap, name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if text(request.headers(), "authorization") != expected {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Basic realm=\"Git\"")]).into_response();
    }
    let mut command = tokio::process::Command::new("git");
    command.arg("http-backend").env("GIT_PROJECT_ROOT", folder.path()).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", USERNAME);
    command.env("REQUEST_METHOD", request.method().as_str()).env("PATH_INFO", request.uri().path());
    command.env("QUERY_STRING", request.uri().query().unwrap_or_default()).env("CONTENT_TYPE", text(request.headers(), "content-type"));
    command.env("GIT_PROTOCOL", text(request.headers(), "git-protocol"));
    let body = to_bytes(request.into_body(), LIMIT).await.expect("a body");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git runs");
    let mut input = child.stdin.take().expect("its input");
    tokio::spawn(async move { input.write_all(&body).await });
    let output = child.wait_with_output().await.expect("git ends").stdout;
    let end = output.windows(4).position(|part| part == b"\r\n\r\n").expect("the end of the headers");
    let mut response = Response::builder();
    for (name, value) in String::from_utf8_lossy(&output[..end]).lines().filter_map(|line| line.split_once(": ")) {
        response = match name {
            "Status" => response.status(value.get(..3).and_then(|code| code.parse::<u16>().ok()).expect("a status")),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).expect("an answer")
}
