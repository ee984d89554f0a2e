//! Whether what the admin has described is so: database servers, blueprints with all that they name, and tenants.

use super::{Found, Wrong, unknown, wrong};
use crate::command::foreign;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::IngressClass;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use tenantry::api::blueprint::ParentRef;
use tenantry::api::conditions::READY;
use tenantry::api::{Blueprint, DatabaseServer, Tenant};
use tenantry::inspect::State;

pub async fn servers(client: &Client) -> Vec<Found> {
    const PAGE: &str = "docs/database.md#what-the-operator-needs";
    let all = match Api::<DatabaseServer>::all(client.clone()).list(&ListParams::default()).await {
        Ok(all) => all.items,
        Err(error) => return vec![Found { what: "database servers".to_owned(), outcome: Err(unknown(error)) }],
    };
    let outcome = |server: &DatabaseServer| {
        let status = server.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == READY);
        match ready {
            Some(ready) if ready.status == "True" => {
                Ok(format!("Postgres {}, {} tenants", status.server_version.unwrap_or_default(), status.tenants))
            }
            Some(ready) => Err(wrong(
                format!("{}: {}", ready.reason, ready.message),
                format!("kubectl describe databaseserver {}", server.name_any()),
                PAGE,
            )),
            None => Err(wrong("no operator has looked at it", "see the check of the operator above", PAGE)),
        }
    };
    all.iter().map(|server| Found { what: format!("database server {}", server.name_any()), outcome: outcome(server) }).collect()
}

pub async fn blueprints(client: &Client, namespace: &str) -> Vec<Found> {
    let all = match Api::<Blueprint>::all(client.clone()).list(&ListParams::default()).await {
        Ok(all) => all.items,
        Err(error) => return vec![Found { what: "blueprints".to_owned(), outcome: Err(unknown(error)) }],
    };
    let mut found = Vec::new();
    for blueprint in &all {
        let outcome = needs_of(client, blueprint, namespace).await;
        found.push(Found { what: format!("blueprint {}", blueprint.name_any()), outcome });
    }
    found
}

/// Whether what a blueprint names is there.
async fn needs_of(client: &Client, blueprint: &Blueprint, namespace: &str) -> Result<String, Wrong> {
    const PAGE: &str = "docs/install.md#5-a-product";
    if let Some(name) = &blueprint.spec.image.pull_secret {
        let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_metadata_opt(name).await.map_err(unknown)?;
        if secret.is_none() {
            let mend = format!("kubectl create secret docker-registry {name} -n {namespace} --docker-server=… --docker-username=…");
            return Err(wrong(format!("its pull secret {name} isn't in namespace {namespace}"), mend, PAGE));
        }
    }
    if let Some(class) = blueprint.spec.ingress.as_ref().and_then(|ingress| ingress.class_name.as_ref()) {
        let found = Api::<IngressClass>::all(client.clone()).get_opt(class).await.map_err(unknown)?;
        if found.is_none() {
            let mend = format!("install the ingress controller of class {class}, or name another in spec.ingress.className");
            return Err(wrong(format!("there is no IngressClass {class}"), mend, PAGE));
        }
    }
    issuer(client, blueprint).await?;
    gateway(client, blueprint).await?;
    // RFC 6761: such names never leave the machine, and browsers need no DNS for them.
    if blueprint.spec.base_domain.ends_with(".localhost") {
        return Ok("what it names is there; .localhost needs no DNS".to_owned());
    }
    let host = format!("tenantry-check.{}", blueprint.spec.base_domain);
    let resolves = tokio::net::lookup_host((host.as_str(), 443)).await.is_ok_and(|mut addresses| addresses.next().is_some());
    if !resolves {
        let why = format!("{host} doesn't resolve here, so new tenants may not be reached");
        return Err(wrong(why, format!("a DNS record for *.{} that leads to the ingress controller", blueprint.spec.base_domain), PAGE));
    }
    Ok(format!("*.{} resolves, and what it names is there", blueprint.spec.base_domain))
}

/// Whether certificates can come from where the blueprint says.
async fn issuer(client: &Client, blueprint: &Blueprint) -> Result<(), Wrong> {
    const PAGE: &str = "docs/install.md#what-is-needed";
    let of_ingress = blueprint.spec.ingress.as_ref().and_then(|ingress| ingress.tls.as_ref());
    let tls = of_ingress.or(blueprint.spec.gateway.as_ref().and_then(|gateway| gateway.tls.as_ref()));
    let Some(name) = tls.and_then(|tls| tls.cluster_issuer.as_ref()) else { return Ok(()) };
    let issuers: Api<DynamicObject> =
        Api::all_with(client.clone(), &foreign::resource("cert-manager.io", "ClusterIssuer", "clusterissuers"));
    match foreign::find(&issuers, name).await.map_err(unknown)? {
        Some(issuer) => foreign::holds(&issuer, "Ready").map_err(|why| {
            wrong(format!("ClusterIssuer {name} isn't ready: {why}"), format!("kubectl describe clusterissuer {name}"), PAGE)
        }),
        None => {
            let why = format!("its certificates come from ClusterIssuer {name}, and there is none");
            Err(wrong(why, "install cert-manager and create it, or name another in tls.clusterIssuer", PAGE))
        }
    }
}

/// Whether the Gateway that the blueprint names is there, and at work.
async fn gateway(client: &Client, blueprint: &Blueprint) -> Result<(), Wrong> {
    const PAGE: &str = "docs/install.md#what-is-needed";
    let Some(gateway) = &blueprint.spec.gateway else { return Ok(()) };
    let ParentRef { name, namespace, .. } = &gateway.parent_ref;
    let gateways: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &foreign::resource("gateway.networking.k8s.io", "Gateway", "gateways"));
    match foreign::find(&gateways, name).await.map_err(unknown)? {
        Some(found) => foreign::holds(&found, "Programmed").map_err(|why| {
            let mend = format!("kubectl describe gateway {name} -n {namespace}, and see that its controller runs");
            wrong(format!("Gateway {namespace}/{name} isn't at work: {why}"), mend, PAGE)
        }),
        None => {
            let why = format!("its routes belong to Gateway {namespace}/{name}, and there is none");
            Err(wrong(why, "install a controller of the Gateway API and create it, or name another in gateway.parentRef", PAGE))
        }
    }
}

pub async fn tenants(client: &Client) -> Result<String, Wrong> {
    let all: Vec<Tenant> = crate::command::list::all(client, None).await.map_err(|error| {
        wrong(format!("they can't be listed: {error}"), "run this as somebody who may read Tenants", "docs/command-line.md")
    })?;
    let stalled: Vec<_> = all.iter().filter(|tenant| State::of(tenant) == State::Stalled).map(ResourceExt::name_any).collect();
    match stalled.first() {
        None => Ok(format!("{}, none of which needs somebody", all.len())),
        Some(first) => Err(wrong(
            format!("{} of {} need somebody: {}", stalled.len(), all.len(), stalled.iter().take(5).cloned().collect::<Vec<_>>().join(", ")),
            format!("kubectl tenantry why {first}"),
            "docs/operations.md#conditions-of-a-tenant",
        )),
    }
}
