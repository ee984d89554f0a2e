//! Templates: expressions of every form, sound and broken, over values of every size.

use super::fuzz;
use super::hostile::{json as any_json, text};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tenantry::instance::template::Variables;

/// What a template may come out as at most, with what it says as it is.
const LARGEST: usize = 2 * 1024 * 1024;

fn variables() -> Variables {
    let hosts: Vec<_> = (0..21).map(|number| format!("host-{number}.example.com")).collect();
    let settings: serde_json::Map<_, _> = (0..100).map(|number| (format!("SETTING_{number}"), json!("x".repeat(1000)))).collect();
    let values = json!({
        "tenant": {"name": "acme", "displayName": "${hosts} $${x} `'\"", "settings": settings, "labels": {}},
        "plan": {"name": "large"}, "hosts": hosts, "url": "https://acme.example.com", "namespace": "tenant-acme", "database": {"port": 5432},
    });
    match values {
        Value::Object(map) => Variables::new(map),
        _ => unreachable!(),
    }
}

/// Expressions that parse, most of them, and grow by themselves.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec![
            "hosts",
            "tenant",
            "tenant.settings",
            "tenant.name",
            "a",
            "b",
            "database.port",
            "1",
            "-1",
            "0.5",
            "'x'",
            "b'x'",
            "null",
            "true",
            "[]",
            "{}"
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,3}",
    ];
    leaf.prop_recursive(6, 60, 4, |inner| {
        let i = || inner.clone();
        prop_oneof![
            (i(), select(vec!["+", "-", "*", "/", "%", "==", "<", "&&", "||", "in"]), i()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (i(), select(vec!["map", "filter", "all", "exists", "exists_one"]), select(vec!["a", "b"]), i())
                .prop_map(|(range, of, name, step)| format!("{range}.{of}({name}, {step})")),
            (i(), i(), i()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (i(), i()).prop_map(|(a, b)| format!("[{a}, {b}, {a}]")),
            (i(), i()).prop_map(|(a, b)| format!("{{'k': {a}, 'l': {b}}}")),
            (i(), i()).prop_map(|(a, b)| format!("{a}[{b}]")),
            (select(vec!["size", "string", "int", "bytes", "double", "has", "max", "min", "optional.of"]), i())
                .prop_map(|(of, a)| format!("{of}({a})")),
            (i(), i()).prop_map(|(a, b)| format!("{a}.matches({b})")),
            i().prop_map(|a| format!("!{a}")),
            (i(), 1usize..60).prop_map(|(a, times)| vec![a; times].join(" + ")),
            (i(), 1usize..40).prop_map(|(a, times)| format!("[{a}]{}", ".map(a, a + a)".repeat(times))),
            (i(), 1usize..200).prop_map(|(a, times)| format!("{a}{}", ".x".repeat(times))),
        ]
    })
}

fn comes_out_bounded(template: &Value) -> Result<(), TestCaseError> {
    match variables().expand(template) {
        Ok(made) => prop_assert!(made.to_string().len() <= LARGEST + template.to_string().len(), "{} bytes", made.to_string().len()),
        Err(error) => prop_assert!(!error.cause.is_empty()),
    }
    Ok(())
}

#[test]
fn no_expression_panics_hangs_or_swells() {
    fuzz(&(expression(), text()), |(expression, text)| {
        comes_out_bounded(&json!(format!("${{{expression}}}")))?;
        comes_out_bounded(&json!(format!("{text}${{{expression}}}{text}")))
    });
}

#[test]
fn no_template_panics_hangs_or_swells() {
    // Chance may not come to these within its time. A panic would be an error, too, but one that tells nobody what is wrong.
    for broken in ["${", "$${${", "a ${tenant.name", "${'}", "${{'a': 1}", "${tenant.name}${", "}${"] {
        let error = variables().expand(&json!(broken)).expect_err(broken);
        assert_eq!(error.cause, "the closing } is missing", "{broken}");
    }
    fuzz(&any_json(), |template| comes_out_bounded(&template));
}

#[test]
fn what_is_deep_or_long_is_refused_before_it_is_parsed() {
    for expression in [
        "(".repeat(900),
        "[".repeat(900),
        "{'a':".repeat(180),
        "!".repeat(900),
        "-".repeat(900),
        "a?".repeat(450),
        format!("{}1", "1+".repeat(499)),
        format!("{}true", "true||".repeat(160)),
        format!("a{}", ".a".repeat(499)),
        format!("a{}", "[0]".repeat(300)),
        format!("a{}", ".map(a,a)".repeat(110)),
        "'".repeat(999),
        "a".repeat(2000),
    ] {
        comes_out_bounded(&json!(format!("${{{expression}}}"))).unwrap_or_else(|error| panic!("{expression}: {error}"));
    }
}
