//! How much a container gets, and whether the plan's quota holds an instance.

use super::resolve::ResolveError;
use super::{Instance, quantity};
use crate::api::shared::{Amount, Amounts, Resources};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// A component's own amounts, and the defaults where it says nothing. A default gives way to what the component says: Kubernetes refuses a
/// request that is more than its limit.
///
/// It is done here and not left to the LimitRange, which would put a default limit under a greater request.
pub fn merge(own: &Resources, defaults: &Resources) -> Resources {
    let mut merged = own.clone();
    for (name, amount) in &defaults.requests {
        let least = own.limits.get(name).filter(|limit| is_less(limit, amount));
        merged.requests.entry(name.clone()).or_insert_with(|| least.unwrap_or(amount).clone());
    }
    for (name, amount) in &defaults.limits {
        let greatest = own.requests.get(name).filter(|request| is_less(amount, request));
        merged.limits.entry(name.clone()).or_insert_with(|| greatest.unwrap_or(amount).clone());
    }
    merged
}

fn is_less(a: &Amount, b: &Amount) -> bool {
    quantity::thousandths(&a.0) < quantity::thousandths(&b.0)
}

/// As a container has them.
pub fn requirements(resources: &Resources) -> ResourceRequirements {
    let amounts = |amounts: &Amounts| {
        (!amounts.is_empty()).then(|| amounts.iter().map(|(name, amount)| (name.clone(), quantity::canonical(amount))).collect())
    };
    ResourceRequirements { requests: amounts(&resources.requests), limits: amounts(&resources.limits), claims: None }
}

/// Whether the quota holds the instance at its largest while it is updated. One that doesn't would leave an update stuck half-way, with no word
/// but an event on a ReplicaSet.
///
/// # Errors
/// The first resource of which there is too little.
pub fn fits_quota(instance: &Instance) -> Result<(), ResolveError> {
    let mut pods: Vec<(u128, &ResourceRequirements)> = instance
        .components
        .iter()
        .map(|component| {
            let surge = u128::from(!component.spec.singleton);
            (u128::from(component.replicas.max.unsigned_abs()) + surge, &component.resources)
        })
        .collect();
    if instance.migration.is_some() {
        pods.push((1, &instance.default_resources));
    }
    for (resource, quota) in &instance.quota {
        let (limits, name) = match resource.split_once('.') {
            Some(("limits", name)) => (true, name),
            Some(("requests", name)) => (false, name),
            _ => (false, resource.as_str()),
        };
        let each = |resources: &ResourceRequirements| match (limits, name) {
            (_, "pods") => 1000,
            (true, name) => amount(&resources.limits, name).unwrap_or_default(),
            (false, name) => requested(resources, name),
        };
        let needed: u128 = pods.iter().map(|(count, resources)| *count * each(resources)).sum();
        if quantity::thousandths(&quota.0).is_some_and(|quota| quota < needed) {
            return Err(ResolveError::QuotaTooSmall {
                plan: instance.plan.clone(),
                resource: resource.clone(),
                quota: quota.0.clone(),
                needed: quantity::of_thousandths(needed, !resource.ends_with("cpu") && resource != "pods").0,
            });
        }
    }
    Ok(())
}

/// What Kubernetes counts as asked for: the limit, where there is no request.
fn requested(resources: &ResourceRequirements, name: &str) -> u128 {
    amount(&resources.requests, name).or_else(|| amount(&resources.limits, name)).unwrap_or_default()
}

fn amount(amounts: &Option<BTreeMap<String, Quantity>>, name: &str) -> Option<u128> {
    quantity::thousandths(&amounts.as_ref()?.get(name)?.0)
}
