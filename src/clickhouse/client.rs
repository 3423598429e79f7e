//! Sending statements: every call has a time limit, every error a kind.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Settings, code, transport};
use crate::operation::{Failure, FailureKind};
use crate::secret::SecretError;

/// Longest wait for an answer. All our statements are short: the long ones run `ASYNC`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// ClickHouse closes idle connections after 3 s by default (`keep_alive_timeout`).
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Code 516, `AUTHENTICATION_FAILED`: the password may have been rotated.
const AUTHENTICATION_FAILED: u32 = 516;

/// A client that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No CA certificates on this machine.
    #[error(
        "clickhouse.url is https, and no CA certificates were found here: {0}; install ca-certificates"
    )]
    Certificates(#[source] std::io::Error),
    /// The TLS library refused its own defaults.
    #[error("setting up TLS for ClickHouse: {0}")]
    Tls(#[source] rustls::Error),
}

/// A statement that gave no answer we can use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or no answer: whether the statement arrived is unknown.
    #[error("ClickHouse at {url} does not answer: {text}")]
    Unreachable {
        /// As configured; holds no password.
        url: String,
        /// The whole chain of causes.
        text: String,
    },
    /// The server refused the statement.
    #[error("{text}")]
    Refused {
        /// ClickHouse's number.
        code: u32,
        /// ClickHouse's text.
        text: String,
    },
    /// The password cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An answer in a form we do not know.
    #[error("ClickHouse answered in a form this version does not know: {0}")]
    Answer(String),
}

impl Error {
    /// The same as a failure of the operation it was sent for.
    #[must_use]
    pub fn failure(&self, doing: &str) -> Failure {
        let kind = match self {
            Self::Unreachable { .. } => FailureKind::Unreachable,
            Self::Refused { code, .. } => code::failure_kind(*code),
            Self::Secret(_) => FailureKind::Denied,
            Self::Answer(_) => FailureKind::Unknown,
        };
        Failure::new(kind, format!("{doing}: {self}"))
    }
}

impl Error {
    /// Whether a `BACKUP` or `RESTORE` was refused because its id is known already (seen: code 36,
    /// "there is another backup with the same ID").
    #[must_use]
    pub fn says_id_is_used(&self) -> bool {
        matches!(self, Self::Refused { code: 36, text } if text.contains("with the same ID"))
    }
}

/// A connection to one ClickHouse.
pub struct Client {
    settings: Settings,
    inner: RwLock<Option<clickhouse::Client>>,
    bare: clickhouse::Client,
}

impl Client {
    /// A client for these settings; nothing is sent yet.
    ///
    /// # Errors
    /// When TLS is asked for and cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let http = HyperClient::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .build(transport::connector(&settings)?);
        let bare = clickhouse::Client::with_http_client(http)
            .with_url(settings.url.clone())
            .with_user(settings.user.clone())
            .with_product_info("clickhouse-backupd", env!("CARGO_PKG_VERSION"))
            .with_setting("output_format_json_quote_64bit_integers", "0")
            // Some versions name the elements of a tuple, which would make objects of our arrays.
            .with_setting("output_format_json_named_tuples_as_objects", "0");
        Ok(Self {
            settings,
            inner: RwLock::new(None),
            bare,
        })
    }

    /// Sends a statement and reads its rows.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, Error> {
        let bytes = match self.send(sql).await {
            Err(Error::Refused {
                code: AUTHENTICATION_FAILED,
                ..
            }) if self.forget_password() => self.send(sql).await?,
            other => other?,
        };
        let rows = serde_json::Deserializer::from_slice(&bytes).into_iter::<T>();
        rows.collect::<Result<_, _>>()
            .map_err(|error| Error::Answer(format!("{error} in the answer to {}", shortened(sql))))
    }

    /// Sends a statement whose rows do not matter.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn execute(&self, sql: &str) -> Result<(), Error> {
        self.rows::<serde_json::Value>(sql).await.map(drop)
    }

    /// The URL it talks to, for messages.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.settings.url
    }

    async fn send(&self, sql: &str) -> Result<Vec<u8>, Error> {
        let query = self.authenticated()?.query_raw(sql);
        let answer = async { query.fetch_bytes("JSONEachRow")?.collect().await };
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => {
                Err(self.unreachable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
            }
        }
    }

    fn authenticated(&self) -> Result<clickhouse::Client, Error> {
        if let Some(client) = self
            .inner
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            return Ok(client.clone());
        }
        let client = match &self.settings.password {
            Some(password) => self
                .bare
                .clone()
                .with_password(password.read()?.expose_secret()),
            None => self.bare.clone(),
        };
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// Makes the next statement read the password again; `false` where it cannot have changed.
    fn forget_password(&self) -> bool {
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = None;
        matches!(
            self.settings.password,
            Some(crate::secret::SecretSource::File(_))
        )
    }

    fn explain(&self, error: &clickhouse::error::Error) -> Error {
        match error {
            clickhouse::error::Error::BadResponse(text) => match code::parse(text) {
                Some(code) => Error::Refused {
                    code,
                    text: text.trim().to_owned(),
                },
                None => self.unreachable(format!(
                    "something that is not ClickHouse answered: {}",
                    shortened(text)
                )),
            },
            clickhouse::error::Error::Network(_) | clickhouse::error::Error::TimedOut => {
                self.unreachable(chain(error))
            }
            other => Error::Answer(chain(other)),
        }
    }

    fn unreachable(&self, text: String) -> Error {
        Error::Unreachable {
            url: self.settings.url.clone(),
            text,
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The whole chain of causes: the outermost text alone hides what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

fn shortened(text: &str) -> String {
    const SHOWN_MAX_CHARS: usize = 200;
    let mut short: String = text.chars().take(SHOWN_MAX_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
