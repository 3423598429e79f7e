//! Lengths of time as people write them: `90s`, `5m`, `4h`, `1h30m`, `7d`, `2w`.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Reads a length of time. A day is 24 hours and a week seven of them; months and years have no
/// fixed length and are refused, as is a number without a unit.
///
/// # Errors
/// With what is wrong with the text, naming it.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refused = |why: &str| Err(format!("{text:?} is no length of time{why}"));
    // jiff also reads ISO 8601, signs and whole words; one spelling is enough and is easier to check.
    if text.is_empty()
        || !text
            .chars()
            .all(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '.')
    {
        return refused("");
    }
    if text.chars().all(|c| c.is_ascii_digit()) {
        return refused(": it has no unit");
    }
    let Ok(span) = text.parse::<Span>() else {
        return refused("");
    };
    if span.get_years() != 0 || span.get_months() != 0 {
        return refused(": months and years have no fixed length, count days");
    }
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours());
    match exact.map(Duration::try_from) {
        Ok(Ok(duration)) => Ok(duration),
        _ => refused(" that can be counted"),
    }
}

/// A length of time in the same spelling, for messages.
#[must_use]
pub fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() != 0 {
        return format!("{}ms", duration.as_millis());
    }
    match seconds {
        0 => "0s".to_owned(),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("90s", 90)]
    #[case("5m", 300)]
    #[case("240m", 14_400)]
    #[case("4h", 14_400)]
    #[case("4h0m0s", 14_400)]
    #[case("1h30m", 5_400)]
    #[case("1.5h", 5_400)]
    #[case("7d", 604_800)]
    #[case("2w", 1_209_600)]
    #[case("0s", 0)]
    fn what_people_write_is_read(#[case] text: &str, #[case] seconds: u64) {
        assert_eq!(parse(text), Ok(Duration::from_secs(seconds)));
    }

    #[rstest]
    #[case("30x")]
    #[case("")]
    #[case("30")]
    #[case("-5m")]
    #[case("h")]
    #[case("4 h")]
    #[case("PT4H")]
    #[case("5M")]
    #[case("1y")]
    #[case("2mo")]
    #[case("5m ago")]
    #[case("99999999999999999999h")]
    fn anything_else_is_refused_and_named(#[case] text: &str) {
        let error = parse(text).unwrap_err();
        assert!(error.contains(&format!("{text:?}")), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn what_we_spell_we_read(seconds in 0_u64..1_000_000_000) {
            let duration = Duration::from_secs(seconds);
            proptest::prop_assert_eq!(parse(&spell(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = parse(&text);
        }
    }
}
