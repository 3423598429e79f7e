//! The program as a supervisor sees it: exit codes, signals, and a ClickHouse that is not there.

use std::io::Read as _;
use std::process::{Child, Command, Output, Stdio};

use crate::mission::daily_soon;
use crate::support::daemon::Home;
use crate::support::{engine, eventually};

/// The program, started.
pub struct Process {
    child: Child,
    pub url: String,
    log: std::path::PathBuf,
}

fn program(home: &Home) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clickhouse-backupd"));
    // Variables of the machine that runs the tests are not part of them.
    command.env_clear().arg("--config").arg(home.file());
    command
}

fn run(home: &Home, arguments: &[&str]) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = program(home).args(arguments).output().unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap(),
    )
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Process {
    pub async fn start(home: &Home) -> Self {
        let port = free_port();
        let log = home.dir.path().join("log");
        let out = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let listen = format!("127.0.0.1:{port}");
        let child = program(home)
            .env("BACKUPD_API__LISTEN", &listen)
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self {
            child,
            url: format!("http://{listen}"),
            log,
        };
        eventually("the process answers", || async {
            (process.get("/livez").await?.0 == 200).then_some(())
        })
        .await;
        process
    }

    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// Posts to the wire format of the server we replace, and waits for the success.
    pub async fn succeeds(&self, path: &str) {
        let post = reqwest::Client::new().post(format!("{}{path}", self.url));
        let text = eventually("the daemon takes it", || async {
            let answer = post.try_clone()?.send().await.ok()?;
            (answer.status() == 200).then_some(answer)
        })
        .await
        .text()
        .await
        .unwrap();
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        let path = format!(
            "/backup/status?operationid={}",
            row["operation_id"].as_str().unwrap()
        );
        let ended = eventually("the end of it", || async {
            let (_, text) = self.get(&path).await?;
            let row: serde_json::Value = serde_json::from_str(&text).ok()?;
            (row["status"] != "in progress").then_some(row)
        })
        .await;
        assert_eq!(ended["status"], "success", "{ended}");
    }

    /// Ends it at once, as a machine that loses power does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(&self.log)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

async fn eventually_ended(process: &mut Process) -> std::process::ExitStatus {
    for _ in 0..1_000 {
        if let Some(status) = process.child.try_wait().unwrap() {
            return status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it does not end")
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_bad_configuration_ends_with_64_and_all_its_errors() {
    let home = Home::new();
    home.write(
        "http://127.0.0.1:1",
        "[schedules.daily]\ncron = \"61 * * * *\"\ntimezone = \"Mars/Olympus\"\nevery = 3",
    );
    for arguments in [
        &["server"][..],
        &[],
        &["config", "check"],
        &["schedule", "next"],
    ] {
        let (code, text) = run(&home, arguments);
        assert_eq!(code, 64, "{arguments:?}: {text}");
        for word in [
            "schedules.daily.cron",
            "Mars/Olympus",
            "schedules.daily.every",
        ] {
            assert!(
                text.contains(word),
                "{arguments:?} does not name {word}: {text}"
            );
        }
    }
}

#[test]
fn the_configuration_and_the_coming_slots_are_shown() {
    let home = Home::new();
    home.write("http://127.0.0.1:1", "clickhouse.password = \"00712\"\n[schedules.daily]\ncron = \"0 2 * * *\"\ntimezone = \"Europe/Sofia\"");
    let (code, text) = run(&home, &["config", "check"]);
    assert!(code == 0 && text.contains("valid, 1 schedule"), "{text}");
    let (code, text) = run(&home, &["config", "show"]);
    assert!(
        code == 0 && text.contains("timezone = \"Europe/Sofia\"") && !text.contains("00712"),
        "{text}"
    );
    let (code, text) = run(&home, &["schedule", "next", "-n", "3"]);
    assert!(
        code == 0 && text.lines().count() == 4 && text.contains(" 02:00:00 +0"),
        "{text}"
    );
    let (code, text) = run(&home, &["schedule", "next", "weekly"]);
    assert!(code == 1 && text.contains("daily"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_and_serves_while_clickhouse_is_down_and_keeps_others_out() {
    let home = Home::new();
    home.write(
        "http://127.0.0.1:1",
        "[schedules.daily]\ncron = \"0 2 * * *\"",
    );
    let process = Process::start(&home).await;
    eventually("readiness", || async {
        (process.get("/readyz").await?.0 == 200).then_some(())
    })
    .await;
    assert_eq!(
        process.get("/backup/list").await.unwrap(),
        (200, String::new())
    );
    assert_eq!(
        process.get("/health").await.unwrap(),
        (200, "{\"status\":\"OK\"}\n".to_owned())
    );
    assert!(
        process
            .get("/metrics")
            .await
            .unwrap()
            .1
            .contains("process_resident_memory_bytes")
    );

    let (code, text) = run(&home, &["server"]);
    assert!(
        code == 1 && text.contains("in use by another clickhouse-backupd"),
        "{text}"
    );
    let other = Home::new();
    let listen = process.url.strip_prefix("http://").unwrap();
    other.write("http://127.0.0.1:1", "");
    let taken = program(&other)
        .env("BACKUPD_API__LISTEN", listen)
        .output()
        .unwrap();
    let text = String::from_utf8(taken.stderr).unwrap();
    assert!(
        taken.status.code() == Some(1) && text.contains(listen),
        "{text}"
    );
    let log = process.log();
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "not a terminal: JSON lines\n{log}"
    );
    assert_eq!(
        log.matches("does not answer").count(),
        1,
        "an outage is one line, not one a look\n{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_reload_and_end_it() {
    let engine = engine::shared().await;
    engine.seed("signals", 100).await;
    let home = Home::new();
    let schedule = |cron: &str| {
        format!(
            "[schedules.signals]\ncron = \"{cron}\"\ndatabases = [\"signals\"]\nname = \"signals-{{date}}-{{time}}\""
        )
    };
    home.write(&engine.url, &schedule("0 0 1 1 *"));
    let mut process = Process::start(&home).await;
    home.write(&engine.url, &schedule(&daily_soon().0));
    process.signal("HUP");
    eventually("the backup of the new slot", || async {
        process
            .get("/backup/list")
            .await?
            .1
            .contains("signals-")
            .then_some(())
    })
    .await;
    let log = process.log();
    for line in [
        "\"message\":\"clickhouse-backupd runs\"",
        "is pending",
        "is starting",
        "succeeded",
        "the schedule changed",
    ] {
        assert!(log.contains(line), "no line {line} in the log\n{log}");
    }
    process.signal("TERM");
    let status = eventually_ended(&mut process).await;
    assert_eq!(status.code(), Some(0));
    assert!(
        !home.state().join("catalog.sqlite3-wal").exists(),
        "what is left behind is one file"
    );

    let mut process = Process::start(&home).await;
    assert!(
        process
            .get("/backup/list")
            .await
            .unwrap()
            .1
            .contains("signals-"),
        "a restart forgets nothing"
    );
    process.signal("KILL");
    process.child.wait().unwrap();
    let process = Process::start(&home).await;
    assert!(
        process
            .get("/backup/actions")
            .await
            .unwrap()
            .1
            .contains("\"status\":\"success\"")
    );
}
