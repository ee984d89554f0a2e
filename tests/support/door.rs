//! Where the operator's checks knock. The door passes on what the local ingress says, which answers 200 in place of simulated pods once it has
//! found a ready one, unless a test has set what the visitors of a host are answered.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the visitors of a host are answered, where it isn't what the ingress says.
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
    let set = answers.lock().ok()?.get(&host).copied();
    let status = set.or_else(|| ask(ingress, &head))?;
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
