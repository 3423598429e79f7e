//! Telling others over HTTP what became of an operation: heartbeats of schedules, and callbacks.
//!
//! A heartbeat is a `GET` of an address that belongs to the moment, which every dead-man switch
//! understands (healthchecks.io, Cronitor, Uptime Kuma, Dead Man's Snitch). A callback is a `POST`
//! with the body of the server we replace. Addresses are secrets: who knows one can ring the bell,
//! so nothing here prints more of it than its host.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::operation::{Operation, State, Told, Trigger, Work};
use crate::schedule::ScheduleName;
use crate::secret::SecretSource;

/// Longest address that is called, in characters.
pub const URL_MAX_CHARS: usize = 2_048;
/// Addresses that one request may name.
pub const CALLBACKS_MAX: usize = 8;
/// Redirects of a heartbeat that are followed. A callback follows none: its body would be lost.
const REDIRECTS_MAX: usize = 5;

/// Whom to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// By schedule.
    pub heartbeats: BTreeMap<ScheduleName, Heartbeat>,
    /// Called at the end of every backup and restore for which no other address was given.
    pub callback_url: Option<SecretSource>,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeats: BTreeMap::new(),
            callback_url: None,
            timeout: Duration::from_secs(5),
        }
    }
}

/// The addresses of a schedule's dead-man switch; each may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heartbeat {
    /// Called when an operation of the schedule began.
    pub started: Option<SecretSource>,
    /// Called when one succeeded.
    pub succeeded: Option<SecretSource>,
    /// Called when one failed for good or was cancelled.
    pub failed: Option<SecretSource>,
}

/// An address that cannot be called. Says nothing of the address itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no address.
    #[error("it is no http:// or https:// address")]
    NotHttp,
    /// It is an essay.
    #[error("it is longer than {URL_MAX_CHARS} characters")]
    TooLong,
}

/// A call that did not work.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The address cannot be had, or is none.
    #[error("{0}")]
    NoAddress(String),
    /// Nobody answered in time.
    #[error("calling {host}: {problem}")]
    NoAnswer {
        /// The host.
        host: String,
        /// What the network said.
        problem: String,
    },
    /// It answered with something else than 2xx.
    #[error("{host} answered {status}")]
    Refused {
        /// The host.
        host: String,
        /// Its answer.
        status: u16,
    },
}

/// Something to be told.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where.
    pub address: SecretSource,
    /// What kind, and with which body.
    pub kind: MessageKind,
}

/// A kind of message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageKind {
    /// A `GET` without a body.
    Heartbeat,
    /// A `POST` with this JSON.
    Callback(String),
}

impl MessageKind {
    /// The word used in the metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Callback(_) => "callback",
        }
    }
}

/// Whether an address can be called.
///
/// # Errors
/// See [`UrlError`].
pub fn check_url(text: &str) -> Result<(), UrlError> {
    parse(text).map(drop)
}

fn parse(text: &str) -> Result<Url, UrlError> {
    if text.chars().nth(URL_MAX_CHARS).is_some() {
        return Err(UrlError::TooLong);
    }
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or(UrlError::NotHttp)
}

/// What an operation owes to those who want to hear of it; `None`: nothing.
///
/// Whatever was told before is not told again. A slot that was skipped is not told of at all: a
/// dead-man switch hears nothing then, and that is its alarm.
#[must_use]
pub fn owed(operation: &Operation, settings: &Settings) -> Option<(Told, Vec<Message>)> {
    let told = match operation.state {
        State::Pending | State::Skipped => return None,
        State::Starting | State::Running | State::Cancelling(_) => Told::Started,
        State::Succeeded | State::Failed | State::Cancelled => Told::Ended,
    };
    if operation.told >= Some(told) {
        return None;
    }
    let heartbeat = operation.schedule().and_then(|name| {
        let heartbeat = settings.heartbeats.get(name)?;
        match operation.state {
            State::Succeeded => heartbeat.succeeded.clone(),
            State::Failed | State::Cancelled => heartbeat.failed.clone(),
            _ => heartbeat.started.clone(),
        }
    });
    let heartbeat = heartbeat.map(|address| Message {
        address,
        kind: MessageKind::Heartbeat,
    });
    let mut messages: Vec<Message> = heartbeat.into_iter().collect();
    let is_asked_for = matches!(operation.work, Work::Backup(_) | Work::Restore(_));
    if told == Told::Ended && is_asked_for && operation.trigger != Trigger::Daemon {
        messages.extend(callbacks(operation, settings));
    }
    (!messages.is_empty()).then_some((told, messages))
}

fn callbacks(operation: &Operation, settings: &Settings) -> Vec<Message> {
    let given = operation.callbacks.iter();
    let mut addresses: Vec<SecretSource> =
        given.map(|url| SecretSource::from(url.as_str())).collect();
    if addresses.is_empty() {
        addresses.extend(settings.callback_url.clone());
    }
    if addresses.is_empty() {
        return Vec::new();
    }
    let body = body(operation);
    let message = |address| Message {
        address,
        kind: MessageKind::Callback(body.clone()),
    };
    addresses.into_iter().map(message).collect()
}

/// The body of the server we replace, in its order of fields.
#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    error: &'a str,
    operation_id: String,
    command: &'a str,
    duration: String,
}

fn body(operation: &Operation) -> String {
    let status = match operation.state {
        State::Succeeded => "success",
        State::Cancelled => "cancel",
        _ => "error",
    };
    let error = operation.failure.as_ref();
    let error = error.filter(|_| status == "error");
    let begun = operation.started_at.unwrap_or(operation.submitted_at);
    let took = operation
        .finished_at
        .map_or(0, |end| end.duration_since(begun).as_millis().max(0));
    let body = Body {
        status,
        error: error.map_or("", |failure| failure.message.as_str()),
        operation_id: operation.id.to_string(),
        command: &operation.command,
        duration: go_duration(u64::try_from(took).unwrap_or(u64::MAX)),
    };
    serde_json::to_string(&body).unwrap_or_default()
}

/// As Go prints a `time.Duration` of whole milliseconds: `850ms`, `4m11.5s`, `1h0m0s`.
fn go_duration(millis: u64) -> String {
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, rest) = (millis / 1_000 % 60, millis % 1_000);
    let fraction = match rest {
        0 => String::new(),
        rest => format!(".{rest:03}").trim_end_matches('0').to_owned(),
    };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, minutes) => format!("{minutes}m{seconds}{fraction}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// Makes the calls.
#[derive(Debug, Clone)]
pub struct Caller {
    heartbeats: reqwest::Client,
    callbacks: reqwest::Client,
}

impl Caller {
    /// A caller; nothing is called yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = |redirects| {
            reqwest::Client::builder()
                .user_agent(concat!("clickhouse-backupd/", env!("CARGO_PKG_VERSION")))
                .redirect(redirects)
                .build()
        };
        Ok(Self {
            heartbeats: client(Policy::limited(REDIRECTS_MAX))?,
            callbacks: client(Policy::none())?,
        })
    }

    /// Tells one message, once.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn tell(&self, message: &Message, timeout: Duration) -> Result<(), CallError> {
        let url = address(&message.address)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = match &message.kind {
            MessageKind::Heartbeat => self.heartbeats.get(url),
            MessageKind::Callback(body) => self
                .callbacks
                .post(url)
                .header("Content-Type", "application/json")
                .body(body.clone()),
        };
        match request.timeout(timeout).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(CallError::Refused {
                host,
                status: answer.status().as_u16(),
            }),
            Err(error) => Err(CallError::NoAnswer {
                host,
                problem: causes(&error.without_url()),
            }),
        }
    }
}

fn address(source: &SecretSource) -> Result<Url, CallError> {
    let secret: SecretString = source
        .read()
        .map_err(|error| CallError::NoAddress(error.to_string()))?;
    parse(secret.expose_secret().trim())
        .map_err(|error| CallError::NoAddress(format!("the address cannot be called: {error}")))
}

/// An error with what caused it, without the address: redirects have one of their own.
fn causes(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
