//! `backup delete`: says what goes, asks, and waits until it is gone.

use std::process::ExitCode;

use clickhouse_backupd::api::v1::backup::{BackupDetails, BackupStatus};

use super::{details, facts};
use crate::cli::client::Client;
use crate::cli::output::{self, Output};
use crate::cli::problem::Problem;
use crate::cli::table;
use crate::cli::text::{self, Look, YELLOW};
use crate::cli::wait::{self, Waiting};

/// Backups that are listed before a question.
const LISTED_MAX: usize = 50;

/// Options of `backup delete`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Its name.
    name: String,
    /// Also what is built on it, directly and through others.
    #[arg(long)]
    force: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Deletes a backup, or the remains of a broken one.
///
/// # Errors
/// When it is refused, not wanted after all, or did not end with everything gone.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    output: &Output,
) -> Result<ExitCode, Problem> {
    let found = details(&arguments.name, client).await?;
    let found = &found.value;
    refused(found, arguments.force)?;
    let name = text::clean(&found.backup.name);
    if !arguments.yes {
        if !output.can_ask {
            return Err(Problem::stopped(
                format!(
                    "{name} would be deleted, and nobody is there to be asked; nothing was done"
                ),
                "say --yes where that is meant",
            ));
        }
        // Standard output is for the answer.
        output.aside(told(found, &output.look()).trim_end());
        let said = output::ask(&format!("Type {name} to delete: "))?;
        if said != found.backup.name {
            return Err(Problem::stopped("nothing was done", ""));
        }
    }
    let path = ["api", "v1", "backups", found.backup.name.as_str()];
    let force = arguments.force.then(|| ("force", "true".to_owned()));
    let query: Vec<(&str, String)> = force.into_iter().collect();
    let begun = client.delete(&path, &query).await?;
    wait::to_success(begun, arguments.waiting, client, output).await
}

/// What the daemon would refuse is not asked about first.
fn refused(found: &BackupDetails, force: bool) -> Result<(), Problem> {
    let name = text::clean(&found.backup.name);
    if found.backup.pinned {
        return Err(Problem::stopped(
            format!("{name} is pinned, so that nothing deletes it"),
            format!("let it go first: clickhouse-backupd backup unpin {name}"),
        ));
    }
    if !found.needed_by.is_empty() && !force {
        let names: Vec<String> = found
            .needed_by
            .iter()
            .map(|name| text::clean(name))
            .collect();
        return Err(Problem::stopped(
            format!(
                "{name} is needed by {}, which could not be restored without it",
                text::some(&names, 5)
            ),
            format!("to delete all of them: clickhouse-backupd backup delete {name} --force"),
        ));
    }
    Ok(())
}

/// What goes.
fn told(found: &BackupDetails, look: &Look) -> String {
    let mut out = table::facts(&facts::facts(found, look));
    if found.backup.status == BackupStatus::Broken || found.needed_by.is_empty() {
        return out;
    }
    out += &format!(
        "{YELLOW}{} built on it, and will go with it:{YELLOW:#}\n",
        match found.needed_by.len() {
            1 => "1 backup is".to_owned(),
            more => format!("{} are", text::counted(more as u64, "backup")),
        }
    );
    for name in found.needed_by.iter().take(LISTED_MAX) {
        out += &format!("  {}\n", text::clean(name));
    }
    let more = found.needed_by.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        out += &format!("  and {more} more\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{self, look, plain};

    #[test]
    fn what_goes_is_told_and_what_would_be_refused_is_not_asked_about() {
        let mut found = testing::details();
        found.needed_by = vec!["2026-11-23".to_owned(), "2026-11-24".to_owned()];
        insta::assert_snapshot!(plain(&told(&found, &look())));
        let problem = refused(&found, false).unwrap_err();
        assert!(problem.to_string().contains("2026-11-23 and 2026-11-24"));
        assert!(problem.hint().ends_with("delete 2026-11-22 --force"));
        refused(&found, true).unwrap();
        found.backup.pinned = true;
        let problem = refused(&found, true).unwrap_err();
        assert!(problem.hint().ends_with("unpin 2026-11-22"));
    }
}
