//! The two forms of an error: the rows of the server we replace, and the envelope of `/api/v1/`.
//! Which one a caller reads, the path says alone.

use axum::body::to_bytes;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower_http::csrf::ProtectionError;

use super::compat::answer::Refusal;
use super::origin;
use super::requests::{BODY_MAX_BYTES, REQUEST_TIMEOUT};
use super::v1::error::{ErrorKind, Problem};

/// Longest text of a library's error that becomes a message of ours, in bytes.
const TEXT_MAX_BYTES: usize = 4 * 1024;
/// Where everything that v1 takes is described.
const DESCRIBED: &str = "GET /api/v1/openapi.json describes what there is";
/// What a caller is told of a defect of ours: its details are for the log.
const DEFECT: (&str, &str) = (
    "a defect of this program stopped the request",
    "its log has the details",
);
/// Headers of an error that mean something whatever its body is.
const KEPT: [HeaderName; 3] = [header::ALLOW, header::RETRY_AFTER, header::WWW_AUTHENTICATE];

/// Who reads the answers of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Clients of the server we replace.
    Compat,
    /// Clients of our own interface.
    V1,
}

/// Marks the answer of a handler that panicked: whoever makes it does not know the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panicked;

impl Family {
    /// The one place that decides it.
    pub(super) fn of(path: &str) -> Self {
        match path.strip_prefix("/api/v1") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Self::V1,
            _ => Self::Compat,
        }
    }

    /// An error. The old form has no hint of its own: there it follows the message, behind the
    /// operation (empty leaves it out), which in turn has no place in ours.
    pub(super) fn error(
        self,
        operation: &str,
        kind: ErrorKind,
        message: &str,
        hint: &str,
    ) -> Response {
        match self {
            Self::Compat => {
                let text = format!("{message}; {hint}");
                Refusal::new(kind.status(), operation.to_owned(), text).into_response()
            }
            Self::V1 => Problem::new(kind, message, hint).into_response(),
        }
    }

    /// No route has this path; `shown` is the target as it may be repeated.
    pub(super) fn not_found(self, method: &str, path: &str, shown: &str) -> Response {
        match self {
            Self::Compat => {
                let text = format!("{method} {shown} 404 Not Found");
                Refusal::not_found(path.to_owned(), text).into_response()
            }
            Self::V1 => {
                let text = format!("{method} {path}: there is no such route");
                Problem::new(ErrorKind::NotFound, text, DESCRIBED).into_response()
            }
        }
    }

    /// The route has other methods; axum adds the `Allow` header.
    pub(super) fn method_not_allowed(self, method: &str, path: &str) -> Response {
        match self {
            Self::Compat => {
                let text = format!("405 Method {method} Not Allowed");
                let status = StatusCode::METHOD_NOT_ALLOWED;
                Refusal::new(status, path.to_owned(), text).into_response()
            }
            Self::V1 => {
                let text = format!("{method} {path}: the route has no such method");
                let hint = "the Allow header names the methods that it has";
                Problem::new(ErrorKind::MethodNotAllowed, text, hint).into_response()
            }
        }
    }

    /// An error of a layer or an extractor that knows neither form, in this one.
    pub(super) async fn translate(self, path: &str, response: Response) -> Response {
        let extensions = response.extensions();
        if extensions.get::<ProtectionError>().is_some() {
            let (message, hint) = origin::OTHER_ORIGIN;
            return self.error(path, ErrorKind::Forbidden, message, hint);
        }
        if extensions.get::<Panicked>().is_some() {
            return self.error("", ErrorKind::Internal, DEFECT.0, DEFECT.1);
        }
        match self {
            Self::Compat => {
                let status = response.status();
                Refusal::new(status, path.to_owned(), compat_text(status)).into_response()
            }
            Self::V1 => v1(response).await,
        }
    }
}

fn compat_text(status: StatusCode) -> String {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::SERVICE_UNAVAILABLE => {
            format!(
                "{}; what was accepted before goes on, see /backup/actions",
                too_slow()
            )
        }
        status => status.to_string(),
    }
}

async fn v1(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let status = parts.status;
    let kind = kind_of(status);
    // What a library says about a request is of use to its sender; what failed of ours is not.
    let said = match status.is_client_error() {
        true => to_bytes(body, TEXT_MAX_BYTES).await.ok(),
        false => None,
    };
    let said = said
        .and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
        .filter(|text| !text.trim().is_empty())
        .unwrap_or_else(|| status.to_string());
    let (message, hint) = match kind {
        ErrorKind::TooLarge => (too_large(), "send less at one time"),
        ErrorKind::Unavailable => (
            too_slow(),
            "what was accepted before goes on; see GET /api/v1/operations",
        ),
        ErrorKind::UnsupportedMediaType => (said, "send JSON, with Content-Type: application/json"),
        ErrorKind::Internal => (DEFECT.0.to_owned(), DEFECT.1),
        _ => (said, DESCRIBED),
    };
    let mut answer = Problem::new(kind, message, hint).into_response();
    for name in KEPT {
        if let Some(value) = parts.headers.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

fn kind_of(status: StatusCode) -> ErrorKind {
    match status {
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
        StatusCode::FORBIDDEN => ErrorKind::Forbidden,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ErrorKind::MethodNotAllowed,
        StatusCode::CONFLICT => ErrorKind::Conflict,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorKind::UnsupportedMediaType,
        StatusCode::LOCKED => ErrorKind::Busy,
        StatusCode::NOT_IMPLEMENTED => ErrorKind::NotServed,
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => ErrorKind::Unavailable,
        status if status.is_client_error() => ErrorKind::BadRequest,
        _ => ErrorKind::Internal,
    }
}

fn too_large() -> String {
    format!("the request body is longer than {BODY_MAX_BYTES} bytes")
}

fn too_slow() -> String {
    format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/api/v1/operations", Family::V1)]
    #[case("/api/v1/", Family::V1)]
    #[case("/api/v1", Family::V1)]
    #[case("/api/v10/operations", Family::Compat)]
    #[case("/backup/api/v1/", Family::Compat)]
    #[case("/backup/list", Family::Compat)]
    #[case("/", Family::Compat)]
    fn the_path_says_the_family(#[case] path: &str, #[case] expected: Family) {
        assert_eq!(Family::of(path), expected);
    }

    #[rstest]
    #[case(400, ErrorKind::BadRequest)]
    #[case(422, ErrorKind::BadRequest)]
    #[case(403, ErrorKind::Forbidden)]
    #[case(408, ErrorKind::Unavailable)]
    #[case(503, ErrorKind::Unavailable)]
    #[case(500, ErrorKind::Internal)]
    #[case(502, ErrorKind::Internal)]
    fn every_status_has_a_kind(#[case] status: u16, #[case] expected: ErrorKind) {
        assert_eq!(kind_of(StatusCode::from_u16(status).unwrap()), expected);
    }
}
