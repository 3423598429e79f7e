//! `BACKUPD_*` variables → layers, one each, so that every value knows the variable it came from.
//!
//! figment's own `Env` parses values: an all-digit password fails and is printed, `00712` becomes
//! 712. Here the table of keys decides: what is a string stays one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use toml_edit::Item;

use super::error::ConfigError;
use super::keys::{self, Found};
use super::layer::{Layer, Rank};
use super::nearest;
use super::shape::{Walk, value_of_text};

const PREFIX: &str = "BACKUPD_";

/// Variables of ours that are no configuration keys: the file, and what the command line asks with.
const NOT_KEYS: [&str; 5] = [
    "BACKUPD_CONFIG",
    "BACKUPD_URL",
    "BACKUPD_TOKEN",
    "BACKUPD_TOKEN_FILE",
    "BACKUPD_CA_FILE",
];

/// Reads every `BACKUPD_*` variable.
pub fn read(environment: &[(OsString, OsString)]) -> (Vec<Layer>, Vec<ConfigError>) {
    let (mut layers, mut errors) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut ours: Vec<(String, &OsStr)> = environment
        .iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.as_os_str()))
        .filter(|(name, value)| is_ours(name, value))
        .collect();
    // A variable for a whole table comes before those for its keys, so that the keys win.
    ours.sort_by_key(|(name, _)| (name.matches("__").count(), name.clone()));
    for (name, value) in ours {
        let lower = name.to_lowercase();
        if let Some(other) = seen.insert(lower, name.clone()) {
            let problem = format!("{other} and {name} are the same key");
            errors.push(ConfigError::at(&name, problem, "unset one of them"));
            continue;
        }
        match value.to_str() {
            Some(value) => {
                let (layer, mut wrong) = variable(&name, value);
                layers.push(layer);
                errors.append(&mut wrong);
            }
            None => errors.push(ConfigError::at(
                &name,
                "the value is not UTF-8",
                "set it again as UTF-8, or use the _file key",
            )),
        }
    }
    (layers, errors)
}

fn variable(name: &str, value: &str) -> (Layer, Vec<ConfigError>) {
    let mut layer = Layer::new(Rank::Environment, name);
    let rest = name.get(PREFIX.len()..).unwrap_or_default();
    let mut path: Vec<String> = rest.to_lowercase().split("__").map(str::to_owned).collect();
    let dotted = path.join(".");
    let error = |problem: &str, remedy: &str| vec![ConfigError::at(name, problem, remedy)];
    if path
        .iter()
        .any(|segment| segment.is_empty() || segment.contains('.'))
    {
        return (layer, error("unknown variable", &nearest::variable(name)));
    }
    match keys::find(&path) {
        Found::Unknown => (layer, error("unknown variable", &nearest::variable(name))),
        Found::Key(key) => match value_of_text(key.kind, value) {
            Ok(value) => {
                layer.set(&path, value);
                (layer, Vec::new())
            }
            Err(problem) => {
                layer.broken.insert(dotted.clone());
                (
                    layer,
                    vec![ConfigError::at(name, problem, "").about(dotted)],
                )
            }
        },
        Found::Section => {
            let Some(item) = value
                .trim()
                .parse::<toml_edit::Value>()
                .ok()
                .map(Item::Value)
            else {
                layer.broken.insert(dotted.clone());
                let problem = "expected a table in TOML syntax";
                return (
                    layer,
                    vec![
                        ConfigError::at(
                            name,
                            problem,
                            "write { key = value, … }, strings in quotes",
                        )
                        .about(dotted),
                    ],
                );
            };
            let Some(table) = item.as_table_like() else {
                layer.broken.insert(dotted.clone());
                return (
                    layer,
                    vec![
                        ConfigError::at(name, "expected a table", "write { key = value, … }")
                            .about(dotted),
                    ],
                );
            };
            for depth in 1..=path.len() {
                layer.sections.insert(path[..depth].join("."));
            }
            let place = |_| name.to_owned();
            let mut walk = Walk {
                layer: &mut layer,
                place: &place,
                line: None,
                errors: Vec::new(),
            };
            walk.table(&mut path, table);
            let errors = walk.errors;
            (layer, errors)
        }
    }
}

fn is_ours(name: &str, value: &OsStr) -> bool {
    name.starts_with(PREFIX)
        && !NOT_KEYS.contains(&name)
        && !is_service_discovery(&name[PREFIX.len()..], value)
}

/// Whether Kubernetes set it for a Service called `backupd` or `backupd-…`; its names have no `__`.
fn is_service_discovery(rest: &str, value: &OsStr) -> bool {
    if rest.contains("__") {
        return false;
    }
    let words: Vec<&str> = rest.split('_').collect();
    let service = words
        .windows(2)
        .any(|pair| pair == ["SERVICE", "HOST"] || pair == ["SERVICE", "PORT"]);
    let protocol = words.windows(3).any(|three| {
        three[0] == "PORT"
            && three[1].bytes().all(|b| b.is_ascii_digit())
            && ["TCP", "UDP", "SCTP"].contains(&three[2])
    });
    let address =
        words.last() == Some(&"PORT") && value.to_str().is_some_and(|value| value.contains("://"));
    service || protocol || address
}
