//! The S3 server of the tests with a listing that costs what is listed.
//!
//! `s3s-fs` walks the whole bucket for every page of every listing, whatever the prefix: with 400,000
//! objects a listing of one folder takes longer there than a night of ours should. Everything else,
//! signatures included, is that server's.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use s3s::dto::{
    CommonPrefix, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object, PutObjectInput,
    PutObjectOutput, Timestamp,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;

/// Names in one answer to a list, as Amazon has it.
const PAGE_NAMES_MAX: usize = 1_000;

/// The server.
pub struct Quick {
    files: FileSystem,
    root: PathBuf,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 'a>>;

impl Quick {
    /// Buckets are the folders of `root`.
    pub fn new(root: &Path) -> anyhow::Result<Self> {
        let files = FileSystem::new(root).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        Ok(Self {
            files,
            root: root.to_owned(),
        })
    }
}

/// What the trait's macro makes of `async fn`; the request goes on as it is.
macro_rules! passed_on {
    ($($verb:ident: $input:ty => $output:ty;)*) => {
        $(fn $verb<'life0, 'async_trait>(
            &'life0 self,
            request: S3Request<$input>,
        ) -> Answer<'async_trait, $output>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            self.files.$verb(request)
        })*
    };
}

impl S3 for Quick {
    passed_on! {
        get_object: GetObjectInput => GetObjectOutput;
        head_object: HeadObjectInput => HeadObjectOutput;
        head_bucket: HeadBucketInput => HeadBucketOutput;
        put_object: PutObjectInput => PutObjectOutput;
        delete_object: DeleteObjectInput => DeleteObjectOutput;
        delete_objects: DeleteObjectsInput => DeleteObjectsOutput;
    }

    fn list_objects_v2<'life0, 'async_trait>(
        &'life0 self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Answer<'async_trait, ListObjectsV2Output>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let input = request.input;
        let bucket = self.root.join(&input.bucket);
        Box::pin(async move {
            let walked = tokio::task::spawn_blocking(move || page(&bucket, input)).await;
            let page = walked.map_err(io::Error::other).flatten();
            page.map(S3Response::new)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => S3Error::new(S3ErrorCode::NoSuchBucket),
                    _ => S3Error::with_message(S3ErrorCode::InternalError, error.to_string()),
                })
        })
    }
}

/// A name of a listing.
enum Name {
    Object(PathBuf),
    /// Everything below it, which a delimiter makes one name.
    Folder,
}

fn page(bucket: &Path, input: ListObjectsV2Input) -> io::Result<ListObjectsV2Output> {
    std::fs::metadata(bucket)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut names = Vec::new();
    collect(
        bucket,
        folder,
        &prefix,
        input.delimiter.is_some(),
        &mut names,
    )?;
    let after = input.continuation_token.as_deref();
    let after = after.max(input.start_after.as_deref()).unwrap_or_default();
    names.retain(|(key, _)| key.as_str() > after);
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    let asked = input.max_keys.and_then(|keys| usize::try_from(keys).ok());
    let most = asked.map_or(PAGE_NAMES_MAX, |keys| keys.min(PAGE_NAMES_MAX));
    let is_truncated = names.len() > most;
    names.truncate(most);
    let last = names.last().map(|(key, _)| key.clone());
    let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
    for (key, name) in names {
        match name {
            Name::Object(path) => match object(key, &path) {
                // It was deleted after its folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                object => contents.push(object?),
            },
            Name::Folder => prefixes.push(CommonPrefix { prefix: Some(key) }),
        }
    }
    Ok(ListObjectsV2Output {
        key_count: i32::try_from(contents.len() + prefixes.len()).ok(),
        is_truncated: Some(is_truncated),
        next_continuation_token: last.filter(|_| is_truncated),
        contents: Some(contents),
        common_prefixes: Some(prefixes),
        name: Some(input.bucket),
        prefix: input.prefix,
        delimiter: input.delimiter,
        ..ListObjectsV2Output::default()
    })
}

/// Names below `folder` that begin with `prefix`. A folder without a file below it is none: a store
/// has no folders, and a delete leaves them behind here.
fn collect(
    bucket: &Path,
    folder: &str,
    prefix: &str,
    is_flat: bool,
    names: &mut Vec<(String, Name)>,
) -> io::Result<()> {
    let entries = match std::fs::read_dir(bucket.join(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let key = match folder {
            "" => name.into_owned(),
            folder => format!("{folder}/{name}"),
        };
        if !key.starts_with(prefix) {
            continue;
        }
        match (entry.file_type()?.is_dir(), is_flat) {
            (false, _) => names.push((key, Name::Object(entry.path()))),
            (true, true) if has_file(&entry.path())? => {
                names.push((format!("{key}/"), Name::Folder));
            }
            (true, true) => {}
            (true, false) => collect(bucket, &key, prefix, is_flat, names)?,
        }
    }
    Ok(())
}

fn has_file(folder: &Path) -> io::Result<bool> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            return Ok(true);
        }
        folders.push(entry.path());
    }
    for folder in folders {
        if has_file(&folder)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn object(key: String, path: &Path) -> io::Result<Object> {
    let found = std::fs::metadata(path)?;
    Ok(Object {
        key: Some(key),
        size: i64::try_from(found.len()).ok(),
        last_modified: Some(Timestamp::from(found.modified()?)),
        ..Object::default()
    })
}
