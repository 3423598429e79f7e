//! `[api]`: where it listens, who may ask, and its certificate.

use secrecy::{ExposeSecret, SecretString};

use super::Check;
use crate::api;
use crate::config::address;
use crate::config::error::quote;
use crate::secret::SecretSource;

/// A shorter token can be guessed, in characters.
const TOKEN_MIN_CHARS: usize = 16;

impl Check<'_> {
    pub(super) fn api(&mut self) -> api::Settings {
        let settings = api::Settings {
            listen: self.listen().unwrap_or_default(),
            access: self.access(),
            tls: self.tls(),
            allow_parallel: self.flag("api.allow_parallel"),
        };
        let listen = &settings.listen;
        if settings.access.is_open() && !listen.is_empty() && !address::is_loopback(listen) {
            self.warn(format!("api: whoever reaches {listen} may make backups, restore (with rm, after dropping tables) and end operations; set api.user and api.password_file, or api.token_file"));
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

    fn access(&mut self) -> api::Access {
        let access = api::Access {
            operator: self.credentials("api"),
            read_only: self.credentials("api.read_only"),
            open_metrics: self.flag("api.open_metrics"),
        };
        let given = ["user", "password", "password_file", "token", "token_file"]
            .iter()
            .any(|key| self.is_given(&format!("api.{key}")));
        if !given && !access.read_only.is_empty() {
            self.warn("api: there is a read-only caller and no operator: nobody can make backups, restore or end operations over the API; set api.user and api.password_file, or api.token_file");
        }
        self.roles_differ(&access);
        access
    }

    /// Whoever could be either would be neither for sure.
    fn roles_differ(&mut self, access: &api::Access) {
        let (operator, read_only) = (&access.operator, &access.read_only);
        if let (Some(one), Some(other)) = (&operator.basic, &read_only.basic)
            && one.user == other.user
        {
            self.refuse(
                "api.read_only.user",
                format!("{} is the operator, too", quote(&other.user)),
                "name somebody else than api.user",
            );
        }
        let (Some(one), Some(other)) = (&operator.token, &read_only.token) else {
            return;
        };
        let (Ok(one_now), Ok(other_now)) = (one.read(), other.read()) else {
            return;
        };
        if one_now.expose_secret() != other_now.expose_secret()
            || one_now.expose_secret().is_empty()
        {
            return;
        }
        let is_inline = |source: &SecretSource| matches!(source, SecretSource::Value(_));
        if is_inline(one) && is_inline(other) {
            self.refuse(
                "api.read_only.token",
                "it is the token of the operator, too",
                "give another one than api.token",
            );
        } else {
            self.warn("api.read_only.token: it is the token of the operator, too, as the files are now; who has it may only read");
        }
    }

    fn credentials(&mut self, section: &str) -> api::Credentials {
        api::Credentials {
            basic: self.basic(section),
            token: self.token(&format!("{section}.token")),
        }
    }

    fn basic(&mut self, section: &str) -> Option<api::Basic> {
        let (user_key, password_key) = (format!("{section}.user"), format!("{section}.password"));
        let file_key = format!("{password_key}_file");
        let user_given = self.is_given(&user_key);
        let password_given = self.is_given(&password_key) || self.is_given(&file_key);
        let errors = self.errors.len();
        let user = self.text(&user_key);
        let password = self.secret(&password_key);
        match (user, password) {
            (Some(user), Some(_)) if user.contains(':') => self.refuse(
                &user_key,
                "it has a colon in it, which Basic credentials cannot carry",
                "choose another name",
            ),
            (Some(user), Some(password)) => return Some(api::Basic { user, password }),
            _ if self.errors.len() > errors => {}
            (Some(_), None) if !password_given => {
                self.refuse(
                    &user_key,
                    "a user without a password protects nothing",
                    format!("add {file_key} or {password_key}"),
                );
            }
            (Some(_), None) => self.missing(
                &password_key,
                "the password is empty, which protects nothing",
                format!("give one, or leave {user_key} out, too"),
            ),
            (None, _) if password_given && !user_given => {
                let path = if self.is_given(&password_key) {
                    password_key
                } else {
                    file_key
                };
                self.refuse(
                    &path,
                    "a password without a user",
                    format!("add {user_key}"),
                );
            }
            (None, _) => {}
        }
        None
    }

    /// A token that a header can carry; one that is easily guessed is told.
    fn token(&mut self, path: &str) -> Option<SecretSource> {
        let errors = self.errors.len();
        let Some(source) = self.secret(path) else {
            // Empty counts as none elsewhere; here it would open what was meant to be closed.
            if self.errors.len() == errors && self.values.get(path).is_some() {
                self.refuse(path, "the token is empty", "give one, or leave the key out");
            }
            return None;
        };
        let place = match &source {
            SecretSource::Value(_) => path.to_owned(),
            SecretSource::File(_) => format!("{path}_file"),
        };
        // What cannot be read now was told already, and so was an empty file.
        let now = source.read().unwrap_or_default();
        let text = SecretString::expose_secret(&now);
        if !text.chars().all(|c| c.is_ascii_graphic()) {
            self.refuse(
                &place,
                "the token has a blank or another character that no header carries",
                "use letters and digits, such as 32 random ones",
            );
            return None;
        }
        if !text.is_empty() && text.len() < TOKEN_MIN_CHARS {
            self.warn(format!("{place}: the token has less than {TOKEN_MIN_CHARS} characters, which can be guessed; use 32 random ones"));
        }
        Some(source)
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
}
