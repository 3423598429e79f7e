//! `config show`: every effective value with where it came from, secrets redacted. What is printed
//! is TOML again.

use figment::value::Value;

use super::keys::{self, Key, Kind};
use super::values::Values;

/// What stands for a secret.
const REDACTED: &str = "\"<redacted>\"";

/// Widest line before its comment, in characters, that others are aligned with.
const ALIGNED_MAX_CHARS: usize = 60;

/// One value as it may be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Dotted path.
    pub key: String,
    /// TOML, never a secret.
    pub value: String,
    /// `file:line`, a variable, or `built in`.
    pub source: String,
}

/// Every value that is there, in the order of the table of keys; each schedule by itself.
pub fn collect(values: &Values) -> Vec<Shown> {
    let (of_schedules, others): (Vec<&Key>, Vec<&Key>) =
        keys::all().iter().partition(|key| key.path.contains('*'));
    let (before, after): (Vec<&Key>, Vec<&Key>) = others
        .iter()
        .partition(|key| !key.path.starts_with("retention"));
    let one = |key: &Key, path: String| {
        let value = values.get(&path)?;
        Some(Shown {
            value: toml(key.kind, &value)?,
            source: values.place(&path),
            key: path,
        })
    };
    let plain = |keys: Vec<&Key>| {
        keys.into_iter()
            .filter_map(|key| one(key, key.path.to_string()))
            .collect::<Vec<_>>()
    };
    let mut shown = plain(before);
    for name in values.schedules() {
        shown.extend(
            of_schedules
                .iter()
                .filter_map(|key| one(key, key.path.replace('*', &name))),
        );
    }
    shown.extend(plain(after));
    shown
}

/// The lines of `config show`.
pub fn lines(shown: &[Shown], warnings: &[String]) -> String {
    let left: Vec<String> = shown
        .iter()
        .map(|shown| format!("{} = {}", shown.key, shown.value))
        .collect();
    let fitting = left
        .iter()
        .map(|left| left.chars().count())
        .filter(|width| *width <= ALIGNED_MAX_CHARS);
    let width = fitting.max().unwrap_or_default();
    let mut text = String::new();
    for (left, shown) in left.iter().zip(shown) {
        text.push_str(&format!("{left:width$}  # {}\n", one_line(&shown.source)));
    }
    for warning in warnings {
        text.push_str(&format!("# warning: {}\n", one_line(warning)));
    }
    text
}

fn toml(kind: Kind, value: &Value) -> Option<String> {
    if kind == Kind::Secret {
        return Some(REDACTED.to_owned());
    }
    let string = |text: &str| toml_edit::Value::from(text).to_string();
    match value {
        Value::String(_, text) => Some(string(text)),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .or_else(|| number.to_u128()?.try_into().ok())
            .map(|number| number.to_string()),
        Value::Array(_, list) => {
            let items: Vec<String> = list.iter().filter_map(Value::as_str).map(string).collect();
            Some(format!("[{}]", items.join(", ")))
        }
        _ => None,
    }
}

/// A comment ends with its line.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
