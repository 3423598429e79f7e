//! The OpenAPI document, completion scripts and manual pages: made from the code, without a daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};
use clickhouse_backupd::api::v1;

use super::output::print;

/// What a manual page says of exit codes.
const EXIT_STATUS: [(&str, &str); 6] = [
    ("0", "It was done."),
    (
        "1",
        "It failed, was refused or cancelled; health and status --check: not well.",
    ),
    ("2", "Wrong usage."),
    ("3", "The daemon cannot be reached."),
    ("64", "The configuration is not valid."),
    (
        "130",
        "Interrupted while waiting; the operation goes on in ClickHouse.",
    ),
];
/// What a manual page says of variables.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("BACKUPD_URL", "Where the daemon is, as --url."),
    ("BACKUPD_TOKEN", "A bearer token."),
    (
        "BACKUPD_TOKEN_FILE",
        "A file with a bearer token, as --token-file.",
    ),
    (
        "API_USERNAME, API_PASSWORD",
        "A user and the password, where there is no token.",
    ),
    (
        "BACKUPD_CA_FILE",
        "A file with the certificates to trust, as --ca-file.",
    ),
    (
        "BACKUPD_CONFIG",
        "The configuration file, for server, config and schedule next.",
    ),
    ("NO_COLOR", "No colours on a terminal."),
];

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
pub fn man(arguments: &Man, mut command: clap::Command) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &arguments.dir {
        let doing = || format!("writing manual pages to {}", dir.display());
        std::fs::create_dir_all(dir).with_context(doing)?;
        // Names of commands below others hold those of the others once it is built.
        command.build();
        write_pages(&command, dir).with_context(doing)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&String::from_utf8_lossy(&page(&command)?))?;
    Ok(ExitCode::SUCCESS)
}

fn write_pages(command: &clap::Command, dir: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands() {
        write_pages(below, dir)?;
    }
    let name = clap_mangen::Man::new(command.clone()).get_filename();
    std::fs::write(dir.join(name), page(command)?)
}

/// The page of a command: its own sections in the usual order, where the generator has one for all of
/// the text below the help, `EXTRA`.
fn page(command: &clap::Command) -> std::io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    list("EXIT STATUS", &EXIT_STATUS).to_writer(&mut page)?;
    list("ENVIRONMENT", &ENVIRONMENT).to_writer(&mut page)?;
    if let Some(examples) = examples(command) {
        examples.to_writer(&mut page)?;
    }
    if command.get_version().is_some() {
        man.render_version_section(&mut page)?;
    }
    Ok(page)
}

fn list(title: &str, entries: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (name, meaning) in entries {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*meaning)]);
    }
    roff
}

/// The examples below the help, with their lines as they are.
fn examples(command: &clap::Command) -> Option<Roff> {
    let help = command.get_after_help()?.to_string();
    let lines = help.strip_prefix("Examples:\n")?;
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    Some(roff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Arguments;
    use clap::CommandFactory as _;

    fn sections(command: &clap::Command) -> Vec<String> {
        let page = String::from_utf8(page(command).unwrap()).unwrap();
        let titles = page.lines().filter_map(|line| line.strip_prefix(".SH "));
        titles.map(|title| title.replace('"', "")).collect()
    }

    #[test]
    fn pages_have_the_usual_sections() {
        let mut command = Arguments::command();
        command.build();
        let root = sections(&command);
        assert_eq!(root[..4], ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"]);
        assert_eq!(
            root[5..],
            ["SUBCOMMANDS", "EXIT STATUS", "ENVIRONMENT", "VERSION"]
        );
        let restore = command.find_subcommand("restore").unwrap();
        let has = sections(restore);
        assert!(has.ends_with(&["ENVIRONMENT".to_owned(), "EXAMPLES".to_owned()]));
        let page = String::from_utf8(page(restore).unwrap()).unwrap();
        assert!(page.contains(r"\-\-into shop_old"), "{page}");
    }

    #[test]
    fn no_text_below_a_help_is_lost_on_its_page() {
        fn walk(command: &clap::Command) {
            if let Some(help) = command.get_after_help() {
                let help = help.to_string();
                let is_told = examples(command).is_some() || help.starts_with("Exit codes: ");
                assert!(is_told, "{}: {help}", command.get_name());
            }
            assert_eq!(command.get_after_long_help(), None);
            command.get_subcommands().for_each(walk);
        }
        walk(&Arguments::command());
    }

    #[test]
    fn every_variable_and_every_exit_code_of_the_help_is_on_the_page() {
        let command = Arguments::command();
        for variable in command.get_arguments().filter_map(clap::Arg::get_env) {
            let is_told = ENVIRONMENT
                .iter()
                .any(|(names, _)| names.split(", ").any(|name| variable == name));
            assert!(is_told, "{variable:?}");
        }
        let help = command.get_after_help().unwrap().to_string();
        let numbers = help.split(|c: char| !c.is_ascii_digit());
        let codes: Vec<&str> = numbers.filter(|code| !code.is_empty()).collect();
        assert_eq!(codes, EXIT_STATUS.map(|(code, _)| code));
    }
}
