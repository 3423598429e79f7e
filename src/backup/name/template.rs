//! Templates that name the backups of a schedule.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use super::{BACKUP_NAME_LENGTH_MAX, BackupName, BackupNameError, allowed, allowed_first, shown};

/// The most bytes a name template may have.
pub const TEMPLATE_LENGTH_MAX_BYTES: usize = 256;

/// The kinds of backup that `{kind}` can stand for.
pub const KINDS: [&str; 2] = ["full", "incremental"];

/// A template such as `{date}` that names the backups of a schedule.
///
/// | placeholder | becomes |
/// |---|---|
/// | `{date}` | the slot's date in the schedule's zone, `2026-11-22` |
/// | `{time}` | the slot's time there, `02-30-00`; in a repeated hour, in both passes, with the offset from UTC behind it: `02-30-00-utc02`, `01-30-00-utc-04`, `01-45-00-utc1030` |
/// | `{logical_date}` | the date of the slot before, what Airflow 2 calls `ds` |
/// | `{schedule}` | the schedule's name |
/// | `{kind}` | `full` or `incremental` |
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Literal(String),
    Date,
    Time,
    LogicalDate,
    Schedule,
    Kind,
}

/// Why a text is not a name template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameTemplateError {
    /// Nothing was written.
    #[error("the name template is empty; the default is \"{{date}}\"")]
    Empty,
    /// More than `TEMPLATE_LENGTH_MAX_BYTES`.
    #[error(
        "name template \"{template}\" has {bytes} bytes, more than {TEMPLATE_LENGTH_MAX_BYTES}"
    )]
    TooLong {
        /// The template, shortened.
        template: String,
        /// Its length.
        bytes: usize,
    },
    /// A word in braces that is none of ours.
    #[error(
        "name template \"{template}\": unknown placeholder {{{placeholder}}}; there are {{date}}, \
         {{time}}, {{logical_date}}, {{schedule}} and {{kind}}"
    )]
    UnknownPlaceholder {
        /// The template, shortened.
        template: String,
        /// The word between the braces.
        placeholder: String,
    },
    /// A brace without its partner.
    #[error("name template \"{template}\": the brace at character {at} has no partner")]
    UnbalancedBrace {
        /// The template, shortened.
        template: String,
        /// Position of the brace, counted from 1.
        at: usize,
    },
    /// A literal character that no name may have.
    #[error(
        "name template \"{template}\": a backup's name cannot contain {character:?}, only A-Z a-z \
         0-9 . _ -"
    )]
    Character {
        /// The template, shortened.
        template: String,
        /// The character.
        character: char,
    },
    /// Its names would break the rule of [`BackupName`].
    #[error("name template \"{template}\" would make the name \"{name}\": {problem}")]
    Result {
        /// The template, shortened.
        template: String,
        /// An example of such a name, shortened.
        name: String,
        /// What is wrong with the name.
        problem: &'static str,
    },
}

/// What a template needs to know about a slot.
#[derive(Debug, Clone, Copy)]
pub struct SlotNaming<'a> {
    /// The schedule's name.
    pub schedule: &'a str,
    /// The kind of backup, one of [`KINDS`].
    pub kind: &'a str,
    /// The slot itself.
    pub slot: Timestamp,
    /// The slot before it, for `{logical_date}`.
    pub previous: Timestamp,
    /// The schedule's time zone.
    pub zone: &'a TimeZone,
}

/// How far apart two slots must be for a template to tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The name has no date and no time: all slots share one name.
    Constant,
    /// Only the time of day: names come again on another date.
    TimeOfDay,
    /// The date, of the slot or of the one before, and perhaps the time with the latter.
    Date,
    /// The slot's own date and time: every slot has a name of its own.
    Instant,
}

impl NameTemplate {
    /// Reads a template and checks whatever can be checked without a schedule's name.
    pub fn parse(text: &str) -> Result<Self, NameTemplateError> {
        if text.is_empty() {
            return Err(NameTemplateError::Empty);
        }
        if text.len() > TEMPLATE_LENGTH_MAX_BYTES {
            return Err(NameTemplateError::TooLong {
                template: shown(text),
                bytes: text.len(),
            });
        }
        let template = Self {
            text: text.to_owned(),
            parts: split(text)?,
        };
        // The shortest schedule's name there is; `check` looks again with the real one.
        template.check("x")?;
        Ok(template)
    }

    /// Checks that every name the template can make for this schedule is a [`BackupName`].
    ///
    /// To be called once per schedule at load, so that [`NameTemplate::render`] cannot fail at night.
    pub fn check(&self, schedule: &str) -> Result<(), NameTemplateError> {
        let refuse = |name: &str, problem| NameTemplateError::Result {
            template: shown(&self.text),
            name: shown(name),
            problem,
        };
        for shape in self.shapes(schedule).0 {
            let example: String = shape.iter().map(|slot| slot.example()).collect();
            if !example.bytes().next().is_some_and(allowed_first) {
                return Err(refuse(
                    &example,
                    "it must begin with a letter, a digit or _",
                ));
            }
            if example.len() > BACKUP_NAME_LENGTH_MAX {
                return Err(refuse(&example, "it is longer than 128 characters"));
            }
            if !example.bytes().all(allowed) {
                return Err(refuse(
                    &example,
                    "it has characters other than A-Z a-z 0-9 . _ -",
                ));
            }
        }
        Ok(())
    }

    /// The name of the backup for a slot.
    ///
    /// Fails only where [`NameTemplate::check`] would have, or outside the years 0 to 9999.
    pub fn render(&self, naming: SlotNaming<'_>) -> Result<BackupName, BackupNameError> {
        let wall = naming.zone.to_datetime(naming.slot);
        let mut name = String::with_capacity(32);
        for part in &self.parts {
            match part {
                Part::Literal(text) => name.push_str(text),
                Part::Date => push_date(&mut name, wall),
                Part::Time => push_time(&mut name, naming.zone, naming.slot, wall),
                Part::LogicalDate => {
                    push_date(&mut name, naming.zone.to_datetime(naming.previous));
                }
                Part::Schedule => name.push_str(naming.schedule),
                Part::Kind => name.push_str(naming.kind),
            }
        }
        BackupName::try_from(name)
    }

    /// How far apart slots must be to get different names.
    pub fn resolution(&self) -> Resolution {
        let has = |part| self.parts.contains(&part);
        match (has(Part::Date), has(Part::Time), has(Part::LogicalDate)) {
            (true, true, _) => Resolution::Instant,
            (true, false, _) | (false, _, true) => Resolution::Date,
            (false, true, false) => Resolution::TimeOfDay,
            (false, false, false) => Resolution::Constant,
        }
    }

    /// Whether the name depends on the kind of backup.
    pub fn has_kind(&self) -> bool {
        self.parts.contains(&Part::Kind)
    }

    /// Whether the name depends on the slot before.
    pub fn has_logical_date(&self) -> bool {
        self.parts.contains(&Part::LogicalDate)
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// All forms that the names of this template for `schedule` can take: each kind, with and without
    /// an offset behind the time.
    pub fn shapes(&self, schedule: &str) -> NameShapes {
        let mut shapes = Vec::new();
        let times: &[&str] = if self.parts.contains(&Part::Time) {
            &TIME_SHAPES
        } else {
            &[""]
        };
        let kinds: &[&str] = if self.has_kind() { &KINDS } else { &[""] };
        for kind in kinds {
            for time in times {
                let mut shape = Vec::new();
                for part in &self.parts {
                    match part {
                        Part::Literal(text) => shape.extend(text.bytes().map(Place::Exactly)),
                        Part::Date | Part::LogicalDate => push_shape(&mut shape, DATE_SHAPE),
                        Part::Time => push_shape(&mut shape, time),
                        Part::Schedule => shape.extend(schedule.bytes().map(Place::Exactly)),
                        Part::Kind => shape.extend(kind.bytes().map(Place::Exactly)),
                    }
                }
                shapes.push(shape);
            }
        }
        NameShapes(shapes)
    }
}

/// The forms of a schedule's names; made once, compared with those of every other schedule.
#[derive(Debug)]
pub struct NameShapes(Vec<Vec<Place>>);

impl NameShapes {
    /// Whether some name could also be one of the other schedule's, judged by the forms alone.
    ///
    /// `false` is a proof; `true` only means that the slots have to be looked at.
    pub fn could_share_a_name(&self, other: &Self) -> bool {
        self.0.iter().any(|mine| {
            other.0.iter().any(|theirs| {
                mine.len() == theirs.len() && mine.iter().zip(theirs).all(|(a, b)| a.overlaps(*b))
            })
        })
    }
}

impl TryFrom<String> for NameTemplate {
    type Error = NameTemplateError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<NameTemplate> for String {
    fn from(template: NameTemplate) -> Self {
        template.text
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// One character of a name's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Exactly(u8),
    Digit,
}

impl Place {
    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Exactly(a), Self::Exactly(b)) => a == b,
            (Self::Exactly(byte), Self::Digit) | (Self::Digit, Self::Exactly(byte)) => {
                byte.is_ascii_digit()
            }
            (Self::Digit, Self::Digit) => true,
        }
    }

    fn example(self) -> char {
        match self {
            Self::Exactly(byte) => char::from(byte),
            Self::Digit => '0',
        }
    }
}

/// `0` stands for any digit.
const DATE_SHAPE: &str = "0000-00-00";

/// `0` stands for any digit; offsets with seconds ended with local mean time a century ago.
const TIME_SHAPES: [&str; 5] = [
    "00-00-00",
    "00-00-00-utc00",
    "00-00-00-utc0000",
    "00-00-00-utc-00",
    "00-00-00-utc-0000",
];

fn push_shape(shape: &mut Vec<Place>, text: &str) {
    shape.extend(text.bytes().map(|byte| match byte {
        b'0' => Place::Digit,
        other => Place::Exactly(other),
    }));
}

fn push_date(name: &mut String, wall: DateTime) {
    let date = wall.date();
    name.push_str(&format!(
        "{:04}-{:02}-{:02}",
        date.year(),
        date.month(),
        date.day()
    ));
}

fn push_time(name: &mut String, zone: &TimeZone, slot: Timestamp, wall: DateTime) {
    let (hour, minute, second) = (wall.hour(), wall.minute(), wall.second());
    name.push_str(&format!("{hour:02}-{minute:02}-{second:02}"));
    // The clock shows this time twice that night, and both may be slots.
    if let AmbiguousOffset::Fold { .. } = zone.to_ambiguous_timestamp(wall).offset() {
        let seconds = zone.to_offset(slot).seconds();
        let sign = if seconds < 0 { "-" } else { "" };
        let seconds = seconds.unsigned_abs();
        name.push_str(&format!("-utc{sign}{:02}", seconds / 3600));
        if !seconds.is_multiple_of(3600) {
            name.push_str(&format!("{:02}", seconds / 60 % 60));
        }
    }
}

fn split(text: &str) -> Result<Vec<Part>, NameTemplateError> {
    let unbalanced = |position: usize| NameTemplateError::UnbalancedBrace {
        template: shown(text),
        at: text[..position].chars().count() + 1,
    };
    let mut parts = Vec::new();
    let mut done = 0;
    while let Some(open) = text[done..].find(['{', '}']).map(|at| at + done) {
        push_literal(&mut parts, text, &text[done..open])?;
        let inside = text[open..]
            .strip_prefix('{')
            .ok_or_else(|| unbalanced(open))?;
        let length = match inside.find(['{', '}']) {
            Some(length) if inside[length..].starts_with('}') => length,
            _ => return Err(unbalanced(open)),
        };
        parts.push(match &inside[..length] {
            "date" => Part::Date,
            "time" => Part::Time,
            "logical_date" => Part::LogicalDate,
            "schedule" => Part::Schedule,
            "kind" => Part::Kind,
            other => {
                return Err(NameTemplateError::UnknownPlaceholder {
                    template: shown(text),
                    placeholder: shown(other),
                });
            }
        });
        done = open + 1 + length + 1;
    }
    push_literal(&mut parts, text, &text[done..])?;
    Ok(parts)
}

fn push_literal(parts: &mut Vec<Part>, text: &str, literal: &str) -> Result<(), NameTemplateError> {
    let foreign = |character: &char| !u8::try_from(*character).is_ok_and(allowed);
    if let Some(character) = literal.chars().find(foreign) {
        return Err(NameTemplateError::Character {
            template: shown(text),
            character,
        });
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use rstest::rstest;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn render(template: &str, slot: &str, zone_name: &str) -> String {
        let slot: Timestamp = slot.parse().unwrap();
        NameTemplate::parse(template)
            .unwrap()
            .render(SlotNaming {
                schedule: "daily",
                kind: "full",
                slot,
                previous: slot - SignedDuration::from_hours(24),
                zone: &zone(zone_name),
            })
            .unwrap()
            .to_string()
    }

    #[test]
    fn templates_go_through_serde() {
        let template: NameTemplate = serde_json::from_str("\"{date}\"").unwrap();
        assert_eq!(serde_json::to_string(&template).unwrap(), "\"{date}\"");
        assert!(serde_json::from_str::<NameTemplate>("\"{day}\"").is_err());
    }

    #[rstest]
    #[case("{date}", "2026-11-22T00:00:00Z", "Europe/Sofia", "2026-11-22")]
    #[case("{date}", "2026-11-21T23:30:00Z", "Europe/Sofia", "2026-11-22")]
    #[case("{date}", "2026-11-22T01:00:00Z", "America/New_York", "2026-11-21")]
    #[case("{logical_date}", "2026-11-22T00:00:00Z", "UTC", "2026-11-21")]
    #[case(
        "{schedule}-{kind}.{date}",
        "2026-11-22T00:00:00Z",
        "UTC",
        "daily-full.2026-11-22"
    )]
    #[case(
        "b_{date}T{time}",
        "2026-11-22T00:30:15Z",
        "Europe/Sofia",
        "b_2026-11-22T02-30-15"
    )]
    // The repeated hour, both passes.
    #[case("{time}", "2026-10-25T00:30:00Z", "Europe/Sofia", "03-30-00-utc03")]
    #[case("{time}", "2026-10-25T01:30:00Z", "Europe/Sofia", "03-30-00-utc02")]
    #[case("{time}", "2026-10-25T02:00:00Z", "Europe/Sofia", "04-00-00")]
    #[case(
        "{time}",
        "2026-11-01T05:30:00Z",
        "America/New_York",
        "01-30-00-utc-04"
    )]
    #[case(
        "{time}",
        "2026-04-04T14:45:00Z",
        "Australia/Lord_Howe",
        "01-45-00-utc11"
    )]
    #[case(
        "{time}",
        "2026-04-04T15:15:00Z",
        "Australia/Lord_Howe",
        "01-45-00-utc1030"
    )]
    fn renders(#[case] template: &str, #[case] slot: &str, #[case] zone: &str, #[case] name: &str) {
        assert_eq!(render(template, slot, zone), name);
    }

    #[rstest]
    #[case("", "default")]
    #[case("{day}", "{day}")]
    #[case("{}", "{}")]
    #[case("{Date}", "{Date}")]
    #[case("{date", "character 1")]
    #[case("я{date", "'я'")]
    #[case("ab}", "character 3")]
    #[case("{da{te}", "character 1")]
    #[case("{{date}}", "character 1")]
    #[case("{date}}", "character 7")]
    #[case("a b", "' '")]
    #[case("{date}/{time}", "'/'")]
    #[case("{date}+", "'+'")]
    #[case("{date}\n", "'\\n'")]
    #[case("-{date}", "begin")]
    #[case(".{date}", "begin")]
    fn refuses_templates_and_says_why(#[case] template: &str, #[case] part: &str) {
        let message = NameTemplate::parse(template).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn templates_that_are_or_become_too_long() {
        let long = NameTemplate::parse(&"x".repeat(300)).unwrap_err();
        assert!(matches!(
            long,
            NameTemplateError::TooLong { bytes: 300, .. }
        ));
        let result = NameTemplate::parse(&format!("{}{{date}}", "x".repeat(119)));
        assert!(result.unwrap_err().to_string().contains("longer than 128"));
        let fits = NameTemplate::parse(&format!("{}{{schedule}}", "x".repeat(100))).unwrap();
        assert!(fits.check("daily").is_ok());
        assert!(fits.check(&"s".repeat(29)).is_err());
    }

    #[test]
    fn a_schedule_name_may_not_be_a_good_beginning() {
        let template = NameTemplate::parse("{schedule}-{date}").unwrap();
        let error = template.check("-x").unwrap_err().to_string();
        assert!(
            error.contains("-x-0000-00-00") && error.contains("begin"),
            "{error}"
        );
    }

    #[rstest]
    #[case("x", Resolution::Constant)]
    #[case("{schedule}-{kind}", Resolution::Constant)]
    #[case("{time}", Resolution::TimeOfDay)]
    #[case("{date}", Resolution::Date)]
    #[case("{logical_date}", Resolution::Date)]
    #[case("{logical_date}-{time}", Resolution::Date)]
    #[case("{date}-{time}", Resolution::Instant)]
    fn resolution(#[case] template: &str, #[case] expected: Resolution) {
        assert_eq!(
            NameTemplate::parse(template).unwrap().resolution(),
            expected
        );
    }

    #[rstest]
    #[case("{date}", "{date}", true)]
    #[case("{date}", "{logical_date}", true)]
    #[case("{date}", "{date}-{time}", false)]
    #[case("{date}-{time}", "{date}-02-00-00", true)]
    #[case("{date}-{time}", "{date}-02-00-00-utc-04", true)]
    #[case("{schedule}-{date}", "{schedule}-{date}", false)]
    #[case("{kind}-{date}", "full-{date}", true)]
    #[case("{kind}-{date}", "incremental-{date}", true)]
    #[case("{kind}-{date}", "other-{date}", false)]
    #[case("{date}", "2026-11-2x", false)]
    #[case("{date}", "2026-11-22", true)]
    fn shapes(#[case] one: &str, #[case] other: &str, #[case] expected: bool) {
        let one = NameTemplate::parse(one).unwrap();
        let other = NameTemplate::parse(other).unwrap();
        assert_eq!(
            one.shapes("a1").could_share_a_name(&other.shapes("b1")),
            expected
        );
        assert_eq!(
            other.shapes("b1").could_share_a_name(&one.shapes("a1")),
            expected
        );
    }

    fn any_template() -> impl Strategy<Value = String> {
        let pieces = [
            "{date}",
            "{time}",
            "{logical_date}",
            "{schedule}",
            "{kind}",
            "-",
            ".",
            "x",
            "_9",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..8)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// What passes `check` renders, to one of the shapes that the overlap test reasons about.
        #[test]
        fn checked_templates_render_to_their_shapes(
            text in any_template(),
            second in 1_500_000_000i64..2_500_000_000,
            zone_name in prop::sample::select(vec![
                "Europe/Sofia", "America/New_York", "Australia/Lord_Howe", "UTC", "America/St_Johns",
            ]),
            near_change in any::<bool>(),
            kind in prop::sample::select(KINDS.to_vec()),
        ) {
            let Ok(template) = NameTemplate::parse(&text) else { return Ok(()) };
            if template.check("daily").is_err() { return Ok(()) }
            let zone = zone(zone_name);
            let mut slot = Timestamp::from_second(second).unwrap();
            if near_change && let Some(change) = zone.following(slot).next() {
                slot = change.timestamp() - SignedDuration::from_secs(second % 3600);
            }
            let previous = slot - SignedDuration::from_hours(7);
            let naming = SlotNaming { schedule: "daily", kind, slot, previous, zone: &zone };
            let name = template.render(naming).unwrap();
            let fits = |shape: &Vec<Place>| {
                shape.len() == name.as_str().len()
                    && shape.iter().zip(name.as_str().bytes()).all(|(p, b)| p.overlaps(Place::Exactly(b)))
            };
            prop_assert!(template.shapes("daily").0.iter().any(fits), "{}", name);
        }

        #[test]
        fn any_text_is_an_answer(text in "[{}a-z_./ -]{0,30}|.{0,30}") {
            let _ = NameTemplate::parse(&text);
            let _ = text.parse::<BackupName>();
        }
    }
}
