//! `[clickhouse]`, `[state]`, `[api]` and `[log]`.

use std::time::Duration;

use super::Check;
use crate::config::address;
use crate::config::error::quote;
use crate::config::{LogFormat, LogSettings};
use crate::{api, catalog, clickhouse, worker};

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

    pub(super) fn api(&mut self) -> api::Settings {
        let settings = api::Settings {
            listen: self.listen().unwrap_or_default(),
            credentials: self.credentials(),
            tls: self.tls(),
            allow_parallel: self.flag("api.allow_parallel"),
        };
        if settings.credentials.is_none()
            && !address::is_loopback(&settings.listen)
            && !settings.listen.is_empty()
        {
            let listen = &settings.listen;
            self.warn(format!("api: whoever reaches {listen} may make backups, restore (with rm, after dropping tables) and end operations; set api.user and api.password_file"));
        }
        settings
    }

    fn listen(&mut self) -> Option<String> {
        let text = self.text("api.listen")?;
        let listen = address::listen(&text);
        if listen.is_none() {
            let problem = format!("{} is no host and port", quote(&text));
            self.refuse(
                "api.listen",
                problem,
                "write 127.0.0.1:7171, localhost:7171, [::]:7171 or :7171",
            );
        }
        listen
    }

    fn credentials(&mut self) -> Option<api::Credentials> {
        let user_given = self.is_given("api.user");
        let password_given = self.is_given("api.password") || self.is_given("api.password_file");
        let errors = self.errors.len();
        let user = self.text("api.user");
        let password = self.secret("api.password");
        match (user, password) {
            (Some(user), Some(password)) => return Some(api::Credentials { user, password }),
            _ if self.errors.len() > errors => {}
            (Some(_), None) if !password_given => {
                self.refuse(
                    "api.user",
                    "a user without a password protects nothing",
                    "add api.password_file or api.password",
                );
            }
            (Some(_), None) => self.missing(
                "api.password",
                "the password is empty, which protects nothing",
                "give one, or leave api.user out, too",
            ),
            (None, _) if password_given && !user_given => {
                let path = if self.is_given("api.password") {
                    "api.password"
                } else {
                    "api.password_file"
                };
                self.refuse(path, "a password without a user", "add api.user");
            }
            (None, _) => {}
        }
        None
    }

    fn tls(&mut self) -> Option<api::Tls> {
        let (certificate, key) = ("api.tls.certificate_file", "api.tls.private_key_file");
        match (self.path(certificate), self.path(key)) {
            (Some(certificate_file), Some(private_key_file)) => {
                for (path, file) in [(certificate, &certificate_file), (key, &private_key_file)] {
                    if !file.is_file() {
                        let file = file.display();
                        self.warn(format!(
                            "{path}: there is no file {file} (the daemon does not start without it)"
                        ));
                    }
                }
                Some(api::Tls {
                    certificate_file,
                    private_key_file,
                })
            }
            (Some(_), None) if !self.is_given(key) => {
                self.refuse(
                    certificate,
                    "a certificate without its key",
                    format!("add {key}"),
                );
                None
            }
            (None, Some(_)) if !self.is_given(certificate) => {
                self.refuse(
                    key,
                    "a key without its certificate",
                    format!("add {certificate}"),
                );
                None
            }
            _ => None,
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
