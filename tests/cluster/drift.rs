//! What somebody else changes is put back, and what somebody else owns is left alone.

use crate::support::program::{code, said, tenantry};
use crate::support::{LIMIT, Tenant, World, merge, wait_until};
use serde_json::{Value, json};

/// One object of each kind, and a change that takes something of ours away.
fn edits() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("ConfigMap", "settings", json!({"data": {"LANGUAGE_CODE": "xx"}})),
        ("Secret", "generated", json!({"data": {"SECRET_KEY": null}})),
        ("ServiceAccount", "instance", json!({"automountServiceAccountToken": true})),
        ("ServiceAccount", "instance", json!({"automountServiceAccountToken": null})),
        ("Service", "web", json!({"spec": {"ports": [{"name": "main", "port": 9999, "targetPort": "main", "protocol": "TCP"}]}})),
        ("Deployment", "worker", json!({"spec": {"template": {"spec": {"securityContext": {"runAsNonRoot": false}}}}})),
        ("Ingress", "instance", json!({"spec": {"rules": [{"host": "other.example.com"}]}})),
        ("NetworkPolicy", "deny-all", json!({"spec": {"policyTypes": ["Ingress"]}})),
        ("ResourceQuota", "plan", json!({"spec": {"hard": {"pods": "9999"}}})),
        ("LimitRange", "plan", json!({"spec": {"limits": [{"type": "Container", "default": {"memory": "99Gi"}}]}})),
        ("HorizontalPodAutoscaler", "web", json!({"spec": {"maxReplicas": 99}})),
        ("PodDisruptionBudget", "web", json!({"spec": {"maxUnavailable": 9}})),
        ("RoleBinding", "tenantry-operator", json!({"subjects": []})),
    ]
}

/// What a person wrote or the operator did; not what Kubernetes keeps.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    merge(
        &mut content,
        &json!({"status": null, "metadata": {"annotations": {"deployment.kubernetes.io/revision": null}, "resourceVersion": null, "generation": null, "managedFields": null, "uid": null, "creationTimestamp": null}}),
    );
    content
}

#[tokio::test]
async fn an_edited_object_of_any_kind_is_put_back() {
    let tenant = Tenant::new("edited").with(json!({"plan": "large"})).ready().await;
    let world = &tenant.world;
    for (kind, name, edit) in edits() {
        let before = tenant.object(kind, name).await;
        world.merge(kind, Some(&tenant.namespace), name, &edit).await;
        if kind == "Secret" {
            // Nothing may watch Secrets: a look is asked for, instead of waited for.
            tenant.annotate("tenantry.dev/reconcile", "now").await;
            tenant.object_until(kind, name, "has its key again", |now| now["data"]["SECRET_KEY"].as_str().map(|_| ())).await;
            continue;
        }
        wait_until(&format!("{kind} {name} is put back after {edit}"), LIMIT, async || {
            let now = tenant.object(kind, name).await;
            if content(&now) == content(&before) { Ok(()) } else { Err(format!("{:#}", content(&now))) }
        })
        .await;
    }
    tenant.ready().await;
}

#[tokio::test]
async fn a_deleted_object_of_any_kind_comes_back() {
    let tenant = Tenant::new("deleted").with(json!({"plan": "large"})).ready().await;
    for (kind, name, _) in edits() {
        let before = tenant.object(kind, name).await["metadata"]["uid"].clone();
        tenant.world.delete(kind, Some(&tenant.namespace), name).await;
        if kind == "Secret" {
            tenant.annotate("tenantry.dev/reconcile", "now").await;
        }
        tenant.object_until(kind, name, "is made anew", |now| (now["metadata"]["uid"] != before).then_some(())).await;
    }
    tenant.ready().await;
}

#[tokio::test]
async fn a_deleted_database_secret_comes_back_with_a_login_that_works() {
    let tenant = Tenant::new("secretless").ready().await;
    tenant.sql("create table note (text text)").await.unwrap();
    tenant.world.delete("Secret", Some(&tenant.namespace), "database").await;
    tenant.annotate("tenantry.dev/reconcile", "now").await;
    tenant.object_until("Secret", "database", "is made anew", |_| Some(())).await;
    wait_until("its login works", LIMIT, async || tenant.sql("select count(*) from note").await).await;
    tenant.ready().await;
}

#[tokio::test]
async fn a_deleted_namespace_comes_back_with_all_that_was_in_it() {
    let tenant = Tenant::new("namespace").ready().await;
    tenant.sql("create table note (text text); insert into note values ('kept')").await.unwrap();
    let before = tenant.world.get("Namespace", None, &tenant.namespace).await["metadata"]["uid"].clone();
    tenant.world.delete("Namespace", None, &tenant.namespace).await;
    wait_until("the namespace is made anew", LIMIT, async || match tenant.world.find("Namespace", None, &tenant.namespace).await {
        Some(now) if now["metadata"]["uid"] != before => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    tenant
        .until("it is ready in the new namespace", |tenant| {
            crate::support::condition(tenant, "Available").filter(|condition| condition.status == "True")
        })
        .await;
    wait_until("its data is reached by the new Secret", LIMIT, async || match tenant.find("Secret", "database").await {
        Some(_) => tenant.sql("select text from note").await.and_then(|text| if text == "kept" { Ok(()) } else { Err(text) }),
        None => Err("there is no Secret".to_owned()),
    })
    .await;
    tenant.ready().await;
}

#[tokio::test]
async fn the_labels_that_keep_a_namespace_closed_are_put_back() {
    let tenant = Tenant::new("labels").ready().await;
    let loosen = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    tenant.world.merge("Namespace", None, &tenant.namespace, &loosen).await;
    wait_until("the namespace is restricted again", LIMIT, async || {
        let labels = tenant.world.get("Namespace", None, &tenant.namespace).await["metadata"]["labels"].clone();
        if labels["pod-security.kubernetes.io/enforce"] == "restricted" { Ok(()) } else { Err(labels.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn what_others_add_to_our_objects_stays() {
    let tenant = Tenant::new("shared").ready().await;
    let add = json!({"metadata": {"labels": {"team": "blue"}, "annotations": {"example.com/note": "theirs"}}});
    for (kind, name) in [("Deployment", "web"), ("Service", "web"), ("ConfigMap", "settings"), ("Ingress", "instance")] {
        tenant.world.merge(kind, Some(&tenant.namespace), name, &add).await;
    }
    // A change of ours goes through all of them meanwhile.
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "de"}, "domains": [format!("{}.example.com", tenant.name)]})).await.ready().await;
    for (kind, name) in [("Deployment", "web"), ("Service", "web"), ("ConfigMap", "settings"), ("Ingress", "instance")] {
        let metadata = tenant.object(kind, name).await["metadata"].clone();
        assert_eq!(
            (&metadata["labels"]["team"], &metadata["annotations"]["example.com/note"]),
            (&json!("blue"), &json!("theirs")),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn an_autoscaler_decides_how_many_pods_run_and_nobody_fights_it() {
    let tenant = Tenant::new("scaled").with(json!({"plan": "large"})).ready().await;
    tenant.world.merge("Deployment", Some(&tenant.namespace), "web", &json!({"spec": {"replicas": 3}})).await;
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await.ready().await;
    assert_eq!(tenant.object("Deployment", "web").await["spec"]["replicas"], 3);
}

#[tokio::test]
async fn what_is_no_longer_wanted_is_pruned() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({"network": {"egressTo": [{"to": {"cidr": "192.0.2.0/24"}}]}})).await;
    let tenant = Tenant::new("pruned").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    let web = json!({"name": "web", "command": ["serve"], "port": 8000, "expose": {"path": "/"}});
    world.merge("Blueprint", None, &blueprint, &json!({"spec": {"components": [web], "network": {"egressTo": null}}})).await;
    for (kind, name) in [("Deployment", "worker"), ("Deployment", "beat"), ("NetworkPolicy", "allowed")] {
        tenant.object_gone(kind, name).await;
    }
    tenant.ready().await;
    // What isn't ours stays, whatever it is called.
    let theirs =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": tenant.namespace}, "data": {"a": "b"}});
    world.create(&theirs).await;
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await.ready().await;
    assert!(tenant.find("ConfigMap", "theirs").await.is_some());
}

#[tokio::test]
async fn what_is_taken_out_of_an_object_goes_however_often_it_was_changed_before() {
    let world = World::new().await;
    let components =
        |env: Value| json!({"components": [{"name": "web", "command": ["serve"], "port": 8000, "expose": {"path": "/"}, "env": env}]});
    let mut product = components(json!({"FIRST": "1", "SECOND": "1"}));
    product["settings"] = ["FIRST_SETTING", "SECOND_SETTING"].map(|name| json!({"env": name, "tenantMaySet": true})).to_vec().into();
    let blueprint = world.blueprint(product).await;
    let settings = json!({"FIRST_SETTING": "1", "SECOND_SETTING": "1"});
    let tenant = Tenant::new("taken-out").with(json!({"blueprint": blueprint, "settings": settings})).create_in(&world).await;
    tenant.ready().await;
    // Other values, then less of what was made, then less of what was applied.
    for (first, second) in [(json!("2"), json!("2")), (Value::Null, json!("2")), (Value::Null, json!("3")), (Value::Null, Value::Null)] {
        let mut env = json!({"FIRST": first, "SECOND": second});
        env.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        world.merge("Blueprint", None, &blueprint, &json!({"spec": components(env.clone())})).await;
        tenant.change(json!({"settings": {"FIRST_SETTING": first, "SECOND_SETTING": second}})).await.ready().await;
        wait_until("all of it is there and no more", LIMIT, async || {
            let (web, kept) = (tenant.object("Deployment", "web").await, tenant.object("ConfigMap", "settings").await);
            let variables = web["spec"]["template"]["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
            let is_so = |(name, value): (&str, &Value)| {
                let variable = variables.iter().find(|variable| variable["name"] == name).map(|variable| &variable["value"]);
                let setting = kept["data"].get(format!("{name}_SETTING"));
                let wanted = Some(value).filter(|value| !value.is_null());
                variable == wanted && setting == wanted
            };
            let is_whole = [("FIRST", &first), ("SECOND", &second)].into_iter().all(is_so);
            if is_whole { Ok(()) } else { Err(format!("{variables:?} {}", kept["data"])) }
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_applied_before_shapes_were_told_is_not_written_again() {
    let tenant = Tenant::new("before").ready().await;
    let mark = async || tenant.object("Deployment", "web").await["metadata"]["annotations"]["tenantry.dev/applied"].clone();
    let digest = mark().await.as_str().unwrap().split_once('-').expect("a shape").0.to_owned();
    let patch = json!({"metadata": {"annotations": {"tenantry.dev/applied": digest}}});
    tenant.world.merge("Deployment", Some(&tenant.namespace), "web", &patch).await;
    let asked = tenantry(&["reconcile", &tenant.name]).await;
    assert_eq!(code(&asked), 0, "{}", said(&asked));
    assert_eq!(mark().await, digest);
    tenant.change(json!({"settings": {"LANGUAGE_CODE": "de"}})).await.ready().await;
    assert!(mark().await.as_str().unwrap().contains('-'));
}

#[tokio::test]
async fn a_namespace_that_is_somebody_elses_is_neither_taken_nor_touched() {
    let world = World::new().await;
    let manifest = Tenant::new("foreign").manifest();
    let namespace = format!("tenant-{}", manifest["metadata"]["name"].as_str().unwrap());
    let theirs =
        world.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {"team": "blue"}}})).await;
    world.create(&manifest).await;
    let tenant = Tenant { name: namespace.trim_start_matches("tenant-").to_owned(), namespace: namespace.clone(), world };
    let message = tenant.stalled("NotOurs").await;
    assert!(message.contains(&namespace) && message.contains("isn't this tenant's"), "{message}");
    let now = tenant.world.get("Namespace", None, &namespace).await;
    assert_eq!((&now["metadata"]["uid"], &now["metadata"]["labels"]["tenantry.dev/tenant"]), (&theirs["metadata"]["uid"], &Value::Null));
    tenant.delete().await.gone().await;
    assert!(tenant.world.get("Namespace", None, &namespace).await["metadata"]["deletionTimestamp"].is_null(), "the deletion spares it too");
    tenant.world.delete("Namespace", None, &namespace).await;
}

#[tokio::test]
async fn an_object_that_is_somebody_elses_is_neither_taken_nor_touched() {
    let world = World::new().await;
    let blueprint = world.blueprint(json!({})).await;
    let tenant = Tenant::new("occupied").with(json!({"blueprint": blueprint})).create_in(&world).await;
    tenant.ready().await;
    // Their Service has our label too, and the very owner of ours is not theirs.
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "search", "namespace": tenant.namespace, "labels": {"app.kubernetes.io/managed-by": "tenantry", "tenantry.dev/tenant": tenant.name}},
        "spec": {"ports": [{"port": 1234}], "selector": {"app": "theirs"}},
    });
    world.create(&theirs).await;
    let before = tenant.object("Service", "search").await;
    let mut components = world.get("Blueprint", None, &blueprint).await["spec"]["components"].clone();
    components.as_array_mut().unwrap().push(json!({"name": "search", "command": ["search"], "port": 7700}));
    world.merge("Blueprint", None, &blueprint, &json!({"spec": {"components": components}})).await;
    let message = tenant.stalled("NotOurs").await;
    assert!(message.contains("Service") && message.contains("search"), "{message}");
    assert_eq!(tenant.object("Service", "search").await["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    tenant.condition("Available", "True").await;
    // Once it is out of the way, ours is made.
    world.delete("Service", Some(&tenant.namespace), "search").await;
    tenant.ready().await;
    assert_eq!(tenant.object("Service", "search").await["spec"]["ports"][0]["port"], 7700);
}
