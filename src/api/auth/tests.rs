use super::*;
use crate::api::Basic;
use crate::api::requests::Guard;
use crate::api::testing::{Answer, Fixture};
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use rstest::rstest;
use std::path::Path;

const OPERATOR_TOKEN: &str = "operator-token-0123456789";
const READER_TOKEN: &str = "reader-token-0123456789";

fn basic(user: &str, password: impl Into<SecretSource>) -> Option<Basic> {
    Some(Basic {
        user: user.to_owned(),
        password: password.into(),
    })
}

/// Both roles, each with both kinds of credentials.
fn everything() -> Access {
    Access {
        operator: Credentials {
            basic: basic("backup", "s3:cret"),
            token: Some(OPERATOR_TOKEN.into()),
        },
        read_only: Credentials {
            basic: basic("monitor", "look"),
            token: Some(READER_TOKEN.into()),
        },
        open_metrics: false,
    }
}

fn operator(basic: Option<Basic>, token: Option<SecretSource>) -> Access {
    Access {
        operator: Credentials { basic, token },
        ..Access::default()
    }
}

fn basic_header(user_password: &str) -> String {
    format!("Basic {}", STANDARD.encode(user_password))
}

fn headers(values: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header::AUTHORIZATION, value.parse().unwrap());
    }
    headers
}

async fn asked(access: &Access, value: &str, query: &str) -> Result<Role, Denial> {
    let values = match value {
        "" => vec![],
        value => vec![value.to_owned()],
    };
    role(access, &headers(&values), Some(query)).await
}

#[rstest]
#[case("backup:s3:cret", "", Ok(Role::Operator))]
#[case("backup:s3:cre", "", Err(Denial::Rejected))]
#[case("backup:s3:crets3:cret", "", Err(Denial::Rejected))]
#[case("Backup:s3:cret", "", Err(Denial::Rejected))]
#[case("backup", "", Err(Denial::Rejected))]
#[case("", "", Err(Denial::Unasked))]
#[case("", "name=daily", Err(Denial::Unasked))]
#[case("", "user=backup&pass=s3%3Acret", Ok(Role::Operator))]
#[case("", "user=monitor&pass=look", Ok(Role::ReadOnly))]
#[case("other:s3:cret", "user=backup", Ok(Role::Operator))]
#[case("backup:s3:cret", "pass=wrong", Err(Denial::Rejected))]
#[case("", "pass=wrong", Err(Denial::Rejected))]
#[case("", "user=backup", Err(Denial::Rejected))]
#[case("backup:look", "", Err(Denial::Rejected))]
#[case("monitor:s3:cret", "", Err(Denial::Rejected))]
#[case("monitor:look", "", Ok(Role::ReadOnly))]
#[case("backup:operator-token-0123456789", "", Err(Denial::Rejected))]
#[case(":", "", Err(Denial::Rejected))]
#[tokio::test]
async fn basic_credentials_come_from_the_header_and_the_arguments(
    #[case] user_password: &str,
    #[case] query: &str,
    #[case] expected: Result<Role, Denial>,
) {
    let value = match user_password {
        "" => String::new(),
        text => basic_header(text),
    };
    assert_eq!(asked(&everything(), &value, query).await, expected);
}

#[rstest]
#[case("Bearer operator-token-0123456789", Ok(Role::Operator))]
#[case("bEARER operator-token-0123456789", Ok(Role::Operator))]
#[case("Bearer   operator-token-0123456789", Ok(Role::Operator))]
#[case("Bearer reader-token-0123456789", Ok(Role::ReadOnly))]
#[case("Bearer operator-token-012345678", Err(Denial::Rejected))]
#[case("Bearer operator-token-01234567890", Err(Denial::Rejected))]
#[case("Bearer s3:cret", Err(Denial::Rejected))]
#[case("Bearer ", Err(Denial::Rejected))]
#[case("Bearer", Err(Denial::Rejected))]
#[case("operator-token-0123456789", Err(Denial::Rejected))]
#[case("Token operator-token-0123456789", Err(Denial::Rejected))]
#[case("Basic !!!", Err(Denial::Rejected))]
#[case("Basic /w==", Err(Denial::Rejected))]
#[case("Basic", Err(Denial::Rejected))]
#[tokio::test]
async fn tokens_come_from_the_header(#[case] value: &str, #[case] expected: Result<Role, Denial>) {
    assert_eq!(asked(&everything(), value, "").await, expected);
}

#[tokio::test]
async fn several_headers_are_refused_even_where_each_is_right() {
    let right = format!("Bearer {OPERATOR_TOKEN}");
    let found = role(&everything(), &headers(&[right.clone(), right]), None).await;
    assert_eq!(found, Err(Denial::SeveralHeaders));
}

#[rstest]
#[case("Basic Og==")]
#[case("Bearer ")]
#[case("Bearer")]
#[case("Basic YmFja3VwOg==")] // backup:
#[tokio::test]
async fn what_is_empty_or_not_configured_lets_nobody_in(#[case] value: &str) {
    let token = || Some(SecretSource::from(OPERATOR_TOKEN));
    for access in [
        operator(basic("backup", "s3cret"), None),
        operator(None, token()),
        operator(basic("backup", ""), Some("".into())),
    ] {
        assert_eq!(asked(&access, value, "").await, Err(Denial::Rejected));
        let query = "user=&pass=";
        assert_eq!(asked(&access, "", query).await, Err(Denial::Rejected));
    }
}

#[test]
fn equal_is_equal_in_every_byte_and_in_length() {
    for (presented, secret, expected) in [
        ("abc", "abc", true),
        ("abd", "abc", false),
        ("xbc", "abc", false),
        ("ab", "abc", false),
        ("abcabc", "abc", false),
        ("abc", "abcabc", false),
        ("", "abc", false),
        ("abc", "", false),
        ("", "", false),
    ] {
        let found = bool::from(same(presented, secret));
        assert_eq!(found, expected, "{presented:?} {secret:?}");
    }
}

/// Both roles by files in this folder.
fn by_files(dir: &Path) -> Access {
    for (name, text) in [("password", "s3cret\n"), ("token", READER_TOKEN)] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    Access {
        operator: Credentials {
            basic: basic("backup", SecretSource::File(dir.join("password"))),
            token: None,
        },
        read_only: Credentials {
            basic: None,
            token: Some(SecretSource::File(dir.join("token"))),
        },
        open_metrics: false,
    }
}

#[rstest]
#[case("password", Err(Denial::Unreadable), Ok(Role::ReadOnly))]
#[case("token", Ok(Role::Operator), Err(Denial::Unreadable))]
#[tokio::test]
async fn a_secret_that_cannot_be_read_locks_out_its_own_role_alone(
    #[case] missing: &str,
    #[case] as_operator: Result<Role, Denial>,
    #[case] as_reader: Result<Role, Denial>,
) {
    let dir = tempfile::tempdir().unwrap();
    let access = by_files(dir.path());
    std::fs::remove_file(dir.path().join(missing)).unwrap();
    let (right, token) = (
        basic_header("backup:s3cret"),
        format!("Bearer {READER_TOKEN}"),
    );
    assert_eq!(asked(&access, &right, "").await, as_operator);
    assert_eq!(asked(&access, &token, "").await, as_reader);
    // A client that waits to be asked (wget) still is.
    assert_eq!(asked(&access, "", "").await, Err(Denial::Unasked));
    for wrong in ["Basic YmFja3VwOg==", "Bearer ", "Basic Og=="] {
        assert!(asked(&access, wrong, "").await.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_rotated_file_counts_at_once_for_every_secret() {
    let dir = tempfile::tempdir().unwrap();
    let access = by_files(dir.path());
    let (old, new) = (
        format!("Bearer {READER_TOKEN}"),
        "Bearer rotated-0123456789",
    );
    assert_eq!(asked(&access, &old, "").await, Ok(Role::ReadOnly));
    std::fs::write(dir.path().join("token"), "rotated-0123456789\n").unwrap();
    assert_eq!(asked(&access, &old, "").await, Err(Denial::Rejected));
    assert_eq!(asked(&access, new, "").await, Ok(Role::ReadOnly));
    std::fs::write(dir.path().join("password"), "").unwrap();
    let right = basic_header("backup:s3cret");
    assert_eq!(asked(&access, &right, "").await, Err(Denial::Rejected));
}

#[tokio::test]
async fn one_token_in_both_files_makes_nobody_an_operator() {
    let mut access = everything();
    access.read_only.token = access.operator.token.clone();
    let value = format!("Bearer {OPERATOR_TOKEN}");
    assert_eq!(asked(&access, &value, "").await, Ok(Role::ReadOnly));
}

/// Every kind of request, and its status for an operator, a reader, an outsider, and one who sends
/// several headers.
const MATRIX: [(&str, &str, [u16; 4]); 17] = [
    ("GET", "/backup/list", [200, 200, 401, 400]),
    ("HEAD", "/backup/list", [200, 200, 401, 400]),
    ("POST", "/backup/create?name=a", [200, 403, 401, 400]),
    ("DELETE", "/backup/list", [405, 403, 401, 400]),
    ("OPTIONS", "/backup/list", [405, 403, 401, 400]),
    ("POST", "/backup/watch", [501, 403, 401, 400]),
    ("GET", "/backup/watch", [501, 501, 401, 400]),
    ("GET", "/api/v1/test", [200, 200, 401, 400]),
    ("HEAD", "/api/v1/test", [200, 200, 401, 400]),
    ("POST", "/api/v1/test", [200, 403, 401, 400]),
    ("DELETE", "/api/v1/test", [200, 403, 401, 400]),
    ("GET", "/metrics", [200, 200, 401, 400]),
    ("POST", "/metrics", [405, 403, 401, 400]),
    ("GET", "/livez", [200, 200, 200, 200]),
    ("POST", "/livez", [405, 405, 405, 405]),
    ("GET", "/backup/none", [404, 404, 404, 404]),
    ("POST", "/api/v1/none", [404, 404, 404, 404]),
];

fn api(access: Access) -> Fixture {
    let ok = || async { "ok" };
    let methods = get(ok).post(ok).delete(ok);
    Fixture::with_route("/api/v1/test", methods, Guard::new(access))
}

async fn send(api: &Fixture, method: &str, path: &str, values: &[String]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for value in values {
        request = request.header(header::AUTHORIZATION, value);
    }
    api.send(request.body(Body::empty()).unwrap()).await
}

#[rstest]
#[case(0, &[basic_header("backup:s3:cret")])]
#[case(0, &[format!("Bearer {OPERATOR_TOKEN}")])]
#[case(1, &[basic_header("monitor:look")])]
#[case(1, &[format!("Bearer {READER_TOKEN}")])]
#[case(2, &[])]
#[case(2, &[basic_header("backup:wrong")])]
#[case(2, &["Bearer wrong".to_owned()])]
#[case(2, &["Digest x".to_owned()])]
#[case(3, &[basic_header("backup:s3:cret"), format!("Bearer {OPERATOR_TOKEN}")])]
#[case(3, &[format!("Bearer {READER_TOKEN}"), basic_header("backup:wrong")])]
#[tokio::test]
async fn the_whole_matrix(#[case] caller: usize, #[case] values: &[String]) {
    let closed = api(everything());
    for (method, path, statuses) in MATRIX {
        let answer = send(&closed, method, path, values).await;
        assert_eq!(answer.status, statuses[caller], "{method} {path}");
    }
    let changed = closed.operations().len();
    assert_eq!(changed, usize::from(caller == 0), "only the operator did");
    let open_metrics = api(Access {
        open_metrics: true,
        ..everything()
    });
    for (method, path, statuses) in MATRIX {
        let answer = send(&open_metrics, method, path, values).await;
        let is_scrape = (method, path) == ("GET", "/metrics");
        let expected = if is_scrape { 200 } else { statuses[caller] };
        assert_eq!(answer.status, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn without_credentials_everybody_is_an_operator() {
    for open_metrics in [false, true] {
        let api = api(Access {
            open_metrics,
            ..Access::default()
        });
        let twice = [basic_header("a:b"), "Bearer x".to_owned()];
        for values in [&[] as &[String], &twice[..1], &twice] {
            for (method, path, statuses) in MATRIX {
                // A name is given once.
                let path = path.replace("name=a", &format!("name=a{}", values.len()));
                let answer = send(&api, method, &path, values).await;
                let status = match answer.status {
                    423 => 200,
                    status => status,
                };
                assert_eq!(status, statuses[0], "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn with_a_reader_alone_nobody_changes_anything() {
    let api = api(Access {
        operator: Credentials::default(),
        ..everything()
    });
    let reader = [format!("Bearer {READER_TOKEN}")];
    for (method, path, statuses) in MATRIX {
        assert_eq!(send(&api, method, path, &reader).await.status, statuses[1]);
        assert_eq!(send(&api, method, path, &[]).await.status, statuses[2]);
    }
    assert_eq!(api.operations().len(), 0);
}

#[tokio::test]
async fn a_reader_is_told_so_in_the_form_of_each_family() {
    let api = api(everything());
    let reader = [basic_header("monitor:look")];
    let old = send(&api, "POST", "/backup/create?name=a", &reader).await;
    assert_eq!(
        old.body,
        "{\"status\":\"error\",\"operation\":\"/backup/create\",\"error\":\"these credentials are read-only, and POST may change something; ask with the operator's credentials (api.user or api.token)\"}\n"
    );
    let new = send(&api, "DELETE", "/api/v1/test", &reader).await;
    assert_eq!(
        new.body,
        "{\"error\":{\"kind\":\"forbidden\",\"message\":\"these credentials are read-only, and DELETE may change something\",\"hint\":\"ask with the operator's credentials (api.user or api.token)\"}}"
    );
}

#[tokio::test]
async fn an_outsider_is_asked_in_the_form_of_each_family() {
    const BASIC: &str = "Basic realm=\"Provide username and password\"";
    const BEARER: &str = "Bearer realm=\"clickhouse-backupd\"";
    let both = api(everything());
    let old = send(&both, "GET", "/backup/list", &[]).await;
    assert_eq!(old.body, "401 Unauthorized\n");
    assert_eq!(old.headers("www-authenticate"), [BASIC]);
    assert_eq!(old.header("content-type"), "text/plain; charset=utf-8");
    let new = send(&both, "GET", "/api/v1/test", &[]).await;
    assert!(
        new.body.starts_with("{\"error\":{\"kind\":\"unauthorized\",\"message\":\"no credentials were sent\",\"hint\":"),
        "{}",
        new.body
    );
    assert_eq!(new.headers("www-authenticate"), [BASIC, BEARER]);
    let wrong = send(&both, "GET", "/api/v1/test", &["Bearer x".to_owned()]).await;
    assert!(wrong.body.contains("not the right ones"), "{}", wrong.body);
    let no_token = api(operator(basic("backup", "s3cret"), None));
    let answer = send(&no_token, "GET", "/api/v1/test", &[]).await;
    assert_eq!(answer.headers("www-authenticate"), [BASIC]);
}

#[tokio::test]
async fn credentials_in_the_target_are_for_old_clients_alone() {
    let api = api(everything());
    let target = "user=backup&pass=s3%3Acret";
    let old = api.get(&format!("/backup/list?{target}")).await;
    assert_eq!(old.status, 200);
    let new = api.get(&format!("/api/v1/test?{target}")).await;
    assert_eq!(new.status, 401);
    assert!(
        new.body.contains("no credentials were sent"),
        "{}",
        new.body
    );
}

#[tokio::test]
async fn nobody_is_told_where_a_secret_lies() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(by_files(dir.path()));
    std::fs::remove_file(dir.path().join("password")).unwrap();
    for path in ["/backup/list", "/api/v1/test"] {
        let answer = send(&api, "GET", path, &["Bearer x".to_owned()]).await;
        assert_eq!(answer.status, 500);
        assert!(
            answer.body.contains("the log of the daemon"),
            "{}",
            answer.body
        );
        let folder = dir.path().display().to_string();
        assert!(!answer.body.contains(&folder), "{}", answer.body);
    }
}
