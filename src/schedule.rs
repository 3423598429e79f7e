//! When things are due: cron and time zone in, slots out.
//!
//! A *slot* is one due time of a schedule.
//! [`Calendar`] computes slots, [`due()`] decides which of them fire and which are skipped.
//! Everything here is pure: the caller brings the time, and every decision carries its reason.

mod calendar;
#[cfg(test)]
mod calendar_oracle;
mod due;
mod expression;
mod gap;
mod name;
mod pause;
mod slot;

pub use calendar::{Calendar, CalendarError};
pub use due::{
    CLOCK_BACK_TOLERATED_SECS, Due, MISSED_AFTER_SECS, MissedPolicy, SKIPPED_SLOTS_COUNTED_MAX,
    SKIPPED_SLOTS_RECORDED_MAX, SkipReason, SkippedSlot, due,
};
pub use expression::{CRON_LENGTH_MAX_BYTES, ExpressionError, FieldName};
pub use name::{SCHEDULE_NAME_LENGTH_MAX, ScheduleName, ScheduleNameError};
pub use pause::{PAUSE_REASON_MAX_CHARS, Pause};
pub use slot::SlotError;
