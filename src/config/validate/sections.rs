//! `[clickhouse]`, `[state]` and `[log]`.

use std::time::Duration;

use super::Check;
use crate::config::address;
use crate::config::error::quote;
use crate::config::{LogFormat, LogSettings};
use crate::{catalog, clickhouse, worker};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Ports on which a ClickHouse server speaks its native protocol.
const NATIVE_PORTS: [u16; 2] = [9000, 9440];

impl Check<'_> {
    pub(super) fn clickhouse(&mut self) -> clickhouse::Settings {
        clickhouse::Settings {
            url: self.clickhouse_url().unwrap_or_default(),
            user: self.text("clickhouse.user").unwrap_or_default(),
            password: self.secret("clickhouse.password"),
            verify_certificate: self.flag("clickhouse.verify_certificate"),
        }
    }

    fn clickhouse_url(&mut self) -> Option<String> {
        let path = "clickhouse.url";
        let text = self.text(path)?;
        match address::http(&text) {
            Ok(address::Http { port: None, .. }) => {
                let problem = format!("{} names no port", quote(&text));
                self.refuse(path, problem, "add it: :8123 for http and :8443 for https, unless a proxy stands before ClickHouse");
                None
            }
            Ok(address::Http {
                port: Some(port),
                url,
            }) => {
                if NATIVE_PORTS.contains(&port) {
                    self.warn(format!("{path}: port {port} is usually the native protocol; this daemon speaks HTTP, usually 8123 or 8443"));
                }
                Some(url)
            }
            Err(problem) => {
                self.refuse(
                    path,
                    format!("this is no address of a ClickHouse server: {problem}"),
                    "write http://host:8123 or https://host:8443",
                );
                None
            }
        }
    }

    pub(super) fn worker(&mut self) -> worker::Settings {
        worker::Settings {
            timeout: self
                .duration("clickhouse.timeout", SECOND..=MONTH)
                .unwrap_or_default(),
            client_deadline: self
                .duration("clickhouse.client_deadline", SECOND..=DAY)
                .unwrap_or_default(),
            cancel_limit: self
                .duration("clickhouse.cancel_limit", SECOND..=DAY)
                .unwrap_or_default(),
        }
    }

    pub(super) fn catalog(&mut self) -> catalog::Settings {
        catalog::Settings {
            dir: self.path("state.dir").unwrap_or_default(),
        }
    }

    pub(super) fn log(&mut self) -> LogSettings {
        let format = match self.choice("log.format").as_deref() {
            Some("json") => LogFormat::Json,
            Some("pretty") => LogFormat::Pretty,
            _ => LogFormat::Auto,
        };
        LogSettings {
            level: self.choice("log.level").unwrap_or_default(),
            format,
        }
    }
}
