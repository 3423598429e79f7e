//! `action` of a schedule: what a slot does.

use super::Check;
use crate::backup::ProofLevel;
use crate::operation::{Action, Selection, VerifyWork};

/// Keys that say what a backup is like, and mean nothing where none is made.
const OF_BACKUPS: [&str; 9] = [
    "name",
    "kind",
    "full_every",
    "full_on",
    "chain_max",
    "databases",
    "exclude_tables",
    "access",
    "functions",
];

impl Check<'_> {
    /// What a slot of this schedule does.
    pub(super) fn action(&mut self, schedule: &str) -> Option<Action> {
        let at = |key: &str| format!("schedules.{schedule}.{key}");
        let action = self.choice(&at("action"))?;
        if action != "verify" {
            if self.is_given(&at("verify")) {
                self.refuse(
                    &at("verify"),
                    "action is \"backup\", and verify is only for action = \"verify\"",
                    "write action = \"verify\", or leave verify out",
                );
            }
            return Some(Action::Backup);
        }
        for key in OF_BACKUPS {
            if self.values.is_written(&at(key)) {
                self.means_nothing(&at(key), key);
            }
        }
        let retention = at("retention");
        if self.values.has_section(&retention) || self.values.is_broken(&retention) {
            self.means_nothing(&retention, "retention");
        }
        if !self.is_given("destination.url") {
            self.refuse(
                &at("action"),
                "\"verify\" needs destination.url: files are looked for through our own view of the destination",
                "write destination.url = \"s3://bucket/prefix\" or \"file:///path\", or leave the schedule out",
            );
        }
        let selection = if self.is_given(&at("verify")) {
            self.choice(&at("verify"))?
        } else {
            String::new()
        };
        Some(Action::Verify(VerifyWork {
            selection: match selection.as_str() {
                "all" => Selection::All,
                _ => Selection::Newest,
            },
            level: ProofLevel::Files,
        }))
    }

    fn means_nothing(&mut self, path: &str, key: &str) {
        self.refuse(
            path,
            format!(
                "{key} means nothing for a schedule with action = \"verify\", which makes no backup"
            ),
            format!("leave {key} out, or write action = \"backup\""),
        );
    }
}
