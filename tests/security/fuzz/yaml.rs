//! The text that `tenantry render` is given, by the real program: huge, deep, full of anchors, broken. It ends by itself, in time, with a sentence.

use super::fuzz;
use super::hostile::text;
use proptest::prelude::*;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than any of these takes.
const LONGEST: Duration = Duration::from_secs(30);
/// What it may say at most.
const MOST: u64 = 8 * 1024 * 1024;

/// The sound manifests of the sample.
fn sound() -> String {
    let read = |file: &str| {
        std::fs::read_to_string(format!("{}/examples/planner/manifests/{file}", env!("CARGO_MANIFEST_DIR"))).expect("the sample")
    };
    let server = "apiVersion: tenantry.dev/v1alpha1\nkind: DatabaseServer\nmetadata: {name: main}\nspec: {host: postgres, adminSecret: {name: postgres}}\n";
    [read("blueprint.yaml"), read("plans.yaml"), read("tenants.yaml"), server.to_owned()].join("\n---\n")
}

/// Renders the text; the exit code, and how much it said.
fn render(text: &str) -> Result<(i32, String), String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenantry"))
        .args(["render", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (mut input, output, errors) =
        (child.stdin.take().expect("input"), child.stdout.take().expect("output"), child.stderr.take().expect("errors"));
    let text = text.to_owned();
    // It may end before it has read all.
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let reader = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = (&mut from).take(MOST + 1).read_to_end(&mut said);
            // The rest, so that it is never held up.
            let _ = std::io::copy(&mut from, &mut std::io::sink());
            said
        })
    };
    let (output, errors) = (reader(Box::new(output)), reader(Box::new(errors)));
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().expect("its status") {
            Some(status) => break status,
            None if begun.elapsed() > LONGEST => {
                let _ = child.kill();
                return Err(format!("it didn't end within {LONGEST:?}"));
            }
            None => std::thread::yield_now(),
        }
    };
    let (output, errors) = (output.join().expect("output"), errors.join().expect("errors"));
    let _ = writer.join();
    if output.len() as u64 > MOST || errors.len() as u64 > MOST {
        return Err(format!("it said {} and {} bytes", output.len(), errors.len()));
    }
    let said = String::from_utf8_lossy(&errors).into_owned();
    // A signal, such as that of an overflown stack, leaves no code; a panic leaves 101.
    match status.code() {
        Some(code @ (0 | 1)) => Ok((code, said)),
        other => Err(format!("it ended with {other:?}: {}", said.chars().take(2000).collect::<String>())),
    }
}

#[test]
fn a_text_that_is_huge_deep_or_refers_to_itself_ends_with_a_sentence() {
    assert_eq!(render(&sound()), Ok((0, String::new())), "the sound manifests");
    let laughs: String =
        (1..12).map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "))).collect();
    let tenant = "apiVersion: tenantry.dev/v1alpha1\nkind: Tenant\nmetadata: {name: acme}\nspec:\n";
    for (what, text) in [
        ("a billion laughs", format!("a0: &a0 ha\n{laughs}{tenant}  displayName: *a11\n")),
        ("a thousand aliases", format!("{tenant}  displayName: &a A\n  domains: [{}]\n", vec!["*a"; 1000].join(", "))),
        ("an anchor within itself", format!("{tenant}  settings: &a {{A: *a}}\n")),
        ("brackets", "[".repeat(100_000)),
        ("closed brackets", format!("{tenant}  domains: {}{}\n", "[".repeat(5000), "]".repeat(5000))),
        ("braces", format!("{tenant}  settings: {}", "{a: ".repeat(20_000))),
        ("indentation", (0..5000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
        ("a long text", format!("{tenant}  displayName: {}\n", "a".repeat(5_000_000))),
        ("a long key", format!("{tenant}  {}: x\n", "a".repeat(1_000_000))),
        ("many keys", format!("{tenant}  settings: {{{}}}\n", (0..100_000).map(|n| format!("k{n}: v")).collect::<Vec<_>>().join(", "))),
        ("many documents", "---\na: b\n".repeat(50_000)),
        (
            "ten thousand domains",
            format!("{tenant}  domains: [{}]\n", (0..10_000).map(|n| format!("d{n}.example.com")).collect::<Vec<_>>().join(", ")),
        ),
        ("tags", format!("{tenant}  displayName: !!python/object/apply:os.system ['id']\n")),
        ("a directive", "%YAML 9.9\n%TAG ! tag:evil,2000:\n---\na: !x b\n".to_owned()),
        ("a list of lists of kinds", "kind: List\nitems:\n".to_owned() + &"- kind: List\n  items: []\n".repeat(10_000)),
        ("lists within lists", (0..400).map(|depth| format!("{0}kind: List\n{0}items:\n{0}-\n", "  ".repeat(depth))).collect()),
        ("no text", "\u{0}\u{1}\u{2}".to_owned()),
        ("a byte order mark", format!("\u{feff}{tenant}")),
    ] {
        match render(&text) {
            Ok((1, said)) => assert!(!said.trim().is_empty(), "{what}: no sentence"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn no_text_makes_the_program_panic_hang_or_flood() {
    let sound = sound();
    let places: Vec<_> = sound.char_indices().map(|(place, _)| place).collect();
    let mutation = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4, text());
    let mutated = prop::collection::vec(mutation, 1..4).prop_map(move |mutations| {
        let mut changed = sound.clone();
        for (one, two, how, text) in mutations {
            let place = |index: &prop::sample::Index, text: &str| {
                let place = places[index.index(places.len())].min(text.len());
                (0..=place).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
            };
            let (one, two) = (place(&one, &changed), place(&two, &changed));
            let (from, to) = (one.min(two), one.max(two).min(one.min(two) + 200));
            let to = (from..=to).rev().find(|place| changed.is_char_boundary(*place)).unwrap_or(from);
            match how {
                0 => changed.insert_str(from, &text),
                1 => changed.replace_range(from..to, ""),
                2 => changed.replace_range(from..to, &text),
                _ => {
                    let again = changed[from..to].to_owned();
                    changed.insert_str(from, &again);
                }
            }
        }
        changed
    });
    fuzz(&mutated, |text| render(&text).map(|_| ()).map_err(TestCaseError::fail));
}
