//! What is wrong with a configuration, all of it at once, without any secret.

use std::fmt;

/// Most errors that are printed; a file of a million wrong keys must not fill a log.
const PRINTED_MAX_ERRORS: usize = 100;

/// Longest part of a value that is repeated in a message, in characters.
const QUOTED_MAX_CHARS: usize = 80;

/// Longest error, in characters.
const LINE_MAX_CHARS: usize = 1000;

/// One thing that is wrong. No field ever holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it was written: `file:line`, a variable, or the file as a whole.
    pub place: String,
    /// The key, where one is known.
    pub key: Option<String>,
    /// What is wrong, naming the input.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigError {
    /// An error about no key in particular.
    pub(super) fn at(
        place: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            key: None,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// The same, about a key.
    pub(super) fn about(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// One line, whatever characters a name or value has, and not an endless one.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            key,
            problem,
            remedy,
        } = self;
        let key = key
            .as_ref()
            .map(|key| format!("{key}: "))
            .unwrap_or_default();
        let remedy = if remedy.is_empty() {
            String::new()
        } else {
            format!("; {remedy}")
        };
        let line = format!("{place}: {key}{problem}{remedy}");
        for c in line.chars().take(LINE_MAX_CHARS) {
            let c = if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            };
            write!(f, "{c}")?;
        }
        if line.chars().nth(LINE_MAX_CHARS).is_some() {
            write!(f, "…")
        } else {
            Ok(())
        }
    }
}

/// One line per error.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().take(PRINTED_MAX_ERRORS).enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        match self.0.len().saturating_sub(PRINTED_MAX_ERRORS) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more errors"),
        }
    }
}

/// A value as it may stand in a message: in quotes, on one line, not endless.
pub(super) fn quote(text: &str) -> String {
    if text.chars().count() <= QUOTED_MAX_CHARS {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTED_MAX_CHARS).collect();
    format!("{start:?}…")
}
