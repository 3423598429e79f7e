//! What a run owns: a folder, the engine, daemons; all of it goes with it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::engine::Engine;
use crate::folder::Folder;
use crate::server::Daemon;
use crate::state;

/// Backups that the daemon of the backup measures knows: their writes and answers are those of a
/// daemon that has been there for a while.
pub const BACKUPS_KNOWN: usize = 300;

/// One run.
pub struct Session {
    binary: PathBuf,
    main: Option<Daemon>,
    engine: Option<Engine>,
    folders: u32,
    // Last: the folder goes when nobody writes into it any more.
    folder: Folder,
}

impl Session {
    /// An empty folder; nothing runs yet.
    pub fn begin(binary: PathBuf) -> anyhow::Result<Self> {
        let binary = binary.canonicalize().context("looking for the binary")?;
        Ok(Self {
            binary,
            main: None,
            engine: None,
            folders: 0,
            folder: Folder::fresh()?,
        })
    }

    /// The engine, started when it is first used.
    pub async fn engine(&mut self) -> anyhow::Result<&mut Engine> {
        let started = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::start(&self.folder.path).await?,
        };
        Ok(self.engine.insert(started))
    }

    /// The engine, if a measure has used it.
    pub fn engine_if_started(&mut self) -> Option<&mut Engine> {
        self.engine.as_mut()
    }

    /// The daemon that most is done to, over a memory of [`BACKUPS_KNOWN`] backups.
    pub async fn main(&mut self) -> anyhow::Result<&mut Daemon> {
        let started = match self.main.take() {
            Some(daemon) => daemon,
            None => {
                let dir = self.folder("main")?;
                state::fill(&dir.join("state"), BACKUPS_KNOWN).await?;
                let engine = self.engine().await?.address;
                self.start(&dir, engine, "").await?
            }
        };
        Ok(self.main.insert(started))
    }

    /// The same, if a measure has used it.
    pub fn main_if_started(&self) -> Option<&Daemon> {
        self.main.as_ref()
    }

    /// A new folder.
    pub fn folder(&mut self, name: &str) -> anyhow::Result<PathBuf> {
        self.folders += 1;
        let path = self.folder.path.join(format!("{}-{name}", self.folders));
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Starts a daemon in `dir` and waits until it is ready; `rest` is more configuration.
    pub async fn start(
        &self,
        dir: &Path,
        clickhouse: SocketAddr,
        rest: &str,
    ) -> anyhow::Result<Daemon> {
        self.launch(dir, clickhouse, rest)?.ready().await
    }

    /// Starts a daemon and does not wait for anything.
    pub fn launch(&self, dir: &Path, clickhouse: SocketAddr, rest: &str) -> anyhow::Result<Daemon> {
        let address = free_address()?;
        let file = dir.join("config.toml");
        let state = dir.join("state");
        let text = format!(
            "clickhouse.url = \"http://{clickhouse}\"\ndestination.disk = \"s3_backup\"\nstate.dir = {:?}\napi.listen = \"{address}\"\n{rest}",
            state.display().to_string()
        );
        std::fs::write(&file, text)?;
        let mut command = self.command();
        command.arg("server").arg("--config").arg(file);
        Daemon::run(dir, command, address)
    }

    /// Starts a daemon with the configuration that is shipped, and waits until it is ready.
    pub async fn start_shipped(&mut self, dir: &Path) -> anyhow::Result<Daemon> {
        let (address, clickhouse) = (free_address()?, self.engine().await?.address);
        let shipped = repository().join("config/clickhouse-backupd.toml");
        let mut command = self.command();
        command
            .arg("server")
            .arg("--config")
            .arg(shipped)
            .env("BACKUPD_CLICKHOUSE__URL", format!("http://{clickhouse}"))
            .env("BACKUPD_STATE__DIR", dir.join("state"))
            .env("BACKUPD_API__LISTEN", address.to_string());
        Daemon::run(dir, command, address)?.ready().await
    }

    /// The binary, free of what the environment would change.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().stdin(Stdio::null());
        command
    }

    /// What the binary says of itself.
    pub fn version(&self) -> anyhow::Result<String> {
        let output = self.command().arg("--version").output()?;
        ensure!(output.status.success(), "the binary does not run");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Ends what runs, in order.
    pub async fn end(mut self) -> anyhow::Result<()> {
        if let Some(daemon) = self.main.take() {
            daemon.stop().await?;
        }
        if let Some(engine) = self.engine.take() {
            engine.stop().await?;
        }
        Ok(())
    }
}

/// An address of this machine where nothing listens.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
