//! Arguments of a request: from its query, or from the words of a command line.
//!
//! The server we replace ignored what it did not know. Here an argument that would change the result
//! and that we do not serve is refused with its name; nothing that a caller wrote is dropped silently.

use super::answer::Refusal;
use crate::backup::{BackupName, TablePattern};

/// Longest query or command, in bytes; the command is kept in the history.
pub(super) const ARGUMENTS_MAX_BYTES: usize = 16 * 1024;
/// Most arguments, list elements included.
const ARGUMENTS_MAX: usize = 1_000;
/// Characters of a caller's text that an error repeats.
const SHOWN_MAX_CHARS: usize = 100;

/// An argument of the server we replace, and what becomes of it here.
pub(super) struct Argument {
    /// Its name, with `_`; callers may write `-` instead.
    pub(super) name: &'static str,
    /// Other names on a command line.
    pub(super) aliases: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) support: Support,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its presence means yes, whatever its value in a query.
    Flag,
    /// Its value counts; an empty one means that it was not given.
    Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Support {
    /// It does what it did, or nothing that could be missed.
    Accepted,
    /// It would change the result, and this says what to do instead.
    Refused(&'static str),
}

/// The arguments that a caller gave, by their canonical names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments(Vec<(&'static str, String)>);

impl Argument {
    pub(super) const fn flag(name: &'static str, aliases: &'static [&'static str]) -> Self {
        Self {
            name,
            aliases,
            kind: Kind::Flag,
            support: Support::Accepted,
        }
    }

    pub(super) const fn value(name: &'static str, aliases: &'static [&'static str]) -> Self {
        Self {
            kind: Kind::Value,
            ..Self::flag(name, aliases)
        }
    }

    pub(super) const fn refused(name: &'static str, kind: Kind, instead: &'static str) -> Self {
        Self {
            kind,
            support: Support::Refused(instead),
            ..Self::flag(name, &[])
        }
    }
}

impl Arguments {
    /// Reads a query. `user` and `pass` are not arguments; `_` spellings go before `-` ones, as before.
    pub(super) fn from_query(
        operation: &'static str,
        query: Option<&str>,
        known: &'static [Argument],
    ) -> Result<Self, Refusal> {
        let query = query.unwrap_or_default();
        check_length(operation, query.len())?;
        let mut given: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .filter(|(name, _)| !matches!(name.as_str(), "" | "user" | "pass"))
            .collect();
        given.sort_by_key(|(name, _)| name.contains('-'));
        let mut arguments = Self::default();
        for (name, value) in given {
            let canonical = name.replace('-', "_");
            let argument = known.iter().find(|argument| argument.name == canonical);
            arguments.take(operation, &name, value, argument, known)?;
        }
        Ok(arguments)
    }

    /// Reads the words behind a command; what is no option is given back.
    pub(super) fn from_words(
        operation: &'static str,
        words: &[String],
        known: &'static [Argument],
    ) -> Result<(Self, Vec<String>), Refusal> {
        let mut arguments = Self::default();
        let mut rest = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(option) = option_of(word) else {
                rest.push(word.clone());
                continue;
            };
            let (name, inline) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            let canonical = name.replace('-', "_");
            let argument = known
                .iter()
                .find(|known| known.name == canonical || known.aliases.contains(&name));
            let value = match (argument.map(|known| known.kind), inline) {
                (Some(Kind::Flag), Some(value)) => match truth(&value) {
                    Some(true) => String::new(),
                    Some(false) => continue,
                    None => return Err(no_truth(operation, name, &value)),
                },
                (Some(Kind::Value), None) => words.next().cloned().ok_or_else(|| {
                    Refusal::bad_request(operation, format!("option {word} needs a value"))
                })?,
                (_, inline) => inline.unwrap_or_default(),
            };
            arguments.take(operation, name, value, argument, known)?;
        }
        Ok((arguments, rest))
    }

    fn take(
        &mut self,
        operation: &'static str,
        written: &str,
        value: String,
        argument: Option<&'static Argument>,
        known: &'static [Argument],
    ) -> Result<(), Refusal> {
        let Some(argument) = argument else {
            let accepted = known
                .iter()
                .filter(|known| known.support == Support::Accepted);
            let names: Vec<&str> = accepted.map(|known| known.name).collect();
            let text = format!(
                "unknown argument {:?}; {operation} takes {}",
                shown(written),
                names.join(", ")
            );
            return Err(Refusal::bad_request(operation, text));
        };
        let means_nothing = argument.kind == Kind::Value && value.trim().is_empty();
        match argument.support {
            Support::Refused(instead) if !means_nothing => {
                let text = format!("argument {} is not supported: {instead}", argument.name);
                Err(Refusal::bad_request(operation, text))
            }
            _ if self.0.len() >= ARGUMENTS_MAX => Err(too_many(operation)),
            _ => {
                self.0.push((argument.name, value));
                Ok(())
            }
        }
    }

    /// The name that stood beside the options of a command line.
    pub(super) fn set_name(&mut self, name: &str) {
        self.0.insert(0, ("name", name.to_owned()));
    }

    /// Whether it was given, with or without a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Every value, in the order in which they were written.
    pub(super) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let name = name.to_owned();
        let given = self.0.iter().filter(move |(given, _)| *given == name);
        given.map(|(_, value)| value.as_str())
    }

    /// Its first value that is not empty.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).find(|value| !value.is_empty())
    }

    /// The table patterns: a list with commas (or lines), given once or several times. None at all,
    /// and `*` or `*.*` among them, mean every table: an empty list.
    pub(super) fn tables(&self, operation: &'static str) -> Result<Vec<TablePattern>, Refusal> {
        let mut patterns = Vec::new();
        let mut every = false;
        let lists = self
            .values("table")
            .flat_map(|list| list.split([',', '\n']));
        for text in lists.map(str::trim).filter(|text| !text.is_empty()) {
            if patterns.len() >= ARGUMENTS_MAX {
                return Err(too_many(operation));
            }
            every |= matches!(text, "*" | "*.*");
            if text != "*" {
                let pattern = TablePattern::parse(text)
                    .map_err(|error| Refusal::bad_request(operation, error.to_string()))?;
                patterns.push(pattern);
            }
        }
        Ok(if every { Vec::new() } else { patterns })
    }
}

/// A backup's name as a caller wrote it. The server we replace deleted characters from it without
/// a word, and then worked on another backup than the one that was meant.
pub(super) fn backup_name(operation: &'static str, text: &str) -> Result<BackupName, Refusal> {
    BackupName::parse(text).map_err(|error| Refusal::bad_request(operation, error.to_string()))
}

/// Refuses what is too long to be kept in the history.
pub(super) fn check_length(operation: &'static str, bytes: usize) -> Result<(), Refusal> {
    if bytes > ARGUMENTS_MAX_BYTES {
        let text = format!(
            "arguments of {bytes} bytes are longer than {ARGUMENTS_MAX_BYTES}; use patterns such as shop.*"
        );
        return Err(Refusal::bad_request(operation, text));
    }
    Ok(())
}

/// A caller's text, shortened for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX_CHARS).collect()
}

/// What a text says about yes or no, in the words of the old command line.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn no_truth(operation: &'static str, name: &str, value: &str) -> Refusal {
    let text = format!(
        "option {:?} is true or false, not {:?}",
        shown(name),
        shown(value)
    );
    Refusal::bad_request(operation, text)
}

fn too_many(operation: &'static str) -> Refusal {
    let text = format!("more than {ARGUMENTS_MAX} arguments; use patterns such as shop.*");
    Refusal::bad_request(operation, text)
}

/// `--name` and `-name` alike, as the old command line took them; a lone dash is no option.
fn option_of(word: &str) -> Option<&str> {
    let option = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    (!option.is_empty()).then_some(option)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const KNOWN: &[Argument] = &[
        Argument::value("table", &["tables", "t"]),
        Argument::flag("schema", &["s"]),
        Argument::value("diff_from", &[]),
        Argument::refused("partitions", Kind::Value, "name tables"),
        Argument::refused("configs", Kind::Flag, "copy the files"),
    ];

    fn query(text: &str) -> Result<Arguments, String> {
        Arguments::from_query("create", Some(text), KNOWN).map_err(|refusal| refusal.line())
    }

    #[test]
    fn both_spellings_are_one_and_the_underscore_goes_first() {
        let given = query("diff-from=a&diff_from=b&user=x&pass=y").unwrap();
        assert_eq!(given.value("diff_from"), Some("b"));
        assert_eq!(given.values("diff_from").collect::<Vec<_>>(), ["b", "a"]);
    }

    #[rstest]
    #[case("schema")]
    #[case("schema=")]
    #[case("schema=false")]
    fn the_presence_of_a_flag_is_enough(#[case] text: &str) {
        assert!(query(text).unwrap().has("schema"));
    }

    #[rstest]
    #[case("partitions=2026", "partitions is not supported: name tables")]
    #[case("configs", "configs is not supported: copy the files")]
    #[case(
        "tables=shop.*",
        r#"unknown argument \"tables\"; create takes table, schema, diff_from"#
    )]
    fn what_would_be_ignored_is_refused_by_name(#[case] text: &str, #[case] expected: &str) {
        let error = query(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn an_empty_value_asks_for_nothing() {
        assert!(query("partitions=&table=").is_ok());
    }

    #[rstest]
    #[case("", &[])]
    #[case("table=*", &[])]
    #[case("table=shop.*,*.*", &[])]
    #[case("table=shop.*,%20x.y%0Aa.b", &["shop.*", "x.y", "a.b"])]
    #[case("table=shop.*&table=x.y", &["shop.*", "x.y"])]
    fn tables_are_a_list_of_patterns(#[case] text: &str, #[case] expected: &[&str]) {
        let tables = query(text).unwrap().tables("create").unwrap();
        let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
        assert_eq!(tables, expected);
    }

    #[test]
    fn a_table_without_its_database_is_named() {
        let error = query("table=orders").unwrap().tables("create").unwrap_err();
        assert!(error.line().contains("orders"), "{}", error.line());
    }

    #[test]
    fn words_are_options_and_the_rest() {
        let words: Vec<String> = [
            "--tables=shop.*",
            "-t",
            "a.b",
            "-s",
            "daily",
            "--diff-from=x",
        ]
        .map(ToOwned::to_owned)
        .into();
        let (given, rest) = Arguments::from_words("create", &words, KNOWN).unwrap();
        assert_eq!(given.values("table").collect::<Vec<_>>(), ["shop.*", "a.b"]);
        assert!(given.has("schema"));
        assert_eq!(given.value("diff_from"), Some("x"));
        assert_eq!(rest, ["daily"]);
    }

    #[rstest]
    #[case(&["--table"], "needs a value")]
    #[case(&["--env=A=B"], "unknown argument")]
    #[case(&["--schema=maybe"], "true or false")]
    #[case(&["--configs"], "not supported")]
    fn a_bad_word_is_named(#[case] words: &[&str], #[case] expected: &str) {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let error = Arguments::from_words("create", &words, KNOWN).unwrap_err();
        assert!(error.line().contains(expected), "{}", error.line());
    }

    #[test]
    fn a_flag_that_is_off_was_not_given() {
        let words = ["--schema=false".to_owned()];
        let (given, _) = Arguments::from_words("create", &words, KNOWN).unwrap();
        assert!(!given.has("schema"));
    }

    #[test]
    fn there_are_limits() {
        assert!(query(&"table=a.b&".repeat(1_001)).is_err());
        assert!(
            query(&format!("table={}", "a.b,".repeat(1_001)))
                .unwrap()
                .tables("create")
                .is_err()
        );
        assert!(query(&"x".repeat(ARGUMENTS_MAX_BYTES + 1)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_query_and_no_words_panic(text in "\\PC{0,60}") {
            let _ = query(&text).map(|given| given.tables("create").is_ok());
            let words: Vec<String> = text.split(' ').map(ToOwned::to_owned).collect();
            let _ = Arguments::from_words("create", &words, KNOWN).is_ok();
        }
    }
}
