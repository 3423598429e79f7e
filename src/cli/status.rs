//! `status`: everything on one screen.

use std::process::ExitCode;

use clickhouse_backupd::api::v1::operation::Operation;
use clickhouse_backupd::api::v1::status::{
    ClickHouse, DestinationStatus, ScheduleSummary, Status, StatusProblem, ViewStatus,
};

use super::client::{Answer, Client};
use super::operation::{self, took};
use super::output::Output;
use super::problem::Problem;
use super::progress::far_of;
use super::schedule::{next_slot, state, time};
use super::table::{self, Cell, Column};
use super::text::{self, BOLD, DIM, GREEN, Look, RED, YELLOW, styled};
use super::wait::doing;

/// Rows of a table on the one screen; the lists show all.
const ROWS_MAX: usize = 20;

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Exit with 1 when there are problems; warnings about the configuration do not count.
    #[arg(long)]
    check: bool,
}

/// Shows the status.
///
/// # Errors
/// When the daemon does not answer.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    output: &Output,
) -> Result<ExitCode, Problem> {
    let found: Answer<Status> = client.get(&["api", "v1", "status"], &[]).await?;
    output.answer(&found.text, || {
        screen(&found.value, client.place(), &output.look())
    })?;
    let is_wrong = found.value.problems.iter().any(counts);
    Ok(if arguments.check && is_wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Whether a problem makes a check fail: a warning about the configuration stands until somebody edits
/// it, and would drown what is new.
fn counts(problem: &StatusProblem) -> bool {
    problem.kind != "configuration_warning"
}

fn screen(status: &Status, place: &str, look: &Look) -> String {
    let mut out = table::facts(&[
        (
            "daemon",
            format!("{} at {place}", text::clean(&status.version)),
        ),
        ("clickhouse", text::clean(&status.clickhouse.url)),
        ("", clickhouse(&status.clickhouse, look)),
        ("destination", text::clean(&status.destination.place)),
        ("", destination(&status.destination, look)),
        ("backups", backups(status, look)),
    ]);
    if !status.schedules.is_empty() {
        out += "\n";
        out += &schedules(&status.schedules, look);
    }
    for (title, operations) in [("running", &status.running), ("waiting", &status.waiting)] {
        if operations.is_empty() {
            continue;
        }
        out += &format!("\n{BOLD}{title}{BOLD:#}\n");
        let behind = status.running.first().filter(|_| title == "waiting");
        out += &at_work(operations, behind, look);
    }
    let more = status
        .waiting_count
        .saturating_sub(status.waiting.len() as u64);
    if more > 0 {
        out += &format!("  and {more} more: clickhouse-backupd operation list --state pending\n");
    }
    out + "\n" + &problems(&status.problems)
}

fn clickhouse(server: &ClickHouse, look: &Look) -> String {
    if !server.reachable {
        let error = server.error.as_deref().map(text::clean).unwrap_or_default();
        return format!("{RED}does not answer{RED:#}: {error}");
    }
    let on = server
        .host
        .as_deref()
        .map(|host| format!(" on {}", text::clean(host)))
        .unwrap_or_default();
    let up = server
        .started_at
        .map(|start| format!(", up for {}", text::length(look.now.duration_since(start))))
        .unwrap_or_default();
    let version = server.version.as_deref().map(text::clean);
    format!("{}{on}{up}", version.unwrap_or_default())
}

fn backups(status: &Status, look: &Look) -> String {
    let backups = &status.backups;
    let newest = match (&backups.newest, backups.newest_at) {
        (Some(newest), Some(at)) => {
            format!(", newest {} ({})", text::clean(newest), look.distance(at))
        }
        _ => String::new(),
    };
    format!(
        "{}, {} written{newest}",
        text::count(backups.count),
        text::bytes(backups.bytes_written)
    )
}

/// Our own view of the destination: whether it can be trusted, and what it shows.
fn destination(destination: &DestinationStatus, look: &Look) -> String {
    let url = destination
        .url
        .as_deref()
        .map_or_else(String::new, |url| format!(" {}", text::clean(url)));
    let view = match destination.view {
        ViewStatus::None => "no view of our own: destination.url is not set".to_owned(),
        ViewStatus::NamesOnServer => {
            styled(RED, "cannot be looked at: its names are on the server")
        }
        ViewStatus::Unbound => format!("{YELLOW}view not bound yet{YELLOW:#}{url}"),
        ViewStatus::Bound => format!("view bound{url}"),
    };
    let listed = match (&destination.failure, destination.listed_at) {
        (Some(_), Some(at)) => format!(", {RED}not listed since {}{RED:#}", look.time(at)),
        (Some(_), None) => format!(", {RED}never listed{RED:#}"),
        (None, Some(at)) => format!(", listed {}", look.distance(at)),
        (None, None) => String::new(),
    };
    let broken = match destination.broken {
        0 => String::new(),
        broken => format!(", {YELLOW}{broken} broken{YELLOW:#}"),
    };
    let others = match destination.others_count {
        0 => String::new(),
        others => format!(", {} of others", text::counted(others, "folder")),
    };
    format!("{view}{listed}{broken}{others}")
}

fn schedules(schedules: &[ScheduleSummary], look: &Look) -> String {
    const COLUMNS: [Column; 4] = [
        Column::name("SCHEDULE"),
        Column::words("NEXT SLOT"),
        Column::words("LAST"),
        Column::words("LAST SUCCESS"),
    ];
    let row = |schedule: &ScheduleSummary| {
        vec![
            Cell::from(&schedule.name),
            next_slot(schedule.next_slot, schedule.paused, look),
            state(schedule.last_state),
            time(schedule.last_success_at, look),
        ]
    };
    let rows = schedules.iter().take(ROWS_MAX).map(row).collect();
    table::render(&COLUMNS, rows, look.width)
        + &left(schedules.len(), "clickhouse-backupd schedule list")
}

fn at_work(operations: &[Operation], behind: Option<&Operation>, look: &Look) -> String {
    let behind = behind.map(|ahead| text::short(ahead.id));
    let line = |operation: &Operation| {
        let id = styled(DIM, &text::short(operation.id));
        let name = operation::name(operation);
        let now = doing(operation, behind.as_deref(), look);
        let far = operation
            .progress
            .map(|progress| format!(", {}", far_of(&progress, operation.kind)))
            .unwrap_or_default();
        let took = took(operation, look.now)
            .map(|took| format!(", {took}"))
            .unwrap_or_default();
        format!("{id}  {name}  {now}{far}{took}\n")
    };
    let lines: String = operations.iter().take(ROWS_MAX).map(line).collect();
    lines + &left(operations.len(), "clickhouse-backupd operation list")
}

fn left(all: usize, see: &str) -> String {
    if all <= ROWS_MAX {
        return String::new();
    }
    let line = format!("and {} more: {see}", all - ROWS_MAX);
    styled(DIM, &line) + "\n"
}

fn problems(problems: &[StatusProblem]) -> String {
    if problems.is_empty() {
        return styled(GREEN, "no problems") + "\n";
    }
    let line = |problem: &StatusProblem| {
        format!(
            "  {}\n    {DIM}hint:{DIM:#} {}\n",
            text::clean(&problem.message),
            text::clean(&problem.hint)
        )
    };
    let lines: String = problems.iter().map(line).collect();
    format!("{YELLOW}problems{YELLOW:#}\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{at, failed, look, operation, plain};
    use clickhouse_backupd::api::v1::operation::{OperationState, Progress};
    use clickhouse_backupd::api::v1::status::BackupSummary;

    fn status() -> Status {
        let summary = |name: &str, paused, last_state| ScheduleSummary {
            name: name.to_owned(),
            next_slot: Some(at("2026-11-23T00:00:00Z")),
            paused,
            last_state,
            last_success_at: Some(at("2026-11-22T00:01:06Z")),
        };
        let mut running = operation();
        running.state = OperationState::Running;
        running.finished_at = None;
        running.started_at = Some(at("2026-11-22T17:58:00Z"));
        running.progress = Some(Progress {
            files_done: 12,
            files_total: None,
            bytes_done: 1_048_576,
            bytes_total: Some(4_194_304),
        });
        let mut waiting = failed();
        waiting.state = OperationState::Pending;
        waiting.started_at = None;
        Status {
            version: "0.1.0".to_owned(),
            now: look().now,
            clickhouse: ClickHouse {
                url: "http://clickhouse:8123".to_owned(),
                reachable: true,
                asked_at: look().now,
                version: Some("26.9.2.1".to_owned()),
                host: Some("chi-clickhouse-0-0".to_owned()),
                uuid: None,
                started_at: Some(at("2026-11-20T10:00:00Z")),
                error: None,
            },
            destination: DestinationStatus {
                place: "Disk('s3_backup')".to_owned(),
                view: ViewStatus::Bound,
                url: Some("s3://bucket/backups".to_owned()),
                listed_at: Some(at("2026-11-22T17:58:00Z")),
                failure: None,
                backups: 14,
                broken: 1,
                others_count: 0,
                others: Vec::new(),
            },
            schedules: vec![
                summary("daily", false, Some(OperationState::Succeeded)),
                summary(
                    "hourly-of-the-web-shop-in-sofia",
                    true,
                    Some(OperationState::Failed),
                ),
            ],
            running: vec![running],
            waiting_count: 3,
            waiting: vec![waiting],
            backups: BackupSummary {
                count: 14,
                bytes_written: 5_000_000_000,
                newest: Some("2026-11-22".to_owned()),
                newest_at: Some(at("2026-11-22T00:01:06Z")),
            },
            problems: vec![StatusProblem {
                kind: "schedule_paused".to_owned(),
                message: "schedule hourly-of-the-web-shop-in-sofia is paused".to_owned(),
                hint: "resume it".to_owned(),
            }],
        }
    }

    #[test]
    fn everything_is_on_one_screen() {
        let text = plain(&screen(&status(), "http://127.0.0.1:7171", &look()));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_server_that_does_not_answer_is_told() {
        let mut status = status();
        status.clickhouse.reachable = false;
        status.clickhouse.error = Some("connection refused".to_owned());
        status.running.clear();
        status.waiting.clear();
        status.schedules.clear();
        status.problems.clear();
        status.backups.newest = None;
        insta::assert_snapshot!(plain(&screen(&status, "http://127.0.0.1:7171", &look())));
    }
}
