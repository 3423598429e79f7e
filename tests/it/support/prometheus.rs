//! Prometheus and Alertmanager as processes of our own, and somebody who is told of alerts.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::Value;
use tempfile::TempDir;

use super::eventually;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `tests/<installer>/install` put into this folder of `.cache`; `None`, with the reason in the
/// output, where it cannot be had. With CI set it must be.
fn installed(folder: &str, installer: &str, path: &str) -> Option<PathBuf> {
    let home = root().join(".cache").join(folder);
    let tool = home.join(path);
    if tool.exists() {
        return Some(tool);
    }
    let reason = std::fs::read_to_string(home.join(".not-available"));
    let reason = reason.unwrap_or_else(|_| {
        panic!("{path} was never looked for: run tests/{installer}/install, or make test")
    });
    let is_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty());
    assert!(!is_ci, "{path} is not available: {reason}");
    eprintln!("LEFT OUT, what needs {path}: {}", reason.trim());
    None
}

/// promtool, prometheus or alertmanager, if it can be had.
pub fn tool(name: &str) -> Option<PathBuf> {
    installed("prometheus", "prometheus", &format!("bin/{name}"))
}

/// The Python that has Grafana's models and a reader of YAML, if it can be had.
pub fn python() -> Option<PathBuf> {
    installed("dashboards", "dashboards", "bin/python")
}

/// A process that ends with this value, and whose words are kept in a file until then.
pub struct Process {
    child: Child,
    pub url: String,
    dir: TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Process {
    /// Starts a tool with these files in a folder of its own, and waits until it is ready. `arguments`
    /// get the folder and the address to listen on.
    async fn start(
        tool: &Path,
        files: &[(&str, String)],
        arguments: impl Fn(&Path, &str) -> Vec<String>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let address = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        // Debian's Alertmanager finds its templates from here; see tests/prometheus/install.
        let packages = root().join(".cache/prometheus/root");
        let folder = if packages.is_dir() {
            packages.as_path()
        } else {
            dir.path()
        };
        let child = Command::new(tool)
            .args(arguments(dir.path(), &address))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut process = Self {
            child,
            url: format!("http://{address}"),
            dir,
        };
        for _ in 0..600 {
            let ended = process.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{tool:?} ended: {ended:?}\n{}",
                process.log()
            );
            let asked = reqwest::get(format!("{}/-/ready", process.url)).await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return process;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{tool:?} is not ready\n{}", process.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// An Alertmanager with this configuration.
    pub async fn alertmanager(tool: &Path, config: String) -> Self {
        Self::start(tool, &[("config.yaml", config)], |dir, address| {
            vec![
                format!("--config.file={}", dir.join("config.yaml").display()),
                format!("--storage.path={}", dir.join("data").display()),
                format!("--web.listen-address={address}"),
                // Or it would look for others on all addresses of the machine.
                "--cluster.listen-address=".to_owned(),
            ]
        })
        .await
    }

    /// A Prometheus with these rules, which scrapes this address each second.
    pub async fn prometheus(tool: &Path, rules: String, scraped: &str, alertmanager: &str) -> Self {
        let bare = |url: &str| url.trim_start_matches("http://").to_owned();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
            rule_files: [rules.yaml]\n\
            alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]}}\n\
            scrape_configs:\n\
            - job_name: clickhouse-backup\n  static_configs:\n  \
            - {{targets: ['{}'], labels: {{namespace: backups}}}}\n",
            bare(alertmanager),
            bare(scraped)
        );
        let files = [("config.yaml", config), ("rules.yaml", rules)];
        Self::start(tool, &files, |dir, address| {
            vec![
                format!("--config.file={}", dir.join("config.yaml").display()),
                format!("--storage.tsdb.path={}", dir.join("data").display()),
                format!("--web.listen-address={address}"),
            ]
        })
        .await
    }

    /// Asks a Prometheus; what it answers, without the envelope.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let request = reqwest::Client::new()
            .get(format!("{}/api/v1/{path}", self.url))
            .query(parameters);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(
            answer["status"], "success",
            "{path} {parameters:?}: {answer}"
        );
        answer["data"].clone()
    }

    /// The series that an expression has now.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.ask("query", &[("query", expression)]).await;
        answer["result"].as_array().unwrap().clone()
    }

    /// Tells an Alertmanager of alerts, as Prometheus does.
    pub async fn tell(&self, alerts: &Value) {
        let request = reqwest::Client::new()
            .post(format!("{}/api/v2/alerts", self.url))
            .json(alerts);
        let answer = request.send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{}",
            answer.text().await.unwrap()
        );
    }
}

/// Whoever is told: a webhook that keeps what it gets.
pub struct Operator {
    pub url: String,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Operator {
    pub async fn listen() -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hear = |State(told): State<Arc<Mutex<Vec<Value>>>>, body: String| async move {
            told.lock()
                .unwrap()
                .push(serde_json::from_str(&body).unwrap());
        };
        let router = Router::new()
            .route("/", post(hear))
            .with_state(told.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { url, told }
    }

    /// Every notification until now.
    pub fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until whatever was told is over, and forgets it.
    pub async fn begins_anew(&self) {
        eventually("the end of what was told so far", || async {
            let mut told = self.told.lock().unwrap();
            let is_over = told.last().is_none_or(|last| last["status"] == "resolved");
            is_over.then(|| told.clear())
        })
        .await;
    }

    /// Waits for the notification with this number, from 1 on.
    pub async fn is_told(&self, number: usize) -> Value {
        eventually(&format!("notification {number}"), || async {
            self.told().get(number - 1).cloned()
        })
        .await
    }
}
