//! A plan, as somebody who sells it sees it: what it costs, and what it holds.

use crate::api::Plan;
use crate::api::plan::Price;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

/// What an admin says of an object in a sentence; see
/// [well-known annotations](https://kubernetes.io/docs/reference/labels-annotations-taints/#description).
const DESCRIPTION: &str = "kubernetes.io/description";

/// A plan that can be chosen.
pub struct Offer {
    pub name: String,
    pub price: Option<Price>,
    /// In a sentence.
    pub holds: String,
}

impl Offer {
    /// Whether it is the one of this name.
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    fn of(plan: &Plan) -> Self {
        let described = plan.annotations().get(DESCRIPTION).cloned();
        Self { name: plan.name_any(), price: plan.spec.price.clone(), holds: described.unwrap_or_else(|| holds(plan)) }
    }
}

/// All plans, the cheapest first.
///
/// # Errors
/// Where they can't be listed.
pub async fn offers(client: &Client) -> Result<Vec<Offer>, kube::Error> {
    let mut plans = Api::<Plan>::all(client.clone()).list(&ListParams::default()).await?.items;
    let price = |plan: &Plan| plan.spec.price.as_ref().and_then(Price::monthly_hundredths);
    plans.sort_by_key(|plan| (price(plan).is_none(), price(plan), plan.name_any()));
    Ok(plans.iter().map(Offer::of).collect())
}

/// Pods of its components, and the most that all may take.
fn holds(plan: &Plan) -> String {
    let pods = plan.spec.components.iter().filter_map(|(name, component)| {
        let replicas = component.replicas.as_ref()?;
        let number = if replicas.min == replicas.max { replicas.min.to_string() } else { format!("{} to {}", replicas.min, replicas.max) };
        Some(format!("{number} × {name}"))
    });
    let most = [("requests.cpu", "of CPU"), ("requests.memory", "of memory"), ("requests.storage", "of storage")];
    let most = most.into_iter().filter_map(|(key, unit)| Some(format!("up to {} {unit}", spelt(&plan.spec.quota.get(key)?.0))));
    pods.chain(most).collect::<Vec<_>>().join(", ")
}

/// `4Gi` as `4 GiB`.
fn spelt(amount: &str) -> String {
    match amount.strip_suffix("Gi") {
        Some(number) => format!("{number} GiB"),
        None => amount.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn offer(annotations: Value, spec: Value) -> String {
        let plan = json!({"metadata": {"name": "business", "annotations": annotations}, "spec": spec});
        Offer::of(&serde_json::from_value(plan).unwrap()).holds
    }

    #[test]
    fn a_plan_says_what_it_holds() {
        let spec = json!({
            "components": {"web": {"replicas": {"min": 2, "max": 4}}, "worker": {"replicas": {"min": 1, "max": 1}}, "beat": {}},
            "quota": {"requests.memory": "4Gi", "requests.cpu": "2", "pods": "20"},
        });
        assert_eq!(offer(json!({}), spec.clone()), "2 to 4 × web, 1 × worker, up to 2 of CPU, up to 4 GiB of memory");
        assert_eq!(offer(json!({"kubernetes.io/description": "For teams of up to 50"}), spec), "For teams of up to 50");
        assert_eq!(offer(json!({}), json!({})), "");
    }
}
