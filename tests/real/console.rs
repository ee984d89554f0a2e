//! The console with pods that really run: how long it takes from the form to the customer's own page, by what is to be seen of it.

use crate::planner;
use crate::support::chromium::{known, play};
use crate::support::console::Console;
use crate::support::unique;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real node: dev/test-real"]
async fn a_customer_is_live_while_still_on_the_phone_and_logs_in_once() {
    let world = planner::world().await;
    let console = Console::start().await;
    let token = known(&world, &console, "tenantry-sales").await;
    let facts = json!({
        "token": token, "name": unique("phoned"), "blueprint": "planner", "plan": "starter", "color": "#7a1f5c",
        "ingress": planner::ingress(), "seconds": 60,
    });
    play(&console, "phone", facts).await;
}
