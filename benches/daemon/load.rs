//! The load generator: kept-alive connections that ask one after the other for as long as told.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::{Connection, request};

/// Connections at once.
const CONNECTIONS: usize = 8;

/// What one round of load came to.
#[derive(Debug, Default)]
pub struct Load {
    /// Answers.
    pub requests: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// How long it took.
    pub seconds: f64,
    /// Time of each answer, in milliseconds, sorted.
    pub latencies_ms: Vec<f64>,
}

impl Load {
    /// Answers a second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// Asks for `target` over all connections; every answer must be 200, and of `length` where that is
/// known.
pub async fn load(
    address: SocketAddr,
    target: &str,
    length: Option<usize>,
    duration: Duration,
) -> anyhow::Result<Load> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address).await?);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        let request = request("GET", target, "");
        tasks.spawn(ask(connection, request, length, began + duration));
    }
    let mut all = Load::default();
    while let Some(ended) = tasks.join_next().await {
        let part = ended??;
        all.requests += part.requests;
        all.bytes += part.bytes;
        all.latencies_ms.extend(part.latencies_ms);
    }
    all.seconds = began.elapsed().as_secs_f64();
    all.latencies_ms.sort_by(f64::total_cmp);
    Ok(all)
}

async fn ask(
    mut connection: Connection,
    request: Vec<u8>,
    length: Option<usize>,
    until: Instant,
) -> anyhow::Result<Load> {
    let mut load = Load::default();
    let mut now = Instant::now();
    while now < until {
        let answer = connection.exchange(&request, false).await?;
        ensure!(
            answer.status == 200,
            "an answer under load: {}",
            answer.status
        );
        ensure!(
            length.is_none_or(|length| length == answer.length) && answer.length > 0,
            "an answer of {} bytes under load, and {length:?} without",
            answer.length
        );
        let ended = Instant::now();
        load.latencies_ms
            .push((ended - now).as_secs_f64() * 1_000.0);
        load.requests += 1;
        load.bytes += answer.length;
        now = ended;
    }
    Ok(load)
}
