//! Every variable of the server we replace, with the key of its YAML file, and what becomes of it here.
//!
//! `replaced` reads those that are taken; this is the list of all of them, for `migrate check`, for the
//! YAML of that server, and for the document on compatibility.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::keys;
use super::needless::NEEDLESS;
use super::not_taken::NOT_TAKEN;
use super::replaced::EMBEDDED;

/// Taken, and no key of ours by itself.
const TAKEN_OTHERWISE: [(&str, &str); 1] = [(
    EMBEDDED,
    "must be true or unset, anything else is an error: ClickHouse makes its own backups here",
)];

/// YAML keys whose variable is not made of their section and name; in that server two of them are
/// crossed.
const CROSSED: [(&str, &str, &str); 5] = [
    ("api", "watch_is_main_process", "WATCH_IS_MAIN_PROCESS"),
    ("api", "ca_key_file", "API_CA_CERT_FILE"),
    ("api", "ca_cert_file", "API_CA_KEY_FILE"),
    ("azblob", "buffer_count", "AZBLOB_MAX_BUFFERS"),
    ("s3", "check_sum_algorithm", "S3_CHECKSUM_ALGORITHM"),
];

/// Sections of the YAML file, and how the variables of their keys begin.
const SECTIONS: [(&str, &str); 10] = [
    ("clickhouse", "CLICKHOUSE_"),
    ("api", "API_"),
    ("s3", "S3_"),
    ("gcs", "GCS_"),
    ("azblob", "AZBLOB_"),
    ("cos", "COS_"),
    ("ftp", "FTP_"),
    ("sftp", "SFTP_"),
    ("custom", "CUSTOM_"),
    // Its variables begin with nothing, so it comes last.
    ("general", ""),
];

/// The variable that names the YAML file; no key of it.
const NO_YAML_KEY: &str = "CLICKHOUSE_BACKUP_CONFIG";

/// What becomes of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It sets these keys.
    Taken(Vec<String>),
    /// It counts, in the way that is told.
    Otherwise(&'static str),
    /// It is ignored with a warning, which says what to do instead.
    NotTaken(&'static str),
    /// It is ignored, and this is why nothing is lost.
    Needless(&'static str),
}

/// A variable of the server we replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Section and key of the YAML file that mean the same.
    pub yaml: Option<(&'static str, String)>,
    /// What becomes of it.
    pub fate: Fate,
}

static ALL: LazyLock<Vec<Variable>> = LazyLock::new(|| {
    let old: BTreeSet<&'static str> = keys::all()
        .iter()
        .flat_map(|key| key.old.iter().copied())
        .collect();
    let taken = old.iter().map(|name| (*name, Fate::Taken(paths(name))));
    let otherwise = TAKEN_OTHERWISE
        .iter()
        .map(|(name, how)| (*name, Fate::Otherwise(how)));
    let not_taken = NOT_TAKEN
        .iter()
        .flat_map(|(names, instead)| names.iter().map(|name| (*name, Fate::NotTaken(instead))));
    let needless = NEEDLESS
        .iter()
        .flat_map(|(names, why)| names.iter().map(|name| (*name, Fate::Needless(why))));
    taken
        .chain(otherwise)
        .chain(not_taken)
        .chain(needless)
        .map(|(name, fate)| Variable {
            name,
            yaml: yaml_key(name),
            fate,
        })
        .collect()
});

/// All of them: those that are taken first, then what is ignored with a warning, then the rest.
#[must_use]
pub fn all() -> &'static [Variable] {
    &ALL
}

/// The variable of a key of the YAML file.
#[must_use]
pub fn of_yaml(section: &str, key: &str) -> Option<&'static Variable> {
    all().iter().find(|variable| {
        variable
            .yaml
            .as_ref()
            .is_some_and(|(of, name)| *of == section && name == key)
    })
}

/// Every variable as Markdown: what `docs/compatibility.md` contains.
#[must_use]
pub fn reference() -> String {
    let mut text =
        "| variable | YAML key | here | how, or what instead |\n| --- | --- | --- | --- |\n"
            .to_owned();
    for Variable { name, yaml, fate } in all() {
        let yaml = yaml
            .as_ref()
            .map(|(section, key)| format!("`{section}.{key}`"))
            .unwrap_or_default();
        let (word, how) = match fate {
            Fate::Taken(keys) => {
                let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                ("taken", keys.join(", "))
            }
            Fate::Otherwise(how) => ("taken", (*how).to_owned()),
            // Outside of code `<name>` would be taken for HTML.
            Fate::NotTaken(instead) => ("ignored, with a warning", instead.replace('<', "\\<")),
            Fate::Needless(why) => ("needless", (*why).to_owned()),
        };
        text.push_str(&format!("| `{name}` | {yaml} | {word} | {how} |\n"));
    }
    text
}

fn paths(name: &str) -> Vec<String> {
    let keys = keys::all().iter().filter(|key| key.old.contains(&name));
    keys.map(|key| key.path.replace('*', "<name>")).collect()
}

fn yaml_key(name: &'static str) -> Option<(&'static str, String)> {
    if name == NO_YAML_KEY {
        return None;
    }
    let crossed = CROSSED.iter().find(|(_, _, variable)| *variable == name);
    if let Some((section, key, _)) = crossed {
        return Some((section, (*key).to_owned()));
    }
    SECTIONS.iter().find_map(|(section, prefix)| {
        let rest = name.strip_prefix(prefix)?;
        Some((*section, rest.to_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn each_variable_and_each_yaml_key_has_one_fate() {
        let mut names = BTreeSet::new();
        let mut yaml = BTreeSet::new();
        for variable in all() {
            assert!(names.insert(variable.name), "{} twice", variable.name);
            if let Some(key) = &variable.yaml {
                assert!(yaml.insert(key.clone()), "{key:?} twice");
            }
        }
    }

    #[rstest]
    #[case("general", "log_level", "LOG_LEVEL")]
    #[case("general", "backups_to_keep_local", "BACKUPS_TO_KEEP_LOCAL")]
    #[case(
        "clickhouse",
        "use_embedded_backup_restore",
        "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE"
    )]
    #[case(
        "clickhouse",
        "embedded_backup_disk",
        "CLICKHOUSE_EMBEDDED_BACKUP_DISK"
    )]
    #[case("api", "watch_is_main_process", "WATCH_IS_MAIN_PROCESS")]
    #[case("api", "ca_key_file", "API_CA_CERT_FILE")]
    #[case("s3", "bucket", "S3_BUCKET")]
    #[case("sftp", "key", "SFTP_KEY")]
    fn yaml_keys_are_found(#[case] section: &str, #[case] key: &str, #[case] name: &str) {
        assert_eq!(of_yaml(section, key).unwrap().name, name);
    }

    #[test]
    fn what_is_no_key_is_none() {
        assert_eq!(of_yaml("general", "disable_environment_override"), None);
        assert_eq!(of_yaml("general", "clickhouse_username"), None);
        assert_eq!(of_yaml("clickhouse", "backup_config"), None);
    }

    #[test]
    fn the_reference_has_a_row_for_each() {
        assert_eq!(reference().lines().count(), all().len() + 2);
        assert!(reference().contains(
            "| `CLICKHOUSE_TIMEOUT` | `clickhouse.timeout` | taken | `clickhouse.timeout` |"
        ));
    }
}
