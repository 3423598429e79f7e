//! `[notify]` and `[schedules.<name>.heartbeat]`: whom to tell.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::Check;
use crate::notify::{Heartbeat, Settings, check_url};
use crate::operation::Schedule;
use crate::schedule::ScheduleName;
use crate::secret::SecretSource;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

impl Check<'_> {
    pub(super) fn notify(&mut self, schedules: &BTreeMap<ScheduleName, Schedule>) -> Settings {
        let mut heartbeats = BTreeMap::new();
        for name in schedules.keys() {
            let mut at =
                |moment: &str| self.address(&format!("schedules.{name}.heartbeat.{moment}_url"));
            let heartbeat = Heartbeat {
                started: at("started"),
                succeeded: at("succeeded"),
                failed: at("failed"),
            };
            if heartbeat != Heartbeat::default() {
                heartbeats.insert(name.clone(), heartbeat);
            }
        }
        Settings {
            heartbeats,
            callback_url: self.address("notify.callback_url"),
            timeout: self
                .duration("notify.timeout", SECOND..=MINUTE)
                .unwrap_or(Settings::default().timeout),
        }
    }

    /// An address that can be called; one in a file is looked at when it is needed.
    fn address(&mut self, path: &str) -> Option<SecretSource> {
        let source = self.secret(path)?;
        if let SecretSource::Value(value) = &source
            && let Err(error) = check_url(value.expose_secret().trim())
        {
            self.refuse(path, error.to_string(), "write https://…");
            return None;
        }
        Some(source)
    }
}
