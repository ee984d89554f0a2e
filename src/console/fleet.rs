//! All tenants at a glance: search and filters, which are in the address, pages of a table, and the same as CSV.

use super::Console;
use super::address::look_of;
use super::frame::Frame;
use super::problem::{Problem, show};
use super::rights::Right;
use super::usual::{Seconds, took_to_come_up};
use super::visitor::Visitor;
use crate::api::Tenant;
use crate::inspect::{State, state};
use askama::Template;
use axum::extract::{Query, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Rows of a page.
const PAGE: usize = 50;
/// The first list of ten thousand takes some seconds.
const LISTED_WITHIN: Duration = Duration::from_secs(20);
/// Nobody has looked for so long, so nobody watches any more.
const WATCHED_FOR: Duration = Duration::from_secs(600);

/// What the list shows of a tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub customer: String,
    #[serde(skip)]
    pub state: State,
    /// What it is at, in a word.
    #[serde(rename = "state")]
    pub told: String,
    pub plan: String,
    pub blueprint: String,
    pub version: String,
    pub url: String,
    pub created: Option<Timestamp>,
    pub trial_ends: Option<Timestamp>,
    /// The hosts that it has.
    #[serde(skip)]
    pub hosts: Vec<String>,
    /// Its name as a hurried reader sees it.
    #[serde(skip)]
    pub look: String,
    /// How long its steps took.
    #[serde(skip)]
    pub took: Seconds,
}

impl Row {
    fn of(tenant: &Tenant) -> Self {
        let status = tenant.status.as_ref();
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        Self {
            name: tenant.name_any(),
            customer: tenant.spec.display_name.clone(),
            state: State::of(tenant),
            told: state::told(tenant).to_owned(),
            plan: tenant.spec.plan.clone(),
            blueprint: tenant.spec.blueprint.clone(),
            version: text(status.and_then(|status| status.version.as_ref())),
            url: text(status.and_then(|status| status.url.as_ref())),
            created: tenant.creation_timestamp().map(|time| time.0),
            trial_ends: tenant.spec.expires_at.as_ref().map(|time| time.0),
            hosts: status.map(|status| status.hosts.clone()).unwrap_or_default(),
            look: look_of(&tenant.name_any()),
            took: took_to_come_up(tenant),
        }
    }

    /// One for tests.
    #[cfg(test)]
    pub fn named(name: &str) -> Self {
        let spec = serde_json::json!({"displayName": format!("Customer {name}"), "blueprint": "planner", "plan": "business"});
        let tenant = serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "spec": spec}));
        let hosts = vec![format!("{name}.example.com")];
        Self { hosts, version: "2".to_owned(), url: format!("https://{name}.example.com"), ..Self::of(&tenant.unwrap()) }
    }
}

type Rows = BTreeMap<String, Arc<Row>>;

/// What there is, kept as long as somebody looks. It is watched by the token of one of those who look, and shown to whoever may list tenants.
#[derive(Default)]
pub struct Fleet {
    watching: Mutex<Option<Watching>>,
}

#[derive(Clone)]
struct Watching {
    rows: Arc<RwLock<Rows>>,
    is_listed: watch::Receiver<bool>,
    asked: Arc<Mutex<Instant>>,
    task: AbortHandle,
}

impl Fleet {
    /// All tenants by their names, as far as this visitor may see them.
    ///
    /// # Errors
    /// Where the visitor may not, or they can't be listed.
    pub async fn rows(&self, visitor: &Visitor) -> Result<Vec<Arc<Row>>, Problem> {
        if !visitor.rights.has(Right::ListTenants) {
            return Err(Problem::forbidden(Right::ListTenants.missing()));
        }
        let mut watching = self.watched_by(&visitor.client);
        let listed = tokio::time::timeout(LISTED_WITHIN, watching.is_listed.wait_for(|is_listed| *is_listed)).await;
        if !matches!(listed, Ok(Ok(_))) {
            return Err(Problem::new(StatusCode::BAD_GATEWAY, "the tenants can't be listed at the moment: try again"));
        }
        let rows = watching.rows.read().unwrap_or_else(PoisonError::into_inner);
        Ok(rows.values().cloned().collect())
    }

    fn watched_by(&self, client: &Client) -> Watching {
        let mut watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = watching.as_ref().filter(|known| !known.task.is_finished()) {
            *known.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            return known.clone();
        }
        let (rows, asked) = (Arc::<RwLock<Rows>>::default(), Arc::new(Mutex::new(Instant::now())));
        let (listed, is_listed) = watch::channel(false);
        let task = tokio::spawn(keep(client.clone(), rows.clone(), listed, asked.clone())).abort_handle();
        watching.insert(Watching { rows, is_listed, asked, task }).clone()
    }
}

/// Keeps the rows as the tenants are, until nobody looks any more or the token is refused; the next who looks begins anew.
async fn keep(client: Client, rows: Arc<RwLock<Rows>>, listed: watch::Sender<bool>, asked: Arc<Mutex<Instant>>) {
    let mut changes = std::pin::pin!(watcher(Api::<Tenant>::all(client), watcher::Config::default()).default_backoff());
    let mut arriving = Rows::new();
    loop {
        let idle = asked.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let Some(left) = WATCHED_FOR.checked_sub(idle) else { return };
        let event = match tokio::time::timeout(left.max(Duration::from_secs(1)), changes.try_next()).await {
            Err(_) => continue,
            Ok(Ok(None)) => return,
            Ok(Err(error)) if crate::follow::is_refused(&error) => return,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the watch of tenants was interrupted; it starts again");
                continue;
            }
            Ok(Ok(Some(event))) => event,
        };
        let enter = |tenant: &Tenant, rows: &mut Rows| rows.insert(tenant.name_any(), Arc::new(Row::of(tenant)));
        let mut known = rows.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            watcher::Event::Init => arriving.clear(),
            watcher::Event::InitApply(tenant) => drop(enter(&tenant, &mut arriving)),
            watcher::Event::InitDone => {
                *known = std::mem::take(&mut arriving);
                listed.send_replace(true);
            }
            watcher::Event::Apply(tenant) => drop(enter(&tenant, &mut known)),
            watcher::Event::Delete(tenant) => drop(known.remove(&tenant.name_any())),
        }
    }
}

/// What is asked for, as it stands in the address.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Asked {
    /// Part of a name, a customer's or a host's.
    #[serde(skip_serializing_if = "String::is_empty")]
    q: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    plan: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    blueprint: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    /// A column, with - before it for the other way round.
    #[serde(skip_serializing_if = "String::is_empty")]
    sort: String,
    #[serde(skip_serializing_if = "is_zero")]
    page: usize,
}

fn is_zero(page: &usize) -> bool {
    *page == 0
}

impl Asked {
    fn admits(&self, row: &Row) -> bool {
        let part = self.q.trim().to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&part);
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        (part.is_empty() || has(&row.name) || has(&row.customer) || row.hosts.iter().any(|host| has(host)))
            && is(&self.state, row.state.word())
            && is(&self.plan, &row.plan)
            && is(&self.blueprint, &row.blueprint)
            && is(&self.version, &row.version)
    }

    fn order(&self, one: &Row, other: &Row) -> Ordering {
        let (column, reversed) = self.sort.strip_prefix('-').map_or((self.sort.as_str(), false), |column| (column, true));
        let order = match column {
            "name" => Ordering::Equal,
            "customer" => one.customer.to_lowercase().cmp(&other.customer.to_lowercase()),
            "plan" => one.plan.cmp(&other.plan),
            "version" => one.version.cmp(&other.version),
            "created" => one.created.cmp(&other.created),
            // Those without a trial last.
            "trial" => (one.trial_ends.is_none(), one.trial_ends).cmp(&(other.trial_ends.is_none(), other.trial_ends)),
            _ => one.state.cmp(&other.state),
        };
        let order = order.then_with(|| one.name.cmp(&other.name));
        if reversed { order.reverse() } else { order }
    }

    /// The address of the list with something else asked for.
    fn address(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut asked = Self { page: 0, ..self.clone() };
        change(&mut asked);
        let query = serde_urlencoded::to_string(&asked).unwrap_or_default();
        if query.is_empty() { "/tenants".to_owned() } else { format!("/tenants?{query}") }
    }
}

/// Days until a trial ends, of which the one that has begun counts; 0 once it has ended.
pub fn days_left(end: Timestamp, now: Timestamp) -> i64 {
    const DAY: i64 = 24 * 60 * 60;
    (end.duration_since(now).as_secs().max(0) + DAY - 1) / DAY
}

/// The rows that are asked for, in their order.
fn chosen(all: &[Arc<Row>], asked: &Asked) -> Vec<Arc<Row>> {
    let mut rows: Vec<_> = all.iter().filter(|row| asked.admits(row)).cloned().collect();
    rows.sort_by(|one, other| asked.order(one, other));
    rows
}

/// A choice among which one filters.
struct Choice {
    word: String,
    count: usize,
    address: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct Page {
    frame: Frame,
    asked: Asked,
    now: Timestamp,
    rows: Vec<Arc<Row>>,
    /// Of all that are asked for.
    total: usize,
    /// Of all that there are.
    all: usize,
    states: Vec<Choice>,
    plans: BTreeSet<String>,
    versions: BTreeSet<String>,
    pages: usize,
}

impl Page {
    fn of(frame: Frame, asked: Asked, all: &[Arc<Row>], now: Timestamp) -> Self {
        let rows = chosen(all, &asked);
        let pages = rows.len().div_ceil(PAGE).max(1);
        let asked = Asked { page: asked.page.min(pages - 1), ..asked };
        let in_any_state = chosen(all, &Asked { state: String::new(), ..asked.clone() });
        let of_state = |state: State| Choice {
            word: state.word().to_owned(),
            count: in_any_state.iter().filter(|row| row.state == state).count(),
            address: asked.address(|asked| asked.state = state.word().to_owned()),
            is_chosen: asked.state == state.word(),
        };
        let everything = Choice {
            word: "all".to_owned(),
            count: in_any_state.len(),
            address: asked.address(|asked| asked.state.clear()),
            is_chosen: asked.state.is_empty(),
        };
        Self {
            states: std::iter::once(everything).chain(State::ALL.map(of_state)).collect(),
            plans: all.iter().map(|row| row.plan.clone()).collect(),
            versions: all.iter().map(|row| row.version.clone()).filter(|version| !version.is_empty()).collect(),
            total: rows.len(),
            all: all.len(),
            rows: rows.into_iter().skip(asked.page * PAGE).take(PAGE).collect(),
            pages,
            frame,
            asked,
            now,
        }
    }

    /// The address that sorts by a column, or the other way round where it is so already.
    fn sorted(&self, column: &str) -> String {
        let is_so = self.asked.sort == column || (column == "state" && self.asked.sort.is_empty());
        self.asked.address(|asked| asked.sort = if is_so { format!("-{column}") } else { column.to_owned() })
    }

    /// How a column is sorted, as `aria-sort` has it.
    fn direction(&self, column: &str) -> &'static str {
        match self.asked.sort.as_str() {
            "" if column == "state" => "ascending",
            sort if sort == column => "ascending",
            sort if sort.strip_prefix('-') == Some(column) => "descending",
            _ => "none",
        }
    }

    fn trial_days(&self, row: &Row) -> Option<i64> {
        row.trial_ends.map(|end| days_left(end, self.now))
    }

    fn page_address(&self, page: usize) -> String {
        self.asked.address(|asked| asked.page = page)
    }

    fn csv_address(&self) -> String {
        self.asked.address(|_| {}).replacen("/tenants", "/tenants.csv", 1)
    }
}

/// The list.
pub async fn page(Shared(console): Shared<Console>, frame: Frame, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let all = console.fleet.rows(&frame.visitor).await?;
    Ok(show(StatusCode::OK, &Page::of(frame, asked, &all, Timestamp::now())))
}

/// The same for a spreadsheet, all of it.
pub async fn csv(Shared(console): Shared<Console>, visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Problem> {
    let all = console.fleet.rows(&visitor).await?;
    let text = as_csv(&chosen(&all, &asked)).map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"tenants.csv\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}

fn as_csv(rows: &[Arc<Row>]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(Row { name: harmless(&row.name), customer: harmless(&row.customer), ..(**row).clone() })?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// A spreadsheet takes a cell that begins so for a formula; see [CSV injection](https://owasp.org/www-community/attacks/CSV_Injection).
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, customer: &str, state: State, plan: &str) -> Arc<Row> {
        let (customer, told, plan) = (customer.to_owned(), state.word().to_owned(), plan.to_owned());
        Arc::new(Row { customer, state, told, plan, ..Row::named(name) })
    }

    fn names(all: &[Arc<Row>], query: &str) -> Vec<String> {
        chosen(all, &serde_urlencoded::from_str(query).unwrap()).iter().map(|row| row.name.clone()).collect()
    }

    #[test]
    fn who_needs_somebody_comes_first_and_filters_are_in_the_address() {
        let all = [
            row("acme", "ACME Construction", State::Ready, "business"),
            row("globex", "Globex Garden Centres", State::Stalled, "starter"),
            row("initech", "Initech Bakery", State::Working, "business"),
        ];
        assert_eq!(names(&all, ""), ["globex", "initech", "acme"]);
        assert_eq!(names(&all, "q=BAKERY"), ["initech"]);
        assert_eq!(names(&all, "q=acme.example"), ["acme"]);
        assert_eq!(names(&all, "plan=business&sort=name"), ["acme", "initech"]);
        assert_eq!(names(&all, "sort=-name"), ["initech", "globex", "acme"]);
        assert_eq!(names(&all, "state=stalled"), ["globex"]);
        let asked: Asked = serde_urlencoded::from_str("q=a+b&page=3").unwrap();
        assert_eq!(asked.address(|asked| asked.plan = "x&y".to_owned()), "/tenants?q=a+b&plan=x%26y");
    }

    #[test]
    fn a_trial_of_two_weeks_has_fourteen_days_left_at_first() {
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().unwrap();
        for (end, days) in
            [("2026-12-14T10:00:00Z", 14), ("2026-12-14T09:59:58Z", 14), ("2026-11-30T10:00:01Z", 1), ("2026-11-30T09:00:00Z", 0)]
        {
            assert_eq!(days_left(end.parse().unwrap(), now), days, "{end}");
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        let all =
            [row("acme", "=HYPERLINK(\"https://evil.example\")", State::Ready, "business"), row("b", "a \"b\", c", State::Ready, "p")];
        insta::assert_snapshot!(String::from_utf8(as_csv(&all).unwrap()).unwrap(), @r#"
        name,customer,state,plan,blueprint,version,url,created,trial_ends
        acme,"'=HYPERLINK(""https://evil.example"")",ready,business,planner,2,https://acme.example.com,,
        b,"a ""b"", c",ready,p,planner,2,https://b.example.com,,
        "#);
    }
}
