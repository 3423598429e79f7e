//! What can be measured, in the order of a run.

mod backups;
mod lateness;
mod memory;
mod requests;
mod start;
mod statements;

use clap::ValueEnum;

use crate::report::Report;
use crate::session::Session;

/// A measure, by the word that `--only` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Memory of a daemon that has nothing to do.
    Idle,
    /// Requests a second.
    Lists,
    /// A backup of one tiny table.
    Tiny,
    /// A backup of a database of 500 tables.
    Many,
    /// A backup of 1,000 MB.
    Large,
    /// Memory of a daemon that did all of the above.
    Memory,
    /// Statements that backups cost, and when each was sent.
    Statements,
    /// From the start of the process to its first answer.
    Start,
    /// From a slot to its operation.
    Lateness,
}

impl Measure {
    /// All of them; the memory of the main daemon is looked at when it has done its work.
    pub fn in_order() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// In words.
    pub fn says(self) -> &'static str {
        match self {
            Self::Idle => "memory of a daemon that has nothing to do",
            Self::Lists => "requests a second",
            Self::Tiny => "backup of one tiny table",
            Self::Many => "backup of a database of 500 tables",
            Self::Large => "backup of 1,000 MB",
            Self::Memory => "memory of a daemon that has worked",
            Self::Statements => "statements of a backup",
            Self::Start => "start to the first answer",
            Self::Lateness => "1,000 schedules that share one slot",
        }
    }

    /// Takes it.
    pub async fn take(self, session: &mut Session, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::Idle => memory::idle(session, report).await,
            Self::Lists => requests::take(session, report).await,
            Self::Tiny => backups::take(session, report, &backups::TINY).await,
            Self::Many => backups::take(session, report, &backups::MANY).await,
            Self::Large => backups::take(session, report, &backups::LARGE).await,
            Self::Memory => memory::after_work(session, report),
            Self::Statements => statements::take(session, report).await,
            Self::Start => start::take(session, report).await,
            Self::Lateness => lateness::take(session, report).await,
        }
    }
}
