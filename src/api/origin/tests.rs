use super::*;
use crate::api::requests::Guard;
use crate::api::testing::{Answer, Fixture};
use crate::api::{Access, Basic, Credentials};
use axum::body::Body;
use axum::routing::get;
use rstest::rstest;

fn closed() -> Access {
    Access {
        operator: Credentials {
            basic: Some(Basic {
                user: "backup".to_owned(),
                password: "s3cret".into(),
            }),
            token: None,
        },
        ..Access::default()
    }
}

fn api(access: Access) -> Fixture {
    let ok = || async { "ok" };
    let methods = get(ok).post(ok).delete(ok);
    Fixture::with_route("/api/v1/test", methods, Guard::new(access))
}

/// `headers` as `name: value` lines; the credentials are those of `closed`.
async fn send(api: &Fixture, method: &str, path: &str, headers: &str) -> Answer {
    let mut request = axum::http::Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", "Basic YmFja3VwOnMzY3JldA==");
    for line in headers.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    api.send(request.body(Body::empty()).unwrap()).await
}

/// Headers, and whether they pass where credentials are asked for and where they are not.
#[rstest]
#[case::curl("host: backup.example.com:7171", true, true)]
#[case::script_without_host("user-agent: python", true, true)]
#[case::same_origin("host: 10.0.0.7:7171\nsec-fetch-site: same-origin", true, true)]
#[case::typed("host: localhost:7171\nsec-fetch-site: none", true, true)]
#[case::same_origin_by_origin("host: 10.0.0.7:7171\norigin: http://10.0.0.7:7171", true, true)]
#[case::ipv6("host: [::1]:7171\norigin: http://[::1]:7171", true, true)]
#[case::ipv6_without_port("host: [fd00::7]\nsec-fetch-site: same-origin", true, true)]
#[case::localhost("host: LocalHost\nsec-fetch-site: same-origin", true, true)]
#[case::cross_site("host: localhost:7171\nsec-fetch-site: cross-site", false, false)]
#[case::same_site("host: localhost:7171\nsec-fetch-site: same-site", false, false)]
#[case::nonsense("host: localhost:7171\nsec-fetch-site: perhaps", false, false)]
#[case::other_origin("host: localhost:7171\norigin: http://evil.example", false, false)]
#[case::other_port("host: localhost:7171\norigin: http://localhost:8080", false, false)]
#[case::null_origin("host: localhost:7171\norigin: null", false, false)]
#[case::rebound(
    "host: evil.example:7171\norigin: http://evil.example:7171\nsec-fetch-site: same-origin",
    true,
    false
)]
#[case::rebound_old_browser(
    "host: evil.example:7171\norigin: http://evil.example:7171",
    true,
    false
)]
#[case::rebound_form("host: evil.example:7171\nsec-fetch-site: same-origin", true, false)]
#[case::typed_by_name("host: backup.example.com\nsec-fetch-site: none", true, false)]
#[case::looks_like_an_address(
    "host: 127.0.0.1.evil.example\nsec-fetch-site: same-origin",
    true,
    false
)]
#[case::looks_like_localhost(
    "host: localhost.evil.example\nsec-fetch-site: same-origin",
    true,
    false
)]
#[case::address_as_user("host: 127.0.0.1@evil.example\nsec-fetch-site: none", true, false)]
#[case::two_hosts(
    "host: 127.0.0.1\nhost: evil.example\nsec-fetch-site: same-origin",
    true,
    false
)]
#[case::no_host("sec-fetch-site: same-origin", true, false)]
#[tokio::test]
async fn what_a_page_may_change(
    #[case] headers: &str,
    #[case] passes_closed: bool,
    #[case] passes_open: bool,
) {
    for (access, passes) in [(closed(), passes_closed), (Access::default(), passes_open)] {
        let api = api(access);
        for (method, path, taken) in [
            ("POST", "/backup/create?name=a", 200),
            ("DELETE", "/backup/list", 405),
            ("POST", "/api/v1/test", 200),
            ("DELETE", "/api/v1/test", 200),
            ("POST", "/livez", 405),
            ("POST", "/metrics", 405),
            ("POST", "/backup/watch", 501),
            ("POST", "/nothing", 404),
        ] {
            let answer = send(&api, method, path, headers).await;
            let expected = if passes { taken } else { 403 };
            assert_eq!(answer.status, expected, "{method} {path}: {}", answer.body);
        }
        assert_eq!(api.operations().len(), usize::from(passes));
        // Looking changes nothing, and no page of another origin can read the answer.
        for path in ["/backup/list", "/api/v1/test", "/livez", "/metrics"] {
            assert_eq!(send(&api, "GET", path, headers).await.status, 200);
        }
    }
}

#[tokio::test]
async fn the_refusal_says_why_in_the_form_of_each_family() {
    let (open, elsewhere) = (api(Access::default()), "sec-fetch-site: cross-site");
    let old = send(&open, "POST", "/backup/create?name=a", elsewhere).await;
    assert!(
        old.body.starts_with("{\"status\":\"error\",\"operation\":\"/backup/create\",\"error\":\"this request comes from a web page of another origin"),
        "{}",
        old.body
    );
    let new = send(&open, "POST", "/api/v1/test", elsewhere).await;
    assert!(
        new.body.starts_with("{\"error\":{\"kind\":\"forbidden\",\"message\":\"this request comes from a web page of another origin"),
        "{}",
        new.body
    );
    let rebound = "host: evil.example\nsec-fetch-site: same-origin";
    let old = send(&open, "POST", "/backup/create?name=a", rebound).await;
    assert!(old.body.contains("DNS rebinding"), "{}", old.body);
    assert!(old.body.contains("api.password_file"), "{}", old.body);
    let new = send(&open, "POST", "/api/v1/test", rebound).await;
    assert!(
        new.body.starts_with("{\"error\":{\"kind\":\"forbidden\",")
            && new.body.contains("\"hint\":\"set credentials"),
        "{}",
        new.body
    );
}

#[tokio::test]
async fn no_answer_has_a_cors_header() {
    let headers =
        "host: localhost\norigin: http://evil.example\naccess-control-request-method: POST";
    for access in [closed(), Access::default()] {
        let api = api(access);
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            for path in ["/backup/create", "/api/v1/test", "/livez", "/nothing"] {
                let answer = send(&api, method, path, headers).await;
                let names = answer.header_names();
                let cors = names.iter().find(|name| name.starts_with("access-control"));
                assert_eq!(cors, None, "{method} {path}");
                assert!(method != "OPTIONS" || answer.status >= 400);
            }
        }
    }
}

#[test]
fn the_host_of_the_target_counts_before_the_header() {
    let asked = |uri: &str, host: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
        may_be_rebound(&Method::POST, &uri.parse().unwrap(), &headers)
    };
    assert!(asked("http://evil.example/backup/create", "127.0.0.1"));
    assert!(!asked("http://127.0.0.1/backup/create", "evil.example"));
}
