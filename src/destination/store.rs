//! The object store below the prefix: few verbs, our errors, one more try when a key was rotated.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use object_store::aws::AmazonS3;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutPayload};

use super::ViewSettings;
use super::address::Address;
use super::error::{Error, SetupError, is_denied};
use super::local;
use super::s3::{self, Patience};

/// Keys that one bulk delete takes: the limit of S3's `DeleteObjects`.
pub const DELETE_REQUEST_KEYS_MAX: usize = 1_000;
/// Entries of a local folder that are handed over at once.
const WALK_BATCH_ENTRIES: usize = 1_000;

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Below the folder that was listed; empty for an object named as the folder with a slash at
    /// its end, as web consoles make.
    pub key: String,
    /// In bytes.
    pub size: u64,
    /// Last-Modified, or the time of the file.
    pub modified: Timestamp,
}

/// An object, or a part of one.
#[derive(Debug)]
pub struct Got {
    /// What was asked for, shorter at the end of the object.
    pub bytes: Bytes,
    /// Size of the whole object in bytes.
    pub size: u64,
    /// Its Last-Modified.
    pub modified: Timestamp,
    /// What its content is known by.
    pub etag: Option<String>,
}

/// What came of a bulk delete.
#[derive(Debug, Default)]
pub struct Deleted {
    /// Objects that are gone now.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why the first of the others is not.
    pub failed: Option<Error>,
}

/// The place; clones share its connections.
#[derive(Clone)]
pub struct Store {
    url: Arc<str>,
    /// Without slashes at its ends.
    prefix: Arc<str>,
    objects: Arc<dyn ObjectStore>,
    /// The root, where the place is a folder.
    root: Option<Arc<PathBuf>>,
    rereads_keys: bool,
}

impl Store {
    pub fn open(settings: &ViewSettings, patience: &Patience) -> Result<Self, SetupError> {
        let url: Arc<str> = settings.url.trim_end_matches('/').into();
        match Address::parse(&settings.url)? {
            Address::S3 { bucket, prefix } => {
                let (client, rereads_keys) = s3::client(settings, &bucket, patience)?;
                let objects: Arc<AmazonS3> = Arc::new(client);
                Ok(Self {
                    url,
                    prefix: prefix.into(),
                    objects,
                    root: None,
                    rereads_keys,
                })
            }
            Address::Folder(root) => Ok(Self {
                url,
                prefix: root.to_string_lossy().trim_matches('/').into(),
                // From the root of the file system, so that a volume may be mounted later.
                objects: Arc::new(LocalFileSystem::new()),
                root: Some(Arc::new(root)),
                rereads_keys: false,
            }),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A key as a URL, for messages.
    pub fn shown(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    /// The library's path takes what is here as it is; `Path::from` would encode a `%` again.
    fn path(&self, key: &str) -> Result<Path, Error> {
        let full = if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.prefix)
        };
        Path::parse(full).map_err(|error| Error::Invalid {
            what: self.shown(key),
            text: error.to_string(),
        })
    }

    /// `None`: it is not there, and the place is.
    /// `range` may reach beyond the end. `etag` makes another content an error.
    pub async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        etag: Option<String>,
        size_max: u64,
    ) -> Result<Option<Got>, Error> {
        let path = &self.path(key)?;
        let is_part = range.is_some();
        let options = GetOptions::new().with_range(range).with_if_match(etag);
        let answer = match self
            .twice(|| self.got(path, options.clone(), size_max))
            .await
        {
            // A range of an empty object cannot be satisfied.
            Err(error) if is_part && is_about_range(&error) && self.is_empty(path).await => {
                self.got(path, GetOptions::new(), size_max).await
            }
            other => other,
        };
        match answer {
            Ok(Some(got)) => Ok(Some(got)),
            Ok(None) => Err(Error::Invalid {
                what: self.shown(key),
                text: format!("it is larger than {size_max} bytes"),
            }),
            Err(error) => match self.explained("reading", key, &error) {
                Error::NotFound { .. } => self.root_is_there().await.map(|()| None),
                other => Err(other),
            },
        }
    }

    /// `None`: larger than `size_max`, and not read.
    async fn got(
        &self,
        path: &Path,
        options: GetOptions,
        size_max: u64,
    ) -> object_store::Result<Option<Got>> {
        let answer = self.objects.get_opts(path, options).await?;
        if answer.range.end - answer.range.start > size_max {
            return Ok(None);
        }
        let (size, etag) = (answer.meta.size, answer.meta.e_tag.clone());
        let modified = time(&answer.meta)?;
        Ok(Some(Got {
            bytes: answer.bytes().await?,
            size,
            modified,
            etag,
        }))
    }

    async fn is_empty(&self, path: &Path) -> bool {
        let found = self.objects.head(path).await;
        found.is_ok_and(|meta| meta.size == 0)
    }

    pub async fn put(&self, key: &str, body: Bytes) -> Result<(), Error> {
        // Writing would make the root, and what is mounted there later would hide it.
        self.root_is_there().await?;
        let path = &self.path(key)?;
        let put = || self.objects.put(path, PutPayload::from(body.clone()));
        match self.twice(put).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explained("writing", key, &error)),
        }
    }

    /// What is not there is deleted.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let path = &self.path(key)?;
        match self.twice(|| self.objects.delete(path)).await {
            Ok(()) => Ok(()),
            Err(error) => match self.explained("deleting", key, &error) {
                Error::NotFound { .. } => self.root_is_there().await,
                other => Err(other),
            },
        }
    }

    /// One bulk delete of at most [`DELETE_REQUEST_KEYS_MAX`] objects below `folder`.
    pub async fn delete_many(&self, folder: &str, entries: &[Entry]) -> Result<Deleted, Error> {
        let mut waiting = std::collections::HashMap::new();
        for entry in entries {
            let path = self.path(&format!("{folder}/{}", entry.key))?;
            waiting.insert(path, entry.size);
        }
        let mut done = Deleted::default();
        let mut tries = if self.rereads_keys { 2 } else { 1 };
        while tries > 0 && !waiting.is_empty() {
            tries -= 1;
            done.failed = None;
            let paths: Vec<_> = waiting.keys().cloned().map(Ok).collect();
            let mut answers = self
                .objects
                .delete_stream(futures_util::stream::iter(paths).boxed());
            let mut first_error = None;
            while let Some(answer) = answers.next().await {
                let gone = match answer {
                    Ok(path) => Some(path),
                    // Locally the path is one of the file system, from its root.
                    Err(object_store::Error::NotFound { path, source })
                        if !source.to_string().contains("NoSuchBucket") =>
                    {
                        Path::parse(path).ok()
                    }
                    Err(error) => {
                        first_error.get_or_insert(error);
                        None
                    }
                };
                if let Some(size) = gone.and_then(|path| waiting.remove(&path)) {
                    done.objects += 1;
                    done.bytes = done.bytes.saturating_add(size);
                }
            }
            let Some(error) = first_error else { break };
            if !is_denied(&error) {
                tries = 0;
            }
            done.failed = Some(self.explained("deleting objects of", folder, &error));
        }
        Ok(done)
    }

    /// Calls `each` with every object below `folder` in any order, until it says no.
    pub async fn walk(&self, folder: &str, each: impl FnMut(Entry) -> bool) -> Result<(), Error> {
        match &self.root {
            Some(root) => self.walk_folder(root.join(folder), folder, each).await,
            None => self.walk_objects(folder, each).await,
        }
    }

    async fn walk_objects(
        &self,
        folder: &str,
        mut each: impl FnMut(Entry) -> bool,
    ) -> Result<(), Error> {
        let path = self.path(folder)?;
        let above = format!("{path}/");
        let mut listing = self.objects.list(Some(&path));
        let mut is_first = true;
        loop {
            let meta = match listing.try_next().await {
                Err(error) if is_first && self.rereads_keys && is_denied(&error) => {
                    is_first = false;
                    listing = self.objects.list(Some(&path));
                    continue;
                }
                Err(error) => return Err(self.unlisted(folder, &error)),
                Ok(None) => return Ok(()),
                Ok(Some(meta)) => meta,
            };
            is_first = false;
            let key = match meta.location.as_ref().strip_prefix(&above) {
                Some(key) => key.to_owned(),
                None if meta.location == path => String::new(),
                None => {
                    return Err(Error::Unavailable {
                        doing: format!("listing {}", self.shown(folder)),
                        text: format!("the answer names {}, which is elsewhere", meta.location),
                    });
                }
            };
            let modified = time(&meta).map_err(|error| self.unlisted(folder, &error))?;
            let wants_more = each(Entry {
                key,
                size: meta.size,
                modified,
            });
            if !wants_more {
                return Ok(());
            }
        }
    }

    async fn walk_folder(
        &self,
        path: PathBuf,
        folder: &str,
        mut each: impl FnMut(Entry) -> bool,
    ) -> Result<(), Error> {
        self.root_is_there().await?;
        let (batches, mut arriving) = tokio::sync::mpsc::channel(4);
        let walking = tokio::task::spawn_blocking(move || {
            let mut batch = Vec::new();
            local::walk(&path, |entry| {
                batch.push(entry);
                batch.len() < WALK_BATCH_ENTRIES
                    || batches.blocking_send(std::mem::take(&mut batch)).is_ok()
            })?;
            // Nobody listens any more where this fails.
            batches.blocking_send(batch).ok();
            Ok(())
        });
        'arriving: while let Some(batch) = arriving.recv().await {
            for entry in batch {
                if !each(entry) {
                    break 'arriving;
                }
            }
        }
        drop(arriving);
        let ended = walking.await.map_err(std::io::Error::other);
        ended
            .flatten()
            .map_err(|error| self.local("listing", folder, &error))
    }

    /// The folders right below the prefix.
    pub async fn folders(&self) -> Result<BTreeSet<String>, Error> {
        if let Some(root) = &self.root {
            self.root_is_there().await?;
            let root = root.clone();
            let found = tokio::task::spawn_blocking(move || local::folders(&root)).await;
            let found = found.map_err(std::io::Error::other).flatten();
            let names = found.map_err(|error| self.local("listing", "", &error))?;
            return Ok(names.into_iter().collect());
        }
        let path = &self.path("")?;
        let above = if path.is_root() {
            String::new()
        } else {
            format!("{path}/")
        };
        let list = || self.objects.list_with_delimiter(Some(path));
        let found = self.twice(list).await;
        let found = found.map_err(|error| self.unlisted("", &error))?;
        let names = found.common_prefixes.iter();
        Ok(names
            .filter_map(|path| path.as_ref().strip_prefix(&above))
            .map(str::to_owned)
            .collect())
    }

    /// Locally, removes the folders at and below `folder` that hold nothing.
    pub async fn remove_empty_folders(&self, folder: &str) -> Result<(), Error> {
        let Some(root) = &self.root else {
            return Ok(());
        };
        let path = root.join(folder);
        let done = tokio::task::spawn_blocking(move || local::remove_empty_folders(&path)).await;
        let done = done.map_err(std::io::Error::other).flatten();
        done.map_err(|error| self.local("removing the empty folders of", folder, &error))
    }

    /// Whether `folder` is a link to somewhere else.
    pub fn is_link(&self, folder: &str) -> bool {
        self.root.as_ref().is_some_and(|root| {
            std::fs::symlink_metadata(root.join(folder)).is_ok_and(|found| found.is_symlink())
        })
    }

    /// A root that is not there is a volume that is not mounted, not an empty place.
    async fn root_is_there(&self) -> Result<(), Error> {
        let Some(root) = &self.root else {
            return Ok(());
        };
        let unavailable = |text: String| Error::Unavailable {
            doing: format!("looking at {}", self.url),
            text,
        };
        match tokio::fs::metadata(root.as_ref()).await {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(unavailable("it is no folder".to_owned())),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }

    /// Acts; once more where the store refused keys that may have been changed meanwhile.
    async fn twice<T, F>(&self, act: impl Fn() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        match act().await {
            Err(error) if self.rereads_keys && is_denied(&error) => act().await,
            other => other,
        }
    }

    fn explained(&self, verb: &str, key: &str, error: &object_store::Error) -> Error {
        let what = self.shown(key);
        Error::of_store(format!("{verb} {what}"), what, error)
    }

    /// A list that fails says nothing about what is there, whatever it says.
    fn unlisted(&self, folder: &str, error: &object_store::Error) -> Error {
        match self.explained("listing", folder, error) {
            Error::NotFound { what } => Error::Unavailable {
                doing: format!("listing {what}"),
                text: super::error::shown(error),
            },
            other => other,
        }
    }

    fn local(&self, verb: &str, folder: &str, error: &std::io::Error) -> Error {
        let doing = format!("{verb} {}", self.shown(folder));
        let text = error.to_string();
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => Error::Denied { doing, text },
            _ => Error::Unavailable { doing, text },
        }
    }
}

/// Whether the store may have refused the range that was asked for.
fn is_about_range(error: &object_store::Error) -> bool {
    let text = error.to_string();
    text.contains("status code: 416") || text.contains("range")
}

fn time(meta: &ObjectMeta) -> object_store::Result<Timestamp> {
    let at = meta.last_modified;
    let nanoseconds = i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp::new(at.timestamp(), nanoseconds).map_err(|error| object_store::Error::Generic {
        store: "time",
        source: Box::new(error),
    })
}
