//! Where backups go: the place as ClickHouse names it, and our own view of the same place.
//!
//! Below the prefix lie `<name>/.backup` (the manifest, written last), `<name>/.lock` (while ClickHouse
//! writes), `<name>/data/…` and `<name>/metadata/…`; our own files lie in `.clickhouse-backupd/`.
//! A name such as `x.tar` or `x.zip` makes ClickHouse write one archive file instead of a folder; those
//! are not seen here.

mod address;
mod clear;
mod error;
mod local;
mod manifest;
mod proof;
mod s3;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;

use crate::backup::Place;
use crate::secret::SecretSource;

pub use address::OWN_FOLDER;
pub use clear::Cleared;
pub use error::{Error, SetupError};
pub use manifest::{BaseRef, ManifestFile, ManifestHead, ManifestReader};
pub use proof::{ManifestTotals, Missing, Problem, Proved};

use store::Store;

/// Largest file of ours that is read, in bytes.
pub const OWN_FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The manifest of a backup: there once the backup is complete.
const MANIFEST: &str = ".backup";
/// There while ClickHouse writes, and after a crash of it.
const LOCK: &str = ".lock";
/// Largest lock that is read, in bytes: it holds a UUID.
const LOCK_MAX_BYTES: u64 = 64 * 1024;
/// What [`Destination::writable`] writes and deletes.
const PROBE: &str = "probe";

/// The configured destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What the `BACKUP` statement points at.
    pub place: Place,
    /// Our own way to the same place, if one is configured.
    pub view: Option<ViewSettings>,
}

/// How we reach the destination ourselves.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewSettings {
    /// `s3://bucket/prefix` or `file:///path`.
    pub url: String,
    /// `s3.endpoint`: another S3 server than Amazon's.
    pub s3_endpoint: Option<String>,
    /// `s3.region`.
    pub s3_region: Option<String>,
    /// `s3.virtual_hosted_style`: the bucket is part of the host name, not of the path.
    pub s3_virtual_hosted_style: bool,
    /// `s3.ca_file`: certificates (PEM) that are trusted beside the system's.
    pub s3_ca_file: Option<std::path::PathBuf>,
    /// `s3.access_key_id` or `s3.access_key_id_file`; neither means the usual provider chain.
    pub s3_access_key_id: Option<SecretSource>,
    /// `s3.secret_access_key` or `s3.secret_access_key_file`.
    pub s3_secret_access_key: Option<SecretSource>,
}

/// Our own view of the destination. Clones share it; it prints no secret.
#[derive(Clone)]
pub struct Destination {
    store: Store,
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Destination").field(&self.url()).finish()
    }
}

/// A file of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// Its name in our folder.
    pub name: String,
    /// When it was written.
    pub modified: Timestamp,
}

/// What lies in a backup's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FolderSummary {
    /// All objects, lock and manifest included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the newest was written.
    pub newest: Option<Timestamp>,
    /// Whether ClickHouse writes, or was stopped while it did.
    pub has_lock: bool,
    /// Whether it was completed.
    pub has_manifest: bool,
}

impl Destination {
    /// Makes the view; nothing is asked yet.
    ///
    /// # Errors
    /// When the settings describe no place: a bad URL or endpoint, an unreadable CA or key file.
    pub fn open(settings: &ViewSettings) -> Result<Self, SetupError> {
        Self::open_with(settings, &s3::Patience::default())
    }

    fn open_with(settings: &ViewSettings, patience: &s3::Patience) -> Result<Self, SetupError> {
        Store::open(settings, patience).map(|store| Self { store })
    }

    /// The URL as configured, for messages.
    #[must_use]
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// The folders right below the prefix without our own: every backup, and whatever else is a folder.
    /// One listing with a delimiter, 1,000 names a request.
    ///
    /// # Errors
    /// When the place cannot be listed, or a bucket or a root is not there. A prefix that is not there
    /// in a bucket has no folders.
    pub async fn folders(&self) -> Result<BTreeSet<String>, Error> {
        let mut folders = self.store.folders().await?;
        folders.remove(OWN_FOLDER);
        Ok(folders)
    }

    /// Our own files. One listing.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn own_files(&self) -> Result<Vec<OwnFile>, Error> {
        let mut files = Vec::new();
        self.store
            .walk(OWN_FOLDER, |entry| {
                let is_ours = !entry.key.is_empty() && !entry.key.contains('/');
                if is_ours && entry.key != PROBE {
                    files.push(OwnFile {
                        name: entry.key,
                        modified: entry.modified,
                    });
                }
                true
            })
            .await?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// A file of ours; `None` where it is not there.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than [`OWN_FILE_MAX_BYTES`].
    pub async fn read_own(&self, file: &str) -> Result<Option<Bytes>, Error> {
        let key = own_key(file)?;
        let got = self.store.get(&key, None, None, OWN_FILE_MAX_BYTES).await?;
        Ok(got.map(|got| got.bytes))
    }

    /// Writes a file of ours, as a whole: readers see the old or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn write_own(&self, file: &str, body: Bytes) -> Result<(), Error> {
        self.store.put(&own_key(file)?, body).await
    }

    /// Deletes a file of ours; one that is not there is fine.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub async fn delete_own(&self, file: &str) -> Result<(), Error> {
        self.store.delete(&own_key(file)?).await
    }

    /// What the manifest of a backup says about itself, from its first bytes; `None` where there is no
    /// manifest. One request.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no manifest; others when it could not be read.
    pub async fn head(&self, folder: &str) -> Result<Option<ManifestHead>, Error> {
        manifest::read_head(&self.store, &key(folder, MANIFEST)?).await
    }

    /// When the lock of a folder was written; `None` where there is none.
    ///
    /// # Errors
    /// When it could not be looked for.
    pub async fn lock(&self, folder: &str) -> Result<Option<Timestamp>, Error> {
        // A GET, because the answer to a HEAD cannot say that the bucket is what is missing.
        let key = key(folder, LOCK)?;
        let got = self.store.get(&key, None, None, LOCK_MAX_BYTES).await?;
        Ok(got.map(|got| got.modified))
    }

    /// Removes the lock of a folder; none is fine.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove_lock(&self, folder: &str) -> Result<(), Error> {
        self.is_a_folder_of_its_own(folder)?;
        self.store.delete(&key(folder, LOCK)?).await
    }

    /// Removes the manifest of a backup, which ends it as a backup; none is fine.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove_manifest(&self, folder: &str) -> Result<(), Error> {
        self.is_a_folder_of_its_own(folder)?;
        self.store.delete(&key(folder, MANIFEST)?).await
    }

    /// What lies in a folder. One full listing of it; a folder that is not there has nothing in it.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn summary(&self, folder: &str) -> Result<FolderSummary, Error> {
        let mut summary = FolderSummary::default();
        self.store
            .walk(address::folder(folder)?, |entry| {
                summary.objects += 1;
                summary.bytes = summary.bytes.saturating_add(entry.size);
                summary.newest = summary.newest.max(Some(entry.modified));
                summary.has_lock |= entry.key == LOCK;
                summary.has_manifest |= entry.key == MANIFEST;
                true
            })
            .await?;
        Ok(summary)
    }

    /// All of a manifest, file by file, in constant memory.
    ///
    /// # Errors
    /// [`Error::NotFound`] without a manifest, [`Error::Invalid`] when it is none, others when it could
    /// not be read.
    pub async fn manifest(&self, folder: &str) -> Result<ManifestReader, Error> {
        ManifestReader::open(&self.store, &key(folder, MANIFEST)?).await
    }

    /// The `files` proof of a chain: `chain[0]` is the backup, then its base, its base's base, …
    /// Every file that the manifests name must be there with its size, and what an increment takes
    /// from its base must be in the base's manifest. Contents are not read.
    /// Damage is a result; memory is 16 to 40 bytes for each file of one backup and its base.
    ///
    /// # Errors
    /// Only where we could not look.
    pub async fn prove(&self, chain: &[String]) -> Result<Proved, Error> {
        proof::prove(&self.store, chain).await
    }

    /// Deletes all that is left of a backup whose manifest was removed, until a listing shows nothing.
    /// A manifest or a lock there stops it, before anything of that listing is deleted.
    /// Locally the emptied folders go, too. `keep_going` is asked before each bulk delete.
    ///
    /// # Errors
    /// When it cannot be listed or objects cannot be deleted; what went until then is gone.
    pub async fn clear(
        &self,
        folder: &str,
        keep_going: impl Fn() -> bool,
    ) -> Result<Cleared, Error> {
        let folder = address::folder(folder)?;
        self.is_a_folder_of_its_own(folder)?;
        clear::clear(&self.store, folder, keep_going).await
    }

    /// Nothing is deleted through a link: what it leads to is not ours.
    fn is_a_folder_of_its_own(&self, folder: &str) -> Result<(), Error> {
        if self.store.is_link(folder) {
            return Err(Error::Invalid {
                what: self.store.shown(folder),
                text: "it is a link to somewhere else, where nothing is deleted; remove it by hand"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// Whether we may write and delete here: writes a file of ours, reads it back and deletes it.
    ///
    /// # Errors
    /// With what was refused.
    pub async fn writable(&self) -> Result<(), Error> {
        let body = Bytes::from_static(b"written by clickhouse-backupd to see whether it may write");
        self.write_own(PROBE, body.clone()).await?;
        let found = self.read_own(PROBE).await?;
        self.delete_own(PROBE).await?;
        if found.as_ref() == Some(&body) {
            return Ok(());
        }
        Err(Error::Unavailable {
            doing: format!("writing below {}", self.url()),
            text: "what was written was not there to be read".to_owned(),
        })
    }
}

fn own_key(file: &str) -> Result<String, Error> {
    address::part(file).map(|file| format!("{OWN_FOLDER}/{file}"))
}

fn key(folder: &str, file: &str) -> Result<String, Error> {
    address::folder(folder).map(|folder| format!("{folder}/{file}"))
}
