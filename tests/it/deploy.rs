//! Everything below `deploy/`: manifests, image, unit, compose file, and what ClickHouse reads.
//!
//! `tests/deploy/` holds the checks; what a machine lacks for one of them is named, and fails in CI.

use std::path::Path;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_clickhouse-backupd");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python with what the checks need, or `None`, with the reason in the output, where it cannot
/// be installed.
fn python() -> Option<Command> {
    let home = root().join(".cache/deploy");
    if let Ok(reason) = std::fs::read_to_string(home.join(".python-is-too-old")) {
        assert!(std::env::var_os("CI").is_none(), "{}", reason.trim());
        eprintln!("NOT CHECKED, all of deploy/: {}", reason.trim());
        return None;
    }
    assert!(
        home.join(".installed").exists(),
        "what checks deploy/ is not installed: run tests/deploy/install, or make test"
    );
    let mut command = Command::new(home.join("bin/python"));
    command.arg("-B").current_dir(root()).env("BINARY", BINARY);
    Some(command)
}

/// What a command wrote, once it has ended well.
fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn everything_in_deploy_is_as_it_should_be() {
    let Some(mut python) = python() else { return };
    python.args(["tests/deploy/check.py", "--binary", BINARY]);
    let text = succeeded(&python.output().unwrap());
    for line in text.lines().filter(|line| line.starts_with("NOT CHECKED")) {
        eprintln!("{line}");
    }
    let checked = text.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(checked > 0, "{text}");
}

#[test]
fn the_checks_of_deploy_see_the_mistakes_that_they_are_there_for() {
    let Some(mut python) = python() else { return };
    python.args(["-m", "unittest", "discover", "-s", "tests/deploy"]);
    succeeded(&python.output().unwrap());
}
