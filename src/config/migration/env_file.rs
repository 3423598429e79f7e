//! `KEY=value` lines, as `env` prints them and as Docker takes them.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// What was read.
#[derive(Default)]
pub struct Read {
    /// By name; of several lines with one name the last counts.
    pub variables: BTreeMap<String, String>,
    /// What was odd; no value is in it.
    pub warnings: Vec<String>,
}

/// The variables of this process; what is no UTF-8 is none of that server's.
pub fn of_process(variables: impl Iterator<Item = (OsString, OsString)>) -> Read {
    let texts = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Read {
        variables: texts.collect(),
        warnings: Vec::new(),
    }
}

/// Reads a text; `place` is its name in warnings. A value that has several lines loses all but its
/// first, because `env` does not say where it ends.
pub fn read(place: &str, text: &str) -> Read {
    let mut read = Read::default();
    let mut odd: Vec<usize> = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        match line.split_once('=').filter(|(name, _)| is_name(name)) {
            Some((name, value)) => {
                let value = match unquoted(value) {
                    Some(inner) => {
                        read.warnings.push(format!(
                            "{place}:{}: {name} is taken without the quotation marks around it",
                            index + 1
                        ));
                        inner
                    }
                    None => value,
                };
                read.variables.insert(name.to_owned(), value.to_owned());
            }
            None => odd.push(index + 1),
        }
    }
    if let Some(first) = odd.first() {
        let (lines, are) = match odd.len() {
            1 => ("one line is".to_owned(), "is"),
            more => (format!("{more} lines are"), "are"),
        };
        read.warnings.push(format!(
            "{place}:{first}: {lines} no NAME=value, and {are} left out"
        ));
    }
    read
}

/// Docker and `env` know no quotes; shells and Compose take them away.
fn unquoted(value: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_env_and_of_docker_are_read() {
        let text = "\u{feff}# a comment\r\nCLICKHOUSE_TIMEOUT=4h\r\n\nexport LOG_LEVEL=info\nA=b=c\nQ=\"x\"\nEMPTY=\nLOG_LEVEL=debug\n";
        let read = read("old.env", text);
        let found: Vec<(&str, &str)> = read
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("A", "b=c"),
                ("CLICKHOUSE_TIMEOUT", "4h"),
                ("EMPTY", ""),
                ("LOG_LEVEL", "debug"),
                ("Q", "x")
            ]
        );
        assert_eq!(
            read.warnings,
            ["old.env:6: Q is taken without the quotation marks around it"]
        );
    }

    #[test]
    fn a_line_that_is_none_is_counted_and_not_repeated() {
        let read = read("old.env", "PEM=-----BEGIN-----\nhunter2\n-----END-----\n");
        assert_eq!(
            read.warnings,
            ["old.env:2: 2 lines are no NAME=value, and are left out"]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = read("x", &text);
        }
    }
}
