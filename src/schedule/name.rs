//! The name of a schedule.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most characters a schedule's name may have.
pub const SCHEDULE_NAME_LENGTH_MAX: usize = 64;

/// Names that stand for something else wherever a schedule's name is shown:
/// operations of API clients, and the group of backups made by hand.
const RESERVED: [&str; 2] = ["client", "manual"];

/// The most characters of a refused name that an error repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// The name of a schedule: 1 to 64 of `a-z`, `0-9`, `_` and `-`, and neither `client` nor `manual`.
///
/// It is a metric label, a part of attempt ids and of backup names, so its alphabet is the
/// narrowest of the three.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScheduleName(String);

/// Why a text is not a schedule's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleNameError {
    /// It has characters outside the alphabet, none at all, or too many.
    #[error("schedule name {0:?} is not 1 to 64 of the characters a-z, 0-9, _ and -")]
    Malformed(String),
    /// It is one of the words that the daemon uses itself.
    #[error("schedule name {0:?} is taken by the daemon itself; choose another")]
    Reserved(String),
}

impl ScheduleName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ScheduleName {
    type Error = ScheduleNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if name.is_empty() || name.len() > SCHEDULE_NAME_LENGTH_MAX || !name.bytes().all(allowed) {
            let shown = name.chars().take(SHOWN_CHARS_MAX).collect();
            return Err(ScheduleNameError::Malformed(shown));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(ScheduleNameError::Reserved(name));
        }
        Ok(Self(name))
    }
}

impl FromStr for ScheduleName {
    type Err = ScheduleNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::try_from(name.to_owned())
    }
}

impl From<ScheduleName> for String {
    fn from(name: ScheduleName) -> Self {
        name.0
    }
}

impl AsRef<str> for ScheduleName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ScheduleName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("daily")]
    #[case("a")]
    #[case("0-9_z")]
    #[case("-dash")]
    #[case("clients")]
    fn accepts(#[case] name: &str) {
        assert_eq!(name.parse::<ScheduleName>().unwrap().as_str(), name);
    }

    #[rstest]
    #[case("")]
    #[case("Daily")]
    #[case("a b")]
    #[case("a.b")]
    #[case("дневен")]
    #[case("a\n")]
    fn refuses_and_names_the_input(#[case] name: &str) {
        let error = name.parse::<ScheduleName>().unwrap_err();
        assert!(matches!(error, ScheduleNameError::Malformed(_)));
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }

    #[rstest]
    #[case("client")]
    #[case("manual")]
    fn refuses_reserved(#[case] name: &str) {
        assert_eq!(
            name.parse::<ScheduleName>(),
            Err(ScheduleNameError::Reserved(name.to_owned()))
        );
    }

    #[test]
    fn length_is_bounded_and_errors_stay_short() {
        assert!("x".repeat(64).parse::<ScheduleName>().is_ok());
        let error = "x".repeat(1_000_000).parse::<ScheduleName>().unwrap_err();
        assert!(error.to_string().len() < 200);
    }

    #[test]
    fn serde_goes_through_the_same_door() {
        let name: ScheduleName = serde_json::from_str("\"daily\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"daily\"");
        let error = serde_json::from_str::<ScheduleName>("\"manual\"").unwrap_err();
        assert!(error.to_string().contains("manual"), "{error}");
    }
}
