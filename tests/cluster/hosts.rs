//! Who gets a host name that several tenants claim.

use crate::support::{Tenant, TenantToBe, World, condition, unique};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How soon a tenant takes a host that has become free, on a machine that does much else.
const SECONDS: Duration = Duration::from_secs(15);

/// A domain that no other test claims.
fn domain() -> String {
    format!("{}.example.com", unique("shop"))
}

fn claiming(name: &str, domain: &str) -> TenantToBe {
    Tenant::new(name).with(json!({"domains": [domain]}))
}

/// The namespaces whose Ingress has the host.
async fn routed(world: &World, host: &str) -> Vec<String> {
    let has = |ingress: &Value| ingress["spec"]["rules"].as_array().is_some_and(|rules| rules.iter().any(|rule| rule["host"] == host));
    let of = |ingress: &Value| ingress["metadata"]["namespace"].as_str().expect("a namespace").to_owned();
    world.list("Ingress", None, "").await.iter().filter(|ingress| has(ingress)).map(of).collect()
}

fn hosts(tenant: &Value) -> Vec<&str> {
    tenant["status"]["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The tenant is stalled because another has the host, which the sentence says.
async fn yields(tenant: &Tenant, host: &str, holder: &Tenant) {
    let message = tenant.stalled("HostConflict").await;
    assert_eq!(message, format!("the host {host} belongs to tenant {}: take it out of one of the two", holder.name));
}

/// The tenant has taken the host within seconds, and comes to serve it.
async fn takes(tenant: &Tenant, host: &str, since: Instant) {
    let passed = |tenant: &Value| condition(tenant, "Ready").filter(|ready| ready.reason != "HostConflict");
    tenant.until("it takes the host", passed).await;
    assert!(since.elapsed() < SECONDS, "it took the host only after {:?}", since.elapsed());
    tenant.ready().await;
    assert!(hosts(&tenant.get().await).contains(&host));
    assert_eq!(routed(&tenant.world, host).await, [tenant.namespace.as_str()]);
}

#[tokio::test]
async fn the_older_tenant_keeps_its_host_and_the_other_makes_nothing() {
    let domain = domain();
    let older = claiming("older", &domain).ready().await;
    let younger = claiming("younger", &domain).create().await;
    yields(&younger, &domain, &older).await;
    let world = &older.world;
    assert!(world.find("Namespace", None, &younger.namespace).await.is_none());
    assert_eq!(routed(world, &domain).await, [older.namespace.as_str()]);
    assert!(hosts(&younger.get().await).is_empty());
    older.ready().await;
    assert!(hosts(&older.get().await).contains(&domain.as_str()));
}

#[tokio::test]
async fn once_the_holder_is_deleted_the_next_one_gets_the_host() {
    let domain = domain();
    let older = claiming("older", &domain).ready().await;
    let younger = claiming("younger", &domain).create().await;
    yields(&younger, &domain, &older).await;
    older.delete().await.gone().await;
    takes(&younger, &domain, Instant::now()).await;
}

#[tokio::test]
async fn once_the_holder_takes_the_domain_out_the_next_one_gets_the_host() {
    let domain = domain();
    let older = claiming("older", &domain).ready().await;
    let younger = claiming("younger", &domain).create().await;
    yields(&younger, &domain, &older).await;
    older.change(json!({"domains": []})).await;
    takes(&younger, &domain, Instant::now()).await;
    older.ready().await;
    assert!(!hosts(&older.get().await).contains(&domain.as_str()));
}

#[tokio::test]
async fn an_older_tenant_takes_no_domain_that_a_younger_one_serves() {
    let domain = domain();
    let older = Tenant::new("older").ready().await;
    let younger = claiming("younger", &domain).ready().await;
    older.change(json!({"domains": [domain]})).await;
    yields(&older, &domain, &younger).await;
    older.condition("Available", "True").await;
    let own = format!("{}.sample.localhost", older.name);
    assert_eq!(hosts(&older.get().await), [own.as_str()]);
    assert_eq!(routed(&older.world, &domain).await, [younger.namespace.as_str()]);
    assert_eq!(routed(&older.world, &own).await, [older.namespace.as_str()]);
    younger.ready().await;
    assert!(hosts(&younger.get().await).contains(&domain.as_str()));
    younger.delete().await.gone().await;
    takes(&older, &domain, Instant::now()).await;
}

#[tokio::test]
async fn a_tenants_own_address_is_claimed_like_any_other_host() {
    let name = unique("coveted");
    let address = format!("{name}.sample.localhost");
    let squatter = claiming("squatter", &address).ready().await;
    let tenant = Tenant::named(&name).create().await;
    yields(&tenant, &address, &squatter).await;
    squatter.change(json!({"domains": []})).await;
    takes(&tenant, &address, Instant::now()).await;
    squatter.change(json!({"domains": [address]})).await;
    yields(&squatter, &address, &tenant).await;
}

#[tokio::test]
async fn a_suspended_tenant_keeps_its_hosts() {
    let domain = domain();
    let holder = claiming("holder", &domain).ready().await;
    holder.change(json!({"suspended": true})).await.object_gone("Ingress", "instance").await;
    let other = claiming("other", &domain).create().await;
    yields(&other, &domain, &holder).await;
    assert!(hosts(&holder.get().await).contains(&domain.as_str()));
    holder.change(json!({"suspended": false})).await.ready().await;
    assert_eq!(routed(&holder.world, &domain).await, [holder.namespace.as_str()]);
    yields(&other, &domain, &holder).await;
}
