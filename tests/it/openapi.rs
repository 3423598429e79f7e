//! The v1 API against its own document, by requests that schemathesis makes up from it.
//!
//! `tests/openapi/` holds how it is installed, configured, and what it has to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::daemon::{Home, TestDaemon};
use crate::support::engine::{self, Engine};
use crate::support::eventually;

/// Longest run: there to end a hung one.
const RUN_MAX: Duration = Duration::from_secs(600);
/// Most operations that a run may leave behind; one with 30 examples a route leaves about 250.
const OPERATIONS_MAX: usize = 600;

/// Answers by method, path as in the document, and status.
type Answers = BTreeMap<(String, String, u64), usize>;

/// `false`, with the reason in the output, where schemathesis cannot be installed.
fn is_available() -> bool {
    let home = root().join(".cache/openapi");
    if let Ok(reason) = std::fs::read_to_string(home.join(".python-is-too-old")) {
        eprintln!("skipped: {}", reason.trim());
        return false;
    }
    assert!(
        home.join(".installed").exists(),
        "schemathesis is not installed: run tests/openapi/install, or make test"
    );
    true
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs schemathesis as `tests/openapi/<name>` says, and gives the answers that it saw.
async fn run(document: &str, url: &str, config: &str, hooks: &str) -> Answers {
    let tests = root().join("tests/openapi");
    let dir = tempfile::tempdir().unwrap();
    let (report, output) = (dir.path().join("report"), dir.path().join("output"));
    let mut command = Command::new(root().join(".cache/openapi/bin/python"));
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(tests.join(config))
        .args(["run", document, "--url", url, "--report", "ndjson"])
        .arg("--report-ndjson-path")
        .arg(&report)
        .env("SCHEMATHESIS_HOOKS", tests.join(hooks))
        .env("OPENAPI_URL", url)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(dir.path())
        .stdout(File::create(&output).unwrap())
        .stderr(File::options().append(true).open(&output).unwrap());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + RUN_MAX;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(
        status.is_some_and(|status| status.success()),
        "schemathesis ended with {status:?}\n{text}"
    );
    answers(&std::fs::read_to_string(report).unwrap())
}

/// The answers in a report, one JSON object a line.
fn answers(report: &str) -> Answers {
    let mut answers = Answers::new();
    for line in report.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let recorder = &event["ScenarioFinished"]["recorder"];
        let empty = serde_json::Map::new();
        let interactions = recorder["interactions"].as_object().unwrap_or(&empty);
        for (case, interaction) in interactions {
            let asked = &recorder["cases"][case]["value"];
            let text = |name: &str| asked[name].as_str().unwrap().to_owned();
            let status = interaction["response"]["status_code"].as_u64();
            let status = status.unwrap_or_else(|| panic!("no answer: {interaction}"));
            *answers
                .entry((text("method"), text("path"), status))
                .or_default() += 1;
        }
    }
    answers
}

/// Method, path and statuses of every route in the document.
fn described(document: &Value) -> Vec<(String, String, BTreeSet<u64>)> {
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let statuses = operation["responses"].as_object().unwrap().keys();
            let statuses = statuses.map(|status| status.parse().unwrap()).collect();
            routes.push((method.to_uppercase(), path.clone(), statuses));
        }
    }
    routes
}

/// All rows of a list, over pages of this length.
async fn rows(daemon: &TestDaemon, path: &str, limit: usize) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = String::new();
    loop {
        let (status, body) = daemon
            .get(&format!("/api/v1/{path}?limit={limit}{next}"))
            .await;
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        rows.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return rows,
        }
    }
}

/// Waits until nothing is at work or waiting any more, however long the queue is.
async fn settled(daemon: &TestDaemon) -> Vec<Value> {
    let mut unfinished = usize::MAX;
    loop {
        let found = rows(daemon, "operations", 1_000).await;
        let left = found.iter().filter(|o| o["finished_at"].is_null()).count();
        if left == 0 {
            return found;
        }
        assert!(left < unfinished, "{left} operations do not end");
        unfinished = left;
        eventually("the end of an operation", || async {
            let found = rows(daemon, "operations", 1_000).await;
            let left = found.iter().filter(|o| o["finished_at"].is_null()).count();
            (left < unfinished).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_requests_find_the_api_as_its_document_says() {
    if engine::is_foreign() || !is_available() {
        return;
    }
    // Its own engine: the generator may ask for restores that drop what is there.
    let engine = Engine::start(&[]).await;
    engine.seed("shop", 1_000).await;
    let seeded = engine.content("shop").await;
    let home = Home::new();
    let schedules = "api.allow_parallel = true\n\
        [schedules.daily]\ncron = \"0 0 1 1 *\"\nname = \"daily-{date}-{time}\"\n\
        [schedules.monthly]\ncron = \"0 0 1 2 *\"\ndatabases = [\"shop\"]\nname = \"monthly-{date}-{time}\"";
    // With a view of our own, or nothing could be proved or removed.
    let folder = engine.backups.as_ref().unwrap().display();
    let destination =
        format!("destination.disk = \"s3_backup\"\ndestination.url = \"file://{folder}\"");
    home.write_to(&engine.url, &destination, schedules);
    let daemon = home.start().await;
    // The name, as that of the schedule `daily`, is an example in the document.
    daemon.succeeds("/backup/create?name=2026-11-22").await;

    let path = "/api/v1/openapi.json";
    let (status, document) = daemon.get(path).await;
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut answers = run(
        &format!("{}{path}", daemon.url),
        &daemon.url,
        "schemathesis.toml",
        "hooks.py",
    )
    .await;
    // The one route that schemathesis leaves out: it has read it to begin with.
    answers.insert(("GET".to_owned(), path.to_owned(), u64::from(status)), 1);

    for (method, path, statuses) in described(&document) {
        for status in statuses.range(200..300) {
            assert!(
                answers.contains_key(&(method.clone(), path.clone(), *status)),
                "no request was answered by {method} {path} with {status}\n{answers:#?}"
            );
        }
    }

    assert_eq!(daemon.get("/readyz").await.0, 200);
    let left = settled(&daemon).await;
    let accepted = |(key, count): (&(_, _, u64), &usize)| (key.2 == 202).then_some(*count);
    let accepted: usize = answers.iter().filter_map(accepted).sum();
    // Each that came into being was answered with 202, to the generator, its hook, or to us.
    assert!(
        left.len() <= 2 * accepted + 1 && left.len() <= OPERATIONS_MAX,
        "{} operations after {accepted} that were accepted",
        left.len()
    );

    let (_, status) = daemon.get("/api/v1/status").await;
    let status: Value = serde_json::from_str(&status).unwrap();
    let backups = rows(&daemon, "backups", 3).await;
    let names: BTreeSet<&str> = backups.iter().filter_map(|b| b["name"].as_str()).collect();
    assert_eq!(names.len(), backups.len(), "pages repeat nothing");
    assert_eq!(
        status["backups"]["count"],
        names.len(),
        "and leave nothing out"
    );

    // What was asked for in between may have changed the tables, rightly; the backup from before
    // is what it was, and the daemon goes on to make backups and to restore them.
    daemon
        .succeeds("/backup/restore?name=2026-11-22&drop")
        .await;
    assert_eq!(engine.content("shop").await, seeded);
    daemon.succeeds("/backup/create?name=afterwards").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_generated_request_without_credentials_is_refused_in_the_envelope() {
    if !is_available() {
        return;
    }
    let home = Home::new();
    let credentials = "api.user = \"backup\"\napi.password = \"s3cret\"";
    home.write("http://127.0.0.1:1", credentials);
    let daemon = home.start().await;
    // A file: the daemon does not give its document to everybody.
    let file = root().join("docs/openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let answers = run(
        &file.display().to_string(),
        &daemon.url,
        "without_credentials.toml",
        "without_credentials.py",
    )
    .await;
    for (method, path, _) in described(&document) {
        assert!(
            answers.contains_key(&(method.clone(), path.clone(), 401)),
            "{method} {path} was not asked\n{answers:#?}"
        );
    }
    assert!(
        answers.keys().all(|(_, _, status)| *status == 401),
        "{answers:#?}"
    );
    daemon.stop().await;
}
