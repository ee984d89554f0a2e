//! What is told of a dry run: for people as a diff of objects and as statements, for programs as JSON, and in a sentence.

use super::Options;
use crate::command::apply::Applied;
use crate::command::terminal::Style;
use serde_json::{Map, Value, json};
use similar::TextDiff;
use tenantry::api::labels;
use tenantry::controller::dry_run::{Foreseen, Written};
use tenantry::database;
use tenantry::inspect::redact::MASK;
use tenantry::instance::render::Kind;

/// What the cluster keeps of an object for itself.
const OF_THE_CLUSTER: [&str; 6] = ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];

/// All that is told.
pub struct Told<'a> {
    pub applied: &'a [Applied],
    pub tenants: &'a [(String, Foreseen)],
}

impl Told<'_> {
    fn changed(&self) -> impl Iterator<Item = &Applied> {
        self.applied.iter().filter(|applied| applied.changes_what_is_asked())
    }

    /// Whether anything would be done.
    pub fn differs(&self) -> bool {
        self.changed().next().is_some() || self.tenants.iter().any(|(_, foreseen)| is_something(foreseen))
    }

    /// Whether the operator would stop before the end.
    pub fn stops(&self) -> bool {
        self.tenants.iter().any(|(_, foreseen)| foreseen.stop.is_some())
    }

    /// For people.
    pub fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for applied in self.changed() {
            let name = format!("{} {}", applied.kind, applied.name);
            text += &unified(&name, applied.before.clone(), Some(applied.after.clone()), style);
        }
        for (tenant, foreseen) in self.tenants.iter().filter(|(_, foreseen)| is_something(foreseen) || foreseen.stop.is_some()) {
            text += &format!("{}\n", style.bold(&format!("Tenant {tenant}")));
            for written in in_order(&foreseen.objects) {
                text += &unified(&name_of(written), written.before.clone(), written.after.clone(), style);
            }
            for change in &foreseen.database {
                text += &format!("{}\n{}\n", style.dim(&format!("-- {}", change.doing)), style.added(&format!("{};", change.shown())));
            }
            if let Some(stop) = &foreseen.stop {
                text += &format!("{}\n", style.removed(&format!("it would stop there: {stop}")));
            }
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let object = |written: &Written| {
            let (before, after) = masked(written.before.clone(), written.after.clone());
            let whole = after.as_ref().or(before.as_ref()).cloned().unwrap_or_default();
            json!({
                "verb": verb(written), "apiVersion": whole["apiVersion"], "kind": whole["kind"],
                "namespace": whole["metadata"]["namespace"], "name": whole["metadata"]["name"], "before": before, "after": after,
            })
        };
        let statement = |change: &database::Change| json!({"doing": change.doing, "statement": change.shown()});
        let tenant = |(name, foreseen): &(String, Foreseen)| {
            json!({
                "tenant": name, "objects": in_order(&foreseen.objects).into_iter().map(object).collect::<Vec<_>>(),
                "statements": foreseen.database.iter().map(statement).collect::<Vec<_>>(), "stop": foreseen.stop,
            })
        };
        let applied = |applied: &Applied| {
            let (before, after) = (applied.before.clone().map(plain), plain(applied.after.clone()));
            json!({"kind": applied.kind, "name": applied.name, "before": before, "after": after})
        };
        json!({
            "applied": self.changed().map(applied).collect::<Vec<_>>(), "tenants": self.tenants.iter().map(tenant).collect::<Vec<_>>(),
        })
    }

    /// What it comes to, and what to do next.
    pub fn sentence(&self, options: &Options) -> String {
        let objects: usize = self.tenants.iter().map(|(_, foreseen)| foreseen.objects.len()).sum();
        let statements: usize = self.tenants.iter().map(|(_, foreseen)| foreseen.database.len()).sum();
        let tenants = self.tenants.iter().filter(|(_, foreseen)| is_something(foreseen)).count();
        let database =
            if options.skip_database { "the database wasn't asked".to_owned() } else { format!("{statements} changes in Postgres") };
        let files: Vec<_> = options.files.iter().map(|file| format!(" -f {}", file.display())).collect();
        let next = match (self.tenants.iter().find(|(_, foreseen)| foreseen.stop.is_some()), files.is_empty()) {
            (Some((tenant, _)), _) => format!("the operator would stop at {tenant}"),
            (None, true) => "kubectl tenantry reconcile NAME has a tenant looked at now".to_owned(),
            (None, false) => format!("to do it: kubectl apply{}", files.concat()),
        };
        if !self.differs() && !self.stops() {
            return format!("nothing would be done; {} tenants were looked at", self.tenants.len());
        }
        format!("{objects} objects written for {tenants} of {} tenants, {database}; {next}", self.tenants.len())
    }
}

fn is_something(foreseen: &Foreseen) -> bool {
    !foreseen.objects.is_empty() || !foreseen.database.is_empty()
}

/// As the operator writes them: what holds others first.
fn in_order(objects: &[Written]) -> Vec<&Written> {
    let rank = |written: &&Written| {
        let whole = written.after.as_ref().or(written.before.as_ref());
        let kind = whole.and_then(|whole| whole["kind"].as_str()).unwrap_or_default().to_owned();
        (Kind::WATCHED.iter().position(|known| known.kind == kind).unwrap_or(usize::MAX), name_of(written))
    };
    let mut objects: Vec<_> = objects.iter().collect();
    objects.sort_by_cached_key(rank);
    objects
}

fn name_of(written: &Written) -> String {
    let whole = written.after.as_ref().or(written.before.as_ref()).cloned().unwrap_or_default();
    let text = |path: &str| whole.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    match text("/metadata/namespace") {
        namespace if namespace.is_empty() => format!("{} {}", text("/kind"), text("/metadata/name")),
        namespace => format!("{} {namespace}/{}", text("/kind"), text("/metadata/name")),
    }
}

fn verb(written: &Written) -> &'static str {
    match (&written.before, &written.after) {
        (None, _) => "create",
        (Some(_), Some(_)) => "patch",
        (Some(_), None) => "delete",
    }
}

/// The lines that differ, with a few around them.
fn unified(name: &str, before: Option<Value>, after: Option<Value>, style: Style) -> String {
    let (before, after) = masked(before, after);
    let yaml = |object: &Option<Value>| object.as_ref().and_then(|object| serde_saphyr::to_string(object).ok()).unwrap_or_default();
    let side = |object: &Option<Value>| if object.is_some() { name.to_owned() } else { "/dev/null".to_owned() };
    let (old, new) = (yaml(&before), yaml(&after));
    let diff = TextDiff::from_lines(&old, &new);
    let text = diff.unified_diff().context_radius(3).header(&side(&before), &side(&after)).to_string();
    if text.is_empty() {
        return format!("{}\n", style.dim(&format!("{name}: written, and nothing of it would be another")));
    }
    let paint = |line: &str| match line.as_bytes().first() {
        Some(b'+') => style.added(line),
        Some(b'-') => style.removed(line),
        Some(b'@') => style.dim(line),
        _ => line.to_owned(),
    };
    text.lines().map(|line| format!("{}\n", paint(line))).collect()
}

/// Both without what is the cluster's alone, and without a secret; whether one would be another is told.
fn masked(before: Option<Value>, after: Option<Value>) -> (Option<Value>, Option<Value>) {
    let values = |object: &Option<Value>| object.as_ref().and_then(|object| object["data"].as_object().cloned()).unwrap_or_default();
    let old = values(&before);
    let shown = |object: Option<Value>, mask: &dyn Fn(&String, &Value) -> Value| {
        let mut object = object?;
        if object["kind"] == "Secret" {
            let data: Map<_, _> = values(&Some(object.clone())).iter().map(|(key, value)| (key.clone(), mask(key, value))).collect();
            object["data"] = Value::Object(data);
        }
        Some(plain(object))
    };
    let is_other = |key: &String, value: &Value| old.get(key).is_some_and(|old| old != value);
    let before = shown(before, &|_, _| MASK.into());
    let after = shown(after, &|key, value| if is_other(key, value) { format!("{MASK}, another than before").into() } else { MASK.into() });
    (before, after)
}

fn plain(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|name, _| !OF_THE_CLUSTER.contains(&name.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(labels::LAST_APPLIED);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str, version: u32) -> Value {
        let metadata = json!({"name": "web", "namespace": "tenant-acme", "resourceVersion": version.to_string(), "uid": "1"});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"A": "1", "TEXT": text}})
    }

    fn secret(password: &str) -> Value {
        let metadata = json!({"name": "database", "namespace": "tenant-acme"});
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": password, "username": "YQ=="}})
    }

    #[test]
    fn objects_are_told_as_a_diff_and_secrets_as_being_others() {
        let objects = vec![
            Written { before: Some(config("before", 1)), after: Some(config("after", 1)) },
            Written { before: Some(secret("b2xk")), after: Some(secret("bmV3")) },
            Written { before: Some(config("same", 1)), after: Some(config("same", 2)) },
            Written { before: Some(json!({"kind": "Service", "metadata": {"name": "old", "namespace": "tenant-acme"}})), after: None },
        ];
        let tenants = [
            ("acme".to_owned(), Foreseen { objects, database: Vec::new(), stop: None }),
            ("globex".to_owned(), Foreseen { objects: Vec::new(), database: Vec::new(), stop: Some("Plan gold doesn't exist".to_owned()) }),
            ("initech".to_owned(), Foreseen { objects: Vec::new(), database: Vec::new(), stop: None }),
        ];
        let tenant = |plan: &str| json!({"kind": "Tenant", "metadata": {"name": "acme"}, "spec": {"plan": plan}});
        let applied =
            [Applied { kind: "Tenant".to_owned(), name: "acme".to_owned(), before: Some(tenant("starter")), after: tenant("business") }];
        let told = Told { applied: &applied, tenants: &tenants };
        let text = told.text(Style::default());
        assert!(!text.contains("b2xk") && !text.contains("bmV3") && !told.json().to_string().contains("bmV3"));
        insta::assert_snapshot!(text, @r#"
        --- Tenant acme
        +++ Tenant acme
        @@ -2,4 +2,4 @@
         metadata:
           name: acme
         spec:
        -  plan: starter
        +  plan: business
        Tenant acme
        --- ConfigMap tenant-acme/web
        +++ ConfigMap tenant-acme/web
        @@ -1,7 +1,7 @@
         apiVersion: v1
         data:
           A: "1"
        -  TEXT: before
        +  TEXT: after
         kind: ConfigMap
         metadata:
           name: web
        ConfigMap tenant-acme/web: written, and nothing of it would be another
        --- Service tenant-acme/old
        +++ /dev/null
        @@ -1,4 +0,0 @@
        -kind: Service
        -metadata:
        -  name: old
        -  namespace: tenant-acme
        --- Secret tenant-acme/database
        +++ Secret tenant-acme/database
        @@ -1,6 +1,6 @@
         apiVersion: v1
         data:
        -  password: "[secret]"
        +  password: "[secret], another than before"
           username: "[secret]"
         kind: Secret
         metadata:
        Tenant globex
        it would stop there: Plan gold doesn't exist
        "#);
    }
}
