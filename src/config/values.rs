//! The layers merged by figment: one effective value per key, and where it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use figment::Figment;
use figment::value::Value;
use toml_edit::Item;

use super::keys;
use super::layer::{Layer, Rank, settle};
use super::shape::value_of;

/// Where a value comes from when nobody wrote it.
pub const BUILT_IN: &str = "built in";

/// What the file's layer is called; messages name its path and line instead.
pub const FILE: &str = "file";

/// Every effective value. It holds secrets in clear, so it is no `Debug` and lives only during a load.
pub struct Values {
    figment: Figment,
    /// What figment makes of all layers: made once, because it makes it anew at each question.
    merged: Option<Value>,
    file: Option<PathBuf>,
    lines: BTreeMap<String, usize>,
    sections: BTreeMap<String, String>,
    broken: BTreeSet<String>,
    written: BTreeSet<String>,
}

impl Values {
    /// Merges the layers, lowest first, over the built-in values.
    pub fn merge(mut layers: Vec<Layer>) -> Self {
        layers.sort_by_key(|layer| layer.rank);
        settle(&mut layers);
        let names = schedule_names(&layers);
        let mut values = Self {
            figment: Figment::from(built_in(&names)),
            merged: None,
            file: layers.iter().find_map(|layer| layer.file.clone()),
            lines: BTreeMap::new(),
            sections: BTreeMap::new(),
            broken: BTreeSet::new(),
            written: BTreeSet::new(),
        };
        for mut layer in layers {
            values.lines.append(&mut layer.lines);
            values.broken.append(&mut layer.broken);
            if layer.rank > Rank::Replaced {
                layer.paths(&mut values.written);
            }
            for section in &layer.sections {
                values
                    .sections
                    .entry(section.clone())
                    .or_insert_with(|| layer.origin.clone());
            }
            values.figment = values.figment.merge(layer);
        }
        values.merged = values.figment.find_value("").ok();
        values
    }

    /// The value of a key.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.merged.as_ref()?.find_ref(path).cloned()
    }

    /// Whether somebody wrote this table, or a key in it.
    pub fn has_section(&self, path: &str) -> bool {
        self.sections.contains_key(path)
    }

    /// Whether somebody wrote this key for us: neither a built-in value nor a variable of the server
    /// we replace counts.
    pub fn is_written(&self, path: &str) -> bool {
        self.written.contains(path) || self.broken.contains(path)
    }

    /// Whether a value was given and refused: it is not missing, and was told already.
    pub fn is_broken(&self, path: &str) -> bool {
        self.broken.contains(path)
    }

    /// The schedules that somebody wrote anything about.
    pub fn schedules(&self) -> Vec<String> {
        let names = self
            .sections
            .keys()
            .filter_map(|path| path.strip_prefix("schedules."));
        names
            .filter(|rest| !rest.contains('.'))
            .map(str::to_owned)
            .collect()
    }

    /// Where the effective value, or the table, was written: `file:line`, a variable, `built in`; the
    /// file as a whole where nothing was written.
    pub fn place(&self, path: &str) -> String {
        let origin = match self.sections.get(path) {
            Some(origin) => Some(origin.clone()),
            None => self
                .figment
                .get_metadata(
                    self.merged
                        .as_ref()
                        .and_then(|merged| merged.find_ref(path))
                        .map(Value::tag)
                        .unwrap_or_default(),
                )
                .map(|metadata| metadata.name.to_string()),
        };
        match origin {
            Some(origin) if origin != FILE => return origin,
            _ => {}
        }
        match (&self.file, self.lines.get(path)) {
            (Some(file), Some(line)) => format!("{}:{line}", file.display()),
            _ => self.whole(),
        }
    }

    /// Where to look for a mistake: for a built-in value that does not go with what was written, the
    /// table around it.
    pub fn place_of_mistake(&self, path: &str) -> String {
        match (self.place(path), path.rsplit_once('.')) {
            (place, _) if place != BUILT_IN => place,
            (_, Some((above, _))) => self.place_of_mistake(above),
            (_, None) => self.whole(),
        }
    }

    /// Where something that nobody wrote should be written.
    pub fn whole(&self) -> String {
        self.file.as_ref().map_or_else(
            || "configuration".to_owned(),
            |file| file.display().to_string(),
        )
    }
}

/// Names of schedules in any layer.
pub fn schedule_names(layers: &[Layer]) -> BTreeSet<String> {
    let sections = layers.iter().flat_map(|layer| &layer.sections);
    let names = sections.filter_map(|path| path.strip_prefix("schedules."));
    names
        .filter(|rest| !rest.contains('.'))
        .map(str::to_owned)
        .collect()
}

/// The built-in values, those of a schedule for each schedule that exists.
fn built_in(names: &BTreeSet<String>) -> Layer {
    let mut layer = Layer::new(Rank::BuiltIn, BUILT_IN);
    for key in keys::all() {
        let parsed = key
            .default
            .and_then(|text| text.parse::<toml_edit::Value>().ok());
        let Some(value) = parsed.and_then(|value| value_of(key.kind, &Item::Value(value))) else {
            continue;
        };
        let paths: Vec<String> = match key.path.contains('*') {
            true => names
                .iter()
                .map(|name| key.path.replace('*', name))
                .collect(),
            false => vec![key.path.to_string()],
        };
        for path in paths {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            layer.set(&path, value.clone());
        }
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_value_is_of_its_kind() {
        for key in keys::all() {
            let Some(text) = key.default else { continue };
            let value = text.parse::<toml_edit::Value>().unwrap();
            assert!(
                value_of(key.kind, &Item::Value(value)).is_some(),
                "{}",
                key.path
            );
        }
    }
}
