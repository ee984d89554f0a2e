//! `kubectl tenantry diff` foretells what the operator then does, object by object as the API server's own record has it, and does nothing itself.

use crate::support::program::{code, out, said, tenantry};
use crate::support::{Audit, LIMIT, Request, Tenant, World, condition, kubectl, manifest, unique, wait_until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tenantry::instance::render::Kind;

/// Verb, resource and name of a write.
type Writes = BTreeSet<(String, String, String)>;

/// Manifests in files, as people have them.
struct Files(tempfile::TempDir);

impl Files {
    fn of(manifests: &[&Value]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (number, manifest) in manifests.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{number}.yaml")), manifest.to_string()).expect("a file");
        }
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// What is foreseen, as JSON; something would be done.
    async fn foresee(&self) -> Value {
        let output = tenantry(&["diff", "-f", &self.path().display().to_string(), "-o", "json"]).await;
        assert_eq!(code(&output), 1, "{}\n{}", said(&output), out(&output));
        serde_json::from_str(&out(&output)).expect("JSON")
    }
}

/// What is foreseen for one tenant.
fn of<'a>(foreseen: &'a Value, tenant: &Tenant) -> &'a Value {
    let all = foreseen["tenants"].as_array().expect("tenants");
    all.iter().find(|of| of["tenant"] == *tenant.name).unwrap_or_else(|| panic!("nothing of {}: {foreseen}", tenant.name))
}

fn foreseen_writes(of: &Value) -> Writes {
    let plural =
        |kind: &Value| Kind::WATCHED.iter().chain([&Kind::SECRET]).find(|known| *kind == *known.kind).map(|kind| kind.plural.to_string());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let objects = of["objects"].as_array().expect("objects");
    objects.iter().map(|object| (text(&object["verb"]), plural(&object["kind"]).expect("a known kind"), text(&object["name"]))).collect()
}

/// Names without the digest that ends a Job's: it contains the UID of its tenant, which is another's once that is made.
fn without_digests(writes: Writes) -> Writes {
    let known = |name: String| if name.starts_with("migrate-") { "migrate".to_owned() } else { name };
    writes.into_iter().map(|(verb, resource, name)| (verb, resource, known(name))).collect()
}

/// What the operator has written of a tenant's objects, each once by what was done first.
fn writes(audit: &Audit, tenant: &Tenant) -> Writes {
    let is_of_instance =
        |request: &Request| request.namespace == tenant.namespace || (request.resource == "namespaces" && request.name == tenant.namespace);
    let mut first: BTreeMap<(String, String), String> = BTreeMap::new();
    // Only operators say who they are.
    let own = audit.writes().into_iter().filter(|request| !request.by.is_empty() && request.resource != "events");
    for request in own.filter(is_of_instance) {
        let verb = if request.verb == "update" { "patch".to_owned() } else { request.verb };
        first.entry((request.resource, request.name)).or_insert(verb);
    }
    first.into_iter().map(|((resource, name), verb)| (verb, resource, name)).collect()
}

/// Waits until the operator has written all of it, and then nothing more than that.
async fn assert_written(audit: &Audit, tenant: &Tenant, foreseen: &Value) {
    let is_new = foreseen["applied"][0]["before"].is_null();
    let comparable = |writes: Writes| if is_new { without_digests(writes) } else { writes };
    let expected = comparable(foreseen_writes(of(foreseen, tenant)));
    assert!(!expected.is_empty(), "{foreseen}");
    wait_until("all that was foreseen is written", LIMIT, async || {
        let found = comparable(writes(audit, tenant));
        if found.is_superset(&expected) { Ok(()) } else { Err(format!("missing: {:?}", expected.difference(&found))) }
    })
    .await;
    tenant.ready().await;
    assert_nothing_left(tenant).await;
    assert_eq!(comparable(writes(audit, tenant)), expected, "written and foreseen");
}

/// Every field that was foreseen is there.
async fn assert_is_so(tenant: &Tenant, foreseen: &Value) {
    for object in of(foreseen, tenant)["objects"].as_array().expect("objects") {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["name"].as_str().unwrap());
        if object["after"].is_null() {
            tenant.object_gone(kind, name).await;
            continue;
        }
        if kind == "Secret" || kind == "Namespace" {
            continue;
        }
        // Its name has a digest of the tenant's UID.
        if kind == "Job" {
            continue;
        }
        let live = tenant.object(kind, name).await;
        let mut wanted = object["after"]["spec"].clone();
        // The digest of secrets that were drawn for the look is another's.
        if let Some(annotations) = wanted.pointer_mut("/template/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove("tenantry.dev/configuration");
        }
        assert!(is_within(&wanted, &live["spec"]), "{kind} {name}\nforeseen {wanted}\nfound    {}", live["spec"]);
    }
}

fn is_within(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(name, value)| found.get(name).map_or(value.is_null(), |found| is_within(value, found)))
        }
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| is_within(wanted, found))
        }
        _ => wanted == found,
    }
}

async fn assert_nothing_left(tenant: &Tenant) {
    wait_until("nothing is left to be done", LIMIT, async || {
        let output = tenantry(&["diff", "--tenant", &tenant.name]).await;
        if code(&output) == 0 { Ok(()) } else { Err(format!("{}{}", out(&output), said(&output))) }
    })
    .await;
}

#[tokio::test]
async fn a_new_tenant_is_foreseen_to_the_last_object_and_nothing_is_made_by_looking() {
    let world = World::new().await;
    let manifest = Tenant::new("foreseen").manifest();
    let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
    let (audit, files) = (Audit::begin(), Files::of(&[&manifest]));
    let foreseen = files.foresee().await;
    assert_eq!(foreseen["applied"][0]["name"], *name);
    assert_eq!(world.find("Tenant", None, &name).await, None);
    assert_eq!(world.find("Namespace", None, &format!("tenant-{name}")).await, None);
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant_{}%'", name.replace('-', "_"));
    assert_eq!(world.environment.postgres.admin(&roles).await, "0", "a look makes no role");

    world.create(&manifest).await;
    let tenant = Tenant::of(&world, &manifest);
    assert_written(&audit, &tenant, &foreseen).await;
    assert_is_so(&tenant, &foreseen).await;
    let doing: Vec<_> = of(&foreseen, &tenant)["statements"].as_array().unwrap().iter().map(|change| change["doing"].to_string()).collect();
    assert!(
        doing.iter().any(|doing| doing.contains("create schema")) && doing.iter().any(|doing| doing.contains("create login")),
        "{doing:?}"
    );
    assert!(!foreseen.to_string().contains("SCRAM-SHA-256"), "what the server keeps of a password is nobody's to see");
}

#[tokio::test]
async fn a_change_is_foreseen_with_what_goes_and_a_migration_to_its_end() {
    let world = World::new().await;
    let large = world.plan(crate::support::manifests::large()).await;
    let small = world.plan(json!({})).await;
    let mut manifest = Tenant::new("foreseen").with(json!({"plan": large, "domains": ["www.foreseen.example"]})).manifest();
    world.apply(&manifest).await;
    let tenant = Tenant::of(&world, &manifest);
    tenant.ready().await;
    assert_nothing_left(&tenant).await;

    // The autoscaler goes, the version comes by a migration, and a host is given up.
    manifest["spec"]["plan"] = small.into();
    manifest["spec"].as_object_mut().unwrap().remove("domains");
    manifest["spec"]["release"] = json!({"version": "2.0"});
    let (audit, files) = (Audit::begin(), Files::of(&[&manifest]));
    let foreseen = files.foresee().await;
    let expected = foreseen_writes(of(&foreseen, &tenant));
    assert!(expected.iter().any(|(verb, resource, _)| verb == "delete" && resource == "horizontalpodautoscalers"), "{expected:?}");
    assert!(expected.iter().any(|(verb, resource, _)| verb == "create" && resource == "jobs"), "{expected:?}");
    let text = tenantry(&["diff", "-f", &files.path().display().to_string()]).await;
    let shown = out(&text);
    for line in ["-    - host: www.foreseen.example", "+        image: localhost/sample:2.0"] {
        assert!(shown.lines().any(|shown| shown.replace(' ', "") == line.replace(' ', "")), "{line} isn't shown:\n{shown}");
    }
    assert!(said(&text).contains("to do it: kubectl apply -f"), "{}", said(&text));

    world.apply(&manifest).await;
    assert_written(&audit, &tenant, &foreseen).await;
    assert_is_so(&tenant, &foreseen).await;
}

#[tokio::test]
async fn a_blueprint_is_foreseen_for_all_that_use_it_with_its_statements() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({})).await;
    let other = world.blueprint(json!({})).await;
    let first = Tenant::new("foreseen").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let second = Tenant::new("foreseen").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let third = Tenant::new("foreseen").with(json!({"blueprint": other})).create_in(&world).await;
    for tenant in [&first, &second, &third] {
        tenant.ready().await;
        assert_nothing_left(tenant).await;
    }
    let mut spec = world.get("Blueprint", None, &blueprint).await["spec"].clone();
    spec["database"]["extensions"] = json!(["citext"]);
    spec["settings"][1]["default"] = "staging".into();
    let manifest = manifest("Blueprint", &blueprint, spec);
    let (audit, files) = (Audit::begin(), Files::of(&[&manifest]));
    let foreseen = files.foresee().await;
    let tenants: BTreeSet<_> = foreseen["tenants"].as_array().unwrap().iter().map(|of| of["tenant"].as_str().unwrap().to_owned()).collect();
    assert_eq!(tenants, [first.name.clone(), second.name.clone()].into());
    let without = tenantry(&["diff", "-f", &files.path().display().to_string(), "--skip-database", "-o", "json"]).await;
    let without: Value = serde_json::from_str(&out(&without)).expect("JSON");
    for tenant in [&first, &second] {
        let (with, without) = (of(&foreseen, tenant), of(&without, tenant));
        assert_eq!(foreseen_writes(with), foreseen_writes(without), "the objects are the same without the database");
        assert_eq!((with["statements"] == json!([]), &without["statements"]), (false, &json!([])));
    }

    world.apply(&manifest).await;
    for tenant in [&first, &second] {
        assert_written(&audit, tenant, &foreseen).await;
        assert_is_so(tenant, &foreseen).await;
    }
    assert!(writes(&audit, &third).is_empty(), "who uses another blueprint isn't concerned");
}

#[tokio::test]
async fn a_rotation_is_foreseen_without_showing_a_secret_and_what_would_stop_is_told() {
    let world = World::new().await;
    let tenant = Tenant::new("foreseen").create_in(&world).await;
    tenant.ready().await;
    let before = tenant.secret("database").await;
    let mut manifest = tenant.get().await;
    manifest = json!({"apiVersion": manifest["apiVersion"], "kind": "Tenant",
        "metadata": {"name": tenant.name, "annotations": {"tenantry.dev/rotate": "now"}}, "spec": manifest["spec"]});
    let files = Files::of(&[&manifest]);
    let output = tenantry(&["diff", "-f", &files.path().display().to_string()]).await;
    assert_eq!(code(&output), 1, "{}", said(&output));
    let shown = out(&output);
    assert!(shown.contains("[secret], another than before") && shown.contains("PASSWORD '[secret]'"), "{shown}");
    assert!(!shown.contains(&before["password"]), "a password is shown");
    assert_eq!(tenant.secret("database").await, before, "a look changes no password");
    let foreseen = files.foresee().await;
    let audit = Audit::begin();
    tenant.annotate("tenantry.dev/rotate", "now").await;
    assert_written(&audit, &tenant, &foreseen).await;

    manifest["spec"]["plan"] = "nowhere".into();
    let output = tenantry(&["diff", "-f", &Files::of(&[&manifest]).path().display().to_string()]).await;
    assert_eq!(code(&output), 2, "{}", said(&output));
    assert!(out(&output).contains("it would stop there: PlanMissing"), "{}", out(&output));
    let nobody = tenantry(&["diff", "--tenant", "nobody-at-all"]).await;
    assert_eq!(code(&nobody), 2);
    assert!(said(&nobody).contains("there is no tenant nobody-at-all"), "{}", said(&nobody));
}

#[tokio::test]
async fn a_release_is_foreseen_as_at_its_end() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({})).await;
    let first = Tenant::new("foreseen").with(json!({"blueprint": blueprint})).create_in(&world).await;
    let second = Tenant::new("foreseen").with(json!({"blueprint": blueprint})).create_in(&world).await;
    for tenant in [&first, &second] {
        tenant.ready().await;
        assert_nothing_left(tenant).await;
    }
    let release = manifest("Release", &unique("foreseen"), json!({"blueprint": blueprint, "version": "2.0"}));
    let audit = Audit::begin();
    let foreseen = Files::of(&[&release]).foresee().await;
    world.create(&release).await;
    for tenant in [&first, &second] {
        assert_written(&audit, tenant, &foreseen).await;
        assert_is_so(tenant, &foreseen).await;
        assert_eq!(tenant.get().await["status"]["version"], "2.0");
    }
}

#[tokio::test]
async fn a_shared_database_that_is_gone_is_foreseen_to_be_made_with_the_tenant_that_needs_it() {
    let world = World::new().await;
    let database = unique("shared").replace('-', "_");
    let server = world.server(json!({"database": database})).await;
    wait_until("the server was looked at", LIMIT, async || {
        let server = world.get("DatabaseServer", None, &server).await;
        condition(&server, "Ready").map(|_| ()).ok_or_else(|| server["status"].to_string())
    })
    .await;
    let postgres = &world.environment.postgres;
    postgres.admin_in("postgres", &format!("DROP DATABASE {database} WITH (FORCE)")).await;
    let manifest = Tenant::new("foreseen").with(json!({"region": server})).manifest();
    let (audit, files) = (Audit::begin(), Files::of(&[&manifest]));
    let foreseen = files.foresee().await;
    let statements = foreseen["tenants"][0]["statements"].to_string();
    assert!(statements.contains("CREATE DATABASE") && statements.contains(&database), "{statements}");
    let text = out(&tenantry(&["diff", "-f", &files.path().display().to_string()]).await);
    for line in ["--- /dev/null", "+++ Namespace tenant-", "-- create login", "CREATE SCHEMA"] {
        assert!(text.contains(line), "{line} isn't shown:\n{text}");
    }
    let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
    assert_eq!(postgres.admin(&there).await, "0", "a look makes no database");

    world.create(&manifest).await;
    let tenant = Tenant::of(&world, &manifest);
    assert_written(&audit, &tenant, &foreseen).await;
    assert_eq!(postgres.admin(&there).await, "1");
}

#[tokio::test]
async fn what_kubectl_applied_and_a_manifest_says_no_more_is_foreseen_to_go() {
    let world = World::new().await;
    let mut manifest = Tenant::new("foreseen").with(json!({"domains": ["kubectl.foreseen.example"]})).manifest();
    let apply = |manifest: &Value| kubectl(&["apply", "-f", &Files::of(&[manifest]).path().display().to_string()]).expect("it is applied");
    apply(&manifest);
    let tenant = Tenant::of(&world, &manifest);
    tenant.ready().await;
    // By hand, so no manifest says it or takes it away.
    world.merge("Tenant", None, &tenant.name, &json!({"spec": {"branding": {"primaryColor": "#0a5c36"}}})).await;
    tenant.ready().await;
    assert_nothing_left(&tenant).await;

    manifest["spec"].as_object_mut().unwrap().remove("domains");
    let audit = Audit::begin();
    let foreseen = Files::of(&[&manifest]).foresee().await;
    apply(&manifest);
    assert_written(&audit, &tenant, &foreseen).await;
    let spec = tenant.get().await["spec"].clone();
    assert_eq!(spec, foreseen["applied"][0]["after"]["spec"]);
    assert_eq!((&spec["domains"], &spec["branding"]["primaryColor"]), (&Value::Null, &json!("#0a5c36")));
}
