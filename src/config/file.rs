//! The TOML file → a layer, with the line of every key.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use super::error::ConfigError;
use super::layer::{Layer, Rank};
use super::shape::Walk;
use super::values::FILE;

/// Largest file that is read, in bytes: a wrong path must not fill memory.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Reads and parses the file. No layer means that it could not be parsed at all, so that nothing can
/// be said about what is missing from it.
pub fn read(path: &Path) -> (Option<Layer>, Vec<ConfigError>) {
    match text_of(path, &Naming::CONFIGURATION) {
        Ok(text) => parse(path, &text),
        Err(error) => (None, vec![error]),
    }
}

fn parse(path: &Path, text: &str) -> (Option<Layer>, Vec<ConfigError>) {
    let lines = Lines::of(text);
    let place = |span: Option<Range<usize>>| match span {
        Some(span) => format!("{}:{}", path.display(), lines.line(span.start)),
        None => path.display().to_string(),
    };
    let document = match toml_edit::Document::parse(text) {
        Ok(document) => document,
        // Only its message: the error itself prints the line, which may hold a password without quotes.
        Err(error) => {
            let problem = format!("this is no TOML: {}", error.message().replace('\n', ", "));
            return (
                None,
                vec![ConfigError::at(
                    place(error.span()),
                    problem,
                    "correct the file; strings stand in quotes",
                )],
            );
        }
    };
    let mut layer = Layer::new(Rank::File, FILE);
    layer.file = Some(path.to_owned());
    let line = |span: Range<usize>| lines.line(span.start);
    let mut walk = Walk {
        layer: &mut layer,
        place: &place,
        line: Some(&line),
        errors: Vec::new(),
    };
    walk.table(&mut Vec::new(), document.as_table());
    let errors = walk.errors;
    (Some(layer), errors)
}

/// How messages call a file, and how the caller named it.
pub struct Naming {
    /// What it is.
    pub what: &'static str,
    /// The options and variables that name it.
    pub named_by: &'static str,
}

impl Naming {
    const CONFIGURATION: Self = Self {
        what: "the configuration file",
        named_by: "--config and BACKUPD_CONFIG",
    };
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read, is too large, or is not UTF-8; its content is not repeated.
pub fn text_of(path: &Path, naming: &Naming) -> Result<String, ConfigError> {
    let Naming { what, named_by } = naming;
    let place = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => format!("check {named_by}"),
            std::io::ErrorKind::IsADirectory => "name the file, not its folder".to_owned(),
            _ => "check the path and who may read it".to_owned(),
        };
        ConfigError::at(
            place.clone(),
            format!("cannot read {what}: {error}"),
            remedy,
        )
    };
    // Opening a pipe would wait for its writer for ever.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let problem = format!("cannot read {what}: it is no regular file");
        return Err(ConfigError::at(place, problem, format!("check {named_by}")));
    }
    let file = File::open(path).map_err(unreadable)?;
    text_from(file, &place, unreadable)
}

/// The text that a reader gives, under the name `place`.
///
/// # Errors
/// As [`text_of`]; `unreadable` tells of a failure to read.
pub fn text_from(
    from: impl Read,
    place: &str,
    unreadable: impl FnOnce(std::io::Error) -> ConfigError,
) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    from.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(ConfigError::at(
            place,
            "the file is larger than 1 MiB",
            "name the right file; no configuration is so large",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let read = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let line = Lines::of(&read).line(valid);
        ConfigError::at(
            format!("{place}:{line}"),
            format!("the file is not UTF-8 from byte {valid} on"),
            "save it as UTF-8",
        )
    })
}

/// Where lines begin, so that a file full of mistakes is not counted from its start for each.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(ends.map(|(at, _)| at).collect())
    }

    /// The line of a byte, counted from 1.
    fn line(&self, byte: usize) -> usize {
        1 + self.0.partition_point(|end| *end < byte)
    }
}
