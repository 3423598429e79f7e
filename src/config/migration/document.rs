//! The TOML that `migrate check` prints: the values that were given, with the variable that each came
//! from, and what no variable tells as comments.

use super::OldSetup;
use crate::config::keys::{self, Found, Kind};
use crate::config::show::{self, Shown, one_line};
use crate::config::values::{BUILT_IN, Values};

/// Where secret files are proposed to be.
const SECRETS: &str = "/run/secrets";
/// The sections of the document, in the order of the shipped file.
const SECTIONS: [&str; 8] = [
    "clickhouse",
    "destination",
    "state",
    "api",
    "log",
    "notify",
    "schedules.daily",
    "retention",
];

/// Writes the document of values that are valid.
pub fn write(setup: &OldSetup, values: &Values) -> String {
    let given: Vec<Shown> = show::collect(values)
        .into_iter()
        .filter(|shown| shown.source != BUILT_IN)
        .collect();
    let mut text = "\
        # What `clickhouse-backupd migrate check` made of the variables of Altinity clickhouse-backup.\n\
        # `clickhouse-backupd config check --config FILE` reads it; add --connect where the daemon will run.\n\
        # Secrets are not in it: put each into the file that is named.\n"
        .to_owned();
    for section in SECTIONS {
        let prefix = format!("{section}.");
        let lines: Vec<String> = given
            .iter()
            .filter_map(|shown| Some((shown.key.strip_prefix(&prefix)?, shown)))
            .map(|(key, shown)| line(key, shown))
            .collect();
        let hints = hints(section, setup, &given);
        if lines.is_empty() && hints.is_empty() {
            continue;
        }
        // A section without keys is not written: of an empty [retention] nobody knew what it means.
        let commented = if lines.is_empty() { "# " } else { "" };
        text.push_str(&format!("\n{commented}[{section}]\n"));
        for line in lines {
            text.push_str(&format!("{line}\n"));
        }
        for hint in hints {
            text.push_str(&format!("# {}\n", one_line(&hint)));
        }
    }
    text
}

/// `key = value  # VARIABLE`; of a secret the file that shall hold it.
fn line(key: &str, shown: &Shown) -> String {
    let source = one_line(&shown.source);
    if !is_secret(&shown.key) {
        return format!("{key} = {}  # {source}", shown.value);
    }
    let file = format!("{SECRETS}/{}", shown.key.replace(['.', '_'], "-"));
    let file_key = format!("{}_file", shown.key);
    let segments: Vec<&str> = file_key.split('.').collect();
    match keys::find(&segments) {
        Found::Key(_) => {
            format!("{key}_file = {file:?}  # put what {source} holds into this file")
        }
        _ => format!("# {key} = …  # what {source} holds"),
    }
}

fn is_secret(path: &str) -> bool {
    let segments: Vec<&str> = path.split('.').collect();
    matches!(keys::find(&segments), Found::Key(key) if key.kind == Kind::Secret)
}

/// What no variable tells, and what is worth a thought.
fn hints(section: &str, setup: &OldSetup, given: &[Shown]) -> Vec<String> {
    match section {
        "destination" => destination(setup),
        "schedules.daily" => schedule(),
        "retention"
            if !given
                .iter()
                .any(|shown| shown.key.starts_with("retention.")) =>
        {
            vec![
                "keep_last = 14".to_owned(),
                "No number of backups to keep was given, so every backup is kept.".to_owned(),
            ]
        }
        _ => Vec::new(),
    }
}

fn destination(setup: &OldSetup) -> Vec<String> {
    let value = |name: &str, otherwise: &str| {
        let value = setup.variables.get(name);
        value.map_or_else(
            || otherwise.to_owned(),
            |value| value.trim_matches('/').to_owned(),
        )
    };
    let (bucket, path) = (value("S3_BUCKET", "bucket"), value("S3_PATH", "prefix"));
    let mut hints: Vec<String> = [
        "Which type the disk has decides what the loss of the server costs: `s3_plain` (metadata_type Plain) is",
        "safe, of `s3` (metadata_type Local) no backup can be restored without the server's own volume. Ask it:",
        "  SELECT name, type, metadata_type FROM system.disks",
        "Our own view of the same place is the disk's <endpoint> in ClickHouse's storage_configuration, in two",
        "parts. Without it nothing is proved or removed, and state.dir must be kept. In use it would be:",
    ]
    .map(str::to_owned)
    .into();
    if setup.has("S3_BUCKET") {
        let from =
            "S3_BUCKET and S3_PATH are where that server uploaded to; the disk may lie elsewhere.";
        hints.push(from.to_owned());
    }
    let url = format!("s3://{bucket}/{path}");
    let endpoint = value("S3_ENDPOINT", "https://s3.example.com");
    let region = value("S3_REGION", "us-east-1");
    hints.push(format!("url = {url:?}"));
    hints.push(format!("s3.endpoint = {endpoint:?}"));
    hints.push(format!("s3.region = {region:?}"));
    hints.push(format!(
        "s3.access_key_id_file = \"{SECRETS}/s3-access-key-id\""
    ));
    hints.push(format!(
        "s3.secret_access_key_file = \"{SECRETS}/s3-secret-access-key\""
    ));
    hints
}

/// The DAG's time is proposed as a live key; the rest is for who reads it.
fn schedule() -> Vec<String> {
    [
        "Leave this section out as long as Airflow asks for the backups. Times are UTC unless said:",
        "timezone = \"Europe/Sofia\"",
        "A backup is named by the day on which it is made, as Airflow 3 did. Airflow 2 named it by the day before:",
        "name = \"{logical_date}\"",
        "For a week beside the old server, under other names:",
        "name = \"new-{date}\"",
        "Users, roles, quotas, row policies and settings profiles, which that server meant to take along:",
        "access = true",
    ]
    .map(str::to_owned)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_outside_of_the_sections() {
        for key in keys::all() {
            let path = key.path.replace('*', "daily");
            let is_in = |section: &&str| path.starts_with(&format!("{section}."));
            assert!(SECTIONS.iter().any(is_in), "{path}");
        }
    }
}
