//! Visitors: several clients, each with a new connection for every request, that count what was not answered as it should be.

use crate::support::{LIMIT, http_get, wait_until};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// At once, so that there is always a request under way.
const CLIENTS: usize = 6;
/// Answers before and after what is tried, so that it happens under load from its beginning to its end.
const WARM: usize = 50;

/// Requests under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    clients: JoinSet<()>,
}

/// What came of them.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub answered: usize,
    pub lost: Vec<String>,
}

impl Load {
    /// Begins to ask for a page that has to contain this text, and comes back once it is answered steadily.
    pub async fn start(ingress: SocketAddr, host: &str, text: &str) -> Self {
        let mut load = Self { stop: Arc::default(), tally: Arc::default(), clients: JoinSet::new() };
        for _ in 0..CLIENTS {
            let (stop, tally) = (load.stop.clone(), load.tally.clone());
            let (host, text) = (host.to_owned(), text.to_owned());
            load.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = http_get(ingress, &host, "/").await;
                    let mut tally = tally.lock().unwrap();
                    match answer {
                        Ok((200, page)) if page.contains(&text) => tally.answered += 1,
                        Ok((status, page)) => tally.lost.push(format!("{status}: {}", page.chars().take(100).collect::<String>())),
                        Err(error) => tally.lost.push(error),
                    }
                }
            });
        }
        load.answers(WARM).await;
        load
    }

    /// What came of them so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Waits for some more answers, ends, and tells what came of all.
    pub async fn stop(mut self) -> Tally {
        self.answers(WARM).await;
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client ends well");
        }
        self.tally()
    }

    async fn answers(&self, more: usize) {
        let goal = self.tally().answered + more;
        wait_until("visitors are answered", LIMIT, async || {
            let tally = self.tally();
            if tally.answered >= goal {
                Ok(())
            } else {
                Err(format!("{} of {goal} answers, lost: {:?}", tally.answered, tally.lost.first()))
            }
        })
        .await;
    }
}

impl Tally {
    /// Fails the test where a request was lost.
    pub fn nothing_lost(&self, during: &str) {
        eprintln!("{during}: {} requests answered, {} lost", self.answered, self.lost.len());
        assert!(self.lost.is_empty(), "{during}: {} of {} requests were lost, as {:?}", self.lost.len(), self.answered, self.lost.first());
    }
}
