//! A proxy between daemon and engine that writes down every statement; not used in timed rounds.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Statements that are written down; beyond that something is wrong.
const STATEMENTS_MAX: usize = 100_000;

/// A statement that passed.
#[derive(Debug, Clone)]
pub struct Statement {
    /// As sent.
    pub sql: String,
    /// When it came.
    pub at: Instant,
    /// How long the engine took to answer.
    pub took: Duration,
}

impl Statement {
    /// Whether it only looks at what runs.
    pub fn is_poll(&self) -> bool {
        self.sql.starts_with("SELECT") && self.sql.contains("FROM system.backups")
    }
}

/// The proxy; it ends with this value.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    passed: Arc<Mutex<Vec<Statement>>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Passing {
    engine: String,
    client: reqwest::Client,
    passed: Arc<Mutex<Vec<Statement>>>,
}

impl Proxy {
    /// Starts one in front of the engine.
    pub async fn start(engine: SocketAddr) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let passed = Arc::new(Mutex::new(Vec::new()));
        let passing = Passing {
            engine: format!("http://{engine}"),
            client: reqwest::Client::builder().no_proxy().build()?,
            passed: passed.clone(),
        };
        let router = Router::new().fallback(pass).with_state(passing);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("bench: the proxy ended: {error}");
            }
        });
        Ok(Self {
            address,
            passed,
            task,
        })
    }

    /// What has passed since the last call, in order.
    pub fn take(&self) -> Vec<Statement> {
        std::mem::take(&mut self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    State(passing): State<Passing>,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let (sql, at) = (String::from_utf8_lossy(&body).into_owned(), Instant::now());
    // They are about the connection to us, and said anew for the one to the engine.
    for name in ["host", "content-length", "transfer-encoding", "connection"] {
        headers.remove(name);
    }
    let request = passing.client.post(format!("{}{uri}", passing.engine));
    let answered = async {
        let answer = request.headers(headers).body(body).send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
    };
    let answer = match answered.await {
        Ok((status, bytes)) => (status, bytes),
        Err(error) => (StatusCode::BAD_GATEWAY, Bytes::from(error.to_string())),
    };
    let took = at.elapsed();
    let mut passed = passing
        .passed
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if passed.len() < STATEMENTS_MAX {
        passed.push(Statement { sql, at, took });
    }
    answer
}
