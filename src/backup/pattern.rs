//! Table patterns: `database.table`, where `*` and `?` stand for any characters and any one character.

use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes.
const PATTERN_MAX_BYTES: usize = 512;

/// A pattern such as `shop.*` or `*.tmp_*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TablePattern {
    database: String,
    table: String,
}

/// A text that is no table pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No dot, so it does not say which database is meant.
    #[error(
        "table pattern {0:?} has no dot: write database.table, for example shop.orders or *.tmp_*"
    )]
    NoDot(String),
    /// One side of the dot is empty.
    #[error("table pattern {0:?} has an empty side: write database.table, * stands for all")]
    EmptySide(String),
    /// Too long.
    #[error("a table pattern of {0} bytes is longer than 512")]
    TooLong(usize),
}

impl TablePattern {
    /// Reads `database.table`; everything behind the first dot belongs to the table.
    ///
    /// # Errors
    /// When there is no dot, a side is empty, or the text is longer than 512 bytes.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_MAX_BYTES {
            return Err(PatternError::TooLong(text.len()));
        }
        let (database, table) = text
            .split_once('.')
            .ok_or_else(|| PatternError::NoDot(text.to_owned()))?;
        if database.is_empty() || table.is_empty() {
            return Err(PatternError::EmptySide(text.to_owned()));
        }
        Ok(Self {
            database: database.to_owned(),
            table: table.to_owned(),
        })
    }

    /// Whether a table is meant.
    #[must_use]
    pub fn matches(&self, database: &str, table: &str) -> bool {
        glob(&self.database, database) && glob(&self.table, table)
    }

    /// Whether all tables of the databases that it matches are meant.
    #[must_use]
    pub fn is_whole_database(&self) -> bool {
        self.table == "*"
    }

    /// The database and table meant, where it names exactly one.
    #[must_use]
    pub fn as_exact(&self) -> Option<(&str, &str)> {
        let wild = |text: &str| text.contains(['*', '?']);
        (!wild(&self.database) && !wild(&self.table))
            .then_some((self.database.as_str(), self.table.as_str()))
    }

    /// The database whose tables are all meant, where it names exactly one.
    #[must_use]
    pub fn as_exact_database(&self) -> Option<&str> {
        (self.is_whole_database() && !self.database.contains(['*', '?']))
            .then_some(self.database.as_str())
    }

    /// Whether some table of this database may be meant.
    #[must_use]
    pub fn matches_database(&self, database: &str) -> bool {
        glob(&self.database, database)
    }
}

impl std::fmt::Display for TablePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

impl TryFrom<String> for TablePattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::parse(&text)
    }
}

impl From<TablePattern> for String {
    fn from(pattern: TablePattern) -> Self {
        pattern.to_string()
    }
}

/// Whether `text` matches `pattern`, with `*` for any characters and `?` for one.
/// Linear in memory, and at worst the product of the lengths in time: no pattern can hang it.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    p = star_p + 1;
                    t = star_t + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("*.tmp_*", "shop", "tmp_1", true)]
    #[case("*.tmp_*", "shop", "my_tmp_1", false)]
    #[case("shop.*", "shop", "a.b", true)]
    #[case("shop.*", "shop2", "a", false)]
    #[case("s?op.orders", "shop", "orders", true)]
    #[case("s?op.orders", "sop", "orders", false)]
    #[case("*.*a*b*", "x", "ccaccbcc", true)]
    #[case("db.a.b", "db", "a.b", true)]
    fn a_pattern_means_what_it_says(
        #[case] pattern: &str,
        #[case] database: &str,
        #[case] table: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(
            TablePattern::parse(pattern)
                .unwrap()
                .matches(database, table),
            expected
        );
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        assert!(
            TablePattern::parse("orders")
                .unwrap_err()
                .to_string()
                .contains("orders")
        );
        assert_eq!(
            TablePattern::parse(".x"),
            Err(PatternError::EmptySide(".x".into()))
        );
        assert_eq!(
            TablePattern::parse(&"x".repeat(600)),
            Err(PatternError::TooLong(600))
        );
    }

    proptest::proptest! {
        #[test]
        fn a_name_matches_itself_and_stars_around_it(text in "[a-z.]{0,12}") {
            proptest::prop_assert!(glob(&text, &text));
            let pattern = format!("*{text}*");
            proptest::prop_assert!(glob(&pattern, &text));
        }
    }
}
