//! HTTP spoken to the HTTPS port: a clear answer instead of a connection that just ends.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a caller may take for its first byte, and then to take our answer.
const LIMIT: Duration = Duration::from_secs(10);
/// What is read of a request before it is answered, in bytes: what nobody read would reset the
/// connection, and the answer with it.
const READ_MAX_BYTES: usize = 16 * 1024;
const ANSWER: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 48\r\nConnection: close\r\n\r\nthis port speaks HTTPS: ask again with https://\n";

/// Takes connections for TLS: their bytes are sent at once, and those that speak HTTP are answered
/// here and go no further.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct TlsOnly;

impl<S: Send + 'static> Accept<TcpStream, S> for TlsOnly {
    type Stream = TcpStream;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(TcpStream, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        Box::pin(async move {
            stream.set_nodelay(true)?;
            let mut first = [0];
            timeout(LIMIT, stream.peek(&mut first)).await??;
            // A method begins with a capital letter, a TLS record with its number, 22.
            if !first[0].is_ascii_uppercase() {
                return Ok((stream, service));
            }
            timeout(LIMIT, refuse(stream)).await??;
            Err(io::Error::other("HTTP was spoken to the HTTPS port"))
        })
    }
}

async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; READ_MAX_BYTES];
    let _some = stream.read(&mut bytes).await?;
    stream.write_all(ANSWER.as_bytes()).await?;
    stream.shutdown().await
}
