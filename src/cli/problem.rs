//! What can stand between a command and its success, told apart by the exit code.

use clickhouse_backupd::api::v1::error::{ErrorBody, ErrorDetail};
use serde_json::json;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The daemon cannot be reached.
    #[error("no answer from {place}: {reason}")]
    Unreachable {
        /// Where it was looked for, without credentials.
        place: String,
        /// What the connection said.
        reason: String,
    },
    /// The daemon answered with an error of its own.
    #[error("{}", .detail.message)]
    Refused {
        /// What it said.
        detail: ErrorDetail,
        /// Its answer as it is.
        text: String,
    },
    /// Something answered that is not this API.
    #[error("{place} answers {answer}")]
    Unexpected {
        /// Who answered.
        place: String,
        /// What came, in one line.
        answer: String,
        /// Whether it is a gateway that says the daemon is away.
        is_gateway: bool,
    },
    /// What was asked for means nothing.
    #[error("{0}")]
    Usage(String),
    /// The command decided against it.
    #[error("{message}")]
    Stopped {
        /// Why.
        message: String,
        /// What to do.
        hint: String,
        /// What to print with `--json`, where the API's answer says it all.
        answer: Option<String>,
    },
    /// Ctrl-C while an operation goes on.
    #[error("{message}")]
    Interrupted {
        /// That it goes on, and how to find it again.
        message: String,
        /// Its last known state, as the API told it.
        answer: String,
    },
    /// The answer cannot be printed.
    #[error("printing the answer: {0}")]
    Output(#[from] std::io::Error),
}

impl Problem {
    /// The command decided against it.
    pub fn stopped(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Stopped {
            message: message.into(),
            hint: hint.into(),
            answer: None,
        }
    }

    /// An answer of the daemon that is an error.
    pub fn refused(body: ErrorBody, text: String) -> Self {
        Self::Refused {
            detail: body.error,
            text,
        }
    }

    /// 1 for failures and refusals, 2 for usage, 3 for a daemon that is not there, 130 after Ctrl-C.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::Interrupted { .. } => 130,
            Self::Refused { .. }
            | Self::Unexpected { .. }
            | Self::Stopped { .. }
            | Self::Output(_) => 1,
        }
    }

    /// What the caller can do; empty where the text says it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => {
                "see whether the daemon runs there, or say where it is with --url or BACKUPD_URL"
                    .to_owned()
            }
            Self::Refused { detail, .. } => detail.hint.clone(),
            Self::Unexpected { is_gateway: true, .. } => {
                "what stands before the daemon does not reach it; ask again in a moment".to_owned()
            }
            Self::Unexpected { .. } => {
                "see that --url (BACKUPD_URL) leads to clickhouse-backupd, and that both are of the same version"
                    .to_owned()
            }
            Self::Stopped { hint, .. } => hint.clone(),
            Self::Usage(_) | Self::Interrupted { .. } | Self::Output(_) => {
                String::new()
            }
        }
    }

    /// What `--json` prints: the API's answer where there is one, else an envelope of the same form.
    pub fn json(&self) -> Option<String> {
        let kind = match self {
            Self::Output(_) => return None,
            Self::Refused { text, .. }
            | Self::Stopped {
                answer: Some(text), ..
            }
            | Self::Interrupted { answer: text, .. } => return Some(text.clone()),
            Self::Unreachable { .. } => "unreachable",
            Self::Unexpected { .. } => "unexpected_answer",
            Self::Usage(_) => "usage",
            Self::Stopped { .. } => "stopped",
        };
        let error = json!({"kind": kind, "message": self.to_string(), "hint": self.hint()});
        Some(json!({ "error": error }).to_string())
    }

    /// Whether asking again may help: the daemon is away for a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Unexpected {
                is_gateway: true, ..
            } => true,
            Self::Refused { detail, .. } => {
                detail.kind == clickhouse_backupd::api::v1::error::ErrorKind::Unavailable
            }
            _ => false,
        }
    }
}
