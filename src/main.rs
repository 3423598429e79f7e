//! The command line: to an exit code.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("clickhouse-backupd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
