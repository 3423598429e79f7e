//! TOML → a layer: every key known, every value of its kind, and every mistake noted on the way.

use std::ops::Range;

use figment::value::Value;
use toml_edit::{Item, TableLike};

use super::error::{ConfigError, quote};
use super::keys::{self, Found, Kind};
use super::layer::Layer;
use super::nearest;

/// Most mistakes for which a suggestion is looked up; more are not printed anyway.
const SUGGESTIONS_MAX: usize = 100;

/// Names the place of a span: the file with its line, or the variable.
pub type Place<'a> = &'a dyn Fn(Option<Range<usize>>) -> String;

/// The line of a span, counted from 1.
pub type Line<'a> = &'a dyn Fn(Range<usize>) -> usize;

/// Walks a table into a layer.
pub struct Walk<'a> {
    /// Where the values go.
    pub layer: &'a mut Layer,
    /// Names places for messages.
    pub place: Place<'a>,
    /// Counts lines, in a file.
    pub line: Option<Line<'a>>,
    /// What was wrong.
    pub errors: Vec<ConfigError>,
}

impl Walk<'_> {
    /// Takes every entry of the table at `path`.
    pub fn table(&mut self, path: &mut Vec<String>, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let span = table
                .key(name)
                .and_then(toml_edit::Key::span)
                .or_else(|| item.span());
            path.push(name.to_owned());
            self.entry(path, item, span);
            path.pop();
        }
    }

    fn entry(&mut self, path: &mut Vec<String>, item: &Item, span: Option<Range<usize>>) {
        let (id, shown) = (path.join("."), dotted(path));
        if let (Some(line), Some(span)) = (self.line, span.clone()) {
            self.layer.lines.insert(id.clone(), line(span));
        }
        let refuse = |walk: &mut Self, problem: String, remedy: String| {
            let error = ConfigError::at((walk.place)(span.clone()), problem, remedy);
            walk.errors.push(error.about(shown.clone()));
            walk.layer.broken.insert(id.clone());
        };
        // A dot inside a name would be read as a level from here on; no schedule may be called so.
        if path.len() == 2
            && path[0] == "schedules"
            && (path[1].is_empty() || path[1].contains('.'))
        {
            return refuse(
                self,
                "no schedule can have this name".into(),
                "use a-z, 0-9, _ and -, at most 64".into(),
            );
        }
        match keys::find(path) {
            Found::Unknown => {
                let near = self.errors.len() < SUGGESTIONS_MAX;
                let remedy = if near {
                    nearest::key(path)
                } else {
                    String::new()
                };
                refuse(self, "unknown key".into(), remedy);
            }
            Found::Section => match item.as_table_like() {
                Some(inner) => {
                    self.layer.sections.insert(id);
                    self.table(path, inner);
                }
                None => refuse(
                    self,
                    format!("expected a table, found {}", found(item)),
                    header(path),
                ),
            },
            Found::Key(key) => match value_of(key.kind, item) {
                Some(value) => self.layer.set(path, value),
                None => refuse(
                    self,
                    format!("expected {}, found {}", expected(key.kind), found(item)),
                    String::new(),
                ),
            },
        }
    }
}

/// The text of a variable as a value of this kind: what is a string stays as it is, whatever it
/// looks like; a number, a flag and a list are read as TOML.
///
/// # Errors
/// With what is wrong; the text itself is repeated only for kinds that cannot hold a secret.
pub fn value_of_text(kind: Kind, text: &str) -> Result<Value, String> {
    if matches!(
        kind,
        Kind::Text | Kind::Secret | Kind::Path | Kind::Duration | Kind::Choice(_)
    ) {
        return Ok(Value::from(text));
    }
    if kind == Kind::OneOrMore && !text.trim_start().starts_with('[') {
        return Ok(Value::from(vec![text]));
    }
    let parsed = text
        .trim()
        .parse::<toml_edit::Value>()
        .ok()
        .map(Item::Value);
    parsed
        .and_then(|item| value_of(kind, &item))
        .ok_or_else(|| match kind {
            Kind::List | Kind::OneOrMore => format!("expected {}", expected(kind)),
            _ => format!("expected {}, found {}", expected(kind), quote(text)),
        })
}

/// The value, if it is of this kind.
pub fn value_of(kind: Kind, item: &Item) -> Option<Value> {
    match kind {
        Kind::Text | Kind::Secret | Kind::Path | Kind::Duration | Kind::Choice(_) => {
            item.as_str().map(Value::from)
        }
        Kind::Flag => item.as_bool().map(Value::from),
        Kind::Count => item.as_integer().map(Value::from),
        Kind::OneOrMore if item.is_str() => item.as_str().map(|text| Value::from(vec![text])),
        Kind::List | Kind::OneOrMore => {
            let texts = item
                .as_array()?
                .iter()
                .map(|value| value.as_str().map(Value::from));
            texts.collect::<Option<Vec<Value>>>().map(Value::from)
        }
    }
}

/// A path as an operator writes it: parts that are no bare TOML keys in quotes.
pub fn dotted(path: &[String]) -> String {
    let bare = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let parts = path.iter().map(|part| {
        if bare(part) {
            part.clone()
        } else {
            quote(part)
        }
    });
    parts.collect::<Vec<_>>().join(".")
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Secret | Kind::Choice(_) => "a string in quotes",
        Kind::Path => "a path in quotes",
        Kind::Duration => "a length of time in quotes, such as \"4h\" or \"1h30m\"",
        Kind::Flag => "true or false",
        Kind::Count => "a whole number",
        Kind::List => "a list of strings, such as [\"shop\", \"stock\"]",
        Kind::OneOrMore => "a string in quotes, or a list of them",
    }
}

/// The type of what was found; never its value, which may be a password without quotes.
fn found(item: &Item) -> &'static str {
    match item.type_name() {
        "string" => "a string",
        "integer" => "an integer",
        "float" => "a number with a point",
        "boolean" => "true or false",
        "datetime" => "a date",
        "array" => "a list",
        "array of tables" => "a list of tables ([[…]])",
        "table" | "inline table" => "a table",
        _ => "nothing",
    }
}

fn header(path: &[String]) -> String {
    format!("write [{}] and its keys below", dotted(path))
}
