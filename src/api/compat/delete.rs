//! `POST /backup/delete/{where}/{name}` and the clean family: removals that a caller asks for.
//!
//! The name is hidden at once. The answer comes when the last object is gone, or after 20 s with the
//! rest going on in the background.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Refusal};
use super::arguments::{Argument, Arguments, backup_name, shown, truth};
use super::kill::{End, WAIT};
use super::list::must_be_read_in;
use crate::api::ApiState;
use crate::backup::BackupName;
use crate::operation::{DeleteCause, ItemState, Operation, State as OperationState, Work};
use crate::worker::RemovalError;

const DELETE: &str = "delete";
/// Where a backup can be said to lie: ours are all in one place, which that server called `local`, and
/// a script may mean the same by the other word.
const LOCATIONS: [&str; 2] = ["local", "remote"];
/// What the query takes.
const QUERY: &[Argument] = &[Argument::value("force", &[])];
/// What the command takes.
pub(super) const OPTIONS: &[Argument] = &[Argument::flag("force", &["f"])];

/// A removal that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Removal {
    location: &'static str,
    name: BackupName,
    force: bool,
}

/// What came of a removal, or how far it is.
#[derive(Serialize)]
struct Deleted<'a> {
    status: &'static str,
    operation: &'static str,
    backup_name: &'a str,
    location: &'static str,
    /// What was built on it and went with it, as `force` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_deleted: Vec<&'a str>,
    /// Only where it goes on: that server never gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<String>,
}

#[derive(Serialize)]
struct Cleaned {
    status: &'static str,
    operation: &'static str,
}

/// `force=1` takes along what is built on it.
pub(in crate::api) async fn delete(
    State(state): State<ApiState>,
    Path((location, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let arguments = Arguments::from_query(DELETE, query.as_deref(), QUERY)?;
    let force = arguments.value("force").map(|text| {
        truth(text).ok_or_else(|| {
            let text = format!("force={:?} is neither 1 nor 0", shown(text));
            Refusal::bad_request(DELETE, text)
        })
    });
    let wanted = removal(&location, &name, force.transpose()?.unwrap_or(false))?;
    let (removed, end) = wanted.run(&state, None, Instant::now() + WAIT).await?;
    let name = wanted.name.as_str();
    let goes_on = (end == End::Awaited).then(|| removed.id.to_string());
    Ok(answer::row(&Deleted {
        status: end.as_str(),
        operation: DELETE,
        backup_name: name,
        location: wanted.location,
        also_deleted: taken_along(&removed),
        operation_id: goes_on,
    }))
}

/// There is no `shadow` folder here; what a native BACKUP leaves behind is the remains of attempts that
/// died, so all three words mean those.
pub(in crate::api) async fn clean(State(state): State<ApiState>) -> Result<Response, Refusal> {
    cleaned(&state, "clean").await
}

pub(in crate::api) async fn clean_remote_broken(
    State(state): State<ApiState>,
) -> Result<Response, Refusal> {
    cleaned(&state, "clean_remote_broken").await
}

pub(in crate::api) async fn clean_local_broken(
    State(state): State<ApiState>,
) -> Result<Response, Refusal> {
    cleaned(&state, "clean_local_broken").await
}

async fn cleaned(state: &ApiState, operation: &'static str) -> Result<Response, Refusal> {
    let end = run_clean(
        state,
        operation,
        operation.to_owned(),
        Instant::now() + WAIT,
    )
    .await?;
    Ok(answer::row(&Cleaned {
        status: end.as_str(),
        operation,
    }))
}

/// Removes all remains, and waits for the end until `deadline`.
pub(super) async fn run_clean(
    state: &ApiState,
    operation: &'static str,
    command: String,
    deadline: Instant,
) -> Result<End, Refusal> {
    must_be_read_in(state, operation)?;
    let begun = state.worker.clean(command).await;
    let begun = begun.map_err(|error| refused(operation, "local", &error))?;
    let (_, end) = ended(state, operation, begun, deadline).await?;
    Ok(end)
}

/// What is asked for, with a place and a name that can exist.
pub(super) fn removal(location: &str, name: &str, force: bool) -> Result<Removal, Refusal> {
    let known = LOCATIONS.into_iter().find(|known| *known == location);
    let location = known.ok_or_else(|| {
        let text = "backup location must be 'local' or 'remote'";
        Refusal::bad_request(DELETE, text)
    })?;
    Ok(Removal {
        location,
        name: backup_name(DELETE, name)?,
        force,
    })
}

/// The history text, as the server we replace composed it.
pub(in crate::api) fn command(location: &str, name: &str, force: bool) -> String {
    let force = if force { " --force" } else { "" };
    format!("delete {location} {name}{force}")
}

impl Removal {
    /// Removes it, and waits for the end until `deadline`; the history keeps `text`, if the caller
    /// wrote one.
    pub(super) async fn run(
        &self,
        state: &ApiState,
        text: Option<&str>,
        deadline: Instant,
    ) -> Result<(Arc<Operation>, End), Refusal> {
        must_be_read_in(state, DELETE)?;
        let command = text.map_or_else(
            || command(self.location, self.name.as_str(), self.force),
            ToOwned::to_owned,
        );
        let begun = match state.worker.remove(&self.name, self.force, command).await {
            Ok(begun) | Err(RemovalError::Active(_, begun)) => begun,
            Err(error) => return Err(refused(DELETE, self.location, &error)),
        };
        let also = taken_along(&begun);
        if !also.is_empty() {
            tracing::info!(
                backup = %self.name,
                also = also.join(", "),
                "removing {} and the {} built on it, as forced",
                self.name,
                also.len()
            );
        }
        ended(state, DELETE, begun, deadline).await
    }
}

/// What goes with the backup that a caller named, which is the last item: what is built on it goes first.
/// Its name may be another than the one that was asked for.
fn taken_along(removal: &Operation) -> Vec<&str> {
    let of_caller = matches!(
        &removal.work,
        Work::Delete(work) if work.cause == DeleteCause::Caller
    );
    let (Some((_, along)), true) = (removal.items.split_last(), of_caller) else {
        return Vec::new();
    };
    along.iter().map(|item| item.backup.as_str()).collect()
}

/// A removal that was refused, in the words of the old server where it had any.
fn refused(operation: &'static str, location: &str, error: &RemovalError) -> Refusal {
    let conflict = |text: String| Refusal::new(StatusCode::CONFLICT, operation, text);
    match error {
        RemovalError::NotFound(name) => Refusal::not_found(
            operation,
            format!("'{name}' is not found on {location} storage"),
        ),
        RemovalError::HasDependents { name, dependents } => {
            let dependents: Vec<&str> = dependents.iter().map(BackupName::as_str).collect();
            conflict(format!(
                "'{name}' is required by {location} backup(s) {}; delete those first, or say force=1 to delete them along",
                dependents.join(", ")
            ))
        }
        RemovalError::NoView(_) | RemovalError::Held { .. } | RemovalError::Active(..) => {
            conflict(error.to_string())
        }
        RemovalError::Catalog(error) => Refusal::internal(operation, error),
    }
}

/// Waits for the end of a removal until `deadline`. An end without everything gone is an error.
async fn ended(
    state: &ApiState,
    operation: &'static str,
    begun: Arc<Operation>,
    deadline: Instant,
) -> Result<(Arc<Operation>, End), Refusal> {
    let id = begun.id;
    let mut views = state.catalog.subscribe();
    let over = views.wait_for(|view| {
        let found = view.operation(id);
        found.is_none_or(|operation| operation.state.is_terminal())
    });
    let last = match timeout_at(deadline, over).await {
        Ok(Ok(view)) => view.operation(id).cloned(),
        Ok(Err(_)) | Err(_) => return Ok((begun, End::Awaited)),
    };
    // The history may have forgotten it by now; then it did end.
    let last = last.unwrap_or(begun);
    match not_done(&last) {
        None => Ok((last, End::Over)),
        Some(text) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            operation,
            text,
        )),
    }
}

/// Why not everything is gone, where it is not.
fn not_done(removal: &Operation) -> Option<String> {
    let left = removal.items.iter().find_map(|item| match &item.state {
        ItemState::Left { reason } => Some(format!("{} was left: {reason}", item.backup)),
        ItemState::Waiting | ItemState::Begun | ItemState::Done { .. } => None,
    });
    match (removal.state, &removal.failure) {
        (OperationState::Succeeded, _) => left,
        (_, Some(failure)) => Some(format!("{}; {}", failure.message, failure.kind.hint())),
        (state, None) => Some(left.unwrap_or_else(|| format!("it ended {}", state.as_str()))),
    }
}

#[cfg(test)]
mod tests;
