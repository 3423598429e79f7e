//! `[destination]`: the place, and our own view of it.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Check;
use crate::backup::Place;
use crate::config::address;
use crate::config::error::quote;
use crate::destination::{Settings, ViewSettings};

const ACCESS_KEY: &str = "destination.s3.access_key_id";
const SECRET_KEY: &str = "destination.s3.secret_access_key";

/// Largest CA file that is read, in bytes: a wrong path must not fill memory.
const CA_FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

impl Check<'_> {
    pub(super) fn destination(&mut self) -> Settings {
        // Thrown away with the error that explains why there is none.
        let place = self.place().unwrap_or(Place::Disk(String::new()));
        Settings {
            place,
            view: self.view(),
        }
    }

    fn place(&mut self) -> Option<Place> {
        let (disk, collection) = ("destination.disk", "destination.collection");
        match (self.is_given(disk), self.is_given(collection)) {
            (true, true) => {
                self.refuse(
                    collection,
                    "destination.disk is given, too",
                    "keep one of the two",
                );
                None
            }
            (true, false) => self.text(disk).map(Place::Disk),
            (false, true) => self.text(collection).map(Place::Collection),
            (false, false) => {
                let remedy = "write [destination] with disk = \"s3_backup\" (a disk of the ClickHouse server) or collection = \"backups\" (a named collection)";
                self.missing("destination", "nothing says where backups go", remedy);
                None
            }
        }
    }

    fn view(&mut self) -> Option<ViewSettings> {
        let s3 = self.s3();
        let Some(text) = self.text("destination.url") else {
            if let (Some(key), false) = (self.first_s3_key(), self.is_given("destination.url")) {
                let remedy =
                    "add destination.url = \"s3://bucket/prefix\", or leave destination.s3 out";
                self.refuse(
                    &key,
                    "destination.url is missing, which says what it belongs to",
                    remedy,
                );
            }
            return None;
        };
        let url = match address::view(&text) {
            Ok(url) => url,
            Err(problem) => {
                let remedy = "write s3://bucket/prefix or file:///absolute/path; keys belong into destination.s3";
                self.refuse(
                    "destination.url",
                    format!("this is no place that can be read: {problem}"),
                    remedy,
                );
                return None;
            }
        };
        if let (Some(key), true) = (self.first_s3_key(), url.starts_with("file:")) {
            self.refuse(
                &key,
                "destination.url is a folder, not S3",
                "leave destination.s3 out",
            );
        }
        Some(ViewSettings { url, ..s3 })
    }

    /// Everything below `destination.s3`; the URL stays empty.
    fn s3(&mut self) -> ViewSettings {
        let view = ViewSettings {
            url: String::new(),
            s3_endpoint: self.endpoint(),
            s3_region: self.text("destination.s3.region"),
            s3_virtual_hosted_style: self.flag("destination.s3.virtual_hosted_style"),
            s3_ca_file: self.ca_file(),
            s3_access_key_id: self.secret(ACCESS_KEY),
            s3_secret_access_key: self.secret(SECRET_KEY),
        };
        let given = |key: &str| self.is_given(key) || self.is_given(&format!("{key}_file"));
        for (one, other) in [(ACCESS_KEY, SECRET_KEY), (SECRET_KEY, ACCESS_KEY)] {
            if given(one) && !given(other) {
                let remedy = format!(
                    "add {other}_file or {other}; without either the usual provider chain is asked"
                );
                return self.half(one, &remedy, view);
            }
        }
        view
    }

    fn half(&mut self, key: &str, remedy: &str, view: ViewSettings) -> ViewSettings {
        let path = if self.is_given(key) {
            key.to_owned()
        } else {
            format!("{key}_file")
        };
        self.refuse(&path, "this is one half of a pair of keys", remedy);
        view
    }

    /// The daemon does not start without the file; a machine that only checks need not have it.
    fn ca_file(&mut self) -> Option<PathBuf> {
        let path = "destination.s3.ca_file";
        let file = self.path(path)?;
        match certificates(&file) {
            Ok(1..) => {}
            Ok(0) => {
                let problem = format!("there is no certificate in {}", file.display());
                let remedy = "name a file in PEM: -----BEGIN CERTIFICATE----- and so on";
                self.refuse(path, problem, remedy);
            }
            Err(problem) => self.warn(format!(
                "{path}: {}: {problem} (the daemon does not start without it)",
                file.display()
            )),
        }
        Some(file)
    }

    fn endpoint(&mut self) -> Option<String> {
        let path = "destination.s3.endpoint";
        let text = self.text(path)?;
        match address::http(&text) {
            Ok(address) => Some(address.url),
            Err(problem) => {
                let shown = if text.contains(['@', '?']) {
                    String::new()
                } else {
                    format!("{}: ", quote(&text))
                };
                self.refuse(
                    path,
                    format!("{shown}{problem}"),
                    "write https://host or http://host:port",
                );
                None
            }
        }
    }

    fn first_s3_key(&self) -> Option<String> {
        let names = [
            "endpoint",
            "region",
            "virtual_hosted_style",
            "ca_file",
            "access_key_id",
            "access_key_id_file",
            "secret_access_key",
            "secret_access_key_file",
        ];
        names
            .iter()
            .map(|name| format!("destination.s3.{name}"))
            .find(|path| self.is_given(path))
    }
}

/// How many certificates a file holds; 0 where something in it is none.
///
/// # Errors
/// With why it cannot be read now.
fn certificates(file: &Path) -> Result<usize, String> {
    let found = std::fs::metadata(file).map_err(|error| error.to_string())?;
    // A pipe has no length, and opening it would wait for its writer.
    if !found.is_file() || found.len() > CA_FILE_MAX_BYTES {
        return Err("it is no regular file of at most 4 MiB".to_owned());
    }
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    let all: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    Ok(all.map_or(0, |all| all.len()))
}
