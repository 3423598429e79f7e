//! What is known of the destination as a whole, from the last time it was listed.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::backup::BackupName;

/// Longest wait for the first look at the destination, before schedules go on without it.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(120);

/// Whether our own view of the destination can be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ViewState {
    /// There is no `destination.url`.
    #[default]
    None,
    /// The disk keeps the names of its objects on the server's own disk: the bucket holds random keys,
    /// and nothing in it can be told apart.
    NamesOnServer,
    /// It may be the wrong place: no manifest that this server wrote was read through it yet.
    Unbound,
    /// It is the place where this server writes.
    Bound,
}

impl ViewState {
    /// The word used in the API and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NamesOnServer => "names_on_server",
            Self::Unbound => "unbound",
            Self::Bound => "bound",
        }
    }
}

/// A folder without a manifest that a dead attempt left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The folder.
    pub name: BackupName,
    /// When its newest object was written.
    pub newest: Option<Timestamp>,
    /// Objects in it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How we know that it is one: a lock inside, or an attempt of ours.
    pub reason: String,
}

/// What is known of the destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether our view can be trusted.
    pub view: ViewState,
    /// Where it looks, without any key; `None` where there is none.
    pub url: Option<String>,
    /// When it was last listed.
    pub listed_at: Option<Timestamp>,
    /// Why the last listing failed, while it does.
    pub failure: Option<String>,
    /// Remains of dead attempts.
    pub broken: Vec<Broken>,
    /// The first folders that are neither backups nor broken ones: somebody else's.
    pub others: Vec<String>,
    /// How many of those there are.
    pub others_count: usize,
    /// Why the last file of ours was not written there, while it is not.
    pub publish_failure: Option<String>,
}

/// What came of the last rounds of retention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionNote {
    /// Rounds that ended since this process began.
    pub rounds: u64,
    /// When a round last ended with nothing standing against it.
    pub succeeded_at: Option<Timestamp>,
    /// When a round last failed.
    pub failed_at: Option<Timestamp>,
    /// Why the last round failed, while it does; nothing was removed.
    pub failure: Option<String>,
    /// Why the last round removed nothing, in words.
    pub stopped: Vec<String>,
}

impl Worker {
    /// What came of the last rounds of retention.
    #[must_use]
    pub fn retention_note(&self) -> RetentionNote {
        self.0.live.retention()
    }

    /// What is known of the destination, as of its last listing.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.live.standing()
    }

    /// Whether we have a view of our own, good or not.
    #[must_use]
    pub fn has_view(&self) -> bool {
        self.0.destination.is_some()
    }

    /// Puts this in the place of what is known, for tests of those who show it.
    #[cfg(test)]
    pub(crate) fn pretend_standing(&self, standing: Standing) {
        let kept = self.0.live.standing.write();
        *kept.unwrap_or_else(std::sync::PoisonError::into_inner) = std::sync::Arc::new(standing);
    }

    /// Waits until the destination was looked at, or for two minutes: a schedule must know what
    /// was done already, and must not wait for ever for a bucket that does not answer.
    pub async fn first_look(&self, stop: &CancellationToken) {
        let looked = async {
            loop {
                let changed = self.0.live.standing_changed.notified();
                let standing = self.standing();
                let was_tried = self.has_listed() || standing.failure.is_some();
                if self.is_read_in() && was_tried {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = looked => {}
            () = tokio::time::sleep(FIRST_LOOK_MAX) => {
                tracing::error!("the destination could not be read in for {} s: schedules go on without knowing what lies there", FIRST_LOOK_MAX.as_secs());
            }
        }
    }

    /// Whether this process has listed the destination once, or there is nothing to list.
    pub(super) fn has_listed(&self) -> bool {
        let standing = self.standing();
        self.0.destination.is_none()
            || standing.listed_at.is_some()
            || standing.view == ViewState::NamesOnServer
    }

    /// Whether the list of backups is complete: there is no view, or what it shows was read in once.
    #[must_use]
    pub fn is_read_in(&self) -> bool {
        self.0.destination.is_none() || self.0.catalog.view().read_in().is_some()
    }
}
