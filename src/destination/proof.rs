//! The `files` proof: is every file that the manifests of a chain name there, with its size?

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use super::error::Error;
use super::manifest::{ManifestFile, ManifestHead, ManifestReader};
use super::store::Store;
use super::{MANIFEST, address};

/// How many missing files are named; all are counted.
const MISSING_NAMED_MAX: usize = 20;
/// Longest chain that is followed.
const CHAIN_MAX_BACKUPS: usize = 1_000;
/// Marks an object as named by the manifest; no object has 2^63 bytes.
const NAMED: u64 = 1 << 63;

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Its object is not there.
    Absent,
    /// Its object has another size.
    OtherSize,
    /// The manifest is cut off or none.
    Unreadable,
    /// It lies (partly) in the base, and the base's manifest has no file of that size and checksum.
    NotInBase,
    /// The base of that name is not the one that the increment was made on.
    OtherBase,
}

/// A file that is not there as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The backup in whose folder it belongs.
    pub backup: String,
    /// The object below that folder, or the file's name where no object was found for it.
    pub file: String,
    /// Bytes that it should have; `None` for a manifest.
    pub size_wanted: Option<u64>,
    /// Bytes that it has; `None` where it is not there.
    pub size_found: Option<u64>,
    /// What is wrong.
    pub problem: Problem,
}

/// What a manifest adds up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ManifestTotals {
    /// Files in it, as `num_files` of `system.backups`.
    pub files: u64,
    /// Bytes of all of them, the base's part included, as `total_size`.
    pub bytes: u64,
    /// Bytes that lie in its own folder, the manifest included, as `compressed_size`.
    /// Less than that with `data_file_name_generator = 'checksum'`: there ClickHouse counts the files of
    /// one content one by one, though they share an object.
    pub bytes_written: u64,
}

/// The result of a proof. It passed when `missing_count` is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proved {
    /// Objects of the whole chain that are there with their size, manifests included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are not there as they should be.
    pub missing_count: u64,
    /// The first 20 of them.
    pub missing: Vec<Missing>,
    /// The totals of the backup itself; zero where its manifest cannot be read.
    pub own: ManifestTotals,
}

impl Proved {
    fn found(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn miss(&mut self, missing: Missing) {
        self.missing_count += 1;
        if self.missing.len() < MISSING_NAMED_MAX {
            self.missing.push(missing);
        }
    }

    fn miss_manifest(&mut self, backup: &str, problem: Problem) {
        self.miss(Missing {
            backup: backup.to_owned(),
            file: MANIFEST.to_owned(),
            size_wanted: None,
            size_found: None,
            problem,
        });
    }
}

/// What an increment needs to know of its base.
struct Base {
    uuid: String,
    /// Size and checksum of each of its files, hashed.
    files: HashSet<u64>,
}

/// `chain[0]` is the backup, then its base, its base's base, and so on.
///
/// Bases are looked at first, and every backup of the chain whether one is built on it or not.
/// Where a base cannot be read, that is said once, and not again for each file in it.
///
/// Manifests are streamed; what grows is, for one backup at a time, 16 bytes for each object of its
/// folder and 8 for each file of it and of its base, in hash tables that are 8/7 to 16/7 as large.
/// Files are known by hashes of 64 bits: among 1,000,000 the chance that any two share one is 3 in
/// 100,000,000.
pub async fn prove(store: &Store, chain: &[String]) -> Result<Proved, Error> {
    if chain.is_empty() || chain.len() > CHAIN_MAX_BACKUPS {
        return Err(Error::Invalid {
            what: store.url().to_owned(),
            text: format!("a chain of {} backups cannot be proved", chain.len()),
        });
    }
    let mut proof = Proof {
        store,
        hasher: RandomState::new(),
        proved: Proved::default(),
    };
    let mut base = None;
    for (index, name) in chain.iter().enumerate().rev() {
        address::folder(name)?;
        let is_own = index == 0;
        let base_name = chain.get(index + 1).map(String::as_str);
        base = proof.backup(name, base_name, base, is_own).await?;
    }
    Ok(proof.proved)
}

struct Proof<'a> {
    store: &'a Store,
    hasher: RandomState,
    proved: Proved,
}

impl Proof<'_> {
    /// Gives what an increment on it needs, unless it is the last or its manifest cannot be read.
    async fn backup(
        &mut self,
        name: &str,
        base_name: Option<&str>,
        base: Option<Base>,
        is_own: bool,
    ) -> Result<Option<Base>, Error> {
        let key = format!("{name}/{MANIFEST}");
        let mut reader = match ManifestReader::open(self.store, &key).await {
            Err(error) if error.is_damage() => {
                self.proved.miss_manifest(name, manifest_problem(&error));
                return Ok(None);
            }
            other => other?,
        };
        let head = reader.head.clone();
        let base = self.base_of(&head, base_name, base);
        let mut objects = self.listing(name).await?;
        let mut files = HashSet::new();
        let mut totals = ManifestTotals {
            bytes_written: head.size_bytes,
            ..ManifestTotals::default()
        };
        self.proved.found(head.size_bytes);
        let is_readable = loop {
            let file = match reader.next().await {
                Ok(Some(file)) => file,
                Ok(None) => break true,
                Err(error) if error.is_damage() => {
                    self.proved.miss_manifest(name, manifest_problem(&error));
                    break false;
                }
                Err(error) => return Err(error),
            };
            totals.files += 1;
            // Sizes are what the manifest says, and it may say anything.
            totals.bytes = totals.bytes.saturating_add(file.size);
            let written = self.object(name, &file, &mut objects);
            totals.bytes_written = totals.bytes_written.saturating_add(written);
            // Without a base in the header, nothing can lie in one.
            let from = head.base.as_ref().map_or(Some(name), |_| base_name);
            let is_known = base.is_some() || head.base.is_none();
            if let (Some(from), true) = (from, is_known) {
                self.base_part(from, &file, base.as_ref());
            }
            if !is_own && file.size > 0 {
                files.insert(file.identity(&self.hasher));
            }
        };
        if is_own && is_readable {
            self.proved.own = totals;
        }
        Ok(is_readable.then_some(Base {
            uuid: head.uuid,
            files,
        }))
    }

    /// The base that the manifest means; says so where there is none or another.
    fn base_of(
        &mut self,
        head: &ManifestHead,
        base_name: Option<&str>,
        base: Option<Base>,
    ) -> Option<Base> {
        let wanted = head.base.as_ref()?;
        let Some(base_name) = base_name else {
            // The chain that was given ends before the chain does.
            let name = wanted.name.as_deref().unwrap_or(&wanted.text).to_owned();
            self.proved.miss_manifest(&name, Problem::Absent);
            return None;
        };
        let base = base?;
        match &wanted.uuid {
            Some(uuid) if *uuid != base.uuid => {
                self.proved.miss_manifest(base_name, Problem::OtherBase);
                None
            }
            _ => Some(base),
        }
    }

    /// Size of each object of a folder, by the hash of its key.
    async fn listing(&self, name: &str) -> Result<HashMap<u64, u64>, Error> {
        let mut objects = HashMap::new();
        self.store
            .walk(name, |entry| {
                let key = self.hasher.hash_one(entry.key.as_str());
                objects.insert(key, entry.size & !NAMED);
                true
            })
            .await?;
        Ok(objects)
    }

    /// Looks for the object that holds the file or its end.
    /// Gives the bytes that it adds to the folder: objects are named by several files of one content.
    fn object(
        &mut self,
        backup: &str,
        file: &ManifestFile,
        objects: &mut HashMap<u64, u64>,
    ) -> u64 {
        let Some((key, wanted)) = file.object() else {
            return 0;
        };
        let found = objects.get_mut(&self.hasher.hash_one(key));
        let size = found.as_deref().map(|size| size & !NAMED);
        if let Some(object) = found
            && size == Some(wanted)
        {
            if *object & NAMED != 0 {
                return 0;
            }
            *object |= NAMED;
            self.proved.found(wanted);
            return wanted;
        }
        self.proved.miss(Missing {
            backup: backup.to_owned(),
            file: key.to_owned(),
            size_wanted: Some(wanted),
            size_found: size,
            problem: match size {
                Some(_) => Problem::OtherSize,
                None => Problem::Absent,
            },
        });
        0
    }

    /// Looks for the part of the file that lies in the base, among the base's own files.
    fn base_part(&mut self, base_name: &str, file: &ManifestFile, base: Option<&Base>) {
        let Some(part) = file.base_identity(&self.hasher) else {
            return;
        };
        if !base.is_some_and(|base| base.files.contains(&part)) {
            self.proved.miss(Missing {
                backup: base_name.to_owned(),
                file: file.name.clone(),
                size_wanted: Some(file.base_size),
                size_found: None,
                problem: Problem::NotInBase,
            });
        }
    }
}

fn manifest_problem(error: &Error) -> Problem {
    match error {
        Error::NotFound { .. } => Problem::Absent,
        _ => Problem::Unreadable,
    }
}
