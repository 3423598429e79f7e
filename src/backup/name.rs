//! How backups are named: the names we take, and the templates that make them from slots.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod template;

pub use template::{KINDS, NameShapes, NameTemplate, NameTemplateError, Resolution, SlotNaming};

/// The most characters a backup's name may have.
pub const BACKUP_NAME_LENGTH_MAX: usize = 128;

/// Endings that ClickHouse takes for archives (`hasRegisteredArchiveFileExtension` in its source).
const ARCHIVE_ENDINGS: [&str; 11] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tar.lzma",
    ".tar.zst",
    ".tzst",
    ".tar.xz",
    ".zip",
    ".zipx",
    ".7z",
];

/// The most characters of a refused text that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// The name of a backup: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
///
/// It becomes a folder in the destination, a URL segment and a string in SQL; the alphabet is safe
/// in all three and leaves no way to write `..` or a hidden folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupName(String);

/// The text is not a backup's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "backup name \"{shown}\" is not 1 to {BACKUP_NAME_LENGTH_MAX} of the characters A-Z a-z 0-9 . _ - \
     beginning with a letter, a digit or _, and without the ending of an archive (.zip, .tar, …)"
)]
pub struct BackupNameError {
    /// The text, shortened, control characters escaped.
    pub shown: String,
}

impl BackupName {
    /// Reads a name.
    ///
    /// # Errors
    /// When the text does not follow the rule.
    pub fn parse(text: &str) -> Result<Self, BackupNameError> {
        // Only here: what is stored must stay readable, whatever its name.
        if is_archive(text) {
            return Err(BackupNameError { shown: shown(text) });
        }
        Self::try_from(text.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `<name>.<number>`, for another try where the name itself is blocked; a name at the limit of
    /// length loses its last characters.
    #[must_use]
    pub fn with_suffix(&self, number: usize) -> Self {
        let suffix = format!(".{number}");
        let kept = self.0.len().min(BACKUP_NAME_LENGTH_MAX - suffix.len());
        Self(format!("{}{suffix}", &self.0[..kept]))
    }
}

impl TryFrom<String> for BackupName {
    type Error = BackupNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let fits = name.len() <= BACKUP_NAME_LENGTH_MAX
            && name.bytes().all(allowed)
            && name.bytes().next().is_some_and(allowed_first);
        if fits {
            Ok(Self(name))
        } else {
            Err(BackupNameError {
                shown: shown(&name),
            })
        }
    }
}

impl FromStr for BackupName {
    type Err = BackupNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // Checked before the copy: a client may send megabytes.
        if name.len() > BACKUP_NAME_LENGTH_MAX {
            return Err(BackupNameError { shown: shown(name) });
        }
        Self::try_from(name.to_owned())
    }
}

impl From<BackupName> for String {
    fn from(name: BackupName) -> Self {
        name.0
    }
}

impl AsRef<str> for BackupName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for BackupName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether ClickHouse would write one archive file under this name, where others become a folder
/// (seen with 26.9): nobody could list it, prove it or build on it.
fn is_archive(name: &str) -> bool {
    ARCHIVE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn allowed_first(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A text as errors repeat it between double quotes: at most 64 characters, control characters and
/// double quotes escaped.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARS_MAX) {
        match c {
            '\'' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("2026-11-22")]
    #[case("_x")]
    #[case("A.b-C_9")]
    #[case("0")]
    #[case("a..b")]
    fn takes_names(#[case] name: &str) {
        assert_eq!(name.parse::<BackupName>().unwrap().as_str(), name);
    }

    #[rstest]
    #[case("", "\"\"")]
    #[case(".hidden", ".hidden")]
    #[case("..", "..")]
    #[case("-rf", "-rf")]
    #[case("a/b", "a/b")]
    #[case("a b", "a b")]
    #[case("a'b", "a'b")]
    #[case("a\nb\x1b[31m", "a\\nb\\u{1b}[31m")]
    #[case("архив", "архив")]
    fn refuses_names_and_says_which(#[case] name: &str, #[case] part: &str) {
        let message = name.parse::<BackupName>().unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert!(message.contains("128"), "{message}");
        assert!(!message.contains(['\n', '\x1b']));
    }

    #[test]
    fn name_length() {
        assert!("x".repeat(128).parse::<BackupName>().is_ok());
        let error = "x".repeat(129).parse::<BackupName>().unwrap_err();
        assert_eq!(error.shown, "x".repeat(64) + "…");
    }

    #[test]
    fn names_go_through_serde() {
        assert!(serde_json::from_str::<BackupName>("\"a/b\"").is_err());
        let name: BackupName = serde_json::from_str("\"a\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"a\"");
    }
}
