//! Finding the slot that somebody means by a date or a time.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::Calendar;

/// Most slots of one day that an error names.
const NAMED_MAX_SLOTS: usize = 3;
/// Most characters of a refused text that an error repeats.
const SHOWN_MAX_CHARS: usize = 64;

/// Length of `2026-11-22`.
const DATE_LENGTH: usize = 10;

/// A text that names no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// Neither a date nor a time.
    #[error("{0:?} is neither a date (2026-11-22) nor a time with zone (2026-11-22T00:00:00Z)")]
    Unreadable(String),
    /// The schedule is not due at that time.
    #[error("the schedule is not due at {at}; the slot before it is {before}")]
    NotDue {
        /// The time.
        at: Timestamp,
        /// The slot before it.
        before: String,
    },
    /// The schedule is not due on that day.
    #[error("the schedule is not due on {day} in {zone}")]
    NoneThatDay {
        /// The day.
        day: Date,
        /// The zone of the schedule.
        zone: String,
    },
    /// The schedule is due more than once on that day.
    #[error("the schedule is due more than once on {day}: {slots}, ...; name one of them")]
    Several {
        /// The day.
        day: Date,
        /// The first of its slots.
        slots: String,
    },
}

impl Calendar {
    /// The slot that a text names: its time, or a date in the schedule's zone that has one slot.
    ///
    /// # Errors
    /// When it names none, or more than one.
    pub fn find_slot(&self, text: &str) -> Result<Timestamp, SlotError> {
        // `jiff` reads the date out of a longer text, too.
        if let (DATE_LENGTH, Ok(day)) = (text.len(), text.parse()) {
            return self.only_slot_of(day);
        }
        let at: Timestamp = text
            .parse()
            .map_err(|_| SlotError::Unreadable(text.chars().take(SHOWN_MAX_CHARS).collect()))?;
        match self.latest_at(at) {
            Some(slot) if slot == at => Ok(at),
            before => Err(SlotError::NotDue {
                at,
                before: before.map_or_else(|| "none".to_owned(), |slot| slot.to_string()),
            }),
        }
    }

    fn only_slot_of(&self, day: Date) -> Result<Timestamp, SlotError> {
        let none = || SlotError::NoneThatDay {
            day,
            zone: self.zone_name().to_owned(),
        };
        // Slots are whole seconds, so the second before midnight is surely before the first of the day.
        let begin = day.to_zoned(self.zone().clone()).map_err(|_| none())?;
        let before = begin
            .timestamp()
            .checked_sub(SignedDuration::from_secs(1))
            .map_err(|_| none())?;
        let slots: Vec<Timestamp> = self
            .slots_after(before)
            .take(NAMED_MAX_SLOTS)
            .take_while(|slot| slot.to_zoned(self.zone().clone()).date() == day)
            .collect();
        match slots.as_slice() {
            [] => Err(none()),
            [slot] => Ok(*slot),
            several => Err(SlotError::Several {
                day,
                slots: several
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0 2 * * *", "2026-11-22", Ok("2026-11-22T00:00:00Z"))]
    #[case("0 2 * * *", "2026-11-22T00:00:00Z", Ok("2026-11-22T00:00:00Z"))]
    #[case("0 2 * * *", "2026-11-22T02:00:00+02:00", Ok("2026-11-22T00:00:00Z"))]
    #[case("0 0 * * *", "2026-11-22", Ok("2026-11-21T22:00:00Z"))]
    #[case(
        "0 2 * * *",
        "2026-11-22T00:00:01Z",
        Err("is not due at 2026-11-22T00:00:01Z; the slot before it is 2026-11-22T00:00:00Z")
    )]
    #[case(
        "0 2 * * 1",
        "2026-11-22",
        Err("not due on 2026-11-22 in Europe/Sofia")
    )]
    #[case(
        "0 */6 * * *",
        "2026-11-22",
        Err("more than once on 2026-11-22: 2026-11-21T22:00:00Z, 2026-11-22T04:00:00Z")
    )]
    #[case("0 2 * * *", "yesterday", Err("\"yesterday\" is neither"))]
    #[case("0 2 * * *", "2026-11-31", Err("is neither"))]
    #[case("0 2 * * *", "", Err("\"\" is neither"))]
    #[case("0 2 * * *", "2026-11-22T02:00:00", Err("is neither"))]
    fn a_slot_is_found_by_its_time_or_its_day(
        #[case] cron: &str,
        #[case] text: &str,
        #[case] expected: Result<&str, &str>,
    ) {
        let calendar = Calendar::parse(cron, "Europe/Sofia").unwrap();
        match (calendar.find_slot(text), expected) {
            (Ok(slot), Ok(expected)) => assert_eq!(slot.to_string(), expected),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{error}");
            }
            (found, expected) => panic!("{found:?}, and not {expected:?}"),
        }
    }
}
