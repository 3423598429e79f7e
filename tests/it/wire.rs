//! The requests of the `clickhouse` crate against the engine's HTTP interface.

use clickhouse_backupd::clickhouse::{Client, Error, Settings};
use clickhouse_backupd::secret::SecretSource;

use crate::support::engine::{self, Engine};

fn settings(url: &str) -> Settings {
    let login = engine::foreign()
        .map(|foreign| (foreign.user, SecretSource::from(foreign.password.as_str())));
    let (user, password) = login.map_or(("default".to_owned(), None), |(user, password)| {
        (user, Some(password))
    });
    Settings {
        url: url.to_owned(),
        user,
        password,
        verify_certificate: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crates_requests_are_answered_as_clickhouse_answers() {
    let engine = engine::shared().await;
    let answer = engine.request("SELECT 1 AS x FORMAT JSONEachRow").await;
    assert_eq!(answer.status(), 200);
    for header in [
        "x-clickhouse-query-id",
        "x-clickhouse-format",
        "x-clickhouse-summary",
    ] {
        assert!(
            answer.headers().contains_key(header),
            "{header}: {:?}",
            answer.headers()
        );
    }
    assert_eq!(answer.text().await.unwrap(), "{\"x\":1}\n");

    for (statement, status, code) in [
        ("SELEC 1", 400, "62"),
        ("SELECT * FROM nope.nope", 404, "81"),
        ("SELECT * FROM nope", 404, "60"),
    ] {
        let answer = engine.request(statement).await;
        assert_eq!(answer.status(), status, "{statement}");
        assert_eq!(
            answer.headers()["x-clickhouse-exception-code"],
            code,
            "{statement}"
        );
        assert!(
            answer
                .text()
                .await
                .unwrap()
                .starts_with(&format!("Code: {code}. ")),
            "{statement}"
        );
    }

    let mut client = clickhouse::Client::default().with_url(&engine.url);
    if let Some(foreign) = engine::foreign() {
        client = client
            .with_user(foreign.user)
            .with_password(foreign.password);
    }
    let row: (u64, String) = client
        .query("SELECT toUInt64(7), ?")
        .bind("it's")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(row, (7, "it's".to_owned()));
    let shown: String = client
        .query("SELECT {x:String}")
        .param("x", "a`b'c")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(shown, "a`b'c");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_tells_the_server_even_where_nothing_runs() {
    let engine = engine::shared().await;
    let client = Client::new(settings(&engine.url)).unwrap();
    let (look, _) = client.adoptable().await.unwrap();
    let (server, version) = client.server().await.unwrap();
    assert_eq!(
        (look.server.uuid, look.server.host),
        (server.uuid, server.host)
    );
    // Each is the rounding of two clocks.
    let apart = look.server.started_at.duration_since(server.started_at);
    assert!(apart.as_secs().abs() <= 2, "{apart}");
    assert!(version.split('.').count() >= 3, "{version}");
    let refused = client.execute("BACKUP").await.unwrap_err();
    assert!(
        matches!(refused, Error::Refused { code: 62, .. }),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_denied_and_a_rotated_one_is_read_again() {
    if engine::is_foreign() {
        return;
    }
    let engine = Engine::start(&["--password", "right"]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "wrong").unwrap();
    let password = Some(SecretSource::File(file.path().to_owned()));
    let client = Client::new(Settings {
        password,
        ..settings(&engine.url)
    })
    .unwrap();
    let error = client.server().await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: 516, .. }), "{error}");
    assert!(
        !format!("{error} {client:?}").contains("wrong\""),
        "secrets never print"
    );
    std::fs::write(file.path(), "right\n").unwrap();
    client.server().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_waited_for_a_password_says_so() {
    if engine::is_foreign() {
        return;
    }
    let engine = Engine::start(&["--password", "right"]).await;
    let home = crate::support::daemon::Home::new();
    let login = "clickhouse.password = \"wrong\"\nclickhouse.client_deadline = \"2s\"";
    home.write(&engine.url, login);
    let daemon = home.start().await;
    let text = daemon.fails("/backup/create?name=x").await;
    assert!(
        text.contains("516")
            && text.contains("check the password")
            && !text.contains("did not answer"),
        "{text}"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_with_its_cause() {
    let client = Client::new(settings("http://127.0.0.1:1")).unwrap();
    let error = client.server().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unreachable { .. }), "{text}");
    assert!(
        text.contains("http://127.0.0.1:1") && text.contains("refused"),
        "{text}"
    );
}

/// A proxy that speaks TLS in front of the engine, as a load balancer does.
async fn tls_proxy(engine: &str) -> String {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");
    let files = ["localhost.crt", "localhost.key"].map(|name| format!("{files}/{name}"));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let _ = provider.install_default();
    let tls = axum_server::tls_rustls::RustlsConfig::from_pem_file(&files[0], &files[1])
        .await
        .unwrap();
    let engine = engine.to_owned();
    let forward = move |headers: axum::http::HeaderMap, body: String| {
        let mut request = reqwest::Client::new()
            .post(format!("{engine}/?default_format=JSONEachRow"))
            .body(body);
        for name in ["x-clickhouse-user", "x-clickhouse-key"] {
            request = match headers.get(name) {
                Some(value) => request.header(name, value.as_bytes()),
                None => request,
            };
        }
        async move { request.send().await.unwrap().text().await.unwrap() }
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let router = axum::Router::new().fallback(forward).into_make_service();
    tokio::spawn(
        axum_server::from_tcp_rustls(listener, tls)
            .unwrap()
            .serve(router),
    );
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_an_unknown_certificate_is_refused_unless_that_is_allowed() {
    let engine = engine::shared().await;
    let url = tls_proxy(&engine.url).await;
    let trusting = Client::new(Settings {
        verify_certificate: false,
        ..settings(&url)
    })
    .unwrap();
    let plain = Client::new(settings(&engine.url)).unwrap();
    assert_eq!(
        trusting.server().await.unwrap().0.uuid,
        plain.server().await.unwrap().0.uuid
    );
    // A machine without CA certificates refuses before it asks.
    if let Ok(strict) = Client::new(settings(&url)) {
        let text = strict.server().await.unwrap_err().to_string();
        assert!(text.contains("certificate"), "{text}");
    }
}
