//! What there is of a tenant at the end of a run, in the cluster and in Postgres, with what is by chance masked.

use crate::lane::Lane;
use crate::mask::mask;
use crate::support::kinds::OF_AN_INSTANCE;
use serde_json::Value;
use std::collections::BTreeMap;

/// Roles with their rights, settings and memberships, databases, schemas and what is in them, and the rows.
const CATALOG: &str = "
SELECT 'role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolconnlimit, rolvaliduntil, rolpassword IS NOT NULL,
       shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolname LIKE 'tenant\\_@%' OR rolname = 'tenantry.@' ORDER BY rolname;
SELECT 'setting', coalesce(r.rolname, '-'), coalesce(d.datname, '-'), s.setconfig FROM pg_db_role_setting s
  LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
 WHERE r.rolname LIKE 'tenant\\_@%' OR d.datname LIKE '@%' OR d.datname LIKE 'tenant\\_@%' ORDER BY 2, 3;
SELECT 'member', r.rolname, m.rolname, a.admin_option FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
 WHERE r.rolname LIKE 'tenant\\_@%' OR m.rolname LIKE 'tenant\\_@%' ORDER BY 2, 3;
SELECT 'database', datname, pg_get_userbyid(datdba), datconnlimit, (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(datacl) AS x)
  FROM pg_database WHERE datname = '@' OR datname LIKE 'tenant\\_@%' ORDER BY 2;
SELECT 'schema', nspname, pg_get_userbyid(nspowner), (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(nspacl) AS x),
       obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'public' OR nspname LIKE 'tenant\\_@%' ORDER BY 2;
SELECT 'default', pg_get_userbyid(defaclrole), defaclobjtype, (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(defaclacl) AS x)
  FROM pg_default_acl WHERE pg_get_userbyid(defaclrole) LIKE 'tenant\\_@%' ORDER BY 2, 3;
SELECT 'relation', c.relname, n.nspname, pg_get_userbyid(c.relowner), (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(c.relacl) AS x)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname LIKE 'tenant\\_@%' AND c.relname <> 'kept' ORDER BY 3, 2;
";

/// One line for each thing, by its name.
pub type Snapshot = BTreeMap<String, String>;

/// All that there is now.
pub async fn take(lane: &Lane) -> Snapshot {
    let label = "app.kubernetes.io/managed-by=tenantry";
    let own = ["Tenant", "Blueprint", "Plan", "DatabaseServer", "Release"].map(|kind| (kind, ""));
    let kinds = own.into_iter().chain(["Namespace", "ControllerRevision"].into_iter().chain(OF_AN_INSTANCE).map(|kind| (kind, label)));
    let lists = kinds.map(async |(kind, label)| (kind, lane.cluster.list(kind, None, label).await));
    let catalog = CATALOG.replace('@', &lane.name);
    let (lists, catalog) = futures::join!(futures::future::join_all(lists), lane.postgres.query(&catalog));
    let mut all = Snapshot::new();
    for (kind, objects) in lists {
        for object in objects {
            add(&mut all, lane, kind, object);
        }
    }
    for (number, line) in catalog.lines().enumerate() {
        all.insert(format!("catalog {number:03}"), mask(line, &lane.names));
    }
    all
}

/// What the tenants say of themselves now.
pub async fn take_tenants(lane: &Lane) -> Snapshot {
    let mut all = Snapshot::new();
    for tenant in lane.cluster.list("Tenant", None, "").await {
        add(&mut all, lane, "Tenant", tenant);
    }
    all
}

/// The same of a whole.
pub fn of_tenants(whole: &Snapshot) -> Snapshot {
    whole.iter().filter(|(name, _)| name.starts_with("Tenant ")).map(|(name, line)| (name.clone(), line.clone())).collect()
}

fn add(all: &mut Snapshot, lane: &Lane, kind: &str, mut object: Value) {
    // Two releases whose names differ by chance are told from each other by what became of them.
    let fate = if object["spec"]["rolledBack"] == true { " rolled back" } else { "" };
    let name = mask(&format!("{kind} {}{fate}", object["metadata"]["name"].as_str().unwrap_or_default()), &lane.names);
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    for field in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"] {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("tenantry.dev/reconcile");
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    if kind == "Secret" {
        for value in object["data"].as_object_mut().into_iter().flat_map(|data| data.values_mut()) {
            *value = format!("{} bytes", value.as_str().unwrap_or_default().len()).into();
        }
    }
    for field in ["clusterIP", "clusterIPs"] {
        object["spec"].as_object_mut().map(|spec| spec.remove(field));
    }
    if let Some(status) = object["status"].as_object_mut() {
        status.remove("lastHandledReconcileAt");
    }
    // How often a manifest was changed tells of the runs before, and so does what was there before the last time.
    for counted in ["/revision", "/status/revision"] {
        if let Some(value) = object.pointer_mut(counted) {
            *value = "<generation>".into();
        }
    }
    for earlier in ["/status/release/before", "/status/migration/before"] {
        object.pointer_mut(earlier).and_then(Value::as_array_mut).into_iter().for_each(|all| all.truncate(1));
    }
    for field in ["observedGeneration", "conditions"] {
        if let Some(value) = object.get_mut("status").and_then(|status| status.get_mut(field)) {
            without_chance(value);
        }
    }
    all.insert(name, mask(&object.to_string(), &lane.names));
}

/// Forgets generations, and who of two was the first to write a condition: they are told by their type, whatever their order.
fn without_chance(value: &mut Value) {
    match value {
        Value::Number(_) => *value = "<generation>".into(),
        Value::Array(conditions) => {
            conditions.sort_by_key(|condition| condition["type"].to_string());
            for condition in conditions {
                if let Some(generation) = condition.get_mut("observedGeneration") {
                    *generation = "<generation>".into();
                }
            }
        }
        _ => {}
    }
}

/// What differs, line by line.
pub fn difference(expected: &Snapshot, found: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let names: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for name in names {
        match (expected.get(name), found.get(name)) {
            (Some(expected), Some(found)) if expected == found => {}
            (Some(expected), Some(found)) => {
                lines.push(format!("{name}:\n  expected {}\n  found    {}", apart(expected, found), apart(found, expected)))
            }
            (Some(_), None) => lines.push(format!("{name}: missing")),
            (None, Some(found)) => lines.push(format!("{name}: not expected: {found}")),
            (None, None) => {}
        }
    }
    lines
}

/// The part of a text that isn't the same in another, with a little before it.
fn apart(text: &str, other: &str) -> String {
    let same = text.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    text.chars().skip(same.saturating_sub(60)).take(400).collect()
}
