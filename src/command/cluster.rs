//! Which cluster a command speaks to, and as whom: by the options that kubectl has for it.

use super::Failure;
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;

/// Options of every command that speaks to a cluster.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Cluster {
    /// The kubeconfig file; KUBECONFIG or ~/.kube/config, where left out.
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    context: Option<String>,
    /// Acts as this user, as far as that is allowed.
    #[arg(long = "as", value_name = "USER", help_heading = "Cluster")]
    user: Option<String>,
    /// Acts as a member of this group. May be given several times.
    #[arg(long = "as-group", value_name = "GROUP", help_heading = "Cluster", requires = "user")]
    groups: Vec<String>,
}

/// A command line of which only these options count.
#[derive(clap::Parser)]
#[command(ignore_errors = true, disable_help_flag = true)]
struct OnlyCluster {
    #[command(flatten)]
    cluster: Cluster,
}

impl Cluster {
    /// The cluster that a command line speaks of which isn't complete yet.
    pub fn of_words(words: impl Iterator<Item = String>) -> Self {
        // An option that isn't known ends the parsing of all that come after it, so each is read by itself.
        let words: Vec<_> = words.collect();
        let mut found = Self::default();
        for at in 0..words.len() {
            let rest = std::iter::once("tenantry").chain(words[at..].iter().take(2).map(String::as_str));
            let Ok(OnlyCluster { cluster }) = OnlyCluster::try_parse_from(rest) else { continue };
            found.kubeconfig = cluster.kubeconfig.or(found.kubeconfig);
            found.context = cluster.context.or(found.context);
            found.user = cluster.user.or(found.user);
        }
        found
    }

    /// A client for it.
    ///
    /// # Errors
    /// Where there is no such cluster in the kubeconfig.
    pub async fn client(&self) -> Result<Client, Failure> {
        let say = |error: &dyn std::fmt::Display| format!("no cluster: {error}; set KUBECONFIG or --kubeconfig, or run inside a cluster");
        let mut config = if self.kubeconfig.is_none() && self.context.is_none() {
            Config::infer().await.map_err(|error| say(&error))?
        } else {
            let file = match &self.kubeconfig {
                Some(path) => Kubeconfig::read_from(path),
                None => Kubeconfig::read(),
            };
            let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
            let file = file.map_err(|error| say(&error))?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| say(&error))?
        };
        if let Some(user) = &self.user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = Some(self.groups.clone()).filter(|groups| !groups.is_empty());
        }
        Client::try_from(config).map_err(|error| say(&error).into())
    }

    /// The same options, for a program that is started.
    pub fn arguments(&self) -> Vec<String> {
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.display().to_string());
        let options = [("--kubeconfig", &kubeconfig), ("--context", &self.context), ("--as", &self.user)];
        let given = options.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}")));
        given.chain(self.groups.iter().map(|group| format!("--as-group={group}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_of_a_line_that_is_still_being_typed_is_known() {
        let of = |line: &str| Cluster::of_words(line.split(' ').map(str::to_owned)).arguments();
        assert_eq!(of("tenantry get --context far -o wide --kubeconfig=/tmp/k ac"), ["--kubeconfig=/tmp/k", "--context=far"]);
        assert_eq!(of("tenantry get --watch --as jane"), ["--as=jane"]);
        assert_eq!(of("tenantry get "), Vec::<String>::new());
    }
}
