//! `schedule list|run|pause|resume`; `schedule next` reads the configuration, in `local`.

use std::process::ExitCode;

use clap::Subcommand;
use clickhouse_backupd::api::v1::backup::BackupKind;
use clickhouse_backupd::api::v1::operation::Operation;
use clickhouse_backupd::api::v1::page::Page;
use clickhouse_backupd::api::v1::schedule::{
    PauseRequest, RunRequest, Schedule, ScheduleAction, VerifySelection,
};
use clickhouse_backupd::schedule::{ScheduleName, ScheduleNameError};
use jiff::civil::DateTime;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde_json::json;

use super::client::{Answer, Client};
use super::output::Output;
use super::problem::Problem;
use super::table::{self, Cell, Column};
use super::text::{self, Look, YELLOW};
use super::wait::{self, Waiting};

/// Slots that `schedule next` prints at most.
const NEXT_MAX: u16 = 1_000;

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the coming slots and the names their backups will have, from the configuration.
    Next(Next),
    /// List schedules, what they do, their next slots and last results.
    List,
    /// Run a schedule now, or one of its slots again, and wait for the end.
    Run(Run),
    /// Pause a schedule: slots that become due are skipped.
    Pause(Pause),
    /// End the pause of a schedule.
    Resume {
        /// Its name.
        name: String,
    },
}

/// Options of `schedule next`.
#[derive(Debug, clap::Args)]
pub struct Next {
    /// How many of each schedule.
    #[arg(short = 'n', long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=i64::from(NEXT_MAX)))]
    pub count: u16,
    /// Only this schedule.
    pub schedule: Option<String>,
}

/// Options of `schedule run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Its name.
    name: String,
    /// The slot to run again: a time (`2026-11-22T00:00:00Z`), or a date that has one slot.
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Options of `schedule pause`.
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// Its name.
    name: String,
    /// How long, as `90m`, `2h` or `3d`; without an end, until it is resumed.
    #[arg(long = "for", value_name = "LENGTH", conflicts_with = "until")]
    length: Option<String>,
    /// Until when: `2026-11-25`, `"2026-11-25 08:00"` in this machine's time zone, or with an offset.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why, for whoever wonders.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Lists, runs, pauses or resumes.
///
/// # Errors
/// When the daemon does not answer with what was asked for, or the backup failed.
pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, Problem> {
    match command {
        // It is told by the configuration.
        Command::Next(_) => {}
        Command::List => {
            let found: Answer<Page<Schedule>> =
                client.get(&["api", "v1", "schedules"], &[]).await?;
            output.answer(&found.text, || list(&found.value.items, &output.look()))?;
        }
        Command::Run(arguments) => {
            let name = part_of_path(&arguments.name)?;
            let path = ["api", "v1", "schedules", name, "run"];
            let request = RunRequest {
                slot: arguments.slot,
            };
            let begun: Answer<Operation> = client.post(&path, &request).await?;
            return wait::to_success(begun, arguments.waiting, client, output).await;
        }
        Command::Pause(arguments) => {
            part_of_path(&arguments.name)?;
            let request = PauseRequest {
                until: end(&arguments, &output.look())?,
                reason: arguments.reason,
            };
            let path = ["api", "v1", "schedules", &arguments.name, "pause"];
            let paused: Answer<Schedule> = client.post(&path, &request).await?;
            output.answer(&paused.text, || stands(&paused.value, &output.look()))?;
        }
        Command::Resume { name } => {
            let path = ["api", "v1", "schedules", part_of_path(&name)?, "resume"];
            let resumed: Answer<Schedule> = client.post(&path, &json!({})).await?;
            output.answer(&resumed.text, || stands(&resumed.value, &output.look()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A name that can stand in a path: a URL loses the parts `.` and `..`, and leads elsewhere then.
/// A name that no schedule can have because the daemon uses it itself is one that is not there, which
/// the daemon says.
fn part_of_path(name: &str) -> Result<&str, Problem> {
    match ScheduleName::try_from(name.to_owned()) {
        Err(error @ ScheduleNameError::Malformed(_)) => {
            let hint = "clickhouse-backupd schedule list has the names";
            Err(Problem::stopped(error.to_string(), hint))
        }
        Ok(_) | Err(ScheduleNameError::Reserved(_)) => Ok(name),
    }
}

/// When a pause ends.
fn end(pause: &Pause, look: &Look) -> Result<Option<Timestamp>, Problem> {
    if let Some(length) = &pause.length {
        let end = length
            .parse::<Span>()
            .ok()
            .filter(|span| span.is_positive() && span.get_years() == 0 && span.get_months() == 0)
            .and_then(|span| {
                let days = SpanRelativeTo::days_are_24_hours();
                look.now.checked_add(span.to_duration(days).ok()?).ok()
            });
        return end.map(Some).ok_or_else(|| {
            Problem::Usage(format!(
                "--for {length:?} is no length of time; it looks like 90m, 2h or 3d"
            ))
        });
    }
    let Some(until) = &pause.until else {
        return Ok(None);
    };
    let local = |until: &str| {
        let local = until.parse::<DateTime>().ok()?;
        Some(local.to_zoned(look.zone.clone()).ok()?.timestamp())
    };
    let end = until.parse::<Timestamp>().ok().or_else(|| local(until));
    match end {
        Some(end) if end > look.now => Ok(Some(end)),
        Some(end) => Err(Problem::Usage(format!(
            "--until {until:?} is {}, which is over",
            look.time(end)
        ))),
        None => Err(Problem::Usage(format!(
            "--until {until:?} is no time; it looks like 2026-11-25, \"2026-11-25 08:00\" or 2026-11-25T08:00:00Z"
        ))),
    }
}

fn list(schedules: &[Schedule], look: &Look) -> String {
    const COLUMNS: [Column; 6] = [
        Column::name("NAME"),
        Column::words("DOES"),
        Column::name("CRON"),
        Column::words("NEXT SLOT"),
        Column::words("LAST"),
        Column::words("LAST SUCCESS"),
    ];
    if schedules.is_empty() {
        return "no schedules: add [schedules.daily] with a cron to the configuration\n".to_owned();
    }
    let row = |schedule: &Schedule| {
        let last = schedule.last.as_ref().map(|last| last.state);
        let success = schedule.last_success.as_ref();
        let next = schedule.next_slots.first().copied();
        vec![
            Cell::from(&schedule.name),
            Cell::from(does(schedule)),
            Cell::from(&schedule.cron),
            next_slot(next, schedule.paused.is_some(), look),
            state(last),
            since(success.and_then(|success| success.finished_at), look),
        ]
    };
    table::render(&COLUMNS, schedules.iter().map(row).collect(), look.width)
}

/// What its slots do, in a word: the kind of its backups, or which backups it proves.
fn does(schedule: &Schedule) -> &'static str {
    match (schedule.action, schedule.kind, schedule.verify) {
        (ScheduleAction::Backup, Some(BackupKind::Incremental), _) => "incremental",
        (ScheduleAction::Backup, ..) => "full",
        (ScheduleAction::Verify, _, Some(VerifySelection::All)) => "verify all",
        (ScheduleAction::Verify, ..) => "verify",
    }
}

/// How long ago that was, or `-`: beside the next slot a second time would not fit a terminal.
fn since(time: Option<Timestamp>, look: &Look) -> Cell {
    Cell::from(time.map_or_else(|| "-".to_owned(), |time| look.distance(time)))
}

/// A time, or `-`.
pub fn time(time: Option<Timestamp>, look: &Look) -> Cell {
    Cell::from(time.map_or_else(|| "-".to_owned(), |time| look.time(time)))
}

/// The next slot, or that there is a pause.
pub fn next_slot(next: Option<Timestamp>, paused: bool, look: &Look) -> Cell {
    if paused {
        return Cell::styled(YELLOW, "paused");
    }
    time(next, look)
}

/// A state, or `-`.
pub fn state(state: Option<clickhouse_backupd::api::v1::operation::OperationState>) -> Cell {
    state.map_or_else(
        || Cell::from("-"),
        |state| Cell::styled(text::colour(state), state.as_str()),
    )
}

/// How a schedule stands after a pause or its end, in a line.
fn stands(schedule: &Schedule, look: &Look) -> String {
    let name = text::clean(&schedule.name);
    let Some(pause) = &schedule.paused else {
        let next = schedule.next_slots.first().map_or_else(
            || "it has no next slot".to_owned(),
            |next| {
                format!(
                    "the next slot is {} ({})",
                    look.time(*next),
                    look.distance(*next)
                )
            },
        );
        return format!("schedule {name} runs; {next}\n");
    };
    let until = match pause.until {
        Some(until) => format!("until {} ({})", look.time(until), look.distance(until)),
        None => format!("until it is resumed: clickhouse-backupd schedule resume {name}"),
    };
    let reason = pause.reason.as_deref().map(text::clean);
    let reason = reason.map_or(String::new(), |reason| format!("\n  reason: {reason}"));
    format!("schedule {name} is paused {until}{reason}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{at, failed, look, operation, plain};
    use clickhouse_backupd::api::v1::schedule::Pause as Paused;
    use rstest::rstest;

    fn schedule(name: &str, cron: &str) -> Schedule {
        Schedule {
            name: name.to_owned(),
            cron: cron.to_owned(),
            timezone: "Europe/Sofia".to_owned(),
            action: ScheduleAction::Backup,
            kind: Some(BackupKind::Full),
            verify: None,
            template: Some("{date}".to_owned()),
            databases: Vec::new(),
            exclude_tables: Vec::new(),
            next_slots: vec![at("2026-11-23T00:00:00Z")],
            next_backup: Some("2026-11-23".to_owned()),
            paused: None,
            last: Some(operation()),
            last_success: Some(operation()),
        }
    }

    #[test]
    fn schedules_fit_a_terminal() {
        let mut paused = schedule("hourly-of-the-web-shop-in-sofia", "0 */2 * * 1,2,3,4,5");
        paused.paused = Some(Paused {
            since: at("2026-11-22T10:00:00Z"),
            until: None,
            reason: Some("moving\nhouse".to_owned()),
        });
        paused.last = Some(failed());
        let mut fresh = schedule("daily", "0 2 * * *");
        fresh.last = None;
        fresh.last_success = None;
        let mut increments = schedule("nightly", "0 3 * * *");
        increments.kind = Some(BackupKind::Incremental);
        let mut proofs = schedule("proofs", "0 6 * * 0");
        proofs.action = ScheduleAction::Verify;
        (proofs.kind, proofs.verify) = (None, Some(VerifySelection::All));
        (proofs.template, proofs.next_backup) = (None, None);
        let text = plain(&list(&[fresh, increments, proofs, paused.clone()], &look()));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
        insta::assert_snapshot!(stands(&paused, &look()), @r"
        schedule hourly-of-the-web-shop-in-sofia is paused until it is resumed: clickhouse-backupd schedule resume hourly-of-the-web-shop-in-sofia
          reason: moving house
        ");
        insta::assert_snapshot!(stands(&schedule("daily", "0 2 * * *"), &look()), @"schedule daily runs; the next slot is 2026-11-23 02:00 EET (in 6h 00m)");
    }

    #[rstest]
    #[case("..")]
    #[case(".")]
    #[case("")]
    #[case("a/b")]
    fn what_is_no_name_is_asked_of_nobody(#[case] name: &str) {
        let problem = part_of_path(name).unwrap_err();
        assert_eq!(problem.exit_code(), 1);
        assert!(problem.to_string().contains("is not 1 to 64"), "{problem}");
        assert_eq!(part_of_path("client").unwrap(), "client");
    }

    fn pause(length: Option<&str>, until: Option<&str>) -> Pause {
        Pause {
            name: "daily".to_owned(),
            length: length.map(str::to_owned),
            until: until.map(str::to_owned),
            reason: None,
        }
    }

    #[rstest]
    #[case(Some("2h"), None, "2026-11-22T20:00:00Z")]
    #[case(Some("3d"), None, "2026-11-25T18:00:00Z")]
    #[case(None, Some("2026-11-25"), "2026-11-24T22:00:00Z")]
    #[case(None, Some("2026-11-25 08:00"), "2026-11-25T06:00:00Z")]
    #[case(None, Some("2026-11-25T08:00:00Z"), "2026-11-25T08:00:00Z")]
    fn ends_of_a_pause(
        #[case] length: Option<&str>,
        #[case] until: Option<&str>,
        #[case] expected: &str,
    ) {
        assert_eq!(
            end(&pause(length, until), &look()).unwrap(),
            Some(at(expected))
        );
    }

    #[rstest]
    #[case(Some("2"), None, "--for")]
    #[case(Some("-2h"), None, "--for")]
    #[case(Some("1 month"), None, "--for")]
    #[case(None, Some("tomorrow"), "is no time")]
    #[case(None, Some("2026-11-21"), "which is over")]
    fn wrong_ends_are_named(
        #[case] length: Option<&str>,
        #[case] until: Option<&str>,
        #[case] word: &str,
    ) {
        let told = end(&pause(length, until), &look()).unwrap_err().to_string();
        assert!(told.contains(word), "{told}");
    }
}
