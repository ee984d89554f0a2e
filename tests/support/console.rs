//! The console, as the real program, and tokens for people of several roles.

use super::browser::Browser;
use super::{World, unique};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A console of the test's own.
pub struct Console {
    pub address: SocketAddr,
    process: Child,
    /// What sessions are encrypted by.
    secret: NamedTempFile,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Console {
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// With these arguments and environment variables.
    pub async fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut secret = NamedTempFile::new().expect("a file");
        secret.write_all(&rand::random::<[u8; 32]>()).expect("it is written");
        let (process, address) = start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &secret, &arguments, &variables).await;
        Self { address, process, secret, arguments, variables }
    }

    /// Somebody with this ClusterRole, behind a proxy.
    pub async fn visited_by(&self, world: &World, role: &str) -> Browser {
        Browser::with_token(self.address, &token_of(world, role).await)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    /// Ends, and comes back at the same address.
    pub async fn restart(&mut self) {
        self.process.kill().await.expect("it ends");
        (self.process, self.address) = start(self.address, &self.secret, &self.arguments, &self.variables).await;
    }
}

async fn start(address: SocketAddr, secret: &NamedTempFile, arguments: &[String], variables: &[(String, String)]) -> (Child, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantry"));
    command.args(["console", "--listen", &address.to_string(), "--secret-file"]).arg(secret.path());
    command.args(arguments).envs(variables.iter().cloned());
    let mut process = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("the console starts");
    let mut lines = BufReader::new(process.stderr.take().expect("its output")).lines();
    let line = lines.next_line().await.expect("a line").expect("where it is");
    let address = line.rsplit('/').next().and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no address: {line}"));
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("console: {line}");
        }
    });
    (process, address)
}

/// A token of somebody with this ClusterRole.
pub async fn token_of(world: &World, role: &str) -> String {
    let account = unique("visitor");
    world.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "default"}})).await;
    world
        .create(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": account},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": account}],
        }))
        .await;
    let accounts: Api<ServiceAccount> = Api::namespaced(world.cluster.client.clone(), "default");
    let request =
        TokenRequest { spec: Some(TokenRequestSpec { expiration_seconds: Some(7200), ..Default::default() }), ..Default::default() };
    let made = accounts.create_token_request(&account, &PostParams::default(), &request).await.expect("a token");
    made.status.and_then(|status| status.token).expect("a token")
}
