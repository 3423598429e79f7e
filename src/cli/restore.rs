//! `restore`: says what it will do, asks, does it, and waits for its end.

mod plan;
mod request;

use std::process::ExitCode;

use clickhouse_backupd::api::v1::backup::Contents;
use clickhouse_backupd::api::v1::operation::{
    Existing, OperationRequest, RestoreCheck, RestoreRequest,
};

use super::backup::details;
use super::client::{Answer, Client};
use super::operation::hint;
use super::output::{self, Output};
use super::problem::Problem;
use super::text;
use super::wait::{self, Waiting};
use plan::Danger;

/// Options of `restore`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "\
Examples:
  one table, beside the live one:
    restore 2026-11-22 --table shop.orders --into shop_old
  a database as it was, in place of what is there:
    restore 2026-11-22 --database shop --drop")]
pub struct Arguments {
    /// The backup.
    pub name: String,
    /// Only this table, as `database.table` with `*` and `?`; can be given again.
    #[arg(long = "table", value_name = "DB.TABLE")]
    pub tables: Vec<String>,
    /// Only the tables of this database; can be given again.
    // Together they would be the union, and whoever names both means the table in that database.
    #[arg(long = "database", value_name = "DB", conflicts_with = "tables")]
    pub databases: Vec<String>,
    /// Put all of it into this database.
    #[arg(long, value_name = "DB")]
    pub into: Option<String>,
    /// Give a table another name, `orders=orders_old` or with databases; can be given again.
    #[arg(long, value_name = "FROM=TO")]
    pub rename: Vec<String>,
    /// Definitions only, no rows.
    #[arg(long)]
    pub schema_only: bool,
    /// Drop tables of these names first.
    #[arg(long, conflicts_with = "append")]
    pub drop: bool,
    /// Add the rows to those of tables that are there.
    #[arg(long)]
    pub append: bool,
    /// Only say what would happen.
    #[arg(long)]
    pub check: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub waiting: Waiting,
}

/// Restores.
///
/// # Errors
/// When it is refused, not wanted after all, or failed.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    output: &Output,
) -> Result<ExitCode, Problem> {
    let contents = contents(arguments, client).await?;
    let mut request = request::request(arguments, contents.as_ref())?;
    let path = ["api", "v1", "operations"];
    let asked = OperationRequest::Restore(RestoreRequest {
        check: true,
        ..request.clone()
    });
    let check: Answer<RestoreCheck> = client.post(&path, &asked).await?;
    tell(arguments, request.existing, &check, output)?;
    if let Some(refused) = &check.value.refused {
        return Err(Problem::Stopped {
            message: format!("refused: {}", refused.message),
            hint: hint(refused),
            answer: Some(check.text),
        });
    }
    if arguments.check {
        return Ok(ExitCode::SUCCESS);
    }
    let danger = plan::danger(&check.value, request.existing);
    let is_known = check.value.tables.is_some();
    agreed(arguments, danger.as_ref(), is_known, output)?;
    // Where nothing is to be dropped, nothing was agreed to: what comes there meanwhile stays.
    if request.existing == Existing::Drop && !matches!(danger, Some(Danger::Drops(_))) {
        request.existing = Existing::Refuse;
    }
    let begun = client
        .post(&path, &OperationRequest::Restore(request))
        .await?;
    wait::to_success(begun, arguments.waiting, client, output).await
}

/// What the backup holds, where the request cannot be understood without it.
async fn contents(arguments: &Arguments, client: &Client) -> Result<Option<Contents>, Problem> {
    let is_said =
        arguments.into.is_none() || !arguments.tables.is_empty() || !arguments.databases.is_empty();
    if is_said {
        return Ok(None);
    }
    let found = details(&arguments.name, client).await?;
    Ok(found.value.contents)
}

/// What would happen: the answer of `--check`, else what has to be known before it is agreed to.
fn tell(
    arguments: &Arguments,
    existing: Existing,
    check: &Answer<RestoreCheck>,
    output: &Output,
) -> Result<(), Problem> {
    let told = || {
        plan::told(
            &check.value,
            existing,
            arguments.schema_only,
            &output.look(),
        )
    };
    match (output.json, arguments.check) {
        (false, _) => output::print(&told())?,
        // A refusal prints the same answer.
        (true, true) if check.value.refused.is_none() => output.json(&check.text)?,
        (true, false) if output.can_ask && !arguments.yes => output.aside(told().trim_end()),
        (true, _) => {}
    }
    Ok(())
}

/// Asks whoever sits there; a drop is agreed to by the name of the backup, so that no habit does it.
fn agreed(
    arguments: &Arguments,
    danger: Option<&Danger>,
    is_known: bool,
    output: &Output,
) -> Result<(), Problem> {
    if arguments.yes {
        return Ok(());
    }
    let drops = matches!(danger, Some(Danger::Drops(_)));
    if !output.can_ask {
        return unasked(&arguments.name, drops, is_known);
    }
    let question = if drops {
        format!(
            "Type {} to drop and restore: ",
            text::clean(&arguments.name)
        )
    } else {
        "Restore? [y/N] ".to_owned()
    };
    let said = output::ask(&question)?;
    let agrees = if drops {
        said == arguments.name
    } else {
        ["y", "yes"].contains(&said.to_lowercase().as_str())
    };
    if agrees {
        return Ok(());
    }
    Err(Problem::stopped("nothing was done", ""))
}

/// What is done without a question where nobody can be asked: only what the check could look at and
/// found harmless.
fn unasked(name: &str, drops: bool, is_known: bool) -> Result<(), Problem> {
    if !is_known {
        return Err(Problem::stopped(
            format!(
                "it is not known here what {} holds, and nobody is there to be asked; nothing was done",
                text::clean(name)
            ),
            "see what there is with: clickhouse-backupd backup list; say --yes where this one is meant",
        ));
    }
    if drops {
        return Err(Problem::stopped(
            "tables would be dropped, and nobody is there to be asked; nothing was done",
            "say --yes where that is meant",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unasked_only_what_is_known_to_be_harmless_is_done() {
        let told = |drops, is_known| {
            let problem = unasked("2026-11-22", drops, is_known).unwrap_err();
            assert_eq!(problem.exit_code(), 1);
            assert!(problem.hint().contains("--yes"));
            problem.to_string()
        };
        assert!(told(false, false).starts_with("it is not known here what 2026-11-22 holds"));
        assert!(told(true, false).starts_with("it is not known"));
        assert!(told(true, true).starts_with("tables would be dropped"));
        unasked("2026-11-22", false, true).unwrap();
    }
}
