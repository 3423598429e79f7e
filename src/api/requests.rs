//! What every request passes through: its log line, its limits, and one form for every error.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::auth::Access;
use super::compat::answer::Refusal;
use super::{Credentials, auth};

/// Longest request body, in bytes.
const BODY_MAX_BYTES: usize = 1024 * 1024;
/// How long a request may take; the longest wait of ours is that of `kill`, 20 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests at work at one time; the probes of Kubernetes do not count.
const IN_FLIGHT_MAX: usize = 256;
/// Characters of a path that the log shows.
const LOGGED_PATH_MAX_CHARS: usize = 256;

/// What stands before every route but the probes.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    credentials: Option<Arc<Credentials>>,
    in_flight: Arc<Semaphore>,
}

impl Guard {
    pub(super) fn new(credentials: Option<Credentials>) -> Self {
        Self {
            credentials: credentials.map(Arc::new),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        }
    }
}

/// Lets a request in when there is room and its caller may ask.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Ok(_permit) = guard.in_flight.try_acquire() else {
        let text = format!("{IN_FLIGHT_MAX} requests are at work already; ask again in a moment");
        return Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "", text).into_response();
    };
    if let Some(credentials) = &guard.credentials {
        let access = auth::access(credentials, request.headers(), request.uri().query()).await;
        match access {
            Ok(Access::Granted) => {}
            Ok(Access::Unasked) => {
                tracing::debug!(path = %shown_path(&request), "asked for credentials");
                return auth::refusal();
            }
            Ok(Access::Rejected) => {
                tracing::warn!(path = %shown_path(&request), "rejected credentials");
                return auth::refusal();
            }
            Err(error) => {
                tracing::error!("the API lets nobody in: {error}");
                return Refusal::internal("", &error).into_response();
            }
        }
    }
    next.run(request).await
}

/// The router with everything that surrounds its handlers.
pub(super) fn surround(router: Router) -> Router {
    router
        // The limit below holds for every reader of a body; axum's own would come before it.
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(BODY_MAX_BYTES))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            REQUEST_TIMEOUT,
        ))
        .layer(CatchPanicLayer::custom(panicked))
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
    if method == Method::POST {
        tracing::info!(%method, path, status, took_ms, "{method} {path} {status}");
    } else {
        tracing::debug!(%method, path, status, took_ms, "{method} {path} {status}");
    }
    response
}

/// The layers of others answer with plain text or nothing; our callers parse JSON.
async fn one_form_of_error(request: Request, next: Next) -> Response {
    let operation = request.uri().path().to_owned();
    let response = next.run(request).await;
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || is_json || status == StatusCode::UNAUTHORIZED {
        return response;
    }
    Refusal::new(status, operation, text_of(status)).into_response()
}

fn text_of(status: StatusCode) -> String {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            format!("the request body is longer than {BODY_MAX_BYTES} bytes")
        }
        StatusCode::SERVICE_UNAVAILABLE => format!(
            "no answer within {} s; what was accepted before goes on, see /backup/actions",
            REQUEST_TIMEOUT.as_secs()
        ),
        status => status.to_string(),
    }
}

fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!("a request handler panicked: {text}");
    let text = "a defect of this program stopped the request; its log has the details";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "", text).into_response()
}

fn shown_path(request: &Request) -> String {
    let path = request.uri().path();
    path.chars().take(LOGGED_PATH_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes;
    use crate::api::testing::{Answer, Fixture, send};
    use axum::body::{Body, Bytes};
    use axum::routing::{get, post};

    async fn broken() -> Response {
        panic!("on purpose")
    }

    fn router() -> Router {
        let slow = || async { tokio::time::sleep(Duration::from_secs(3_600)).await };
        surround(
            Router::new()
                .route("/slow", get(slow))
                .route("/broken", get(broken))
                .route(
                    "/body",
                    post(|body: Bytes| async move { body.len().to_string() }),
                ),
        )
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
        let guard = Guard::new(None);
        let all = guard.in_flight.clone().try_acquire_many_owned(256).unwrap();
        let router = routes::guarded_by(guard, Fixture::new().state);
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty());
            send(&router, request.unwrap()).await
        };
        let answer = ask("/backup/list").await;
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("256 requests"), "{}", answer.body);
        assert_eq!(ask("/livez").await.status, 200);
        drop(all);
        assert_eq!(ask("/backup/list").await.status, 200);
    }
}
