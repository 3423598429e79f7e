//! The YAML file of the server we replace → its variables.
//!
//! The parser's events are used as they are, because they keep every scalar as it was written: a
//! password `00712` is no number here, and neither is it for that server.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::config::error::{ConfigError, quote};
use crate::config::nearest;
use crate::config::variables;

/// The deepest nesting that is read; that file has three levels.
const DEPTH_MAX: usize = 8;
/// The one key that has no variable.
const FILE_ALONE: (&str, &str) = ("general", "disable_environment_override");
/// Unknown keys that are told one by one.
const UNKNOWN_MAX: usize = 20;
/// Values that its `print-config` writes for what nobody set, where a warning about them would only be
/// noise.
const UNSET: [(&str, &str); 6] = [
    ("WATCH_INTERVAL", "1h"),
    ("FULL_INTERVAL", "24h"),
    (
        "WATCH_BACKUP_NAME_TEMPLATE",
        "shard{shard}-{type}-{time:20060102150405}",
    ),
    ("S3_REGION", "us-east-1"),
    ("CALLBACK_TIMEOUT", "5s"),
    // None of these databases is ever in a backup of ours.
    (
        "CLICKHOUSE_SKIP_TABLES",
        "system.*,INFORMATION_SCHEMA.*,information_schema.*,_temporary_and_external_tables.*",
    ),
];
/// Keys that are yes or no, where the file may say `yes` and `off`.
const FLAGS: [&str; 7] = [
    "CLICKHOUSE_SECURE",
    "CLICKHOUSE_SKIP_VERIFY",
    "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE",
    "API_SECURE",
    "API_ALLOW_PARALLEL",
    "API_CREATE_INTEGRATION_TABLES",
    "RBAC_BACKUP_ALWAYS",
];

/// What was read.
#[derive(Default)]
pub struct Read {
    /// By the name of the variable.
    pub variables: BTreeMap<String, String>,
    /// Whether the file says that variables do not count.
    pub overrides_environment: bool,
    /// What was odd; no value is in it.
    pub warnings: Vec<String>,
}

/// A value as it is written.
enum Node {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, usize, Node)>),
}

/// Reads the text; `place` is its name in messages.
///
/// # Errors
/// When it is no YAML, or not the YAML of that server.
pub fn read(place: &str, text: &str) -> Result<Read, ConfigError> {
    let mut read = Read::default();
    let sections = match Reader::new(place, text).document()? {
        None => return Ok(read),
        Some(Node::Map(sections)) => sections,
        Some(Node::Scalar(text)) if text.is_empty() => return Ok(read),
        Some(_) => {
            let problem = "this is no configuration of clickhouse-backup: sections such as general: and clickhouse: are missing";
            return Err(ConfigError::at(place, problem, "name its config.yml"));
        }
    };
    let mut unknown = Vec::new();
    for (section, line, node) in sections {
        let keys = match node {
            Node::Map(keys) => keys,
            Node::Scalar(text) if text.is_empty() => continue,
            _ => {
                let problem = format!("{} is no section with keys", quote(&section));
                let place = format!("{place}:{line}");
                return Err(ConfigError::at(place, problem, "indent its keys below it"));
            }
        };
        for (key, line, node) in keys {
            let text = node.text();
            if (section.as_str(), key.as_str()) == FILE_ALONE {
                read.overrides_environment = is_yes(&text);
                continue;
            }
            match variables::of_yaml(&section, &key) {
                Some(variable) => read.take(variable.name, text),
                None => unknown.push((line, section.clone(), key)),
            }
        }
    }
    for (line, section, key) in unknown.iter().take(UNKNOWN_MAX) {
        read.warnings.push(no_key(place, *line, section, key));
    }
    if let Some(more) = unknown.len().checked_sub(UNKNOWN_MAX + 1) {
        let warning = format!("{place}: {} more keys are not known here", more + 1);
        read.warnings.push(warning);
    }
    Ok(read)
}

impl Read {
    fn take(&mut self, variable: &str, text: String) {
        let text = match FLAGS.contains(&variable) {
            true if is_yes(&text) => "true".to_owned(),
            true if is_no(&text) => "false".to_owned(),
            _ => text,
        };
        let is_unset = text.is_empty() || UNSET.contains(&(variable, text.as_str()));
        if !is_unset {
            self.variables.insert(variable.to_owned(), text);
        }
    }
}

impl Node {
    /// As it would stand in a variable: lists with commas, tables as `key:value`.
    fn text(&self) -> String {
        match self {
            Self::Scalar(text) => text.clone(),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::text).collect();
                items.join(",")
            }
            Self::Map(keys) => {
                let pairs = keys
                    .iter()
                    .map(|(key, _, value)| format!("{key}:{}", value.text()));
                pairs.collect::<Vec<_>>().join(",")
            }
        }
    }
}

/// Events to nodes.
struct Reader<'a> {
    place: &'a str,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn new(place: &'a str, text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            place,
            parser: Parser::new_from_str(text),
        }
    }

    /// The first document; that server reads no other.
    fn document(&mut self) -> Result<Option<Node>, ConfigError> {
        loop {
            match self.next()? {
                None | Some((Event::StreamEnd | Event::DocumentEnd, _)) => return Ok(None),
                Some((Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _)) => {}
                Some((event, span)) => return self.node(event, span, 0).map(Some),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, ConfigError> {
        if depth > DEPTH_MAX {
            return Err(self.refused(span, "it is nested too deeply", "name its config.yml"));
        }
        match event {
            Event::Scalar(text, style, _, _) => Ok(Node::Scalar(scalar(&text, style))),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.must()? {
                        (Event::SequenceEnd, _) => return Ok(Node::List(items)),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.mapping(depth).map(Node::Map),
            Event::Alias(_) => {
                let problem = "an alias (*name) stands here, and is not read";
                Err(self.refused(span, problem, "write the value out"))
            }
            _ => Err(self.refused(span, "a value is missing", "correct the file")),
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(String, usize, Node)>, ConfigError> {
        let mut keys: Vec<(String, usize, Node)> = Vec::new();
        loop {
            let (event, span) = self.must()?;
            let key = match event {
                Event::MappingEnd => return Ok(keys),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.refused(span, "a key is no text", "correct the file")),
            };
            if keys.iter().any(|(known, _, _)| *known == key) {
                let problem = format!("{} stands here twice", quote(&key));
                return Err(self.refused(span, problem, "keep one of them"));
            }
            let (event, value_span) = self.must()?;
            let node = self.node(event, value_span, depth + 1)?;
            keys.push((key, span.start.line(), node));
        }
    }

    fn must(&mut self) -> Result<(Event<'a>, Span), ConfigError> {
        match self.next()? {
            Some(found) => Ok(found),
            None => Err(ConfigError::at(
                self.place,
                "the file ends too early",
                "save it again",
            )),
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, ConfigError> {
        let place = self.place;
        self.parser
            .next_event()
            .transpose()
            .map_err(|error| no_yaml(place, &error))
    }

    fn refused(&self, span: Span, problem: impl Into<String>, remedy: &str) -> ConfigError {
        let place = format!("{}:{}", self.place, span.start.line());
        ConfigError::at(place, problem, remedy)
    }
}

fn no_yaml(place: &str, error: &ScanError) -> ConfigError {
    let place = format!("{place}:{}", error.marker().line());
    let problem = format!("this is no YAML: {}", error.info());
    ConfigError::at(place, problem, "correct the file")
}

fn no_key(place: &str, line: usize, section: &str, key: &str) -> String {
    let known = variables::all().iter().filter_map(|variable| {
        let (of, key) = variable.yaml.as_ref()?;
        (*of == section).then_some(key.as_str())
    });
    let near = nearest::word(key, known)
        .map(|near| format!("; did it mean {near}?"))
        .unwrap_or_default();
    format!(
        "{place}:{line}: {} is no key of that server that is known here, and does nothing{near}",
        quote(&format!("{section}.{key}"))
    )
}

/// What is not there at all is written in several ways.
fn scalar(text: &str, style: ScalarStyle) -> String {
    match (style, text) {
        (ScalarStyle::Plain, "~" | "null" | "Null" | "NULL") => String::new(),
        (_, text) => text.to_owned(),
    }
}

fn is_yes(text: &str) -> bool {
    ["true", "yes", "on", "y"].contains(&text.to_lowercase().as_str())
}

fn is_no(text: &str) -> bool {
    ["false", "no", "off", "n"].contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn pairs(text: &str) -> Vec<(String, String)> {
        read("config.yml", text)
            .unwrap_or_else(|error| panic!("{error}"))
            .variables
            .into_iter()
            .collect()
    }

    #[test]
    fn keys_become_variables_with_their_text_as_it_is_written() {
        let text = "general:\n  backups_to_keep_local: 14 # days\n  restore_database_mapping: {a: b}\n\
            clickhouse:\n  username: backup\n  password: 00712\n  timeout: \"4h\"\n  embedded_backup_disk: s3_backup\n  use_embedded_backup_restore: yes\n  tls_ca: ~\n  skip_tables:\n    - system.*\n    - shop.tmp_*\n\
            api:\n  ca_key_file: /ca.pem\n  listen: ''\n";
        let expected = [
            ("API_CA_CERT_FILE", "/ca.pem"),
            ("BACKUPS_TO_KEEP_LOCAL", "14"),
            ("CLICKHOUSE_EMBEDDED_BACKUP_DISK", "s3_backup"),
            ("CLICKHOUSE_PASSWORD", "00712"),
            ("CLICKHOUSE_SKIP_TABLES", "system.*,shop.tmp_*"),
            ("CLICKHOUSE_TIMEOUT", "4h"),
            ("CLICKHOUSE_USERNAME", "backup"),
            ("CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE", "true"),
            ("RESTORE_DATABASE_MAPPING", "a:b"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs(text), expected);
    }

    #[rstest]
    #[case("")]
    #[case("# nothing\n")]
    #[case("---\n...\n")]
    #[case("general:\n")]
    #[case("~\n")]
    #[case("general:\n  watch_interval: 1h\n  full_interval: 24h\n")]
    fn nothing_is_nothing(#[case] text: &str) {
        assert_eq!(pairs(text), []);
    }

    #[rstest]
    #[case("general: [", "config.yml:")]
    #[case("- a\n- b\n", "no configuration of clickhouse-backup")]
    #[case("hello", "no configuration of clickhouse-backup")]
    #[case("general: 1\n", "config.yml:1: \"general\" is no section")]
    #[case("general:\n  a: 1\n  a: 2\n", "config.yml:3: \"a\" stands here twice")]
    #[case("a: &x 1\nb: *x\n", "config.yml:2: an alias")]
    #[case(
        "{a: {b: {c: {d: {e: {f: {g: {h: {i: {j: 1}}}}}}}}}}",
        "nested too deeply"
    )]
    fn what_is_no_such_file_is_told_with_its_place(#[case] text: &str, #[case] expected: &str) {
        let error = read("config.yml", text).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn unknown_keys_are_told_and_their_values_are_not() {
        let text = "clickhouse:\n  pasword: hunter2\nelse:\n  x: hunter2\n";
        let warnings = read("config.yml", text).unwrap().warnings;
        assert_eq!(
            warnings,
            [
                "config.yml:2: \"clickhouse.pasword\" is no key of that server that is known here, and does nothing; did it mean password?",
                "config.yml:4: \"else.x\" is no key of that server that is known here, and does nothing",
            ]
        );
        let many: String = (0..30).map(|n| format!("  zzz{n}: 1\n")).collect();
        let warnings = read("c", &format!("cos:\n{many}")).unwrap().warnings;
        assert_eq!(warnings.len(), UNKNOWN_MAX + 1);
        assert_eq!(warnings[UNKNOWN_MAX], "c: 10 more keys are not known here");
    }

    #[test]
    fn a_mistake_repeats_no_value() {
        for text in [
            "clickhouse:\n  password: \"hunter2\n",
            "clickhouse:\n  password: hunter2: x\n",
            "clickhouse:\n  password: @hunter2\n",
        ] {
            let error = read("c", text).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a-z:\\-\\[\\]{}&*!|>'\"# \n0-9~]{0,60}") {
            let _ = read("x", &text);
        }
    }
}
