//! A browser without scripts: it keeps cookies, knows the token of the last form, and follows redirections.

use super::{LIMIT, wait_until};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any page takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }
}

/// Somebody's browser.
#[derive(Clone, Debug)]
pub struct Browser {
    address: SocketAddr,
    /// What it sends along each time.
    pub headers: Vec<(String, String)>,
    pub cookies: BTreeMap<String, String>,
    /// Of the last form that it saw.
    pub form_token: String,
}

impl Browser {
    pub fn at(address: SocketAddr) -> Self {
        Self { address, headers: Vec::new(), cookies: BTreeMap::new(), form_token: String::new() }
    }

    /// Behind a proxy that sends a token along.
    pub fn with_token(address: SocketAddr, token: &str) -> Self {
        Self { headers: vec![("Authorization".to_owned(), format!("Bearer {token}"))], ..Self::at(address) }
    }

    pub fn sending(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// Opens a page until the API server's authorizer knows of the role that was just given.
    pub async fn let_in(&mut self, path: &str) -> Answer {
        wait_until("the visitor is let in", LIMIT, async || {
            let answer = self.clone().open(path).await;
            if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text)) }
        })
        .await;
        self.open(path).await
    }

    /// Opens a page, wherever it leads.
    pub async fn open(&mut self, path: &str) -> Answer {
        let mut answer = self.get(path).await;
        for _ in 0..5 {
            let Some(place) = answer.header("location").filter(|_| (300..400).contains(&answer.status)).map(str::to_owned) else { break };
            answer = self.get(&place).await;
        }
        answer
    }

    /// Sends a form of the last page.
    pub async fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.form_token.clone();
        self.post(path, &[&[("form_token", token.as_str())], fields].concat()).await
    }

    /// Sends a form that says no more than this.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        self.ask("POST", path, &body.join("&")).await
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = self.begin(method, path, body).await;
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an answer in time").expect("an answer");
        let answer = parsed(&bytes);
        for cookie in answer.headers("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').expect("a cookie");
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name)
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned())
            };
        }
        if let Some((_, rest)) = answer.text.split_once("name=\"form_token\" value=\"") {
            self.form_token = rest.split('"').next().unwrap_or_default().to_owned();
        }
        answer
    }

    /// Asks, and leaves the answer to be read as it comes.
    pub async fn begin(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("the console listens");
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !self.cookies.is_empty() {
            let all: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            text += &format!("Cookie: {}\r\n", all.join("; "));
        }
        if method == "POST" {
            text += &format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.expect("it is sent");
        stream
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn parsed(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("no HTTP: {text}"));
    let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    Answer { status, headers, text: body.to_owned() }
}
