//! Numbers, lengths, times and names as people read them.

use clap::builder::styling::{AnsiColor, Style};
use clickhouse_backupd::api::v1::operation::OperationState;
use indicatif::{HumanBytes, HumanCount};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// What failed or is dangerous.
pub const RED: Style = AnsiColor::Red.on_default();
/// What needs an eye.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// What went well.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// Details.
pub const DIM: Style = Style::new().dimmed();
/// What must not be overlooked.
pub const BOLD: Style = Style::new().bold();
/// What looks as it is.
pub const PLAIN: Style = Style::new();

/// Whose time is shown, and what time it is.
#[derive(Debug, Clone)]
pub struct Look {
    /// The time now.
    pub now: Timestamp,
    /// The zone that times are shown in.
    pub zone: TimeZone,
    /// Columns that a table may fill; without it nothing is cut.
    pub width: Option<usize>,
}

impl Look {
    /// `2026-11-22 02:00 EET`.
    pub fn time(&self, time: Timestamp) -> String {
        let local = time.to_zoned(self.zone.clone());
        local.strftime("%Y-%m-%d %H:%M %Z").to_string()
    }

    /// The same with seconds.
    pub fn exact(&self, time: Timestamp) -> String {
        let local = time.to_zoned(self.zone.clone());
        local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// `in 3h 12m`, `5m 00s ago`.
    pub fn distance(&self, time: Timestamp) -> String {
        let until = time.duration_since(self.now);
        if until.is_negative() {
            format!("{} ago", length(until.abs()))
        } else {
            format!("in {}", length(until))
        }
    }
}

/// `1.21 GiB`.
pub fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// `1,234`.
pub fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// `1,234 tables`, `1 table`.
pub fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

/// `3d 04h`, `1h 03m`, `2m 05s`, `14s`, `0.3s`.
pub fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    match seconds {
        i64::MIN..0 => "0s".to_owned(),
        0..10 => format!("{seconds}.{}s", length.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// The first 8 characters of an id: enough to name it to `cancel` and `operation show`.
pub fn short(id: Uuid) -> String {
    id.simple().to_string().chars().take(8).collect()
}

/// Text with its middle cut out, so that it fits; names differ at their ends.
pub fn middle(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (begin, end) = (kept.div_ceil(2), kept / 2);
    let (head, tail) = (&chars[..begin], &chars[chars.len() - end..]);
    head.iter()
        .chain(['…'].iter())
        .chain(tail)
        .collect::<String>()
}

/// The beginning of a text.
pub fn beginning(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Text from elsewhere without what a terminal would obey or not show: names of tables and messages
/// are anybody's words.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => cleaned.push(' '),
            c if is_unseen(c) => cleaned.extend(c.escape_unicode()),
            c => cleaned.push(c),
        }
    }
    cleaned
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Text in a style.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The colour of a state.
pub fn colour(state: OperationState) -> Style {
    match state {
        OperationState::Succeeded => GREEN,
        OperationState::Failed => RED,
        OperationState::Cancelled | OperationState::Skipped | OperationState::Cancelling => YELLOW,
        OperationState::Pending | OperationState::Starting | OperationState::Running => PLAIN,
    }
}

/// `a`, `a and b`, `a, b and 3 more`.
pub fn some(names: &[String], most: usize) -> String {
    if names.len() > most {
        let shown = names[..most].join(", ");
        return format!("{shown} and {} more", names.len() - most);
    }
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0.34, "0.3s")]
    #[case(14.9, "14s")]
    #[case(125.0, "2m 05s")]
    #[case(3_780.0, "1h 03m")]
    #[case(273_600.0, "3d 04h")]
    #[case(-1.0, "0s")]
    fn lengths(#[case] seconds: f64, #[case] text: &str) {
        assert_eq!(length(SignedDuration::from_secs_f64(seconds)), text);
    }

    #[rstest]
    #[case("daily", 10, "daily")]
    #[case("2026-11-22-before-the-migration", 15, "2026-11…gration")]
    #[case("таблица-заказов", 7, "таб…зов")]
    #[case("abc", 1, "…")]
    fn the_middle_is_cut_out(#[case] text: &str, #[case] width: usize, #[case] cut: &str) {
        assert_eq!(middle(text, width), cut);
    }

    #[test]
    fn nothing_of_a_name_is_obeyed_by_a_terminal() {
        assert_eq!(clean("a\u{1b}[31m\tb\nc"), "a\\u{1b}[31m b c");
        assert_eq!(clean("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(clean("заказы"), "заказы");
    }

    #[test]
    fn times_are_local_with_the_name_of_their_zone() {
        let look = super::super::testing::look();
        let time = "2026-11-22T00:00:00Z".parse().unwrap();
        assert_eq!(look.time(time), "2026-11-22 02:00 EET");
        assert_eq!(
            look.time("2026-07-01T00:00:00Z".parse().unwrap()),
            "2026-07-01 03:00 EEST"
        );
        assert_eq!(look.distance(time), "18h 00m ago");
    }

    #[test]
    fn lists_of_names_end() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(some(&names, 3), "a, b and c");
        assert_eq!(some(&names, 2), "a, b and 1 more");
        assert_eq!(some(&names[..1], 2), "a");
    }
}
