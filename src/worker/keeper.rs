//! What a caller says about keeping: pins, and changes that are meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Worker;
use super::hold::holds;
use crate::backup::{Backup, BackupName, Pin};
use crate::catalog::{CatalogError, Change, Decision, View};
use crate::retention::{Adoption, Plan, Rules, Situation, Stop, adopt, plan};

/// Longest reason of a pin or an adoption.
pub const KEEP_REASON_MAX_CHARS: usize = 500;

/// Something about keeping that is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// There is no such backup.
    #[error("there is no backup named {0}")]
    NotFound(BackupName),
    /// The reason is an essay.
    #[error("the reason is longer than {KEEP_REASON_MAX_CHARS} characters")]
    ReasonTooLong,
    /// ClickHouse did not say which server it is.
    #[error("asking ClickHouse who it is: {0}")]
    ServerUnknown(String),
    /// Our memory failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Worker {
    /// Pins a backup, so that no policy and no `force` removes it, or lets it go again.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn pin(
        &self,
        name: &BackupName,
        pinned: bool,
        by: Option<String>,
        reason: Option<String>,
    ) -> Result<Backup, KeepError> {
        check(reason.as_deref())?;
        let (name, now) = (name.clone(), self.0.clock.now());
        let decide = move |view: &View| {
            let Some(found) = view.backup(&name) else {
                return Decision {
                    changes: Vec::new(),
                    answer: Err(KeepError::NotFound(name)),
                };
            };
            let mut backup = found.clone();
            backup.pinned = pinned.then_some(Pin {
                at: now,
                by,
                reason,
            });
            backup.changed_at = now;
            Decision {
                changes: vec![Change::PutBackup(Box::new(backup.clone()))],
                answer: Ok(backup),
            }
        };
        let backup = self.0.catalog.write(decide).await??;
        match &backup.pinned {
            Some(pin) => {
                tracing::info!(backup.name = %backup.name, by = pin.by, reason = pin.reason, "pinned");
            }
            None => tracing::info!(backup.name = %backup.name, "no longer pinned"),
        }
        Ok(backup)
    }

    /// Says that a change is meant: suspect backups so far are ordinary ones, and the servers whose
    /// backups lie there belong together.
    ///
    /// # Errors
    /// See [`KeepError`].
    pub async fn adopt_change(
        &self,
        by: Option<String>,
        reason: Option<String>,
    ) -> Result<Adoption, KeepError> {
        check(reason.as_deref())?;
        let contact = self.contact().await;
        let server = contact
            .answer
            .map_err(|failure| KeepError::ServerUnknown(failure.message))?;
        let (now, server) = (self.0.clock.now(), server.0.uuid);
        let decide = move |view: &View| {
            let known = view.backups().filter_map(|backup| backup.server);
            let servers: BTreeSet<_> = known.chain([server]).collect();
            let adoption = Adoption {
                at: now,
                by,
                reason,
                servers: servers.into_iter().collect(),
            };
            let mut changes: Vec<Change> = suspects(view, &adoption, now).collect();
            changes.push(Change::PutAdoption(adoption.clone()));
            Decision {
                changes,
                answer: adoption,
            }
        };
        let adoption = self.0.catalog.write(decide).await?;
        tracing::warn!(by = adoption.by, reason = adoption.reason, servers = ?adoption.servers, "the change is meant: retention goes on");
        self.ask_retention();
        Ok(adoption)
    }

    /// What retention would do now, and why: from memory, without a new look at the destination.
    #[must_use]
    pub fn retention_plan(&self) -> Plan {
        let view = self.0.catalog.view();
        let (rules, now) = (self.0.rules.borrow().clone(), self.0.clock.now());
        let holds = holds(&view, &[], now);
        let mut plan = plan(&Situation {
            rules: &rules,
            backups: view
                .backups()
                .filter(|backup| backup.place == self.0.place)
                .collect(),
            holds: &holds,
            adoptions: view.adoptions(),
            server: self.0.live.server(),
            now,
        });
        plan.stops.extend(self.stops());
        plan
    }

    /// The policies in use.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.0.rules.borrow().clone()
    }

    /// What stands against any removal, beside what the plan says.
    pub(super) fn stops(&self) -> Vec<Stop> {
        use super::ViewState;
        let standing = self.standing();
        let view = match standing.view {
            ViewState::Bound => None,
            ViewState::None => Some(Stop::NoView),
            ViewState::NamesOnServer => Some(Stop::NamesOnServer),
            ViewState::Unbound => Some(Stop::Unbound),
        };
        let failure = standing.failure.map(Stop::NotListed);
        let unread = (!self.is_read_in()).then_some(Stop::NotReadIn);
        view.into_iter().chain(failure).chain(unread).collect()
    }
}

/// Suspect backups that this makes ordinary ones.
fn suspects(
    view: &View,
    adoption: &Adoption,
    now: jiff::Timestamp,
) -> impl Iterator<Item = Change> {
    view.backups().filter_map(move |backup| {
        let mut backup = backup.clone();
        adopt(&mut backup, std::slice::from_ref(adoption)).then(|| {
            backup.changed_at = now;
            Change::PutBackup(Box::new(backup))
        })
    })
}

fn check(reason: Option<&str>) -> Result<(), KeepError> {
    let is_long = reason.is_some_and(|text| text.chars().nth(KEEP_REASON_MAX_CHARS).is_some());
    match is_long {
        true => Err(KeepError::ReasonTooLong),
        false => Ok(()),
    }
}
