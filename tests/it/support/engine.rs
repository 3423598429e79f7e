//! The real ClickHouse engine, as processes of our own; see `tests/engine/README.md`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// An engine, which ends with this value.
pub struct Engine {
    pub url: String,
    /// The folder of the disk `s3_backup`; `None` where that is no local disk of ours.
    pub backups: Option<PathBuf>,
    child: Option<Child>,
    options: Vec<String>,
    dir: Option<TempDir>,
}

/// The shared engine, for one test at a time: daemons adopt whatever runs on their server.
pub type SharedEngine = MutexGuard<'static, Engine>;

/// The engine of this test binary, or the server that `CLICKHOUSE_URL` names.
pub async fn shared() -> SharedEngine {
    static ENGINE: OnceCell<Mutex<Engine>> = OnceCell::const_new();
    let engine = ENGINE.get_or_init(|| async {
        Mutex::new(match foreign() {
            Some(Foreign { url, .. }) => Engine {
                url,
                backups: None,
                child: None,
                options: Vec::new(),
                dir: None,
            },
            None => Engine::start(&[]).await,
        })
    });
    engine.await.lock().await
}

/// The server that `CLICKHOUSE_URL` names, as `http://user:password@host:8123`.
pub struct Foreign {
    pub url: String,
    pub user: String,
    pub password: String,
}

pub fn foreign() -> Option<Foreign> {
    let mut url: reqwest::Url = std::env::var("CLICKHOUSE_URL")
        .ok()?
        .parse()
        .expect("CLICKHOUSE_URL is a URL");
    let user = if url.username().is_empty() {
        "default"
    } else {
        url.username()
    }
    .to_owned();
    let password = url.password().unwrap_or_default().to_owned();
    url.set_username("").unwrap();
    url.set_password(None).unwrap();
    Some(Foreign {
        url: url.as_str().trim_end_matches('/').to_owned(),
        user,
        password,
    })
}

/// Whether tests run against a server that is not ours; it is not killed, and has no slow backups.
pub fn is_foreign() -> bool {
    let is_foreign = foreign().is_some();
    if is_foreign {
        eprintln!(
            "skipped: this test needs an engine of its own, and CLICKHOUSE_URL names a server"
        );
    }
    is_foreign
}

impl Engine {
    /// Starts one with a local disk, and with these options of `server.py`.
    pub async fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let backups = dir.path().join("backups");
        let mut all = vec!["--disk-local".to_owned(), backups.display().to_string()];
        all.extend(options.iter().map(ToString::to_string));
        let mut engine = Self {
            url: String::new(),
            backups: Some(backups),
            child: None,
            options: all,
            dir: Some(dir),
        };
        engine.launch(0);
        engine
    }

    /// Starts one whose backups take two seconds and more, with a table `slow.t` of 1,000 rows.
    pub async fn start_slow() -> Self {
        let engine = Self::start(&["--slow-backups"]).await;
        engine.seed_slow().await;
        engine
    }

    /// Makes the table `slow.t` of 1,000 rows: one part, the least that takes time.
    pub async fn seed_slow(&self) {
        self.sql("CREATE DATABASE slow").await;
        self.sql("CREATE TABLE slow.t (x UInt64) ENGINE = MergeTree ORDER BY x")
            .await;
        self.sql("INSERT INTO slow.t SELECT number FROM numbers(1000)")
            .await;
    }

    /// Starts one whose disk `s3_backup` is of type `s3_plain` on this S3 server, with further options
    /// of `server.py`.
    pub async fn start_on_s3(
        endpoint: &str,
        access_key: &str,
        secret_key: &str,
        further: &[&str],
    ) -> Self {
        let options = [
            "--s3-endpoint",
            endpoint,
            "--s3-access-key",
            access_key,
            "--s3-secret-key",
            secret_key,
            "--collection",
            "backups",
        ];
        let options = options.iter().chain(further);
        let options = options.map(ToString::to_string).collect();
        let mut engine = Self {
            url: String::new(),
            backups: None,
            child: None,
            options,
            dir: Some(tempfile::tempdir().unwrap()),
        };
        engine.launch(0);
        engine
    }

    fn launch(&mut self, port: u16) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".cache/engine/bin/python");
        assert!(
            python.exists(),
            "the engine is not installed: run tests/engine/install, or make test"
        );
        let path = self
            .dir
            .as_ref()
            .expect("an engine of ours")
            .path()
            .join("server");
        let mut child = Command::new(python)
            .arg(root.join("tests/engine/server.py"))
            .args(["--parent-pipe", "--port", &port.to_string(), "--path"])
            .arg(path)
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.url = line
            .trim()
            .strip_prefix("READY ")
            .unwrap_or_else(|| panic!("the engine said {line:?}"))
            .to_owned();
        self.child = Some(child);
    }

    /// Ends it as a crash does.
    pub fn crash(&mut self) {
        let mut child = self.child.take().expect("an engine of ours that runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again at the same address, with what its disk has.
    pub fn start_again(&mut self) {
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        self.launch(port);
    }

    /// Sends a statement; the answer as tab-separated text.
    pub async fn sql(&self, statement: &str) -> String {
        let answer = self.request(statement).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{statement}\n{text}");
        text.trim_end().to_owned()
    }

    /// Sends a statement; the answer as it is.
    pub async fn request(&self, statement: &str) -> reqwest::Response {
        let mut request = reqwest::Client::new().post(&self.url);
        if let Some(Foreign { user, password, .. }) = foreign() {
            request = request
                .header("X-ClickHouse-User", user)
                .header("X-ClickHouse-Key", password);
        }
        request.body(statement.to_owned()).send().await.unwrap()
    }

    /// Makes a database with two tables of `rows` rows, a materialized view and a dictionary.
    pub async fn seed(&self, database: &str, rows: u64) {
        let statements = [
            format!("DROP DATABASE IF EXISTS {database} SYNC"),
            format!("CREATE DATABASE {database}"),
            format!(
                "CREATE TABLE {database}.orders (id UInt64, day Date, amount Decimal(18, 2)) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY id"
            ),
            format!(
                "CREATE TABLE {database}.customers (id UInt64, name String) ENGINE = MergeTree ORDER BY id"
            ),
            format!(
                "CREATE TABLE {database}.by_day (day Date, amount Decimal(38, 2)) ENGINE = SummingMergeTree ORDER BY day"
            ),
            format!(
                "CREATE MATERIALIZED VIEW {database}.by_day_mv TO {database}.by_day AS SELECT day, sum(amount) AS amount FROM {database}.orders GROUP BY day"
            ),
            format!(
                "INSERT INTO {database}.orders SELECT number, toDate('2026-01-01') + number % 90, (cityHash64(number) % 10000) / 100 FROM numbers({rows})"
            ),
            format!(
                "INSERT INTO {database}.customers SELECT number, concat('customer ', toString(cityHash64(number))) FROM numbers({rows} / 10)"
            ),
            format!(
                "CREATE DICTIONARY {database}.names (id UInt64, name String) PRIMARY KEY id SOURCE(CLICKHOUSE(DB '{database}' TABLE 'customers')) LAYOUT(FLAT()) LIFETIME(0)"
            ),
            format!("OPTIMIZE TABLE {database}.by_day FINAL"),
        ];
        for statement in statements {
            self.sql(&statement).await;
        }
    }

    /// Rows and a hash of the content of every table that holds data.
    pub async fn content(&self, database: &str) -> Vec<(String, String)> {
        let tables = self.sql(&format!("SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree' ORDER BY name")).await;
        let mut content = Vec::new();
        for table in tables.lines() {
            let hash = self
                .sql(&format!(
                    "SELECT count(), sum(cityHash64(*)) FROM {database}.{table}"
                ))
                .await;
            content.push((table.to_owned(), hash));
        }
        assert!(!content.is_empty(), "{database} holds no tables");
        content
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
