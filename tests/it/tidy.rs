//! The rules of the code that no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A longer file owes a reason or a split.
const FILE_MAX_LINES: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a source file without its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap()
        .to_owned()
}

/// The module of `src/` that a file belongs to.
fn module(path: &Path) -> String {
    let inner = path.strip_prefix(root().join("src")).unwrap();
    inner
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap()
        .trim_end_matches(".rs")
        .to_owned()
}

fn is_test_file(path: &Path) -> bool {
    let text = path.display().to_string();
    ["/tests", "_oracle.rs", "/testing.rs"]
        .iter()
        .any(|end| text.contains(end))
}

/// Rows `| module | may use |` of the table in ARCHITECTURE.md.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let after = text
        .split("| module | may use |")
        .nth(1)
        .expect("ARCHITECTURE.md has the table `| module | may use |`");
    let rows = after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let words = |cell: &str| -> BTreeSet<String> {
        cell.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (words(cells[1]).into_iter().next().unwrap(), words(cells[2]))
    })
    .collect()
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let table = table();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files_below(&root().join("src"), "rs")
        .iter()
        .filter(|path| !is_test_file(path))
    {
        let from = module(path);
        if ["main", "lib", "cli"].contains(&from.as_str()) {
            continue;
        }
        for part in code(path).split("crate::").skip(1) {
            let names: Vec<String> = match part.strip_prefix('{') {
                Some(list) => list
                    .split('}')
                    .next()
                    .unwrap()
                    .split(',')
                    .map(|name| name.trim().split("::").next().unwrap().to_owned())
                    .collect(),
                None => vec![
                    part.chars()
                        .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                        .collect(),
                ],
            };
            used.entry(from.clone()).or_default().extend(
                names
                    .into_iter()
                    .filter(|name| *name != from && !name.is_empty()),
            );
        }
    }
    for (from, names) in &used {
        let allowed = table
            .get(from)
            .unwrap_or_else(|| panic!("{from} is not in the table of ARCHITECTURE.md"));
        let more: Vec<&String> = names.difference(allowed).collect();
        assert!(
            more.is_empty(),
            "{from} uses {more:?}, which the table of ARCHITECTURE.md does not allow"
        );
    }
    for module in table.keys() {
        assert!(
            root().join("src").join(format!("{module}.rs")).exists(),
            "the table names {module}, which is not there"
        );
    }
}

#[test]
fn what_we_know_is_pure() {
    for path in files_below(&root().join("src"), "rs") {
        if !["schedule", "operation", "backup", "retention"].contains(&module(&path).as_str()) {
            continue;
        }
        for word in [
            "async ",
            ".await",
            "std::fs",
            "std::net",
            "tokio::",
            "tracing::",
            "Timestamp::now",
            "Zoned::now",
        ] {
            assert!(!code(&path).contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn only_config_reads_the_environment_and_only_clock_the_time() {
    for path in files_below(&root().join("src"), "rs") {
        let (module, code) = (module(&path), code(&path));
        assert!(
            module == "config" || !code.contains("std::env::var"),
            "{} reads the environment",
            path.display()
        );
        let reads_time = code.contains("Timestamp::now()") || code.contains("SystemTime::now()");
        assert!(
            module == "clock" || !reads_time,
            "{} reads the time",
            path.display()
        );
    }
}

#[test]
fn files_are_short() {
    let sources = [
        files_below(&root().join("src"), "rs"),
        files_below(&root().join("tests"), "rs"),
    ]
    .concat();
    for path in sources.iter().filter(|path| !is_test_file(path)) {
        let lines = code(path).lines().count();
        assert!(
            lines <= FILE_MAX_LINES,
            "{} has {lines} lines",
            path.display()
        );
    }
}

#[test]
fn prose_has_one_sentence_a_line() {
    let docs = files_below(&root().join("docs"), "md");
    let tops = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name));
    for path in docs.into_iter().chain(tops) {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut in_code = false;
        for (number, line) in text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            // The marker of a numbered list is no end of a sentence.
            let line = line
                .trim_start()
                .trim_start_matches(|c: char| c.is_ascii_digit());
            let line = line.strip_prefix(". ").unwrap_or(line);
            let is_prose =
                !in_code && !line.starts_with(['|', '#', '<']) && !line.starts_with("    ");
            let sentences = line
                .match_indices(". ")
                .filter(|(at, _)| line[at + 2..].starts_with(|c: char| c.is_ascii_uppercase()))
                .count();
            assert!(
                !is_prose || sentences == 0,
                "{}:{}: more than one sentence: {line}",
                path.display(),
                number + 1
            );
        }
    }
}
