//! What is measured.

use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use clickhouse_backupd::destination::{Destination, ViewSettings};
use futures_util::StreamExt as _;
use object_store::ObjectStore as _;
use object_store::aws::AmazonS3;
use object_store::path::Path as Key;
use tokio::time::Instant;

use crate::Arguments;
use crate::machine::{Peak, Rounds};
use crate::many;
use crate::requests::Counts;
use crate::servers::{Server, name, size};

/// Objects of a folder that is cleared.
const FOLDER_OBJECTS: u64 = 200;

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Reading a huge manifest from a folder, file by file.
    Manifest,
    /// Proving it against a listing of as many objects.
    Prove,
    /// Clearing many folders, beside bare bulk deletes.
    Clear,
    /// A start without memory before many backups; [`Measure::Retention`] begins with it.
    Rebuild,
    /// Removing many of many backups by policy.
    Retention,
}

/// A line of the table.
pub type Row = [String; 5];

impl Measure {
    /// Those that are asked for; none means all.
    pub fn of(only: &[Self]) -> Vec<Self> {
        let all = [Self::Manifest, Self::Prove, Self::Clear, Self::Retention];
        match only {
            [] => all.to_vec(),
            only => only.to_vec(),
        }
    }

    pub async fn run(self, arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        match self {
            Self::Manifest => manifest(arguments, dir.path()).await,
            Self::Prove => prove(arguments, dir.path()).await,
            Self::Clear => clear(arguments, dir.path()).await,
            Self::Rebuild => many::rebuild(arguments, dir.path()).await,
            Self::Retention => many::retention(arguments, dir.path()).await,
        }
    }
}

/// Writes a manifest of so many files; gives its size in bytes.
fn write_manifest(path: &Path, files: u64) -> anyhow::Result<u64> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    write!(
        file,
        "<config><version>1</version><deduplicate_files>1</deduplicate_files><timestamp>2026-11-22 00:00:00</timestamp><uuid>19065681-0b44-4658-850a-388374942e25</uuid><backup_id>one</backup_id><contents>"
    )?;
    for number in 0..files {
        let (name, size) = (name(number), size(number));
        write!(
            file,
            "<file><name>{name}</name><size>{size}</size><checksum>{number:032x}</checksum></file>"
        )?;
    }
    write!(file, "</contents></config>")?;
    file.flush()?;
    Ok(std::fs::metadata(path)?.len())
}

async fn manifest(arguments: &Arguments, dir: &Path) -> anyhow::Result<Vec<Row>> {
    std::fs::create_dir(dir.join("one"))?;
    let path = dir.join("one/.backup");
    let bytes = write_manifest(&path, arguments.files)?;
    let view = Destination::open(&ViewSettings {
        url: format!("file://{}", dir.display()),
        s3_endpoint: None,
        s3_region: None,
        s3_virtual_hosted_style: false,
        s3_ca_file: None,
        s3_access_key_id: None,
        s3_secret_access_key: None,
    })?;
    let (mut ours, mut raw) = (Rounds::default(), Rounds::default());
    for _ in 0..arguments.rounds {
        let (peak, began) = (Peak::begin()?, Instant::now());
        let mut file = std::fs::File::open(&path)?;
        let mut piece = vec![0; 8 * 1024 * 1024];
        while file.read(&mut piece)? > 0 {}
        raw.add(began.elapsed(), &peak)?;
        let (peak, began) = (Peak::begin()?, Instant::now());
        let mut reader = view.manifest("one").await?;
        let mut files = 0;
        while reader.next().await?.is_some() {
            files += 1;
        }
        ours.add(began.elapsed(), &peak)?;
        ensure!(files == arguments.files, "{files} files were read");
    }
    let measure = format!(
        "manifest of {} files, {} MB",
        arguments.files,
        bytes / 1_000_000
    );
    let raw = format!("reading its bytes: {}", raw.time());
    Ok(vec![[
        measure,
        ours.time(),
        raw,
        ours.memory(),
        String::new(),
    ]])
}

async fn prove(arguments: &Arguments, dir: &Path) -> anyhow::Result<Vec<Row>> {
    let path = dir.join("manifest");
    write_manifest(&path, arguments.files)?;
    let server = Server::made_up(&path, arguments.files).await?;
    let view = server.view()?;
    let (mut ours, mut listed) = (Rounds::default(), Rounds::default());
    let (mut requests, mut list_requests) = (Counts::default(), Counts::default());
    for _ in 0..arguments.rounds {
        let (peak, began) = (Peak::begin()?, Instant::now());
        let summary = view.summary("one").await?;
        listed.add(began.elapsed(), &peak)?;
        ensure!(summary.objects == arguments.files, "{summary:?}");
        list_requests = server.asked();
        let (peak, began) = (Peak::begin()?, Instant::now());
        let proved = view.prove(&["one".to_owned()]).await?;
        ours.add(began.elapsed(), &peak)?;
        requests = server.asked();
        let is_whole = proved.missing_count == 0 && proved.files == arguments.files + 1;
        ensure!(is_whole, "{proved:?}");
    }
    let raw = format!(
        "the listing alone: {}, {}, requests {list_requests}",
        listed.time(),
        listed.memory()
    );
    let measure = format!(
        "files proof of {0} files against {0} objects",
        arguments.files
    );
    Ok(vec![[
        measure,
        ours.time(),
        raw,
        ours.memory(),
        requests.to_string(),
    ]])
}

async fn clear(arguments: &Arguments, dir: &Path) -> anyhow::Result<Vec<Row>> {
    let bucket = dir.join("bucket");
    let server = Server::real(dir).await?;
    let view = server.view()?;
    let bare = server.bare()?;
    let (mut ours, mut raw) = (Rounds::default(), Rounds::default());
    let (mut requests, mut raw_requests) = (Counts::default(), Counts::default());
    for _ in 0..arguments.rounds {
        fill(&bucket, arguments.folders)?;
        server.asked();
        let (peak, began) = (Peak::begin()?, Instant::now());
        for folder in 0..arguments.folders {
            let keys = (0..FOLDER_OBJECTS).map(|number| format!("b{folder}/{}", name(number)));
            delete(&bare, keys).await?;
        }
        raw.add(began.elapsed(), &peak)?;
        raw_requests = server.asked();
        fill(&bucket, arguments.folders)?;
        let (peak, began) = (Peak::begin()?, Instant::now());
        for folder in 0..arguments.folders {
            let cleared = view.clear(&format!("b{folder}"), || true).await?;
            ensure!(cleared.objects == FOLDER_OBJECTS, "{cleared:?}");
        }
        ours.add(began.elapsed(), &peak)?;
        requests = server.asked();
    }
    let measure = format!(
        "clearing {} folders of {FOLDER_OBJECTS} objects",
        arguments.folders
    );
    let raw = format!(
        "bulk deletes of known keys: {}, requests {raw_requests}",
        raw.time()
    );
    Ok(vec![[
        measure,
        ours.time(),
        raw,
        ours.memory(),
        requests.to_string(),
    ]])
}

/// Bare bulk deletes.
pub async fn delete(bare: &AmazonS3, keys: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let keys: Vec<_> = keys.map(Key::parse).collect::<Result<_, _>>()?;
    let keys = futures_util::stream::iter(keys.into_iter().map(Ok)).boxed();
    let mut deleted = bare.delete_stream(keys);
    while let Some(one) = deleted.next().await {
        one?;
    }
    Ok(())
}

fn fill(bucket: &Path, folders: u64) -> anyhow::Result<()> {
    for folder in 0..folders {
        for number in 0..FOLDER_OBJECTS {
            let path = bucket.join(format!("b{folder}")).join(name(number));
            let parent = path.parent().context("a file has a folder")?;
            std::fs::create_dir_all(parent)?;
            std::fs::write(path, "x")?;
        }
    }
    Ok(())
}
