//! What the product of a lane's tenants would notice of the operator: whether its login works, whether its rows are there, whether it is the same.

use crate::support::{Cluster, Postgres, query};
use crate::workloads::Workload;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The values of Secrets, by namespace, name and key.
type Values = BTreeMap<(String, String, String), String>;

/// What is known of the instances of a lane.
pub struct Product {
    host: String,
    port: u16,
    database: String,
    authority: String,
    /// The namespace of the tenant that tells for all.
    namespace: String,
    /// The values of the tenants' Secrets at the end of the last run.
    secrets: Values,
    /// The rows that each tenant's product has written, by namespace.
    rows: BTreeMap<String, u32>,
    /// The generations of its Deployments when the run began: one that has another since was given what its Secret then said.
    generations: BTreeMap<String, i64>,
}

impl Product {
    /// The product of tenants whose data is here.
    pub fn new(postgres: &Postgres) -> Self {
        Self {
            host: postgres.host.clone(),
            port: postgres.port,
            database: postgres.database.clone(),
            authority: postgres.authority.clone(),
            namespace: String::new(),
            secrets: Values::new(),
            rows: BTreeMap::new(),
            generations: BTreeMap::new(),
        }
    }

    /// A run begins, in which this tenant tells for all.
    pub async fn begin(&mut self, cluster: &Cluster, tenant: &str) {
        self.namespace = format!("tenant-{tenant}");
        self.generations = generations(&cluster.list("Deployment", Some(&self.namespace), "").await);
    }

    /// The tenants are gone.
    pub fn forget(&mut self) {
        self.secrets.clear();
    }

    /// The tenant's login works, and no value is another than before, unless that was asked for.
    pub async fn keeps(&mut self, cluster: &Cluster, workload: Workload) -> Result<(), String> {
        if workload == Workload::Delete {
            self.forget();
            return Ok(());
        }
        let values = read_secrets(cluster).await;
        let may_change = |secret: &str| workload == Workload::Create || (workload == Workload::Rotate && secret == "database");
        let before = std::mem::replace(&mut self.secrets, values.clone());
        let changed: Vec<_> = values.iter().filter(|(name, value)| !may_change(&name.1) && before.get(*name) != Some(value)).collect();
        if !changed.is_empty() {
            return Err(format!("values of Secrets changed: {:?}", changed.iter().map(|(name, _)| name).collect::<Vec<_>>()));
        }
        for tenant in values.keys().map(|(namespace, ..)| namespace).collect::<BTreeSet<_>>() {
            self.use_database(workload, tenant, &values).await?;
        }
        Ok(())
    }

    /// Does as the tenant's product does: logs in with what the Secret says, finds all rows that it wrote, and writes one more.
    async fn use_database(&mut self, workload: Workload, tenant: &str, values: &Values) -> Result<(), String> {
        let rows = "CREATE TABLE IF NOT EXISTS kept (line text); INSERT INTO kept VALUES ('a'); SELECT count(*) FROM kept";
        let count = self.log_in(values, tenant, rows).await.map_err(|error| format!("the login of the Secret doesn't work: {error}"))?;
        let count: u32 = count.parse().map_err(|_| format!("the rows can't be counted: {count}"))?;
        let before = self.rows.insert(tenant.to_owned(), count).filter(|_| workload != Workload::Create).unwrap_or_default();
        if count == before + 1 { Ok(()) } else { Err(format!("{tenant} has {count} rows, and wrote {}", before + 1)) }
    }

    /// Runs SQL with the login that these Secrets hold.
    async fn log_in(&self, values: &Values, tenant: &str, sql: &str) -> Result<String, String> {
        let value = |key: &str| {
            values
                .get(&(tenant.to_owned(), "database".to_owned(), key.to_owned()))
                .ok_or(format!("Secret database of {tenant} has no {key}"))
        };
        let (user, password) = (value("username")?, value("password")?);
        let Self { host, port, database, .. } = self;
        query(&format!("postgresql://{user}:{password}@{host}:{port}/{database}?sslmode=require"), &self.authority, sql).await
    }

    /// Whenever the operator ends, pods that run can go on using their database, and so can those that start meanwhile: a Deployment that wasn't
    /// changed yet has pods with the login of before.
    pub async fn is_served(&self, cluster: &Cluster) -> Result<(), String> {
        let deployments = cluster.list("Deployment", Some(&self.namespace), "").await;
        if deployments.is_empty() {
            return Ok(());
        }
        let now = read_secrets(cluster).await;
        self.log_in(&now, &self.namespace, "SELECT").await.map_err(|error| format!("pods that start now can't log in: {error}"))?;
        if generations(&deployments).iter().any(|deployment| self.generations.get(deployment.0) == Some(deployment.1)) {
            self.log_in(&self.secrets, &self.namespace, "SELECT")
                .await
                .map_err(|error| format!("pods that run can't log in any more: {error}"))?;
        }
        Ok(())
    }
}

/// All values of the tenants' Secrets.
async fn read_secrets(cluster: &Cluster) -> Values {
    let mut values = Values::new();
    for secret in cluster.list("Secret", None, "app.kubernetes.io/managed-by=tenantry").await {
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let of = |field: &str| secret["metadata"][field].as_str().unwrap_or_default().to_owned();
            let decoded = BASE64.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
            values.insert((of("namespace"), of("name"), key.clone()), String::from_utf8_lossy(&decoded).into_owned());
        }
    }
    values
}

fn generations(objects: &[Value]) -> BTreeMap<String, i64> {
    let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap_or_default();
    objects.iter().map(|object| (object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), generation(object))).collect()
}
