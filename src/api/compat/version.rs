//! `GET /backup/version`.

use axum::response::Response;
use serde::Serialize;

use super::answer;

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

/// The version of this program.
pub(in crate::api) async fn version() -> Response {
    answer::row(&Version {
        version: env!("CARGO_PKG_VERSION"),
    })
}
