//! Whether the process lives, whether it is ready, and what a scrape reads.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ApiState;
use super::compat::answer::{self, Refusal};
use crate::metrics::CONTENT_TYPE;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// `/livez`: the process answers.
pub(super) async fn live() -> Response {
    answer::row(&Health { status: "OK" })
}

/// `/readyz`: the catalog is open and ClickHouse was looked at, with whatever result.
pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    readiness(state.worker.is_ready())
}

/// `/health`: the text of the server we replace, which checked nothing.
pub(super) async fn health() -> Response {
    answer::row(&Health { status: "OK" })
}

/// `/metrics`: Prometheus' text format.
///
/// Beside the threads that serve: the first scrape looks some hundred times at the calendar of each
/// schedule, which takes seconds with a thousand of them.
pub(super) async fn metrics(State(state): State<ApiState>) -> Response {
    match tokio::task::spawn_blocking(move || state.scraped()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => Refusal::internal("metrics", &error).into_response(),
        Err(error) => Refusal::internal("metrics", &error).into_response(),
    }
}

fn readiness(ready: bool) -> Response {
    if ready {
        answer::row(&Health { status: "OK" })
    } else {
        answer::row_with_status(
            StatusCode::SERVICE_UNAVAILABLE,
            &Health { status: "starting" },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::Fixture;

    #[tokio::test]
    async fn the_probes_and_the_scrape_answer() {
        let api = Fixture::new();
        assert_eq!(api.get("/livez").await.body, "{\"status\":\"OK\"}\n");
        assert_eq!(api.get("/health").await.body, "{\"status\":\"OK\"}\n");
        let metrics = api.get("/metrics").await;
        assert_eq!(metrics.header("content-type"), CONTENT_TYPE);
        assert!(metrics.body.contains("clickhouse_backupd_build_info"));
        // The fixture's worker has never looked at ClickHouse.
        let ready = api.get("/readyz").await;
        assert_eq!(
            (ready.status, ready.body.as_str()),
            (503, "{\"status\":\"starting\"}\n")
        );
    }

    #[test]
    fn ready_is_ready() {
        assert_eq!(readiness(true).status(), StatusCode::OK);
    }
}
