//! Where the daemon is, and who asks it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clickhouse_backupd::secret::SecretSource;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use super::problem::Problem;

const HEADING: &str = "Talking to the daemon";
/// Where a daemon listens that was told nothing else.
const DEFAULT_URL: &str = "http://127.0.0.1:7171";

/// Options of every command that asks the daemon.
///
/// Values come as they are and are looked at only when they are used: none of these variables can
/// keep `server` from starting.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub struct Connection {
    /// Where it is.
    ///
    /// `http://user:password@host:7171` gives credentials as well.
    #[arg(long, global = true, env = "BACKUPD_URL", hide_env_values = true, value_name = "URL", default_value = DEFAULT_URL)]
    url: OsString,
    /// A file with a bearer token.
    ///
    /// `BACKUPD_TOKEN` holds a token itself. Without either, `API_USERNAME` and `API_PASSWORD` are
    /// used, where they are set.
    #[arg(
        long,
        global = true,
        env = "BACKUPD_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    token_file: Option<PathBuf>,
    /// A file with the certificates to trust, in PEM, in place of the system's.
    #[arg(
        long,
        global = true,
        env = "BACKUPD_CA_FILE",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub ca_file: Option<PathBuf>,
    /// Print the API's answer as it is, errors too.
    #[arg(long, global = true)]
    pub json: bool,
    // An argument of a command is seen by everybody on the machine, so these are not offered: they
    // are here for their variables.
    #[arg(long, global = true, env = "BACKUPD_TOKEN", hide = true, hide_env_values = true, value_parser = secret())]
    token: Option<SecretString>,
    #[arg(
        long,
        global = true,
        env = "API_USERNAME",
        hide = true,
        hide_env_values = true
    )]
    username: Option<OsString>,
    #[arg(long, global = true, env = "API_PASSWORD", hide = true, hide_env_values = true, value_parser = secret())]
    password: Option<SecretString>,
}

/// Who asks.
#[derive(Debug)]
pub enum Credentials {
    /// Nobody in particular, or whom the URL names.
    None,
    /// A bearer token.
    Bearer(SecretString),
    /// A user with a password.
    Basic(String, SecretString),
}

fn secret() -> impl clap::builder::TypedValueParser<Value = SecretString> {
    OsStringValueParser::new()
        .map(|value: OsString| SecretString::from(value.to_string_lossy().into_owned()))
}

impl Connection {
    /// The base of every request.
    ///
    /// # Errors
    /// When it is no URL of HTTP.
    pub fn url(&self) -> Result<Url, Problem> {
        let text = self.url.to_string_lossy();
        // A variable that is set and empty says nothing.
        let text = if text.is_empty() { DEFAULT_URL } else { &*text };
        // The text is not told: it may hold a password.
        let wrong = |why: &str| {
            Problem::Usage(format!(
                "--url (BACKUPD_URL) {why}; it looks like {DEFAULT_URL}"
            ))
        };
        let url: Url = text
            .parse()
            .map_err(|error| wrong(&format!("is no URL: {error}")))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(url),
            _ => Err(wrong("begins with neither http:// nor https://")),
        }
    }

    /// Who asks: whom the URL names, else the bearer of a token, else `API_USERNAME`.
    ///
    /// # Errors
    /// When the token cannot be read.
    pub fn credentials(&self) -> Result<Credentials, Problem> {
        let url = self.url()?;
        if !url.username().is_empty() || url.password().is_some() {
            return Ok(Credentials::None);
        }
        if let Some(token) = self.token.as_ref().filter(|token| is_set(token)) {
            return Ok(Credentials::Bearer(token.clone()));
        }
        if let Some(file) = self
            .token_file
            .as_ref()
            .filter(|file| !file.as_os_str().is_empty())
        {
            let token = SecretSource::File(file.clone()).read();
            return token
                .map(Credentials::Bearer)
                .map_err(|error| Problem::Usage(format!("--token-file: {error}")));
        }
        Ok(match (&self.username, &self.password) {
            (Some(user), Some(password)) if !user.is_empty() => {
                Credentials::Basic(user.to_string_lossy().into_owned(), password.clone())
            }
            _ => Credentials::None,
        })
    }

    /// The certificates to trust instead of the system's.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn authorities(&self) -> Result<Option<Vec<reqwest::Certificate>>, Problem> {
        let Some(file) = self
            .ca_file
            .as_ref()
            .filter(|file| !file.as_os_str().is_empty())
        else {
            return Ok(None);
        };
        let wrong = |why: String| Problem::Usage(format!("--ca-file {}: {why}", file.display()));
        let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
        let found = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|_| wrong("its certificates cannot be read".to_owned()))?;
        if found.is_empty() {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        Ok(Some(found))
    }
}

fn is_set(secret: &SecretString) -> bool {
    !secret.expose_secret().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(url: &str) -> Connection {
        Connection {
            url: url.into(),
            token_file: None,
            ca_file: None,
            json: false,
            token: None,
            username: Some("api".into()),
            password: Some("secret".into()),
        }
    }

    #[test]
    fn credentials_are_those_of_the_url_then_a_token_then_the_old_variables() {
        let mut asks = connection("http://backupd:7171");
        assert!(
            matches!(asks.credentials().unwrap(), Credentials::Basic(user, _) if user == "api")
        );
        asks.token = Some("".into());
        assert!(matches!(
            asks.credentials().unwrap(),
            Credentials::Basic(..)
        ));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "from-file\n").unwrap();
        asks.token_file = Some(file);
        let bearer = |asks: &Connection| match asks.credentials().unwrap() {
            Credentials::Bearer(token) => token.expose_secret().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(bearer(&asks), "from-file");
        asks.token = Some("direct".into());
        assert_eq!(bearer(&asks), "direct");
        asks.url = "http://me:mine@backupd:7171".into();
        assert!(matches!(asks.credentials().unwrap(), Credentials::None));
        asks.url = "http://backupd:7171".into();
        asks.token = None;
        asks.token_file = Some(dir.path().join("absent"));
        let told = asks.credentials().unwrap_err().to_string();
        assert!(told.contains("absent"), "{told}");
        assert!(!format!("{asks:?}").contains("secret\""));
    }

    #[test]
    fn a_url_that_leads_nowhere_is_usage_and_its_password_is_not_told() {
        assert_eq!(
            connection("").url().unwrap().as_str(),
            "http://127.0.0.1:7171/"
        );
        for wrong in [
            "backupd:7171",
            "http://me:hunter2@:7171",
            "ftp://me:hunter2@host",
        ] {
            let told = connection(wrong).url().unwrap_err();
            assert_eq!(told.exit_code(), 2, "{wrong}");
            assert!(!told.to_string().contains("hunter2"), "{told}");
        }
    }
}
