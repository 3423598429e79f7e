//! Variables of the server we replace → layers below the file, so that an edit of the file always
//! takes effect. What such a variable says and the file says otherwise is no error and no warning.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use figment::value::Value;

use super::address;
use super::error::{ConfigError, quote};
use super::keys;
use super::layer::{Layer, Rank};
use super::not_taken;
use crate::backup::TablePattern;

/// Turns the embedded mode on, which is the only mode here.
pub(super) const EMBEDDED: &str = "CLICKHOUSE_USE_EMBEDDED_BACKUP_RESTORE";
pub(super) const SKIP_TABLES: &str = "CLICKHOUSE_SKIP_TABLES";
const NATIVE_PORTS: [u16; 2] = [9000, 9440];
const HTTP_PORTS: [u16; 4] = [8123, 8443, 80, 443];

/// What the old variables say.
#[derive(Default)]
pub struct Replaced {
    /// One layer per key.
    pub layers: Vec<Layer>,
    /// `CLICKHOUSE_SKIP_TABLES`: for clients' backups, and for schedules that say nothing themselves.
    pub skip_tables: Vec<TablePattern>,
    /// What is wrong, with the key it would have set.
    errors: Vec<(String, ConfigError)>,
    /// What should be known, with the key it is about.
    warnings: Vec<(String, String)>,
    variables: BTreeMap<String, String>,
}

/// Reads the variables that are taken; an empty one counts as not set.
pub fn read(environment: &[(OsString, OsString)]) -> Replaced {
    let mut replaced = Replaced::default();
    replaced.collect(environment);
    replaced.server();
    replaced.texts();
    replaced.embedded();
    replaced.tables();
    replaced.keep();
    replaced.tls();
    for warning in not_taken::warnings(&replaced.variables) {
        replaced.warnings.push((String::new(), warning));
    }
    replaced
}

impl Replaced {
    /// What is left to tell once it is known what the layers above say: of a wrong value that has no
    /// effect only a warning remains, of a warning nothing.
    pub fn told(&mut self, above: &[Layer]) -> (Vec<ConfigError>, Vec<String>) {
        let (hidden, errors): (Vec<_>, Vec<_>) = std::mem::take(&mut self.errors)
            .into_iter()
            .partition(|(path, _)| overridden(path, above));
        let (_, warnings): (Vec<_>, Vec<_>) = std::mem::take(&mut self.warnings)
            .into_iter()
            .partition(|(path, _)| overridden(path, above));
        let hidden = hidden
            .into_iter()
            .map(|(path, error)| format!("{error} (without effect: {path} is set elsewhere)"));
        let warnings = warnings
            .into_iter()
            .map(|(_, warning)| warning)
            .chain(hidden);
        (
            errors.into_iter().map(|(_, error)| error).collect(),
            warnings.collect(),
        )
    }

    /// `CLICKHOUSE_SKIP_TABLES` as `exclude_tables` of each schedule.
    pub fn exclude_tables(&self, schedules: &BTreeSet<String>) -> Vec<Layer> {
        let list: Vec<String> = self
            .skip_tables
            .iter()
            .map(TablePattern::to_string)
            .collect();
        let names = schedules.iter().filter(|_| !list.is_empty());
        let path = |name: &String| {
            [
                "schedules".to_owned(),
                name.clone(),
                "exclude_tables".to_owned(),
            ]
        };
        names
            .map(|name| {
                Layer::with(
                    Rank::Replaced,
                    SKIP_TABLES,
                    &path(name),
                    Value::from(list.clone()),
                )
            })
            .collect()
    }

    fn collect(&mut self, environment: &[(OsString, OsString)]) {
        let old = keys::all().iter().flat_map(|key| key.old.iter().copied());
        let known: BTreeSet<&str> = old
            .chain(not_taken::names())
            .chain([EMBEDDED, SKIP_TABLES])
            .collect();
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| known.contains(name)) else {
                continue;
            };
            match value.to_str() {
                Some("") => {}
                Some(value) => {
                    self.variables.insert(name.to_owned(), value.to_owned());
                }
                None => self.refuse("", name, "the value is not UTF-8", "set it again as UTF-8"),
            }
        }
    }

    /// Host, port and TLS together make the URL.
    fn server(&mut self) {
        let path = "clickhouse.url";
        let secure = self.flag(path, "CLICKHOUSE_SECURE");
        let port = self.port(secure == Some(true));
        let host = self.get("CLICKHOUSE_HOST");
        if host.is_none() && port.is_none() && secure.is_none() {
            return;
        }
        let host = host.unwrap_or_else(|| "127.0.0.1".to_owned());
        let Some(host) = address::host(&host) else {
            let problem = "this is no host name or address";
            return self.refuse(
                path,
                "CLICKHOUSE_HOST",
                problem,
                "give the name alone; the port is CLICKHOUSE_PORT",
            );
        };
        let (scheme, usual) = if secure == Some(true) {
            ("https", 8443)
        } else {
            ("http", 8123)
        };
        let origin: Vec<&str> = ["CLICKHOUSE_HOST", "CLICKHOUSE_PORT", "CLICKHOUSE_SECURE"]
            .into_iter()
            .filter(|name| self.variables.contains_key(*name))
            .collect();
        let url = format!("{scheme}://{host}:{}", port.unwrap_or(usual));
        self.set(path, &origin.join(", "), Value::from(url));
    }

    fn port(&mut self, secure: bool) -> Option<u16> {
        let path = "clickhouse.url";
        let text = self.get("CLICKHOUSE_PORT")?;
        if text.contains("://") {
            let warning = "CLICKHOUSE_PORT is ignored: its value is what Kubernetes sets for a Service called clickhouse, no port";
            self.warnings.push((path.to_owned(), warning.to_owned()));
            self.variables.remove("CLICKHOUSE_PORT");
            return None;
        }
        match text.parse::<u16>() {
            Ok(0) | Err(_) => {
                let problem = format!("{} is no port", quote(&text));
                self.refuse(
                    path,
                    "CLICKHOUSE_PORT",
                    problem,
                    "give the HTTP port, 8123 or 8443",
                );
                None
            }
            Ok(port) if NATIVE_PORTS.contains(&port) => {
                let http = if secure { 8443 } else { 8123 };
                let warning = format!(
                    "CLICKHOUSE_PORT={port} is the native protocol; this daemon speaks HTTP and takes {http}"
                );
                self.warnings.push((path.to_owned(), warning));
                Some(http)
            }
            Ok(port) => {
                if !HTTP_PORTS.contains(&port) {
                    let warning = format!(
                        "CLICKHOUSE_PORT={port} is taken for an HTTP port; if it is a native one, set clickhouse.url"
                    );
                    self.warnings.push((path.to_owned(), warning));
                }
                Some(port)
            }
        }
    }

    /// Variables that mean what a key of ours means.
    fn texts(&mut self) {
        for (path, name) in [
            ("clickhouse.user", "CLICKHOUSE_USERNAME"),
            ("clickhouse.password", "CLICKHOUSE_PASSWORD"),
            ("clickhouse.timeout", "CLICKHOUSE_TIMEOUT"),
            ("destination.disk", "CLICKHOUSE_EMBEDDED_BACKUP_DISK"),
            ("api.listen", "API_LISTEN"),
            ("api.user", "API_USERNAME"),
            ("api.password", "API_PASSWORD"),
            ("notify.callback_url", "CALLBACK_URL"),
            ("notify.timeout", "CALLBACK_TIMEOUT"),
        ] {
            if let Some(text) = self.get(name) {
                self.set(path, name, Value::from(text));
            }
        }
        if let Some(level) = self.get("LOG_LEVEL") {
            let level = match level.to_lowercase().as_str() {
                "warning" => "warn".to_owned(),
                "fatal" | "panic" | "critical" => "error".to_owned(),
                other => other.to_owned(),
            };
            self.set("log.level", "LOG_LEVEL", Value::from(level));
        }
        if let Some(skip) = self.flag("clickhouse.verify_certificate", "CLICKHOUSE_SKIP_VERIFY") {
            self.set(
                "clickhouse.verify_certificate",
                "CLICKHOUSE_SKIP_VERIFY",
                Value::from(!skip),
            );
        }
        if let Some(parallel) = self.flag("api.allow_parallel", "API_ALLOW_PARALLEL") {
            self.set(
                "api.allow_parallel",
                "API_ALLOW_PARALLEL",
                Value::from(parallel),
            );
        }
    }

    fn embedded(&mut self) {
        if self.flag("", EMBEDDED) == Some(false) {
            let problem = "the mode that copies files itself does not exist here: ClickHouse makes its own backups";
            self.refuse("", EMBEDDED, problem, "set it to true or unset it");
        }
    }

    fn tables(&mut self) {
        for text in self
            .get(SKIP_TABLES)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            if text.contains(['[', '\\', '{']) {
                let warning = format!(
                    "{SKIP_TABLES}: {} is taken literally; only * and ? stand for other characters",
                    quote(text)
                );
                self.warnings.push((String::new(), warning));
            }
            match TablePattern::parse(text) {
                Ok(pattern) => self.skip_tables.push(pattern),
                Err(error) => self.refuse("", SKIP_TABLES, error.to_string(), ""),
            }
        }
    }

    fn keep(&mut self) {
        let (path, name) = ("retention.keep_last", "BACKUPS_TO_KEEP_LOCAL");
        let Some(text) = self.get(name) else { return };
        match text.trim().parse::<i64>() {
            // As before, 0 keeps all; without a policy that is what happens, and it is said.
            Ok(0) => {}
            Ok(count) if count > 0 => self.set(path, name, Value::from(count)),
            _ => {
                let problem = format!("{} is no number of backups", quote(&text));
                self.refuse(
                    path,
                    name,
                    problem,
                    "give how many to keep, or 0 to keep all",
                );
            }
        }
    }

    fn tls(&mut self) {
        let secure = self.flag("api.tls.certificate_file", "API_SECURE");
        for (path, name) in [
            ("api.tls.certificate_file", "API_CERTIFICATE_FILE"),
            ("api.tls.private_key_file", "API_PRIVATE_KEY_FILE"),
        ] {
            match (secure, self.get(name)) {
                (Some(true), Some(file)) => self.set(path, name, Value::from(file)),
                (Some(true), None) => {
                    let problem = format!("API_SECURE is true and {name} is not set");
                    self.refuse(
                        path,
                        "API_SECURE",
                        problem,
                        format!("set {name}, or {path} in the file"),
                    );
                }
                (_, Some(_)) => {
                    let warning = format!("{name} is ignored because API_SECURE is not true");
                    self.warnings.push((path.to_owned(), warning));
                }
                (_, None) => {}
            }
        }
    }

    /// A flag in any spelling that Go's `ParseBool` takes.
    fn flag(&mut self, path: &str, name: &str) -> Option<bool> {
        let text = self.get(name)?;
        match text.trim() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => {
                self.refuse(
                    path,
                    name,
                    format!("{} is neither true nor false", quote(&text)),
                    "write true or false",
                );
                None
            }
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn set(&mut self, path: &str, origin: &str, value: Value) {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        self.layers
            .push(Layer::with(Rank::Replaced, origin, &path, value));
    }

    fn refuse(
        &mut self,
        path: &str,
        name: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.errors
            .push((path.to_owned(), ConfigError::at(name, problem, remedy)));
    }
}

/// Whether a layer above says something about this key, its other spelling, or all of retention.
fn overridden(path: &str, above: &[Layer]) -> bool {
    let other = keys::ALTERNATIVES.iter().find_map(|(a, b)| match path {
        path if path == *a => Some(*b),
        path if path == *b => Some(*a),
        _ => None,
    });
    let retention = path.starts_with("retention.");
    above.iter().any(|layer| {
        layer.gives(path)
            || other.is_some_and(|other| layer.gives(other))
            || (retention && layer.sections.contains("retention"))
    })
}
