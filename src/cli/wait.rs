//! Waiting for the end of an operation, and telling what came of it.

use std::process::ExitCode;
use std::time::Duration;

use clickhouse_backupd::api::v1::operation::{Operation, OperationState};
use clickhouse_backupd::api::v1::status::Status;
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::client::{Answer, Client};
use super::operation::{ending, name};
use super::output::Output;
use super::problem::Problem;
use super::progress::Reporter;
use super::text;

/// How long an operation may take without a word.
const FIRST_PIECE: Duration = Duration::from_secs(1);
/// How long a daemon that does not answer is asked again.
const AWAY_LIMIT: Duration = Duration::from_secs(30);
/// Between two questions to a daemon that does not answer.
const AWAY_PAUSE: Duration = Duration::from_secs(1);
/// An answer that comes at once although a wait was asked for is not asked for again sooner.
const ROUND_MIN: Duration = Duration::from_millis(200);

/// Options of commands that begin an operation.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Waiting {
    /// Do not wait for its end: print its id and go.
    #[arg(long)]
    pub no_wait: bool,
}

/// Waits for an operation that was begun, unless nobody wants to, and tells its end.
///
/// # Errors
/// When it did not succeed, or the daemon went away meanwhile.
pub async fn to_success(
    begun: Answer<Operation>,
    waiting: Waiting,
    client: &Client,
    output: &Output,
) -> Result<ExitCode, Problem> {
    if waiting.no_wait {
        output.answer(&begun.text, || accepted(&begun.value))?;
        return Ok(ExitCode::SUCCESS);
    }
    let ended = to_end(begun, client, output).await?;
    let succeeded = ended.value.state == OperationState::Succeeded;
    if output.json {
        output.json(&ended.text)?;
    } else if succeeded {
        super::output::print(&ending(&ended.value))?;
    } else {
        output.aside(ending(&ended.value).trim_end());
    }
    if succeeded {
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}

/// Waits until an operation has ended, and shows how far it is meanwhile.
///
/// # Errors
/// When the daemon stays away, or somebody presses Ctrl-C.
pub async fn to_end(
    mut known: Answer<Operation>,
    client: &Client,
    output: &Output,
) -> Result<Answer<Operation>, Problem> {
    let id = known.value.id;
    let mut reporter = Reporter::new(output.is_watched, &known.value);
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut behind = Behind::default();
    // What ends at once is not worth a word about its way there.
    let mut told = false;
    while !known.value.state.is_final() {
        let next = async {
            if told {
                let ahead = behind.ask(&known.value, client).await;
                reporter.show(&known.value, ahead.as_deref(), &output.look(), output);
            }
            let piece = if told { reporter.piece() } else { FIRST_PIECE };
            patiently(id, piece, client, output).await
        };
        tokio::select! {
            biased;
            _ = &mut interrupt => {
                reporter.clear();
                return Err(interrupted(known));
            }
            next = next => match next {
                Ok(answer) => (known, told) = (answer, true),
                Err(problem) => {
                    reporter.clear();
                    output.aside(&goes_on(&known.value));
                    return Err(problem);
                }
            }
        }
    }
    reporter.clear();
    Ok(known)
}

/// Asks for an operation, and goes on asking while the daemon is away for a while.
async fn patiently(
    id: Uuid,
    piece: Duration,
    client: &Client,
    output: &Output,
) -> Result<Answer<Operation>, Problem> {
    let id = id.to_string();
    let path = ["api", "v1", "operations", &id];
    let wait = [("wait", format!("{}s", piece.as_secs()))];
    let mut away_since: Option<Instant> = None;
    loop {
        let asked_at = Instant::now();
        match client.get::<Operation>(&path, &wait).await {
            Ok(answer) => {
                if !answer.value.state.is_final() {
                    tokio::time::sleep_until(asked_at + ROUND_MIN).await;
                }
                return Ok(answer);
            }
            Err(problem) if problem.is_passing() => {
                let since = *away_since.get_or_insert_with(|| {
                    let seconds = AWAY_LIMIT.as_secs();
                    output.aside(&format!("{problem}; asking again for {seconds} s"));
                    asked_at
                });
                if since.elapsed() >= AWAY_LIMIT {
                    return Err(problem);
                }
                tokio::time::sleep(AWAY_PAUSE).await;
            }
            Err(problem) => return Err(problem),
        }
    }
}

/// Which operation another one waits for, asked once for as long as it waits.
#[derive(Default)]
struct Behind(Option<Option<String>>);

impl Behind {
    async fn ask(&mut self, operation: &Operation, client: &Client) -> Option<String> {
        let waits_its_turn = operation.state == OperationState::Pending
            && operation.not_before.is_none()
            && operation.unreachable_since.is_none();
        if !waits_its_turn {
            self.0 = None;
            return None;
        }
        if self.0.is_none() {
            // It is not worth failing for.
            let status = client.get::<Status>(&["api", "v1", "status"], &[]).await;
            let ahead = status.ok().and_then(|status| {
                let mut running = status.value.running.into_iter();
                running.find(|other| other.id != operation.id)
            });
            self.0 =
                Some(ahead.map(|ahead| format!("{} ({})", text::short(ahead.id), name(&ahead))));
        }
        self.0.clone().flatten()
    }
}

/// What an operation waits for, or does, in words.
pub fn doing(operation: &Operation, behind: Option<&str>, look: &text::Look) -> String {
    if let Some(since) = operation.unreachable_since {
        return format!("ClickHouse does not answer since {}", look.time(since));
    }
    let is_later = |time: &Timestamp| *time > look.now;
    match (
        operation.state,
        operation.not_before.filter(is_later),
        behind,
    ) {
        (OperationState::Pending, Some(time), _) => {
            let why = operation
                .failure
                .as_ref()
                .map_or("an attempt failed", |failure| &failure.kind);
            format!("{}; tries again {}", text::clean(why), look.distance(time))
        }
        (OperationState::Pending, None, Some(other)) => format!("waits behind operation {other}"),
        (OperationState::Pending, None, None) => "waits for its turn".to_owned(),
        (state, ..) => state.as_str().to_owned(),
    }
}

fn accepted(operation: &Operation) -> String {
    format!(
        "operation {}: {}, {}\nwatch it with: clickhouse-backupd operation show {}\n",
        operation.id,
        name(operation),
        operation.state.as_str(),
        text::short(operation.id)
    )
}

fn goes_on(operation: &Operation) -> String {
    let short = text::short(operation.id);
    format!(
        "operation {} goes on: {}\n  watch it with:  clickhouse-backupd operation show {short}\n  cancel it with: clickhouse-backupd cancel {short}",
        operation.id,
        name(operation)
    )
}

fn interrupted(known: Answer<Operation>) -> Problem {
    Problem::Interrupted {
        message: goes_on(&known.value),
        answer: known.text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{look, operation};

    #[test]
    fn a_wait_is_told_in_words() {
        let look = look();
        let mut waits = operation();
        waits.state = OperationState::Pending;
        assert_eq!(doing(&waits, None, &look), "waits for its turn");
        assert_eq!(
            doing(&waits, Some("6f1c0000 (backup nightly)"), &look),
            "waits behind operation 6f1c0000 (backup nightly)"
        );
        waits.not_before = Some("2026-11-22T18:01:30Z".parse().unwrap());
        assert_eq!(
            doing(&waits, None, &look),
            "an attempt failed; tries again in 1m 30s"
        );
        waits.state = OperationState::Running;
        assert_eq!(doing(&waits, None, &look), "running");
        waits.unreachable_since = Some("2026-11-22T17:59:00Z".parse().unwrap());
        assert_eq!(
            doing(&waits, None, &look),
            "ClickHouse does not answer since 2026-11-22 19:59 EET"
        );
    }

    #[test]
    fn what_goes_on_can_be_found_again() {
        insta::assert_snapshot!(goes_on(&operation()), @"
        operation 6f1c2d3e-0000-4000-8000-000000000001 goes on: backup 2026-11-22
          watch it with:  clickhouse-backupd operation show 6f1c2d3e
          cancel it with: clickhouse-backupd cancel 6f1c2d3e
        ");
    }
}
