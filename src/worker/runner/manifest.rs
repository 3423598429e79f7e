//! What the destination says about an attempt: a manifest that names it is the proof of its success,
//! whatever the server says or has forgotten.

use jiff::SignedDuration;

use crate::backup::{BackupName, ManifestSeen};
use crate::destination::{self, Destination, ManifestHead};
use crate::operation::{
    Attempt, Event, Failure, FailureKind, Operation, Outcome, Server, State, Work,
};
use crate::worker::{ViewState, Worker};

/// How long a manifest may stay unreadable after the server said that it is written.
const UNREADABLE_MAX: SignedDuration = SignedDuration::from_mins(10);
/// The same while our view may be of the wrong place.
const UNREADABLE_MAX_UNBOUND: SignedDuration = SignedDuration::from_secs(30);

impl Worker {
    /// The events that a look justifies, after the manifest was asked, too. `None`: look again.
    pub(super) async fn confirmed(
        &self,
        operation: &Operation,
        attempt: &Attempt,
        mut events: Vec<Event>,
    ) -> Option<Vec<Event>> {
        let Some(destination) = self.seeing(operation) else {
            return Some(events);
        };
        match events.last() {
            Some(Event::Finished(outcome)) => {
                let outcome = *outcome;
                let Some(head) = self.own_manifest(destination, attempt).await else {
                    return self
                        .gives_up_on_manifest(attempt, outcome)
                        .then_some(events);
                };
                events.pop();
                self.note_base(operation, &head).await;
                let seen = Event::Read(self.read_here(&head));
                match self
                    .whole_after_clearing(destination, operation, attempt)
                    .await
                {
                    Ok(None) => events.extend([seen, Event::Finished(outcome)]),
                    Ok(Some(failure)) => events.push(Event::AttemptFailed {
                        failure,
                        retry_at: None,
                    }),
                    Err(error) => {
                        tracing::warn!(attempt.id = %attempt.id, "proving what was written over the remains of a dead attempt: {error}");
                        return None;
                    }
                }
                Some(events)
            }
            Some(Event::AttemptFailed { failure, .. })
                if matches!(failure.kind, FailureKind::Lost | FailureKind::Exists) =>
            {
                let Some(head) = self.own_manifest(destination, attempt).await else {
                    return Some(events);
                };
                events.pop();
                self.note_base(operation, &head).await;
                let found = self.success_by_manifest(operation, attempt, &head).await?;
                events.extend(found);
                Some(events)
            }
            _ => Some(events),
        }
    }

    /// An attempt that was found on the server may be an increment, of which only the manifest tells.
    async fn note_base(&self, operation: &Operation, head: &ManifestHead) {
        let Work::Backup(work) = &operation.work else {
            return;
        };
        let base = head.base.as_ref().and_then(|base| base.name.as_deref());
        let Some(base) = base.and_then(|base| BackupName::parse(base).ok()) else {
            return;
        };
        if work.base.as_ref() == Some(&base) {
            return;
        }
        let noted = self
            .amend(operation.id, move |operation| {
                if let Work::Backup(work) = &mut operation.work {
                    work.base = Some(base);
                }
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(operation.id = %operation.id, "writing down the base: {error}");
        }
    }

    /// Our view, where it can tell about this work.
    fn seeing(&self, operation: &Operation) -> Option<&Destination> {
        let sees = !matches!(
            self.standing().view,
            ViewState::None | ViewState::NamesOnServer
        );
        let writes = matches!(operation.work, Work::Backup(_));
        self.0.destination.as_ref().filter(|_| sees && writes)
    }

    /// The manifest that this attempt wrote, and no other.
    pub(super) async fn own_manifest(
        &self,
        destination: &Destination,
        attempt: &Attempt,
    ) -> Option<ManifestHead> {
        match destination.head(attempt.backup.as_str()).await {
            Ok(head) => head.filter(|head| head.backup_id.as_deref() == Some(attempt.id.as_str())),
            Err(error) => {
                tracing::debug!(attempt.id = %attempt.id, "reading the manifest: {error}");
                None
            }
        }
    }

    fn gives_up_on_manifest(&self, attempt: &Attempt, outcome: Outcome) -> bool {
        let limit = match self.standing().view {
            ViewState::Bound => UNREADABLE_MAX,
            _ => UNREADABLE_MAX_UNBOUND,
        };
        let gives_up = self.0.clock.now().duration_since(outcome.finished_at) >= limit;
        if gives_up {
            tracing::warn!(attempt.id = %attempt.id, backup.name = %attempt.backup, "ClickHouse says that {} was made, and its manifest could not be read through destination.url: it counts as unproven", attempt.backup);
        }
        gives_up
    }

    /// Where the remains of a dead attempt were removed first, the server's word is not enough: had
    /// its writer lived after all, files could be missing.
    async fn whole_after_clearing(
        &self,
        destination: &Destination,
        operation: &Operation,
        attempt: &Attempt,
    ) -> Result<Option<Failure>, destination::Error> {
        let was_cleared = operation
            .attempts
            .iter()
            .any(|other| other.is_cleared && other.backup == attempt.backup);
        if !was_cleared {
            return Ok(None);
        }
        let proved = destination
            .prove(&self.chain_of(attempt, operation))
            .await?;
        Ok((proved.missing_count > 0).then(|| {
            Failure::new(
                FailureKind::Damaged,
                format!(
                    "{} files of {} are missing in the destination, where the remains of a dead attempt had lain",
                    proved.missing_count, attempt.backup
                ),
            )
        }))
    }

    /// The server has forgotten the attempt, and the destination has its manifest: it succeeded.
    async fn success_by_manifest(
        &self,
        operation: &Operation,
        attempt: &Attempt,
        head: &ManifestHead,
    ) -> Option<Vec<Event>> {
        let chain = self.chain_of(attempt, operation);
        let destination = self.0.destination.as_ref()?;
        let own = match destination.prove(&chain).await {
            Ok(proved) => proved.own,
            Err(error) => {
                tracing::warn!(attempt.id = %attempt.id, "reading the manifest: {error}");
                return None;
            }
        };
        tracing::warn!(attempt.id = %attempt.id, "the server has forgotten it, and its manifest is in the destination: it succeeded");
        let outcome = Outcome {
            finished_at: head.modified,
            files: own.files,
            bytes: own.bytes,
            bytes_written: own.bytes_written,
        };
        let accepted = match (operation.state, &attempt.server) {
            (State::Starting, Some(server)) => Some(Event::Accepted(Server::clone(server))),
            (State::Starting, None) => return None,
            _ => None,
        };
        let ended = [Event::Read(self.read_here(head)), Event::Finished(outcome)];
        Some(accepted.into_iter().chain(ended).collect())
    }

    pub(super) fn chain_of(&self, attempt: &Attempt, operation: &Operation) -> Vec<String> {
        let view = self.0.catalog.view();
        let base = match &operation.work {
            Work::Backup(work) => work.base.as_ref(),
            _ => None,
        };
        let below = base
            .and_then(|base| crate::worker::hold::chain_names(&view, base).ok())
            .unwrap_or_default();
        std::iter::once(attempt.backup.to_string())
            .chain(below)
            .collect()
    }

    /// A manifest of ours was read through our view: the view is of the place where this server writes.
    pub(in crate::worker) fn read_here(&self, head: &ManifestHead) -> ManifestSeen {
        if self.standing().view == ViewState::Unbound {
            tracing::info!(
                "destination.url is the place where ClickHouse writes: a manifest of ours was read there"
            );
        }
        self.0
            .live
            .update_standing(|standing| standing.view = ViewState::Bound);
        ManifestSeen {
            uuid: head.uuid.clone(),
            read_at: self.0.clock.now(),
        }
    }
}
