//! The offline commands, by the real program.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn tenantry(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenantry"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("COLUMNS", "100")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("its input");
    // A program that ends early doesn't read to the end.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the program ends")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SERVER: &str = "
apiVersion: tenantry.dev/v1alpha1
kind: DatabaseServer
metadata: {name: main}
spec: {host: 10.79.255.1, adminSecret: {name: postgres}}
";
const SAMPLE: [&str; 5] = ["render", "-f", "examples/planner/manifests", "-f", "-"];

#[test]
fn render_prints_every_tenant_of_the_sample_the_same_way_each_time() {
    let first = stdout(&tenantry(&SAMPLE, SERVER));
    assert_eq!(first, stdout(&tenantry(&SAMPLE, SERVER)));
    for namespace in ["tenant-acme", "tenant-globex", "tenant-initech"] {
        assert!(first.contains(&format!("\n  name: {namespace}\n")), "{namespace} is missing");
    }
    assert!(!first.contains("kind: Secret\n"), "a secret is printed");
    let one = stdout(&tenantry(&[SAMPLE.as_slice(), &["--tenant", "acme"]].concat(), SERVER));
    assert!(first.starts_with(&one) && !one.contains("globex"));
}

#[test]
fn render_applies_the_defaults_of_the_server() {
    // Neither drainSeconds nor a plan's resources are written there.
    let manifests = format!(
        "{SERVER}---
apiVersion: tenantry.dev/v1alpha1
kind: Blueprint
metadata: {{name: small}}
spec:
  baseDomain: example.com
  version: \"1\"
  image: {{repository: small}}
  components: [{{name: web, port: 80, expose: {{}}}}]
  ingress: {{}}
---
apiVersion: tenantry.dev/v1alpha1
kind: Plan
metadata: {{name: small}}
spec: {{}}
---
apiVersion: tenantry.dev/v1alpha1
kind: Tenant
metadata: {{name: a}}
spec: {{displayName: A, blueprint: small, plan: small}}
---
apiVersion: v1
kind: Secret
metadata: {{name: somebody-elses}}
"
    );
    let text = stdout(&tenantry(&["render", "-f", "-"], &manifests));
    for line in ["seconds: 5", "terminationGracePeriodSeconds: 40", "memory: 256Mi", "path: /"] {
        assert!(text.contains(line), "{line} is missing");
    }
}

#[test]
fn render_names_the_file_the_object_and_the_place_of_what_is_wrong() {
    let tenant = |spec: &str| format!("apiVersion: tenantry.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: acme}}\nspec: {spec}\n");
    for (input, wanted) in [
        (
            tenant("{displayName: A, blueprint: planner, plan: business, domain: [a.com]}"),
            "standard input: Tenant acme: spec.domain: there is no such field; there are",
        ),
        (
            tenant("{displayName: A, blueprint: planner, plan: business, branding: {primaryColor: green}}"),
            "standard input: Tenant acme: spec.branding.primaryColor: primaryColor is # and six hexadecimal digits",
        ),
        (
            tenant("{displayName: A, blueprint: planner, plan: huge}"),
            "tenant acme names the Plan huge, which is in none of the files: add it with -f",
        ),
        (tenant("{displayName: A"), "standard input: it is no YAML"),
        (
            tenant("{displayName: A, blueprint: planner, plan: business, settings: {DEBUG: \"1\"}}"),
            "tenant acme: spec.settings.DEBUG can't be set by a tenant of blueprint planner",
        ),
    ] {
        let files = ["render", "-f", "examples/planner/manifests/blueprint.yaml", "-f", "examples/planner/manifests/plans.yaml", "-f", "-"];
        let output = tenantry(&files, &format!("{SERVER}---\n{input}"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{input}");
        assert!(stderr(&output).contains(wanted), "{wanted:?} is not in {:?}", stderr(&output));
    }
    let missing = tenantry(&["render", "-f", "nowhere.yaml"], "");
    assert!(stderr(&missing).contains("nowhere.yaml: No such file"), "{}", stderr(&missing));
    let without_server = tenantry(&["render", "-f", "examples/planner/manifests"], "");
    assert!(stderr(&without_server).contains("tenant acme: there is no DatabaseServer"), "{}", stderr(&without_server));
}

const RELEASE: &str = "
---
apiVersion: tenantry.dev/v1alpha1
kind: Release
metadata: {name: planner-2026.11.2}
spec: {blueprint: planner, version: 2026.11.2, waves: [{name: canary, percent: 5}, {name: rest}]}
";

fn images(output: &Output) -> Vec<String> {
    // A long one has a line of its own.
    stdout(output).split_whitespace().filter(|word| word.starts_with("localhost/planner")).map(str::to_owned).collect()
}

#[test]
fn render_draws_a_tenant_as_a_release_from_git_will_have_it() {
    let acme = |release: &str| images(&tenantry(&[SAMPLE.as_slice(), &["--tenant", "acme"]].concat(), &format!("{SERVER}{release}")));
    let all_are =
        |images: &[String], tag: &str| !images.is_empty() && images.iter().all(|image| image == &format!("localhost/planner{tag}"));
    assert!(all_are(&acme(""), ":2026.11.1"));
    assert!(all_are(&acme(RELEASE), ":2026.11.2"));
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let by_digest = RELEASE.replace("version: 2026.11.2,", &format!("version: 2026.11.2, image: {{digest: '{digest}'}},"));
    assert!(all_are(&acme(&by_digest), &format!("@{digest}")));
    for stopped in ["paused: true", "rolledBack: true", "channel: early"] {
        let release = RELEASE.replace("blueprint: planner,", &format!("blueprint: planner, {stopped},"));
        assert!(all_are(&acme(&release), ":2026.11.1"), "{stopped}");
    }
}

#[test]
fn render_takes_the_blueprint_as_it_stood_for_a_release_of_the_cluster() {
    let status = "status: {observedGeneration: 1, revision: 1, snapshot: planner-2026.11.2, finished: '2026-11-25T10:00:00Z', waves: \
                  [{name: canary, opened: '2026-11-25T10:00:00Z', reach: ffffffffffffffff}, \
                  {name: rest, opened: '2026-11-25T10:00:00Z', reach: ffffffffffffffff}]}\n";
    let release = RELEASE.replace("planner-2026.11.2}", "planner-2026.11.2, uid: u}") + status;
    let render = |input: &str| tenantry(&[SAMPLE.as_slice(), &["--tenant", "acme"]].concat(), &format!("{SERVER}{input}"));
    let without = render(&release);
    assert!(!without.status.success());
    let said = stderr(&without);
    assert!(said.contains("kubectl get controllerrevision planner-2026.11.2 -n tenantry-system"), "{said}");

    let snapshot = "---
apiVersion: apps/v1
kind: ControllerRevision
metadata:
  name: planner-2026.11.2
  ownerReferences: [{apiVersion: tenantry.dev/v1alpha1, kind: Release, name: planner-2026.11.2, uid: u}]
revision: 1
data:
  baseDomain: planner.localhost
  version: 2026.11.1
  image: {repository: localhost/planner}
  components: [{name: as-it-stood, command: [serve], port: 8000, expose: {path: /}}]
  settings: [{env: LANGUAGE_CODE, default: en, tenantMaySet: true}, {env: TIME_ZONE, default: UTC, tenantMaySet: true}]
";
    let text = stdout(&render(&format!("{release}{snapshot}")));
    assert!(text.contains("name: as-it-stood") && text.contains("image: localhost/planner:2026.11.2"), "{text}");
}

#[test]
fn crd_prints_what_is_in_the_repository_and_check_finds_what_differs() {
    let printed = stdout(&tenantry(&["crd"], ""));
    assert_eq!(printed.matches("\nkind: CustomResourceDefinition").count(), 5);
    stdout(&tenantry(&["crd", "--check"], ""));

    let folder = std::env::temp_dir().join(format!("tenantry-crds-{}", std::process::id()));
    let path = folder.to_str().expect("a path");
    let page = folder.join("page").join("reference.md");
    let files = ["crd", "--write", path, "--reference", page.to_str().expect("a path")];
    stdout(&tenantry(&files, ""));
    assert!(std::fs::read_to_string(&page).expect("the page").contains("## Tenant"));
    std::fs::remove_dir_all(folder.join("page")).expect("the page's folder");
    stdout(&tenantry(&["crd", "--write", path, "--check"], ""));
    std::fs::write(folder.join("plans.yaml"), "changed").expect("a file");
    std::fs::write(folder.join("brokers.yaml"), "of a kind that is gone").expect("a file");
    let failed = tenantry(&["crd", "--write", path, "--check"], "");
    std::fs::remove_dir_all(&folder).expect("the folder");
    assert!(stderr(&failed).contains("plans.yaml isn't what the types say"), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("brokers.yaml is of no kind that there is: remove it"), "{}", stderr(&failed));
}

#[test]
fn the_help_of_each_command_is_what_the_documentation_has() {
    insta::assert_snapshot!("help_all", stdout(&tenantry(&["--help"], "")));
    let page = include_str!("../../docs/commands.md");
    assert!(
        page == stdout(&tenantry(&["man", "--markdown"], "")),
        "docs/commands.md: run `cargo run -- man --markdown > docs/commands.md`"
    );
    assert_eq!(tenantry(&["rendr"], "").status.code(), Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("man-{}", std::process::id()));
    assert!(tenantry(&["man", "--write", folder.to_str().unwrap()], "").status.success());
    let page = std::fs::read_to_string(folder.join("tenantry-onboard.1")).unwrap();
    assert!(page.contains(".SH NAME") && page.contains("Make a tenant, and follow it until its page answers"), "{page}");
    let pages = std::fs::read_dir(&folder).unwrap().count();
    let commands = include_str!("../../docs/commands.md").lines().filter(|line| line.starts_with("## ")).count();
    assert!(pages > commands, "{pages} pages of {commands} commands, and one of the program");
    std::fs::remove_dir_all(folder).unwrap();
}
