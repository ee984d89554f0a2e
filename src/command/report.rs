//! `kubectl tenantry report NAME`: all that somebody needs who is asked for help, in a file that may be mailed.

use super::cluster::Cluster;
use super::completion;
use super::get::{find, look, screen};
use super::terminal::Style;
use super::{Failure, note, print};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ApiResource, DynamicObject, ListParams, LogParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use std::io::{Seek, Write};
use std::path::PathBuf;
use tenantry::api::Tenant;
use tenantry::inspect::{Redactor, State, cause};
use tenantry::instance::render::DATABASE_SECRET;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// So many last lines of each log.
const LINES: i64 = 2000;

/// What is in a tenant's namespace, as group, version, kind and plural. Its custom extras aren't: they may be anything.
const OF_TENANT: [(&str, &str, &str, &str); 17] = [
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "ReplicaSet", "replicasets"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("batch", "v1", "Job", "jobs"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "LimitRange", "limitranges"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "Service", "services"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("events.k8s.io", "v1", "Event", "events"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
];

/// What a tenant names.
const NAMED: [(&str, &str, &str, &str); 4] = [
    ("tenantry.dev", "v1alpha1", "Blueprint", "blueprints"),
    ("tenantry.dev", "v1alpha1", "Plan", "plans"),
    ("tenantry.dev", "v1alpha1", "Release", "releases"),
    ("tenantry.dev", "v1alpha1", "DatabaseServer", "databaseservers"),
];

/// Keys of the Secrets that the operator writes and reads whose values are no secret, but words that are everywhere.
const PUBLIC: [&str; 5] = ["username", "host", "port", "dbname", "ca.crt"];

/// What the operator consists of.
const OF_OPERATOR: [(&str, &str, &str, &str); 3] =
    [("", "v1", "Pod", "pods"), ("apps", "v1", "Deployment", "deployments"), ("coordination.k8s.io", "v1", "Lease", "leases")];

/// Options of `kubectl tenantry report`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The file holds the tenant and what it names, the objects of its namespace, events, the last lines of all its logs, and the same of the operator. Values of
Secrets, ConfigMaps, settings and environment variables are left out. In all else, logs too, every value of the tenant's Secrets and whatever looks like
a secret is replaced by [secret]; to know those values you need the right to read the tenant's Secrets. Look through it all the same before you mail it:
a customer's name is no secret to this program.

Examples:
  kubectl tenantry report acme
  kubectl tenantry report acme --file /tmp/acme.zip"
)]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// Where it is written; tenantry-report-NAME.zip in this folder, where left out.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The namespace of the operator.
    #[arg(short = 'n', long, value_name = "NAME", default_value = "tenantry-system")]
    namespace: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// Writes the file, and prints its name.
pub async fn report(options: Options) -> Result<(), Failure> {
    let client = options.cluster.client().await?;
    let tenant = find(&client, &options.name).await?;
    let path = options.file.clone().unwrap_or_else(|| PathBuf::from(format!("tenantry-report-{}.zip", options.name)));
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    // A report of yesterday isn't written over: it may be what is being talked about.
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| at(&error))?;
    let written = write(&client, &tenant, &options.namespace, file).await;
    if let Err(error) = written {
        let _ = std::fs::remove_file(&path);
        return Err(at(&error).into());
    }
    print(&format!("{}\n", path.display()))?;
    note(&format!("next: unzip -l {}, look through it, and mail it", path.display()));
    Ok(())
}

async fn write(client: &Client, tenant: &Tenant, operator: &str, file: impl Write + Seek) -> Result<(), Failure> {
    let namespace = tenant.status.as_ref().and_then(|status| status.namespace.clone());
    let (redactor, left_out) = redactor(client, namespace.as_deref(), operator).await;
    let mut bundle = Bundle { zip: ZipWriter::new(file), redactor, left_out };
    let found = look(client, tenant.clone()).await;
    bundle.add("screen.txt", &screen(&found, true, jiff::Timestamp::now(), Style::default()))?;
    bundle.objects("tenant.yaml", vec![with_kind(tenant)?])?;
    for kind in NAMED {
        let mut list = list(client, kind, None).await;
        // Other customers are nobody's business.
        if let Ok(objects) = &mut list {
            objects.retain(|object| is_named_by(tenant, object));
        }
        bundle.listed(&format!("{}.yaml", kind.3), list)?;
    }
    if let Some(namespace) = &namespace {
        for kind in OF_TENANT {
            let list = list(client, kind, Some(namespace)).await;
            bundle.listed(&format!("tenant/{}.yaml", kind.3), list)?;
        }
        bundle.logs(client, namespace, "tenant/logs").await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let jobs = Api::namespaced(client.clone(), namespace);
        let all = ListParams::default();
        if let (Ok(pods), Ok(jobs)) = tokio::join!(pods.list(&all), jobs.list(&all)) {
            let why = cause::cause(tenant, &pods.items, &jobs.items);
            bundle.add("why.txt", &format!("{}: {}: {}\n", State::of(tenant).word(), why.reason, why.sentence))?;
        }
    }
    for kind in OF_OPERATOR {
        let list = list(client, kind, Some(operator)).await;
        bundle.listed(&format!("operator/{}.yaml", kind.3), list)?;
    }
    bundle.logs(client, operator, "operator/logs").await?;
    let version = client.apiserver_version().await.map_or_else(|error| error.to_string(), |version| version.git_version);
    let program = env!("CARGO_PKG_VERSION");
    let left_out: String = bundle.left_out.iter().map(|line| format!("- {line}\n")).collect();
    let left_out = if left_out.is_empty() { "nothing\n".to_owned() } else { left_out };
    let text = format!(
        "Report of tenant {} at {}, by tenantry {program}, of Kubernetes {version}.\n\nWhat could not be read, or not be searched for:\n{left_out}",
        tenant.name_any(),
        jiff::Timestamp::now()
    );
    bundle.write("README.txt", &text)?;
    bundle.zip.finish()?;
    Ok(())
}

/// Knows the values of all Secrets of these namespaces, and says where it doesn't.
async fn redactor(client: &Client, namespace: Option<&str>, operator: &str) -> (Redactor, Vec<String>) {
    let (mut values, mut unknown) = (Vec::new(), Vec::new());
    for namespace in namespace.iter().chain([&operator]) {
        match Api::<Secret>::namespaced(client.clone(), namespace).list(&ListParams::default()).await {
            Ok(list) => {
                for secret in list.items {
                    // What somebody else keeps under the same key may be anything.
                    let is_known = secret.name_any() == DATABASE_SECRET || *namespace == operator;
                    let data = secret.data.unwrap_or_default().into_iter();
                    values.extend(data.filter(|(key, _)| !(is_known && PUBLIC.contains(&key.as_str()))).map(|(_, value)| value.0));
                }
            }
            Err(error) => {
                let why = format!("Secrets of {namespace}, so their values were not searched for in what is here: {error}");
                note(&why);
                unknown.push(why);
            }
        }
    }
    (Redactor::new(values), unknown)
}

/// Whether it is the tenant's blueprint, plan or database server, or a release of its blueprint.
fn is_named_by(tenant: &Tenant, object: &Value) -> bool {
    let spec = &tenant.spec;
    let server = tenant.status.as_ref().and_then(|status| status.database.as_ref()).map(|database| database.server.as_str());
    let name = object["metadata"]["name"].as_str();
    match object["kind"].as_str() {
        Some("Blueprint") => name == Some(&spec.blueprint),
        Some("Plan") => name == Some(&spec.plan),
        Some("DatabaseServer") => name.is_some() && name == server,
        _ => object["spec"]["blueprint"] == spec.blueprint.as_str(),
    }
}

/// The Tenant with its kind, which the client leaves out.
fn with_kind(tenant: &Tenant) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(tenant)?;
    value["apiVersion"] = "tenantry.dev/v1alpha1".into();
    value["kind"] = "Tenant".into();
    Ok(value)
}

/// All objects of a kind.
async fn list(
    client: &Client,
    (group, version, kind, plural): (&str, &str, &str, &str),
    namespace: Option<&str>,
) -> Result<Vec<Value>, kube::Error> {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.clone(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let list = api.list(&ListParams::default()).await?;
    let value = |object: DynamicObject| {
        let mut value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        (value["apiVersion"], value["kind"]) = (api_version.clone().into(), kind.into());
        Ok(value)
    };
    list.items.into_iter().map(value).collect()
}

/// The file in the making. Nothing gets into it but through the redactor.
struct Bundle<W: Write + Seek> {
    zip: ZipWriter<W>,
    redactor: Redactor,
    /// What could not be read.
    left_out: Vec<String>,
}

impl<W: Write + Seek> Bundle<W> {
    fn add(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let text = self.redactor.text(text);
        self.write(name, &text)
    }

    /// What is redacted already.
    fn write(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        self.zip.start_file(name, SimpleFileOptions::default())?;
        self.zip.write_all(text.as_bytes())?;
        Ok(())
    }

    fn objects(&mut self, name: &str, objects: Vec<Value>) -> Result<(), Failure> {
        let mut text = String::new();
        for object in &objects {
            text += &format!("---\n{}", serde_saphyr::to_string(&self.redactor.object(object))?);
        }
        // Each value by itself: in YAML a name that says secret stands before whatever the next line is.
        self.write(name, &text)
    }

    /// What was listed, if anything was.
    fn listed(&mut self, name: &str, list: Result<Vec<Value>, kube::Error>) -> Result<(), Failure> {
        match list {
            Ok(objects) if objects.is_empty() => Ok(()),
            Ok(objects) => self.objects(name, objects),
            // A kind that the cluster doesn't have.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                self.left_out.push(format!("{name}: {error}"));
                Ok(())
            }
        }
    }

    /// The last lines of all containers of a namespace, and of those that ran before them.
    async fn logs(&mut self, client: &Client, namespace: &str, folder: &str) -> Result<(), Failure> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let list = match pods.list(&ListParams::default()).await {
            Ok(list) => list.items,
            Err(error) => {
                self.left_out.push(format!("{folder}: {error}"));
                return Ok(());
            }
        };
        for pod in list {
            let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
            for status in statuses {
                let ended_before = status.restart_count > 0;
                for previous in [false, true].into_iter().filter(|previous| !previous || ended_before) {
                    let parameters = LogParams {
                        container: Some(status.name.clone()),
                        previous,
                        tail_lines: Some(LINES),
                        timestamps: true,
                        ..LogParams::default()
                    };
                    let name = format!("{folder}/{}-{}{}.log", pod.name_any(), status.name, if previous { "-previous" } else { "" });
                    match pods.logs(&pod.name_any(), &parameters).await {
                        Ok(text) => self.add(&name, &text)?,
                        Err(error) => self.left_out.push(format!("{name}: {error}")),
                    }
                }
            }
        }
        Ok(())
    }
}
