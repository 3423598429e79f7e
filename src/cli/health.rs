//! `health`: one word and an exit code, for the health check of a container.

use std::process::ExitCode;
use std::time::Duration;

use super::client::Client;
use super::connection::Connection;
use super::output::Output;
use super::problem::Problem;

/// A health check that waits longer is taken for a failed one anyway.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// Options of `health`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Whether it is ready to serve, not only whether it lives.
    #[arg(long)]
    ready: bool,
}

/// Asks a probe, and prints one word; 0 when it is well, else 1.
///
/// # Errors
/// When the options mean nothing, or the word cannot be printed.
pub async fn run(
    arguments: &Arguments,
    connection: &Connection,
    output: &Output,
) -> Result<ExitCode, Problem> {
    let client = Client::new(connection, HEALTH_LIMIT)?;
    let (path, well, unwell) = if arguments.ready {
        ("readyz", "ready", "starting")
    } else {
        ("livez", "alive", "failing")
    };
    let (word, code) = match client.probe(&[path]).await {
        Ok(true) => (well, ExitCode::SUCCESS),
        Ok(false) => (unwell, ExitCode::FAILURE),
        // Also when something else answers: the daemon is not reached then.
        Err(_) => ("unreachable", ExitCode::FAILURE),
    };
    let json = format!("{{\"health\":\"{word}\"}}");
    output.answer(&json, || format!("{word}\n"))?;
    Ok(code)
}
