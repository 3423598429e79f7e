//! Merged values → typed settings, with every mistake noted.
//!
//! A value that was refused is replaced by an empty one so that the walk goes on: with any error the
//! whole is thrown away.

mod action;
mod api;
mod destination;
mod increments;
mod notify;
mod retention;
mod schedules;
mod sections;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::Config;
use super::duration::{self, spell};
use super::error::{ConfigError, ConfigErrors, quote};
use super::keys::{self, Found, Kind};
use super::nearest;
use super::values::Values;
use crate::backup::TablePattern;
use crate::retention::Rules;
use crate::secret::SecretSource;

/// Longest text of a key, in bytes.
const TEXT_MAX_BYTES: usize = 4096;

/// Reads every section.
///
/// # Errors
/// With everything that is wrong.
pub fn config(
    values: &Values,
    skip_tables: Vec<TablePattern>,
    now: Timestamp,
) -> Result<Config, ConfigErrors> {
    let mut check = Check {
        values,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let mut config = Config {
        clickhouse: check.clickhouse(),
        worker: check.worker(),
        destination: check.destination(),
        catalog: check.catalog(),
        api: check.api(),
        log: check.log(),
        schedules: check.schedules(now),
        retention: Rules::default(),
        notify: crate::notify::Settings::default(),
        skip_tables,
        warnings: Vec::new(),
    };
    config.retention = check.retention(&config.schedules);
    config.notify = check.notify(&config.schedules);
    config.warnings = check.warnings;
    if check.errors.is_empty() {
        Ok(config)
    } else {
        Err(ConfigErrors(check.errors))
    }
}

/// The walk over the values.
struct Check<'a> {
    values: &'a Values,
    errors: Vec<ConfigError>,
    warnings: Vec<String>,
}

impl Check<'_> {
    /// Notes a mistake in a value, or in a table.
    fn refuse(&mut self, path: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let error = ConfigError::at(self.values.place_of_mistake(path), problem, remedy);
        self.errors.push(error.about(path));
    }

    /// Notes that something is missing, unless it was given and refused already.
    fn missing(&mut self, path: &str, problem: &str, remedy: impl Into<String>) {
        if !self.values.is_broken(path) {
            self.refuse(path, problem, remedy);
        }
    }

    fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Whether a value was given, even a wrong one.
    fn is_given(&self, path: &str) -> bool {
        self.values.is_broken(path) || self.values.get(path).is_some()
    }

    /// A text that is not empty; its value is not repeated in messages, since its key may be secret.
    fn text(&mut self, path: &str) -> Option<String> {
        let text = self.values.get(path).and_then(Value::into_string)?;
        let problem = match &text {
            text if text.trim().is_empty() => "it is empty",
            text if text.chars().any(char::is_control) => {
                "it has a line end or another control character in it"
            }
            text if text.len() > TEXT_MAX_BYTES => "it is longer than 4096 bytes",
            _ => return Some(text),
        };
        self.refuse(path, problem, "give a value or leave the key out");
        None
    }

    fn path(&mut self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    fn flag(&self, path: &str) -> bool {
        self.values
            .get(path)
            .and_then(|value| value.to_bool())
            .unwrap_or_default()
    }

    fn list(&self, path: &str) -> Vec<String> {
        let list = self
            .values
            .get(path)
            .and_then(Value::into_array)
            .unwrap_or_default();
        list.into_iter().filter_map(Value::into_string).collect()
    }

    /// A whole number within its bounds.
    fn count(&mut self, path: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let value = self.values.get(path)?;
        let signed = value
            .to_i128()
            .or_else(|| value.to_u128().and_then(|value| i128::try_from(value).ok()))?;
        let count = u32::try_from(signed)
            .ok()
            .filter(|count| bounds.contains(count));
        if count.is_none() {
            let remedy = format!("give a number from {} to {}", bounds.start(), bounds.end());
            self.refuse(path, format!("{signed} is out of bounds"), remedy);
        }
        count
    }

    /// A length of time within its bounds.
    fn duration(&mut self, path: &str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.values.get(path).and_then(Value::into_string)?;
        match duration::parse(&text) {
            Ok(duration) if bounds.contains(&duration) => Some(duration),
            Ok(_) => {
                let remedy = format!(
                    "give at least {} and at most {}",
                    spell(*bounds.start()),
                    spell(*bounds.end())
                );
                self.refuse(path, format!("{} is out of bounds", quote(&text)), remedy);
                None
            }
            Err(problem) => {
                self.refuse(
                    path,
                    problem,
                    "write a number and a unit, such as 90s, 5m, 4h, 1h30m or 7d",
                );
                None
            }
        }
    }

    /// One of the words that the key takes.
    fn choice(&mut self, path: &str) -> Option<String> {
        let text = self.values.get(path).and_then(Value::into_string)?;
        let segments: Vec<&str> = path.split('.').collect();
        let words = match keys::find(&segments) {
            Found::Key(key) => match key.kind {
                Kind::Choice(words) => words,
                _ => &[],
            },
            _ => &[],
        };
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        let near = nearest::word(&text, words.iter().copied());
        let remedy = near
            .map(|near| format!("did you mean {near:?}?"))
            .unwrap_or_default();
        self.refuse(
            path,
            format!("{} is not one of {}", quote(&text), words.join(", ")),
            remedy,
        );
        None
    }

    /// A secret that is given directly or as the path of a file; an empty one counts as none.
    fn secret(&mut self, path: &str) -> Option<SecretSource> {
        let file_path = format!("{path}_file");
        let file = if self.values.get(&file_path).is_some() {
            self.path(&file_path)
        } else {
            None
        };
        let inline = self
            .values
            .get(path)
            .and_then(Value::into_string)
            .map(SecretString::from);
        match (inline, file) {
            (Some(_), Some(_)) => {
                self.refuse(
                    &file_path,
                    format!("{path} is given, too"),
                    "keep one of the two",
                );
                None
            }
            (Some(value), None) if value.expose_secret().is_empty() => None,
            (Some(value), None) => Some(SecretSource::Value(value)),
            (None, Some(file)) => {
                let source = SecretSource::File(file.clone());
                match source.read() {
                    Ok(secret) if secret.expose_secret().is_empty() => {
                        self.warn(format!(
                            "{file_path}: the secret file {} is empty now",
                            file.display()
                        ));
                    }
                    Ok(_) => {}
                    Err(error) => self.warn(format!(
                        "{file_path}: {error} (the daemon reads it at each use, and needs it by then)"
                    )),
                }
                Some(source)
            }
            (None, None) => None,
        }
    }
}
