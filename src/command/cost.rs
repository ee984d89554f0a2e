//! `kubectl tenantry cost`: what tenants pay, and what they reserve for it, now.

use super::cluster::Cluster;
use super::completion;
use super::list::{all, page_by_page};
use super::terminal::table;
use super::{Failure, note, print};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::Serialize;
use std::collections::BTreeMap;
use tenantry::api::plan::Price;
use tenantry::api::{Plan, Tenant, labels};
use tenantry::instance::quantity::{of_thousandths, thousandths};

/// Options of `kubectl tenantry cost`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "A trial, which is a tenant that has an end, pays nothing. What is reserved is what the pods that are wanted now ask for: CPU and memory that no other can
count on. Give what a core and a GiB cost you a month, and it is set against the price.

Examples:
  kubectl tenantry cost
  kubectl tenantry cost acme
  kubectl tenantry cost --by plan --core 18.50 --gib 2.40"
)]
pub struct Options {
    /// Only these tenants.
    #[arg(value_name = "NAME", add = completion::tenants())]
    names: Vec<String>,
    /// What is added up.
    #[arg(long, value_name = "WHAT", default_value = "tenant")]
    by: By,
    /// What a core costs a month.
    #[arg(long, value_name = "PRICE", value_parser = hundredths)]
    core: Option<u64>,
    /// What a GiB of memory costs a month.
    #[arg(long, value_name = "PRICE", value_parser = hundredths)]
    gib: Option<u64>,
    /// How it is printed.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    cluster: Cluster,
}

/// What costs are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// A line a tenant.
    Tenant,
    /// A line a plan.
    Plan,
    /// A line a blueprint.
    Blueprint,
}

/// How costs are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For programs: thousandths of a core, bytes, and hundredths of a currency.
    Json,
}

/// An amount of money, in hundredths.
fn hundredths(text: &str) -> Result<u64, String> {
    let price = Price { monthly: text.to_owned(), currency: String::new() };
    price.monthly_hundredths().ok_or_else(|| "a price is a number with two digits after the point or none, such as 18.50".to_owned())
}

/// What some tenants pay and reserve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    tenants: u64,
    /// Those of them that are on trial.
    trials: u64,
    pods: u64,
    /// In thousandths of a core.
    cpu: u128,
    /// In bytes.
    memory: u128,
    /// A month, in hundredths, by currency.
    price: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.tenants += other.tenants;
        self.trials += other.trials;
        self.pods += other.pods;
        self.cpu += other.cpu;
        self.memory += other.memory;
        for (currency, amount) in &other.price {
            *self.price.entry(currency.clone()).or_default() += amount;
        }
    }

    /// What it costs whoever runs the cluster, in hundredths a month.
    fn cost(&self, core: Option<u64>, gib: Option<u64>) -> Option<u128> {
        let of_cpu = core.map(|price| self.cpu * u128::from(price) / 1000);
        let of_memory = gib.map(|price| self.memory * u128::from(price) / (1 << 30));
        of_cpu.map(|cost| cost + of_memory.unwrap_or_default()).or(of_memory)
    }
}

/// Prints what tenants pay and reserve.
pub async fn cost(options: Options) -> Result<(), Failure> {
    let client = options.cluster.client().await?;
    let mut tenants = all(&client, None).await?;
    if !options.names.is_empty() {
        if let Some(unknown) = options.names.iter().find(|name| !tenants.iter().any(|tenant| tenant.name_any() == **name)) {
            return Err(format!("there is no tenant {unknown}: kubectl tenantry list tells which there are").into());
        }
        tenants.retain(|tenant| options.names.contains(&tenant.name_any()));
    }
    let plans = Api::<Plan>::all(client.clone()).list(&ListParams::default()).await?.items;
    let ours = format!("{}={}", labels::MANAGED_BY, labels::MANAGER);
    let deployments: Vec<Deployment> = match tenants.as_slice() {
        // Whoever asks for one may be let into its namespace only.
        [one] => {
            let namespace = one.status.as_ref().and_then(|status| status.namespace.clone()).unwrap_or_default();
            let of_one: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
            if namespace.is_empty() { Vec::new() } else { of_one.list(&ListParams::default().labels(&ours)).await?.items }
        }
        _ => page_by_page(&Api::all(client.clone()), ListParams::default().labels(&ours)).await?,
    };
    let sums = sums(&tenants, &plans, &deployments, options.by);
    if options.output.is_some() {
        return print(&format!("{}\n", serde_json::to_string_pretty(&sums)?));
    }
    print(&screen(&sums, options.by, options.core, options.gib))?;
    let next = if options.by == By::Tenant { "kubectl tenantry cost --by plan" } else { "kubectl tenantry cost" };
    note(&format!("next: {next}"));
    Ok(())
}

/// What is paid and reserved, by name.
fn sums(tenants: &[Tenant], plans: &[Plan], deployments: &[Deployment], by: By) -> BTreeMap<String, Sum> {
    let mut reserved: BTreeMap<String, Sum> = BTreeMap::new();
    for deployment in deployments {
        let Some(tenant) = deployment.labels().get(labels::TENANT) else { continue };
        reserved.entry(tenant.clone()).or_default().add(&of_deployment(deployment));
    }
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for tenant in tenants {
        let name = tenant.name_any();
        let mut sum = reserved.remove(&name).unwrap_or_default();
        sum.tenants = 1;
        let price = plans.iter().find(|plan| plan.name_any() == tenant.spec.plan).and_then(|plan| plan.spec.price.as_ref());
        if tenant.spec.expires_at.is_some() {
            sum.trials = 1;
        } else if let Some((price, amount)) = price.and_then(|price| Some((price, price.monthly_hundredths()?))) {
            sum.price.insert(price.currency.clone(), amount);
        }
        let key = match by {
            By::Tenant => name,
            By::Plan => tenant.spec.plan.clone(),
            By::Blueprint => tenant.spec.blueprint.clone(),
        };
        sums.entry(key).or_default().add(&sum);
    }
    sums
}

fn of_deployment(deployment: &Deployment) -> Sum {
    let pods = u64::try_from(deployment.spec.replicas.unwrap_or(1)).unwrap_or_default();
    let containers = deployment.spec.template.spec.iter().flat_map(|pod| &pod.containers);
    let requests: Vec<_> = containers.filter_map(|container| container.resources.as_ref()?.requests.as_ref()).collect();
    let asked = |resource: &str| {
        let amounts = requests.iter().filter_map(|requests| thousandths(&requests.get(resource)?.0));
        amounts.sum::<u128>() * u128::from(pods)
    };
    Sum { pods, cpu: asked("cpu"), memory: asked("memory") / 1000, ..Sum::default() }
}

/// The table, and below it all together.
fn screen(sums: &BTreeMap<String, Sum>, by: By, core: Option<u64>, gib: Option<u64>) -> String {
    let mut total = Sum::default();
    sums.values().for_each(|sum| total.add(sum));
    let is_costed = core.or(gib).is_some();
    let row = |name: &str, sum: &Sum| {
        let mut row = vec![name.to_owned()];
        if by != By::Tenant {
            row.push(sum.tenants.to_string());
        }
        let (cpu, memory) = (of_thousandths(sum.cpu, false).0, of_thousandths(sum.memory * 1000, true).0);
        row.extend([sum.pods.to_string(), cpu, memory, priced(sum)]);
        row.extend(sum.cost(core, gib).map(|cost| format!("{}.{:02}", cost / 100, cost % 100)));
        row
    };
    let what = match by {
        By::Tenant => "TENANT",
        By::Plan => "PLAN",
        By::Blueprint => "BLUEPRINT",
    };
    let mut head = vec![what];
    if by != By::Tenant {
        head.push("TENANTS");
    }
    head.extend(["PODS", "CPU", "MEMORY", "PRICE/MONTH"]);
    if is_costed {
        head.push("COST/MONTH");
    }
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
    rows.extend(sums.iter().map(|(name, sum)| row(name, sum)));
    if sums.len() > 1 {
        rows.push(row("all", &total));
    }
    table(&rows)
}

/// What is paid, in each currency.
fn priced(sum: &Sum) -> String {
    let mut amounts: Vec<_> =
        sum.price.iter().map(|(currency, amount)| format!("{}.{:02} {currency}", amount / 100, amount % 100)).collect();
    match sum.trials {
        0 => {}
        1 if sum.tenants == 1 => amounts.push("trial".to_owned()),
        trials => amounts.push(format!("{trials} on trial")),
    }
    if amounts.is_empty() { "-".to_owned() } else { amounts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of<K: serde::de::DeserializeOwned>(manifest: Value) -> K {
        serde_json::from_value(manifest).unwrap()
    }

    fn tenant(name: &str, plan: &str, end: Option<&str>) -> Tenant {
        let spec = json!({"displayName": name, "blueprint": "planner", "plan": plan, "expiresAt": end});
        of(json!({"metadata": {"name": name}, "spec": spec}))
    }

    fn deployment(tenant: &str, replicas: u32, cpu: &str, memory: &str) -> Deployment {
        let container = json!({"name": "web", "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let template = json!({"spec": {"containers": [container]}});
        of(
            json!({"metadata": {"name": "web", "labels": {"tenantry.dev/tenant": tenant}}, "spec": {"replicas": replicas, "selector": {}, "template": template}}),
        )
    }

    #[test]
    fn what_is_paid_stands_beside_what_is_reserved() {
        let plans = [("business", "49.00"), ("starter", "9.50")];
        let plans = plans
            .map(|(name, price)| of::<Plan>(json!({"metadata": {"name": name}, "spec": {"price": {"monthly": price, "currency": "EUR"}}})));
        let tenants = [
            tenant("acme", "business", None),
            tenant("globex", "starter", None),
            tenant("hooli", "business", Some("2027-01-01T00:00:00Z")),
        ];
        let deployments = [
            deployment("acme", 3, "500m", "1Gi"),
            deployment("acme", 1, "250m", "512Mi"),
            deployment("globex", 1, "100m", "256Mi"),
            // It is suspended, or somebody else's.
            deployment("hooli", 0, "500m", "1Gi"),
            deployment("unknown", 9, "9", "9Gi"),
        ];
        let by = |by| sums(&tenants, &plans, &deployments, by);
        insta::assert_snapshot!(screen(&by(By::Tenant), By::Tenant, None, None), @r"
        TENANT   PODS   CPU     MEMORY   PRICE/MONTH
        acme     4      1750m   3584Mi   49.00 EUR
        globex   1      100m    256Mi    9.50 EUR
        hooli    0      0       0        trial
        all      5      1850m   3840Mi   58.50 EUR, 1 on trial
        ");
        insta::assert_snapshot!(screen(&by(By::Plan), By::Plan, Some(2000), Some(250)), @r"
        PLAN       TENANTS   PODS   CPU     MEMORY   PRICE/MONTH             COST/MONTH
        business   2         4      1750m   3584Mi   49.00 EUR, 1 on trial   43.75
        starter    1         1      100m    256Mi    9.50 EUR                2.62
        all        3         5      1850m   3840Mi   58.50 EUR, 1 on trial   46.37
        ");
        assert_eq!(by(By::Plan)["business"].price["EUR"], 4900, "a trial pays nothing");
    }

    #[test]
    fn a_price_is_exact() {
        assert_eq!([hundredths("49.00"), hundredths("49"), hundredths("0.05")], [Ok(4900), Ok(4900), Ok(5)]);
        for nonsense in ["", "1.5", "1.505", "free", "-1.00"] {
            assert!(hundredths(nonsense).is_err(), "{nonsense}");
        }
    }
}
