//! `clean`: removes what attempts that died have left behind.

use std::process::ExitCode;

use clickhouse_backupd::api::v1::backup::Backup;
use clickhouse_backupd::api::v1::operation::{CleanRequest, OperationRequest};
use clickhouse_backupd::api::v1::page::Page;

use super::client::{Answer, Client, LIST_MAX_ROWS};
use super::output::{self, Output};
use super::problem::Problem;
use super::table::{self, Cell, Column, maybe};
use super::text::{self, Look};
use super::wait::{self, Waiting};

/// Options of `clean`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Says what would go, asks, removes it and waits for the end.
///
/// # Errors
/// When it is refused, not wanted after all, or not everything went.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    output: &Output,
) -> Result<ExitCode, Problem> {
    let broken = [("status", "broken".to_owned())];
    let path = ["api", "v1", "backups"];
    let found: Answer<Page<Backup>> = client.list(&path, &broken, LIST_MAX_ROWS).await?;
    if found.value.items.is_empty() {
        output.answer(&found.text, || {
            "nothing to clean: no attempt that died has left anything behind\n".to_owned()
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    // Standard output is for the answer.
    output.aside(told(&found.value.items, &output.look()).trim_end());
    if !arguments.yes {
        if !output.can_ask {
            return Err(Problem::stopped(
                "these would be removed, and nobody is there to be asked; nothing was done",
                "say --yes where that is meant",
            ));
        }
        let said = output::ask("Remove them? [y/N] ")?;
        if !["y", "yes"].contains(&said.to_lowercase().as_str()) {
            return Err(Problem::stopped("nothing was done", ""));
        }
    }
    let request = OperationRequest::Clean(CleanRequest {});
    let begun = client.post(&["api", "v1", "operations"], &request).await?;
    wait::to_success(begun, arguments.waiting, client, output).await
}

fn told(broken: &[Backup], look: &Look) -> String {
    const COLUMNS: [Column; 5] = [
        Column::name("REMAINS"),
        Column::words("LAST WRITTEN"),
        Column::number("OBJECTS"),
        Column::number("BYTES"),
        Column::name("WHY"),
    ];
    let row = |one: &Backup| {
        let at = one.created_at.map(|at| look.time(at));
        vec![
            Cell::from(&one.name),
            Cell::from(at.unwrap_or_else(|| "-".to_owned())),
            maybe(one.files, text::count),
            maybe(one.bytes_written, text::bytes),
            Cell::from(one.status_reason.as_deref().unwrap_or("-")),
        ]
    };
    table::render(&COLUMNS, broken.iter().map(row).collect(), look.width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{broken, look, plain};

    #[test]
    fn what_would_go_fits_a_terminal() {
        let text = plain(&told(&[broken("2026-11-20")], &look()));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }
}
