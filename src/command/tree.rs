//! `kubectl tenantry tree NAME` and `trace pod/NAME`: all that a tenant consists of, and from a pod back to whose it is and which release it came with.

use super::cluster::Cluster;
use super::completion;
use super::get::find;
use super::terminal::Style;
use super::{Failure, note, print};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tenantry::api::{Release, Tenant, labels};
use tenantry::instance::render::Kind;

/// Options of `kubectl tenantry tree`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  kubectl tenantry tree acme")]
pub struct Tree {
    /// The tenant.
    #[arg(value_name = "NAME", add = completion::tenants())]
    name: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// Options of `kubectl tenantry trace`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  kubectl tenantry trace pod/web-5d8f7c-x2x9z -n tenant-acme")]
pub struct Trace {
    /// The pod.
    #[arg(value_name = "POD")]
    pod: String,
    /// Its namespace.
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: String,
    #[command(flatten)]
    cluster: Cluster,
}

/// An object of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    pub kind: String,
    pub name: String,
    pub uid: String,
    /// The UID of what it belongs to.
    pub owner: Option<String>,
    /// What more there is to say of it.
    pub remark: String,
}

/// Prints all that belongs to a tenant.
pub async fn tree(options: Tree) -> Result<(), Failure> {
    let client = options.cluster.client().await?;
    let tenant = find(&client, &options.name).await?;
    let Some(namespace) = tenant.status.as_ref().and_then(|status| status.namespace.clone()) else {
        return Err(format!("{} has nothing yet: kubectl tenantry why {}", options.name, options.name).into());
    };
    let kinds = Kind::WATCHED.into_iter().chain([Kind::SECRET]).map(|kind| kind.api_resource());
    let pods = [ApiResource::erase::<Pod>(&()), ApiResource::erase::<ReplicaSet>(&())];
    let lists = join_all(kinds.chain(pods).map(|kind| leaves(&client, kind, &namespace))).await;
    let mut all = Vec::new();
    for (kind, list) in lists {
        match list {
            Ok(found) => all.extend(found),
            // Not every cluster has every kind.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => note(&format!("{kind} can't be listed: {error}")),
        }
    }
    print(&drawn(&options.name, &tenant.uid().unwrap_or_default(), &all, Style::of_output()))
}

/// Those of a kind that are in the namespace, or are it.
async fn leaves(client: &Client, kind: ApiResource, namespace: &str) -> (String, Result<Vec<Leaf>, kube::Error>) {
    let name = kind.kind.clone();
    let found = if kind.kind == "Namespace" {
        Api::<DynamicObject>::all_with(client.clone(), &kind).get_opt(namespace).await.map(Vec::from_iter)
    } else {
        Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind).list(&ListParams::default()).await.map(|list| list.items)
    };
    let leaf = |object: DynamicObject| Leaf {
        kind: kind.kind.clone(),
        remark: remark(&object),
        owner: object.owner_references().first().map(|owner| owner.uid.clone()),
        uid: object.uid().unwrap_or_default(),
        name: object.name_any(),
    };
    (name, found.map(|objects| objects.into_iter().map(leaf).collect()))
}

fn remark(object: &DynamicObject) -> String {
    let number = |path: &str| object.data.pointer(path).and_then(serde_json::Value::as_i64);
    match number("/status/availableReplicas").or_else(|| number("/status/replicas")) {
        Some(available) => format!("{available} of {} pods", number("/spec/replicas").unwrap_or(1)),
        None => object.data.pointer("/status/phase").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned(),
    }
}

/// The tree. What has no owner that is known belongs to the tenant's namespace alone, and isn't the tenant's.
pub fn drawn(name: &str, uid: &str, leaves: &[Leaf], style: Style) -> String {
    let mut children: BTreeMap<&str, Vec<&Leaf>> = BTreeMap::new();
    for leaf in leaves {
        children.entry(leaf.owner.as_deref().unwrap_or_default()).or_default().push(leaf);
    }
    children.values_mut().for_each(|siblings| siblings.sort());
    let mut text = format!("{}\n", style.bold(&format!("Tenant/{name}")));
    draw(&mut text, uid, "", &children, style);
    text
}

fn draw(text: &mut String, parent: &str, indent: &str, children: &BTreeMap<&str, Vec<&Leaf>>, style: Style) {
    // A replica set of a former version has no pods any more, and there are ten of them.
    let is_shown = |leaf: &&&Leaf| leaf.kind != "ReplicaSet" || children.contains_key(leaf.uid.as_str());
    let siblings: Vec<_> = children.get(parent).into_iter().flatten().filter(is_shown).collect();
    for (index, leaf) in siblings.iter().enumerate() {
        let is_last = index + 1 == siblings.len();
        let remark = if leaf.remark.is_empty() { String::new() } else { format!("  {}", style.dim(&leaf.remark)) };
        let _ = writeln!(text, "{indent}{}{}/{}{remark}", if is_last { "└─ " } else { "├─ " }, leaf.kind, leaf.name);
        draw(text, &leaf.uid, &format!("{indent}{}", if is_last { "   " } else { "│  " }), children, style);
    }
}

/// Tells from a pod whose it is.
pub async fn trace(options: Trace) -> Result<(), Failure> {
    let client = options.cluster.client().await?;
    let name = options.pod.trim_start_matches("pod/");
    let pod = Api::<Pod>::namespaced(client.clone(), &options.namespace).get_opt(name).await?;
    let pod = pod.ok_or_else(|| format!("there is no pod {name} in namespace {}", options.namespace))?;
    let label = |key: &str| pod.labels().get(key).cloned().unwrap_or_default();
    let tenant_name = label(labels::INSTANCE);
    if label(labels::MANAGED_BY) != labels::MANAGER || tenant_name.is_empty() {
        return Err(format!("pod {name} is no tenant's: it doesn't carry Tenantry's labels").into());
    }
    let tenant = find(&client, &tenant_name).await?;
    let release = match tenant.status.as_ref().and_then(|status| status.release.as_ref()) {
        Some(release) => Api::<Release>::all(client.clone()).get_opt(&release.name).await?,
        None => None,
    };
    print(&traced(name, &pod, &tenant, release.as_ref()))
}

fn traced(name: &str, pod: &Pod, tenant: &Tenant, release: Option<&Release>) -> String {
    let label = |key: &str| pod.labels().get(key).cloned().unwrap_or_default();
    let version = label(labels::APP_VERSION);
    let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone()).unwrap_or_default();
    let mut text = format!("pod        {name}\n");
    let _ = writeln!(text, "component  {} at version {version}, image {image}", label(labels::COMPONENT));
    let _ = writeln!(text, "tenant     {}, {}, plan {}", tenant.name_any(), tenant.spec.display_name, tenant.spec.plan);
    let _ = match release {
        Some(release) if release.spec.version == version => {
            writeln!(text, "release    {}, channel {}", release.name_any(), release.spec.channel)
        }
        Some(release) => writeln!(text, "release    not yet {}: it still runs what it ran before", release.name_any()),
        None => writeln!(text, "release    none: the version is the Blueprint's, or the tenant is pinned to it"),
    };
    let commit = release.and_then(|release| release.annotations().get(labels::COMMIT));
    if let Some(commit) = commit.filter(|_| release.is_some_and(|release| release.spec.version == version)) {
        let _ = writeln!(text, "commit     {commit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_shows_what_belongs_to_what() {
        let leaf = |kind: &str, name: &str, owner: &str, remark: &str| Leaf {
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            owner: Some(owner.to_owned()),
            remark: remark.to_owned(),
        };
        let leaves = [
            leaf("Pod", "web-2-x", "web-2", "Running"),
            leaf("ReplicaSet", "web-2", "web", "1 of 1 pods"),
            leaf("ReplicaSet", "web-1", "web", ""),
            leaf("Deployment", "web", "t", "1 of 1 pods"),
            leaf("ConfigMap", "settings", "t", ""),
            leaf("ConfigMap", "kube-root-ca.crt", "nobody", ""),
        ];
        insta::assert_snapshot!(drawn("acme", "t", &leaves, Style::default()), @r"
        Tenant/acme
        ├─ ConfigMap/settings
        └─ Deployment/web  1 of 1 pods
           └─ ReplicaSet/web-2  1 of 1 pods
              └─ Pod/web-2-x  Running
        ");
    }
}
