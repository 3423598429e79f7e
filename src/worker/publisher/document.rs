//! What we publish in the destination: one document for each backup, and one for the rest.
//!
//! `format` counts what a reader must understand. A newer one is left alone; fields that are not known
//! are passed over, and fields that are missing have a default, so a format lasts.

use std::collections::{BTreeMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backup::{Backup, BackupName, Contents};
use crate::catalog::{LastSlot, View};
use crate::operation::{Operation, State};
use crate::retention::Adoption;
use crate::schedule::{Pause, ScheduleName};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// Newest operations in `state.json`; the last success and the last failure of each schedule are there
/// in any case, and so is whatever has not ended.
pub const STATE_MAX_OPERATIONS: usize = 200;
/// The file of everything that is no backup.
pub const STATE_FILE: &str = "state.json";
/// The file of a backup that is named `state`: no backup's name begins with a hyphen.
const STATE_SIDECAR: &str = "-state.json";
const EXTENSION: &str = ".json";

/// What is published of one backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// See [`FORMAT`].
    pub format: u32,
    /// The version that wrote it.
    #[serde(default)]
    pub version: String,
    /// The record; one with `deleting` is being removed.
    pub backup: Backup,
    /// What it holds, where that was written down.
    #[serde(default)]
    pub contents: Option<Contents>,
}

/// What is published of everything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateFile {
    /// See [`FORMAT`].
    pub format: u32,
    /// The version that wrote it.
    #[serde(default)]
    pub version: String,
    /// The ClickHouse server that it was about, where that was known.
    #[serde(default)]
    pub server: Option<Uuid>,
    /// Operations by number, oldest first.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// Schedules that rest.
    #[serde(default)]
    pub pauses: BTreeMap<ScheduleName, Pause>,
    /// Changes that somebody said are meant, oldest first.
    #[serde(default)]
    pub adoptions: Vec<Adoption>,
    /// How far schedules have come.
    #[serde(default)]
    pub last_slots: BTreeMap<ScheduleName, LastSlot>,
}

/// A document that is not what this version can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// A later version wrote it.
    #[error("it has format {0}, and this version knows {FORMAT}: use the newer version")]
    Newer(u32),
    /// It cannot be read.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

#[derive(Deserialize)]
struct Envelope {
    format: u32,
}

impl Sidecar {
    /// Of a backup as it is now.
    #[must_use]
    pub fn new(backup: Backup, contents: Option<Contents>) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            backup,
            contents,
        }
    }

    /// Reads the file of the backup `name`.
    ///
    /// # Errors
    /// See [`DocumentError`]; one that is about another backup is damaged.
    pub fn read(name: &BackupName, bytes: &[u8]) -> Result<Self, DocumentError> {
        let sidecar: Self = read(bytes)?;
        if sidecar.backup.name == *name {
            Ok(sidecar)
        } else {
            let text = format!("it is about the backup {}", sidecar.backup.name);
            Err(DocumentError::Damaged(text))
        }
    }
}

impl StateFile {
    /// Of our memory as it is now.
    #[must_use]
    pub fn of(view: &View, server: Option<Uuid>) -> Self {
        let pauses = view.pauses();
        let last_slots = view.last_slots();
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            server,
            operations: worth_telling(view),
            pauses: pauses
                .map(|(name, pause)| (name.clone(), pause.clone()))
                .collect(),
            adoptions: view.adoptions().to_vec(),
            last_slots: last_slots
                .map(|(name, last)| (name.clone(), last.clone()))
                .collect(),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        read(bytes)
    }
}

/// The file of a backup.
#[must_use]
pub fn sidecar_file(name: &BackupName) -> String {
    let file = format!("{name}{EXTENSION}");
    if file == STATE_FILE {
        STATE_SIDECAR.to_owned()
    } else {
        file
    }
}

/// The backup that a file of ours is about; `None` for any other file.
#[must_use]
pub fn backup_of(file: &str) -> Option<BackupName> {
    match file {
        STATE_FILE => None,
        STATE_SIDECAR => BackupName::parse("state").ok(),
        _ => BackupName::parse(file.strip_suffix(EXTENSION)?).ok(),
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DocumentError> {
    let damaged = |error: serde_json::Error| DocumentError::Damaged(error.to_string());
    // The format first: what a newer one means by a known field is not known.
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(damaged)?;
    if envelope.format > FORMAT {
        return Err(DocumentError::Newer(envelope.format));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// The newest operations, those that have not ended, and what schedules are judged by.
fn worth_telling(view: &View) -> Vec<Operation> {
    let mut told: HashSet<(&ScheduleName, State)> = HashSet::new();
    let mut chosen = Vec::new();
    for (position, operation) in view.operations().rev().enumerate() {
        let ended = operation.state;
        let is_last = matches!(ended, State::Succeeded | State::Failed)
            && operation
                .schedule()
                .is_some_and(|schedule| told.insert((schedule, ended)));
        if position < STATE_MAX_OPERATIONS || is_last || !ended.is_terminal() {
            chosen.push(operation.as_ref().clone());
        }
    }
    chosen.reverse();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_is_told_from_the_name_of_its_backup_and_back() {
        for name in ["2026-11-22", "state", "a.json", "state.json", "_", "x.2"] {
            let name = BackupName::parse(name).unwrap();
            let file = sidecar_file(&name);
            assert_ne!(file, STATE_FILE);
            assert_eq!(backup_of(&file), Some(name));
        }
        for other in [
            STATE_FILE,
            "probe",
            ".json",
            "-x.json",
            "a/b.json",
            "x.json.tmp",
        ] {
            assert_eq!(backup_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_newer_or_damaged_document_says_so() {
        assert_eq!(
            StateFile::read(br#"{"format":2,"operations":"of another kind"}"#),
            Err(DocumentError::Newer(2))
        );
        for damaged in [
            "",
            "{}",
            "[]",
            "{\"format\":1,\"pauses\":3}",
            "{\"format\":\"1\"}",
        ] {
            let error = StateFile::read(damaged.as_bytes()).unwrap_err();
            assert!(matches!(error, DocumentError::Damaged(_)), "{damaged}");
        }
        let more = StateFile::read(br#"{"format":1,"what a later version adds":[1]}"#).unwrap();
        assert_eq!(more.operations, Vec::new());
    }

    proptest! {
        #[test]
        fn two_names_never_share_a_file(one in "[A-Za-z0-9_][A-Za-z0-9._-]{0,9}", two in "[A-Za-z0-9_][A-Za-z0-9._-]{0,9}") {
            let [one, two] = [one, two].map(|name| BackupName::parse(&name).unwrap());
            prop_assert_eq!(one == two, sidecar_file(&one) == sidecar_file(&two));
            prop_assert_eq!(backup_of(&sidecar_file(&one)), Some(one));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = StateFile::read(&bytes);
            let _ = Sidecar::read(&BackupName::parse("x").unwrap(), &bytes);
        }
    }
}
