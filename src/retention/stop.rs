//! Why nothing at all is removed, though lines of the plan say so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uuid::Uuid;

use super::plan::newest_first;
use super::suspicion::is_adopted;
use super::{Adoption, Situation};
use crate::backup::{Backup, BackupName, Suspicion};

/// Most servers that a sentence names.
const NAMED_MAX_SERVERS: usize = 4;

/// Why nothing at all is removed. `Display` is what people read, with what they can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The newest backup of a schedule looks like that of an emptied server.
    Suspect {
        /// The backup.
        backup: BackupName,
        /// Why.
        suspicion: Suspicion,
    },
    /// Backups of more than one server lie there, and nobody has said that this is meant.
    OtherServer {
        /// The servers that are known to be meant.
        known: Vec<Uuid>,
        /// Those that are not.
        found: Vec<Uuid>,
    },
    /// There is no `destination.url`, so nothing can be removed.
    NoView,
    /// The disk keeps names on the server: nothing in the bucket can be told apart.
    NamesOnServer,
    /// No manifest that this server wrote was read through the view yet.
    Unbound,
    /// The destination could not be listed.
    NotListed(String),
    /// What lies in the destination has not been read in yet.
    NotReadIn,
}

impl Stop {
    /// Every word that [`Stop::kind`] gives.
    pub const KINDS: [&str; 7] = [
        "suspect",
        "other_server",
        "no_view",
        "names_on_server",
        "unbound",
        "not_listed",
        "not_read_in",
    ];

    /// The word used in the metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Suspect { .. } => "suspect",
            Self::OtherServer { .. } => "other_server",
            Self::NoView => "no_view",
            Self::NamesOnServer => "names_on_server",
            Self::Unbound => "unbound",
            Self::NotListed(_) => "not_listed",
            Self::NotReadIn => "not_read_in",
        }
    }
}

/// The stops that follow from the backups; those that follow from the destination are the caller's.
pub(super) fn stops(situation: &Situation<'_>) -> Vec<Stop> {
    let visible: Vec<&Backup> = situation
        .backups
        .iter()
        .copied()
        .filter(|backup| backup.is_visible())
        .collect();
    let mut stops = emptied(&visible, situation.adoptions);
    stops.extend(other_server(&visible, situation));
    stops
}

fn emptied(visible: &[&Backup], adoptions: &[Adoption]) -> Vec<Stop> {
    let mut newest: BTreeMap<&str, &Backup> = BTreeMap::new();
    for &backup in visible {
        if let Some(schedule) = backup.schedule() {
            let best = newest.entry(schedule).or_insert(backup);
            if newest_first(backup) < newest_first(best) {
                *best = backup;
            }
        }
    }
    let suspect = newest.into_values().filter_map(|backup| {
        let suspicion = backup.suspect.clone()?;
        (backup.is_suspect() && !is_adopted(backup, adoptions)).then(|| Stop::Suspect {
            backup: backup.name.clone(),
            suspicion,
        })
    });
    suspect.collect()
}

/// Without an adoption the oldest backup says which server is meant: a new volume under the same
/// prefix is then the other one, however many backups it has made since.
fn other_server(visible: &[&Backup], situation: &Situation<'_>) -> Option<Stop> {
    let meant = situation
        .adoptions
        .iter()
        .max_by_key(|adoption| adoption.at);
    let meant = meant.filter(|adoption| !adoption.servers.is_empty());
    let known: BTreeSet<Uuid> = match meant {
        Some(adoption) => adoption.servers.iter().copied().collect(),
        None => {
            let with_server = visible.iter().filter(|backup| backup.server.is_some());
            let oldest = with_server.max_by_key(|backup| newest_first(backup));
            oldest
                .and_then(|backup| backup.server)
                .into_iter()
                .collect()
        }
    };
    let there = visible.iter().filter_map(|backup| backup.server);
    let found: BTreeSet<Uuid> = there
        .chain(situation.server)
        .filter(|server| !known.contains(server))
        .collect();
    // Where no server is known to be meant, there is nothing to compare with.
    (!known.is_empty() && !found.is_empty()).then(|| Stop::OtherServer {
        known: known.into_iter().collect(),
        found: found.into_iter().collect(),
    })
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspect { backup, suspicion } => write!(
                f,
                "{backup} looks like the backup of an emptied server ({suspicion}): nothing is removed \
                 until `clickhouse-backupd retention adopt` says that the change is meant"
            ),
            Self::OtherServer { known, found } => write!(
                f,
                "backups are made by server {} where those of server {} lie: nothing is removed until \
                 `clickhouse-backupd retention adopt` says that they belong together, or each has a \
                 place of its own",
                Servers(found),
                Servers(known),
            ),
            Self::NoView => f.write_str(
                "there is no `destination.url`, so nothing can be listed or removed: set it to the place \
                 that `destination.disk` or `destination.collection` writes to",
            ),
            Self::NamesOnServer => f.write_str(
                "the disk keeps the names of its objects on the server, and nothing in the bucket can be \
                 told apart, so nothing is removed: write to a disk of type `s3_plain` or to a named \
                 collection, which `clickhouse-backupd config check --connect` prints",
            ),
            Self::Unbound => f.write_str(
                "no manifest that this server wrote was found at `destination.url` yet, so it may be the \
                 wrong place and nothing is removed: check `destination.url`, and make a backup if none \
                 was made yet",
            ),
            Self::NotListed(error) => write!(
                f,
                "the destination could not be listed, so nothing is removed until it can: {error}"
            ),
            Self::NotReadIn => f.write_str(
                "what lies in the destination was not read in yet, so nothing is removed until it was: \
                 wait, or look in the log for what stands in the way",
            ),
        }
    }
}

/// Servers in a sentence.
struct Servers<'a>(&'a [Uuid]);

impl fmt::Display for Servers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.iter().take(NAMED_MAX_SERVERS);
        let named: Vec<String> = named.map(Uuid::to_string).collect();
        f.write_str(&named.join(", "))?;
        match self.0.len().saturating_sub(NAMED_MAX_SERVERS) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
