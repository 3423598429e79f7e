//! Full or increment, and on which backup: decided before the first attempt of a scheduled backup.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::Increments;
use crate::backup::{Backup, BackupKind, BackupName, Place, Status, chain};

const DAY_SECS: u64 = 86_400;

/// What a scheduled backup becomes. The reasons are sentences for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseChoice {
    /// It stands alone.
    Full {
        /// Why.
        reason: String,
    },
    /// It is built on another one.
    On {
        /// That one.
        base: BackupName,
        /// Why.
        reason: String,
    },
}

/// Chooses the base of the backup that `schedule` makes for `slot`.
///
/// `backups` may hold anything: those that are not visible, of other schedules and places are left out.
/// `server` is the one that will make the backup; where it is not known, no backup is known to be its.
/// A zone that does not exist counts as UTC: the configuration lets none through.
#[must_use]
pub fn choose_base<'a>(
    increments: &Increments,
    schedule: &str,
    slot: Timestamp,
    place: &Place,
    server: Option<Uuid>,
    backups: impl Iterator<Item = &'a Backup>,
) -> BaseChoice {
    let there: HashMap<&BackupName, &Backup> = backups
        .filter(|backup| backup.is_visible() && backup.place == *place)
        .map(|backup| (&backup.name, backup))
        .collect();
    let choice = Choice {
        increments,
        zone: TimeZone::get(&increments.zone).unwrap_or(TimeZone::UTC),
        slot,
        server,
        there,
    };
    match choice.on(schedule) {
        Ok((base, links)) => BaseChoice::On {
            base: base.name.clone(),
            reason: format!(
                "{} is the newest proved backup of {schedule}; with this one its chain has {} backups",
                base.name,
                links + 1
            ),
        },
        Err(why) => BaseChoice::Full {
            reason: why.to_string(),
        },
    }
}

struct Choice<'a, 'b> {
    increments: &'b Increments,
    zone: TimeZone,
    slot: Timestamp,
    server: Option<Uuid>,
    there: HashMap<&'a BackupName, &'a Backup>,
}

impl<'a> Choice<'a, '_> {
    /// The base, and how many backups its chain has.
    fn on(&self, schedule: &str) -> Result<(&'a Backup, usize), WhyFull> {
        let mut newest_first: Vec<&Backup> = self
            .there
            .values()
            .copied()
            .filter(|backup| backup.schedule() == Some(schedule))
            .collect();
        newest_first.sort_by(|one, other| order(other).cmp(&order(one)));
        let fulls: Vec<&Backup> = newest_first
            .iter()
            .copied()
            .filter(|backup| self.is_good_full(backup))
            .collect();
        self.due_by_weekday(&fulls)?;
        self.due_by_age(&fulls)?;
        let mut newest_problem = None;
        for backup in newest_first {
            match self.chain_length(backup) {
                Ok(links) => return self.with_room(backup, links),
                Err(problem) => {
                    let of_newest = || (backup.name.clone(), problem);
                    newest_problem.get_or_insert_with(of_newest);
                }
            }
        }
        Err(match newest_problem {
            None => WhyFull::First {
                schedule: schedule.to_owned(),
            },
            Some((newest, problem)) => WhyFull::NoBase { newest, problem },
        })
    }

    fn date(&self, at: Timestamp) -> Date {
        at.to_zoned(self.zone.clone()).date()
    }

    /// A full one that a chain can begin with. Its proof may still be running.
    fn is_good_full(&self, backup: &Backup) -> bool {
        backup.kind == BackupKind::Full
            && backup.status() == Status::Complete
            && !backup.structure_only
            && self.is_of_this_server(backup)
    }

    fn is_of_this_server(&self, backup: &Backup) -> bool {
        self.server.is_some() && backup.server == self.server
    }

    fn due_by_weekday(&self, fulls: &[&Backup]) -> Result<(), WhyFull> {
        let date = self.date(self.slot);
        let weekday = date.weekday();
        let is_named = self
            .increments
            .full_on
            .contains(&weekday.to_monday_one_offset());
        let has_one = fulls
            .iter()
            .any(|full| self.date(full.slot_or_creation()) == date);
        if is_named && !has_one {
            return Err(WhyFull::Weekday { weekday });
        }
        Ok(())
    }

    /// Whole days are counted on the calendar, from slot to slot: otherwise the day with 23 hours would
    /// put off a weekly full one by a day, and so would every later one.
    fn due_by_age(&self, fulls: &[&Backup]) -> Result<(), WhyFull> {
        let last = fulls.iter().max_by_key(|full| full.slot_or_creation());
        let (Some(full_every), Some(last)) = (self.increments.full_every, last) else {
            return Ok(());
        };
        let last_slot = last.slot_or_creation();
        let seconds = full_every.as_secs();
        let is_due = if full_every.subsec_nanos() == 0 && seconds.is_multiple_of(DAY_SECS) {
            let days = self.date(last_slot).duration_until(self.date(self.slot));
            days >= signed(full_every)
        } else {
            last_slot.duration_until(self.slot) >= signed(full_every)
        };
        if is_due {
            return Err(WhyFull::Age {
                full: last.name.clone(),
                full_every,
            });
        }
        Ok(())
    }

    fn with_room(&self, backup: &'a Backup, links: usize) -> Result<(&'a Backup, usize), WhyFull> {
        if links >= self.increments.chain_max as usize {
            return Err(WhyFull::ChainLength {
                newest: backup.name.clone(),
                links,
                chain_max: self.increments.chain_max,
            });
        }
        Ok((backup, links))
    }

    /// How many backups its chain has, if another one can be built on it.
    fn chain_length(&self, backup: &'a Backup) -> Result<usize, Problem> {
        if self.server.is_none() {
            return Err(Problem::ServerUnknown);
        }
        if !self.is_of_this_server(backup) {
            return Err(Problem::OtherServer);
        }
        if backup.structure_only {
            return Err(Problem::StructureOnly);
        }
        match backup.status() {
            Status::Complete => {}
            status => return Err(Problem::Status(status)),
        }
        if !backup.is_proved() {
            return Err(Problem::NotProved);
        }
        let find = |name: &BackupName| self.there.get(name).copied();
        let links = chain(find, backup).map_err(|error| Problem::Chain(error.to_string()))?;
        match links.iter().find(|link| link.is_damaged()) {
            Some(link) => Err(Problem::Chain(format!("{} is damaged", link.name))),
            None => Ok(links.len()),
        }
    }
}

/// Newer is greater; of two that ended within the same second, the one that was asked for later.
fn order(backup: &Backup) -> impl Ord + use<'_> {
    (backup.created_at, backup.number, &backup.name)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Why a backup of a schedule with increments is a full one.
#[derive(Debug, PartialEq, Eq)]
enum WhyFull {
    First {
        schedule: String,
    },
    Weekday {
        weekday: Weekday,
    },
    Age {
        full: BackupName,
        full_every: Duration,
    },
    ChainLength {
        newest: BackupName,
        links: usize,
        chain_max: u32,
    },
    NoBase {
        newest: BackupName,
        problem: Problem,
    },
}

impl fmt::Display for WhyFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First { schedule } => write!(f, "there is no backup of {schedule} to build on"),
            Self::Weekday { weekday } => {
                write!(
                    f,
                    "full_on names {weekday:?}, and that day has no full one yet"
                )
            }
            Self::Age { full, full_every } => write!(
                f,
                "the last full one, {full}, is full_every = {} or more ago",
                Every(*full_every)
            ),
            Self::ChainLength {
                newest,
                links,
                chain_max,
            } => write!(
                f,
                "the chain of {newest} has {links} of the {chain_max} backups that chain_max allows"
            ),
            Self::NoBase { newest, problem } => {
                write!(
                    f,
                    "no earlier backup can be a base; the newest, {newest}: {problem}"
                )
            }
        }
    }
}

/// Why a backup cannot be a base.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    ServerUnknown,
    OtherServer,
    StructureOnly,
    Status(Status),
    NotProved,
    Chain(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerUnknown => f.write_str("ClickHouse did not say which server it is"),
            Self::OtherServer => f.write_str("another server made it"),
            Self::StructureOnly => f.write_str("it holds definitions only"),
            Self::Status(status) => write!(f, "it is {status}"),
            Self::NotProved => f.write_str("it was not proved yet"),
            Self::Chain(problem) => write!(f, "{problem}"),
        }
    }
}

/// A duration as the configuration writes it.
struct Every(Duration);

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            _ if seconds.is_multiple_of(DAY_SECS) => write!(f, "{}d", seconds / DAY_SECS),
            _ if seconds.is_multiple_of(3_600) => write!(f, "{}h", seconds / 3_600),
            _ if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests;
