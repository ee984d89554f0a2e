//! `tenantry console`: the web console, which acts with its visitors' tokens and has none of its own.

use super::Failure;
use kube::Config;
use std::net::SocketAddr;
use std::path::PathBuf;
use tenantry::console::{Console, GitRepository, NAME, router};
use tokio::signal::unix::{SignalKind, signal};

/// A shorter secret could be guessed.
const SECRET_BYTES: usize = 32;

/// Options of `tenantry console`. The cluster is the one that KUBECONFIG names, or the one that the program runs in; its credentials aren't used.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Where the pages are served, without encryption: put an ingress before it, or reach it by kubectl port-forward.
    #[arg(long, env = "TENANTRY_CONSOLE_LISTEN", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// A file with at least 32 random bytes, by which sessions are encrypted; consoles that share it share their sessions. Without one, a session ends with the
    /// program.
    #[arg(long, env = "TENANTRY_CONSOLE_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    git: Git,
}

/// Where visitors may propose tenants, each on a branch of its own, for somebody to merge.
#[derive(clap::Args, Debug)]
struct Git {
    /// The Git repository with the tenants, such as https://git.example.com/platform/tenants.git. Without it nobody can propose any.
    #[arg(long, env = "TENANTRY_CONSOLE_GIT_URL", value_name = "URL")]
    git_url: Option<String>,
    /// The branch that proposals are to be merged into; the repository's default, where left out.
    #[arg(long, env = "TENANTRY_CONSOLE_GIT_BRANCH", value_name = "BRANCH")]
    git_branch: Option<String>,
    /// Where a tenant's file is.
    #[arg(long, env = "TENANTRY_CONSOLE_GIT_PATH", value_name = "PATH", default_value = "tenants/{name}.yaml")]
    git_path: String,
    /// Who pushes.
    #[arg(long, env = "TENANTRY_CONSOLE_GIT_USERNAME", value_name = "NAME", default_value = "tenantry")]
    git_username: String,
    /// A file with the password or token of who pushes. It is read each time.
    #[arg(long, env = "TENANTRY_CONSOLE_GIT_TOKEN_FILE", value_name = "FILE")]
    git_token_file: Option<PathBuf>,
}

impl Git {
    fn repository(&self) -> Result<Option<GitRepository>, Failure> {
        let Some(url) = self.git_url.clone() else { return Ok(None) };
        if !["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(
                format!("--git-url {url:?} isn't served over HTTP: write it as https://git.example.com/platform/tenants.git").into()
            );
        }
        if !self.git_path.contains(NAME) {
            return Err(format!("--git-path {:?} would be the same for all tenants: put {NAME} into it", self.git_path).into());
        }
        let (branch, path) = (self.git_branch.clone(), self.git_path.clone());
        let (username, token_file) = (self.git_username.clone(), self.git_token_file.clone());
        Ok(Some(GitRepository { url, branch, path, username, token_file }))
    }
}

/// Serves until it is told to end.
pub async fn console(options: Options) -> Result<(), Failure> {
    let config = Config::infer().await.map_err(|error| format!("no cluster: {error}; set KUBECONFIG, or run inside a cluster"))?;
    let secret = match &options.secret_file {
        None => rand::random::<[u8; SECRET_BYTES]>().to_vec(),
        Some(path) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
    };
    if secret.len() < SECRET_BYTES {
        return Err(format!("the secret has {} bytes, and needs {SECRET_BYTES}: head -c 32 /dev/urandom > FILE", secret.len()).into());
    }
    let mut console = Console::new(&config, &secret);
    if let Some(git) = options.git.repository()? {
        console = console.proposing_in(git);
    }
    let listener =
        tokio::net::TcpListener::bind(options.listen).await.map_err(|error| format!("can't listen on {}: {error}", options.listen))?;
    super::note(&format!("the console is at http://{}", listener.local_addr()?));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told_to_end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        served = axum::serve(listener, router(console).into_make_service_with_connect_info::<SocketAddr>()).into_future() => served?,
        () = told_to_end => {}
    }
    Ok(())
}
