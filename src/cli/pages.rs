//! The OpenAPI document, completion scripts and manual pages: made from the code, without a daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::Shell;
use clickhouse_backupd::api::v1;

use super::output::print;

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

/// Options of `man`.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Write a page for every command into this folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the OpenAPI document.
///
/// # Errors
/// When it cannot be printed.
pub fn openapi() -> anyhow::Result<ExitCode> {
    print(&(v1::document().trim_end().to_owned() + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a completion script.
///
/// # Errors
/// When it cannot be printed.
pub fn completions(
    arguments: &Completions,
    mut command: clap::Command,
) -> anyhow::Result<ExitCode> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, &name, &mut script);
    let script = String::from_utf8_lossy(&script);
    match arguments.shell {
        Shell::Bash => print(&one_label(&script, &name))?,
        _ => print(&script)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives the labels of a bash script one spelling.
///
/// The generator spells a hyphen in the program's name `__` where the script finds the command, and
/// `__subcmd__` where it looks for that command's words: below the first word nothing would match.
fn one_label(script: &str, name: &str) -> String {
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

/// Prints the manual page, or writes all of them.
///
/// # Errors
/// When they cannot be written.
pub fn man(arguments: &Man, command: clap::Command) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &arguments.dir {
        let doing = || format!("writing manual pages to {}", dir.display());
        std::fs::create_dir_all(dir).with_context(doing)?;
        clap_mangen::generate_to(command, dir).with_context(doing)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(ExitCode::SUCCESS)
}
