//! What a server has that no backup can hold, and that a restore elsewhere needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was on the server when a backup was made, by name only: definitions may hold passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// `version()`; empty where the server did not tell.
    pub version: String,
    /// Storage policies of its configuration, without `default`, with the disks of each.
    pub storage_policies: BTreeMap<String, Vec<String>>,
    /// Macros of its configuration, such as `{shard}` and `{replica}`, with their values.
    pub macros: BTreeMap<String, String>,
    /// Named collections that we may see.
    pub named_collections: Vec<String>,
    /// Dictionaries of its configuration: those made by SQL are tables, and lie in the backup.
    pub dictionaries: Vec<String>,
    /// What could not be asked, and why.
    pub unknown: Vec<String>,
}
