//! Every route there is; nothing else registers any.

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};

use super::compat::answer;
use super::compat::{actions, create, delete, kill, list, not_served, restore, status, version};
use super::family::Family;
use super::requests::{self, Guard};
use super::{Access, ApiState, health, v1};

/// One line of the table.
struct Route {
    path: &'static str,
    methods: MethodRouter<ApiState>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// For Kubernetes, which has no credentials.
    Probe,
    /// For callers with credentials, where some are configured.
    Guarded,
    /// The same, unless `api.open_metrics` lets everybody read.
    Metrics,
    /// A route of the server we replace that only says what to use instead.
    NotServed,
}

fn table() -> Vec<Route> {
    // What the server we replace had and we have not comes last.
    let not_served = not_served::ALL.iter().map(|one| {
        let methods = any(move || async move { one.refusal() });
        Route::of(one.path, Kind::NotServed, methods)
    });
    served().into_iter().chain(not_served).collect()
}

fn served() -> Vec<Route> {
    vec![
        // this process
        Route::of("/", Kind::Guarded, get(index).post(not_served::restart)),
        Route::of("/livez", Kind::Probe, get(health::live)),
        Route::of("/readyz", Kind::Probe, get(health::ready)),
        Route::of("/health", Kind::Guarded, get(health::health)),
        Route::of("/metrics", Kind::Metrics, get(health::metrics)),
        // the wire format of the server we replace
        Route::of("/backup/version", Kind::Guarded, get(version::version)),
        Route::of("/backup/create", Kind::Guarded, post(create::create)),
        Route::of("/backup/restore", Kind::Guarded, post(restore::restore)),
        Route::of(
            "/backup/restore/{name}",
            Kind::Guarded,
            post(restore::restore_named),
        ),
        Route::of("/backup/list", Kind::Guarded, get(list::list)),
        Route::of("/backup/list/{where}", Kind::Guarded, get(list::list_where)),
        Route::of("/backup/status", Kind::Guarded, get(status::status)),
        Route::of(
            "/backup/actions",
            Kind::Guarded,
            get(actions::list).post(actions::run),
        ),
        Route::of("/backup/kill", Kind::Guarded, post(kill::kill)),
        Route::of(
            "/backup/delete/{where}/{name}",
            Kind::Guarded,
            post(delete::delete),
        ),
        Route::of("/backup/clean", Kind::Guarded, post(delete::clean)),
        Route::of(
            "/backup/clean/remote_broken",
            Kind::Guarded,
            post(delete::clean_remote_broken),
        ),
        Route::of(
            "/backup/clean/local_broken",
            Kind::Guarded,
            post(delete::clean_local_broken),
        ),
        Route::of(
            "/backup/clean_remote_broken",
            Kind::Guarded,
            post(delete::clean_remote_broken),
        ),
        Route::of(
            "/backup/clean_local_broken",
            Kind::Guarded,
            post(delete::clean_local_broken),
        ),
        // our own
        Route::of("/api/v1/openapi.json", Kind::Guarded, get(v1::openapi)),
        Route::of("/api/v1/status", Kind::Guarded, get(v1::status::status)),
        Route::of(
            "/api/v1/operations",
            Kind::Guarded,
            get(v1::operations::list).post(v1::operations::submit),
        ),
        Route::of(
            "/api/v1/operations/{id}",
            Kind::Guarded,
            get(v1::operations::show),
        ),
        Route::of(
            "/api/v1/operations/{id}/cancel",
            Kind::Guarded,
            post(v1::operations::cancel),
        ),
        Route::of("/api/v1/backups", Kind::Guarded, get(v1::backups::list)),
        Route::of(
            "/api/v1/backups/{name}",
            Kind::Guarded,
            get(v1::backups::show).delete(v1::backups::remove),
        ),
        Route::of(
            "/api/v1/backups/{name}/pin",
            Kind::Guarded,
            post(v1::backups::pin),
        ),
        Route::of(
            "/api/v1/backups/{name}/unpin",
            Kind::Guarded,
            post(v1::backups::unpin),
        ),
        Route::of(
            "/api/v1/backups/{name}/verify",
            Kind::Guarded,
            post(v1::backups::verify),
        ),
        Route::of("/api/v1/schedules", Kind::Guarded, get(v1::schedules::list)),
        Route::of(
            "/api/v1/schedules/{name}",
            Kind::Guarded,
            get(v1::schedules::show),
        ),
        Route::of(
            "/api/v1/schedules/{name}/run",
            Kind::Guarded,
            post(v1::schedules::run),
        ),
        Route::of(
            "/api/v1/schedules/{name}/pause",
            Kind::Guarded,
            post(v1::schedules::pause),
        ),
        Route::of(
            "/api/v1/schedules/{name}/resume",
            Kind::Guarded,
            post(v1::schedules::resume),
        ),
        Route::of(
            "/api/v1/retention/plan",
            Kind::Guarded,
            get(v1::retentions::plan),
        ),
        Route::of(
            "/api/v1/retention/adopt",
            Kind::Guarded,
            post(v1::retentions::adopt),
        ),
    ]
}

/// The table as a router, with everything that surrounds its handlers.
pub(super) fn router(state: ApiState, access: Access) -> Router {
    assemble(table(), Guard::new(access), state)
}

fn assemble(routes: Vec<Route>, guard: Guard, state: ApiState) -> Router {
    let is_open = guard.is_open();
    let mut router = Router::new();
    for route in routes {
        let methods = match route.kind {
            // Takes every method already, by the same means.
            Kind::NotServed => route.methods,
            Kind::Probe | Kind::Guarded | Kind::Metrics => {
                route.methods.fallback(method_not_allowed)
            }
        };
        let guard = match route.kind {
            Kind::Probe => None,
            Kind::Metrics => Some(guard.of_metrics()),
            Kind::Guarded | Kind::NotServed => Some(guard.clone()),
        };
        let methods = match guard {
            Some(guard) => methods.layer(from_fn_with_state(guard, requests::guard)),
            None => methods,
        };
        router = router.route(route.path, methods);
    }
    let metrics = state.metrics.clone();
    requests::surround(router.fallback(not_found).with_state(state), is_open)
        .layer(from_fn_with_state(metrics, requests::count))
}

/// The table and one guarded route more, behind this guard: for tests of what stands before routes.
#[cfg(test)]
pub(super) fn router_with(
    path: &'static str,
    methods: MethodRouter<ApiState>,
    guard: Guard,
    state: ApiState,
) -> Router {
    let mut routes = table();
    routes.push(Route::of(path, Kind::Guarded, methods));
    assemble(routes, guard, state)
}

impl Route {
    fn of(path: &'static str, kind: Kind, methods: MethodRouter<ApiState>) -> Self {
        Self {
            path,
            methods,
            kind,
        }
    }
}

/// `GET /`: which version this is and what it serves.
async fn index() -> Response {
    let mut text = format!(
        "Version: {}\nDocumentation: docs/api.md\n",
        env!("CARGO_PKG_VERSION")
    );
    for route in table() {
        if route.kind != Kind::NotServed {
            text.push_str(route.path);
            text.push('\n');
        }
    }
    let mut response = text.into_response();
    answer::set_headers(&mut response, "text/plain; charset=UTF-8");
    response
}

async fn not_found(method: Method, uri: Uri) -> Response {
    Family::of(uri.path()).not_found(method.as_str(), uri.path(), &shown(&uri))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    Family::of(uri.path()).method_not_allowed(method.as_str(), uri.path())
}

/// The target of a request without the credentials that its query may hold.
fn shown(uri: &Uri) -> String {
    let Some(query) = uri.query() else {
        return uri.path().to_owned();
    };
    let argument = |text: &str| {
        let name = form_urlencoded::parse(text.as_bytes()).next();
        match name.as_ref().map(|(name, _)| name.as_ref()) {
            Some(name @ ("user" | "pass")) => format!("{name}=***"),
            _ => text.to_owned(),
        }
    };
    let arguments: Vec<String> = query.split('&').map(argument).collect();
    format!("{}?{}", uri.path(), arguments.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::compat::reference;
    use crate::api::testing::{Answer, Fixture};
    use crate::api::{Basic, Credentials};
    use crate::secret::SecretSource;
    use axum::body::Body;
    use axum::http::{Request, header};
    use rstest::rstest;

    fn guarded(password: SecretSource) -> Fixture {
        let basic = Basic {
            user: "backup".to_owned(),
            password,
        };
        Fixture::with_access(Access {
            operator: Credentials {
                basic: Some(basic),
                token: None,
            },
            ..Access::default()
        })
    }

    /// `YmFja3VwOnMzY3JldA==` is `backup:s3cret`.
    async fn with_header(api: &Fixture, path: &str) -> Answer {
        let request =
            Request::get(path).header(header::AUTHORIZATION, "Basic YmFja3VwOnMzY3JldA==");
        api.send(request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn the_index_lists_what_is_served() {
        let answer = Fixture::new().get("/").await;
        assert_eq!(answer.header("content-type"), "text/plain; charset=UTF-8");
        let version = env!("CARGO_PKG_VERSION");
        let begin = format!("Version: {version}\nDocumentation: docs/api.md\n/\n/livez\n");
        assert!(answer.body.starts_with(&begin), "{}", answer.body);
        assert!(answer.body.contains("\n/backup/restore/{name}\n"));
        assert!(!answer.body.contains("/backup/tables"), "{}", answer.body);
    }

    #[test]
    fn the_document_describes_every_route_of_ours_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(&v1::document()).unwrap();
        let described: Vec<&str> = document["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut served: Vec<&str> = table()
            .iter()
            .map(|route| route.path)
            .filter(|path| path.starts_with("/api/v1/"))
            .collect();
        served.sort_unstable();
        assert_eq!(described, served);
    }

    #[test]
    fn the_document_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == v1::document(),
            "docs/openapi.json is old: clickhouse-backupd openapi > docs/openapi.json"
        );
    }

    #[tokio::test]
    async fn the_version_is_a_row() {
        let answer = Fixture::new().get("/backup/version").await;
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(answer.body, format!("{{\"version\":\"{version}\"}}\n"));
    }

    #[rstest]
    #[case(
        "POST",
        "/backup/restor?name=2026-11-22",
        "{\"status\":\"error\",\"operation\":\"/backup/restor\",\"error\":\"POST /backup/restor?name=2026-11-22 404 Not Found\"}\n"
    )]
    #[case(
        "GET",
        "/foo",
        "{\"status\":\"error\",\"operation\":\"/foo\",\"error\":\"GET /foo 404 Not Found\"}\n"
    )]
    #[case(
        "GET",
        "/foo?a=1&pass=x",
        "{\"status\":\"error\",\"operation\":\"/foo\",\"error\":\"GET /foo?a=1\\u0026pass=*** 404 Not Found\"}\n"
    )]
    #[case(
        "GET",
        "/backup/status/",
        "{\"status\":\"error\",\"operation\":\"/backup/status/\",\"error\":\"GET /backup/status/ 404 Not Found\"}\n"
    )]
    #[tokio::test]
    async fn an_unknown_route_is_404_as_recorded(
        #[case] method: &str,
        #[case] path: &str,
        #[case] expected: &str,
    ) {
        let answer = Fixture::new().request(method, path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (404, expected));
        assert_eq!(
            answer.header("content-type"),
            "application/json; charset=UTF-8"
        );
    }

    #[rstest]
    #[case("GET", "/backup/create", "POST")]
    #[case("GET", "/backup/kill", "POST")]
    #[case("GET", "/backup/restore/x", "POST")]
    #[case("POST", "/backup/list", "GET,HEAD")]
    #[case("DELETE", "/backup/actions", "GET,HEAD,POST")]
    #[tokio::test]
    async fn another_method_is_405_and_changes_nothing(
        #[case] method: &str,
        #[case] path: &str,
        #[case] allow: &str,
    ) {
        let api = Fixture::new();
        let answer = api.request(method, path, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow));
        let expected = format!(
            "{{\"status\":\"error\",\"operation\":\"{path}\",\"error\":\"405 Method {method} Not Allowed\"}}\n"
        );
        assert_eq!(answer.body, expected);
        assert_eq!(api.operations().len(), 0);
    }

    #[tokio::test]
    async fn unknown_routes_and_methods_of_v1_are_envelopes() {
        let ok = || async { "ok" };
        let guard = Guard::new(Access::default());
        let api = Fixture::with_route("/api/v1/test", get(ok), guard);
        for path in ["/api/v1/nothing?pass=x", "/api/v1/", "/api/v1/test/"] {
            let answer = api.get(path).await;
            let path = path.split('?').next().unwrap();
            let expected = format!(
                "{{\"error\":{{\"kind\":\"not_found\",\"message\":\"GET {path}: there is no such route\",\"hint\":\"GET /api/v1/openapi.json describes what there is\"}}}}"
            );
            assert_eq!((answer.status, &answer.body), (404, &expected));
            assert_eq!(answer.header("content-type"), "application/json");
        }
        let answer = api.request("DELETE", "/api/v1/test", "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
        assert!(
            answer.body.starts_with(
                "{\"error\":{\"kind\":\"method_not_allowed\",\"message\":\"DELETE /api/v1/test: "
            ),
            "{}",
            answer.body
        );
    }

    /// Every route that the server we replace has, and every one of ours in its format, stands in the
    /// document, and answers as it says.
    #[tokio::test]
    async fn the_document_on_compatibility_knows_every_route_and_says_what_it_does() {
        let documented: Vec<&str> = reference::ROUTES.iter().map(|route| route.path).collect();
        for route in table() {
            let is_ours = route.kind == Kind::Probe || route.path.starts_with("/api/v1/");
            let is_there = documented.contains(&route.path);
            assert_ne!(is_ours, is_there, "{}", route.path);
        }
        for route in &reference::ROUTES {
            let path = route.path.replace(['{', '}', '*'], "");
            for method in route.methods.split(", ") {
                let answer = Fixture::new().request(method, &path, "").await;
                let is_served = !matches!(answer.status, 405 | 501);
                let says_so = !matches!(route.standing, reference::Standing::NotServed);
                assert_eq!(is_served, says_so, "{method} {path}: {}", answer.body);
                assert!(!answer.body.contains("404 Not Found"), "{method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_served_says_what_to_use() {
        let api = Fixture::new();
        for route in table()
            .into_iter()
            .filter(|route| route.kind == Kind::NotServed)
        {
            let answer = api.post(&route.path.replace(['{', '}', '*'], ""), "").await;
            assert_eq!(answer.status, 501, "{}", route.path);
            assert!(
                answer
                    .body
                    .starts_with("{\"status\":\"error\",\"operation\":\""),
                "{}",
                answer.body
            );
        }
        assert_eq!(api.post("/", "").await.status, 501);
        let tables = api.get("/backup/tables").await;
        assert!(tables.body.contains("system.tables"), "{}", tables.body);
    }

    #[tokio::test]
    async fn every_route_but_the_probes_asks_for_credentials() {
        let api = guarded(SecretSource::from("s3cret"));
        for route in table() {
            let path = route.path.replace(['{', '}', '*'], "");
            for method in ["GET", "POST", "DELETE"] {
                let answer = api.request(method, &path, "").await;
                let is_probe = route.kind == Kind::Probe;
                assert_eq!(
                    answer.status != 401,
                    is_probe,
                    "{method} {path}: {}",
                    answer.status
                );
            }
        }
        assert_eq!(api.operations().len(), 0);
    }

    #[tokio::test]
    async fn a_rejected_caller_gets_the_known_answer() {
        let api = guarded(SecretSource::from("s3cret"));
        let answer = api.get("/backup/list").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (401, "401 Unauthorized\n")
        );
        let challenge = "Basic realm=\"Provide username and password\"";
        assert_eq!(answer.header("www-authenticate"), challenge);
        assert_eq!(api.get("/backup/list?user=backup&pass=x").await.status, 401);
        assert_eq!(
            api.get("/backup/list?user=backup&pass=s3cret").await.status,
            200
        );
        assert_eq!(with_header(&api, "/backup/list").await.status, 200);
        let created = api
            .post("/backup/create?name=a&user=backup&pass=s3cret", "")
            .await;
        assert_eq!(created.status, 200);
        assert_eq!(api.only_operation().command, "create a");
    }

    #[tokio::test]
    async fn a_rotated_password_file_counts_at_once_and_a_missing_one_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "old\n").unwrap();
        let api = guarded(SecretSource::File(path.clone()));
        assert_eq!(with_header(&api, "/backup/list").await.status, 401);
        std::fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(with_header(&api, "/backup/list").await.status, 200);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(with_header(&api, "/backup/list").await.status, 500);
    }
}
