//! Whether our view shows the place where this server writes: a wrong prefix lists as empty without
//! an error, so only a manifest that this very server wrote, read through the view, binds it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::RefreshError;
use crate::backup::{Backup, Place};
use crate::catalog::View;
use crate::clickhouse::{Error, NamesKept, RunningRow};
use crate::destination::{self, Destination};
use crate::worker::{ViewState, Worker};

/// Backups of this server whose manifests are looked at, newest first: the newest ones may have been
/// removed by hand.
const OWN_TRIED_MAX: usize = 3;
/// Ids that the server is asked about.
const IDS_ASKED_MAX: usize = 200;

/// What ClickHouse said, as far as it answered.
#[derive(Debug, Default)]
pub struct Asked {
    /// Who it is.
    pub server: Option<Uuid>,
    /// The disk keeps the names of its objects on the server's own disk.
    pub keeps_names_on_server: bool,
    /// What runs; `None`: it did not say.
    pub running: Option<Vec<RunningRow>>,
}

impl Worker {
    /// Asks ClickHouse what a round needs to know; one that does not answer stops nothing.
    pub(super) async fn ask_server(&self) -> Asked {
        let mut asked = Asked {
            keeps_names_on_server: self.standing().view == ViewState::NamesOnServer,
            ..Asked::default()
        };
        match self.0.client.server().await {
            Ok((server, _)) => {
                self.0.live.set_server(server.uuid);
                asked.server = Some(server.uuid);
            }
            Err(error) => {
                tracing::debug!("comparing without ClickHouse: {error}");
                return asked;
            }
        }
        if let Place::Disk(disk) = &self.0.place {
            match self.0.client.disk(disk).await {
                Ok(facts) => {
                    asked.keeps_names_on_server =
                        facts.is_some_and(|facts| facts.names_kept() == NamesKept::OnServer);
                }
                Err(error) => tracing::debug!("asking for the disk {disk}: {error}"),
            }
        }
        asked.running = match self.0.client.running().await {
            Ok(running) => Some(running),
            Err(error) => {
                tracing::debug!("asking what runs: {error}");
                None
            }
        };
        asked
    }

    /// Whether the view is bound. Found out in every round, because the server may be another one; where
    /// it cannot be, what was found last still holds.
    pub(super) async fn view_state(
        &self,
        destination: &Destination,
        asked: &Asked,
    ) -> Result<ViewState, RefreshError> {
        let last = match self.standing().view {
            ViewState::Bound => ViewState::Bound,
            _ => ViewState::Unbound,
        };
        let Some(server) = asked.server else {
            return Ok(last);
        };
        let view = self.0.catalog.view();
        for backup in of_server(&view, server, &self.0.place) {
            if is_there(destination, backup).await? {
                return Ok(ViewState::Bound);
            }
        }
        // Backups that this server made before our memory began.
        let with_id = with_id(&view, &self.0.place);
        if with_id.is_empty() {
            return Ok(ViewState::Unbound);
        }
        let ids: Vec<&str> = with_id
            .iter()
            .map(|backup| backup.attempt.as_str())
            .collect();
        let finished = match self.0.client.finished_backups(&ids).await {
            Ok((answered, finished)) if answered.uuid == server => finished,
            Ok(_) | Err(Error::Unreachable { .. }) => return Ok(last),
            Err(error) => {
                tracing::debug!("asking for backups that it made: {error}");
                return Ok(last);
            }
        };
        let made = with_id
            .iter()
            .filter(|backup| finished.contains(&backup.attempt));
        for backup in made.take(OWN_TRIED_MAX) {
            if is_there(destination, backup).await? {
                return Ok(ViewState::Bound);
            }
        }
        Ok(ViewState::Unbound)
    }

    /// Ends when a backup came that may bind the view, where it is not bound.
    pub(super) async fn may_bind(&self, seen: Arc<View>, changes: &mut watch::Receiver<Arc<View>>) {
        loop {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
            let view = changes.borrow_and_update().clone();
            let unbound = self.standing().view == ViewState::Unbound;
            let is_news = |backup: &Backup| {
                let read_at = backup.manifest.as_ref().map(|manifest| manifest.read_at);
                let before = seen
                    .record(&backup.name)
                    .and_then(|old| old.manifest.as_ref());
                read_at.is_some() && before.map(|manifest| manifest.read_at) != read_at
            };
            if unbound && !view.has_backups_of(&seen) && view.backups().any(is_news) {
                return;
            }
        }
    }
}

async fn is_there(destination: &Destination, backup: &Backup) -> Result<bool, RefreshError> {
    match destination.head(backup.name.as_str()).await {
        Ok(head) => {
            Ok(head.is_some_and(|head| head.backup_id.as_deref() == Some(backup.attempt.as_str())))
        }
        Err(destination::Error::NotFound { .. } | destination::Error::Invalid { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The newest backups that this server made, as we remember.
fn of_server<'a>(view: &'a View, server: Uuid, place: &Place) -> Vec<&'a Backup> {
    newest(view, OWN_TRIED_MAX, |backup| {
        backup.server == Some(server) && backup.place == *place
    })
}

/// The newest backups whose manifest has an id.
fn with_id<'a>(view: &'a View, place: &Place) -> Vec<&'a Backup> {
    newest(view, IDS_ASKED_MAX, |backup| {
        !backup.attempt.is_empty() && backup.place == *place
    })
}

fn newest(view: &View, most: usize, wanted: impl Fn(&Backup) -> bool) -> Vec<&Backup> {
    let mut backups: Vec<&Backup> = view.backups().filter(|backup| wanted(backup)).collect();
    backups.sort_by_key(|backup| {
        std::cmp::Reverse::<(Timestamp, u64)>((backup.created_at, backup.number))
    });
    backups.truncate(most);
    backups
}
