//! Releases: how a version and its blueprint come to tenants, wave after wave, and how they are stopped and taken back.

use crate::support::{LIMIT, NAMESPACE, Tenant, World, condition, manifest, unique, wait_until};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// A blueprint of the test's own and what is released of it.
struct Product {
    world: World,
    blueprint: String,
}

impl Product {
    async fn new() -> Self {
        let world = World::new().await;
        let blueprint = world.blueprint(json!({})).await;
        Self { world, blueprint }
    }

    async fn tenant(&self, changes: Value) -> Tenant {
        self.labelled(json!({}), changes).await
    }

    async fn labelled(&self, labels: Value, changes: Value) -> Tenant {
        let mut manifest = Tenant::new("follows").with(json!({"blueprint": self.blueprint})).with(changes).manifest();
        manifest["metadata"]["labels"] = labels;
        self.world.create(&manifest).await;
        let tenant = Tenant::of(&self.world, &manifest);
        tenant.ready().await;
        tenant
    }

    async fn release(&self, version: &str, changes: Value) -> Release {
        let name = unique("release");
        let mut spec = json!({"blueprint": self.blueprint, "version": version});
        for (key, value) in changes.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.world.create(&manifest("Release", &name, spec)).await;
        Release { world: self.world.clone(), name }
    }
}

struct Release {
    world: World,
    name: String,
}

impl Release {
    async fn get(&self) -> Value {
        self.world.get("Release", None, &self.name).await
    }

    async fn change(&self, spec: Value) -> &Self {
        self.world.merge("Release", None, &self.name, &json!({"spec": spec})).await;
        self
    }

    /// Waits until the look finds what it is after.
    async fn until<T>(&self, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        wait_until(&format!("Release {}: {what}", self.name), LIMIT, async || {
            let release = self.get().await;
            look(&release).ok_or_else(|| release["status"].to_string())
        })
        .await
    }

    /// Waits for what it is at.
    async fn state(&self, reason: &str) -> String {
        let is = |release: &Value| {
            let observed = release["status"]["observedGeneration"] == release["metadata"]["generation"];
            condition(release, "Ready").filter(|ready| observed && ready.reason == reason).map(|ready| ready.message)
        };
        self.until(&format!("is {reason}"), is).await
    }
}

async fn serves(tenant: &Tenant, version: &str) {
    tenant
        .until(&format!("serves {version}"), |tenant| {
            let is_ready = condition(tenant, "Ready").is_some_and(|ready| ready.status == "True");
            (is_ready && tenant["status"]["version"] == version).then_some(())
        })
        .await;
}

async fn image(tenant: &Tenant) -> String {
    let web = tenant.object("Deployment", "web").await;
    web["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_edited_blueprint_reaches_nobody_until_the_next_release_and_goes_back_with_it() {
    let product = Product::new().await;
    let tenant = product.tenant(json!({})).await;
    let first = product.release("1.1", json!({})).await;
    first.state("Complete").await;
    serves(&tenant, "1.1").await;

    let command = |command: &str| json!({"components": [{"name": "web", "command": [command], "port": 8000, "expose": {"path": "/"}}]});
    product.world.merge("Blueprint", None, &product.blueprint, &json!({"spec": command("serve-better")})).await;
    wait_until("the blueprint says that it has unreleased changes", LIMIT, async || {
        let blueprint = product.world.get("Blueprint", None, &product.blueprint).await;
        let said = condition(&blueprint, "Released").filter(|said| said.reason == "UnreleasedChanges");
        said.map(drop).ok_or_else(|| blueprint["status"].to_string())
    })
    .await;
    let runs = async || tenant.object("Deployment", "web").await["spec"]["template"]["spec"]["containers"][0]["command"].to_string();
    // Any look of the operator's at the tenant would show it.
    tenant.change(json!({"displayName": "Another name"})).await.ready().await;
    assert_eq!(runs().await, r#"["serve"]"#);
    assert!(tenant.find("Deployment", "worker").await.is_some());

    let second = product.release("1.2", json!({})).await;
    second.state("Complete").await;
    serves(&tenant, "1.2").await;
    assert_eq!(runs().await, r#"["serve-better"]"#);
    tenant.object_gone("Deployment", "worker").await;

    second.change(json!({"rolledBack": true})).await.state("RolledBack").await;
    serves(&tenant, "1.1").await;
    assert_eq!(runs().await, r#"["serve"]"#);
    assert!(tenant.find("Deployment", "worker").await.is_some(), "what the old blueprint has came back with it");
}

#[tokio::test]
async fn waves_open_one_after_another_and_only_so_many_move_at_once() {
    let product = Product::new().await;
    let internal = product.labelled(json!({"ring": "internal"}), json!({})).await;
    let mut tenants = Vec::new();
    for _ in 0..4 {
        tenants.push(product.tenant(json!({})).await);
    }
    let waves = json!([
        {"name": "own", "match": {"ring": "internal"}},
        {"name": "canary", "percent": 25, "soak": "2s"},
        {"name": "rest", "concurrency": 1},
    ]);
    let release = product.release("1.1", json!({"waves": waves})).await;
    let wave = |release: &Value, name: &str| {
        let waves = release["status"]["waves"].as_array().cloned().unwrap_or_default();
        waves.into_iter().find(|wave| wave["name"] == name).unwrap_or_default()
    };
    release.until("the first wave is open", |release| (!wave(release, "own")["opened"].is_null()).then_some(())).await;
    assert!(wave(&release.get().await, "canary")["opened"].is_null());
    for tenant in &tenants {
        assert_eq!(tenant.get().await["status"]["version"], "1.0");
    }
    release
        .until("it is complete, and never moved more than it may", |release| {
            let moving = wave(release, "rest")["tenants"]["moving"].as_u64().unwrap_or_default();
            assert!(moving <= 1, "{moving} move in the last wave");
            condition(release, "Ready").filter(|ready| ready.reason == "Complete")
        })
        .await;
    let status = release.get().await["status"].clone();
    let time = |name: &str, field: &str| wave(&json!({"status": status}), name)[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(time("own", "finished") <= time("canary", "opened"));
    assert!(time("rest", "opened").duration_since(time("canary", "finished")).as_secs() >= 2, "it soaked: {status}");
    assert_eq!((&status["progress"], &status["tenants"]["done"]), (&json!("5/5"), &json!(5)));
    for tenant in tenants.iter().chain([&internal]) {
        serves(tenant, "1.1").await;
    }
}

#[tokio::test]
async fn a_release_that_fails_stops_by_itself_and_leaves_the_old_version_serving() {
    let product = Product::new().await;
    let mut tenants = Vec::new();
    for _ in 0..3 {
        tenants.push(product.tenant(json!({})).await);
    }
    let waves = json!([{"name": "all", "concurrency": 1}]);
    let release = product.release("1.1-failing-migration", json!({"waves": waves})).await;
    let message = release.state("TooManyFailed").await;
    assert!(message.contains("1 of 3 tenants"), "{message}");
    let status = release.get().await["status"].clone();
    assert_eq!(status["tenants"], json!({"waiting": 2, "moving": 0, "done": 0, "failed": 1, "passedOver": 0}));
    assert_eq!(status["failures"][0]["reason"], "MigrationFailed");
    for tenant in &tenants {
        assert_eq!(tenant.get().await["status"]["version"], "1.0");
        assert!(image(tenant).await.ends_with(":1.0"));
    }
    // Whatever else is changed in it, it is judged anew, and is still too bad.
    release.change(json!({"health": {"within": "11m"}})).await.state("TooManyFailed").await;
    let mended = product.release("1.2", json!({})).await;
    mended.state("Complete").await;
    release.state("Superseded").await;
    for tenant in &tenants {
        serves(tenant, "1.2").await;
    }
}

#[tokio::test]
async fn a_release_that_shall_roll_back_by_itself_does() {
    let product = Product::new().await;
    let tenant = product.tenant(json!({})).await;
    let release = product.release("1.1-never-ready", json!({"onFailure": "Rollback", "health": {"within": "3s"}})).await;
    release.state("RolledBack").await;
    assert!(condition(&release.get().await, "Stalled").is_some());
    serves(&tenant, "1.0").await;
    assert!(image(&tenant).await.ends_with(":1.0"));
}

#[tokio::test]
async fn a_release_whose_image_does_not_exist_fails_and_everybody_is_served_on() {
    let product = Product::new().await;
    let (one, other) = (product.tenant(json!({})).await, product.tenant(json!({})).await);
    let changes = json!({"health": {"within": "4s"}, "waves": [{"name": "all", "concurrency": 1}]});
    let release = product.release("1.1-not-pullable", changes).await;
    release.state("TooManyFailed").await;
    let status = release.get().await["status"].clone();
    assert_eq!((&status["tenants"]["failed"], &status["tenants"]["waiting"]), (&json!(1), &json!(1)), "{status}");
    assert!(status["failures"][0]["message"].as_str().unwrap().starts_with("not ready within 4s"), "{status}");
    for tenant in [&one, &other] {
        assert!(image(tenant).await.ends_with(":1.0"), "the old version serves on");
    }
    release.change(json!({"rolledBack": true})).await.state("RolledBack").await;
    for tenant in [&one, &other] {
        serves(tenant, "1.0").await;
    }
}

#[tokio::test]
async fn a_pause_stops_within_a_second_and_what_has_begun_arrives() {
    let product = Product::new().await;
    let (one, other) = (product.tenant(json!({})).await, product.tenant(json!({})).await);
    let release = product.release("1.1-slow", json!({"waves": [{"name": "all", "concurrency": 1}]})).await;
    release.until("one moves", |release| (release["status"]["tenants"]["moving"] == 1).then_some(())).await;
    release.change(json!({"paused": true})).await.state("Paused").await;
    let done = |release: &Value| (release["status"]["tenants"]["done"] == 1).then_some(());
    release.until("who had begun has arrived", done).await;
    let status = release.get().await["status"].clone();
    assert_eq!((&status["tenants"]["moving"], &status["tenants"]["waiting"]), (&json!(0), &json!(1)));
    release.change(json!({"paused": false})).await.state("Complete").await;
    for tenant in [&one, &other] {
        serves(tenant, "1.1-slow").await;
    }
}

#[tokio::test]
async fn who_is_pinned_suspended_or_held_is_passed_over_and_comes_later_or_never() {
    let product = Product::new().await;
    let follows = product.tenant(json!({})).await;
    let pinned = product.tenant(json!({"release": {"version": "0.9"}})).await;
    let suspended = product.tenant(json!({"suspended": true})).await;
    let until = Timestamp::now().checked_add(1.hour()).unwrap().to_string();
    let held = product.tenant(json!({"release": {"hold": {"until": until}}})).await;
    let other = product.tenant(json!({"release": {"channel": "rc"}})).await;
    let release = product.release("1.1", json!({})).await;
    release.state("Complete").await;
    serves(&follows, "1.1").await;
    assert_eq!(release.get().await["status"]["tenants"]["passedOver"], 3);
    for (tenant, version) in [(&pinned, "0.9"), (&held, "1.0"), (&other, "1.0")] {
        tenant.change(json!({"displayName": "Looked at again"})).await.ready().await;
        serves(tenant, version).await;
    }
    suspended.change(json!({"suspended": false})).await;
    serves(&suspended, "1.1").await;
    held.change(json!({"release": {"hold": null}})).await;
    serves(&held, "1.1").await;
    pinned.change(json!({"release": {"version": null}})).await;
    serves(&pinned, "1.1").await;
}

#[tokio::test]
async fn a_release_waits_for_a_tenants_window_and_says_for_whom() {
    let product = Product::new().await;
    let at = |hours: i64| Timestamp::now().checked_add(hours.hours()).unwrap().strftime("%H:%M").to_string();
    let window = json!({"release": {"window": {"from": at(2), "to": at(3)}}});
    let tenant = product.tenant(window).await;
    let release = product.release("1.1", json!({})).await;
    let message = release.state("WaitingForWindows").await;
    assert!(message.contains(&tenant.name), "{message}");
    assert_eq!(release.get().await["status"]["waitingFor"][0]["tenant"], tenant.name.as_str());
    assert_eq!(tenant.get().await["status"]["version"], "1.0");
    tenant.change(json!({"release": {"window": {"from": at(-1), "to": at(1)}}})).await;
    release.state("Complete").await;
    serves(&tenant, "1.1").await;
}

#[tokio::test]
async fn where_a_digest_is_given_it_is_what_runs() {
    let product = Product::new().await;
    let tenant = product.tenant(json!({})).await;
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let release = product.release("1.1", json!({"image": {"tag": "main-42", "digest": digest}})).await;
    release.state("Complete").await;
    assert_eq!(image(&tenant).await, format!("localhost/sample@{digest}"));
    serves(&tenant, "1.1").await;
}

#[tokio::test]
async fn a_release_that_tenants_have_waits_with_its_deletion_until_another_has_come() {
    let product = Product::new().await;
    let tenant = product.tenant(json!({})).await;
    let release = product.release("1.1", json!({})).await;
    release.state("Complete").await;
    let held = |release: &Value| release["metadata"]["finalizers"].to_string().contains("tenantry.dev/in-use").then_some(());
    release.until("it is held", held).await;
    product.world.delete("Release", None, &release.name).await;
    let waits = |release: &Value| condition(release, "InUse").filter(|in_use| in_use.message.contains(&tenant.name)).map(drop);
    release.until("its condition names the tenant", waits).await;
    tenant.change(json!({"displayName": "Looked at again"})).await.ready().await;
    serves(&tenant, "1.1").await;
    // The next one could be taken back to it; with the one after that nobody would go back so far.
    let gone = async |release: &Release| product.world.find("Release", None, &release.name).await.is_none();
    product.release("1.2", json!({})).await.state("Complete").await;
    assert!(!gone(&release).await, "who is at 1.2 would go back to 1.1");
    let last = product.release("1.3", json!({})).await;
    last.state("Complete").await;
    wait_until("it goes when nobody would go back to it", LIMIT, async || {
        if gone(&release).await { Ok(()) } else { Err(release.get().await.to_string()) }
    })
    .await;
    let release = last;
    release.until("the last one is held", held).await;
    product.world.delete("Release", None, &release.name).await;
    tenant.change(json!({"deletion": {"policy": "Delete"}})).await.delete().await.gone().await;
    wait_until("it goes with its last tenant", LIMIT, async || match product.world.find("Release", None, &release.name).await {
        None => Ok(()),
        Some(release) => Err(release.to_string()),
    })
    .await;
    let snapshot = async || product.world.find("ControllerRevision", Some("tenantry-system"), &release.name).await;
    wait_until("its snapshot goes with it", LIMIT, async || match snapshot().await {
        None => Ok(()),
        Some(snapshot) => Err(snapshot["metadata"].to_string()),
    })
    .await;
}

#[tokio::test]
async fn a_newer_release_takes_over_and_nobody_begins_with_the_older_one_any_more() {
    let product = Product::new().await;
    let tenants = [product.tenant(json!({})).await, product.tenant(json!({})).await];
    let older = product.release("1.1-slow", json!({"waves": [{"name": "all", "concurrency": 1}]})).await;
    older.until("one moves", |release| (release["status"]["tenants"]["moving"] == 1).then_some(())).await;
    let newer = product.release("1.2", json!({})).await;
    older.state("Superseded").await;
    assert_eq!(older.get().await["status"]["supersededBy"], newer.name.as_str());
    newer.state("Complete").await;
    let mut had_the_older_one = 0;
    for tenant in &tenants {
        serves(tenant, "1.2").await;
        had_the_older_one += tenant.get().await["status"]["release"]["before"].as_array().map_or(0, Vec::len);
    }
    assert!(had_the_older_one <= 1, "one had begun, and nobody after it");
}

#[tokio::test]
async fn a_wave_that_is_skipped_is_not_waited_for_and_its_tenants_come_later() {
    let product = Product::new().await;
    let at = |hours: i64| Timestamp::now().checked_add(hours.hours()).unwrap().strftime("%H:%M").to_string();
    let closed = json!({"release": {"window": {"from": at(2), "to": at(3)}}});
    let internal = product.labelled(json!({"ring": "internal"}), closed).await;
    let tenant = product.tenant(json!({})).await;
    let waves = |skip: bool| json!([{"name": "own", "match": {"ring": "internal"}, "skip": skip}, {"name": "rest"}]);
    let release = product.release("1.1", json!({"waves": waves(false)})).await;
    release.state("WaitingForWindows").await;
    assert_eq!(release.get().await["status"]["wave"], "own");
    release.change(json!({"waves": waves(true)})).await;
    serves(&tenant, "1.1").await;
    assert_eq!(internal.get().await["status"]["version"], "1.0");
    internal.change(json!({"release": {"window": null}})).await;
    release.state("Complete").await;
    serves(&internal, "1.1").await;
}

#[tokio::test]
async fn blueprints_of_old_releases_go_once_nobody_would_go_back_to_them() {
    let product = Product::new().await;
    let mut releases = Vec::new();
    for number in 1..=5 {
        let release = product.release(&format!("1.{number}"), json!({})).await;
        release.state("Complete").await;
        releases.push(release);
    }
    let snapshot = async |release: &Release| product.world.find("ControllerRevision", Some("tenantry-system"), &release.name).await;
    for release in &releases[..2] {
        wait_until("its blueprint is gone", LIMIT, async || match snapshot(release).await {
            None => Ok(()),
            Some(_) => Err(release.get().await["status"].to_string()),
        })
        .await;
        assert!(release.get().await["status"]["snapshot"].is_null());
    }
    for release in &releases[2..] {
        assert!(snapshot(release).await.is_some(), "{}", release.name);
    }
    // Who comes now gets the newest, and a pin to a version whose blueprint is gone still names an image.
    let tenant = product.tenant(json!({})).await;
    serves(&tenant, "1.5").await;
    tenant.change(json!({"release": {"version": "1.1"}})).await;
    serves(&tenant, "1.1").await;
}

#[tokio::test]
async fn a_migration_that_is_at_work_when_its_release_is_rolled_back_is_left_to_its_end() {
    let product = Product::new().await;
    let tenant = product.tenant(json!({})).await;
    let before = tenant.names("Job").await;
    let release = product.release("1.1-slow", json!({})).await;
    let job = wait_until("the migration is at work", LIMIT, async || {
        let jobs = tenant.names("Job").await;
        jobs.into_iter().find(|job| !before.contains(job)).ok_or_else(|| "there is no other Job".to_owned())
    })
    .await;
    release.change(json!({"rolledBack": true})).await.state("RolledBack").await;
    serves(&tenant, "1.0").await;
    let is_over = |job: &Value| job["status"]["conditions"].to_string().contains("Complete");
    let left = tenant.find("Job", &job).await;
    assert!(left.is_some_and(|job| is_over(&job) || job["metadata"]["deletionTimestamp"].is_null()), "it was cut short");
    tenant.object_gone("Job", &job).await;
}

#[tokio::test]
async fn a_release_whose_name_is_taken_says_so_and_goes_on_once_it_is_free() {
    let product = Product::new().await;
    let tenant = product.tenant(json!({})).await;
    let name = unique("release");
    let taken = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": name, "namespace": NAMESPACE}, "data": {}, "revision": 1});
    product.world.create(&taken).await;
    let spec = json!({"blueprint": product.blueprint, "version": "2.0"});
    product.world.create(&manifest("Release", &name, spec)).await;
    let release = Release { world: product.world.clone(), name };
    let message = release.state("NotOurs").await;
    assert!(message.contains(&release.name) && message.contains("delete it"), "{message}");
    // Nothing watches what isn't ours.
    product.world.delete("ControllerRevision", Some(NAMESPACE), &release.name).await;
    release.state("Complete").await;
    serves(&tenant, "2.0").await;
}
