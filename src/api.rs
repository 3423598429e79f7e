//! The HTTP door: one listener, one route table, authentication, and limits on everything a caller can make grow.
//!
//! Requests read the catalog's view and change nothing except by submitting or cancelling an operation.

mod auth;
mod compat;
mod connections;
mod family;
mod health;
mod origin;
mod requests;
mod routes;
mod scrape;
#[cfg(test)]
mod testing;
mod tls;
pub mod v1;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::secret::SecretSource;
use crate::worker::Worker;
use crate::worker::scheduler::Schedules;

pub use compat::KeptList;
pub use compat::reference::reference as interface_of_the_old_server;
pub use requests::Waits;
pub use tls::TlsError;

/// How the API is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `host:port`; an empty host (`:7171`) is every address of this machine.
    pub listen: String,
    /// Who may ask.
    pub access: Access,
    /// HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// Whether a client's operation may wait behind another client's instead of getting 423.
    /// The worker decides on it; it is here because it is a setting of the API.
    pub allow_parallel: bool,
}

/// Who may ask, and for what. Without any credentials everybody may do everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    /// What lets a caller do everything.
    pub operator: Credentials,
    /// What lets a caller look, and nothing else.
    pub read_only: Credentials,
    /// Whether a scrape of `/metrics` needs no credentials.
    pub open_metrics: bool,
}

/// What a caller of one role presents: either is enough.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Credentials {
    /// A user and a password.
    pub basic: Option<Basic>,
    /// A bearer token. Read at each request, like a password.
    pub token: Option<SecretSource>,
}

/// A user and a password.
#[derive(Debug, Clone, PartialEq)]
pub struct Basic {
    /// The user's name.
    pub user: String,
    /// Read at each request, so that a rotated file needs no restart. An empty one lets nobody in.
    pub password: SecretSource,
}

/// The files of a certificate, PEM. They are read again while we serve.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// The certificate, followed by its chain.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub private_key_file: PathBuf,
}

/// What the handlers work with; clones share it.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// Our memory, for reading.
    pub catalog: Catalog,
    /// Takes what is submitted or cancelled.
    pub worker: Worker,
    /// What a scrape reads.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// The zone of every time in the old wire format, which shows none.
    pub zone: TimeZone,
    /// The schedules in use.
    pub schedules: watch::Receiver<Arc<Schedules>>,
    /// What should be known of the configuration.
    pub notices: watch::Receiver<Notices>,
    /// Ends whatever waits.
    pub stop: CancellationToken,
    /// The list of backups as it was sent last.
    pub kept_list: KeptList,
    /// Room for requests that wait.
    pub waits: Waits,
}

/// What should be known of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// What is valid and still should be known.
    pub warnings: Vec<String>,
    /// Why the file as it is now is not in use.
    pub refused: Option<String>,
}

/// The API could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process has the address.
    #[error(
        "listening on {listen}: the address is in use by another process (another daemon, or the backup server this one replaces?); stop that one, or change api.listen"
    )]
    InUse {
        /// As configured.
        listen: String,
    },
    /// The address cannot be had.
    #[error(
        "listening on {listen}: {source}; api.listen is host:port, and the host is one of this machine's addresses"
    )]
    Bind {
        /// As configured.
        listen: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener failed while it served.
    #[error("serving the API: {0}")]
    Serve(#[source] std::io::Error),
}

/// A listener that has its address and serves nothing yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    access: Access,
    certificate: Option<tls::Certificate>,
}

/// Takes the address and reads the certificate, so that what is wrong with either is known at start.
///
/// # Errors
/// When the address is taken or impossible, or the certificate cannot be used.
pub fn build(settings: &Settings) -> Result<Bound, ServeError> {
    let listen = &settings.listen;
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::AddrInUse => ServeError::InUse {
            listen: listen.clone(),
        },
        _ => ServeError::Bind {
            listen: listen.clone(),
            source,
        },
    };
    let listener = bind(listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let certificate = settings.tls.clone().map(tls::Certificate::load);
    Ok(Bound {
        listener,
        address,
        access: settings.access.clone(),
        certificate: certificate.transpose()?,
    })
}

/// The server we replace takes `:7171` for every address; a machine without IPv6 has only the other half.
fn bind(listen: &str) -> std::io::Result<TcpListener> {
    match listen.strip_prefix(':') {
        Some(port) => match TcpListener::bind(format!("[::]:{port}")) {
            Err(error) if error.kind() != ErrorKind::AddrInUse => {
                TcpListener::bind(format!("0.0.0.0:{port}"))
            }
            bound => bound,
        },
        None => TcpListener::bind(listen),
    }
}

impl Access {
    /// Whether nobody is asked for credentials.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.operator.is_empty() && self.read_only.is_empty()
    }
}

impl Credentials {
    /// Whether there is nothing that could be presented.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.basic.is_none() && self.token.is_none()
    }
}

impl Bound {
    /// The address, with the port that the system chose where port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until the state's `stop`, then lets those at work end, for a limited time.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, state: ApiState) -> Result<(), ServeError> {
        let stop = state.stop.clone();
        let router = routes::router(state, self.access);
        connections::serve(self.listener, self.certificate, router, stop)
            .await
            .map_err(ServeError::Serve)
    }
}

impl ApiState {
    /// The schedules as they are now.
    fn schedules(&self) -> Arc<Schedules> {
        self.schedules.borrow().clone()
    }
}
