//! What the operator would do for a tenant, without doing it: its own pass, over what there is and what is to be, in front of an API server and a
//! database server that change nothing. So what is foreseen can't be told otherwise than it is done.

mod api;
mod given_up;

pub use api::Written;

use super::context::{Configuration, Context, Writers};
use super::holdings::Holding;
use super::live::Live;
use super::servers::Servers;
use super::{StartError, tenant, watch};
use crate::api::{Blueprint, DatabaseServer, Plan, Release, Tenant, labels};
use crate::client::Connection;
use crate::database;
use crate::instance::Settings;
use crate::instance::names::NAMESPACE_PREFIX;
use crate::instance::render::Kind;
use crate::lease::{Fence, Trust};
use crate::shards::{Shard, ShardCount};
use crate::telemetry::{Metrics, Requests};
use kube::Client;
use kube::api::ListParams;
use kube::runtime::reflector::{Lookup, store::Writer};
use kube::runtime::watcher::Event;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// So many tenants are looked at by lists of their namespaces; for more, all namespaces are listed at once.
const FEW: usize = 8;
const PAGE_SIZE: u32 = 500;
/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// All objects of our own kinds as they are to be.
#[derive(Clone, Default)]
pub struct OwnObjects {
    /// All tenants, because they share hosts and servers.
    pub tenants: Vec<Tenant>,
    /// All blueprints that these name.
    pub blueprints: Vec<Blueprint>,
    /// The same for plans.
    pub plans: Vec<Plan>,
    /// The same for database servers.
    pub servers: Vec<DatabaseServer>,
    /// The same for releases.
    pub releases: Vec<Release>,
    /// Blueprints as they stood, by the UID of the release.
    pub snapshots: HashMap<String, Blueprint>,
}

/// What would be done for a tenant.
#[derive(Debug)]
pub struct Foreseen {
    /// Its objects, in the order of their paths.
    pub objects: Vec<Written>,
    /// What would be changed in Postgres.
    pub database: Vec<database::Change>,
    /// Why the operator would stop before the end.
    pub stop: Option<String>,
}

/// A dry run over some tenants.
pub struct DryRun {
    context: Context,
    holding: Arc<Holding>,
    api: api::Api,
    database: Arc<database::DryRun>,
}

impl DryRun {
    /// Looks at what there is of these tenants, by a client with the rights of an admin.
    ///
    /// # Errors
    /// Where that can't be read.
    pub async fn new(
        client: Client,
        settings: Settings,
        own: OwnObjects,
        tenants: &[String],
        database: database::DryRun,
    ) -> Result<Self, StartError> {
        let api = api::Api::new(client);
        let connection = Connection::over(api.client(), Requests::default());
        let configuration = Configuration { settings, check_address: None, shards: ShardCount::ONE };
        let (mut context, writers) = Context::new(connection, Metrics::default(), configuration);
        let database = Arc::new(database);
        context.servers = Servers::in_dry_run(database.clone());
        let trust = Trust::default();
        trust.last_until(tokio::time::Instant::now() + FOR_EVER);
        context.begin(Shard::FIRST, Fence::new(&trust));
        let holding = context.holdings.coordinator().ok_or(StartError::OwnKindsMissing)?;
        take_in(&context, writers, own);
        list(&context, tenants).await?;
        watch::readmit(&context);
        Ok(Self { context, holding, api, database })
    }

    /// What would be done for one of the tenants.
    pub async fn of(&self, name: &str) -> Foreseen {
        let result = tenant::foresee(&self.context, &self.holding, name).await;
        Foreseen {
            objects: self.api.take().into_values().collect(),
            database: self.database.take(),
            stop: result.err().map(|stop| stop.to_string()),
        }
    }
}

fn take_in(context: &Context, writers: Writers, own: OwnObjects) {
    fill(writers.tenants, own.tenants);
    fill(writers.blueprints, own.blueprints);
    fill(writers.plans, own.plans);
    fill(writers.servers, own.servers);
    fill(writers.releases, own.releases);
    context.releases.take_in(context.stores.releases.state());
    for (release, blueprint) in own.snapshots {
        context.releases.keep_snapshot(&release, blueprint);
    }
}

fn fill<K>(mut writer: Writer<K>, objects: Vec<K>)
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        writer.apply_watcher_event(&Event::InitApply(object));
    }
    writer.apply_watcher_event(&Event::InitDone);
}

/// Takes in what there is of these tenants' instances.
async fn list(context: &Context, tenants: &[String]) -> Result<(), StartError> {
    for kind in watch::kinds_of_this_cluster(context).await? {
        let resource = kind.api_resource();
        let all: kube::Api<Live> = kube::Api::all_with(context.reader.clone(), &resource);
        if tenants.len() > FEW {
            take_in_list(context, &kind, &all).await?;
            continue;
        }
        for tenant in tenants {
            let namespace = format!("{NAMESPACE_PREFIX}{tenant}");
            if !kind.is_cluster_scoped() {
                take_in_list(context, &kind, &kube::Api::namespaced_with(context.reader.clone(), &namespace, &resource)).await?;
            } else if let Some(live) = all.get_opt(&namespace).await? {
                context.inventory.record(&kind, live);
            }
        }
    }
    Ok(())
}

async fn take_in_list(context: &Context, kind: &Kind, api: &kube::Api<Live>) -> Result<(), StartError> {
    let mut parameters = ListParams::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGER)).limit(PAGE_SIZE);
    loop {
        let page = api.list(&parameters).await?;
        for live in page.items {
            context.inventory.record(kind, live);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(()),
        }
    }
}
