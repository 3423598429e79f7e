//! What the measures over many backups share: the S3 server, the real engine, daemons as processes.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::time::Instant;

use crate::children::Process;
use crate::servers::{ACCESS_KEY, SECRET_KEY, Server};

/// The bucket, and where in it the backups lie.
pub const BUCKET: &str = "bucket";
pub const PREFIX: &str = "prefix";
/// How often something is looked at until it is there.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A bucket, and a ClickHouse that makes its backups there.
pub struct World {
    pub server: Server,
    /// The folder of the bucket's objects.
    pub bucket: PathBuf,
    dir: PathBuf,
    http: reqwest::Client,
    engine: Process,
    engine_url: String,
    daemons: u32,
}

/// A daemon of its own state directory, which is empty at its start.
pub struct Daemon {
    pub process: Process,
    pub url: String,
    file: PathBuf,
    text: String,
    http: reqwest::Client,
}

impl World {
    pub async fn begin(dir: &Path) -> anyhow::Result<Self> {
        let objects = dir.join("s3");
        let bucket = objects.join(BUCKET);
        std::fs::create_dir_all(&bucket)?;
        let server = Server::real(&objects).await?;
        let (engine, engine_url) = engine(dir, &server.endpoint)?;
        Ok(Self {
            server,
            bucket,
            dir: dir.to_owned(),
            http: reqwest::Client::new(),
            engine,
            engine_url,
            daemons: 0,
        })
    }

    /// Sends a statement.
    pub async fn sql(&self, statement: &str) -> anyhow::Result<()> {
        let request = self.http.post(&self.engine_url).body(statement.to_owned());
        let answer = request.send().await?;
        ensure!(
            answer.status().is_success(),
            "{statement}: {}",
            answer.text().await?
        );
        Ok(())
    }

    /// Starts a daemon that remembers nothing, and waits for nothing.
    pub fn daemon(&mut self) -> anyhow::Result<Daemon> {
        self.daemons += 1;
        let dir = self.dir.join(format!("daemon-{}", self.daemons));
        std::fs::create_dir_all(&dir)?;
        let address: SocketAddr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let text = format!(
            "clickhouse.url = \"{}\"\nstate.dir = {:?}\napi.listen = \"{address}\"\n\
             destination.disk = \"s3_backup\"\ndestination.url = \"s3://{BUCKET}/{PREFIX}\"\n\
             destination.s3.endpoint = \"{}\"\ndestination.s3.access_key_id = \"{ACCESS_KEY}\"\n\
             destination.s3.secret_access_key = \"{SECRET_KEY}\"\n\
             [schedules.daily]\ncron = \"0 2 * * *\"\ndatabases = [\"shop\"]\nmissed = \"skip\"\n",
            self.engine_url,
            dir.join("state").display().to_string(),
            self.server.endpoint,
        );
        let file = dir.join("config.toml");
        std::fs::write(&file, &text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_clickhouse-backupd"));
        command
            .env_clear()
            .args(["server", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(File::create(dir.join("log.txt"))?);
        let process = Process::start("daemon", &mut command, &dir.join("errors.txt"))?;
        Ok(Daemon {
            process,
            url: format!("http://{address}"),
            file,
            text,
            http: self.http.clone(),
        })
    }

    /// Ends the engine.
    pub async fn end(self) -> anyhow::Result<()> {
        self.engine.stop().await
    }
}

impl Daemon {
    /// The status of an answer and what it says; `None` while nobody listens.
    pub async fn get(&self, path: &str) -> anyhow::Result<Option<(u16, Value)>> {
        match self.http.get(format!("{}{path}", self.url)).send().await {
            Err(error) if error.is_connect() => Ok(None),
            answer => {
                let answer = answer?;
                let status = answer.status().as_u16();
                Ok(Some((status, answer.json().await.unwrap_or_default())))
            }
        }
    }

    pub async fn post(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.http.post(format!("{}{path}", self.url)).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Adds to its configuration, which it reads again by itself.
    pub fn add(&mut self, section: &str) -> anyhow::Result<()> {
        self.text.push_str(section);
        let next = self.file.with_extension("next");
        std::fs::write(&next, &self.text)?;
        std::fs::rename(&next, &self.file).context("changing the configuration")
    }

    /// Looks until there is something, while it runs.
    pub async fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        look: impl AsyncFn(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self).await? {
                return Ok(found);
            }
            self.process.check()?;
            if began.elapsed() > limit {
                bail!("{what} did not come within {limit:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The real engine before the bucket; see `tests/engine/README.md`.
fn engine(dir: &Path, endpoint: &str) -> anyhow::Result<(Process, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".cache/engine/bin/python");
    ensure!(
        python.exists(),
        "the engine is not installed: run tests/engine/install"
    );
    let mut command = Command::new(python);
    command
        .arg(root.join("tests/engine/server.py"))
        .arg("--parent-pipe")
        .arg("--path")
        .arg(dir.join("engine"))
        .args(["--s3-endpoint", &format!("{endpoint}/{BUCKET}/{PREFIX}/")])
        .args(["--s3-access-key", ACCESS_KEY, "--s3-secret-key", SECRET_KEY])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = Process::start("engine", &mut command, &dir.join("engine.txt"))?;
    let output = process.output().context("the engine has no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let Some(url) = line.trim().strip_prefix("READY ") else {
        bail!("the engine said {line:?}");
    };
    Ok((process, url.to_owned()))
}
