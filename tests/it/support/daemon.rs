//! A daemon inside the test, and requests to it.

use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::config::{self, Config, Source};
use clickhouse_backupd::daemon::{Daemon, Options};
use clickhouse_backupd::worker::Worker;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::engine::{Foreign, foreign};
use super::eventually;

/// A running daemon.
pub struct TestDaemon {
    pub url: String,
    pub worker: Worker,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A folder for the file and the state of a daemon, which survives its restarts.
pub struct Home {
    pub dir: TempDir,
}

/// A row of `/backup/actions` or `/backup/status`.
pub type Row = Value;

impl Home {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("config.toml")
    }

    /// Writes the configuration: the parts every daemon needs, and `rest`.
    pub fn write(&self, clickhouse: &str, rest: &str) {
        let disk = std::env::var("CLICKHOUSE_DISK").unwrap_or_else(|_| "s3_backup".to_owned());
        self.write_to(clickhouse, &format!("destination.disk = \"{disk}\""), rest);
    }

    /// The same, with another destination.
    pub fn write_to(&self, clickhouse: &str, destination: &str, rest: &str) {
        std::fs::write(self.file(), self.text(clickhouse, destination, rest)).unwrap();
    }

    /// The text of a configuration.
    pub fn text(&self, clickhouse: &str, destination: &str, rest: &str) -> String {
        let state = self.state().display().to_string();
        let login = foreign().filter(|foreign| foreign.url == clickhouse).map(
            |Foreign { user, password, .. }| {
                format!("clickhouse.user = {user:?}\nclickhouse.password = {password:?}\n")
            },
        );
        format!(
            "clickhouse.url = \"{clickhouse}\"\n{}state.dir = \"{state}\"\napi.listen = \"127.0.0.1:0\"\n{destination}\n{rest}\n",
            login.unwrap_or_default()
        )
    }

    pub fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    pub fn source(&self) -> Source {
        Source {
            file: Some(self.file()),
            environment: Vec::new(),
        }
    }

    pub fn config(&self, now: Timestamp) -> Config {
        config_of(&self.source(), now)
    }

    /// A daemon with the system's clock and timer, which reads its file again.
    pub async fn start(&self) -> TestDaemon {
        let hangups = signal(SignalKind::hangup()).unwrap();
        let reload = Some((self.source(), hangups));
        self.start_with(Options {
            clock: Clock::System,
            reload,
            with_timer: true,
        })
        .await
    }

    pub async fn start_with(&self, options: Options) -> TestDaemon {
        let config = self.config(options.clock.now());
        Self::start_config(config, options)
    }

    /// A daemon from a file and an environment, with the system's clock and timer.
    pub async fn start_from(&self, source: &Source) -> TestDaemon {
        let options = Options {
            clock: Clock::System,
            reload: None,
            with_timer: true,
        };
        Self::start_config(config_of(source, Clock::System.now()), options)
    }

    fn start_config(config: Config, options: Options) -> TestDaemon {
        let daemon = Daemon::build(config, options).unwrap();
        let (url, worker) = (format!("http://{}", daemon.address()), daemon.worker());
        let stop = CancellationToken::new();
        let task = tokio::spawn(daemon.run(stop.clone()));
        TestDaemon {
            url,
            worker,
            stop,
            task,
        }
    }
}

impl TestDaemon {
    pub async fn get(&self, path: &str) -> (u16, String) {
        answer(reqwest::Client::new().get(format!("{}{path}", self.url))).await
    }

    pub async fn post(&self, path: &str) -> (u16, String) {
        answer(reqwest::Client::new().post(format!("{}{path}", self.url))).await
    }

    /// Posts JSON to our own API; the status, and the answer as JSON.
    pub async fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url));
        json_of(answer(request.json(body)).await)
    }

    /// Asks our own API.
    pub async fn get_json(&self, path: &str) -> (u16, Value) {
        json_of(self.get(path).await)
    }

    /// Asks our own API for an operation, and waits for its end.
    pub async fn operation(&self, body: &Value) -> Value {
        let (status, accepted) = self.post_json("/api/v1/operations", body).await;
        assert_eq!(status, 202, "{accepted}");
        self.end_of(&accepted).await
    }

    /// Waits for the end of an operation of our own API.
    pub async fn end_of(&self, operation: &Value) -> Value {
        let id = operation["id"].as_str().unwrap();
        eventually(&format!("the end of {id}"), || async {
            let path = format!("/api/v1/operations/{id}?wait=25s");
            let (_, operation) = self.get_json(&path).await;
            (operation["finished_at"] != Value::Null).then_some(operation)
        })
        .await
    }

    /// Posts, and gives the id of the acknowledged operation.
    pub async fn begin(&self, path: &str) -> String {
        let (status, body) = self.post(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let row: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(row["status"], "acknowledged", "{body}");
        row["operation_id"].as_str().unwrap().to_owned()
    }

    /// Posts, and waits until the operation ended.
    pub async fn done(&self, path: &str) -> Row {
        let id = self.begin(path).await;
        self.ended(&id).await
    }

    /// Posts, waits, and expects a success.
    pub async fn succeeds(&self, path: &str) -> Row {
        let row = self.done(path).await;
        assert_eq!(row["status"], "success", "{path}: {row}");
        row
    }

    /// Posts, waits, and expects a failure; gives its text.
    pub async fn fails(&self, path: &str) -> String {
        let row = self.done(path).await;
        assert_eq!(row["status"], "error", "{path}: {row}");
        row["error"].as_str().unwrap().to_owned()
    }

    /// Waits until an operation is not in progress any more.
    pub async fn ended(&self, id: &str) -> Row {
        eventually(&format!("the end of {id}"), || async {
            let (_, body) = self.get(&format!("/backup/status?operationid={id}")).await;
            let row: Value = serde_json::from_str(&body).ok()?;
            (row["status"] != "in progress").then_some(row)
        })
        .await
    }

    /// The rows of a list.
    pub async fn rows(&self, path: &str) -> Vec<Row> {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Names in `/backup/list`.
    pub async fn names(&self) -> Vec<String> {
        self.rows("/backup/list")
            .await
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn config_of(source: &Source, now: Timestamp) -> Config {
    config::load(source, now)
        .unwrap_or_else(|errors| panic!("{errors}"))
        .config
}

fn json_of((status, body): (u16, String)) -> (u16, Value) {
    let parsed = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    (status, parsed)
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}
