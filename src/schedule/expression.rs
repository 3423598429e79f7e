//! The cron expressions we take, checked strictly before the cron library sees them.
//!
//! The library is generous: `*/70`, `MON,,TUE`, a weekday in the hour field (`0 MON * * *`) and
//! `1MON` (read as 11) all pass there and mean something nobody wrote.
//! A schedule of backups must mean what it says, so whatever is not plain crontab, or one of the
//! few extensions named here, is refused with the field and the item in the message.
//!
//! Fields: `[second] minute hour day-of-month month day-of-week`.
//! Items, separated by commas: `*`, `*/step`, `value`, `from-to`, `from-to/step`; months and
//! weekdays by number or English three-letter name; day 0 and 7 are Sunday.
//! Extensions: `L` (last day), `LW` (last working day), `15W` (working day nearest to the 15th)
//! for the day of the month; `FRI#2` (second Friday), `FRIL` (last Friday) for the day of the
//! week; `?` for `*` in both; a leading `+` in the day of the week asks for both day fields to
//! match instead of either.

use std::fmt;

/// The most bytes a cron expression may have; every minute of the hour spelled out takes 169.
pub const CRON_LENGTH_MAX_BYTES: usize = 256;

/// An expression that passed the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    /// As written, with runs of blanks made one.
    pub text: String,
    /// What the library parses: macros expanded, upper case.
    pub cron: String,
    /// Whether an item of the hour field begins with `*`.
    pub hour_is_wildcard: bool,
}

/// What is wrong with a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Nothing was written.
    #[error("it is empty")]
    Empty,
    /// More than [`CRON_LENGTH_MAX_BYTES`].
    #[error("it has {0} bytes, more than {CRON_LENGTH_MAX_BYTES}")]
    TooLong(usize),
    /// An `@word` that is not one of ours.
    #[error("{0} is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly")]
    UnknownMacro(String),
    /// Seven fields are most likely a Quartz expression with years.
    #[error(
        "it has {0} fields; write 5 (minute hour day-of-month month day-of-week), or 6 with \
         seconds first; there is no field for years"
    )]
    FieldCount(usize),
    /// One item of one field.
    #[error("{item:?} in the field for the {field}: {problem}")]
    Item {
        /// Which field.
        field: FieldName,
        /// The item as written.
        item: String,
        /// What is wrong, as a sentence without a full stop.
        problem: String,
    },
    /// The cron library refused what passed our own checks.
    #[error("{0}")]
    Library(String),
}

/// The field of a cron expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName {
    /// 0–59, only in expressions of six fields.
    Second,
    /// 0–59.
    Minute,
    /// 0–23.
    Hour,
    /// 1–31.
    DayOfMonth,
    /// 1–12 or `JAN`–`DEC`.
    Month,
    /// 0–7 or `SUN`–`SAT`.
    DayOfWeek,
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of the month",
            Self::Month => "month",
            Self::DayOfWeek => "day of the week",
        })
    }
}

/// Checks a cron expression; see the module's own text for what is taken.
pub(super) fn check(written: &str) -> Result<Expression, ExpressionError> {
    if written.len() > CRON_LENGTH_MAX_BYTES {
        return Err(ExpressionError::TooLong(written.len()));
    }
    let words: Vec<&str> = written.split_ascii_whitespace().collect();
    let text = words.join(" ");
    let cron = match words.as_slice() {
        [] => return Err(ExpressionError::Empty),
        [word] if word.starts_with('@') => expand_macro(word)?.to_owned(),
        _ => text.to_ascii_uppercase(),
    };
    let fields: Vec<&str> = cron.split(' ').collect();
    let names = match fields.len() {
        5 => &FieldName::ALL[1..],
        6 => &FieldName::ALL[..],
        other => return Err(ExpressionError::FieldCount(other)),
    };
    let mut hour_is_wildcard = false;
    for (&name, &field) in names.iter().zip(&fields) {
        name.check(field)?;
        if name == FieldName::Hour {
            hour_is_wildcard = field.split(',').any(|item| item.starts_with('*'));
        }
    }
    Ok(Expression {
        text,
        cron,
        hour_is_wildcard,
    })
}

fn expand_macro(word: &str) -> Result<&'static str, ExpressionError> {
    match word.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ => Err(ExpressionError::UnknownMacro(
            word.escape_default().to_string(),
        )),
    }
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl FieldName {
    const ALL: [Self; 6] = [
        Self::Second,
        Self::Minute,
        Self::Hour,
        Self::DayOfMonth,
        Self::Month,
        Self::DayOfWeek,
    ];

    /// The smallest and greatest value; 7 is a second way to write Sunday.
    fn range(self) -> (u16, u16) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }

    fn check(self, field: &str) -> Result<(), ExpressionError> {
        let (plus, list) = match field.strip_prefix('+') {
            Some(rest) if self == Self::DayOfWeek && rest != "*" && rest != "?" => (true, rest),
            _ => (false, field),
        };
        if list == "?" && !plus && matches!(self, Self::DayOfMonth | Self::DayOfWeek) {
            return Ok(());
        }
        let items: Vec<&str> = list.split(',').collect();
        for &item in &items {
            self.check_item(item, items.len() == 1)
                .map_err(|problem| ExpressionError::Item {
                    field: self,
                    item: if item.is_empty() { field } else { item }
                        .chars()
                        .take(64)
                        .collect(),
                    problem,
                })?;
        }
        // The library keeps one mark for both and would drop the plain L.
        if items.contains(&"L") && items.contains(&"LW") {
            return Err(ExpressionError::Item {
                field: self,
                item: list.to_owned(),
                problem: "L and LW cannot be combined".to_owned(),
            });
        }
        Ok(())
    }

    fn check_item(self, item: &str, alone: bool) -> Result<(), String> {
        if item.is_empty() {
            return Err("the list has an empty member".to_owned());
        }
        if item == "*" {
            return if alone {
                Ok(())
            } else {
                Err("* already means every value, a list around it does not".to_owned())
            };
        }
        if let Some((range, step)) = item.split_once('/') {
            return self.check_step(range, step);
        }
        if let Some((from, to)) = item.split_once('-') {
            return self.check_range(from, to).map(|_| ());
        }
        match self {
            Self::DayOfMonth if item == "L" || item == "LW" => Ok(()),
            Self::DayOfMonth if item.ends_with('W') => {
                self.value(item.trim_end_matches('W')).map(|_| ())
            }
            Self::DayOfWeek => self.check_weekday(item),
            _ => self.value(item).map(|_| ()),
        }
    }

    fn check_weekday(self, item: &str) -> Result<(), String> {
        if let Some((day, nth)) = item.split_once('#') {
            self.value(day)?;
            return match nth {
                "1" | "2" | "3" | "4" | "5" | "L" => Ok(()),
                _ => Err("after # comes 1 to 5, or L for the last".to_owned()),
            };
        }
        match item.strip_suffix('L') {
            Some("") => Err("L needs a weekday before it, such as FRIL".to_owned()),
            Some(day) => self.value(day).map(|_| ()),
            None => self.value(item).map(|_| ()),
        }
    }

    fn check_step(self, range: &str, step: &str) -> Result<(), String> {
        let (from, to) = if range == "*" {
            // Sunday counts once when the whole week is meant.
            let (min, max) = self.range();
            (min, if self == Self::DayOfWeek { 6 } else { max })
        } else if let Some((from, to)) = range.split_once('-') {
            self.check_range(from, to)?
        } else {
            return Err(format!(
                "a step needs a range before it, such as */{step} or {range}-{}/{step}",
                self.range().1
            ));
        };
        let step = number(step).ok_or("the step is not a number")?;
        if step == 0 {
            return Err("a step of 0 never advances".to_owned());
        }
        if step > to - from {
            return Err(format!(
                "the step is greater than the range {from}-{to}, so only {from} would ever match; \
                 write {from}"
            ));
        }
        Ok(())
    }

    fn check_range(self, from: &str, to: &str) -> Result<(u16, u16), String> {
        let start = self.value(from)?;
        // FRI-SUN ends with the week.
        let end = match self.value(to)? {
            0 if self == Self::DayOfWeek && to == "SUN" => 7,
            end => end,
        };
        if start > end {
            return Err("the range runs backwards; write it as two ranges".to_owned());
        }
        Ok((start, end))
    }

    fn value(self, text: &str) -> Result<u16, String> {
        let (min, max) = self.range();
        let names: &[&str] = match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
            _ => &[],
        };
        if let Some(index) = names.iter().position(|name| *name == text) {
            return Ok(min + index as u16);
        }
        let value = number(text).ok_or_else(|| match names {
            [] => "this is not a number".to_owned(),
            [first, .., last] => format!("this is neither a number nor a name {first} to {last}"),
            [only] => format!("this is neither a number nor {only}"),
        })?;
        if value < min || value > max {
            return Err(format!("the value is outside {min}-{max}"));
        }
        Ok(value)
    }
}

/// A number of digits only; `+5`, which `str::parse` takes, is none.
fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0 2 * * *")]
    #[case("  0\t2  * * * ")]
    #[case("*/10 * * * * *")]
    #[case("0 2 * * mon-fri")]
    #[case("0 2 * * FRI-SUN")]
    #[case("0 2 * jan,JUL 0,7")]
    #[case("0 2 L * *")]
    #[case("0 2 LW,15W,1 * *")]
    #[case("0 2 * * FRI#2,MONL,3#L")]
    #[case("0 2 ? * MON")]
    #[case("0 2 1-7 * +MON")]
    #[case("0-59/59 0-23 1-31 1-12 0-7")]
    #[case("@Daily")]
    fn accepts(#[case] cron: &str) {
        assert!(check(cron).is_ok(), "{:?}", check(cron));
    }

    #[rstest]
    #[case("*/70 * * * *", "greater than the range 0-59")]
    #[case("*/60 * * * *", "write 0")]
    #[case("0 */24 * * *", "greater than the range 0-23")]
    #[case("0 10-12/5 * * *", "greater than the range 10-12")]
    #[case("0 2 * * MON,,TUE", "empty member")]
    #[case("0 2 * * ,MON", "empty member")]
    #[case("0 2, * * *", "empty member")]
    #[case("0 MON * * *", "hour")]
    #[case("0 2 * JANFEB *", "month")]
    #[case("0 2 * * 1MON", "day of the week")]
    #[case("0 2 * * MONTUE", "day of the week")]
    #[case("0 24 * * *", "outside 0-23")]
    #[case("60 2 * * *", "outside 0-59")]
    #[case("0 2 0 * *", "outside 1-31")]
    #[case("0 2 * 13 *", "outside 1-12")]
    #[case("0 2 * * 8", "outside 0-7")]
    #[case("0 2 * * FRI-MON", "backwards")]
    #[case("0 5-2 * * *", "backwards")]
    #[case("0/15 2 * * *", "*/15")]
    #[case("/15 2 * * *", "range")]
    #[case("*/0 2 * * *", "never advances")]
    #[case("*/x 2 * * *", "not a number")]
    #[case("*/+5 2 * * *", "not a number")]
    #[case("1-2-3 2 * * *", "not a number")]
    #[case("1/2/3 2 * * *", "range")]
    #[case("*,5 2 * * *", "every value")]
    #[case("? 2 * * *", "not a number")]
    #[case("0 2 * * L", "weekday before it")]
    #[case("0 2 L,LW * *", "combined")]
    #[case("0 2 W * *", "not a number")]
    #[case("0 2 32W * *", "outside")]
    #[case("0 2 * * FRI#6", "1 to 5")]
    #[case("0 2 * * 1-5#2", "neither a number")]
    #[case("0 2 * * +*", "day of the week")]
    #[case("0 +2 * * *", "not a number")]
    #[case("0 2 * * * 2027 x", "7 fields")]
    #[case("0 0 2 * * * 2027", "7 fields")]
    #[case("0 2 * *", "4 fields")]
    #[case("", "empty")]
    #[case("   ", "empty")]
    #[case("@reboot", "@reboot")]
    #[case("@daily 5", "2 fields")]
    #[case("0 ٢ * * *", "not a number")]
    #[case("0 2 * * ﬀ", "day of the week")]
    #[case("99999999999 2 * * *", "not a number")]
    fn refuses_and_says_why(#[case] cron: &str, #[case] part: &str) {
        let message = check(cron).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn length_is_bounded() {
        let every_minute: Vec<String> = (0..60).map(|m| m.to_string()).collect();
        assert!(check(&format!("{} 2 * * *", every_minute.join(","))).is_ok());
        let long = "1,".repeat(10_000);
        assert_eq!(check(&long), Err(ExpressionError::TooLong(20_000)));
    }

    #[rstest]
    #[case("0 * * * *", true)]
    #[case("0 */6 * * *", true)]
    #[case("0 3,*/6 * * *", true)]
    #[case("@hourly", true)]
    #[case("0 0-23 * * *", false)]
    #[case("0 8-20/4 * * *", false)]
    #[case("*/15 2 * * *", false)]
    #[case("* * 2 * * *", false)]
    #[case("@daily", false)]
    fn knows_a_wildcard_hour(#[case] cron: &str, #[case] wildcard: bool) {
        assert_eq!(check(cron).unwrap().hour_is_wildcard, wildcard);
    }
}
