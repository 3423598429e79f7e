//! `migrate check`: what the server we replace was told, as a configuration of ours.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use clickhouse_backupd::clock::Clock;
use clickhouse_backupd::config::{self, ConfigErrors, Migration, OldSetup};

use super::output::print;

/// What can be done about the server we replace.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the configuration that means what the old server was told, and everything that is different.
    ///
    /// The configuration goes to standard output, warnings go to standard error. Without options the
    /// variables of this process are read. No secret is printed.
    Check(Check),
}

/// Options of `migrate check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The old server's variables, one NAME=value a line, as `env` prints them; - is standard input.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// The old server's YAML file (config.yml); variables are above it only with --env-file.
    #[arg(long, value_name = "FILE")]
    yaml: Option<PathBuf>,
}

/// Prints what an old setup means here.
///
/// # Errors
/// When it cannot be printed.
pub fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Check(Check { env_file, yaml }) = command;
    let read = OldSetup::read(env_file.as_deref(), yaml.as_deref());
    match read.and_then(|setup| config::migrate(&setup, Clock::System.now())) {
        Ok(Migration { toml, warnings }) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            print(&toml)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => Ok(refused(&errors)),
    }
}

/// Nothing is printed to standard output then: a file that is half right would be taken for a whole one.
fn refused(errors: &ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    eprintln!("this setup cannot be taken over as it is; docs/migration.md has the steps");
    ExitCode::FAILURE
}
