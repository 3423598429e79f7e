//! The one form of every error under `/api/v1/`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What every answer that is no success holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// An error: a word for programs, a sentence for people, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// What a program decides by.
    pub kind: ErrorKind,
    /// What was asked for and why it was not done.
    pub message: String,
    /// What the caller can do.
    pub hint: String,
}

/// Kinds of error, told apart by what a caller does next; each has one status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// 400: the request is wrong as it is.
    BadRequest,
    /// 401: credentials are missing or wrong.
    Unauthorized,
    /// 403: these credentials may only look, or the request came from another origin.
    Forbidden,
    /// 404: what the path names is not there.
    NotFound,
    /// 405: the path exists with another method.
    MethodNotAllowed,
    /// 409: what is there stands against it.
    Conflict,
    /// 413: the body is too large.
    TooLarge,
    /// 415: the body is no JSON.
    UnsupportedMediaType,
    /// 423: another operation is at work; ask again when it has ended.
    Busy,
    /// 500: a defect or a failing disk of ours; the log has the details.
    Internal,
    /// 501: this version does not do it.
    NotServed,
    /// 503: not now; ask again in a moment.
    Unavailable,
}

impl ErrorKind {
    /// The status code of this kind.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy => StatusCode::LOCKED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotServed => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Problem(ErrorDetail);

impl Problem {
    /// An error of this kind.
    pub(in crate::api) fn new(
        kind: ErrorKind,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self(ErrorDetail {
            kind,
            message: message.into(),
            hint: hint.into(),
        })
    }

    /// Something of ours failed; it is logged here, once.
    pub(in crate::api) fn internal(doing: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!("{doing}: {error}");
        Self::new(
            ErrorKind::Internal,
            format!("{doing}: {error}"),
            "see the log of the daemon",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.0.kind.status();
        (status, Json(ErrorBody { error: self.0 })).into_response()
    }
}
