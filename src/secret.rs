//! Values that never print: passwords and keys, given directly or as the path of a file.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

/// Longest secret file that is read, in bytes: a wrong path must not fill memory.
const SECRET_FILE_MAX_BYTES: u64 = 64 * 1024;

/// Where a secret comes from.
/// A file is read at each use, so a rotated Kubernetes secret needs no restart.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// The value itself, from the configuration.
    Value(SecretString),
    /// A file that holds the value; line ends at its end do not count.
    File(PathBuf),
}

/// A secret file that gave no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there or may not be read.
    #[error("reading the secret file {path}: {source}; check the path and who may read it")]
    Unreadable {
        /// The file as configured.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No regular file, or larger than any secret.
    #[error("the secret file {path} is no regular file of at most 64 KiB; check the path")]
    NoSecret {
        /// The file as configured.
        path: PathBuf,
    },
}

impl SecretSource {
    /// The secret as it is now.
    ///
    /// # Errors
    /// When the file cannot be read, is no UTF-8, is no regular file, or is larger than 64 KiB.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => {
                let unreadable = |source| SecretError::Unreadable {
                    path: path.clone(),
                    source,
                };
                let found = std::fs::metadata(path).map_err(unreadable)?;
                // A pipe has no length, and opening it would wait for its writer.
                if !found.is_file() || found.len() > SECRET_FILE_MAX_BYTES {
                    return Err(SecretError::NoSecret { path: path.clone() });
                }
                let text = SecretString::from(std::fs::read_to_string(path).map_err(unreadable)?);
                Ok(SecretString::from(
                    text.expose_secret().trim_end_matches(['\r', '\n']),
                ))
            }
        }
    }
}

impl From<&str> for SecretSource {
    fn from(value: &str) -> Self {
        Self::Value(SecretString::from(value))
    }
}

/// Equal when it comes from the same place; two inline values are compared by content, so that a
/// reload can tell whether a section changed.
impl PartialEq for SecretSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(a), Self::Value(b)) => a.expose_secret() == b.expose_secret(),
            (Self::File(a), Self::File(b)) => a == b,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_without_its_line_end_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "00712\n").unwrap();
        let source = SecretSource::File(path.clone());
        assert_eq!(source.read().unwrap().expose_secret(), "00712");
        std::fs::write(&path, "rotated").unwrap();
        assert_eq!(source.read().unwrap().expose_secret(), "rotated");
        assert!(!format!("{:?}", SecretSource::from("hunter2")).contains("hunter2"));
    }

    #[test]
    fn a_missing_or_huge_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent");
        let text = SecretSource::File(path.clone())
            .read()
            .unwrap_err()
            .to_string();
        assert!(text.contains("absent"), "{text}");
        std::fs::write(&path, vec![b'x'; 65 * 1024]).unwrap();
        assert!(matches!(
            SecretSource::File(path).read(),
            Err(SecretError::NoSecret { .. })
        ));
    }
}
