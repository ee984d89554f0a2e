//! A way to Postgres that a test can cut: for outages of one server that others must not notice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Forwards connections while it is open.
pub struct Proxy {
    /// Where it listens on 127.0.0.1, open or cut.
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cut: bool,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Forwards to the address, for as long as the process lives.
    pub fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Self { port: listener.local_addr().expect("an address").port(), state: Arc::default() };
        let state = proxy.state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                // What is accepted and closed at once is, to the client, a server that has gone.
                if !state.cut
                    && let Ok(server) = TcpStream::connect(&target)
                {
                    for (from, to) in [(&client, &server), (&server, &client)] {
                        let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                        std::thread::spawn(move || forward(from, to));
                    }
                    state.open.extend([client, server]);
                }
            }
        });
        proxy
    }

    /// Ends every connection and lets no new one through.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).cut = false;
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
