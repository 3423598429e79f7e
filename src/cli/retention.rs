//! `retention plan|adopt`.

use std::process::ExitCode;

use clap::Subcommand;
use clickhouse_backupd::api::v1::backup::BackupKind;
use clickhouse_backupd::api::v1::retention::{
    AdoptRequest, Adoption, Decision, PlanGroup, PlanLine, RetentionPlan,
};
use jiff::SignedDuration;

use super::client::{Answer, Client};
use super::output::Output;
use super::problem::Problem;
use super::table::{self, Cell, Column, maybe};
use super::text::{self, BOLD, GREEN, Look, RED, YELLOW, styled};

/// What can be asked about retention.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what would be kept and removed now, and why; nothing is done.
    Plan,
    /// Say that a change is meant (an emptied server, or another one), so that retention goes on.
    Adopt {
        /// Why, for whoever wonders.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Shows the plan, or adopts.
///
/// # Errors
/// When the daemon does not answer with what was asked for.
pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, Problem> {
    match command {
        Command::Plan => {
            let path = ["api", "v1", "retention", "plan"];
            let found: Answer<RetentionPlan> = client.get(&path, &[]).await?;
            output.answer(&found.text, || plan(&found.value, &output.look()))?;
        }
        Command::Adopt { reason } => {
            let path = ["api", "v1", "retention", "adopt"];
            let adopted: Answer<Adoption> = client.post(&path, &AdoptRequest { reason }).await?;
            output.answer(&adopted.text, || adoption(&adopted.value, &output.look()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why nothing goes first, then each group, then what it comes to.
fn plan(plan: &RetentionPlan, look: &Look) -> String {
    let mut out = String::new();
    for stop in &plan.stops {
        out += &format!("{RED}stopped:{RED:#} {}\n", text::clean(&stop.message));
    }
    if plan.lines.is_empty() {
        return out
            + match plan.stops.is_empty() {
                true => "no backups\n",
                false => "no backups are known yet\n",
            };
    }
    for group in plan
        .lines
        .chunk_by(|one, other| (one.group, &one.schedule) == (other.group, &other.schedule))
    {
        if !out.is_empty() {
            out += "\n";
        }
        out += &title(&group[0]);
        out += &lines(group, look);
    }
    out + "\n" + &total(plan)
}

fn title(line: &PlanLine) -> String {
    let title = match (line.group, &line.schedule) {
        (PlanGroup::Schedule, Some(schedule)) => format!("schedule {}", text::clean(schedule)),
        (PlanGroup::Schedule, None) => "a schedule".to_owned(),
        (PlanGroup::Manual, _) => "made by clients".to_owned(),
        (PlanGroup::Foreign, _) => "made by others".to_owned(),
    };
    styled(BOLD, &title) + "\n"
}

fn lines(group: &[PlanLine], look: &Look) -> String {
    const COLUMNS: [Column; 6] = [
        Column::name("NAME"),
        Column::words("KIND"),
        Column::number("AGE"),
        Column::number("WRITTEN"),
        Column::words("PLAN"),
        Column::name("WHY"),
    ];
    let row = |line: &PlanLine| {
        let age = i64::try_from(line.age_seconds).unwrap_or(i64::MAX);
        vec![
            Cell::from(&line.backup),
            Cell::from(match line.kind {
                BackupKind::Full => "full",
                BackupKind::Incremental => "increment",
            }),
            Cell::from(text::length(SignedDuration::from_secs(age))),
            maybe(line.bytes_written, text::bytes),
            match line.decision {
                Decision::Keep => Cell::styled(GREEN, "keep"),
                Decision::Remove => Cell::styled(YELLOW, "remove"),
            },
            Cell::from(line.reasons.join("; ")),
        ]
    };
    table::render(&COLUMNS, group.iter().map(row).collect(), look.width)
}

fn total(plan: &RetentionPlan) -> String {
    let kept = (plan.lines.len() as u64).saturating_sub(plan.removals);
    if plan.removals == 0 {
        return format!(
            "{} kept, nothing to remove\n",
            text::counted(kept, "backup")
        );
    }
    let word = match plan.stops.is_empty() {
        true => "to remove",
        false => "to remove once nothing stands against it",
    };
    format!(
        "{} kept, {} {word}: {}\n",
        text::counted(kept, "backup"),
        text::count(plan.removals),
        text::bytes(plan.freed_bytes)
    )
}

fn adoption(adoption: &Adoption, look: &Look) -> String {
    let by = adoption
        .by
        .as_deref()
        .map_or_else(String::new, |by| format!(" by {}", text::clean(by)));
    let reason = adoption
        .reason
        .as_deref()
        .map_or_else(String::new, |reason| {
            format!("\n  reason: {}", text::clean(reason))
        });
    format!(
        "adopted{by}, {}: suspect backups until now count as ordinary ones, and the backups of {} belong together{reason}\nwhat goes now: clickhouse-backupd retention plan\n",
        look.time(adoption.at),
        text::counted(adoption.servers.len() as u64, "server")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{at, look, plain};
    use clickhouse_backupd::api::v1::retention::{PlanStop, StopKind};

    fn line(name: &str, decision: Decision, reason: &str) -> PlanLine {
        PlanLine {
            backup: name.to_owned(),
            group: PlanGroup::Schedule,
            schedule: Some("daily".to_owned()),
            kind: BackupKind::Incremental,
            created_at: at("2026-11-22T00:01:06Z"),
            age_seconds: 64_734,
            bytes_written: Some(300_000_000),
            decision,
            reasons: vec![reason.to_owned(), "pinned by anna: the audit".to_owned()],
        }
    }

    #[test]
    fn a_plan_fits_a_terminal_and_tells_first_why_nothing_goes() {
        let mut manual = line("before-the-great-migration-of-orders", Decision::Keep, "x");
        manual.group = PlanGroup::Manual;
        manual.schedule = None;
        manual.bytes_written = None;
        let mut shown = RetentionPlan {
            lines: vec![
                line("2026-11-22", Decision::Keep, "last 14: 1st"),
                line("2026-11-01", Decision::Remove, "older than the last 14"),
                manual,
            ],
            stops: vec![PlanStop {
                kind: StopKind::Unbound,
                message: "no manifest of this server was read yet".to_owned(),
            }],
            removals: 1,
            freed_bytes: 300_000_000,
        };
        let text = plain(&plan(&shown, &look()));
        let table = text.lines().skip(1);
        assert!(
            table.clone().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        insta::assert_snapshot!(text);
        shown.stops.clear();
        shown.lines.clear();
        assert_eq!(plain(&plan(&shown, &look())), "no backups\n");
    }

    #[test]
    fn an_adoption_says_what_it_means() {
        let adopted = Adoption {
            at: at("2026-11-22T18:00:00Z"),
            by: Some("anna".to_owned()),
            reason: Some("orders were archived".to_owned()),
            servers: vec![uuid::Uuid::from_u128(1)],
        };
        insta::assert_snapshot!(plain(&adoption(&adopted, &look())));
    }
}
