//! A daemon that is measured.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use crate::children::{Memory, Process};
use crate::http::Client;

/// How long a daemon may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// A daemon.
pub struct Daemon {
    process: Process,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Daemon {
    /// Runs `command`, which is to listen on `address`; its log goes into `dir`.
    pub fn run(dir: &Path, mut command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        command.stdout(File::create(dir.join("log.json"))?);
        let process = Process::start("daemon", &mut command, &dir.join("errors.txt"))?;
        Ok(Self { process, address })
    }

    /// Asks it to end, and waits.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }

    /// Its memory now.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        self.process.memory()
    }

    /// Processor time it has used, in seconds.
    pub fn processor_seconds(&self) -> anyhow::Result<f64> {
        self.process.processor_seconds()
    }

    /// Whether it still runs; otherwise an error.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.process.check()
    }

    /// Waits until it has opened its memory and tried its first look at ClickHouse.
    pub async fn ready(mut self) -> anyhow::Result<Self> {
        let mut client = Client::new(self.address);
        let began = Instant::now();
        while client
            .get("/readyz")
            .await
            .map_or(0, |answer| answer.status)
            != 200
        {
            self.check()?;
            ensure!(began.elapsed() < READY_LIMIT, "a daemon is not ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(self)
    }
}
