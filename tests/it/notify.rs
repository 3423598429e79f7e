//! Heartbeats and callbacks: who listens is called, once for each moment.

use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::daemon::Home;
use crate::support::{engine, eventually};

/// Somebody who listens, and refuses the first word of a success.
struct Listener {
    url: String,
    heard: Arc<Mutex<Vec<(String, String)>>>,
}

impl Listener {
    async fn start() -> Self {
        let heard: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let to = heard.clone();
        let router = axum::Router::new().fallback(move |request: Request| {
            let to = to.clone();
            async move {
                let line = format!("{} {}", request.method(), request.uri().path());
                let body = axum::body::to_bytes(request.into_body(), 10_000).await;
                let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
                let mut heard = to.lock().unwrap();
                let is_first = heard.iter().all(|(other, _)| *other != line);
                let is_refused = is_first && line == "GET /succeeded";
                heard.push((line, body));
                match is_refused {
                    true => StatusCode::SERVICE_UNAVAILABLE,
                    false => StatusCode::NO_CONTENT,
                }
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, heard }
    }

    fn lines(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|(line, _)| line.clone()).collect()
    }

    /// Waits until each of these was heard so often.
    async fn hears(&self, wanted: &[(&str, usize)]) {
        eventually(&format!("the calls {wanted:?}"), || async {
            let lines = self.lines();
            let count = |line: &str| lines.iter().filter(|other| *other == line).count();
            let all = wanted.iter().all(|(line, times)| count(line) == *times);
            all.then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_rings_its_bells_and_a_client_is_called_back() {
    let engine = engine::shared().await;
    engine.seed("notify", 100).await;
    let listener = Listener::start().await;
    let (home, url) = (Home::new(), &listener.url);
    home.write(
        &engine.url,
        &format!(
            "[notify]\ncallback_url = \"{url}/all?token=hunter2\"\n\
             [schedules.notify]\ncron = \"0 0 1 1 *\"\ndatabases = [\"notify\"]\nname = \"notify-{{date}}-{{time}}\"\n\
             heartbeat.started_url = \"{url}/started\"\nheartbeat.succeeded_url = \"{url}/succeeded\"\n\
             [schedules.nothing]\ncron = \"0 0 1 1 *\"\ndatabases = [\"no_such_database\"]\nname = \"nothing-{{date}}-{{time}}\"\n\
             retry.attempts = 1\nheartbeat.failed_url = \"{url}/failed\""
        ),
    );
    let daemon = home.start().await;
    daemon
        .post_json("/api/v1/schedules/notify/run", &json!({}))
        .await;
    // The first call of the success is refused, and made again.
    listener
        .hears(&[("GET /succeeded", 2), ("POST /all", 1)])
        .await;
    daemon
        .post_json("/api/v1/schedules/nothing/run", &json!({}))
        .await;
    listener
        .hears(&[("GET /failed", 1), ("POST /all", 2)])
        .await;

    // Whoever names an address is called there and nowhere else, with the old body.
    let name = format!("notify-{}", std::process::id());
    let path = format!(
        "/backup/create?name={name}&table=notify.*&callback={}&callback=",
        format!("{url}/mine")
            .replace(':', "%3A")
            .replace('/', "%2F")
    );
    let (status, answer) = daemon.post(&path).await;
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    listener.hears(&[("POST /mine", 1), ("POST /all", 2)]).await;
    let heard = listener.heard.lock().unwrap().clone();
    let (_, body) = heard.iter().find(|(line, _)| line == "POST /mine").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["status"], "success", "{body}");
    assert_eq!(body["error"], "");
    assert_eq!(body["operation_id"], answer["operation_id"]);
    assert!(body["command"].as_str().unwrap().ends_with(&name), "{body}");

    let (_, metrics) = daemon.get("/metrics").await;
    let refused =
        "clickhouse_backupd_notifications_total{kind=\"heartbeat\",result=\"not_arrived\"} ";
    assert!(metrics.contains(refused), "{metrics}");
    // What was told stays told.
    daemon.stop().await;
    let so_far = listener.lines().len();
    let daemon = home.start().await;
    daemon.names().await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(listener.lines().len(), so_far, "{:?}", listener.lines());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_called_is_refused_without_being_repeated() {
    let engine = engine::shared().await;
    let home = Home::new();
    home.write(&engine.url, "");
    let daemon = home.start().await;
    let (status, answer) = daemon.post("/backup/create?callback=hunter2").await;
    assert_eq!(status, 400, "{answer}");
    assert!(!answer.contains("hunter2"), "{answer}");
    assert!(answer.contains("callback"), "{answer}");
    daemon.stop().await;
}
