//! What is known about a backup beside what it holds: was it read, proved, pinned, is it going.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Backup, BackupName};

/// The manifest of a backup, as it was read in the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSeen {
    /// Its `uuid`: another one under the same name is another backup.
    pub uuid: String,
    /// When it was read.
    pub read_at: Timestamp,
}

/// How deep a proof looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofLevel {
    /// Every file of the manifest is there with its size, through the whole chain.
    Files,
}

impl ProofLevel {
    /// The word used in the API and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
        }
    }
}

/// One proof of a backup: what was looked for, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How deep it looked.
    pub level: ProofLevel,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took_ms: u64,
    /// What came of it.
    pub outcome: ProofOutcome,
    /// Files that were looked for, through the whole chain.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What came of a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofOutcome {
    /// Nothing is missing.
    Passed,
    /// Something is missing or has another size.
    Damaged {
        /// How many files.
        count: u64,
        /// The first of them.
        first: Vec<Missing>,
    },
}

/// A file that a manifest names and that is not there as it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The backup of the chain in whose folder it belongs.
    pub backup: String,
    /// The file, as it lies in that folder; `.backup` for a manifest that cannot be read.
    pub file: String,
    /// The size that the manifest names; a manifest has none.
    pub size_wanted: Option<u64>,
    /// The size that was found; `None`: it is not there.
    pub size_found: Option<u64>,
    /// What is wrong, in words.
    pub problem: String,
}

impl Proof {
    /// Damaged files named in a proof at most; the count goes on.
    pub const MISSING_MAX: usize = 20;

    /// Whether it passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.outcome == ProofOutcome::Passed
    }
}

/// Somebody wants a backup kept, whatever the policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Since when.
    pub at: Timestamp,
    /// Who asked for it: the user of the API, where it has users.
    pub by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// Why a backup looks like that of an emptied server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// `tables` or `bytes`.
    pub measure: String,
    /// What the backup has of it.
    pub found: u64,
    /// The median of the backups before it.
    pub usual: u64,
    /// When somebody said that the change is meant: from then on it is an ordinary backup.
    #[serde(default)]
    pub adopted_at: Option<Timestamp>,
}

impl std::fmt::Display for Suspicion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            measure,
            found,
            usual,
            adopted_at: _,
        } = self;
        write!(f, "{found} {measure}, where {usual} are usual")
    }
}

/// A removal that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleting {
    /// The operation that removes it.
    pub operation: Uuid,
    /// Since when.
    pub since: Timestamp,
}

/// What can be said about a backup in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its manifest was read; nothing speaks against it.
    Complete,
    /// Its manifest was never read by us: only the server's word says that it is there.
    Unproven,
    /// It looks like the backup of an emptied server.
    Suspect,
    /// A proof found something missing.
    Damaged,
    /// A folder without a manifest, left by a dead attempt.
    Broken,
    /// It is being removed.
    Deleting,
    /// It is no longer in the destination.
    Gone,
}

impl Status {
    /// The word used in the API and the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unproven => "unproven",
            Self::Suspect => "suspect",
            Self::Damaged => "damaged",
            Self::Broken => "broken",
            Self::Deleting => "deleting",
            Self::Gone => "gone",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Backup {
    /// The one word; the graver one where two are true.
    #[must_use]
    pub fn status(&self) -> Status {
        if self.deleting.is_some() {
            Status::Deleting
        } else if self.gone_since.is_some() {
            Status::Gone
        } else if self.is_damaged() {
            Status::Damaged
        } else if self.is_suspect() {
            Status::Suspect
        } else if self.manifest.is_none() {
            Status::Unproven
        } else {
            Status::Complete
        }
    }

    /// Whether it can be restored as far as we know: neither being removed nor gone.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.deleting.is_none() && self.gone_since.is_none()
    }

    /// Whether it looks like the backup of an emptied server, and nobody said that this is meant.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        let suspicion = self.suspect.as_ref();
        suspicion.is_some_and(|suspicion| suspicion.adopted_at.is_none())
    }

    /// Whether the latest proof of any level found damage.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.proofs.iter().any(|proof| !proof.passed())
    }

    /// Whether it was proved, and no later proof says otherwise.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        let latest = self.proofs.iter().max_by_key(|proof| proof.at);
        latest.is_some_and(Proof::passed)
    }

    /// The latest proof of a level.
    #[must_use]
    pub fn proof(&self, level: ProofLevel) -> Option<&Proof> {
        self.proofs.iter().find(|proof| proof.level == level)
    }

    /// Puts a proof in the place of the one of its level.
    pub fn set_proof(&mut self, proof: Proof) {
        self.proofs.retain(|other| other.level != proof.level);
        self.proofs.push(proof);
    }

    /// The name of the schedule that asked for it.
    #[must_use]
    pub fn schedule(&self) -> Option<&str> {
        match &self.origin {
            super::Origin::Schedule { schedule, .. } => Some(schedule),
            super::Origin::Client | super::Origin::Foreign => None,
        }
    }

    /// Its slot, or when it was made.
    #[must_use]
    pub fn slot_or_creation(&self) -> Timestamp {
        match &self.origin {
            super::Origin::Schedule { slot, .. } => *slot,
            super::Origin::Client | super::Origin::Foreign => self.created_at,
        }
    }

    /// Whether it needs this one, directly.
    #[must_use]
    pub fn is_built_on(&self, name: &BackupName) -> bool {
        self.base.as_ref() == Some(name)
    }
}
