//! `kubectl tenantry compose NAME`: one tenant's instance as a file of Docker Compose, to run the product on a notebook as that customer has it.
//!
//! The format is that of the [Compose Specification](https://github.com/compose-spec/compose-spec/blob/main/spec.md).

use super::cluster::Cluster;
use super::completion;
use super::manifests::Manifests;
use super::{Failure, note, print};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tenantry::database::generate_password;
use tenantry::instance::quantity::thousandths;
use tenantry::instance::render::{self, Kind, Object, Rendered, Serving};
use tenantry::instance::{Component, Instance, Settings};
use tenantry::random::letters;

/// Options of `kubectl tenantry compose`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The file has the tenant's components at its version, with its settings, its migration and a Postgres of its own, which is empty. Its secrets are made
anew each time: none of the customer's secrets or data leaves the cluster. Extras of the blueprint that aren't Deployments are left out.

Examples:
  kubectl tenantry compose acme > compose.yaml && docker compose up
  kubectl tenantry compose acme -f manifests/ --port 9000 > compose.yaml      without a cluster"
)]
pub struct Options {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    /// A file, a folder of them, or - for standard input, with the tenant and all that it names, instead of the cluster. May be given
    /// several times.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The port of this machine at which the page is.
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,
    /// The image of Postgres.
    #[arg(long, value_name = "IMAGE", default_value = "postgres:17")]
    postgres: String,
    /// The namespace of the operator.
    #[arg(short = 'n', long, value_name = "NAME", default_value = "tenantry-system")]
    namespace: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// Prints the file.
pub async fn compose(options: Options) -> Result<(), Failure> {
    let mut manifests = if options.files.is_empty() {
        Manifests::of_cluster(&options.cluster.client().await?, &options.name, &options.namespace).await?
    } else {
        Manifests::read_all(&options.files)?
    };
    // Browsers take every name below localhost for this machine, so the product serves the name that it was told it has.
    manifests.change_blueprints(|blueprint| {
        blueprint.base_domain = "localhost".to_owned();
        let is_deployment = |kind: &str, version: &str| kind == Kind::DEPLOYMENT.kind && version == Kind::DEPLOYMENT.api_version();
        blueprint.extras.retain(|extra| is_deployment(&extra.kind, &extra.api_version));
        if let Some(ingress) = &mut blueprint.ingress {
            (ingress.tls, ingress.port) = (None, Some(options.port));
        }
        if let Some(gateway) = &mut blueprint.gateway {
            (gateway.tls, gateway.port) = (None, Some(options.port));
        }
    });
    let mut tenant = manifests.tenant(&options.name)?.clone();
    tenant.spec.domains = Vec::new();
    tenant.spec.suspended = false;
    tenant.spec.expires_at = None;
    tenant.spec.deletion.at = None;
    let settings = Settings {
        namespace: options.namespace.clone(),
        service_account: String::new(),
        // Whether the operator may make them isn't asked here.
        extra_kinds: vec![Kind::DEPLOYMENT],
    };
    let instance = manifests.instance(&tenant, &settings)?;
    let secrets = Secrets::new(&instance);
    let project = project(&instance, &settings, &secrets, &options)?;
    print(&format!("{}{}", head(&instance), serde_saphyr::to_string(&project)?))?;
    note(&format!("next: docker compose up, and then {}", address(&instance)));
    Ok(())
}

fn address(instance: &Instance) -> &str {
    instance.routing.as_ref().map_or("(it has no page)", |routing| &routing.url)
}

fn head(instance: &Instance) -> String {
    format!(
        "# {} ({}), {} {}, for this machine alone: {}\n# The passwords below were made for it.\n",
        instance.name,
        instance.display_name.replace(char::is_control, " "),
        instance.blueprint,
        instance.version,
        address(instance)
    )
}

/// What is made anew for each file.
struct Secrets {
    password: String,
    generated: BTreeMap<String, String>,
}

impl Secrets {
    fn new(instance: &Instance) -> Self {
        let generated = instance.generated_secrets.iter().map(|secret| (secret.env.clone(), letters(secret.generate.length as usize)));
        Self { password: generate_password(), generated: generated.collect() }
    }
}

/// The whole file.
fn project(instance: &Instance, settings: &Settings, secrets: &Secrets, options: &Options) -> Result<Value, Failure> {
    let version = instance.version.as_str();
    let rendered = render::render(instance, settings, Some(&Serving { version, configuration: "" }));
    let database = name_of_database(instance);
    let environment = Environment { instance, secrets, database };
    let mut services = Map::new();
    let mut needs = Map::new();
    if let Some(found) = &instance.database {
        services.insert(database.to_owned(), postgres(&options.postgres, &found.owner, &found.name, &secrets.password));
        needs.insert(database.to_owned(), json!({"condition": "service_healthy"}));
    }
    if let Some(job) = of_kind::<Job>(rendered.migration.as_ref(), &Kind::JOB) {
        let pod = job.spec.and_then(|spec| spec.template.spec).unwrap_or_default();
        let mut service = service(&pod, &environment);
        service.insert("restart".to_owned(), "no".into());
        service.insert("depends_on".to_owned(), needs.clone().into());
        services.insert("migrate".to_owned(), service.into());
        needs.insert("migrate".to_owned(), json!({"condition": "service_completed_successfully"}));
    }
    for (name, pod) in pods(&rendered) {
        let mut service = service(&pod, &environment);
        service.insert("restart".to_owned(), "unless-stopped".into());
        if !needs.is_empty() {
            service.insert("depends_on".to_owned(), needs.clone().into());
        }
        services.insert(name, service.into());
    }
    let mut project = json!({"name": instance.name.as_str()});
    publish(instance, options.port, &mut services, &mut project);
    project["services"] = services.into();
    if instance.database.is_some() {
        project["volumes"] = json!({"data": {}});
    }
    escape(&mut project);
    Ok(project)
}

/// What no component is called.
fn name_of_database(instance: &Instance) -> &'static str {
    let is_free = |name: &&str| !instance.components.iter().any(|component| component.spec.name == **name);
    ["database", "postgres", "tenant-database"].into_iter().find(is_free).unwrap_or("tenant-database")
}

fn postgres(image: &str, user: &str, database: &str, password: &str) -> Value {
    json!({
        "image": image,
        // Where the image keeps the data differs between versions.
        "environment": {"POSTGRES_USER": user, "POSTGRES_DB": database, "POSTGRES_PASSWORD": password, "PGDATA": "/data/postgres"},
        "healthcheck": {"test": ["CMD", "pg_isready", "--username", user, "--dbname", database], "interval": "1s", "retries": 60},
        "volumes": ["data:/data"],
        "restart": "unless-stopped",
    })
}

/// The pods of Deployments, by name.
fn pods(rendered: &Rendered) -> impl Iterator<Item = (String, PodSpec)> {
    let deployments = rendered.all().filter_map(|object| of_kind::<Deployment>(Some(object), &Kind::DEPLOYMENT));
    deployments.filter_map(|deployment| Some((deployment.metadata.name?, deployment.spec.template.spec?)))
}

fn of_kind<K: serde::de::DeserializeOwned>(object: Option<&Object>, kind: &Kind) -> Option<K> {
    let object = object.filter(|object| object.key.kind == *kind)?;
    serde_json::from_value(object.content.clone()).ok()
}

/// What containers are told.
struct Environment<'a> {
    instance: &'a Instance,
    secrets: &'a Secrets,
    /// The service that Postgres is.
    database: &'a str,
}

impl Environment<'_> {
    /// The environment of a container, in the order in which Kubernetes puts it together: later values win, and may refer to earlier ones.
    fn of(&self, container: &Container) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for source in container.env_from.iter().flatten() {
            if source.config_map_ref.is_some() {
                variables.extend(self.instance.environment.clone());
            }
            if source.secret_ref.is_some() {
                variables.extend(self.secrets.generated.clone());
            }
        }
        for variable in container.env.iter().flatten() {
            let value = match (&variable.value, &variable.value_from) {
                (Some(value), _) => expand(value, &variables),
                (None, Some(source)) => match (&source.secret_key_ref, &self.instance.database) {
                    (Some(key), Some(database)) if key.name == render::DATABASE_SECRET => {
                        self.of_database(&key.key, &database.owner, &database.name)
                    }
                    _ => continue,
                },
                (None, None) => String::new(),
            };
            variables.insert(variable.name.clone(), value);
        }
        variables
    }

    /// What the Secret of the database would say.
    fn of_database(&self, key: &str, user: &str, name: &str) -> String {
        let (host, password) = (self.database, &self.secrets.password);
        match key {
            "host" => host.to_owned(),
            "port" => "5432".to_owned(),
            "dbname" => name.to_owned(),
            "username" => user.to_owned(),
            "password" => password.clone(),
            "jdbc-uri" => format!("jdbc:postgresql://{host}:5432/{name}?user={user}&password={password}&sslmode=disable"),
            "pgpass" => format!("{host}:5432:{name}:{user}:{password}\n"),
            _ => format!("postgresql://{user}:{password}@{host}:5432/{name}?sslmode=disable"),
        }
    }
}

/// A container, with what Kubernetes would hold it to.
fn service(pod: &PodSpec, environment: &Environment<'_>) -> Map<String, Value> {
    let Some(container) = pod.containers.first() else { return Map::new() };
    let variables = environment.of(container);
    let expanded = |words: &Option<Vec<String>>| words.iter().flatten().map(|word| expand(word, &variables)).collect::<Vec<_>>();
    let mut service = Map::new();
    service.insert("image".to_owned(), container.image.clone().into());
    let (entrypoint, arguments) = (expanded(&container.command), expanded(&container.args));
    if !entrypoint.is_empty() {
        service.insert("entrypoint".to_owned(), entrypoint.into());
    }
    if !arguments.is_empty() {
        service.insert("command".to_owned(), arguments.into());
    }
    service.insert("environment".to_owned(), json!(variables));
    service.insert("read_only".to_owned(), true.into());
    service.insert("cap_drop".to_owned(), json!(["ALL"]));
    service.insert("security_opt".to_owned(), json!(["no-new-privileges:true"]));
    let mounts = container.volume_mounts.iter().flatten();
    let is_empty_dir = |name: &str| pod.volumes.iter().flatten().any(|volume| volume.name == name && volume.empty_dir.is_some());
    let scratch: Vec<_> = mounts.filter(|mount| is_empty_dir(&mount.name)).map(|mount| mount.mount_path.clone()).collect();
    if !scratch.is_empty() {
        service.insert("tmpfs".to_owned(), scratch.into());
    }
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    if let Some(bytes) = limits.and_then(|limits| thousandths(&limits.get("memory")?.0)).map(|amount| amount / 1000) {
        service.insert("mem_limit".to_owned(), bytes.to_string().into());
    }
    if let Some(seconds) = pod.termination_grace_period_seconds {
        service.insert("stop_grace_period".to_owned(), format!("{seconds}s").into());
    }
    service
}

/// `$(NAME)`, as [Kubernetes](https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/) replaces it: what isn't
/// known stays, and `$$(NAME)` is `$(NAME)`.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded += &rest[..at];
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match variables.get(name) {
                Some(value) => expanded += value,
                None => expanded += &format!("$({name})"),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded + rest
}

/// Publishes what visitors reach: the one component itself, or a proxy where paths lead to several.
fn publish(instance: &Instance, port: u16, services: &mut Map<String, Value>, project: &mut Value) {
    let exposed: Vec<(&Component, &str, u16)> = (instance.components.iter())
        .filter_map(|component| Some((component, component.spec.expose.as_ref()?.path.as_str(), component.spec.port?)))
        .collect();
    match exposed.as_slice() {
        [] => {}
        [(component, _, inner)] => {
            if let Some(Value::Object(service)) = services.get_mut(&component.spec.name) {
                // For this machine only, and nobody else in a café's network.
                service.insert("ports".to_owned(), json!([format!("127.0.0.1:{port}:{inner}")]));
            }
        }
        several => {
            let mut routes: Vec<_> =
                several.iter().map(|(component, path, inner)| (*path, format!("{}:{inner}", component.spec.name))).collect();
            // The longest path wins, as in an Ingress.
            routes.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
            let route = |(path, upstream): &(&str, String)| {
                let path = path.trim_end_matches('/');
                let matched = if path.is_empty() { "*".to_owned() } else { format!("path {path} {path}/*") };
                let name = upstream.replace(':', "-");
                if path.is_empty() {
                    format!("\thandle {{\n\t\treverse_proxy {upstream}\n\t}}\n")
                } else {
                    format!("\t@{name} {matched}\n\thandle @{name} {{\n\t\treverse_proxy {upstream}\n\t}}\n")
                }
            };
            let routes: String = routes.iter().map(route).collect();
            services.insert(
                "tenant-proxy".to_owned(),
                json!({
                    "image": "caddy:2",
                    "ports": [format!("127.0.0.1:{port}:80")],
                    "configs": [{"source": "routes", "target": "/etc/caddy/Caddyfile"}],
                    "restart": "unless-stopped",
                }),
            );
            project["configs"] = json!({"routes": {"content": format!(":80 {{\n{routes}}}\n")}});
        }
    }
}

/// Compose replaces `$NAME` in every value; a dollar that is meant is written twice.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(fields) => fields.values_mut().for_each(escape),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_kubernetes_does() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "$(A)".to_owned())]);
        let cases = [("$(A)-$(B)", "1-$(A)"), ("$$(A)", "$(A)"), ("$(NONE)", "$(NONE)"), ("$A $", "$A $"), ("$(A", "$(A"), ("", "")];
        for (text, expected) in cases {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn a_dollar_in_a_secret_is_no_variable_of_composes() {
        let mut value = json!({"environment": {"KEY": "a$b"}, "command": ["$(X)"]});
        escape(&mut value);
        assert_eq!(value, json!({"environment": {"KEY": "a$$b"}, "command": ["$$(X)"]}));
    }
}
