//! What can be asked of a backup: its removal, a pin, a proof.
#![allow(
    unused_qualifications,
    reason = "utoipa's macro writes paths out in full"
)]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::backup::{Backup, PinRequest, VerifyLevelRequest};
use super::super::document::{Authenticated, Conflict, NotFound};
use super::super::error::{ErrorKind, Problem};
use super::super::input::{Arguments, Body, Named, backup_name};
use super::super::operation::Operation;
use super::super::operations::accepted;
use super::super::retentions::not_kept;
use super::super::text::BackupName;
use super::{Dependents, unknown};
use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::backup as domain;
use crate::operation::{self, Selection, VerifyWork, Work};
use crate::worker::{RemovalError, Request, SubmitError, Submitted};

/// How a backup is removed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Removal {
    /// Also what is built on it, directly and through others.
    #[serde(default)]
    force: bool,
}

/// Removes a backup, or the remains of a broken one: the name is hidden when this answers, the objects
/// go in the background.
#[utoipa::path(delete, path = "/api/v1/backups/{name}", tag = "backups",
    params(("name" = BackupName, Path, description = "Its name."), Removal),
    responses((status = 202, description = "It is being removed; or it was already, and this is the operation.",
            body = Operation, headers(("Location" = String, description = "Where to watch it."))),
        NotFound, Conflict, Authenticated))]
pub(in crate::api) async fn remove(
    State(state): State<ApiState>,
    Named(name): Named,
    Arguments(Removal { force }): Arguments<Removal>,
) -> Result<Response, Problem> {
    let name = backup_name(&name)?;
    let removing = state.removed(&name, force).await?;
    Ok(accepted(&state, &removing))
}

/// Pins a backup: neither retention nor `force` removes it until it is unpinned.
#[utoipa::path(post, path = "/api/v1/backups/{name}/pin", tag = "backups",
    params(("name" = BackupName, Path, description = "Its name.")),
    request_body(content = Option<PinRequest>, examples(
        ("reason" = (summary = "With a reason", value = json!({"reason": "the audit needs it"}))),
    )),
    responses((status = 200, description = "It is pinned.", body = Backup), NotFound, Authenticated))]
pub(in crate::api) async fn pin(
    State(state): State<ApiState>,
    Named(name): Named,
    caller: Caller,
    Body(wanted): Body<Option<PinRequest>>,
) -> Result<Json<Backup>, Problem> {
    let reason = wanted.unwrap_or_default().reason;
    state.pinned(&name, true, caller, reason).await
}

/// Lets a pinned backup go again; one that is not pinned stays as it is.
#[utoipa::path(post, path = "/api/v1/backups/{name}/unpin", tag = "backups",
    params(("name" = BackupName, Path, description = "Its name.")),
    responses((status = 200, description = "It is not pinned.", body = Backup), NotFound, Authenticated))]
pub(in crate::api) async fn unpin(
    State(state): State<ApiState>,
    Named(name): Named,
    caller: Caller,
) -> Result<Json<Backup>, Problem> {
    state.pinned(&name, false, caller, None).await
}

/// Proves a backup: that every file of its manifest, and of those it is built on, is there.
#[utoipa::path(post, path = "/api/v1/backups/{name}/verify", tag = "backups",
    params(("name" = BackupName, Path, description = "Its name.")),
    request_body(content = Option<VerifyLevelRequest>, examples(
        ("files" = (summary = "Every file is there with its size", value = json!({"level": "files"}))),
    )),
    responses((status = 202, description = "Accepted; what comes of it is the operation's end, and among the backup's proofs.",
            body = Operation, headers(("Location" = String, description = "Where to watch it."))),
        NotFound, Conflict, super::super::document::Busy, Authenticated))]
pub(in crate::api) async fn verify(
    State(state): State<ApiState>,
    Named(name): Named,
    Body(wanted): Body<Option<VerifyLevelRequest>>,
) -> Result<Response, Problem> {
    let name = backup_name(&name)?;
    let level = wanted.unwrap_or_default().level;
    let proving = state.proving(&name, level.into()).await?;
    Ok(accepted(&state, &proving))
}

/// A removal that was refused, with what to do about it.
pub(in crate::api::v1) fn not_removed(error: &RemovalError) -> Problem {
    let text = error.to_string();
    let conflict = |hint: String| Problem::new(ErrorKind::Conflict, text.clone(), hint);
    match error {
        RemovalError::NotFound(name) => unknown(name),
        RemovalError::NoView(_) => conflict(
            "removing needs destination.url and a listing that works: clickhouse-backupd status shows both"
                .to_owned(),
        ),
        RemovalError::HasDependents { name, dependents } => conflict(format!(
            "to remove it with the {} built on it: clickhouse-backupd backup delete {name} --force (DELETE /api/v1/backups/{name}?force=true)",
            dependents.len()
        )),
        RemovalError::Held { name, .. } => conflict(format!(
            "wait for what works on it (clickhouse-backupd operation list), or let a pin go: clickhouse-backupd backup unpin {name}"
        )),
        RemovalError::Active(_, operation) => conflict(format!(
            "watch it with: clickhouse-backupd operation show {}",
            operation.id
        )),
        RemovalError::Catalog(error) => Problem::internal("removing a backup", error),
    }
}

impl ApiState {
    /// Removes a backup; one that is being removed is answered with the operation that does.
    pub(in crate::api::v1) async fn removed(
        &self,
        name: &domain::BackupName,
        force: bool,
    ) -> Result<Arc<operation::Operation>, Problem> {
        self.must_be_read_in()?;
        let command = crate::api::compat::delete_command("local", name.as_str(), force);
        match self.worker.remove(name, force, command).await {
            Ok(removing) | Err(RemovalError::Active(_, removing)) => Ok(removing),
            Err(error) => Err(not_removed(&error)),
        }
    }

    /// Begins the proof of a backup that is there.
    pub(in crate::api::v1) async fn proving(
        &self,
        name: &domain::BackupName,
        level: domain::ProofLevel,
    ) -> Result<Arc<operation::Operation>, Problem> {
        self.must_be_read_in()?;
        let view = self.catalog.view();
        let broken = self.worker.standing().broken;
        if broken.iter().any(|broken| broken.name == *name) && view.backup(name).is_none() {
            return Err(Problem::new(
                ErrorKind::Conflict,
                format!(
                    "{name} has no manifest: it is what an attempt that died left behind, and nothing of it can be restored"
                ),
                "remove such remains with: clickhouse-backupd clean",
            ));
        }
        let backup = view.backup(name).ok_or_else(|| unknown(name))?;
        if !self.worker.has_view() {
            return Err(Problem::new(
                ErrorKind::Conflict,
                format!("{name} cannot be looked at: there is no destination.url"),
                "say in the configuration where the backups lie: destination.url = \"s3://bucket/path\" or \"file:///path\"",
            ));
        }
        let work = Work::Verify(VerifyWork {
            selection: Selection::One(backup.name.clone()),
            level,
        });
        let command = format!("verify {}", backup.name);
        match self
            .worker
            .submit(Request {
                work,
                command,
                callbacks: Vec::new(),
            })
            .await
        {
            Ok(Submitted::Accepted(proving) | Submitted::Active(proving)) => Ok(proving),
            Err(SubmitError::Busy { command }) => Err(Problem::new(
                ErrorKind::Busy,
                format!("too much is being proved already: {command}"),
                "ask again when some of it has ended: clickhouse-backupd operation list --kind verify",
            )),
            Err(error @ SubmitError::Catalog(_)) => {
                Err(Problem::internal("submitting a proof", &error))
            }
        }
    }

    async fn pinned(
        &self,
        name: &str,
        pinned: bool,
        caller: Caller,
        reason: Option<String>,
    ) -> Result<Json<Backup>, Problem> {
        let name = backup_name(name)?;
        self.must_be_read_in()?;
        let backup = self.worker.pin(&name, pinned, caller.0, reason).await;
        let backup = backup.map_err(|error| not_kept(&error))?;
        let view = self.catalog.view();
        let dependents = Dependents::in_view(&view).on(&backup);
        Ok(Json(Backup::of(&backup, dependents)))
    }
}
