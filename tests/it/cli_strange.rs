//! The command line against what is not the daemon: proxies, the old server, and connections that break.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;

use crate::support::daemon::Home;

/// Answers each request by its number, from 0.
type Script = Arc<dyn Fn(usize, &Request) -> Response + Send + Sync>;

struct Strange {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Strange {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(script: impl Fn(usize, &Request) -> Response + Send + Sync + 'static) -> Strange {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let number = Arc::new(AtomicUsize::new(0));
    let script: Script = Arc::new(script);
    let answer = |State((number, script)): State<(Arc<AtomicUsize>, Script)>, request: Request| async move {
        script(number.fetch_add(1, Ordering::SeqCst), &request)
    };
    let router = Router::new().fallback(answer).with_state((number, script));
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Strange { url, task }
}

fn answer(status: u16, body: impl Into<Body>) -> Response {
    Response::builder()
        .status(status)
        .body(body.into())
        .unwrap()
}

fn run(url: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_clickhouse-backupd"))
        .env_clear()
        .envs(variables.iter().copied())
        .args(["--url", url])
        .args(arguments)
        .output()
        .unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_api_is_told_in_one_line() {
    let cases = [
        (
            502,
            "<html>\n<title>502 Bad Gateway</title>\n</html>",
            "502 Bad Gateway: <html> <title>502 Bad Gateway</title> </html>",
        ),
        (
            404,
            "{\"status\":\"error\",\"operation\":\"\",\"error\":\"404 page not found\"}\n",
            "404 Not Found: {\"status\":\"error\"",
        ),
        (401, "", "401 Unauthorized and nothing else"),
        (200, "[1]", "200 OK: [1]: "),
        (
            500,
            "\u{1b}[2Jgone",
            "500 Internal Server Error: \\u{1b}[2Jgone",
        ),
    ];
    for (status, body, told) in cases {
        let strange = serve(move |_, _| answer(status, body)).await;
        let (code, out, err) = run(&strange.url, &["status"], &[]);
        assert!(
            code == 1 && out.is_empty() && err.contains(told),
            "{code} {out} {err}"
        );
        assert_eq!(err.lines().count(), 2, "{err}");
        let (_, out, _) = run(&strange.url, &["status", "--json"], &[]);
        let error: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(error["error"]["kind"], "unexpected_answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_where_they_are_meant_and_no_further() {
    let elsewhere = serve(|_, _| panic!("a redirect was followed")).await;
    let to = elsewhere.url.clone();
    let strange = serve(move |_, request| {
        let said = request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(said.as_deref(), Some("Bearer t0ken"));
        Response::builder()
            .status(307)
            .header("location", format!("{to}/api/v1/status"))
            .body(Body::empty())
            .unwrap()
    })
    .await;
    let variables = [
        ("BACKUPD_TOKEN", "t0ken"),
        ("API_USERNAME", "u"),
        ("API_PASSWORD", "p"),
    ];
    let (code, _, err) = run(&strange.url, &["status"], &variables);
    assert!(
        code == 1 && err.contains("307") && err.contains(&format!("it leads to {}", elsewhere.url)),
        "{code} {err}"
    );

    let basic = serve(|_, request| {
        let said = request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        answer(
            403,
            format!(
                r#"{{"error":{{"kind":"forbidden","message":"{}","hint":"h"}}}}"#,
                said.unwrap_or_default()
            ),
        )
    })
    .await;
    let (_, _, err) = run(&basic.url, &["status"], &variables[1..]);
    assert!(err.contains("error: Basic dTpw\n  hint: h"), "{err}");
    let with_user = basic.url.replace("http://", "http://u:p%40@");
    let (_, _, err) = run(&with_user, &["status"], &variables);
    assert!(err.contains("error: Basic dTpwQA=="), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_when_it_is_named() {
    let home = Home::new();
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let settings = format!(
        "[api]\nlisten = \"127.0.0.1:0\"\nuser = \"api\"\npassword = \"hunter2\"\n[api.tls]\ncertificate_file = \"{tls}/localhost.crt\"\nprivate_key_file = \"{tls}/localhost.key\""
    );
    let text = home.text("http://127.0.0.1:1", "destination.disk = \"s3_backup\"", "");
    let text = text.replace("api.listen = \"127.0.0.1:0\"\n", "");
    std::fs::write(home.file(), text + &settings).unwrap();
    let daemon = home.start().await;
    let url = daemon.url.replace("http://127.0.0.1", "https://localhost");

    let authority = format!("{tls}/localhost.crt");
    let known = [
        ("BACKUPD_CA_FILE", authority.as_str()),
        ("API_USERNAME", "api"),
        ("API_PASSWORD", "hunter2"),
    ];
    let (code, out, err) = run(&url, &["backup", "list"], &known);
    assert!(code == 0 && out == "no backups\n", "{code} {out} {err}");
    let (code, _, err) = run(&url, &["backup", "list"], &known[..1]);
    assert!(
        code == 1 && err.contains("hint:"),
        "without credentials: {code} {err}"
    );
    let renewed = format!("{tls}/renewed.crt");
    let (code, _, err) = run(&url, &["backup", "list"], &[("BACKUPD_CA_FILE", &renewed)]);
    assert!(code == 3 && err.contains("certificate"), "{code} {err}");
    let (code, _, err) = run(
        &url,
        &[
            "backup",
            "list",
            "--ca-file",
            &format!("{tls}/localhost.key"),
        ],
        &[],
    );
    assert!(code == 2 && err.contains("localhost.key"), "{code} {err}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_one_table_is_never_one_of_its_database() {
    let strange = serve(|_, _| panic!("something was asked for")).await;
    let both = [
        "restore",
        "nightly",
        "--database",
        "shop",
        "--table",
        "shop.orders",
        "--drop",
        "--yes",
    ];
    let (code, out, err) = run(&strange.url, &both, &[]);
    assert!(
        code == 2 && out.is_empty() && err.contains("cannot be used with"),
        "{code} {out} {err}"
    );
}

fn operation(state: &str) -> String {
    let finished = if state == "succeeded" {
        "\"2026-11-22T00:00:09Z\""
    } else {
        "null"
    };
    format!(
        r#"{{"id":"6f1c2d3e-0000-4000-8000-000000000001","kind":"backup","state":"{state}","trigger":"client","schedule":null,"slot":null,"run":null,
        "backup":"nightly","submitted_at":"2026-11-22T00:00:00Z","started_at":"2026-11-22T00:00:00Z","finished_at":{finished},"not_before":null,"unreachable_since":null,
        "progress":{{"files_done":1,"files_total":null,"bytes_done":1024,"bytes_total":4096}},"attempts":[],
        "result":{{"backup":"nightly","files":2,"bytes":4096,"bytes_written":4096}},"failure":null,"skipped":null,"notes":[],"items":[]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_away_for_a_moment_is_asked_again() {
    let strange = serve(|number, request| match number {
        0 => {
            assert_eq!(request.method(), "POST");
            answer(202, operation("running"))
        }
        1 => {
            assert_eq!(
                request.uri().path(),
                "/below/api/v1/operations/6f1c2d3e-0000-4000-8000-000000000001"
            );
            answer(502, "away")
        }
        2 => answer(503, "still away"),
        3 => answer(200, operation("running")),
        _ => answer(200, operation("succeeded")),
    })
    .await;
    let url = format!("{}/below/", strange.url);
    let (code, out, err) = run(&url, &["backup", "create", "nightly"], &[]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(out, "backup nightly: 2 files, 4.00 KiB, 9.0s\n");
    assert_eq!(err.matches("asking again for 30 s").count(), 1, "{err}");
    assert!(
        err.contains("backup nightly: running: 1.00 KiB of ~4.00 KiB, 1 file"),
        "{err}"
    );
    assert!(strange.url.starts_with("http://127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_gathered_page_by_page() {
    let strange = serve(|number, request| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let next = ["\"n1\"", "\"n2\"", "null"][number.min(2)];
        let cursor = ["", "cursor=n1", "cursor=n2"][number.min(2)];
        assert!(query.contains(cursor), "{query}");
        answer(
            200,
            format!(
                r#"{{"items":[{},{}],"next":{next}}}"#,
                operation("running"),
                operation("succeeded")
            ),
        )
    })
    .await;
    let (code, out, _) = run(
        &strange.url,
        &["operation", "list", "-n", "5000", "--json"],
        &[],
    );
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, list["items"].as_array().unwrap().len(), &list["next"]),
        (0, 6, &serde_json::Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_is_closed_ends_quietly() {
    let strange = serve(|_, _| {
        let rows = vec![operation("succeeded"); 2_000].join(",");
        answer(200, format!(r#"{{"items":[{rows}],"next":null}}"#))
    })
    .await;
    let program = env!("CARGO_BIN_EXE_clickhouse-backupd");
    let shell = format!(
        "{program} --url {} operation list -n 2000 | head -1",
        strange.url
    );
    let output = Command::new("sh")
        .args(["-c", &shell])
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(
        out.starts_with("ID ") && out.lines().count() == 1 && err.is_empty(),
        "{out}{err}"
    );
}
