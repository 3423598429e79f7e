//! The metrics of the server we replace: the same names, types and units (nanoseconds, and 0/1/2 for a
//! status), so that alerts on them go on working.
//!
//! What it had and we have not (upload, download and the like) stays at its start value, as it did
//! there with `remote_storage: none`.

use jiff::Timestamp;

use super::families::Families;
use super::name::{Kind, Metric};
use super::process::{Process, command};
use super::scrape::Scrape;
use crate::operation::{Operation, State};

/// A status of a command that never ran: neither failed (0) nor succeeded (1).
const UNKNOWN: u64 = 2;

/// The six metrics of one command.
struct Command {
    word: &'static str,
    successful: Metric,
    failed: Metric,
    start: Metric,
    finish: Metric,
    duration: Metric,
    status: Metric,
}

const fn metric(kind: Kind, name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind,
        labels: &[],
        help,
    }
}

macro_rules! commands {
    ($($word:literal),*) => {
        const COMMANDS: &[Command] = &[$(Command {
            word: $word,
            successful: metric(
                Kind::Counter,
                concat!("clickhouse_backup_successful_", $word, "s"),
                concat!("Counter of successful ", $word, "s backup"),
            ),
            failed: metric(
                Kind::Counter,
                concat!("clickhouse_backup_failed_", $word, "s"),
                concat!("Counter of failed ", $word, "s backup"),
            ),
            start: metric(
                Kind::Gauge,
                concat!("clickhouse_backup_last_", $word, "_start"),
                concat!("Last backup ", $word, " start timestamp"),
            ),
            finish: metric(
                Kind::Gauge,
                concat!("clickhouse_backup_last_", $word, "_finish"),
                concat!("Last backup ", $word, " finish timestamp"),
            ),
            duration: metric(
                Kind::Gauge,
                concat!("clickhouse_backup_last_", $word, "_duration"),
                concat!("Backup ", $word, " duration in nanoseconds"),
            ),
            status: metric(
                Kind::Gauge,
                concat!("clickhouse_backup_last_", $word, "_status"),
                concat!("Last backup ", $word, " status: 0=failed, 1=success, 2=unknown"),
            ),
        }),*];
    };
}

commands!(
    "create",
    "upload",
    "download",
    "restore",
    "create_remote",
    "restore_remote",
    "delete",
    "rebase",
    "rebalance"
);

macro_rules! others {
    ($($id:ident: $kind:ident $name:literal $help:literal;)*) => {
        $(const $id: Metric = metric(Kind::$kind, concat!("clickhouse_backup_", $name), $help);)*
        const OTHERS: &[Metric] = &[$($id),*];
    };
}

others! {
    FAILED_PARTS: Counter "failed_parts_count" "Counter of data parts that were skipped as broken; ClickHouse skips none, so always 0";
    SIZE_LOCAL: Gauge "last_backup_size_local" "Last local backup size in bytes";
    SIZE_REMOTE: Gauge "last_backup_size_remote" "Last remote backup size in bytes";
    NUMBER_REMOTE: Gauge "number_backups_remote" "Number of stored remote backups";
    NUMBER_REMOTE_BROKEN: Gauge "number_backups_remote_broken" "Number of broken backups in the destination";
    NUMBER_LOCAL: Gauge "number_backups_local" "Number of stored local backups, broken ones included";
    REMOTE_EXPECTED: Gauge "number_backups_remote_expected" "How many remote backups are expected";
    LOCAL_EXPECTED: Gauge "number_backups_local_expected" "How many local backups are expected: retention.keep_last, 0 for all";
    IN_PROGRESS: Gauge "in_progress_commands" "How many commands are in progress";
    DATA_SIZE: Gauge "local_data_size" "Bytes of the tables when the newest backup was prepared";
}

/// Every metric of this family.
pub(super) fn all() -> impl Iterator<Item = Metric> {
    let commands = COMMANDS.iter().flat_map(|command| {
        [
            command.successful,
            command.failed,
            command.start,
            command.finish,
            command.duration,
            command.status,
        ]
    });
    commands.chain(OTHERS.iter().copied())
}

/// The gauges and counters of this family.
pub(super) fn put(scrape: &Scrape<'_>, process: &Process, into: &mut Families) {
    for command in COMMANDS {
        command.put(scrape, process, into);
    }
    let view = scrape.view;
    let newest = view
        .backups()
        .max_by_key(|backup| (backup.created_at, backup.number));
    let size = newest.and_then(|backup| backup.bytes_written).unwrap_or(0);
    let broken = scrape.destination.broken;
    let stored = view.backups().count() as u64 + broken;
    let keep_last = scrape.rules.global.as_ref();
    let keep_last = keep_last.and_then(|policy| policy.keep_last).unwrap_or(0);
    let in_progress = view
        .unfinished()
        .filter(|operation| is_in_progress(operation));
    let data_size = view.operations().rev().find_map(|operation| {
        let attempts = operation.attempts.iter().rev();
        attempts.filter_map(|attempt| attempt.bytes_expected).next()
    });
    for (metric, value) in [
        (FAILED_PARTS, 0),
        (SIZE_LOCAL, size),
        (SIZE_REMOTE, 0),
        (NUMBER_REMOTE, 0),
        (NUMBER_REMOTE_BROKEN, broken),
        (NUMBER_LOCAL, stored),
        (REMOTE_EXPECTED, 0),
        (LOCAL_EXPECTED, u64::from(keep_last)),
        (IN_PROGRESS, in_progress.count() as u64),
        (DATA_SIZE, data_size.unwrap_or(0)),
    ] {
        into.put(metric, &[], value);
    }
}

/// A client's is from its submission on, which is when that server began it.
fn is_in_progress(operation: &Operation) -> bool {
    command(operation).is_some() && (operation.is_clients() || operation.state.is_active())
}

impl Command {
    fn put(&self, scrape: &Scrape<'_>, process: &Process, into: &mut Families) {
        let is_its = |operation: &&Operation| command(operation) == Some(self.word);
        let its = || {
            let operations = scrape.view.operations().rev();
            operations.map(AsRef::as_ref).filter(is_its)
        };
        let start = its().find_map(began);
        let ended = its().find(|operation| operation.state.is_terminal());
        let finish = ended.and_then(|operation| operation.finished_at);
        let status = ended.map_or(UNKNOWN, |operation| {
            u64::from(operation.state == State::Succeeded)
        });
        into.put(
            self.successful,
            &[],
            process.commands(self.word, "successful"),
        );
        into.put(self.failed, &[], process.commands(self.word, "failed"));
        into.put_time(self.start, &[], start);
        into.put_time(self.finish, &[], finish);
        into.put(self.duration, &[], ended.map_or(0, nanoseconds));
        into.put(self.status, &[], status);
    }
}

/// One that ended without an attempt was begun when it was asked for, as that server would have.
fn began(operation: &Operation) -> Option<Timestamp> {
    let is_over = operation.state.is_terminal();
    operation
        .started_at
        .or(is_over.then_some(operation.submitted_at))
}

fn nanoseconds(operation: &Operation) -> u64 {
    let took = began(operation)
        .zip(operation.finished_at)
        .map(|(start, end)| end.duration_since(start).as_nanos());
    u64::try_from(took.unwrap_or(0)).unwrap_or(0)
}
