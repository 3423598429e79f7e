//! `verify`: proves a backup, and says what is missing.

use std::process::ExitCode;

use clickhouse_backupd::api::v1::backup::{BackupDetails, ProofLevel, VerifyLevelRequest};
use clickhouse_backupd::api::v1::operation::{Operation, OperationState};

use super::backup::{details, missing_files, part_of_path, proof_line};
use super::client::{Answer, Client};
use super::operation::ending;
use super::output::{self, Output};
use super::problem::Problem;
use super::text::{self, Look};
use super::wait::{self, Waiting};

/// Options of `verify`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The backup.
    name: String,
    #[command(flatten)]
    waiting: Waiting,
}

/// Proves, and waits for what comes of it.
///
/// # Errors
/// When it could not be looked at.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    output: &Output,
) -> Result<ExitCode, Problem> {
    let name = part_of_path(&arguments.name)?;
    let path = ["api", "v1", "backups", name.as_str(), "verify"];
    let request = VerifyLevelRequest {
        level: ProofLevel::Files,
    };
    let begun: Answer<Operation> = client.post(&path, &request).await?;
    if arguments.waiting.no_wait {
        return wait::to_success(begun, arguments.waiting, client, output).await;
    }
    let ended = wait::to_end(begun, client, output).await?;
    let passed = ended.value.state == OperationState::Succeeded;
    if output.json {
        output.json(&ended.text)?;
    } else {
        // What came of it is written down with the backup, which may have gone meanwhile.
        let found = details(name.as_str(), client).await.ok();
        let found = found.as_ref().map(|found| &found.value);
        let told = told(&ended.value, found, &output.look());
        output::print(&told)?;
    }
    Ok(match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The proof that this operation made and what it did not find, or why it made none.
fn told(ended: &Operation, found: Option<&BackupDetails>, look: &Look) -> String {
    let proof = found.and_then(|found| {
        let made = |at: jiff::Timestamp| ended.started_at.is_some_and(|start| at >= start);
        let mut proofs = found.backup.proofs.iter();
        Some((&found.backup, proofs.find(|proof| made(proof.at))?))
    });
    let is_told = matches!(ended.state, OperationState::Succeeded)
        || ended
            .failure
            .as_ref()
            .is_some_and(|failure| failure.kind == "damaged");
    match proof.filter(|_| is_told) {
        Some((backup, proof)) => {
            let name = text::clean(&backup.name);
            format!(
                "{name} {}\n{}",
                proof_line(proof, look),
                missing_files(backup, look)
            )
        }
        None => ending(ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{self, look, plain};
    use clickhouse_backupd::api::v1::operation::{Failure, OperationKind};

    fn ended(state: OperationState, failure: Option<&str>) -> Operation {
        Operation {
            kind: OperationKind::Verify,
            state,
            result: None,
            failure: failure.map(|kind| Failure {
                kind: kind.to_owned(),
                message: "listing the destination: 503".to_owned(),
                hint: "look".to_owned(),
            }),
            ..testing::operation()
        }
    }

    #[test]
    fn what_a_proof_found_is_told_with_what_is_missing() {
        let mut found = testing::details();
        let passed = ended(OperationState::Succeeded, None);
        insta::assert_snapshot!(plain(&told(&passed, Some(&found), &look())), @"2026-11-22 passed: 1,234 files, 1.21 GiB looked for in 14s, 2026-11-22 02:02 EET");
        found.backup.proofs = vec![testing::damaged()];
        let damaged = ended(OperationState::Failed, Some("damaged"));
        insta::assert_snapshot!(plain(&told(&damaged, Some(&found), &look())));
        let failed = ended(OperationState::Failed, Some("destination"));
        let text = plain(&told(&failed, Some(&found), &look()));
        assert!(
            text.contains("503") && !text.contains("looked for"),
            "{text}"
        );
    }
}
