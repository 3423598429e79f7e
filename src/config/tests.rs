//! Tests of the whole way from sources to settings.

mod access;
mod bad_input;
mod files;
mod schedules;
mod secrets;
mod sources;

use std::ffi::OsString;
use std::path::PathBuf;

use jiff::Timestamp;

use super::{Config, ConfigErrors, Loaded, Source, load};

/// The smallest file that is complete.
const SMALL: &str = "[destination]\ndisk = \"s3_backup\"\n[schedules.daily]\ncron = \"0 2 * * *\"\n[retention]\nkeep_last = 14\n";

/// What is said of the small file, and of every policy without a view.
const ONLY_PLANS: &str = "retention only plans, and nothing is removed: there is no destination.url, and only what our own view of the destination shows is removed; write destination.url = \"s3://bucket/prefix\" or \"file:///path\"";

/// A file with this text and an environment; the folder lives as long as the value.
struct Given {
    dir: tempfile::TempDir,
    source: Source,
}

fn given(text: impl AsRef<[u8]>, environment: &[(&str, &str)]) -> Given {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let source = Source {
        file: Some(path),
        environment: environment.collect(),
    };
    Given { dir, source }
}

impl Given {
    fn file(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(
            &self.source,
            "2026-11-22T12:00:00Z".parse::<Timestamp>().unwrap(),
        )
    }

    fn config(&self) -> Config {
        match self.load() {
            Ok(loaded) => loaded.config,
            Err(errors) => panic!("{errors}"),
        }
    }

    /// The errors with the file's path as `FILE`.
    fn errors(&self) -> String {
        match self.load() {
            Ok(_) => panic!("nothing was refused"),
            Err(errors) => errors
                .to_string()
                .replace(&self.file().display().to_string(), "FILE"),
        }
    }
}

/// The configuration of a file alone.
fn config(text: &str) -> Config {
    given(text, &[]).config()
}

/// The configuration of the small file with an environment.
fn with(environment: &[(&str, &str)]) -> Config {
    given(SMALL, environment).config()
}

/// The small file with lines added to a section.
fn small_and(section: &str, lines: &str) -> String {
    let header = format!("[{section}]\n");
    match SMALL.contains(&header) {
        true => SMALL.replace(&header, &format!("{header}{lines}\n")),
        false => format!("{SMALL}{header}{lines}\n"),
    }
}
