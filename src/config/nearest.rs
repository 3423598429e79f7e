//! "Did you mean": the known key or word that is nearest to what was written.

use super::keys;

/// Least similarity, 0 to 1, that is worth a suggestion.
const SIMILAR_ENOUGH: f64 = 0.55;

/// A word that begins with the other one counts as near from this length of the shorter one on:
/// `username` for `user`.
const PREFIX_MIN_BYTES: usize = 4;

/// Longest text that is compared, in characters: the comparison takes the product of the lengths.
const COMPARED_MAX_CHARS: usize = 200;

/// The word nearest to `written`, if one is near at all.
#[must_use]
pub fn word<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.chars().count() > COMPARED_MAX_CHARS {
        return None;
    }
    let written = written.to_lowercase();
    let similarity = |word: &str| {
        let word = word.to_lowercase();
        let longer = |a: &str, b: &str| b.len() >= PREFIX_MIN_BYTES && a.starts_with(b);
        let prefix = if longer(&written, &word) || longer(&word, &written) {
            SIMILAR_ENOUGH
        } else {
            0.0
        };
        strsim::normalized_damerau_levenshtein(&written, &word).max(prefix)
    };
    let scored = known.into_iter().map(|word| (similarity(word), word));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= SIMILAR_ENOUGH).then_some(best.1)
}

/// What to do about an unknown key of the file: the nearest known one, or all that the section knows.
#[must_use]
pub fn key(path: &[String]) -> String {
    let Some((last, parents)) = path.split_last() else {
        return String::new();
    };
    let siblings = siblings(parents);
    if let Some(near) = word(last, siblings.iter().map(String::as_str)) {
        return format!("did you mean {}?", joined(parents, near));
    }
    if let Some(elsewhere) = elsewhere(last, parents) {
        return format!("did you mean {elsewhere}?");
    }
    let place = if parents.is_empty() {
        "at the top".to_owned()
    } else {
        format!("in [{}]", parents.join("."))
    };
    format!("known {place}: {}", siblings.join(", "))
}

/// What to do about an unknown `BACKUPD_*` variable. Levels are compared as if they were divided by
/// one underscore, because `BACKUPD_API_LISTEN` for `BACKUPD_API__LISTEN` is the likeliest mistake.
#[must_use]
pub fn variable(name: &str) -> String {
    let flat = |name: &str| name.replace("__", "_");
    let schedule = name
        .strip_prefix("BACKUPD_SCHEDULES__")
        .and_then(|rest| rest.split("__").next());
    let known: Vec<(String, String)> = keys::all()
        .iter()
        .map(|key| key.variable(schedule.filter(|name| !name.is_empty()).unwrap_or("<NAME>")))
        .map(|variable| (flat(variable.trim_start_matches("BACKUPD_")), variable))
        .collect();
    let written = flat(name.trim_start_matches("BACKUPD_"));
    match word(&written, known.iter().map(|(flat, _)| flat.as_str())) {
        Some(near) => {
            let found = known.iter().find(|(flat, _)| flat == near);
            format!("did you mean {}?", found.map_or(near, |(_, variable)| variable))
        }
        None => "levels are divided by two underscores, as in BACKUPD_API__LISTEN; the keys are in docs/configuration.md".to_owned(),
    }
}

/// Names that are known directly under `parents`.
fn siblings(parents: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for key in keys::all() {
        let mut segments = key.path.split('.');
        let under = parents.iter().all(|have| {
            segments
                .next()
                .is_some_and(|want| want == "*" || want == have)
        });
        if let (true, Some(name)) = (under, segments.next()) {
            let name = if name == "*" { "<name>" } else { name };
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// A key of the same name in another section, such as `api.listen` for a `listen` at the top.
fn elsewhere(last: &str, parents: &[String]) -> Option<String> {
    let first = parents.first().map(String::as_str);
    let schedule = parents.get(1).filter(|_| first == Some("schedules"));
    let same_name = keys::all()
        .iter()
        .filter(|key| key.path.rsplit('.').next() == Some(last));
    let distance = |key: &&keys::Key| {
        (
            key.path.split('.').next() != first,
            key.path.split('.').count(),
        )
    };
    let found = same_name.min_by_key(distance)?;
    Some(
        found
            .path
            .replace('*', schedule.map_or("<name>", String::as_str)),
    )
}

fn joined(parents: &[String], last: &str) -> String {
    if parents.is_empty() {
        last.to_owned()
    } else {
        format!("{}.{last}", parents.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("clickhouse.username", "did you mean clickhouse.user?")]
    #[case("clickhous", "did you mean clickhouse?")]
    #[case("schedules.daily.crom", "did you mean schedules.daily.cron?")]
    #[case(
        "schedules.daily.keep_last",
        "did you mean schedules.daily.retention.keep_last?"
    )]
    #[case("listen", "did you mean api.listen?")]
    #[case("clickhouse.disk", "did you mean destination.disk?")]
    #[case("log.colour", "known in [log]: level, format")]
    fn a_key_is_suggested_where_one_is_near(#[case] path: &str, #[case] expected: &str) {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        assert_eq!(key(&path), expected);
    }

    #[rstest]
    #[case("BACKUPD_API_LISTEN", "did you mean BACKUPD_API__LISTEN?")]
    #[case(
        "BACKUPD_CLICKHOUSE__PASSWROD",
        "did you mean BACKUPD_CLICKHOUSE__PASSWORD?"
    )]
    #[case(
        "BACKUPD_SCHEDULES__DAILY__CORN",
        "did you mean BACKUPD_SCHEDULES__DAILY__CRON?"
    )]
    fn a_variable_is_suggested_in_its_own_spelling(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(variable(name), expected);
    }
}
