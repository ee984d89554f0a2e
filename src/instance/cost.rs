//! How much an expression may cost at most, told before it is evaluated: an evaluation can't be stopped, and a thousand characters are enough
//! for one that would neither end nor fit into memory. Kubernetes bounds the CEL of its own objects the same way.
//!
//! Sizes are of a value's JSON, and each step costs as much as what it copies. Both are bounds from above: what is counted too high is refused
//! early, what is counted too low doesn't exist.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What one template may cost: about a second's work.
const MOST: u64 = 50_000_000;
/// How large what comes out of one template may be.
const LARGEST: u64 = 1024 * 1024;
/// A step costs this even if it copies nothing, and no value counts as smaller.
const STEP: u64 = 16;
/// To make an expression ready costs this, whatever it does.
const EXPRESSION: u64 = 4_000;
/// A regular expression is compiled each time.
const REGULAR_EXPRESSION: u64 = 100_000;

/// What is left to a template. One is shared by all its expressions.
pub struct Budget {
    cost: u64,
    size: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { cost: MOST, size: LARGEST }
    }
}

impl Budget {
    /// Takes what the expression costs at most.
    ///
    /// # Errors
    /// Where there isn't that much left.
    pub fn take(&mut self, expression: &IdedExpr, variables: &Map<String, Value>) -> Result<(), String> {
        let mut meter = Meter { cost: EXPRESSION };
        let mut scope = Scope { variables, own: BTreeMap::new() };
        let result = meter.measure(expression, &mut scope);
        let too_much = |what: &str| format!("{what}: use fewer or shorter lists inside of one another");
        self.size = self.size.checked_sub(result.size()).ok_or_else(|| too_much("what comes out of it could be too large"))?;
        self.cost = self.cost.checked_sub(meter.cost).ok_or_else(|| too_much("it could take too long"))?;
        Ok(())
    }

    /// Takes text that is copied as it is.
    ///
    /// # Errors
    /// Where there isn't that much left.
    pub fn take_text(&mut self, text: &str) -> Result<(), String> {
        let left = self.size.checked_sub(text.len() as u64);
        self.size = left.ok_or_else(|| format!("the template comes out larger than {} KiB", LARGEST / 1024))?;
        Ok(())
    }
}

/// What is known of a value before it is there.
#[derive(Clone)]
enum Bound<'a> {
    /// All.
    Known(&'a Value),
    /// How large it is at most, and how many elements it has at most.
    AtMost { size: u64, items: u64 },
}

impl Bound<'_> {
    fn nothing() -> Bound<'static> {
        Bound::AtMost { size: STEP, items: 0 }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Known(value) => size_of(value),
            Self::AtMost { size, .. } => *size,
        }
    }

    fn items(&self) -> u64 {
        match self {
            Self::Known(Value::Array(items)) => items.len() as u64,
            Self::Known(Value::Object(fields)) => fields.len() as u64,
            Self::Known(_) => 0,
            Self::AtMost { items, .. } => *items,
        }
    }

    /// The greater of both in each respect.
    fn or(&self, other: &Bound<'_>) -> Bound<'static> {
        Bound::AtMost { size: self.size().max(other.size()), items: self.items().max(other.items()) }
    }

    fn greatest<'v>(values: impl Iterator<Item = &'v Value>) -> Bound<'static> {
        values.fold(Self::nothing(), |greatest, value| greatest.or(&Bound::Known(value)))
    }

    /// One of its elements, whichever it is. One of a value that isn't known may be nearly all of it.
    fn element(&self) -> Bound<'static> {
        match self {
            Self::Known(Value::Array(items)) => Self::greatest(items.iter()),
            // What iterates over a map gets its keys, what selects in it its values.
            Self::Known(Value::Object(fields)) => {
                let longest = fields.keys().map(|key| key.len() as u64 + STEP).max().unwrap_or(STEP);
                Self::greatest(fields.values()).or(&Bound::AtMost { size: longest, items: 0 })
            }
            Self::Known(_) => Self::nothing(),
            Self::AtMost { size, .. } => Bound::AtMost { size: *size, items: size / STEP },
        }
    }
}

/// Never less than the value's JSON has bytes.
fn size_of(value: &Value) -> u64 {
    STEP + match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(size_of).sum(),
        Value::Object(fields) => fields.iter().map(|(key, value)| key.len() as u64 + STEP + size_of(value)).sum(),
        Value::Number(_) => 32,
        Value::Null | Value::Bool(_) => 0,
    }
}

/// What names stand for: those that every template has, and those of the comprehensions around.
struct Scope<'a> {
    variables: &'a Map<String, Value>,
    own: BTreeMap<String, Bound<'a>>,
}

struct Meter {
    cost: u64,
}

impl Meter {
    fn spend(&mut self, cost: u64) {
        self.cost = self.cost.saturating_add(cost.saturating_add(STEP));
    }

    fn measure<'a>(&mut self, expression: &IdedExpr, scope: &mut Scope<'a>) -> Bound<'a> {
        let bound = match &expression.expr {
            Expr::Unspecified => Bound::nothing(),
            Expr::Literal(literal) => Bound::AtMost { size: literal_size(literal), items: 0 },
            Expr::Ident(name) => match (scope.own.get(name), scope.variables.get(name)) {
                (Some(own), _) => own.clone(),
                (None, Some(value)) => Bound::Known(value),
                // It has no value, which evaluating it will say.
                (None, None) => Bound::nothing(),
            },
            Expr::Select(select) => match self.measure(&select.operand, scope) {
                Bound::Known(value) => match value.get(&select.field) {
                    Some(field) => Bound::Known(field),
                    None => Bound::nothing(),
                },
                other => other.element(),
            },
            Expr::Call(call) => {
                let parts: Vec<_> = call.target.iter().map(|target| &**target).chain(&call.args).collect();
                let bounds: Vec<_> = parts.into_iter().map(|part| self.measure(part, scope)).collect();
                self.call(&call.func_name, &bounds)
            }
            Expr::List(list) => {
                let bounds: Vec<_> = list.elements.iter().map(|element| self.measure(element, scope)).collect();
                Bound::AtMost { size: sum(&bounds), items: bounds.len() as u64 }
            }
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr), scope),
            Expr::Struct(structure) => self.entries(structure.entries.iter().map(|entry| &entry.expr), scope),
            Expr::Comprehension(comprehension) => {
                let range = self.measure(&comprehension.iter_range, scope);
                let start = self.measure(&comprehension.accu_init, scope);
                let mut inner = Scope { variables: scope.variables, own: scope.own.clone() };
                for name in [Some(&comprehension.iter_var), comprehension.iter_var2.as_ref()].into_iter().flatten() {
                    inner.own.insert(name.clone(), range.element());
                }
                inner.own.insert(comprehension.accu_var.clone(), start.clone());
                // A turn adds the same to whatever was gathered before, because no expression can name what was gathered.
                let mut turn = Meter { cost: 0 };
                turn.measure(&comprehension.loop_cond, &mut inner);
                let step = turn.measure(&comprehension.loop_step, &mut inner);
                let turns = range.items();
                let grows = |step: u64, start: u64| start.saturating_add(turns.saturating_mul(step.saturating_sub(start)));
                let gathered = Bound::AtMost { size: grows(step.size(), start.size()), items: grows(step.items(), start.items()) };
                // What was gathered is copied in each turn.
                self.spend(turns.saturating_mul(turn.cost.saturating_add(gathered.size())));
                inner.own.insert(comprehension.accu_var.clone(), gathered);
                self.measure(&comprehension.result, &mut inner)
            }
        };
        self.spend(bound.size());
        bound
    }

    fn entries<'a, 'e>(&mut self, entries: impl Iterator<Item = &'e EntryExpr>, scope: &mut Scope<'a>) -> Bound<'a> {
        let mut bounds = Vec::new();
        let mut items = 0;
        for entry in entries {
            items += 1;
            match entry {
                EntryExpr::MapEntry(entry) => {
                    bounds.push(self.measure(&entry.key, scope));
                    bounds.push(self.measure(&entry.value, scope));
                }
                EntryExpr::StructField(field) => bounds.push(self.measure(&field.value, scope)),
            }
        }
        Bound::AtMost { size: sum(&bounds), items }
    }

    /// What a function or an operator makes of these.
    fn call<'a>(&mut self, name: &str, bounds: &[Bound<'a>]) -> Bound<'a> {
        let all = sum(bounds);
        match (name, bounds) {
            // What is true or false, or a number.
            (
                operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS
                | operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT
                | operators::NOT_STRICTLY_FALSE
                | operators::IN
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE
                | "size"
                | "contains"
                | "startsWith"
                | "endsWith",
                _,
            ) => {
                self.spend(all);
                Bound::AtMost { size: 48, items: 0 }
            }
            (operators::CONDITIONAL, [_, yes, no]) => yes.or(no),
            (operators::INDEX, [container, _]) => container.element(),
            ("matches", _) => {
                self.spend(all.saturating_add(REGULAR_EXPRESSION));
                Bound::nothing()
            }
            (operators::ADD, _) => {
                self.spend(all);
                Bound::AtMost { size: all, items: bounds.iter().fold(0u64, |items, bound| items.saturating_add(bound.items())) }
            }
            // Text of bytes, and bytes as text, can be longer than they; and an optional value hides how many elements it has.
            _ => {
                self.spend(all);
                Bound::AtMost { size: all.saturating_mul(4), items: all / STEP }
            }
        }
    }
}

fn sum(bounds: &[Bound<'_>]) -> u64 {
    bounds.iter().fold(STEP, |sum, bound| sum.saturating_add(bound.size()))
}

fn literal_size(literal: &LiteralValue) -> u64 {
    match literal {
        LiteralValue::String(text) => STEP + text.inner().len() as u64,
        LiteralValue::Bytes(bytes) => STEP + bytes.inner().len() as u64,
        _ => 48,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cel::Program;
    use serde_json::json;

    fn take(expression: &str) -> Result<(), String> {
        let hosts: Vec<_> = (0..21).map(|number| format!("host-{number}.{}.example.com", "x".repeat(60))).collect();
        let Value::Object(variables) = json!({"hosts": hosts, "tenant": {"settings": {"A": "b".repeat(1000)}}, "namespace": "tenant-acme"})
        else {
            unreachable!()
        };
        let program = Program::compile(expression).unwrap();
        Budget::default().take(program.expression(), &variables)
    }

    #[test]
    fn what_templates_need_is_within_the_budget() {
        for expression in [
            "namespace",
            "hosts[0] + '.' + tenant.settings.A",
            "hosts.map(h, {'host': h, 'paths': [{'path': '/', 'backend': {'name': 'web', 'port': 80}}]})",
            "hosts.filter(h, h.endsWith('.example.com')).map(h, 'https://' + h)",
            "hosts.map(a, hosts.map(b, a + b))",
            "hosts.exists(h, h.matches('^[a-z]+[.]')) ? 'yes' : 'no'",
        ] {
            assert_eq!(take(expression), Ok(()), "{expression}");
        }
    }

    #[test]
    fn what_would_not_end_or_not_fit_is_refused() {
        let doubling = format!("[tenant.settings.A]{}", ".map(a, a + a)".repeat(30));
        let nested = format!("hosts{}", ".map(a, [a, a, a, a])".repeat(20));
        for expression in [
            "hosts.map(a, hosts.map(b, hosts.map(c, hosts.map(d, a + b + c + d))))",
            "hosts.all(a, hosts.all(b, hosts.all(c, hosts.all(d, hosts.all(e, a != b || c != d || e == a)))))",
            &doubling,
            &nested,
        ] {
            assert!(take(expression).is_err(), "{expression}");
        }
    }

    /// The bound is one from above, for whatever the evaluation makes.
    #[test]
    fn no_value_is_larger_than_its_bound() {
        let Value::Object(variables) = json!({"list": ["a", "bb", "ccc"], "map": {"k": "v", "l": [1, 2, 3]}, "text": "some text", "n": 3})
        else {
            unreachable!()
        };
        let names = variables.clone();
        for expression in [
            "list",
            "map.l",
            "map['l'][0]",
            "list + list",
            "list.map(a, list)",
            "list.map(a, list.map(b, a + b + text))",
            "list.filter(a, a != 'bb')",
            "map.map(k, k + k)",
            "{'a': list, 'b': [text, text]}",
            "n > 2 ? list + [text] : []",
            "string(n) + text",
            "bytes(text)",
            "[[1, 2, 3, 4, 5, 6, 7]][0].map(x, x + 1)",
        ] {
            let program = Program::compile(expression).unwrap();
            let mut context = cel::Context::default();
            for (name, value) in &names {
                context.add_variable(name.as_str(), value.clone()).unwrap();
            }
            let made = program.execute(&context).unwrap_or_else(|error| panic!("{expression}: {error}")).json().unwrap();
            let bound = Meter { cost: 0 }.measure(program.expression(), &mut Scope { variables: &variables, own: BTreeMap::new() });
            assert!(made.to_string().len() as u64 <= bound.size(), "{expression}: {made} is larger than {}", bound.size());
            let items = made.as_array().map_or(0, Vec::len).max(made.as_object().map_or(0, Map::len)) as u64;
            assert!(items <= bound.items(), "{expression}: {made} has more elements than {}", bound.items());
        }
    }
}
