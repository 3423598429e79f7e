//! One source of values, as a figment provider: the built-in values, a variable, or the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::keys;

/// How much a layer counts: what is higher takes the place of what is lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Built in.
    BuiltIn,
    /// A variable of the server we replace.
    Replaced,
    /// The TOML file.
    File,
    /// A `BACKUPD_*` variable.
    Environment,
}

/// Values of one source. It holds secrets in clear, so it is no `Debug` and lives only during a load.
pub struct Layer {
    /// How much it counts.
    pub rank: Rank,
    /// What `config show` calls it: a variable's name, or `built in`.
    pub origin: String,
    /// The file, where it is one.
    pub file: Option<PathBuf>,
    /// The values, as nested tables.
    pub values: Dict,
    /// Every table that was written, even an empty one, as dotted path.
    pub sections: BTreeSet<String>,
    /// Keys whose value was refused: they are given, though nothing is there.
    pub broken: BTreeSet<String>,
    /// Lines in the file, by dotted path.
    pub lines: BTreeMap<String, usize>,
}

impl Layer {
    /// A layer without values.
    pub fn new(rank: Rank, origin: impl Into<String>) -> Self {
        Self {
            rank,
            origin: origin.into(),
            file: None,
            values: Dict::new(),
            sections: BTreeSet::new(),
            broken: BTreeSet::new(),
            lines: BTreeMap::new(),
        }
    }

    /// A layer with one value.
    pub fn with(rank: Rank, origin: impl Into<String>, path: &[String], value: Value) -> Self {
        let mut layer = Self::new(rank, origin);
        layer.set(path, value);
        layer
    }

    /// Sets a value and notes the tables above it.
    pub fn set(&mut self, path: &[String], value: Value) {
        for depth in 1..path.len() {
            self.sections.insert(path[..depth].join("."));
        }
        set(&mut self.values, path, value);
    }

    /// Whether it says something about this key, even something wrong.
    pub fn gives(&self, path: &str) -> bool {
        self.broken.contains(path) || get(&self.values, path).is_some()
    }

    /// Adds the path of every value to `into`.
    pub fn paths(&self, into: &mut BTreeSet<String>) {
        paths(&self.values, "", into);
    }

    /// Forgets a key.
    fn forget(&mut self, path: &str) {
        let segments: Vec<&str> = path.split('.').collect();
        remove(&mut self.values, &segments);
        self.broken.remove(path);
    }
}

/// Removes from lower layers what a higher layer replaces as a whole: the other spelling of a secret,
/// the other kind of destination, and the retention of the server we replace.
pub fn settle(layers: &mut [Layer]) {
    for (one, other) in keys::ALTERNATIVES
        .iter()
        .flat_map(|(a, b)| [(a, b), (b, a)])
    {
        let highest = layers
            .iter()
            .filter(|layer| layer.gives(one))
            .map(|layer| layer.rank)
            .max();
        for layer in layers.iter_mut().filter(|layer| Some(layer.rank) < highest) {
            layer.forget(other);
        }
    }
    if layers
        .iter()
        .any(|layer| layer.rank > Rank::Replaced && layer.sections.contains("retention"))
    {
        for layer in layers
            .iter_mut()
            .filter(|layer| layer.rank == Rank::Replaced)
        {
            layer.forget("retention");
            layer.sections.remove("retention");
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let metadata = Metadata::named(self.origin.clone());
        match &self.file {
            Some(path) => metadata.source(figment::Source::File(path.clone())),
            None => metadata,
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

fn set(table: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            table.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let entry = table
                .entry(first.clone())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = entry {
                set(inner, rest, value);
            }
        }
    }
}

fn paths(table: &Dict, above: &str, into: &mut BTreeSet<String>) {
    for (name, value) in table {
        let path = format!("{above}{name}");
        match value {
            Value::Dict(_, inner) => paths(inner, &format!("{path}."), into),
            _ => {
                into.insert(path);
            }
        }
    }
}

fn get<'a>(table: &'a Dict, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((first, rest)) => get(table.get(first)?.as_dict()?, rest),
    }
}

fn remove(table: &mut Dict, path: &[&str]) {
    match path {
        [] => {}
        [last] => {
            table.remove(*last);
        }
        [first, rest @ ..] => {
            if let Some(Value::Dict(_, inner)) = table.get_mut(*first) {
                remove(inner, rest);
            }
        }
    }
}
