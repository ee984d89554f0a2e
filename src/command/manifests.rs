//! The manifests that an instance is drawn from: read from files and checked as the API server would check them, or from a cluster; and found again by
//! name.

use super::Failure;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenantry::api::blueprint::BlueprintSpec;
use tenantry::api::release::{ReleaseImage, ReleaseStatus, WaveStatus};
use tenantry::api::{Blueprint, DatabaseServer, Plan, Release, Tenant, schema};
use tenantry::controller::dry_run::OwnObjects;
use tenantry::instance::resolve::{Inputs, resolve};
use tenantry::instance::{Instance, Settings, placement};
use tenantry::release::{Lot, snapshot, target};

/// What the files hold.
#[derive(Default)]
pub struct Manifests {
    pub tenants: Vec<Tenant>,
    pub(super) blueprints: Vec<Blueprint>,
    pub(super) plans: Vec<Plan>,
    pub(super) servers: Vec<DatabaseServer>,
    pub(super) releases: Vec<Release>,
    /// Blueprints as they stood, by the UID of the release.
    snapshots: HashMap<String, Blueprint>,
    /// All of our own kinds in the files, as they were written.
    pub(super) documents: Vec<Value>,
    /// What is wrong, with file and place.
    problems: Vec<String>,
}

/// What a tenant runs.
struct Running<'a> {
    blueprint: &'a Blueprint,
    /// The version; none where it is the one that the blueprint names.
    version: Option<String>,
    image: Option<ReleaseImage>,
}

impl Manifests {
    /// Reads files, folders of them, and, for `-`, standard input.
    ///
    /// # Errors
    /// Where one can't be read, and for all that is wrong with what is in them.
    pub fn read_all<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<Self, Failure> {
        let mut manifests = Self::default();
        for path in paths {
            manifests.read(path)?;
        }
        let problems: Vec<_> = manifests.problems.iter().map(|problem| format!("\n  {problem}")).collect();
        if !problems.is_empty() {
            return Err(format!("there is something wrong with the manifests:{}", problems.concat()).into());
        }
        Ok(manifests)
    }

    /// Reads what a tenant of a cluster is drawn from. The blueprints that its releases keep are in the operator's namespace.
    ///
    /// # Errors
    /// Where there is no such tenant, or where something may not be read.
    pub async fn of_cluster(client: &Client, name: &str, namespace: &str) -> Result<Self, Failure> {
        let tenant = super::get::find(client, name).await?;
        Ok(Self { tenants: vec![tenant], ..Self::of_all_tenants(client, namespace).await? })
    }

    /// Reads all tenants of a cluster, and what they are drawn from.
    ///
    /// # Errors
    /// Where something may not be read.
    pub async fn of_fleet(client: &Client, namespace: &str) -> Result<Self, Failure> {
        let tenants = Api::all(client.clone()).list(&ListParams::default()).await?.items;
        Ok(Self { tenants, ..Self::of_all_tenants(client, namespace).await? })
    }

    /// What tenants of a cluster have in common.
    async fn of_all_tenants(client: &Client, namespace: &str) -> Result<Self, Failure> {
        let all = ListParams::default();
        let (blueprints, plans, servers, releases) =
            (Api::all(client.clone()), Api::all(client.clone()), Api::all(client.clone()), Api::all(client.clone()));
        let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
        let (blueprints, plans, servers, releases, revisions) =
            tokio::try_join!(blueprints.list(&all), plans.list(&all), servers.list(&all), releases.list(&all), revisions.list(&all))?;
        Ok(Self {
            blueprints: blueprints.items,
            plans: plans.items,
            servers: servers.items,
            releases: releases.items,
            snapshots: revisions.items.into_iter().filter_map(snapshot::read).collect(),
            ..Self::default()
        })
    }

    /// All of it as the operator would find it. A release without a status is taken for the end of its way, as in [`Self::instance`].
    pub fn into_own_objects(self) -> OwnObjects {
        let Self { tenants, blueprints, plans, servers, releases, mut snapshots, .. } = self;
        let now = jiff::Timestamp::now();
        let arrived: Vec<_> = at_their_ends(&releases, now).collect();
        for (_, release) in releases.iter().zip(&arrived).filter(|(before, _)| before.revision().is_none()) {
            let blueprint = blueprints.iter().find(|blueprint| blueprint.name_any() == release.spec.blueprint);
            snapshots.extend(release.uid().zip(blueprint.cloned()));
        }
        OwnObjects { tenants, blueprints, plans, servers, releases: arrived, snapshots }
    }

    /// The tenant of this name.
    ///
    /// # Errors
    /// Where it is in none of the files.
    pub fn tenant(&self, name: &str) -> Result<&Tenant, Failure> {
        let found = self.tenants.iter().find(|tenant| tenant.name_any() == name);
        Ok(found.ok_or_else(|| format!("none of the files holds the Tenant {name}: add it with -f"))?)
    }

    /// Changes what all tenants have in common, as the cluster or the files have it and as releases keep it.
    pub fn change_blueprints(&mut self, change: impl Fn(&mut BlueprintSpec)) {
        self.blueprints.iter_mut().chain(self.snapshots.values_mut()).for_each(|blueprint| change(&mut blueprint.spec));
    }

    /// A tenant's instance, as its release has it.
    ///
    /// # Errors
    /// Where something that it names is in none of the files, or where it can't be so.
    pub fn instance(&self, tenant: &Tenant, settings: &Settings) -> Result<Instance, Failure> {
        let running = self.running(tenant)?;
        let server = if running.blueprint.spec.database.is_some() { Some(self.server(tenant)?) } else { None };
        let instance = resolve(&Inputs {
            tenant,
            blueprint_name: &tenant.spec.blueprint,
            blueprint: &running.blueprint.spec,
            version: running.version.as_deref(),
            image: running.image.as_ref(),
            plan: &self.plan(tenant)?.spec,
            server,
            settings,
            now: &Time(jiff::Timestamp::now()),
        });
        Ok(instance.map_err(|error| format!("tenant {}: {error}", tenant.name_any()))?)
    }

    fn read(&mut self, path: &Path) -> Result<(), Failure> {
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|error| at(&error))?;
            let files: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
            let mut files = files.map_err(|error| at(&error))?;
            files.retain(|file| file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known)));
            files.sort();
            return files.iter().try_for_each(|file| self.read(file));
        }
        let mut text = String::new();
        if path == Path::new("-") {
            std::io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input: {error}"))?;
        } else {
            text = std::fs::read_to_string(path).map_err(|error| at(&error))?;
        }
        let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        match serde_saphyr::from_multiple::<Value>(&text) {
            Ok(documents) => documents.into_iter().for_each(|document| self.add(&name, document)),
            Err(error) => self.problems.push(format!("{name}: it is no YAML: {error}")),
        }
        Ok(())
    }

    /// Takes a manifest, or each of a list. What isn't of our group is somebody else's.
    fn add(&mut self, file: &str, document: Value) {
        if document["kind"] == "List" {
            for item in document["items"].as_array().into_iter().flatten() {
                self.add(file, item.clone());
            }
            return;
        }
        if document["apiVersion"] == "apps/v1" && document["kind"] == "ControllerRevision" {
            let revision: Option<ControllerRevision> = serde_json::from_value(document).ok();
            self.snapshots.extend(revision.and_then(snapshot::read));
            return;
        }
        if document.is_null() || document["apiVersion"].as_str().is_some_and(|version| !version.starts_with(tenantry::api::GROUP)) {
            return;
        }
        let kind = document["kind"].as_str().unwrap_or("object without a kind").to_owned();
        let name = document["metadata"]["name"].as_str().unwrap_or("without a name").to_owned();
        let admitted = match schema::admit(&document) {
            Ok(admitted) => admitted,
            Err(problems) => {
                self.problems.extend(problems.into_iter().map(|problem| format!("{file}: {kind} {name}: {problem}")));
                return;
            }
        };
        self.documents.push(document);
        let taken = match kind.as_str() {
            "Tenant" => take(&mut self.tenants, admitted),
            "Blueprint" => take(&mut self.blueprints, admitted),
            "Plan" => take(&mut self.plans, admitted),
            "Release" => take(&mut self.releases, admitted),
            _ => take(&mut self.servers, admitted),
        };
        if let Err(problem) = taken {
            self.problems.push(format!("{file}: {kind} {name}: {problem}"));
        }
    }

    /// The plan that a tenant names.
    ///
    /// # Errors
    /// Where it is in none of the files.
    fn plan(&self, tenant: &Tenant) -> Result<&Plan, Failure> {
        let name = &tenant.spec.plan;
        Ok(self.plans.iter().find(|plan| plan.name_any() == *name).ok_or_else(|| missing(tenant, "Plan", name))?)
    }

    /// What a tenant runs, as the status of its blueprint's releases has it. A release without one, as it is kept in Git, is taken for the end of its
    /// way: it has come to everybody, and has the blueprint of the files.
    ///
    /// # Errors
    /// Where the blueprint, or the blueprint as it stood, is in none of the files.
    fn running(&self, tenant: &Tenant) -> Result<Running<'_>, Failure> {
        let name = &tenant.spec.blueprint;
        let now = jiff::Timestamp::now();
        let releases = target::ordered(at_their_ends(&self.releases, now).map(Arc::new), name);
        let target = target::target(tenant, &releases, now);
        let kept = |release: &Release| {
            let is_of_cluster = self.releases.iter().any(|known| known.name_any() == release.name_any() && known.revision().is_some());
            is_of_cluster.then(|| (release.name_any(), release.uid().and_then(|uid| self.snapshots.get(&uid))))
        };
        let blueprint = match target.snapshot.and_then(kept) {
            Some((_, Some(snapshot))) => snapshot,
            Some((release, None)) => {
                return Err(format!(
                    "tenant {} runs release {release}, whose blueprint as it stood is in the ControllerRevision {release} of the operator's \
                     namespace: add it with -f, as from: kubectl get controllerrevision {release} -n tenantry-system -o yaml",
                    tenant.name_any()
                )
                .into());
            }
            None => {
                self.blueprints.iter().find(|blueprint| blueprint.name_any() == *name).ok_or_else(|| missing(tenant, "Blueprint", name))?
            }
        };
        let image = target.release.and_then(|release| release.spec.image.clone());
        Ok(Running { blueprint, version: target.version.map(str::to_owned), image })
    }

    /// Where the tenant is placed, or would be if it were the first.
    ///
    /// # Errors
    /// Where that is in none of the files, or there is no server that it could be on.
    fn server(&self, tenant: &Tenant) -> Result<&DatabaseServer, Failure> {
        let placed = tenant.status.as_ref().and_then(|status| status.database.as_ref()).map(|database| database.server.as_str());
        let names: Vec<_> = self.servers.iter().map(|server| server.name_any()).collect();
        let candidates: Vec<_> = self
            .servers
            .iter()
            .zip(&names)
            .map(|(server, name)| placement::Candidate {
                name,
                region: server.spec.region.as_deref(),
                capacity: server.spec.capacity.tenants,
                tenants: 0,
                reachable: true,
            })
            .collect();
        let first = || placement::choose(&candidates, tenant.spec.region.as_deref());
        let chosen = match placed {
            Some(name) => name,
            None => first().map_err(|error| format!("tenant {}: {error} (with -f)", tenant.name_any()))?,
        };
        self.servers.iter().find(|server| server.name_any() == chosen).ok_or_else(|| {
            format!("tenant {} is placed on the DatabaseServer {chosen}, which is in none of the files: add it with -f", tenant.name_any())
                .into()
        })
    }
}

fn missing(tenant: &Tenant, kind: &str, name: &str) -> String {
    format!("tenant {} names the {kind} {name}, which is in none of the files: add it with -f", tenant.name_any())
}

/// The releases, each numbered, and once it has come to everybody.
fn at_their_ends(releases: &[Release], now: jiff::Timestamp) -> impl Iterator<Item = Release> {
    let last = releases.iter().filter_map(Release::revision).max().unwrap_or_default();
    releases.iter().zip(last + 1..).map(move |(release, next)| arrived(release, next, now))
}

/// The release once it has come to everybody, unless it says itself how far it is. One that is paused from the beginning comes to nobody.
fn arrived(release: &Release, number: i64, now: jiff::Timestamp) -> Release {
    let mut release = release.clone();
    if release.revision().is_none() {
        let open = |name: &String| WaveStatus {
            name: name.clone(),
            opened: Some(Time(now)),
            bound: Some(Lot::LAST.to_string()),
            reach: Some(Lot::LAST.to_string()),
            ..WaveStatus::default()
        };
        release.metadata.uid.get_or_insert_with(|| release.metadata.name.clone().unwrap_or_default());
        let begun = !release.spec.paused;
        release.status = Some(ReleaseStatus {
            revision: Some(number),
            snapshot: release.metadata.name.clone(),
            waves: release.spec.waves.iter().filter(|_| begun).map(|wave| open(&wave.name)).collect(),
            finished: begun.then_some(Time(now)),
            ..ReleaseStatus::default()
        });
    }
    release
}

/// Adds the object, unless one of its name is there.
fn take<K: ResourceExt + serde::de::DeserializeOwned>(taken: &mut Vec<K>, manifest: Value) -> Result<(), String> {
    let object: K = serde_json::from_value(manifest).map_err(|error| error.to_string())?;
    if taken.iter().any(|before| before.name_any() == object.name_any()) {
        return Err("it is there twice: leave one out".to_owned());
    }
    taken.push(object);
    Ok(())
}
