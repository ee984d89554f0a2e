//! `kubectl tenantry check`: whether everything that the operator needs is there, each failure with the command that mends it.

mod platform;
mod product;

use super::cluster::Cluster;
use super::installation::Installation;
use super::terminal::Style;
use super::{Failure, NOT_READY, note, print};
use std::process::ExitCode;
use tenantry::inspect::State;

/// Options of `kubectl tenantry check`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit codes: 0 all is well, 1 something has to be mended.

Examples:
  kubectl tenantry check --pre    before anything is installed
  kubectl tenantry check")]
pub struct Options {
    /// Only what has to be so before the operator is installed.
    #[arg(long)]
    pre: bool,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    cluster: Cluster,
}

/// What came of one check.
pub struct Found {
    /// What was looked at.
    what: String,
    /// What was found, where all is well; else what is wrong.
    outcome: Result<String, Wrong>,
}

/// What is wrong.
pub struct Wrong {
    why: String,
    /// The command, or what else mends it.
    mend: String,
    /// Where the documentation says more.
    page: &'static str,
}

fn wrong(why: impl Into<String>, mend: impl Into<String>, page: &'static str) -> Wrong {
    Wrong { why: why.into(), mend: mend.into(), page }
}

/// Looks at everything, and prints what it found.
pub async fn check(options: Options) -> Result<ExitCode, Failure> {
    let client = options.cluster.client().await?;
    let mut all = Vec::new();
    let mut add = |what: &str, outcome| all.push(Found { what: what.to_owned(), outcome });
    match platform::version(&client).await {
        Ok(outcome) => add("Kubernetes", outcome),
        // Without an answer nothing else can be told.
        Err(error) => return Err(format!("the API server doesn't answer: {error}").into()),
    }
    add("clock", platform::clock(&client).await);
    add("visitors' way in", platform::way_in(&client).await);
    if options.pre {
        add("your rights", platform::own_rights(&client).await);
    } else {
        add("resources", platform::definitions(&client).await);
        let account = platform::account(&client, &options.installation).await;
        // Who isn't there may do nothing, and that is said already.
        let rights = if account.is_ok() { Some(platform::rights(&client, &options.installation).await) } else { None };
        add("operator's account", account);
        rights.into_iter().for_each(|rights| add("operator's rights", rights));
        add("admission policies", platform::policies(&client).await);
        add("operator", platform::operator(&client, &options.installation).await);
        all.extend(product::servers(&client).await);
        all.extend(product::blueprints(&client, &options.installation.namespace).await);
        all.push(Found { what: "tenants".to_owned(), outcome: product::tenants(&client).await });
    }
    print(&screen(&all, Style::of_output()))?;
    let failed = all.iter().filter(|found| found.outcome.is_err()).count();
    if failed > 0 {
        note(&format!("{failed} of {} checks failed", all.len()));
        return Ok(NOT_READY.into());
    }
    note(if options.pre { "next: install it, as docs/install.md says" } else { "next: kubectl tenantry list" });
    Ok(ExitCode::SUCCESS)
}

/// A line for each check; below one that failed, what mends it.
fn screen(all: &[Found], style: Style) -> String {
    let line = |found: &Found| match &found.outcome {
        Ok(is) => format!("{}: {is}\n", style.state(State::Ready, &found.what)),
        Err(Wrong { why, mend, page }) => {
            format!("{}: {why}\n    mend it: {mend}\n    see {page}\n", style.state(State::Stalled, &found.what))
        }
    };
    all.iter().map(line).collect()
}

/// What couldn't be looked at.
fn unknown(error: kube::Error) -> Wrong {
    wrong(format!("it can't be looked at: {error}"), "run this as somebody who may read it, such as with --as", "docs/command-line.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_says_what_mends_it_and_where_to_read_on() {
        let all = [
            Found { what: "Kubernetes".to_owned(), outcome: Ok("version 1.37".to_owned()) },
            Found { what: "clock".to_owned(), outcome: Err(wrong("40 s apart", "set both by NTP", "docs/command-line.md")) },
        ];
        insta::assert_snapshot!(screen(&all, Style::default()), @r"
        ✓ Kubernetes: version 1.37
        ✗ clock: 40 s apart
            mend it: set both by NTP
            see docs/command-line.md
        ");
    }

    #[test]
    fn every_page_that_is_named_is_there() {
        let pages = regex::Regex::new(r"docs/([a-z-]+\.md)(?:#([a-z0-9-]+))?").unwrap();
        let mut seen = 0;
        for found in [include_str!("mod.rs"), include_str!("platform.rs"), include_str!("product.rs")]
            .into_iter()
            .flat_map(|text| pages.captures_iter(text))
        {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(&found[1]);
            let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            // As GitHub and mdBook name a heading.
            let name = |heading: &str| {
                let kept = heading.trim_matches(['#', ' ']).chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
                kept.collect::<String>().to_lowercase().replace(' ', "-")
            };
            let is_there = |anchor: &str| page.lines().any(|line| line.starts_with('#') && name(line) == anchor);
            assert!(found.get(2).is_none_or(|anchor| is_there(anchor.as_str())), "{} is nowhere", &found[0]);
            seen += 1;
        }
        assert!(seen > 10, "{seen} pages");
    }
}
