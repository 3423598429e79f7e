//! `backup create|list|show|pin|unpin|delete`.

mod delete;
mod facts;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use clickhouse_backupd::api::v1::backup::{
    Backup, BackupDetails, BackupOrigin, BackupStatus, Contents, Inventory, PinRequest, Table,
};
use clickhouse_backupd::api::v1::operation::{BackupRequest, OperationRequest};
use clickhouse_backupd::api::v1::page::Page;
use clickhouse_backupd::backup::BackupName;
use serde_json::json;

use super::client::{Answer, Client, LIST_MAX_ROWS};
use super::operation::more;
use super::output::Output;
use super::problem::Problem;
use super::schedule::time;
use super::table::{self, Cell, Column, maybe};
use super::text::{self, BOLD, DIM, Look, YELLOW};
use super::wait::{self, Waiting};

pub use facts::{missing as missing_files, proof as proof_line};

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a backup, of everything if nothing is named, and wait for its end.
    Create(Create),
    /// List backups, newest first.
    List(List),
    /// Show one: what it holds and lacks, its proofs, whether it stays and why, and the statement that
    /// restores it without us.
    Show(Show),
    /// Pin one: neither retention nor `delete --force` removes it until it is unpinned.
    Pin(Pin),
    /// Let a pinned one go again.
    Unpin {
        /// Its name.
        name: String,
    },
    /// Delete one, and wait until its last object is gone.
    Delete(delete::Arguments),
}

/// Options of `backup create`.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Its name; without one, the time.
    name: Option<String>,
    /// Only this database, with `*` and `?`; can be given again.
    #[arg(long = "database", value_name = "DB", conflicts_with = "tables")]
    databases: Vec<String>,
    /// Only this table, as `database.table` with `*` and `?`; can be given again.
    #[arg(long = "table", value_name = "DB.TABLE")]
    tables: Vec<String>,
    /// Leave this table out; can be given again.
    #[arg(long, value_name = "DB.TABLE")]
    exclude: Vec<String>,
    /// Build on this backup: only what changed since is written.
    #[arg(long, value_name = "NAME")]
    base: Option<String>,
    /// Definitions only, no rows.
    #[arg(long)]
    schema_only: bool,
    /// Also users, roles, settings profiles, row policies and quotas.
    #[arg(long)]
    access: bool,
    /// Also SQL functions.
    #[arg(long)]
    functions: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Options of `backup list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only those of this schedule.
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Only those of this status. Without it those that are being removed, and those that are gone, are
    /// left out.
    #[arg(long, value_enum)]
    status: Option<StatusWord>,
    /// How many.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX_ROWS as i64))]
    count: u32,
    /// All of them.
    #[arg(long, conflicts_with = "count")]
    all: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StatusWord {
    Complete,
    Unproven,
    Suspect,
    Damaged,
    Broken,
    Deleting,
    Gone,
}

/// Options of `backup pin`.
#[derive(Debug, clap::Args)]
pub struct Pin {
    /// Its name.
    name: String,
    /// Why, for whoever wonders.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Options of `backup show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Its name.
    name: String,
    /// Every table in it.
    #[arg(long)]
    tables: bool,
}

/// Makes, lists or shows.
///
/// # Errors
/// When the daemon does not answer with what was asked for, or the backup failed.
pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, Problem> {
    match command {
        Command::Create(create) => {
            let waiting = create.waiting;
            let request = OperationRequest::Backup(create.into());
            let begun = client.post(&["api", "v1", "operations"], &request).await?;
            return wait::to_success(begun, waiting, client, output).await;
        }
        Command::List(arguments) => {
            let status = arguments.status.and_then(|word| word.to_possible_value());
            let status = status.map(|word| ("status", word.get_name().to_owned()));
            let schedule = arguments.schedule.map(|name| ("schedule", name));
            let filter: Vec<(&str, String)> = schedule.into_iter().chain(status).collect();
            let rows = if arguments.all {
                LIST_MAX_ROWS
            } else {
                arguments.count as usize
            };
            let path = ["api", "v1", "backups"];
            let found: Answer<Page<Backup>> = client.list(&path, &filter, rows).await?;
            output.answer(&found.text, || list(&found.value, &output.look()))?;
        }
        Command::Show(arguments) => {
            let found = details(&arguments.name, client).await?;
            output.answer(&found.text, || {
                show(&found.value, arguments.tables, &output.look())
            })?;
        }
        Command::Pin(arguments) => {
            let name = part_of_path(&arguments.name)?;
            let path = ["api", "v1", "backups", name.as_str(), "pin"];
            let request = PinRequest {
                reason: arguments.reason,
            };
            let pinned: Answer<Backup> = client.post(&path, &request).await?;
            output.answer(&pinned.text, || stands(&pinned.value))?;
        }
        Command::Unpin { name } => {
            let name = part_of_path(&name)?;
            let path = ["api", "v1", "backups", name.as_str(), "unpin"];
            let unpinned: Answer<Backup> = client.post(&path, &json!({})).await?;
            output.answer(&unpinned.text, || stands(&unpinned.value))?;
        }
        Command::Delete(arguments) => return delete::run(&arguments, client, output).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// How a backup stands after a pin or its end, in a line.
fn stands(backup: &Backup) -> String {
    let name = text::clean(&backup.name);
    if backup.pinned {
        return format!(
            "{name} is pinned: it stays until clickhouse-backupd backup unpin {name}\n"
        );
    }
    format!("{name} is not pinned: retention decides, see clickhouse-backupd backup show {name}\n")
}

/// A backup with what it holds.
///
/// # Errors
/// When there is none of that name.
pub async fn details(name: &str, client: &Client) -> Result<Answer<BackupDetails>, Problem> {
    let name = part_of_path(name)?;
    let path = ["api", "v1", "backups", name.as_str()];
    client.get(&path, &[]).await
}

/// A name that can stand in a path: a URL loses the parts `.` and `..`, and leads elsewhere then.
///
/// # Errors
/// When no backup can have it.
pub fn part_of_path(name: &str) -> Result<BackupName, Problem> {
    BackupName::parse(name).map_err(|error| {
        let hint = "clickhouse-backupd backup list has the names";
        Problem::stopped(error.to_string(), hint)
    })
}

impl From<Create> for BackupRequest {
    fn from(create: Create) -> Self {
        Self {
            backup: create.name,
            databases: create.databases,
            tables: create.tables,
            exclude_tables: create.exclude,
            base: create.base,
            access: create.access,
            functions: create.functions,
            structure_only: create.schema_only,
        }
    }
}

/// Backups as a table.
pub fn list(page: &Page<Backup>, look: &Look) -> String {
    const COLUMNS: [Column; 6] = [
        Column::name("NAME"),
        Column::words("MADE"),
        Column::number("WRITTEN"),
        Column::name("KIND"),
        Column::words("STATUS"),
        Column::name("BY"),
    ];
    if page.items.is_empty() {
        return "no backups\n".to_owned();
    }
    let row = |backup: &Backup| {
        let status = match backup.pinned {
            true => format!("{}, pinned", backup.status.as_str()),
            false => backup.status.as_str().to_owned(),
        };
        let by = match (&backup.schedule, backup.origin) {
            (Some(schedule), _) => schedule,
            (None, BackupOrigin::Schedule) => "schedule",
            (None, BackupOrigin::Client) => "client",
            (None, BackupOrigin::Foreign) if backup.status == BackupStatus::Broken => "-",
            (None, BackupOrigin::Foreign) => "others",
        };
        vec![
            Cell::from(&backup.name),
            time(backup.created_at, look),
            if backup.structure_only {
                Cell::styled(YELLOW, "no rows")
            } else {
                maybe(backup.bytes_written, text::bytes)
            },
            Cell::from(facts::kind(backup)),
            Cell::styled(facts::colour(backup.status), status),
            Cell::from(by),
        ]
    };
    let rows = page.items.iter().map(row).collect();
    table::render(&COLUMNS, rows, look.width) + &more(page.next.is_some(), page.items.len())
}

fn show(details: &BackupDetails, with_tables: bool, look: &Look) -> String {
    let mut out = table::facts(&facts::facts(details, look));
    out += &facts::missing(&details.backup, look);
    let Some(statement) = &details.restore_statement else {
        return out;
    };
    match &details.contents {
        Some(contents) => {
            out += "\n";
            out += &databases(contents, look);
            if with_tables {
                out += "\n";
                out += &tables(&contents.tables, look);
            }
            out += &not_covered(contents, look);
            out += &contents
                .inventory
                .as_ref()
                .map_or_else(String::new, inventory);
        }
        None => out += "\nWhat it holds was not written down.\n",
    }
    let statement = text::clean(statement);
    out += &format!(
        "\n{BOLD}Without this daemon{BOLD:#} it is restored by ClickHouse alone, with this statement:\n{statement};\n"
    );
    out
}

fn databases(contents: &Contents, look: &Look) -> String {
    const COLUMNS: [Column; 4] = [
        Column::name("DATABASE"),
        Column::number("TABLES"),
        Column::number("ROWS"),
        Column::number("BYTES"),
    ];
    let whole = contents
        .databases
        .iter()
        .map(|name| (name.as_str(), Vec::new()));
    let mut found: BTreeMap<&str, Vec<&Table>> = whole.collect();
    for table in &contents.tables {
        found.entry(&table.database).or_default().push(table);
    }
    let row = |(name, tables): (&str, Vec<&Table>)| {
        vec![
            Cell::from(name),
            Cell::from(text::count(tables.len() as u64)),
            maybe(sum(tables.iter().map(|table| table.rows)), text::count),
            maybe(sum(tables.iter().map(|table| table.bytes)), text::bytes),
        ]
    };
    table::render(&COLUMNS, found.into_iter().map(row).collect(), look.width)
}

/// The sum of what is known; nothing where nothing is.
pub fn sum(numbers: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    numbers.flatten().reduce(u64::saturating_add)
}

fn tables(tables: &[Table], look: &Look) -> String {
    const COLUMNS: [Column; 4] = [
        Column::name("TABLE"),
        Column::name("ENGINE"),
        Column::number("ROWS"),
        Column::number("BYTES"),
    ];
    let row = |table: &Table| {
        vec![
            Cell::from(format!("{}.{}", table.database, table.name)),
            Cell::from(&table.engine),
            maybe(table.rows, text::count),
            maybe(table.bytes, text::bytes),
        ]
    };
    table::render(&COLUMNS, tables.iter().map(row).collect(), look.width)
}

fn not_covered(contents: &Contents, look: &Look) -> String {
    if contents.not_covered.is_empty() {
        return String::new();
    }
    let line = |left_out: &clickhouse_backupd::api::v1::backup::NotCovered| {
        let what = text::middle(
            &text::clean(&left_out.what),
            look.width.unwrap_or(usize::MAX),
        );
        format!("  {what}: {}\n", text::clean(&left_out.reason))
    };
    let lines: String = contents.not_covered.iter().map(line).collect();
    let count = contents.not_covered.len();
    format!("\n{YELLOW}not in it{YELLOW:#} {DIM}({count}){DIM:#}:\n{lines}")
}

/// What a restore on another server may need, in a few lines.
fn inventory(inventory: &Inventory) -> String {
    let names = |names: Vec<&String>| {
        let names: Vec<String> = names.into_iter().map(|name| text::clean(name)).collect();
        names.join(", ")
    };
    let macros = inventory.macros.iter();
    let macros: Vec<String> = macros
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let lines = [
        (
            "storage policies",
            names(inventory.storage_policies.keys().collect()),
        ),
        ("macros", names(macros.iter().collect())),
        (
            "named collections",
            names(inventory.named_collections.iter().collect()),
        ),
        (
            "dictionaries of its configuration",
            names(inventory.dictionaries.iter().collect()),
        ),
        ("not known", names(inventory.unknown.iter().collect())),
    ];
    let lines: String = lines
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("  {what}: {names}\n"))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("\n{BOLD}On the server, and in no backup{BOLD:#}:\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{self, look, plain};

    #[test]
    fn what_is_no_name_is_asked_of_nobody() {
        for name in ["..", ".", "", "a/b"] {
            let problem = part_of_path(name).unwrap_err();
            assert_eq!(problem.exit_code(), 1);
            let told = problem.to_string();
            assert!(told.contains("is not 1 to 128"), "{told}");
        }
        assert_eq!(
            part_of_path("2026-11-22.2").unwrap().as_str(),
            "2026-11-22.2"
        );
    }

    #[test]
    fn backups_fit_a_terminal() {
        let mut long = testing::backup("before-the-great-migration-of-orders-2");
        long.schedule = None;
        long.tables = None;
        let page = Page {
            items: vec![testing::backup("2026-11-22"), long],
            next: None,
        };
        let text = plain(&list(&page, &look()));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_backup_is_shown_with_what_it_holds_and_lacks() {
        let mut details = testing::details();
        insta::assert_snapshot!(plain(&show(&details, true, &look())));
        details.contents = None;
        details.backup.asked_name = "2026-11-22-asked".to_owned();
        insta::assert_snapshot!(plain(&show(&details, false, &look())));
    }
}
