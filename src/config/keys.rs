//! Every key of the configuration, once: the parser, the environment, `config show`, the shipped
//! file and the documentation are all checked against this table.

mod table;

use std::borrow::Cow;
use std::sync::LazyLock;

use table::{KEYS, POLICY};

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string, kept as it is.
    Text,
    /// A string that never prints.
    Secret,
    /// The path of a file or folder.
    Path,
    /// A string such as `4h` or `1h30m`.
    Duration,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count,
    /// A list of strings.
    List,
    /// A string, or a list of strings.
    OneOrMore,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its path, with `*` for the name of a schedule.
    pub path: Cow<'static, str>,
    /// What its value must be.
    pub kind: Kind,
    /// The built-in value in TOML syntax, if there is one.
    pub default: Option<&'static str>,
    /// Variables of the server we replace that say the same.
    pub old: &'static [&'static str],
    /// One line of meaning.
    pub meaning: &'static str,
}

/// What a path means.
#[derive(Debug, Clone, Copy)]
pub enum Found {
    /// A key with a value.
    Key(&'static Key),
    /// A table that holds keys.
    Section,
    /// Nothing.
    Unknown,
}

/// The sections that hold a retention policy.
pub const POLICY_SECTIONS: [&str; 3] = ["retention", "retention.manual", "schedules.*.retention"];

/// The keys of a retention policy, in any of [`POLICY_SECTIONS`].
pub const POLICY_KEYS: [&str; 7] = [
    "keep_last",
    "keep_within",
    "keep_daily",
    "keep_weekly",
    "keep_monthly",
    "keep_yearly",
    "min_keep",
];

/// Keys that exclude each other: a layer that sets one takes the place of the other in layers below.
pub const ALTERNATIVES: [(&str, &str); 8] = [
    ("clickhouse.password", "clickhouse.password_file"),
    ("destination.disk", "destination.collection"),
    (
        "destination.s3.access_key_id",
        "destination.s3.access_key_id_file",
    ),
    (
        "destination.s3.secret_access_key",
        "destination.s3.secret_access_key_file",
    ),
    ("api.password", "api.password_file"),
    ("api.token", "api.token_file"),
    ("api.read_only.password", "api.read_only.password_file"),
    ("api.read_only.token", "api.read_only.token_file"),
];

static ALL: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let policies = POLICY_SECTIONS.iter().flat_map(|section| {
        POLICY.iter().map(move |key| Key {
            path: format!("{section}.{}", key.path).into(),
            // The server we replace knew one policy, ours for everything.
            old: if *section == "retention" {
                key.old
            } else {
                &[]
            },
            ..key.clone()
        })
    });
    let (after, before): (Vec<&Key>, Vec<&Key>) = KEYS
        .iter()
        .partition(|key| key.path.starts_with("retention."));
    let before = before.into_iter().cloned();
    let mut all: Vec<Key> = before
        .chain(policies)
        .chain(after.into_iter().cloned())
        .collect();
    // One section after the other, as in the shipped file; a stable sort keeps the order inside.
    all.sort_by_key(|key| {
        SECTIONS
            .iter()
            .position(|section| key.path.starts_with(section))
    });
    all
});

const SECTIONS: [&str; 8] = [
    "clickhouse.",
    "destination.",
    "state.",
    "api.",
    "log.",
    "notify.",
    "schedules.",
    "retention.",
];

/// All keys, section by section.
#[must_use]
pub fn all() -> &'static [Key] {
    &ALL
}

/// What the path means; a name stands where the table has `*`.
#[must_use]
pub fn find<S: AsRef<str>>(path: &[S]) -> Found {
    let starts = |pattern: &str| {
        let mut segments = pattern.split('.');
        let fits = path.iter().all(|have| {
            segments
                .next()
                .is_some_and(|want| want == "*" || want == have.as_ref())
        });
        fits.then(|| segments.next().is_none())
    };
    for key in all() {
        match starts(&key.path) {
            Some(true) => return Found::Key(key),
            Some(false) => return Found::Section,
            None => {}
        }
    }
    Found::Unknown
}

impl Key {
    /// The variable that sets it; `schedule` stands where the table has `*`.
    #[must_use]
    pub fn variable(&self, schedule: &str) -> String {
        let name = self
            .path
            .split('.')
            .map(|segment| if segment == "*" { schedule } else { segment });
        format!(
            "BACKUPD_{}",
            name.collect::<Vec<_>>().join("__").to_uppercase()
        )
    }

    const fn new(path: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self {
            path: Cow::Borrowed(path),
            kind,
            default: None,
            old: &[],
            meaning,
        }
    }

    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn was(mut self, old: &'static [&'static str]) -> Self {
        self.old = old;
        self
    }
}
