//! The marks by which the operator knows what is its own, and the notes that it takes: a tenant's people neither forge nor change them, and where
//! somebody could, it would be believed of nobody else.

use crate::attack::*;
use crate::support::{Tenant, merge, unique};
use serde_json::{Value, json};
use tenantry::instance::digest;

const LABELS_ARE_MARKS: &str = "mark what the operator made";
const ANNOTATIONS_ARE_NOTES: &str = "are the operator's notes";
const OWNERS_ARE_MARKS: &str = "a Tenant owns what the operator made";

fn owner(name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "tenantry.dev/v1alpha1", "kind": "Tenant", "name": name, "uid": uid}])
}

#[tokio::test]
async fn nothing_that_a_tenants_people_make_passes_for_the_operators() {
    let (tenant, other) = tokio::join!(Tenant::new("forger").ready(), Tenant::new("forged").ready());
    let (own, foreign) = tokio::join!(tenant.uid(), other.uid());
    let marks = [
        (json!({"labels": {"app.kubernetes.io/managed-by": "tenantry"}}), LABELS_ARE_MARKS),
        (json!({"labels": {"tenantry.dev/tenant": other.name}}), LABELS_ARE_MARKS),
        (json!({"annotations": {"tenantry.dev/applied": "0"}}), ANNOTATIONS_ARE_NOTES),
        (json!({"annotations": {"tenantry.dev/migration": "0"}}), ANNOTATIONS_ARE_NOTES),
        (json!({"ownerReferences": owner(&tenant.name, &own)}), OWNERS_ARE_MARKS),
        (json!({"ownerReferences": owner(&other.name, &foreign)}), OWNERS_ARE_MARKS),
    ];
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": unique("map"), "namespace": tenant.namespace}});
    for role in ["admin", "cluster-admin"] {
        let person = person(&tenant, role).await;
        for object in [map.clone(), secret(&tenant.namespace, &unique("secret")), deployment(&tenant.namespace), job(&tenant.namespace)] {
            allowed("without a mark", person.try_create_dry(&object).await);
            for (mark, sentence) in &marks {
                let mut marked = object.clone();
                merge(&mut marked["metadata"], mark);
                refused(&format!("{role}: {marked}"), person.try_create_dry(&marked).await, sentence);
            }
        }
    }
    // Nor is a mark put on later.
    let admin = person(&tenant, "admin").await;
    let made = name(&allowed("a ConfigMap", admin.try_create(&map).await));
    for (mark, sentence) in &marks {
        refused("a mark", admin.try_merge("ConfigMap", Some(&tenant.namespace), &made, &json!({"metadata": mark})).await, sentence);
    }
    let theirs = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"example.com/a": "b"}}});
    allowed("marks of others", admin.try_merge("ConfigMap", Some(&tenant.namespace), &made, &theirs).await);
}

#[tokio::test]
async fn the_operators_marks_and_notes_are_neither_changed_nor_taken_off() {
    let tenant = Tenant::new("marked").ready().await;
    let admin = person(&tenant, "admin").await;
    let namespace = Some(tenant.namespace.as_str());
    let server = json!({"tenantry.dev/database-server": "elsewhere"});
    for (kind, object) in
        [("Deployment", "web"), ("ConfigMap", "settings"), ("Service", "web"), ("Secret", "database"), ("ServiceAccount", "instance")]
    {
        for (change, sentence) in [
            (json!({"labels": {"app.kubernetes.io/managed-by": null}}), LABELS_ARE_MARKS),
            (json!({"labels": {"app.kubernetes.io/managed-by": "somebody"}}), LABELS_ARE_MARKS),
            (json!({"labels": {"tenantry.dev/tenant": "other"}}), LABELS_ARE_MARKS),
            (json!({"annotations": server}), ANNOTATIONS_ARE_NOTES),
            (json!({"annotations": {"tenantry.dev/rotated": "before-it-is-asked-for"}}), ANNOTATIONS_ARE_NOTES),
            (json!({"ownerReferences": null}), OWNERS_ARE_MARKS),
            (json!({"ownerReferences": owner("other", "2b1f5c0e-6a0e-4c0f-9b58-3d0a8f1f1f11")}), OWNERS_ARE_MARKS),
        ] {
            let answer = admin.try_merge(kind, namespace, object, &json!({"metadata": change})).await;
            refused(&format!("{kind} {object} {change}"), answer, sentence);
        }
        let theirs = json!({"metadata": {"annotations": {"example.com/team": "theirs"}}});
        allowed("an annotation of their own", admin.try_merge(kind, namespace, object, &theirs).await);
    }
    // The operator's own writes pass, or nothing would be put back.
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await.ready().await;
}

/// The key of a migration, as whoever knows the product can work it out.
async fn migration_of(tenant: &Tenant, version: &str) -> String {
    format!("migrate-{}", digest::of(&("localhost/sample", version, ["migrate"], tenant.uid().await, None::<&String>)))
}

/// A Job that isn't the operator's, with marks that say it is.
fn marked_job(tenant: &Tenant, namespace: &str, name: &str, spec: &Value) -> Value {
    let mut job = job(namespace);
    merge(
        &mut job,
        &json!({"metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "tenantry", "tenantry.dev/tenant": tenant.name},
            "annotations": {"tenantry.dev/migration": "0"},
        }, "spec": spec}),
    );
    job
}

#[tokio::test]
async fn a_job_of_somebody_else_is_not_taken_for_the_migration() {
    let tenant = Tenant::new("squatted").ready().await;
    let name = migration_of(&tenant, "2.0").await;
    let world = &tenant.world;
    let foreign = world.create(&marked_job(&tenant, &tenant.namespace, &name, &json!({}))).await;
    tenant
        .object_until("Job", &name, "it is done", |job| {
            job["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Complete").map(|_| ())
        })
        .await;
    tenant.change(json!({"release": {"version": "2.0"}})).await;
    let message = tenant.stalled("NotOurs").await;
    assert_eq!(
        message,
        format!("Job {}/{name} exists already and isn't this tenant's; it is not touched: delete or rename it", tenant.namespace)
    );
    assert_eq!(tenant.get().await["status"]["version"], "1.0", "what was migrated goes on serving");
    assert_eq!(tenant.object("Job", &name).await["metadata"]["uid"], foreign["metadata"]["uid"]);
    world.delete("Job", Some(&tenant.namespace), &name).await;
    tenant.ready().await;
}

#[tokio::test]
async fn what_is_in_another_namespace_is_never_taken_for_a_tenants() {
    let (tenant, other) = tokio::join!(Tenant::new("mine").ready(), Tenant::new("theirs").ready());
    let world = &tenant.world;
    // Each says that it is the tenant's, in the other's namespace: a migration under way, and a Deployment that never gets its pods.
    let owner = owner(&tenant.name, &tenant.uid().await);
    let mut migration = marked_job(&tenant, &other.namespace, &unique("migrate"), &json!({}));
    migration["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "such-node"});
    migration["metadata"]["ownerReferences"] = owner.clone();
    let mut stuck = deployment(&other.namespace);
    merge(
        &mut stuck["metadata"],
        &json!({"labels": migration["metadata"]["labels"], "ownerReferences": owner, "finalizers": ["example.com/held"]}),
    );
    stuck["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "such-node"});
    let (migration, stuck) = (world.create(&migration).await, world.create(&stuck).await);
    tenant.change(json!({"release": {"version": "2.0"}, "deletion": {"policy": "Delete"}})).await.ready().await;
    tenant.delete().await.gone().await;
    // They are the other's, and its operator put nothing of them away.
    for (kind, object) in [("Job", &migration), ("Deployment", &stuck)] {
        let patch = json!({"metadata": {"finalizers": null}});
        let _ = world.try_merge(kind, Some(&other.namespace), &name(object), &patch).await;
    }
    other.ready().await;
}
