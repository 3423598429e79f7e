//! The configuration: built-in values < variables of the server we replace < the TOML file <
//! `BACKUPD_*` variables.
//!
//! `keys` is the one table of all keys. Every source becomes a `layer` (`file`, `environment`,
//! `replaced`), checked against that table by `shape` while it is read; figment merges the layers
//! into `values`; `validate` turns those into the settings types of the modules. Mistakes are
//! collected on the whole way and told at once, each with its place, its key and what to do.
//! Secrets leave this module only inside [`SecretSource`](crate::secret::SecretSource).
//!
//! `variables` lists what the server we replace could be told, and `migration` turns that into a file of
//! ours.
//!
//! No other module reads the environment or the file.

mod address;
mod collision;
mod duration;
mod environment;
mod error;
mod file;
mod keys;
mod layer;
mod migration;
mod nearest;
mod needless;
mod not_taken;
mod reference;
mod replaced;
mod shape;
mod show;
#[cfg(test)]
mod tests;
mod validate;
mod values;
mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::backup::TablePattern;
use crate::operation::Schedule;
use crate::retention::Rules;
use crate::schedule::ScheduleName;
use crate::{api, catalog, clickhouse, destination, notify, worker};

pub use error::{ConfigError, ConfigErrors};
pub use migration::{Migration, OldSetup, migrate};
pub use reference::reference;
pub use show::Shown;
pub use variables::reference as variables_of_the_old_server;

/// The file that is read where neither `--config` nor `BACKUPD_CONFIG` names one.
pub const DEFAULT_FILE: &str = "/etc/clickhouse-backupd/config.toml";

/// The whole configuration, valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[clickhouse]`: the server.
    pub clickhouse: clickhouse::Settings,
    /// `[destination]`: where backups go, and our view of it.
    pub destination: destination::Settings,
    /// `[state]`: our memory.
    pub catalog: catalog::Settings,
    /// `[api]`: the door.
    pub api: api::Settings,
    /// The time limits of `[clickhouse]`.
    pub worker: worker::Settings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[schedules.<name>]`.
    pub schedules: BTreeMap<ScheduleName, Schedule>,
    /// `[retention]`, `[retention.manual]` and `[schedules.<name>.retention]`.
    pub retention: Rules,
    /// `[notify]` and `[schedules.<name>.heartbeat]`: whom to tell.
    pub notify: notify::Settings,
    /// `CLICKHOUSE_SKIP_TABLES`: tables that clients' backups leave out, as before; schedules that
    /// name none themselves have taken it over already.
    pub skip_tables: Vec<TablePattern>,
    /// What is valid and should still be known; each says what to do.
    pub warnings: Vec<String>,
}

/// How much is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
    /// Pretty on a terminal, else JSON.
    Auto,
}

/// Where a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file; `None` means environment only.
    pub file: Option<PathBuf>,
    /// The environment as it was at start: tests never set a variable.
    pub environment: Vec<(OsString, OsString)>,
}

/// A valid configuration, and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every effective value with its source, secrets redacted already.
    pub values: Vec<Shown>,
}

impl Source {
    /// `--config FILE`, else `BACKUPD_CONFIG`, else [`DEFAULT_FILE`] if it is there; and the
    /// variables of this process.
    #[must_use]
    pub fn from_process(config_flag: Option<PathBuf>) -> Self {
        let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let file = choose_file(config_flag, &environment, Path::new(DEFAULT_FILE));
        Self { file, environment }
    }
}

/// Reads everything. `now` is where the search for colliding backup names begins.
///
/// # Errors
/// With everything that is wrong in all sources, in one go; no text of it holds a secret.
pub fn load(source: &Source, now: Timestamp) -> Result<Loaded, ConfigErrors> {
    let (mut layers, mut errors) = environment::read(&source.environment);
    let mut file_readable = true;
    if let Some(path) = &source.file {
        let (layer, mut wrong) = file::read(path);
        file_readable = layer.is_some();
        wrong.append(&mut errors);
        errors = wrong;
        layers.extend(layer);
    }
    let mut replaced = replaced::read(&source.environment);
    let (mut wrong, mut warnings) = replaced.told(&layers);
    errors.append(&mut wrong);
    let names = values::schedule_names(&layers);
    layers.extend(replaced.exclude_tables(&names));
    layers.append(&mut replaced.layers);
    let values = values::Values::merge(layers);
    // What is missing from a file that cannot be read nobody knows.
    if !file_readable {
        return Err(ConfigErrors(errors));
    }
    match validate::config(&values, replaced.skip_tables, now) {
        Ok(mut config) if errors.is_empty() => {
            warnings.append(&mut config.warnings);
            config.warnings = warnings;
            Ok(Loaded {
                config,
                values: show::collect(&values),
            })
        }
        Ok(_) => Err(ConfigErrors(errors)),
        Err(ConfigErrors(mut wrong)) => {
            errors.append(&mut wrong);
            Err(ConfigErrors(errors))
        }
    }
}

/// Every effective value with its source, as TOML, with what should be known as comments; secrets are
/// redacted.
#[must_use]
pub fn show(loaded: &Loaded) -> String {
    show::lines(&loaded.values, &loaded.config.warnings)
}

impl Config {
    /// The sections in which `other` differs and which only a restart brings into effect; schedules
    /// and retention are swapped live.
    #[must_use]
    pub fn restart_sections(&self, other: &Self) -> Vec<&'static str> {
        let sections = [
            (
                "clickhouse",
                self.clickhouse != other.clickhouse || self.worker != other.worker,
            ),
            ("destination", self.destination != other.destination),
            ("state", self.catalog != other.catalog),
            ("api", self.api != other.api),
            ("log", self.log != other.log),
        ];
        sections
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name)
            .collect()
    }
}

/// An empty variable counts as not set. A file that was asked for must be there; the default one
/// need not, and is taken whenever something is there, so that what is wrong with it is told.
fn choose_file(
    flag: Option<PathBuf>,
    environment: &[(OsString, OsString)],
    default: &Path,
) -> Option<PathBuf> {
    let variable = environment
        .iter()
        .find(|(name, value)| name == "BACKUPD_CONFIG" && !value.is_empty());
    let asked = flag.or_else(|| variable.map(|(_, value)| PathBuf::from(value)));
    asked.or_else(|| {
        default
            .try_exists()
            .unwrap_or(true)
            .then(|| default.to_owned())
    })
}
