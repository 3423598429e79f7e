//! `operation list|show` and `cancel`.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use clickhouse_backupd::api::v1::operation::{
    Failure, Item, ItemState, Operation, OperationKind, OperationState, Trigger,
};
use clickhouse_backupd::api::v1::page::{PAGE_MAX_ROWS, Page};
use clickhouse_backupd::api::v1::status::Status;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::client::{Answer, Client, LIST_MAX_ROWS};
use super::output::Output;
use super::problem::Problem;
use super::progress::far_of;
use super::table::{self, Cell, Column};
use super::text::{self, DIM, GREEN, Look, RED, YELLOW, styled};
use super::wait::{self, Waiting};

/// Characters of an id that are enough to mean it.
const ID_MIN_CHARS: usize = 4;
/// Names of backups in one line.
const NAMES_SHOWN: usize = 5;

/// What can be asked about operations.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List operations, newest first.
    List(List),
    /// Show one: its attempts, and why it failed.
    Show {
        /// Its id, or at least the first 4 characters of it.
        id: String,
    },
}

/// Options of `operation list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// How many.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX_ROWS as i64))]
    count: u32,
    /// Only those in this state.
    #[arg(long, value_enum)]
    state: Option<StateWord>,
    /// Only those that do this.
    #[arg(long, value_enum)]
    kind: Option<KindWord>,
    /// Only those of this schedule.
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Only those about this backup, also as one of several.
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
}

/// Options of `cancel`.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// Its id, or at least the first 4 characters of it; without one: the operation that runs; if none
    /// runs, the only one that waits.
    id: Option<String>,
    /// Do not wait until ClickHouse confirms it.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum StateWord {
    Pending,
    Starting,
    Running,
    Cancelling,
    Succeeded,
    Failed,
    Cancelled,
    Skipped,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindWord {
    Backup,
    Restore,
    Verify,
    Delete,
}

/// Lists or shows.
///
/// # Errors
/// When the daemon does not answer with what was asked for.
pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, Problem> {
    match command {
        Command::List(arguments) => {
            let word = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
                value().map(|value| value.get_name().to_owned())
            };
            let state = arguments
                .state
                .and_then(|state| word(&|| state.to_possible_value()));
            let kind = arguments
                .kind
                .and_then(|kind| word(&|| kind.to_possible_value()));
            let filter: Vec<(&str, String)> = [
                ("state", state),
                ("kind", kind),
                ("schedule", arguments.schedule),
                ("backup", arguments.backup),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
            let path = ["api", "v1", "operations"];
            let found: Answer<Page<Operation>> = client
                .list(&path, &filter, arguments.count as usize)
                .await?;
            output.answer(&found.text, || list(&found.value, &output.look()))?;
        }
        Command::Show { id } => {
            let id = resolve(&id, &[], client).await?.to_string();
            let path = ["api", "v1", "operations", &id];
            let found: Answer<Operation> = client.get(&path, &[]).await?;
            output.answer(&found.text, || show(&found.value, &output.look()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Cancels an operation, and waits until that is confirmed.
///
/// # Errors
/// When it cannot be cancelled, or ended otherwise.
pub async fn cancel(
    arguments: &Cancel,
    client: &Client,
    output: &Output,
) -> Result<ExitCode, Problem> {
    let id = to_cancel(arguments.id.as_deref(), client)
        .await?
        .to_string();
    let path = ["api", "v1", "operations", &id, "cancel"];
    let begun: Answer<Operation> = client.post(&path, &json!({})).await?;
    if arguments.no_wait {
        return wait::to_success(begun, Waiting { no_wait: true }, client, output).await;
    }
    let ended = wait::to_end(begun, client, output).await?;
    let operation = &ended.value;
    output.answer(&ended.text, || match operation.state {
        OperationState::Cancelled => format!("cancelled {}\n", name(operation)),
        _ => format!("not cancelled, it ended first\n{}", ending(operation)),
    })?;
    Ok(match operation.state {
        OperationState::Cancelled => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What is meant by `cancel`: among what has not ended first.
async fn to_cancel(id: Option<&str>, client: &Client) -> Result<Uuid, Problem> {
    if let Some(Ok(id)) = id.map(str::parse) {
        return Ok(id);
    }
    let status: Answer<Status> = client.get(&["api", "v1", "status"], &[]).await?;
    let Status {
        running, waiting, ..
    } = status.value;
    match id {
        Some(id) => resolve(id, &[running, waiting].concat(), client).await,
        None => the_running(&running, &waiting),
    }
}

fn the_running(running: &[Operation], waiting: &[Operation]) -> Result<Uuid, Problem> {
    let named = |operations: &[Operation]| {
        let one =
            |operation: &Operation| format!("{} ({})", text::short(operation.id), name(operation));
        let all: Vec<String> = operations.iter().map(one).collect();
        text::some(&all, 5)
    };
    match running {
        [one] => Ok(one.id),
        // It is about to run.
        [] if waiting.len() == 1 => Ok(waiting[0].id),
        [] if waiting.is_empty() => Err(Problem::stopped(
            "nothing runs and nothing waits: there is nothing to cancel",
            "see what there was with: clickhouse-backupd operation list",
        )),
        [] => Err(Problem::stopped(
            format!("nothing runs; there waits {}", named(waiting)),
            "name the one that is meant by its id",
        )),
        several => Err(Problem::stopped(
            format!("{} operations run: {}", several.len(), named(several)),
            "name the one that is meant by its id",
        )),
    }
}

/// The id that is meant: a whole one, or the beginning of one that `known`, or else the history, holds
/// once.
async fn resolve(id: &str, known: &[Operation], client: &Client) -> Result<Uuid, Problem> {
    if let Ok(id) = id.parse() {
        return Ok(id);
    }
    let wanted: String = id
        .chars()
        .filter(|c| *c != '-')
        .collect::<String>()
        .to_lowercase();
    if wanted.len() < ID_MIN_CHARS || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Problem::Usage(format!(
            "{id:?} is no id: give at least {ID_MIN_CHARS} of its characters, 0-9 and a-f"
        )));
    }
    if let Some(id) = the_one(&wanted, known)? {
        return Ok(id);
    }
    let path = ["api", "v1", "operations"];
    let newest: Answer<Page<Operation>> = client.list(&path, &[], PAGE_MAX_ROWS as usize).await?;
    the_one(&wanted, &newest.value.items)?.ok_or_else(|| {
        Problem::stopped(
            format!("there is no operation whose id begins with {id}"),
            "see them with: clickhouse-backupd operation list",
        )
    })
}

fn the_one(wanted: &str, among: &[Operation]) -> Result<Option<Uuid>, Problem> {
    let ids = among.iter().map(|operation| operation.id);
    let found: Vec<Uuid> = ids
        .filter(|id| id.simple().to_string().starts_with(wanted))
        .collect();
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => {
            let ids: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err(Problem::stopped(
                format!("{wanted} is the beginning of {}", text::some(&ids, 3)),
                "give more of the id",
            ))
        }
    }
}

/// `backup 2026-11-22`, `restore 2026-11-22`, `delete 3 backups`.
pub fn name(operation: &Operation) -> String {
    format!("{} {}", kind(operation.kind), subject(operation))
}

/// The backup that it is about, or how many there are.
fn subject(operation: &Operation) -> String {
    match &operation.backup {
        Some(name) => text::clean(name),
        None if operation.items.is_empty() => "backups".to_owned(),
        None => text::counted(operation.items.len() as u64, "backup"),
    }
}

/// The word of a kind.
pub fn kind(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Backup => "backup",
        OperationKind::Restore => "restore",
        OperationKind::Verify => "verify",
        OperationKind::Delete => "delete",
    }
}

/// How long it took, or has taken.
pub fn took(operation: &Operation, now: Timestamp) -> Option<String> {
    let end = operation.finished_at.unwrap_or(now);
    Some(text::length(end.duration_since(operation.started_at?)))
}

/// What came of an operation that ended: one line, and what else there is to know.
pub fn ending(operation: &Operation) -> String {
    let took = operation
        .finished_at
        .and_then(|end| took(operation, end))
        .map(|took| format!(", {took}"))
        .unwrap_or_default();
    let mut text = match (operation.state, &operation.result) {
        (OperationState::Succeeded, Some(result)) if operation.items.is_empty() => {
            let (word, written) = match operation.kind {
                OperationKind::Backup if result.bytes_written < result.bytes => (
                    "backup",
                    format!(" ({} written)", text::bytes(result.bytes_written)),
                ),
                OperationKind::Backup => ("backup", String::new()),
                OperationKind::Restore => ("restored", String::new()),
                OperationKind::Verify => ("verified", String::new()),
                OperationKind::Delete => ("removed", String::new()),
            };
            let files = text::counted(result.files, "file");
            let bytes = text::bytes(result.bytes);
            let line = format!(
                "{word} {}: {files}, {bytes}{written}{took}",
                text::clean(&result.backup)
            );
            styled(GREEN, &line) + "\n" + &other_name(operation, &result.backup)
        }
        (OperationState::Succeeded, _) => done_here(operation, &took),
        (OperationState::Failed, _) => {
            format!("{RED}failed:{RED:#} {}{took}\n", name(operation))
        }
        (state, _) => format!("{}: {}{took}\n", state.as_str(), name(operation)),
    };
    if operation.state != OperationState::Succeeded {
        text += &operation.failure.as_ref().map(why).unwrap_or_default();
    }
    if let Some(reason) = &operation.skipped {
        text += &format!("  {}\n", text::clean(reason));
    }
    text + &notes(operation)
}

/// What was proved or removed, and what was left.
fn done_here(operation: &Operation, took: &str) -> String {
    let (word, unit) = match operation.kind {
        OperationKind::Delete => ("removed", "object"),
        OperationKind::Verify => ("verified", "file"),
        OperationKind::Backup => ("backup", "file"),
        OperationKind::Restore => ("restored", "file"),
    };
    let done = || {
        let items = operation.items.iter();
        items.filter(|item| item.state == ItemState::Done)
    };
    let names: Vec<String> = done().map(|item| text::clean(&item.backup)).collect();
    let what = match names.as_slice() {
        [] => return format!("nothing was {word}{took}\n") + &left(operation),
        names => text::some(names, NAMES_SHOWN),
    };
    let total = |of: fn(&Item) -> Option<u64>| done().filter_map(of).fold(0, u64::saturating_add);
    let objects = text::counted(total(|item| item.objects), unit);
    let bytes = text::bytes(total(|item| item.bytes));
    styled(GREEN, &format!("{word} {what}: {objects}, {bytes}{took}")) + "\n" + &left(operation)
}

/// What was left as it is, and why.
fn left(operation: &Operation) -> String {
    let left = operation.items.iter().filter_map(|item| {
        let note = item.note.as_deref()?;
        let name = text::clean(&item.backup);
        Some(format!(
            "  {YELLOW}left:{YELLOW:#} {name}: {}\n",
            text::clean(note)
        ))
    });
    left.collect()
}

/// Where another name was written than was asked for.
fn other_name(operation: &Operation, made: &str) -> String {
    let Some(asked) = operation.backup.as_deref().filter(|asked| *asked != made) else {
        return String::new();
    };
    if operation.kind != OperationKind::Backup {
        return String::new();
    }
    let asked = text::clean(asked);
    format!("  note: {asked} was asked for, and an attempt that died blocks that name\n")
}

fn why(failure: &Failure) -> String {
    format!(
        "  {} ({})\n  hint: {}\n",
        text::clean(&failure.message),
        text::clean(&failure.kind),
        text::clean(&hint(failure))
    )
}

/// What to do about a failure, in the words of this command line where it has any.
pub fn hint(failure: &Failure) -> String {
    match failure.kind.as_str() {
        "non_empty_target" => "restore beside them with --into DB, or say --drop (drop them first) or --append (add to their rows)".to_owned(),
        "damaged" => "see what is missing with: clickhouse-backupd backup show NAME; make a new backup with: clickhouse-backupd backup create".to_owned(),
        "destination" => "see what is wrong with: clickhouse-backupd status, and clickhouse-backupd config check --connect".to_owned(),
        "held" => "see what works on it with: clickhouse-backupd operation list; let a pin go with: clickhouse-backupd backup unpin NAME".to_owned(),
        "not_found" => "see what there is with: clickhouse-backupd backup list, and backup show NAME --tables".to_owned(),
        _ => failure.hint.clone(),
    }
}

fn notes(operation: &Operation) -> String {
    let notes = operation.notes.iter();
    notes
        .map(|note| format!("  {YELLOW}note:{YELLOW:#} {}\n", text::clean(note)))
        .collect()
}

fn list(page: &Page<Operation>, look: &Look) -> String {
    if page.items.is_empty() {
        return "no operations\n".to_owned();
    }
    rows(&page.items, look) + &more(page.next.is_some(), page.items.len())
}

/// A line that says that a list goes on.
pub fn more(there_is: bool, shown: usize) -> String {
    if there_is {
        let line = format!("the newest {shown}; there are more: -n {}", shown * 10);
        return styled(DIM, &line) + "\n";
    }
    String::new()
}

/// Operations as a table.
pub fn rows(operations: &[Operation], look: &Look) -> String {
    const COLUMNS: [Column; 6] = [
        Column::words("ID"),
        Column::words("KIND"),
        Column::name("BACKUP"),
        Column::words("STATE"),
        Column::words("ASKED FOR"),
        Column::number("TOOK"),
    ];
    let row = |operation: &Operation| {
        vec![
            Cell::styled(DIM, text::short(operation.id)),
            Cell::from(kind(operation.kind)),
            Cell::from(subject(operation)),
            Cell::styled(text::colour(operation.state), operation.state.as_str()),
            Cell::from(look.time(operation.submitted_at)),
            Cell::from(took(operation, look.now).unwrap_or_else(|| "-".to_owned())),
        ]
    };
    table::render(&COLUMNS, operations.iter().map(row).collect(), look.width)
}

fn show(operation: &Operation, look: &Look) -> String {
    let state = operation.state;
    let mut facts = vec![
        ("operation", operation.id.to_string()),
        ("kind", kind(operation.kind).to_owned()),
        ("backup", subject(operation)),
        ("state", styled(text::colour(state), state.as_str())),
        ("asked for", asked(operation, look)),
    ];
    let time = |time: Option<Timestamp>| time.map(|time| look.exact(time));
    // What never started took no time.
    let after = took(operation, look.now)
        .map(|took| format!(", after {took}"))
        .unwrap_or_default();
    let optional = [
        ("started", time(operation.started_at)),
        (
            "ended",
            time(operation.finished_at).map(|end| format!("{end}{after}")),
        ),
        (
            "now",
            (!state.is_final()).then(|| wait::doing(operation, None, look)),
        ),
        (
            "progress",
            operation
                .progress
                .map(|progress| far_of(&progress, operation.kind)),
        ),
        (
            "result",
            operation.result.as_ref().map(|result| {
                format!(
                    "{}: {}, {}, {} written",
                    text::clean(&result.backup),
                    text::counted(result.files, "file"),
                    text::bytes(result.bytes),
                    text::bytes(result.bytes_written)
                )
            }),
        ),
        ("skipped", operation.skipped.as_deref().map(text::clean)),
    ];
    facts.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let mut out = table::facts(&facts);
    if let Some(failure) = &operation.failure {
        out += &format!("\n{RED}why:{RED:#}\n{}", why(failure));
    }
    if !operation.notes.is_empty() {
        out += "\n";
        out += &notes(operation);
    }
    if !operation.items.is_empty() {
        out += "\n";
        out += &items(operation, look);
    }
    if !operation.attempts.is_empty() {
        out += "\n";
        out += &attempts(operation, look);
    }
    out
}

/// The journal of a proof or a removal.
fn items(operation: &Operation, look: &Look) -> String {
    const COLUMNS: [Column; 5] = [
        Column::name("BACKUP"),
        Column::words("STATE"),
        Column::number("OBJECTS"),
        Column::number("BYTES"),
        Column::name("WHY"),
    ];
    let row = |item: &Item| {
        let (style, word) = match item.state {
            ItemState::Waiting => (text::PLAIN, "waiting"),
            ItemState::Begun => (text::PLAIN, "begun"),
            ItemState::Done => (GREEN, "done"),
            ItemState::Left => (YELLOW, "left"),
        };
        let why = item.note.clone();
        vec![
            Cell::from(&item.backup),
            Cell::styled(style, word),
            table::maybe(item.objects, text::count),
            table::maybe(item.bytes, text::bytes),
            Cell::from(why.unwrap_or_else(|| item.reasons.join("; "))),
        ]
    };
    let rows = operation.items.iter().map(row).collect();
    table::render(&COLUMNS, rows, look.width)
}

fn asked(operation: &Operation, look: &Look) -> String {
    let at = look.exact(operation.submitted_at);
    let by = match (operation.trigger, &operation.schedule, operation.slot) {
        (Trigger::Schedule, Some(schedule), Some(slot)) => {
            let schedule = text::clean(schedule);
            let again = match operation.run {
                Some(run) if run > 1 => format!(", run {run}"),
                _ => String::new(),
            };
            format!("schedule {schedule}, slot {}{again}", look.time(slot))
        }
        (Trigger::Schedule, ..) => "a schedule".to_owned(),
        (Trigger::Client, ..) => "a client".to_owned(),
        (Trigger::Daemon, ..) => "the daemon".to_owned(),
    };
    format!("{at} by {by}")
}

fn attempts(operation: &Operation, look: &Look) -> String {
    const COLUMNS: [Column; 5] = [
        Column::number("TRY"),
        Column::words("STARTED"),
        Column::number("TOOK"),
        Column::name("SERVER"),
        Column::name("WHAT CAME OF IT"),
    ];
    let last = operation.attempts.len();
    let row = |(at, attempt): (usize, &clickhouse_backupd::api::v1::operation::Attempt)| {
        let end = attempt.ended_at.unwrap_or(look.now);
        let outcome = match &attempt.failure {
            Some(failure) => Cell::styled(RED, &failure.kind),
            None if at + 1 == last => {
                Cell::styled(text::colour(operation.state), operation.state.as_str())
            }
            None => Cell::from("-"),
        };
        vec![
            Cell::from((at + 1).to_string()),
            Cell::from(look.exact(attempt.started_at)),
            Cell::from(text::length(end.duration_since(attempt.started_at))),
            Cell::from(attempt.server.as_deref().unwrap_or("-")),
            outcome,
        ]
    };
    let rows = operation.attempts.iter().enumerate().map(row).collect();
    let ids = operation.attempts.iter().enumerate().map(|(at, attempt)| {
        let id = text::clean(&attempt.id);
        styled(DIM, &format!("{}: system.backups.id = '{id}'", at + 1)) + "\n"
    });
    table::render(&COLUMNS, rows, look.width) + &ids.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{failed, look, operation, plain};

    #[test]
    fn an_operation_is_shown_with_its_attempts() {
        insta::assert_snapshot!(plain(&show(&failed(), &look())));
        insta::assert_snapshot!(plain(&show(&operation(), &look())));
    }

    #[test]
    fn what_never_started_did_not_take_any_time() {
        let mut skipped = operation();
        skipped.state = OperationState::Skipped;
        skipped.started_at = None;
        let text = plain(&show(&skipped, &look()));
        let ended = text.lines().find(|line| line.starts_with("ended"));
        assert!(ended.is_some_and(|line| line.ends_with("EET")), "{text}");
        assert!(!text.contains("after"), "{text}");
    }

    #[test]
    fn operations_fit_a_terminal() {
        let mut long = failed();
        long.backup = Some("before-the-great-migration-of-orders-2".to_owned());
        let page = Page {
            items: vec![operation(), long],
            next: Some("x".to_owned()),
        };
        let text = plain(&list(&page, &look()));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn ends_are_told_in_a_line_with_what_to_do() {
        let mut other_name = operation();
        other_name.backup = Some("2026-11-22-asked".to_owned());
        insta::assert_snapshot!(plain(
            &(ending(&operation()) + &ending(&other_name) + &ending(&failed()))
        ));
    }

    #[test]
    fn what_is_meant_without_an_id_is_the_one_that_runs() {
        let (one, other) = (operation(), failed());
        assert_eq!(
            the_running(std::slice::from_ref(&one), &[]).unwrap(),
            one.id
        );
        let told = |running: &[Operation], waiting: &[Operation]| {
            the_running(running, waiting).unwrap_err().to_string()
        };
        assert!(told(&[], &[]).contains("nothing to cancel"));
        let both = [one.clone(), other.clone()];
        assert!(told(&[], &both).contains("6f1c2d3e (backup 2026-11-22)"));
        assert_eq!(the_running(&[], &both[1..]).unwrap(), other.id);
        assert!(told(&[one, other], &[]).contains("2 operations run"));
    }

    #[test]
    fn an_id_is_meant_by_its_beginning_when_that_is_the_only_one() {
        let (one, other) = (operation(), failed());
        let both = [one.clone(), other];
        assert_eq!(the_one("6f1c2d3e00004", &both[..1]).unwrap(), Some(one.id));
        assert_eq!(the_one("abcd", &both).unwrap(), None);
        assert!(
            the_one("6f1c", &both)
                .unwrap_err()
                .to_string()
                .contains("beginning of")
        );
    }
}
