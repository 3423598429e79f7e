//! What can go wrong between us and the destination, by what the caller does next.

use std::path::PathBuf;

use crate::secret::SecretError;

/// Longest text of a store that is passed on, in characters.
const STORE_TEXT_MAX_CHARS: usize = 400;
/// Of which so many may come before the code and the message of an XML answer: an error of a bulk delete
/// begins with the names of all its objects.
const BEFORE_CODE_MAX_CHARS: usize = 200;

/// The settings do not describe a place that can be reached at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The URL names no place.
    #[error("the destination {url}: {problem}; write s3://bucket/prefix or file:///path")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The address of the S3 server is none.
    #[error(
        "the S3 endpoint {endpoint}: {problem}; write https://host, or http://host:port for a server in the cluster"
    )]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file of certificates gives none.
    #[error("the CA file {path}: {problem}; it must hold certificates in PEM")]
    CaFile {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A key cannot be read.
    #[error("the keys of the destination: {0}")]
    Keys(#[from] SecretError),
    /// One key of two.
    #[error(
        "the keys of the destination: {missing} is missing; give both, or neither for the usual provider chain"
    )]
    HalfOfKeys {
        /// The one that is not there.
        missing: &'static str,
    },
    /// The S3 client refuses these settings.
    #[error("setting up the S3 client: {0}")]
    Client(String),
}

/// A question to the destination that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The object that was asked for is not there; the place itself is.
    #[error("{what} is not there")]
    NotFound {
        /// The object, as a URL.
        what: String,
    },
    /// The store refuses us.
    #[error(
        "{doing}: refused: {text}; check the keys and what they allow (list, get, put, delete)"
    )]
    Denied {
        /// What was tried.
        doing: String,
        /// What the store said.
        text: String,
    },
    /// No answer, or one that says nothing about what is there. Never to be read as absence.
    #[error("{doing}: {text}; check that the destination can be reached and that its URL is right")]
    Unavailable {
        /// What was tried.
        doing: String,
        /// What the store or the network said.
        text: String,
    },
    /// What was found is not what it should be.
    #[error("{what}: {text}")]
    Invalid {
        /// The object, as a URL.
        what: String,
        /// What is wrong with it.
        text: String,
    },
    /// No name of a folder or file right in its place; nothing was asked.
    #[error("{name:?} is no name of a backup's folder or file: {problem}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Error {
    /// Whether we looked and saw that a manifest is not there or is none, so that this is damage.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Invalid { .. })
    }

    /// What the object store's error means to us.
    pub(super) fn of_store(doing: String, what: String, error: &object_store::Error) -> Self {
        let text = shown(error);
        match error {
            _ if is_denied(error) => Self::Denied { doing, text },
            // A bucket that is not there says nothing about what was in it.
            object_store::Error::NotFound { .. } if !text.contains("NoSuchBucket") => {
                Self::NotFound { what }
            }
            object_store::Error::Precondition { .. } => Self::Unavailable {
                doing,
                text: "it was changed while it was read".to_owned(),
            },
            _ => Self::Unavailable { doing, text },
        }
    }
}

/// Whether the store refused who we are, in a request or for one key of it.
pub(super) fn is_denied(error: &object_store::Error) -> bool {
    if let object_store::Error::PermissionDenied { .. }
    | object_store::Error::Unauthenticated { .. } = error
    {
        return true;
    }
    // The library types only some requests' errors; codes as in Amazon's list of error responses.
    let text = error.to_string();
    [
        "status code: 401",
        "status code: 403",
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "the secret file",
        "Permission denied",
    ]
    .iter()
    .any(|sign| text.contains(sign))
}

/// An error of the library in one line: its causes, and of an XML answer the code and the message.
pub(super) fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    let part = |tag: &str| {
        let rest = text.split_once(&format!("<{tag}>"))?.1;
        Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
    };
    if let (Some(code), message) = (part("Code"), part("Message")) {
        let before = text.split('<').next().unwrap_or_default();
        let before = match before.char_indices().nth(BEFORE_CODE_MAX_CHARS) {
            Some((end, _)) => format!("{}…: ", &before[..end]),
            None => before.to_owned(),
        };
        text = format!("{before}{code} {}", message.unwrap_or_default());
    }
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ").chars().take(STORE_TEXT_MAX_CHARS).collect()
}
