//! `migrate check`: what the server we replace was told → the configuration that means the same, and
//! everything that is different.
//!
//! Its YAML file and its variables become variables, and those take the same road as at start
//! (`replaced`, `validate`): there is no second mapping. No value of a secret is printed.

mod document;
mod env_file;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use figment::value::Value;
use jiff::Timestamp;

use super::duration::{self, spell};
use super::error::{ConfigError, ConfigErrors};
use super::file::{self, Naming};
use super::layer::{Layer, Rank};
use super::not_taken;
use super::replaced::{self, EMBEDDED, SKIP_TABLES};
use super::validate;
use super::values::Values;
use super::variables::{self, Fate};

/// What stands for standard input among the options.
const STANDARD_INPUT: &str = "-";
/// The schedule that is proposed: what the DAG did.
const SCHEDULE: &str = "daily";
const CRON: &str = "0 2 * * *";
/// Where values come from that no variable gave.
const TIME_OF_THE_DAG: &str = "proposed: the time of the DAG";
const AS_THE_TIMEOUT: &str = "proposed: no night gets less time than clickhouse.timeout gave it";
/// A backup may take this long by default, retries included; one that was given more time needs more.
const DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);
/// Names that differ from a variable's by so many characters are taken for a slip.
const SLIP_MAX_CHARS: usize = 2;
/// Misspelt variables that are told one by one.
const SLIPS_MAX: usize = 20;

/// What the server we replace was told. It holds secrets in clear, so it is no `Debug`.
#[derive(Clone, Default)]
pub struct OldSetup {
    /// Variables; those of its YAML file are below them.
    variables: BTreeMap<String, String>,
    /// What was odd while it was read.
    warnings: Vec<String>,
}

/// The configuration that means the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// TOML, which [`load`](super::load) takes as it is; it holds no secret.
    pub toml: String,
    /// What is different, and what has to be done by hand.
    pub warnings: Vec<String>,
}

impl OldSetup {
    /// Reads a file of variables (`-` is standard input) and a YAML file; without both, the variables of
    /// this process.
    ///
    /// # Errors
    /// When one of them cannot be read, or is no such file.
    pub fn read(env_file: Option<&Path>, yaml: Option<&Path>) -> Result<Self, ConfigErrors> {
        let yaml = yaml.map(yaml_text).transpose().map_err(one)?;
        let environment = match env_file {
            Some(path) => Some(env_file_of(path).map_err(one)?),
            None if yaml.is_none() => Some(env_file::of_process(std::env::vars_os())),
            None => None,
        };
        Self::of(
            environment,
            yaml.as_ref()
                .map(|(place, text)| (place.as_str(), text.as_str())),
        )
    }

    /// The same, read already: variables, and a YAML text with its name for messages.
    fn of(
        environment: Option<env_file::Read>,
        yaml: Option<(&str, &str)>,
    ) -> Result<Self, ConfigErrors> {
        let mut setup = Self::default();
        let mut is_file_alone = false;
        if let Some((place, text)) = yaml {
            let mut read = yaml::read(place, text).map_err(one)?;
            is_file_alone = read.overrides_environment;
            setup.variables.append(&mut read.variables);
            setup.warnings.append(&mut read.warnings);
        }
        let Some(mut environment) = environment else {
            return Ok(setup);
        };
        setup.warnings.append(&mut environment.warnings);
        setup.warnings.extend(slips(environment.variables.keys()));
        if is_file_alone {
            let warning = "general.disable_environment_override is true: variables are passed over, as that server does";
            setup.warnings.push(warning.to_owned());
            return Ok(setup);
        }
        let known: BTreeSet<&str> = variables::all().iter().map(|known| known.name).collect();
        let old = environment.variables.into_iter();
        let old = old.filter(|(name, value)| known.contains(name.as_str()) && !value.is_empty());
        setup.variables.extend(old);
        Ok(setup)
    }

    fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }
}

/// What an old setup means here. `now` is where the search for colliding backup names begins.
///
/// # Errors
/// With everything that stands against it; no text of it holds a secret.
pub fn migrate(setup: &OldSetup, now: Timestamp) -> Result<Migration, ConfigErrors> {
    let environment: Vec<(OsString, OsString)> = setup
        .variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let mut replaced = replaced::read(&environment);
    let (mut errors, mut warnings) = replaced.told(&[]);
    let skip_tables = std::mem::take(&mut replaced.skip_tables);
    let mut layers = std::mem::take(&mut replaced.layers);
    replaced.skip_tables = skip_tables.clone();
    layers.extend(replaced.exclude_tables(&BTreeSet::from([SCHEDULE.to_owned()])));
    layers.extend(proposed(setup));
    let values = Values::merge(layers);
    let checked = validate::config(&values, skip_tables, now);
    match checked {
        Ok(mut config) if errors.is_empty() => {
            let mut told = differences(setup);
            told.extend(setup.warnings.iter().cloned());
            told.append(&mut warnings);
            told.append(&mut config.warnings);
            told.extend(needless(setup));
            Ok(Migration {
                toml: document::write(setup, &values),
                warnings: told,
            })
        }
        Ok(_) => Err(ConfigErrors(errors)),
        Err(ConfigErrors(mut wrong)) => {
            errors.append(&mut wrong);
            Err(ConfigErrors(errors))
        }
    }
}

/// The schedule that the DAG was. A backup that had more than four hours keeps them.
fn proposed(setup: &OldSetup) -> Vec<Layer> {
    let key = |key: &str, value: String, origin: &str| {
        let path = ["schedules".to_owned(), SCHEDULE.to_owned(), key.to_owned()];
        Layer::with(Rank::File, origin, &path, Value::from(value))
    };
    let timeout = setup.variables.get("CLICKHOUSE_TIMEOUT");
    let longer = timeout
        .and_then(|text| duration::parse(text).ok())
        .filter(|timeout| *timeout > DEADLINE);
    let deadline = longer.map(|timeout| key("deadline", spell(timeout), AS_THE_TIMEOUT));
    std::iter::once(key("cron", CRON.to_owned(), TIME_OF_THE_DAG))
        .chain(deadline)
        .collect()
}

/// What no single variable tells, and what is different all the same.
fn differences(setup: &OldSetup) -> Vec<String> {
    let mut told = Vec::new();
    if !setup.has(EMBEDDED) {
        told.push(format!("{EMBEDDED} is not set: then that server copies files itself, and its backups are in a format of its own, which neither ClickHouse's RESTORE nor this daemon reads; keep that server until they are not needed any more"));
    }
    if let Some(disk) = setup.variables.get("CLICKHOUSE_EMBEDDED_BACKUP_DISK") {
        told.push(format!("disk {disk:?}: which type it has stands in ClickHouse's configuration alone; of a disk of type s3 the names of all files are on the server's own volume, and without that volume no backup can be restored; config check --connect looks, and says what to use instead"));
    }
    if setup.has(SKIP_TABLES) {
        told.push(format!("{SKIP_TABLES} held for clients' backups, too, and no key of the file does: leave the variable set where those shall leave the tables out"));
    }
    if !setup.has("API_LISTEN") {
        told.push("API_LISTEN is not set: the API listens on 127.0.0.1:7171 alone; set it to 0.0.0.0:7171, or api.listen, where other machines ask".to_owned());
    }
    told.push("a restore into tables that hold rows is refused unless it says rm (or drop) or data; that server dropped the tables silently".to_owned());
    told
}

/// One note for each group of which something is set.
fn needless(setup: &OldSetup) -> Vec<String> {
    let mut groups: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for variable in variables::all() {
        let Fate::Needless(why) = variable.fate else {
            continue;
        };
        if !not_taken::asks(&setup.variables, variable.name) {
            continue;
        }
        match groups.last_mut() {
            Some((last, names)) if *last == why => names.push(variable.name),
            _ => groups.push((why, vec![variable.name])),
        }
    }
    let lines = groups.into_iter().map(|(why, names)| {
        let verb = if names.len() == 1 { "does" } else { "do" };
        format!("{} {verb} nothing here: {why}", names.join(", "))
    });
    lines.collect()
}

/// Variables that are none of that server and look like one: it ignored them without a word.
fn slips<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let known: Vec<&str> = variables::all().iter().map(|known| known.name).collect();
    let slips = names.filter(|name| !known.contains(&name.as_str()));
    let told = slips.filter_map(|name| {
        let near = known.iter().find(|known| is_slip(name, known))?;
        Some(format!(
            "{name} is no variable of that server, which ignored it; did it mean {near}?"
        ))
    });
    told.take(SLIPS_MAX).collect()
}

/// Whether one was written for the other: by a slip, or cut short (`CLICKHOUSE_USER`).
fn is_slip(name: &str, known: &str) -> bool {
    let cut = name.len() >= 2 * SLIP_MAX_CHARS + 8
        && known.starts_with(name)
        && known.len() - name.len() <= 2 * SLIP_MAX_CHARS;
    let close = name.len().abs_diff(known.len()) <= SLIP_MAX_CHARS
        && known.len() >= 2 * SLIP_MAX_CHARS + 4
        && strsim::damerau_levenshtein(name, known) <= SLIP_MAX_CHARS;
    cut || close
}

fn yaml_text(path: &Path) -> Result<(String, String), ConfigError> {
    let naming = Naming {
        what: "the YAML file",
        named_by: "--yaml",
    };
    Ok((path.display().to_string(), file::text_of(path, &naming)?))
}

fn env_file_of(path: &Path) -> Result<env_file::Read, ConfigError> {
    if path.as_os_str() == STANDARD_INPUT {
        let place = "standard input";
        let unreadable = |error: std::io::Error| {
            let problem = format!("cannot be read: {error}");
            ConfigError::at(place, problem, "name a file with --env-file")
        };
        let text = file::text_from(std::io::stdin().lock(), place, unreadable)?;
        return Ok(env_file::read(place, &text));
    }
    let naming = Naming {
        what: "the file of variables",
        named_by: "--env-file; - is standard input",
    };
    let text = file::text_of(path, &naming)?;
    Ok(env_file::read(&path.display().to_string(), &text))
}

fn one(error: ConfigError) -> ConfigErrors {
    ConfigErrors(vec![error])
}

#[cfg(test)]
mod tests;
