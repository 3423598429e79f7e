//! A client over one kept-alive connection that does next to nothing beside the exchange itself.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is read at once; the head of an answer must fit.
const BUFFER_BYTES: usize = 256 * 1024;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Bytes of the body.
    pub length: usize,
    /// The body, where it is kept.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of an answer with status 200.
    pub fn text(self) -> anyhow::Result<String> {
        let text = String::from_utf8(self.body).context("the body is no UTF-8")?;
        ensure!(self.status == 200, "{} {}", self.status, text.trim());
        Ok(text)
    }
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Sends a request and reads the whole answer; its body is only counted unless it is kept.
    pub async fn exchange(&mut self, request: &[u8], keep: bool) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let (status, length, head) = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the connection was closed before the answer");
            filled += read;
            if let Some(end) = end_of_head(&self.buffer[..filled]) {
                let (status, length) = parse(&self.buffer[..end])?;
                break (status, length, end);
            }
            ensure!(
                filled < self.buffer.len(),
                "the head of an answer is too long"
            );
        };
        let mut seen = filled - head;
        ensure!(seen <= length, "an answer is longer than it says");
        let mut body = Vec::new();
        if keep {
            body = self.buffer[head..filled].to_vec();
            body.resize(length, 0);
            self.stream.read_exact(&mut body[seen..]).await?;
        } else {
            while seen < length {
                let wanted = (length - seen).min(self.buffer.len());
                let read = self.stream.read(&mut self.buffer[..wanted]).await?;
                ensure!(read > 0, "the connection was closed within an answer");
                seen += read;
            }
        }
        Ok(Answer {
            status,
            length,
            body,
        })
    }
}

/// A client that connects again when its connection was closed meanwhile.
pub struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Client {
    /// A client of this address; it connects when it is used.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// Sends a GET.
    pub async fn get(&mut self, target: &str) -> anyhow::Result<Answer> {
        self.send(&request("GET", target, "")).await
    }

    /// Sends a POST.
    pub async fn post(&mut self, target: &str, body: &str) -> anyhow::Result<Answer> {
        self.send(&request("POST", target, body)).await
    }

    /// Makes sure that a connection is open: servers close idle ones, and a timed request must not
    /// find that out.
    pub async fn warm(&mut self, target: &str) -> anyhow::Result<()> {
        if self.get(target).await.is_err() {
            self.connection = None;
            self.get(target).await?;
        }
        Ok(())
    }

    async fn send(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.address).await?),
        };
        let answer = connection.exchange(request, true).await;
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}

/// The bytes of a request.
pub fn request(method: &str, target: &str, body: &str) -> Vec<u8> {
    // Only with a POST: the engine's front closes the connection after a GET that announces a body.
    let length = match method {
        "POST" => format!("content-length: {}\r\n", body.len()),
        _ => String::new(),
    };
    format!("{method} {target} HTTP/1.1\r\nhost: bench\r\n{length}\r\n{body}").into_bytes()
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let found = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    found.map(|at| at + 4)
}

/// Status and length of the body.
fn parse(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let head = std::str::from_utf8(head).context("the head of an answer is no UTF-8")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.context("no status line")?.parse()?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((status, value.trim().parse()?));
        }
    }
    bail!("an answer without Content-Length")
}
