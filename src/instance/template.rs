//! `${…}` templates: CEL expressions inside the strings of an object.
//!
//! A string that is one expression and nothing else takes the expression's type; in a longer one each expression becomes text. `$${` is
//! a literal `${`. The language is CEL because admins know it from Kubernetes' own rules.

use super::cost::Budget;
use cel::context::VariableResolver;
use cel::{Context, Program, Value as CelValue};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Longer expressions are refused: no template needs one, and the parser recurses.
const LONGEST_EXPRESSION: usize = 1000;
/// Deeper nesting is refused: the parser recurses, and its stack is ours.
const DEEPEST_NESTING: usize = 32;

/// The parser takes up to 64 KiB of stack for each level of nesting, and evaluation 8 KiB for each step of a chain such as `a.b.c`. It is only
/// reserved, and given back at once.
const STACK: usize = 64 * 1024 * 1024;

/// Why a template gives no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: ${{{expression}}}: {cause}")]
pub struct TemplateError {
    /// Where in the object, such as `spec.rules[0].host`.
    pub place: String,
    /// The expression, as it was written.
    pub expression: String,
    /// What is wrong with it.
    pub cause: String,
}

/// The values that expressions speak of, by name.
pub struct Variables {
    values: Map<String, Value>,
    cel: HashMap<String, CelValue>,
}

impl VariableResolver for Variables {
    fn resolve(&self, variable: &str) -> Option<CelValue> {
        self.cel.get(variable).cloned()
    }
}

impl Variables {
    /// From the fields of an object.
    pub fn new(values: Map<String, Value>) -> Self {
        let cel = values.iter().map(|(name, value)| (name.clone(), cel_value(value))).collect();
        Self { values, cel }
    }

    /// The object with every expression in it replaced, keys left as they are. What an expression gives is no template again.
    ///
    /// # Errors
    /// The first expression that can't be parsed, or has no value, or a value that JSON hasn't, or that could take too long or become too large.
    pub fn expand(&self, template: &Value) -> Result<Value, TemplateError> {
        if !has_expression(template) {
            return self.expand_at(template, &mut Vec::new(), &mut Budget::default());
        }
        let failed = |cause: &str| TemplateError { place: String::new(), expression: String::new(), cause: cause.to_owned() };
        // A stack that runs out can't be caught: it ends the whole program.
        std::thread::scope(|scope| {
            let expanding = || self.expand_at(template, &mut Vec::new(), &mut Budget::default());
            let thread = std::thread::Builder::new().name("template".to_owned()).stack_size(STACK).spawn_scoped(scope, expanding);
            match thread.map(|thread| thread.join()) {
                Ok(Ok(expanded)) => expanded,
                Ok(Err(_)) => Err(failed("it can't be evaluated")),
                Err(error) => Err(failed(&format!("there is no thread for it: {error}"))),
            }
        })
    }

    fn expand_at(&self, template: &Value, path: &mut Vec<String>, budget: &mut Budget) -> Result<Value, TemplateError> {
        Ok(match template {
            Value::String(text) => self.expand_text(text, path, budget)?,
            Value::Array(items) => {
                let mut expanded = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    path.push(format!("[{index}]"));
                    expanded.push(self.expand_at(item, path, budget)?);
                    path.pop();
                }
                Value::Array(expanded)
            }
            Value::Object(fields) => {
                let mut expanded = Map::new();
                for (key, value) in fields {
                    path.push(if path.is_empty() { key.clone() } else { format!(".{key}") });
                    expanded.insert(key.clone(), self.expand_at(value, path, budget)?);
                    path.pop();
                }
                Value::Object(expanded)
            }
            other => other.clone(),
        })
    }

    fn expand_text(&self, text: &str, path: &[String], budget: &mut Budget) -> Result<Value, TemplateError> {
        let failed = |expression: &str, cause: String| TemplateError { place: path.concat(), expression: expression.to_owned(), cause };
        let parts = split(text).map_err(|rest| failed(rest, "the closing } is missing".into()))?;
        if let [Part::Expression(expression)] = parts.as_slice() {
            return self.evaluate(expression, budget).map_err(|cause| failed(expression, cause));
        }
        let mut expanded = String::new();
        for part in parts {
            match part {
                Part::Text(text) => {
                    budget.take_text(&text).map_err(|cause| failed("", cause))?;
                    expanded.push_str(&text);
                }
                Part::Expression(expression) => match self.evaluate(expression, budget).map_err(|cause| failed(expression, cause))? {
                    Value::String(text) => expanded.push_str(&text),
                    Value::Null => return Err(failed(expression, "it is null, which can't be part of a text".into())),
                    Value::Array(_) | Value::Object(_) => return Err(failed(expression, "a list or map can't be part of a text".into())),
                    other => expanded.push_str(&other.to_string()),
                },
            }
        }
        Ok(Value::String(expanded))
    }

    fn evaluate(&self, expression: &str, budget: &mut Budget) -> Result<Value, String> {
        if expression.len() > LONGEST_EXPRESSION {
            return Err(format!("it is longer than {LONGEST_EXPRESSION} bytes"));
        }
        if nesting(expression) > DEEPEST_NESTING {
            return Err(format!("it is nested deeper than {DEEPEST_NESTING}"));
        }
        // The parser is a third party's and is fed by people: a panic in it is that expression's error, not the operator's end.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run(expression, budget)))
            .unwrap_or_else(|_| Err("it can't be evaluated".to_owned()))
    }

    fn run(&self, expression: &str, budget: &mut Budget) -> Result<Value, String> {
        let program = Program::compile(expression).map_err(|error| one_line(&error.to_string()))?;
        budget.take(program.expression(), &self.values)?;
        let mut context = Context::default();
        context.set_variable_resolver(self);
        let value: CelValue = program.execute(&context).map_err(|error| one_line(&error.to_string()))?;
        value.json().map_err(|_| "its value is of a type that JSON hasn't".to_owned())
    }
}

fn has_expression(template: &Value) -> bool {
    match template {
        Value::String(text) => text.contains("${"),
        Value::Array(items) => items.iter().any(has_expression),
        Value::Object(fields) => fields.values().any(has_expression),
        _ => false,
    }
}

/// Whole numbers become signed, as Kubernetes reads them: `plan.pods + 1` would otherwise mix two types, which CEL refuses.
fn cel_value(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => number.as_i64().map_or_else(|| number.as_f64().unwrap_or_default().into(), CelValue::from),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(cel_value).collect::<Vec<_>>().into(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), cel_value(value))).collect::<HashMap<_, _>>().into(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn nesting(expression: &str) -> usize {
    let mut depth = 0usize;
    let mut deepest = 0;
    for c in expression.chars() {
        match c {
            '(' | '[' | '{' | '?' | '!' | '-' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[derive(Debug, PartialEq)]
enum Part<'a> {
    Text(String),
    Expression(&'a str),
}

/// The text in parts, or, where an expression has no end, what follows its `${`.
fn split(text: &str) -> Result<Vec<Part<'_>>, &str> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            literal.push_str(&rest[..start - 1]);
            literal.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        literal.push_str(&rest[..start]);
        let body = &rest[start + 2..];
        let end = end_of_expression(body).ok_or(body)?;
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        parts.push(Part::Expression(&body[..end]));
        rest = &body[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// Where the `}` is that closes the expression: not one inside a string or a map.
fn end_of_expression(body: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote = None;
    let mut escaped = false;
    for (index, c) in body.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(index),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn variables() -> Variables {
        let Value::Object(map) = json!({"tenant": {"name": "acme"}, "hosts": ["a.example.com", "b.example.com"], "plan": {"pods": 3}})
        else {
            unreachable!()
        };
        Variables::new(map)
    }

    #[test]
    fn a_lone_expression_keeps_its_type_and_a_mixed_one_is_text() {
        let template = json!({"name": "${tenant.name}-x", "hosts": "${hosts}", "pods": "${plan.pods + 1}", "map": "${ {'a': '}'}.a }", "literal": "$${x}", "number": 3});
        assert_eq!(
            variables().expand(&template).unwrap(),
            json!({"name": "acme-x", "hosts": ["a.example.com", "b.example.com"], "pods": 4, "map": "}", "literal": "${x}", "number": 3})
        );
    }

    #[test]
    fn what_an_expression_gives_is_no_template_again() {
        let Value::Object(map) = json!({"tenant": {"displayName": "${tenant.secret} $${x}", "secret": "s"}}) else { unreachable!() };
        let variables = Variables::new(map);
        assert_eq!(variables.expand(&json!("${tenant.displayName}")).unwrap(), "${tenant.secret} $${x}");
        assert_eq!(variables.expand(&json!("a ${tenant.displayName}")).unwrap(), "a ${tenant.secret} $${x}");
    }

    #[test]
    fn many_small_expressions_are_as_dear_as_one_large() {
        let many: Vec<_> = (0..1_000_000).map(|_| json!("${hosts}")).collect();
        let error = variables().expand(&json!(many)).unwrap_err();
        assert!(error.cause.contains("too large") || error.cause.contains("too long"), "{error}");
    }

    #[test]
    fn an_expression_that_fails_names_itself_and_its_place() {
        let error = variables().expand(&json!({"spec": {"rules": [{"host": "x${tenant.nam}"}]}})).unwrap_err();
        assert_eq!(error.place, "spec.rules[0].host");
        assert_eq!(error.expression, "tenant.nam");
        assert!(variables().expand(&json!("${tenant.name")).unwrap_err().cause.contains("closing"));
        assert!(variables().expand(&json!("a${hosts}")).unwrap_err().cause.contains("list"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}", expression in "[-a-z0-9.(){}\\[\\]'\"?:!+*/<>=&|, $]{0,60}") {
            let _ = variables().expand(&json!(text));
            let _ = variables().expand(&json!(format!("${{{expression}}}")));
        }
    }
}
