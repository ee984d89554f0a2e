//! A way to Postgres on which statements meet faults. It speaks the wire protocol, so that what fails has failed at the server too; see
//! [Message Formats](https://www.postgresql.org/docs/current/protocol-message-formats.html).

use crate::mask::mask;
use crate::support::encrypted;
use crate::traffic::{Effect, Fault, Passing, Side, Traffic};
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where the real server is.
#[derive(Clone)]
pub struct Upstream {
    pub host: String,
    pub port: u16,
    pub authority: String,
}

/// Listens, for as long as the process lives; gives the port.
pub async fn serve(upstream: Upstream, traffic: Arc<Traffic>, names: Vec<(String, String)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let connector = upstream.connector();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (upstream, connector, traffic, names) = (upstream.clone(), connector.clone(), traffic.clone(), names.clone());
            tokio::spawn(async move {
                let _ = Connection::open(client, upstream, connector, traffic, names).await;
            });
        }
    });
    port
}

impl Upstream {
    fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::new(encrypted(&self.authority)))
    }

    async fn connect(&self, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await?;
        let answer = stream.read_u8().await?;
        assert_eq!(answer, b'S', "the tests' Postgres speaks TLS");
        connector.connect(ServerName::try_from(self.host.clone()).expect("a name"), stream).await
    }
}

/// One message: its type and its content.
struct Message {
    kind: u8,
    content: Vec<u8>,
}

impl Message {
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await? as usize;
        let mut content = vec![0; length.saturating_sub(4)];
        from.read_exact(&mut content).await?;
        Ok(Self { kind, content })
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut bytes = vec![self.kind];
        bytes.extend(u32::try_from(self.content.len() + 4).expect("a short message").to_be_bytes());
        bytes.extend(&self.content);
        to.write_all(&bytes).await
    }

    /// The n-th of the strings that it begins with.
    fn text(&self, nth: usize) -> String {
        String::from_utf8_lossy(self.content.split(|byte| *byte == 0).nth(nth).unwrap_or_default()).into_owned()
    }

    fn query(sql: &str) -> Self {
        Self { kind: b'Q', content: [sql.as_bytes(), &[0]].concat() }
    }

    /// What a server says before it closes a connection.
    fn fatal(code: &str, text: &str) -> Self {
        let fields = [("S", "FATAL"), ("V", "FATAL"), ("C", code), ("M", text)];
        let mut content: Vec<u8> = fields.iter().flat_map(|(kind, value)| [kind.as_bytes(), value.as_bytes(), &[0]].concat()).collect();
        content.push(0);
        Self { kind: b'E', content }
    }
}

struct Connection {
    client: TcpStream,
    server: TlsStream<TcpStream>,
    traffic: Arc<Traffic>,
    names: Vec<(String, String)>,
}

impl Connection {
    async fn open(
        mut client: TcpStream,
        upstream: Upstream,
        connector: TlsConnector,
        traffic: Arc<Traffic>,
        names: Vec<(String, String)>,
    ) -> io::Result<()> {
        client.set_nodelay(true)?;
        let length = client.read_u32().await?;
        let mut start = vec![0; (length as usize).saturating_sub(4)];
        client.read_exact(&mut start).await?;
        let database =
            String::from_utf8_lossy(&start).split('\0').skip_while(|word| *word != "database").nth(1).unwrap_or_default().to_owned();
        let what = mask(&format!("connect to {database}"), &names);
        let fault = traffic.arrive(Side::Sql, &what, false);
        let passing = Passing(traffic.clone());
        match fault {
            Some(fault @ (Fault::CrashBefore | Fault::CrashAfter)) => {
                traffic.end_operator(fault);
                return Ok(());
            }
            Some(Fault::LostBefore | Fault::LostAfter) => return Ok(()),
            Some(Fault::TooMany | Fault::Conflict) => {
                return Message::fatal("53300", "sorry, too many clients already").write(&mut client).await;
            }
            Some(Fault::Shutdown) => return Message::fatal("57P03", "the database system is shutting down").write(&mut client).await,
            _ => {}
        }
        let mut server = upstream.connect(&connector).await?;
        server.write_u32(length).await?;
        server.write_all(&start).await?;
        server.flush().await?;
        let mut connection = Self { client, server, traffic, names };
        // The log-in: each side speaks in turn until the server is ready.
        loop {
            let message = Message::read(&mut connection.server).await?;
            message.write(&mut connection.client).await?;
            match message.kind {
                b'Z' | b'E' => break,
                // It asks for the next step of SASL; that it is done (12) needs no answer.
                b'R' if !matches!(message.content.get(..4), Some([0, 0, 0, 0 | 12])) => {
                    Message::read(&mut connection.client).await?.write(&mut connection.server).await?;
                    connection.server.flush().await?;
                }
                _ => {}
            }
        }
        drop(passing);
        connection.serve().await
    }

    /// One exchange after the other.
    async fn serve(mut self) -> io::Result<()> {
        let mut prepared = String::new();
        loop {
            let message = Message::read(&mut self.client).await?;
            match message.kind {
                b'Q' => {
                    let sql = message.text(0);
                    if !self.exchange(&sql, vec![message]).await? {
                        return Ok(());
                    }
                }
                b'X' => {
                    message.write(&mut self.server).await?;
                    return self.server.flush().await;
                }
                first => {
                    if first == b'P' {
                        prepared = message.text(1);
                    }
                    let mut messages = vec![message];
                    while messages.last().is_some_and(|message| message.kind != b'S') {
                        messages.push(Message::read(&mut self.client).await?);
                    }
                    // Preparing is part of running: the fault is met where the statement is run.
                    let runs = messages.iter().any(|message| message.kind == b'E');
                    let goes_on = if runs { self.exchange(&prepared, messages).await? } else { self.pass(messages).await.map(|_| true)? };
                    if !goes_on {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// A statement and its answer; tells whether the connection goes on.
    async fn exchange(&mut self, sql: &str, messages: Vec<Message>) -> io::Result<bool> {
        let what = without_numbers(&mask(&sql.split_whitespace().collect::<Vec<_>>().join(" "), &self.names));
        let writes = !["SELECT", "WITH", "SHOW", "BEGIN", "ROLLBACK", "SET "].iter().any(|word| what.starts_with(word));
        let fault = self.traffic.arrive(Side::Sql, &what, writes);
        let _passing = Passing(self.traffic.clone());
        match fault {
            Some(Fault::CrashBefore) => {
                self.traffic.end_operator(Fault::CrashBefore);
                return Ok(false);
            }
            Some(Fault::LostBefore) => return Ok(false),
            Some(Fault::Shutdown) => {
                Message::fatal("57P01", "terminating connection due to administrator command").write(&mut self.client).await?;
                return Ok(false);
            }
            Some(Fault::Conflict) => {
                return self.raise("40001", "could not serialize access due to concurrent update").await.map(|()| true);
            }
            Some(Fault::TooMany) => return self.raise("53300", "remaining connection slots are reserved").await.map(|()| true),
            _ => {}
        }
        for message in messages {
            message.write(&mut self.server).await?;
        }
        self.server.flush().await?;
        let answer = self.answer().await?;
        let failed = answer.iter().any(|message| message.kind == b'E');
        self.traffic.took_effect(Effect { side: Side::Sql, what, status: failed.into(), writes });
        match fault {
            Some(fault @ Fault::CrashAfter) => {
                self.traffic.end_operator(fault);
                return Ok(false);
            }
            Some(Fault::LostAfter) => return Ok(false),
            _ => {}
        }
        for message in answer {
            message.write(&mut self.client).await?;
        }
        Ok(true)
    }

    /// Passes messages and their answer on as they are.
    async fn pass(&mut self, messages: Vec<Message>) -> io::Result<()> {
        for message in messages {
            message.write(&mut self.server).await?;
        }
        self.server.flush().await?;
        for message in self.answer().await? {
            message.write(&mut self.client).await?;
        }
        Ok(())
    }

    /// Lets the server itself fail in place of the statement, so that its transaction has failed too.
    async fn raise(&mut self, code: &str, text: &str) -> io::Result<()> {
        let sql = format!("DO $$ BEGIN RAISE EXCEPTION '{text}' USING ERRCODE = '{code}'; END $$");
        self.pass(vec![Message::query(&sql)]).await
    }

    async fn answer(&mut self) -> io::Result<Vec<Message>> {
        let mut answer = Vec::new();
        loop {
            let message = Message::read(&mut self.server).await?;
            let ends = message.kind == b'Z';
            answer.push(message);
            if ends {
                return Ok(answer);
            }
        }
    }
}

/// How often a tenant's login was rotated before is nothing that a statement is told by.
fn without_numbers(what: &str) -> String {
    ["1", "2"].iter().fold(what.to_owned(), |what, number| what.replace(&format!("tenant_T.{number}"), "tenant_T.n"))
}
