//! The admin's Git repository, to which a visitor proposes a tenant: a file on a branch of its own, with a merge request where the server makes one by
//! [push options](https://docs.gitlab.com/topics/git/commit/#push-options-for-merge-requests).

use git2::build::TreeUpdateBuilder;
use git2::{
    AutotagOption, Commit, Cred, Direction, FetchOptions, FileMode, Oid, PushOptions, Remote, RemoteCallbacks, Repository, Signature,
};
use http::Uri;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What stands for the tenant's name in the path of its file.
pub const NAME: &str = "{name}";
/// Where the branches are that proposals make.
const BRANCHES: &str = "refs/heads/tenantry/";
/// Where the branch that a proposal is to be merged into is kept, for as long as it takes.
const BASE: &str = "refs/remotes/base";
/// Where a branch of an earlier proposal is.
const EARLIER: &str = "refs/remotes/earlier";
/// The field of a commit's message that says which form it is of.
const FORM: &str = "Console-Form: ";

/// Where an admin keeps tenants.
#[derive(Clone, Debug)]
pub struct GitRepository {
    /// Its address, such as `https://git.example.com/platform/tenants.git`.
    pub url: String,
    /// The branch that proposals are to be merged into; the repository's own default, where left out.
    pub branch: Option<String>,
    /// Where a tenant's file is, with [`NAME`] for its name.
    pub path: String,
    /// Who pushes.
    pub username: String,
    /// A file with the password or token of who pushes. It is read each time.
    pub token_file: Option<PathBuf>,
}

/// A tenant that somebody proposes.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The tenant.
    pub name: String,
    /// The customer's name.
    pub customer: String,
    /// Its manifest.
    pub manifest: String,
    /// Who proposes it.
    pub visitor: String,
    /// The form that it was filled in with: sent twice, it is one proposal.
    pub form: String,
}

/// Why a tenant couldn't be proposed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Git has it already.
    #[error("Git has {path} already: choose another address")]
    Taken {
        /// Its file.
        path: String,
    },
    /// Somebody else was faster.
    #[error("somebody proposed this address already, on the branch {branch}: choose another")]
    Proposed {
        /// On this branch.
        branch: String,
    },
    /// The server doesn't take it.
    #[error("the Git server refuses the branch {branch}: {why}")]
    Refused {
        /// The branch.
        branch: String,
        /// What it says.
        why: String,
    },
    /// The secret can't be read.
    #[error("the token for Git can't be read from {file}: {source}")]
    Token {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no room for what is fetched.
    #[error("there is no room for a copy of the Git repository: {0}")]
    NoRoom(#[source] std::io::Error),
    /// Anything else.
    #[error("the Git repository can't be written: {}", .0.message())]
    Git(#[from] git2::Error),
}

impl GitRepository {
    /// Puts the tenant on a branch of its own, and tells where the server says that it can be looked at, if it does. That one form is sent twice makes no
    /// difference.
    ///
    /// # Errors
    /// Where Git has a tenant of that name, or somebody has proposed one; where the server can't be reached or refuses it.
    pub fn propose(&self, proposal: &Proposal) -> Result<Option<String>, GitError> {
        let folder = TempDir::new().map_err(GitError::NoRoom)?;
        let repository = Repository::init_bare(folder.path())?;
        let token = self.token()?;
        let mut remote = repository.remote_anonymous(&self.url)?;
        let branch = format!("{BRANCHES}{}", proposal.name);
        let fetched = self.fetch(&mut remote, &branch, token.as_deref())?;
        if fetched.is_proposed {
            let earlier = repository.find_reference(EARLIER)?.peel_to_commit()?;
            return if is_of(earlier.message().unwrap_or_default(), &proposal.form) {
                Ok(None)
            } else {
                Err(GitError::Proposed { branch: short(&branch).to_owned() })
            };
        }
        let base = repository.find_reference(BASE)?.peel_to_commit()?;
        let commit = self.commit(&repository, &base, proposal)?;
        repository.reference(&branch, commit, false, "a proposal")?;
        let title = one_line(&format!("Onboard {}", proposal.customer));
        let target = format!("merge_request.target={}", short(&fetched.base));
        let title = format!("merge_request.title={title}");
        let options = ["merge_request.create", &target, &title, "merge_request.remove_source_branch"];
        match self.push(&mut remote, &branch, token.as_deref(), &options) {
            // A server that takes no options gets the branch alone.
            Err(GitError::Git(error)) if error.message().contains("push-options") => self.push(&mut remote, &branch, token.as_deref(), &[]),
            pushed => pushed,
        }
    }

    /// Whether a link leads to the server that has the repository.
    pub fn has(&self, link: &str) -> bool {
        let host = |address: &str| address.parse::<Uri>().ok().filter(is_web).and_then(|address| Some(address.host()?.to_owned()));
        host(link).is_some_and(|linked| host(&self.url) == Some(linked))
    }

    /// The path of a tenant's file.
    fn path_of(&self, tenant: &str) -> String {
        self.path.replace(NAME, tenant)
    }

    fn token(&self) -> Result<Option<String>, GitError> {
        let Some(file) = &self.token_file else { return Ok(None) };
        let read = std::fs::read_to_string(file).map_err(|source| GitError::Token { file: file.clone(), source })?;
        Ok(Some(read.trim().to_owned()))
    }

    fn fetch(&self, remote: &mut Remote<'_>, branch: &str, token: Option<&str>) -> Result<Fetched, GitError> {
        let connection = remote.connect_auth(Direction::Fetch, Some(self.callbacks(token)), None)?;
        let base = match &self.branch {
            Some(branch) => format!("refs/heads/{branch}"),
            None => connection.default_branch()?.as_str().unwrap_or("refs/heads/main").to_owned(),
        };
        let is_proposed = connection.list()?.iter().any(|head| head.name() == branch);
        drop(connection);
        let mut wanted = vec![format!("+{base}:{BASE}")];
        if is_proposed {
            wanted.push(format!("+{branch}:{EARLIER}"));
        }
        let mut options = FetchOptions::new();
        options.remote_callbacks(self.callbacks(token)).download_tags(AutotagOption::None).depth(1);
        remote.fetch(&wanted, Some(&mut options), None)?;
        Ok(Fetched { base, is_proposed })
    }

    fn commit(&self, repository: &Repository, base: &Commit<'_>, proposal: &Proposal) -> Result<Oid, GitError> {
        let path = self.path_of(&proposal.name);
        let before = base.tree()?;
        if before.get_path(Path::new(&path)).is_ok() {
            return Err(GitError::Taken { path });
        }
        let file = repository.blob(proposal.manifest.as_bytes())?;
        let after = TreeUpdateBuilder::new().upsert(path.as_str(), file, FileMode::Blob).create_updated(repository, &before)?;
        let (name, address) = author(&proposal.visitor);
        let author = Signature::now(&name, &address)?;
        let committer = Signature::now("Tenantry console", "console@tenantry.invalid")?;
        let (customer, form) = (one_line(&proposal.customer), one_line(&proposal.form));
        let message = format!("Onboard {customer}\n\nProposed in Tenantry's console.\n\n{FORM}{form}\n");
        Ok(repository.commit(None, &author, &committer, &message, &repository.find_tree(after)?, &[base])?)
    }

    fn push(&self, remote: &mut Remote<'_>, branch: &str, token: Option<&str>, options: &[&str]) -> Result<Option<String>, GitError> {
        let (said, refused) = (RefCell::new(Vec::new()), RefCell::new(None));
        let mut callbacks = self.callbacks(token);
        callbacks.sideband_progress(|text| {
            said.borrow_mut().extend_from_slice(text);
            true
        });
        callbacks.push_update_reference(|_, why| {
            *refused.borrow_mut() = why.map(str::to_owned);
            Ok(())
        });
        let mut how = PushOptions::new();
        how.remote_callbacks(callbacks).remote_push_options(options);
        remote.push(&[format!("{branch}:{branch}")], Some(&mut how))?;
        drop(how);
        let said = String::from_utf8_lossy(&said.into_inner()).into_owned();
        match refused.into_inner() {
            Some(why) => Err(GitError::Refused { branch: short(branch).to_owned(), why: one_line(&format!("{why} {said}")) }),
            None => Ok(link_in(&said)),
        }
    }

    fn callbacks<'a>(&'a self, token: Option<&'a str>) -> RemoteCallbacks<'a> {
        let mut callbacks = RemoteCallbacks::new();
        let mut was_asked = false;
        callbacks.credentials(move |_, _, _| match token {
            // Who is asked again was refused.
            Some(token) if !std::mem::replace(&mut was_asked, true) => Cred::userpass_plaintext(&self.username, token),
            Some(_) => Err(git2::Error::from_str("the server refuses the token")),
            None => Err(git2::Error::from_str("the server wants to know who pushes: give the console a token")),
        });
        callbacks
    }
}

/// What came of a fetch.
struct Fetched {
    /// The branch that a proposal is to be merged into.
    base: String,
    /// Whether there is a branch of such a proposal.
    is_proposed: bool,
}

fn is_web(address: &Uri) -> bool {
    matches!(address.scheme_str(), Some("http" | "https"))
}

/// Whether a commit's message is that of a proposal by this form.
fn is_of(message: &str, form: &str) -> bool {
    !form.is_empty() && message.lines().any(|line| line.strip_prefix(FORM) == Some(form))
}

/// A branch as people call it.
fn short(reference: &str) -> &str {
    reference.strip_prefix("refs/heads/").unwrap_or(reference)
}

/// Whoever the cluster knows by this name, as Git writes it: a name and a mail address.
fn author(visitor: &str) -> (String, String) {
    let name: String = one_line(visitor).chars().filter(|character| !matches!(character, '<' | '>')).collect();
    let name = if name.trim().is_empty() { "somebody".to_owned() } else { name };
    let address = match name.contains('@') && !name.contains(char::is_whitespace) {
        true => name.clone(),
        // Nobody reads mail there; see RFC 2606, section 2.
        false => format!("{}@tenantry.invalid", name.replace([':', ' '], ".")),
    };
    (name, address)
}

fn one_line(text: &str) -> String {
    text.split(char::is_control).flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// The first address that a server names, before all others one of a merge request.
fn link_in(said: &str) -> Option<String> {
    let words = said.split(|character: char| character.is_whitespace() || character.is_control());
    let links: Vec<_> = words.filter(|word| word.starts_with("https://") || word.starts_with("http://")).collect();
    let request = links.iter().find(|link| ["merge_request", "/pull", "/compare"].iter().any(|part| link.contains(part)));
    request.or(links.first()).map(|link| (*link).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_proposes_is_the_author() {
        assert_eq!(author("jane@example.com"), ("jane@example.com".to_owned(), "jane@example.com".to_owned()));
        let account = "system:serviceaccount:default:seller";
        assert_eq!(author(account), (account.to_owned(), "system.serviceaccount.default.seller@tenantry.invalid".to_owned()));
        assert_eq!(author("<>\n"), ("somebody".to_owned(), "somebody@tenantry.invalid".to_owned()));
        assert_eq!(author("Eve <evil@example.com>\nx").0, "Eve evil@example.com x");
    }

    #[test]
    fn a_proposal_is_taken_for_ones_own_by_its_whole_form_alone() {
        let message = "Onboard Console-Form: other\n\nProposed in Tenantry's console.\n\nConsole-Form: abc\n";
        assert!(is_of(message, "abc"));
        for other in ["", "ab", "abcd", "other"] {
            assert!(!is_of(message, other), "{other:?}");
        }
    }

    #[test]
    fn only_links_to_the_same_server_are_shown() {
        let url = "https://git.example.com/platform/tenants.git".to_owned();
        let path = "tenants/{name}.yaml".to_owned();
        let git = GitRepository { url, branch: None, path, username: "tenantry".to_owned(), token_file: None };
        assert!(git.has("https://git.example.com/platform/tenants/-/merge_requests/7"));
        for other in [
            "",
            "https://evil.example/",
            "javascript:alert(1)//git.example.com",
            "https://git.example.com.evil.example/",
            "//git.example.com/",
        ] {
            assert!(!git.has(other), "{other}");
        }
        assert_eq!(git.path_of("acme"), "tenants/acme.yaml");
    }

    #[test]
    fn the_link_of_a_merge_request_is_found_in_what_the_server_says() {
        let gitlab = "\nView merge request for tenantry/acme:\n  https://git.example.com/platform/tenants/-/merge_requests/7\n";
        assert_eq!(link_in(gitlab).as_deref(), Some("https://git.example.com/platform/tenants/-/merge_requests/7"));
        let github = "See https://docs.example.com\r\nCreate a pull request on GitHub by visiting:\n https://github.com/a/b/pull/new/tenantry/acme\n";
        assert_eq!(link_in(github).as_deref(), Some("https://github.com/a/b/pull/new/tenantry/acme"));
        assert_eq!(link_in("javascript:alert(1) ok"), None);
    }
}
