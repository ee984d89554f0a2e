//! Where the operator's checks knock. Simulated pods have no program that could answer, so the local ingress answers 200 itself once it has
//! found a ready pod; the door passes that on, unless a test has set what the pods of a host answer. All else that the ingress says (no route,
//! no ready pod) passes as it is.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the pods of a host answer; 200 where nothing is said.
pub type Answers = Arc<Mutex<HashMap<String, u16>>>;

pub struct Door {
    pub address: SocketAddr,
    pub answers: Answers,
}

/// Opens it in front of the ingress, for as long as the process lives.
pub fn open(ingress: String) -> Door {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let door = Door { address: listener.local_addr().expect("an address"), answers: Answers::default() };
    let answers = door.answers.clone();
    std::thread::spawn(move || {
        for visitor in listener.incoming().flatten() {
            let (ingress, answers) = (ingress.clone(), answers.clone());
            std::thread::spawn(move || answer(visitor, &ingress, &answers));
        }
    });
    door
}

fn answer(mut visitor: TcpStream, ingress: &str, answers: &Answers) -> Option<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(visitor.try_clone().ok()?);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let host = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host:").map(|host| host.trim().to_owned()))?;
    let status = match ask(ingress, &head)? {
        200 => answers.lock().ok()?.get(&host).copied().unwrap_or(200),
        other => other,
    };
    write!(visitor, "HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()
}

fn ask(ingress: &str, head: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(ingress).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let (request, fields) = head.split_once("\r\n")?;
    write!(stream, "{request}\r\nConnection: close\r\n{fields}").ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    std::str::from_utf8(&start[9..]).ok()?.parse().ok()
}
