//! The command line: what can be asked for, and who does it.
//!
//! `server`, `config` and `schedule next` read the configuration (`local`), `migrate` reads that of the
//! server we replace; everything else is a client of the API like any other and knows no more than an
//! answer says.

mod backup;
mod clean;
mod client;
mod connect;
mod connection;
mod health;
mod local;
mod migrate;
mod operation;
mod output;
mod pages;
mod problem;
mod progress;
mod restore;
mod retention;
mod schedule;
mod status;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod verify;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use clickhouse_backupd::config::Source;

use client::Client;
use connection::Connection;
use output::Output;
use problem::Problem;

/// The backup daemon for ClickHouse, and the commands that talk to it.
#[derive(Debug, Parser)]
#[command(
    name = "clickhouse-backupd",
    version,
    about = "Backs up ClickHouse on schedule: the daemon, and the commands that ask it",
    long_about = None,
    arg_required_else_help = false,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 the daemon cannot be reached, 64 the configuration is not valid, 130 interrupted."
)]
pub struct Arguments {
    /// The configuration file, for `server`, `config` and `schedule next`.
    ///
    /// Default: what `BACKUPD_CONFIG` names, else /etc/clickhouse-backupd/config.toml.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon; the default.
    Server,
    /// Look at the configuration.
    #[command(subcommand)]
    Config(local::ConfigCommand),
    /// Take over what the old backup server was told.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Show everything at a glance: what runs, what comes, what is wrong.
    Status(status::Arguments),
    /// Make, list, show, pin and delete backups.
    #[command(subcommand)]
    Backup(backup::Command),
    /// Restore a backup: says what it will do before it does it.
    Restore(restore::Arguments),
    /// Prove a backup: that every file of it, and of those it is built on, is there.
    Verify(verify::Arguments),
    /// Remove what attempts that died have left behind: says what that is before it does it.
    Clean(clean::Arguments),
    /// Say what retention keeps and removes, and that a change is meant.
    #[command(subcommand)]
    Retention(retention::Command),
    /// Look at operations: everything that was asked for, and what came of it.
    #[command(subcommand)]
    Operation(operation::Command),
    /// End an operation that has not ended.
    Cancel(operation::Cancel),
    /// Look at schedules, run and pause them.
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Say whether the daemon lives, for the health check of a container.
    Health(health::Arguments),
    /// Print the OpenAPI document of the API.
    Openapi,
    /// Print a completion script for a shell.
    Completions(pages::Completions),
    /// Print the manual page, or write one for every command.
    Man(pages::Man),
}

/// Runs a command.
///
/// # Errors
/// When it failed; what was told already is an exit code instead.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        config,
        connection,
        command,
    } = arguments;
    let command = command.unwrap_or(Command::Server);
    if !command.asks_the_daemon() {
        if connection.json {
            let mut arguments = Arguments::command();
            arguments
                .error(
                    ErrorKind::ArgumentConflict,
                    "--json is for the commands that ask the daemon",
                )
                .exit();
        }
        return here(command, Source::from_process(config));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let output = Output::of_process(connection.json);
    let done = runtime.block_on(there(command, &connection, &output));
    // A look-up of a host name that hangs must not keep the process.
    runtime.shutdown_background();
    match done {
        Ok(code) => Ok(code),
        Err(problem) => Ok(output.problem(&problem)),
    }
}

impl Command {
    /// Whether the daemon is asked; the others work where they are.
    fn asks_the_daemon(&self) -> bool {
        match self {
            Self::Server
            | Self::Config(_)
            | Self::Migrate(_)
            | Self::Openapi
            | Self::Completions(_)
            | Self::Man(_) => false,
            Self::Schedule(command) => !matches!(command, schedule::Command::Next(_)),
            Self::Status(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Verify(_)
            | Self::Clean(_)
            | Self::Retention(_)
            | Self::Operation(_)
            | Self::Cancel(_)
            | Self::Health(_) => true,
        }
    }
}

/// What needs no daemon.
fn here(command: Command, source: Source) -> anyhow::Result<ExitCode> {
    match command {
        Command::Config(command) => local::configuration(&source, &command),
        Command::Migrate(command) => migrate::run(&command),
        Command::Schedule(schedule::Command::Next(next)) => local::coming_slots(&source, &next),
        Command::Openapi => pages::openapi(),
        Command::Completions(completions) => pages::completions(&completions, Arguments::command()),
        Command::Man(man) => pages::man(&man, Arguments::command()),
        _ => local::serve(source),
    }
}

/// What the daemon is asked for.
async fn there(
    command: Command,
    connection: &Connection,
    output: &Output,
) -> Result<ExitCode, Problem> {
    if let Command::Health(arguments) = &command {
        return health::run(arguments, connection, output).await;
    }
    let client = Client::new(connection, client::ANSWER_LIMIT)?;
    match command {
        Command::Status(arguments) => status::run(&arguments, &client, output).await,
        Command::Backup(command) => backup::run(command, &client, output).await,
        Command::Restore(arguments) => restore::run(&arguments, &client, output).await,
        Command::Verify(arguments) => verify::run(&arguments, &client, output).await,
        Command::Clean(arguments) => clean::run(&arguments, &client, output).await,
        Command::Retention(command) => retention::run(command, &client, output).await,
        Command::Operation(command) => operation::run(command, &client, output).await,
        Command::Cancel(arguments) => operation::cancel(&arguments, &client, output).await,
        Command::Schedule(command) => schedule::run(command, &client, output).await,
        // The others are done here; see `asks_the_daemon`.
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn secrets_are_not_in_the_help() {
        let mut command = Arguments::command();
        let help = command.render_long_help().to_string();
        assert!(help.contains("--token-file"), "{help}");
        assert!(!help.contains("--password"), "{help}");
    }
}
