//! Which backups may go: policy, backups, holds and the time in; a plan out, each line with its reasons.

mod chains;
mod plan;
mod reason;
mod removals;
mod rules;
mod stop;
mod suspicion;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::backup::{Backup, BackupName};

pub use plan::plan;
pub use reason::{Period, Reason, Unmet};
pub use stop::Stop;
pub use suspicion::{adopt, is_adopted, median, suspicion, usual_bytes};

/// What is kept. A backup stays if any rule keeps it; a rule that is `None` keeps nothing by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest *n*.
    pub keep_last: Option<u32>,
    /// Everything younger than this, counted from the newest backup, or from now where that is earlier.
    pub keep_within: Option<Duration>,
    /// The newest of each of the last *n* days that have one.
    pub keep_daily: Option<u32>,
    /// The newest of each of the last *n* ISO weeks that have one.
    pub keep_weekly: Option<u32>,
    /// The newest of each of the last *n* months that have one.
    pub keep_monthly: Option<u32>,
    /// The newest of each of the last *n* years that have one.
    pub keep_yearly: Option<u32>,
    /// A floor that no other rule overrides: where the rules keep fewer, the newest others stay, too.
    pub min_keep: Option<u32>,
}

impl Policy {
    /// Whether no rule keeps anything: an empty policy would remove everything and is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let counts = [
            self.keep_last,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
            self.min_keep,
        ];
        self.keep_within.is_none() && counts.iter().all(Option::is_none)
    }
}

/// Which policy judges whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// `[retention]`: for every group without one of its own; `None` keeps those groups whole.
    pub global: Option<Policy>,
    /// `[retention.manual]`: for clients' backups.
    pub manual: Option<Policy>,
    /// Schedules that make backups, by name.
    pub schedules: BTreeMap<String, ScheduleRules>,
    /// Whether foreign backups are judged, too.
    pub include_foreign: bool,
    /// Whether broken folders are removed without being asked (`sweep_broken`).
    pub sweep_broken: bool,
    /// How often retention runs by itself, beside the run after each success (`every`).
    pub every: Duration,
}

impl Default for Rules {
    /// No policy: everything is kept.
    fn default() -> Self {
        Self {
            global: None,
            manual: None,
            schedules: BTreeMap::new(),
            include_foreign: false,
            sweep_broken: false,
            every: Duration::from_secs(60 * 60),
        }
    }
}

/// What is particular to the backups of one schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRules {
    /// `[schedules.<name>.retention]`; `None`: the global one.
    pub policy: Option<Policy>,
    /// The zone in which its slots have dates.
    pub zone: TimeZone,
}

/// Backups that are judged together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Those of a schedule, whether it is still configured or not.
    Schedule(String),
    /// Those that clients asked for.
    Manual,
    /// Those of others.
    Foreign,
}

/// Why something must not be removed now, whatever the policy says: by name, in words.
pub type Holds = BTreeMap<BackupName, Vec<String>>;

/// A change that somebody has said is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// When.
    pub at: Timestamp,
    /// Who: the user of the API, where it has users.
    pub by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The servers whose backups lie there together, from then on.
    pub servers: Vec<Uuid>,
}

/// Everything a plan is made from.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// The policies.
    pub rules: &'a Rules,
    /// Every visible backup.
    pub backups: Vec<&'a Backup>,
    /// What must not be removed now.
    pub holds: &'a Holds,
    /// Changes that were said to be meant, oldest first.
    pub adoptions: &'a [Adoption],
    /// The server that backups are made of now, where it is known.
    pub server: Option<Uuid>,
    /// The time; count rules do not depend on it.
    pub now: Timestamp,
}

/// What becomes of each backup, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One line for each backup: by group, then newest first.
    pub lines: Vec<Line>,
    /// Why nothing is removed now although lines say so; empty: they may go.
    pub stops: Vec<Stop>,
}

/// What becomes of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The backup.
    pub backup: BackupName,
    /// What it is built on: that goes after it.
    pub base: Option<BackupName>,
    /// When it was made.
    pub created_at: Timestamp,
    /// With whom it is judged.
    pub group: Group,
    /// Whether it stays.
    pub verdict: Verdict,
    /// Why; never empty.
    pub reasons: Vec<Reason>,
}

/// Whether a backup stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It goes.
    Remove,
}
