//! Removing what is left of a backup's folder once its manifest is gone.

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::error::Error;
use super::store::{DELETE_REQUEST_KEYS_MAX, Entry, Store};
use super::{LOCK, MANIFEST};

/// Objects that are listed before they are deleted: some 20 MB.
/// A larger folder takes several rounds; stores list in order, and both marks begin with a dot.
const ROUND_OBJECTS_MAX: usize = 100_000;
/// Bulk deletes in flight.
const REQUESTS_AT_ONCE: usize = 4;
/// Rounds that deleted less than they found, or found less than a full round, before we give up:
/// something refuses to go, or somebody goes on writing.
const SHORT_ROUNDS_MAX: usize = 5;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Objects that are gone.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why it stopped before the folder was empty.
    pub interrupted: Option<String>,
}

/// Deletes everything in the folder, and looks again until nothing is there.
/// Stops before it deletes anything of a round in which a manifest or a lock is found: then this is
/// somebody's backup again.
pub async fn clear(
    store: &Store,
    folder: &str,
    keep_going: impl Fn() -> bool,
) -> Result<Cleared, Error> {
    let mut cleared = Cleared::default();
    let mut short_rounds = 0;
    loop {
        let round = Round::list(store, folder).await?;
        if let Some(mark) = round.mark {
            cleared.interrupted = Some(format!("{} is there (again)", store.shown(&mark)));
            return Ok(cleared);
        }
        if round.entries.is_empty() {
            store.remove_empty_folders(folder).await?;
            return match round.unnameable {
                Some(what) => Err(unnameable(what)),
                None => Ok(cleared),
            };
        }
        let failed = match delete(store, folder, &round.entries, &keep_going, &mut cleared).await? {
            Ended::Interrupted => {
                cleared.interrupted = Some("it was asked to stop".to_owned());
                return Ok(cleared);
            }
            Ended::Done(failed) => failed,
        };
        if failed.is_some() || round.entries.len() < ROUND_OBJECTS_MAX {
            short_rounds += 1;
        }
        match failed {
            Some(error @ Error::Denied { .. }) => return Err(error),
            Some(error) if short_rounds >= SHORT_ROUNDS_MAX => return Err(error),
            None if short_rounds >= SHORT_ROUNDS_MAX => {
                let left = round.entries.first().map(|entry| entry.key.as_str());
                return Err(Error::Unavailable {
                    doing: format!("deleting {}", store.shown(folder)),
                    text: format!(
                        "objects are there again after {SHORT_ROUNDS_MAX} rounds, such as {}; somebody writes into it, or their names cannot be deleted",
                        left.unwrap_or_default()
                    ),
                });
            }
            _ => {}
        }
    }
}

fn unnameable(what: String) -> Error {
    Error::Invalid {
        what,
        text: "an object of this name, with a slash at its end, cannot be deleted by the daemon; \
               all others of its folder are gone, delete this one by hand"
            .to_owned(),
    }
}

#[derive(Default)]
struct Round {
    entries: Vec<Entry>,
    /// A manifest or a lock.
    mark: Option<String>,
    /// `<folder>/` itself, as an object.
    unnameable: Option<String>,
}

impl Round {
    async fn list(store: &Store, folder: &str) -> Result<Self, Error> {
        let mut round = Self::default();
        store
            .walk(folder, |entry| {
                if entry.key == MANIFEST || entry.key == LOCK {
                    round.mark = Some(format!("{folder}/{}", entry.key));
                } else if entry.key.is_empty() {
                    round.unnameable = Some(format!("{}/", store.shown(folder)));
                } else {
                    round.entries.push(entry);
                }
                round.mark.is_none() && round.entries.len() < ROUND_OBJECTS_MAX
            })
            .await?;
        Ok(round)
    }
}

enum Ended {
    /// With the first failure, if there was one.
    Done(Option<Error>),
    /// The caller wants no more of it.
    Interrupted,
}

async fn delete(
    store: &Store,
    folder: &str,
    entries: &[Entry],
    keep_going: &impl Fn() -> bool,
    cleared: &mut Cleared,
) -> Result<Ended, Error> {
    let (mut failed, mut is_interrupted) = (None, false);
    let mut chunks = entries.chunks(DELETE_REQUEST_KEYS_MAX);
    let mut flying = FuturesUnordered::new();
    loop {
        while flying.len() < REQUESTS_AT_ONCE
            && !is_interrupted
            && let Some(chunk) = chunks.next()
        {
            is_interrupted = !keep_going();
            if !is_interrupted {
                flying.push(store.delete_many(folder, chunk));
            }
        }
        let Some(deleted) = flying.next().await else {
            break;
        };
        let deleted = deleted?;
        cleared.objects += deleted.objects;
        cleared.bytes = cleared.bytes.saturating_add(deleted.bytes);
        failed = failed.or(deleted.failed);
    }
    if is_interrupted {
        Ok(Ended::Interrupted)
    } else {
        Ok(Ended::Done(failed))
    }
}
