//! Connections: how many, how long a caller may take to ask, and how they end.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::tls;

/// Open connections; one beyond is closed at once.
const CONNECTIONS_MAX: usize = 512;
/// How long a caller may take to send the head of a request, and how long a connection may idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller may take none of an answer that is sent; a caller who only asks and never reads
/// would keep its connection for ever.
const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// What connections are held to.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    write_stall: Duration,
}

/// Takes connections as `inner` does, and ends those whose caller stopped reading. Nothing happens to
/// one with nothing to send: a request that waits for its answer, or a pause between two requests.
#[derive(Debug, Clone, Copy)]
struct Unstalled<A> {
    inner: A,
    limit: Duration,
}

/// A router that counts as a connection for as long as it lives.
#[derive(Clone)]
struct Counted {
    router: Router,
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Serves until `stop`, and for the time of grace after it.
pub(super) async fn serve(
    listener: TcpListener,
    certificate: Option<tls::Certificate>,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let limits = Limits {
        connections: CONNECTIONS_MAX,
        write_stall: WRITE_STALL_TIMEOUT,
    };
    serve_within(limits, listener, certificate, router, stop).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    certificate: Option<tls::Certificate>,
    router: Router,
    stop: CancellationToken,
) -> io::Result<()> {
    let connections = limits.connections;
    let permits = Arc::new(Semaphore::new(connections));
    let make = tower::service_fn(move |_: SocketAddr| {
        let counted = permits.clone().try_acquire_owned().map(|permit| Counted {
            router: router.clone(),
            _permit: Arc::new(permit),
        });
        if counted.is_err() {
            tracing::warn!(connections, "a connection was closed: too many are open");
        }
        std::future::ready::<Result<Counted, TryAcquireError>>(counted)
    });
    let handle = Handle::new();
    let server = axum_server::from_tcp(listener)?;
    let stopped = async {
        stop.cancelled().await;
        handle.graceful_shutdown(Some(GRACE));
        std::future::pending::<Infallible>().await
    };
    match certificate {
        None => tokio::select! {
            result = configured(server.acceptor(limits.unstalled(NoDelayAcceptor::new())), handle.clone()).serve(make) => result,
            never = stopped => match never {},
        },
        Some(certificate) => {
            let acceptor =
                RustlsAcceptor::new(certificate.config()).handshake_timeout(HANDSHAKE_TIMEOUT);
            let server = configured(
                server.acceptor(acceptor.acceptor(limits.unstalled(tls::TlsOnly))),
                handle.clone(),
            );
            tokio::select! {
                result = server.serve(make) => result,
                never = stopped => match never {},
                never = certificate.keep_fresh() => match never {},
            }
        }
    }
}

/// HTTP/1 only: every client of ours speaks it, and it has fewer ways to keep a server busy.
fn configured<A>(
    mut server: Server<SocketAddr, A>,
    handle: Handle<SocketAddr>,
) -> Server<SocketAddr, A> {
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT);
    server.http1_only().handle(handle)
}

impl Limits {
    fn unstalled<A>(self, inner: A) -> Unstalled<A> {
        Unstalled {
            inner,
            limit: self.write_stall,
        }
    }
}

impl<A, S> Accept<TcpStream, S> for Unstalled<A>
where
    A: Accept<TcpStream, S, Stream = TcpStream>,
    A::Future: Send + 'static,
{
    type Stream = Pin<Box<TimeoutStream<TcpStream>>>;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, A::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (accepting, limit) = (self.inner.accept(stream, service), self.limit);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(limit));
            Ok((Box::pin(stream), service))
        })
    }
}

impl<R> Service<R> for Counted
where
    Router: Service<R>,
{
    type Response = <Router as Service<R>>::Response;
    type Error = <Router as Service<R>>::Error;
    type Future = <Router as Service<R>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.router.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.router.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::Fixture;
    use crate::api::{Access, ServeError, Settings, build};
    use axum::body::Bytes;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::{JoinHandle, spawn_blocking};

    const GET_LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    fn settings(listen: &str) -> Settings {
        Settings {
            listen: listen.to_owned(),
            access: Access::default(),
            tls: None,
            allow_parallel: false,
        }
    }

    /// Sends bytes and reads until the server closes the connection.
    async fn exchange(address: SocketAddr, bytes: &'static [u8]) -> io::Result<String> {
        let exchange = move || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.write_all(bytes)?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        spawn_blocking(exchange).await.unwrap()
    }

    /// A router whose `/slow` says when it was reached, and then takes a while, and whose `/large` is
    /// one MiB.
    fn slow_router(reached: Arc<Notify>) -> Router {
        let slow = || async move {
            reached.notify_one();
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        let large = Bytes::from(vec![b'x'; 1024 * 1024]);
        Router::new()
            .route("/livez", axum::routing::get(|| async { "ok" }))
            .route("/large", axum::routing::get(|| async { large }))
            .route("/slow", axum::routing::get(slow))
    }

    fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    struct Serving {
        address: SocketAddr,
        stop: CancellationToken,
        reached: Arc<Notify>,
        task: JoinHandle<io::Result<()>>,
    }

    fn spawn_at_most(connections: usize) -> Serving {
        spawn_within(Limits {
            connections,
            write_stall: WRITE_STALL_TIMEOUT,
        })
    }

    fn spawn_within(limits: Limits) -> Serving {
        let (listener, address) = listen();
        let (stop, reached) = (CancellationToken::new(), Arc::new(Notify::new()));
        let router = slow_router(reached.clone());
        let serving = serve_within(limits, listener, None, router, stop.clone());
        Serving {
            address,
            stop,
            reached,
            task: tokio::spawn(serving),
        }
    }

    #[tokio::test]
    async fn the_address_is_known_before_anything_is_served_and_is_ours_alone() {
        let api = Fixture::new();
        let bound = build(&settings("127.0.0.1:0")).unwrap();
        let address = bound.address();
        let taken = build(&settings(&address.to_string())).unwrap_err();
        assert!(matches!(taken, ServeError::InUse { .. }), "{taken}");
        assert!(taken.to_string().contains("in use"), "{taken}");
        let stop = CancellationToken::new();
        let mut state = api.state.clone();
        state.stop = stop.clone();
        let serving = tokio::spawn(bound.serve(state));
        let answer = exchange(address, GET_LIVEZ).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("{\"status\":\"OK\"}\n"), "{answer}");
        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        let error = build(&settings("nonsense")).unwrap_err().to_string();
        assert!(
            error.contains("nonsense") && error.contains("host:port"),
            "{error}"
        );
        assert!(
            build(&settings(":0")).is_ok(),
            "an empty host is every address"
        );
    }

    #[tokio::test]
    async fn a_request_at_work_ends_before_the_server_does() {
        let serving = spawn_at_most(10);
        let request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
        let asking = tokio::spawn(exchange(serving.address, request));
        serving.reached.notified().await;
        serving.stop.cancel();
        let answer = asking.await.unwrap().unwrap();
        assert!(answer.ends_with("done"), "{answer}");
        serving.task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_a_place_becomes_free_again() {
        let serving = spawn_at_most(1);
        let address = serving.address;
        // Connections are accepted in the order in which they were made.
        let connect = move || TcpStream::connect(address);
        let first = spawn_blocking(connect).await.unwrap().unwrap();
        let second = exchange(address, GET_LIVEZ).await;
        assert!(second.is_err() || second.unwrap().is_empty());
        drop(first);
        a_place_becomes_free(address).await;
        serving.stop.cancel();
        serving.task.await.unwrap().unwrap();
    }

    async fn a_place_becomes_free(address: SocketAddr) {
        let free_again = async {
            while !matches!(exchange(address, GET_LIVEZ).await, Ok(text) if text.ends_with("ok")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), free_again)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_caller_who_asks_and_never_reads_is_hung_up_on() {
        let serving = spawn_within(Limits {
            connections: 1,
            write_stall: Duration::from_millis(200),
        });
        let address = serving.address;
        let asking = move || {
            let mut stream = TcpStream::connect(address)?;
            for _ in 0..100 {
                stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")?;
            }
            Ok::<_, io::Error>(stream)
        };
        let unread = spawn_blocking(asking).await.unwrap().unwrap();
        a_place_becomes_free(address).await;
        drop(unread);
        serving.stop.cancel();
        serving.task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_caller_who_waits_or_pauses_is_not_hung_up_on() {
        let serving = spawn_within(Limits {
            connections: 1,
            write_stall: Duration::from_millis(50),
        });
        let address = serving.address;
        let talking = move || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            // The answer takes six times the limit, and so does the pause after it.
            stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"done") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                answer.extend(byte);
            }
            std::thread::sleep(Duration::from_millis(300));
            stream.write_all(GET_LIVEZ)?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        let text = spawn_blocking(talking).await.unwrap().unwrap();
        assert!(text.ends_with("ok"), "{text}");
        serving.stop.cancel();
        serving.task.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_does_not_finish_asking_is_hung_up_on() {
        let serving = spawn_at_most(10);
        let mut stream = tokio::net::TcpStream::connect(serving.address)
            .await
            .unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
        let began = tokio::time::Instant::now();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let waited = began.elapsed();
        assert!(
            waited <= HEADER_READ_TIMEOUT + Duration::from_secs(1),
            "{waited:?}"
        );
        assert!(!text.contains("200"), "{text}");
    }
}
