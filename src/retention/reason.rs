//! Why a backup stays or goes, as data and in words.

use std::fmt;
use std::time::Duration;

use jiff::civil::Date;

use crate::backup::{BackupName, Pin, Suspicion};

/// Why a backup stays or goes. `Display` is what people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It stays: there is no policy for its group.
    NoPolicy,
    /// It stays: it is somebody else's, and `include_foreign` is not set.
    Foreign,
    /// It stays and does not count: a proof found something missing.
    Damaged,
    /// It stays and does not count: its manifest was never read.
    Unproven,
    /// It stays and does not count: it looks like the backup of an emptied server.
    Suspect(Suspicion),
    /// It stays and does not count: its chain cannot be followed.
    BaseMissing {
        /// The backup that is not there.
        base: BackupName,
    },
    /// It stays and does not count: a backup of its chain is damaged.
    BaseDamaged {
        /// That backup.
        base: BackupName,
    },
    /// It stays and does not count: its chain leads back to itself, which only a forged manifest says.
    Ring,
    /// It stays: it is one of the newest.
    Last {
        /// How many the rule keeps.
        n: u32,
        /// Its place among them; 1 is the newest.
        position: usize,
    },
    /// It stays: it is young.
    Within(Duration),
    /// It stays: it is the newest of a day, week, month or year that the policy keeps one of.
    Newest(Period),
    /// It stays: without it there would be fewer than `min_keep`.
    Floor {
        /// The floor.
        n: u32,
    },
    /// It stays: it is the newest of its group that counts.
    NewestSuccess,
    /// It stays: it is the newest of its group that counts and was proved.
    NewestProved,
    /// It stays: somebody wants it kept.
    Pinned(Pin),
    /// It stays for now: something works on it.
    Held {
        /// What does, in words.
        reasons: Vec<String>,
    },
    /// It stays: something that stays is built on it.
    BaseOf {
        /// The newest of those that are built on it directly.
        backup: BackupName,
        /// How many more there are.
        others: usize,
    },
    /// It goes: a rule would keep it only if it were otherwise. One for each rule of the policy.
    NotKept(Unmet),
}

/// What a rule would need to keep a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// To be one of the newest.
    Last {
        /// How many the rule keeps.
        n: u32,
    },
    /// To be younger.
    Within(Duration),
    /// To be the newest of its period.
    Newest {
        /// Its period.
        period: Period,
        /// The one that is.
        newest: BackupName,
    },
    /// To be of a later period.
    Period {
        /// Its period.
        period: Period,
        /// Of how many periods the rule keeps one.
        n: u32,
    },
    /// To be needed for the floor.
    Floor {
        /// The floor.
        n: u32,
    },
}

/// A stretch of the calendar of which one backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A day.
    Day(Date),
    /// An ISO week: it belongs to the year that its Thursday is in.
    Week {
        /// That year.
        year: i16,
        /// Its number in it, 1 to 53.
        week: i8,
    },
    /// A month.
    Month {
        /// Its year.
        year: i16,
        /// Its number in it, 1 to 12.
        month: i8,
    },
    /// A year.
    Year(i16),
}

impl Period {
    /// The word for its length.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Day(_) => "day",
            Self::Week { .. } => "week",
            Self::Month { .. } => "month",
            Self::Year(_) => "year",
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.unit())?;
        match self {
            Self::Day(date) => write!(f, "{date}"),
            Self::Week { year, week } => write!(f, "{year:04}-W{week:02}"),
            Self::Month { year, month } => write!(f, "{year:04}-{month:02}"),
            Self::Year(year) => write!(f, "{year:04}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => f.write_str("no policy"),
            Self::Foreign => f.write_str("foreign"),
            Self::Damaged => f.write_str("damaged, so it does not count"),
            Self::Unproven => f.write_str("its manifest was never read, so it does not count"),
            Self::Suspect(suspicion) => {
                write!(f, "suspect, so it does not count: {suspicion}")
            }
            Self::BaseMissing { base } => {
                write!(f, "its base {base} is missing, so it does not count")
            }
            Self::BaseDamaged { base } => {
                write!(f, "its base {base} is damaged, so it does not count")
            }
            Self::Ring => f.write_str("its chain leads back to itself, so it does not count"),
            Self::Last { n, position } => write!(f, "last {n}: {}", Ordinal(*position)),
            Self::Within(within) => write!(f, "within {}", Span(*within)),
            Self::Newest(period) => write!(f, "{period}"),
            Self::Floor { n } => write!(f, "floor of {n}"),
            Self::NewestSuccess => f.write_str("newest success"),
            Self::NewestProved => f.write_str("newest proved"),
            Self::Pinned(pin) => pinned(f, pin),
            Self::Held { reasons } => write!(f, "held: {}", reasons.join(", ")),
            Self::BaseOf { backup, others: 0 } => write!(f, "base of {backup}"),
            Self::BaseOf { backup, others: 1 } => write!(f, "base of {backup} and 1 other"),
            Self::BaseOf { backup, others } => write!(f, "base of {backup} and {others} others"),
            Self::NotKept(unmet) => write!(f, "{unmet}"),
        }
    }
}

fn pinned(f: &mut fmt::Formatter<'_>, pin: &Pin) -> fmt::Result {
    f.write_str("pinned")?;
    if let Some(by) = &pin.by {
        write!(f, " by {by}")?;
    }
    match &pin.reason {
        Some(reason) => write!(f, ": {reason}"),
        None => Ok(()),
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last { n } => write!(f, "older than the last {n}"),
            Self::Within(within) => write!(f, "more than {} older than the newest", Span(*within)),
            Self::Newest { period, newest } => write!(f, "{newest} is the newest of {period}"),
            Self::Period { period, n: 1 } => {
                write!(
                    f,
                    "{period} is not the last {} with a backup",
                    period.unit()
                )
            }
            Self::Period { period, n } => {
                let unit = period.unit();
                write!(f, "{period} is before the last {n} {unit}s with a backup")
            }
            Self::Floor { n } => write!(f, "the floor of {n} is met without it"),
        }
    }
}

/// A place in an order, as it is said.
struct Ordinal(usize);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match (self.0 % 100, self.0 % 10) {
            (11..=13, _) => "th",
            (_, 1) => "st",
            (_, 2) => "nd",
            (_, 3) => "rd",
            _ => "th",
        };
        write!(f, "{}{ending}", self.0)
    }
}

/// A duration as the configuration writes it, in the largest unit that is whole.
pub(super) struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS_SECS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "m")];
        let seconds = self.0.as_secs();
        let whole = UNITS_SECS
            .iter()
            .find(|(size, _)| seconds > 0 && seconds.is_multiple_of(*size));
        match whole {
            Some((size, unit)) => write!(f, "{}{unit}", seconds / size),
            None => write!(f, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use jiff::civil::date;
    use rstest::rstest;

    fn name(text: &str) -> BackupName {
        BackupName::parse(text).unwrap()
    }

    fn pin(by: Option<&str>, reason: Option<&str>) -> Reason {
        Reason::Pinned(Pin {
            at: Timestamp::UNIX_EPOCH,
            by: by.map(str::to_owned),
            reason: reason.map(str::to_owned),
        })
    }

    fn last(position: usize) -> Reason {
        Reason::Last { n: 120, position }
    }

    fn base_of(others: usize) -> Reason {
        Reason::BaseOf {
            backup: name("2026-11-23"),
            others,
        }
    }

    #[rstest]
    #[case(last(1), "last 120: 1st")]
    #[case(last(2), "last 120: 2nd")]
    #[case(last(3), "last 120: 3rd")]
    #[case(last(4), "last 120: 4th")]
    #[case(last(11), "last 120: 11th")]
    #[case(last(13), "last 120: 13th")]
    #[case(last(22), "last 120: 22nd")]
    #[case(last(112), "last 120: 112th")]
    #[case(Reason::Newest(Period::Day(date(2026, 1, 2))), "day 2026-01-02")]
    #[case(Reason::Newest(Period::Week { year: 2026, week: 7 }), "week 2026-W07")]
    #[case(Reason::Newest(Period::Month { year: 2026, month: 3 }), "month 2026-03")]
    #[case(Reason::Newest(Period::Year(2026)), "year 2026")]
    #[case(Reason::Within(Duration::from_secs(30 * 86_400)), "within 30d")]
    #[case(Reason::Within(Duration::from_secs(36 * 3_600)), "within 36h")]
    #[case(Reason::Within(Duration::from_secs(90)), "within 90s")]
    #[case(base_of(0), "base of 2026-11-23")]
    #[case(base_of(1), "base of 2026-11-23 and 1 other")]
    #[case(base_of(5), "base of 2026-11-23 and 5 others")]
    #[case(pin(None, None), "pinned")]
    #[case(pin(Some("anna"), None), "pinned by anna")]
    #[case(
        pin(Some("anna"), Some("before the move")),
        "pinned by anna: before the move"
    )]
    #[case(pin(None, Some("before the move")), "pinned: before the move")]
    #[case(Reason::NotKept(Unmet::Last { n: 14 }), "older than the last 14")]
    fn reasons_read_like_words(#[case] reason: Reason, #[case] expected: &str) {
        assert_eq!(reason.to_string(), expected);
    }
}
