//! The real ClickHouse engine, see `tests/engine/README.md`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

use crate::children::Process;
use crate::http::Client;

/// The engine.
pub struct Engine {
    process: Process,
    /// Where it answers.
    pub address: SocketAddr,
    /// The folder of its backup disk.
    pub backups: PathBuf,
    client: Client,
}

impl Engine {
    /// Starts one in `folder`.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".cache/engine/bin/python");
        ensure!(
            python.exists(),
            "the engine is not installed: run tests/engine/install"
        );
        let backups = folder.join("backups");
        let mut command = Command::new(python);
        command
            .arg(root.join("tests/engine/server.py"))
            .arg("--parent-pipe")
            .arg("--path")
            .arg(folder.join("engine"))
            .arg("--disk-local")
            .arg(&backups)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start("engine", &mut command, &folder.join("engine.txt"))?;
        let output = process.output().context("the engine has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("READY http://") else {
            bail!("the engine said {line:?}");
        };
        let address = address.parse()?;
        Ok(Self {
            process,
            address,
            backups,
            client: Client::new(address),
        })
    }

    /// Sends a statement; the answer as tab-separated text.
    pub async fn sql(&mut self, statement: &str) -> anyhow::Result<String> {
        self.warm().await?;
        self.sql_at_once(statement).await
    }

    /// The same over the connection as it is, for statements that are timed after [`Self::warm`].
    pub async fn sql_at_once(&mut self, statement: &str) -> anyhow::Result<String> {
        let answer = self.client.post("/", statement).await?;
        answer.text().with_context(|| statement.to_owned())
    }

    /// Makes sure that the connection is open.
    pub async fn warm(&mut self) -> anyhow::Result<()> {
        self.client.warm("/ping").await
    }

    /// Has the file system write back what is waiting: a backup must not be charged with others' data.
    pub fn settle(&self) -> anyhow::Result<()> {
        let mut sync = Command::new("sync");
        let synced = sync.arg("-f").arg(&self.backups).status();
        ensure!(synced.context("running sync")?.success(), "sync failed");
        Ok(())
    }

    /// Whether the manifest of a backup is there, which the engine writes last; removes the backup.
    pub fn remove_backup(&self, name: &str) -> anyhow::Result<()> {
        let folder = self.backups.join(name);
        ensure!(folder.join(".backup").exists(), "{name} has no manifest");
        std::fs::remove_dir_all(folder).with_context(|| format!("removing {name}"))
    }

    /// Asks it to end, and waits.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}
