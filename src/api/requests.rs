//! What every request passes through: its log line, its limits, who asks, and one form for every
//! error.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::auth::{Denial, Role};
use super::family::{Family, Panicked};
use super::v1::error::ErrorKind;
use super::{Access, auth, origin};
use crate::metrics::Metrics;

/// Longest request body, in bytes.
pub(super) const BODY_MAX_BYTES: usize = 1024 * 1024;
/// How long a request may take; the longest wait of ours is that of `kill`, 20 s.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests at work at one time; the probes of Kubernetes do not count.
const IN_FLIGHT_MAX: usize = 256;
/// Requests that wait for something at one time: most of the room above stays with those that are
/// answered at once, whoever waits.
const WAITS_MAX: usize = 64;
const _: () = assert!(WAITS_MAX * 4 <= IN_FLIGHT_MAX);
/// Characters of a path that the log shows.
const LOGGED_PATH_MAX_CHARS: usize = 256;
/// Schemes that are asked for; the first is what the server we replace says, word for word.
const BASIC: HeaderValue =
    HeaderValue::from_static("Basic realm=\"Provide username and password\"");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"clickhouse-backupd\"");

/// What stands before every route but the probes.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    access: Arc<Access>,
    reads_are_open: bool,
    in_flight: Arc<Semaphore>,
}

/// Room for requests that wait; clones share it.
#[derive(Debug, Clone)]
pub struct Waits(Arc<Semaphore>);

impl Default for Waits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WAITS_MAX)))
    }
}

impl Waits {
    /// A place to wait in for as long as the value lives; none when all are taken.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

impl Guard {
    pub(super) fn new(access: Access) -> Self {
        Self {
            access: Arc::new(access),
            reads_are_open: false,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        }
    }

    /// The same for `/metrics`, which may be open for reading.
    pub(super) fn of_metrics(&self) -> Self {
        Self {
            reads_are_open: self.access.open_metrics,
            ..self.clone()
        }
    }

    /// Whether nobody is asked for credentials anywhere.
    pub(super) fn is_open(&self) -> bool {
        self.access.is_open()
    }

    fn asks(&self, method: &Method) -> bool {
        let is_open_read = self.reads_are_open && auth::is_reading(method);
        !self.is_open() && !is_open_read
    }
}

/// Lets a request in when there is room and its caller may ask.
pub(super) async fn guard(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let Ok(_permit) = guard.in_flight.try_acquire() else {
        return too_many(Family::of(request.uri().path()));
    };
    if guard.asks(request.method()) {
        let query = match Family::of(request.uri().path()) {
            Family::Compat => request.uri().query(),
            // Credentials in a target end in logs and histories: only old clients need that.
            Family::V1 => None,
        };
        let access = &guard.access;
        match auth::role(access, request.headers(), query).await {
            Ok(role) if role.may(request.method()) => {
                let caller = auth::caller(request.headers());
                request.extensions_mut().insert(caller);
            }
            Ok(role) => return may_only_read(role, &request),
            Err(denial) => return denied(denial, access, &request),
        }
    }
    next.run(request).await
}

/// The router with everything that surrounds its handlers; `is_open` when nobody is asked for
/// credentials.
pub(super) fn surround(router: Router, is_open: bool) -> Router {
    let limited = router
        // The limit below holds for every reader of a body; axum's own would come before it.
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(BODY_MAX_BYTES))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            REQUEST_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(panicked));
    let limited = match is_open {
        true => limited.layer(from_fn(origin::refuse_rebinding)),
        false => limited,
    };
    limited
        .layer(origin::layer())
        .layer(from_fn(one_form_of_error))
        .layer(from_fn(log))
}

/// One line per request. Never the query: it may hold the password.
async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), shown_path(&request));
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if auth::is_reading(&method) {
        tracing::debug!(%method, path, status, took_ms, "{method} {path} {status}");
    } else {
        tracing::info!(%method, path, status, took_ms, "{method} {path} {status}");
    }
    response
}

/// Counts an answer under the template of its route; what has none is counted together, so that
/// nobody can make series of invented paths.
pub(super) async fn count(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    metrics.answered(route, method.as_str(), response.status().as_u16());
    response
}

/// The layers of others answer with plain text or nothing; our callers parse JSON.
async fn one_form_of_error(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let is_error = status.is_client_error() || status.is_server_error();
    let family = Family::of(&path);
    // Old clients know a 401 that is plain text.
    let is_known = family == Family::Compat && status == StatusCode::UNAUTHORIZED;
    if !is_error || is_json || is_known {
        return response;
    }
    family.translate(&path, response).await
}

fn too_many(family: Family) -> Response {
    let message = format!("{IN_FLIGHT_MAX} requests are at work already");
    let hint = "ask again in a moment";
    let mut response = family.error("", ErrorKind::Unavailable, &message, hint);
    let second = HeaderValue::from_static("1");
    response.headers_mut().insert(header::RETRY_AFTER, second);
    response
}

fn may_only_read(role: Role, request: &Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    tracing::warn!(?role, path = %shown_path(request), "refused: these credentials may only read");
    let message = format!("these credentials are read-only, and {method} may change something");
    let hint = "ask with the operator's credentials (api.user or api.token)";
    Family::of(path).error(path, ErrorKind::Forbidden, &message, hint)
}

fn denied(denial: Denial, access: &Access, request: &Request) -> Response {
    let path = request.uri().path();
    let family = Family::of(path);
    let logged = shown_path(request);
    match denial {
        Denial::Unasked => {
            tracing::debug!(path = %logged, "asked for credentials");
            unauthorized(family, access, "no credentials were sent")
        }
        Denial::Rejected => {
            tracing::warn!(path = %logged, "rejected credentials");
            unauthorized(family, access, "these credentials are not the right ones")
        }
        Denial::SeveralHeaders => {
            tracing::warn!(path = %logged, "rejected several Authorization headers");
            let message = "the request has several Authorization headers";
            family.error(path, ErrorKind::BadRequest, message, "send one")
        }
        Denial::Unreadable => {
            // The file's path is for the log alone: nobody knows who asks.
            let message = "nobody can tell whether these credentials are right: a secret of the API cannot be read";
            let hint = "the log of the daemon names its file";
            family.error("", ErrorKind::Internal, message, hint)
        }
    }
}

/// The old form is the one of the server we replace, byte for byte.
fn unauthorized(family: Family, access: &Access, message: &str) -> Response {
    if family == Family::Compat {
        let content_type = (header::CONTENT_TYPE, "text/plain; charset=utf-8");
        let answer = (
            StatusCode::UNAUTHORIZED,
            [content_type],
            "401 Unauthorized\n",
        );
        let mut response = answer.into_response();
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, BASIC);
        return response;
    }
    let hint = "send the header Authorization: Basic … or Bearer …, as the api section of the configuration says";
    let mut response = family.error("", ErrorKind::Unauthorized, message, hint);
    let headers = response.headers_mut();
    headers.append(header::WWW_AUTHENTICATE, BASIC);
    if access.operator.token.is_some() || access.read_only.token.is_some() {
        headers.append(header::WWW_AUTHENTICATE, BEARER);
    }
    response
}

fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!("a request handler panicked: {text}");
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(Panicked);
    response
}

fn shown_path(request: &Request) -> String {
    let path = request.uri().path();
    path.chars().take(LOGGED_PATH_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{Answer, Fixture, send};
    use crate::api::v1::error::ErrorBody;
    use axum::body::{Body, Bytes};
    use axum::routing::{get, post};

    async fn broken() -> Response {
        panic!("on purpose")
    }

    fn router() -> Router {
        let slow = || async { tokio::time::sleep(Duration::from_secs(3_600)).await };
        let body = |body: Bytes| async move { body.len().to_string() };
        let json = |body: axum::Json<u8>| async move { body.0.to_string() };
        let failed = || async { (StatusCode::BAD_GATEWAY, "s3cret") };
        let routes = Router::new()
            .route("/slow", get(slow))
            .route("/broken", get(broken))
            .route("/body", post(body))
            .route("/failed", get(failed))
            .route("/json", post(json));
        surround(routes.clone().nest("/api/v1", routes), true)
    }

    /// Kind, message and hint of an envelope.
    fn envelope(answer: &Answer) -> (ErrorKind, String, String) {
        assert_eq!(answer.header("content-type"), "application/json");
        let body: ErrorBody = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer.status, body.error.kind.status().as_u16());
        let error = body.error;
        (error.kind, error.message, error.hint)
    }

    async fn ask(method: &str, path: &str, body: Vec<u8>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        send(&router(), request.body(Body::from(body)).unwrap()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_ends_as_json() {
        let answer = ask("GET", "/slow", Vec::new()).await;
        assert_eq!(answer.status, 503);
        assert!(
            answer.body.contains("no answer within 30 s"),
            "{}",
            answer.body
        );
        assert_eq!(
            answer.header("content-type"),
            "application/json; charset=UTF-8"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn errors_of_layers_are_envelopes_under_v1() {
        let (kind, message, hint) = envelope(&ask("GET", "/api/v1/slow", Vec::new()).await);
        assert_eq!(kind, ErrorKind::Unavailable);
        assert_eq!(message, "no answer within 30 s");
        assert!(hint.contains("/api/v1/operations"), "{hint}");
        let (kind, message, hint) = envelope(&ask("GET", "/api/v1/broken", Vec::new()).await);
        assert_eq!(kind, ErrorKind::Internal);
        assert!(message.contains("defect") && hint.contains("log"));
        let long = vec![b'x'; BODY_MAX_BYTES + 1];
        let (kind, message, _) = envelope(&ask("POST", "/api/v1/body", long).await);
        assert_eq!(kind, ErrorKind::TooLarge);
        assert_eq!(message, "the request body is longer than 1048576 bytes");
        let (kind, message, _) = envelope(&ask("GET", "/api/v1/failed", Vec::new()).await);
        assert_eq!(kind, ErrorKind::Internal);
        assert!(!message.contains("s3cret"), "{message}");
        let answer = ask("PUT", "/api/v1/body", Vec::new()).await;
        assert_eq!(answer.header("allow"), "POST");
        assert_eq!(envelope(&answer).0, ErrorKind::MethodNotAllowed);
        let (kind, ..) = envelope(&ask("GET", "/api/v1/none", Vec::new()).await);
        assert_eq!(kind, ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn errors_of_extractors_are_envelopes_under_v1_and_keep_what_they_say() {
        let (kind, message, hint) = envelope(&ask("POST", "/api/v1/json", b"1".to_vec()).await);
        assert_eq!(kind, ErrorKind::UnsupportedMediaType);
        assert!(message.contains("Content-Type"), "{message}");
        assert!(hint.contains("application/json"), "{hint}");
        for (body, expected) in [("x", "parse"), ("\"x\"", "deserialize")] {
            let request = Request::post("/api/v1/json").header("content-type", "application/json");
            let answer = send(&router(), request.body(Body::from(body)).unwrap()).await;
            let (kind, message, hint) = envelope(&answer);
            assert_eq!(kind, ErrorKind::BadRequest);
            assert!(message.contains(expected), "{message}");
            assert!(hint.contains("openapi.json"), "{hint}");
        }
        let old = ask("POST", "/json", b"1".to_vec()).await;
        assert_eq!(
            old.body,
            "{\"status\":\"error\",\"operation\":\"/json\",\"error\":\"415 Unsupported Media Type\"}\n"
        );
    }

    #[tokio::test]
    async fn a_panic_ends_as_json_and_shows_nothing() {
        let answer = ask("GET", "/broken", Vec::new()).await;
        assert_eq!(answer.status, 500);
        assert!(
            answer.body.starts_with("{\"status\":\"error\""),
            "{}",
            answer.body
        );
        assert!(!answer.body.contains("on purpose"));
    }

    #[tokio::test]
    async fn a_body_may_be_one_mebibyte_and_no_more() {
        assert_eq!(
            ask("POST", "/body", vec![b'x'; BODY_MAX_BYTES]).await.body,
            "1048576"
        );
        let announced = ask("POST", "/body", vec![b'x'; BODY_MAX_BYTES + 1]).await;
        assert_eq!(announced.status, 413);
        assert_eq!(
            announced.body,
            "{\"status\":\"error\",\"operation\":\"/body\",\"error\":\"the request body is longer than 1048576 bytes\"}\n"
        );
    }

    #[tokio::test]
    async fn a_body_that_does_not_announce_its_length_has_the_same_limit() {
        let stream = Body::from(vec![b'x'; BODY_MAX_BYTES + 1]).into_data_stream();
        let request = Request::post("/body").body(Body::from_stream(stream));
        let answer = send(&router(), request.unwrap()).await;
        assert_eq!(answer.status, 413);
        assert!(answer.body.contains("longer than"), "{}", answer.body);
    }

    #[tokio::test]
    async fn one_request_too_many_is_503_and_probes_go_on() {
        let guard = Guard::new(Access::default());
        let all = guard.in_flight.clone().try_acquire_many_owned(256).unwrap();
        let api = Fixture::with_route("/api/v1/test", get(|| async { "ok" }), guard);
        let answer = api.get("/backup/list").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
        assert_eq!(
            answer.body,
            "{\"status\":\"error\",\"error\":\"256 requests are at work already; ask again in a moment\"}\n"
        );
        let answer = api.get("/api/v1/test").await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
        let (kind, message, hint) = envelope(&answer);
        assert_eq!(kind, ErrorKind::Unavailable);
        assert!(message.contains("256 requests") && hint.contains("again"));
        assert_eq!(api.get("/livez").await.status, 200);
        drop(all);
        assert_eq!(api.get("/backup/list").await.status, 200);
    }
}
