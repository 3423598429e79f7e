//! `[destination]`: the place, and our own view of it.

use super::Check;
use crate::backup::Place;
use crate::config::address;
use crate::config::error::quote;
use crate::destination::{Settings, ViewSettings};

const ACCESS_KEY: &str = "destination.s3.access_key_id";
const SECRET_KEY: &str = "destination.s3.secret_access_key";

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
            s3_virtual_hosted_style: false,
            s3_ca_file: None,
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
