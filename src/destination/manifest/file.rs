//! One `file` of a manifest: what it is called, and where its bytes lie.

use std::hash::BuildHasher;

use super::{Flaw, shown, strange};

/// A file of the backup.
///
/// Where its bytes lie (seen on engine 26.9, local disk and `s3_plain`):
/// - the first `base_size` bytes are in the base, as the file there that has this size and checksum;
///   that one may lie in its own base in turn;
/// - the other `size - base_size` bytes are an object of this folder, called `data_file` where that is
///   given and `name` otherwise, and nothing else is in that object;
/// - a file of no bytes needs no object: there is none, or an empty one with `deduplicate_files = 0`.
///
/// `data_file` is given for the second and further files of the same content (it names the first), and
/// for all files with `data_file_name_generator = 'checksum'` (`6d8/e723cdfb…`).
/// Files of an encrypted disk are stored as they lie there, and `size` is that size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its name in the backup: `data/shop/orders/all_1_1_0/data.bin`, odd characters as `%XX`.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Checksum of its content; 0 for a file of no bytes.
    pub checksum: u128,
    /// The object that holds it, where that is not `name`.
    pub data_file: Option<String>,
    /// How many of its bytes lie in the base.
    pub base_size: u64,
    /// Checksum of that part; 0 where there is none.
    pub base_checksum: u128,
    /// Stored as it lies on an encrypted disk.
    pub is_encrypted_by_disk: bool,
}

impl ManifestFile {
    /// The object of this folder that holds it or its end, with that object's size in bytes.
    #[must_use]
    pub fn object(&self) -> Option<(&str, u64)> {
        let stored = self.size - self.base_size;
        let key = self.data_file.as_deref().unwrap_or(&self.name);
        (stored > 0).then_some((key, stored))
    }

    /// What a base must have for this file, as [`ManifestFile::identity`] gives it.
    #[must_use]
    pub fn base_identity(&self, hasher: &impl BuildHasher) -> Option<u64> {
        let part = (self.base_size, self.base_checksum);
        (self.base_size > 0).then(|| hasher.hash_one(part))
    }

    /// What an increment on this backup knows the file by: size and checksum, as 8 bytes.
    #[must_use]
    pub fn identity(&self, hasher: &impl BuildHasher) -> u64 {
        hasher.hash_one((self.size, self.checksum))
    }
}

/// A file of which not all has been read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    name: Option<String>,
    size: Option<u64>,
    checksum: Option<u128>,
    data_file: Option<String>,
    uses_base: bool,
    base_size: Option<u64>,
    base_checksum: Option<u128>,
    is_encrypted_by_disk: bool,
}

impl Draft {
    pub(super) fn field(&mut self, name: &[u8], text: String) -> Result<(), Flaw> {
        match name {
            b"name" => self.name = Some(text),
            b"size" => self.size = Some(number(&text)?),
            b"checksum" => self.checksum = Some(checksum(&text)?),
            b"data_file" => self.data_file = Some(text),
            b"use_base" => self.uses_base = is_true(&text),
            b"base_size" => self.base_size = Some(number(&text)?),
            b"base_checksum" => self.base_checksum = Some(checksum(&text)?),
            b"encrypted_by_disk" => self.is_encrypted_by_disk = is_true(&text),
            // Later versions may say more.
            _ => {}
        }
        Ok(())
    }

    /// As ClickHouse reads it: `base_size` is left out where the whole file is in the base, and
    /// `base_checksum` with it.
    pub(super) fn finish(self) -> Result<ManifestFile, Flaw> {
        let Some(name) = self.name.filter(|name| !name.is_empty()) else {
            return strange("a file has no name");
        };
        let Some(size) = self.size else {
            return strange(format!("{} has no size", shown(name.as_bytes())));
        };
        let checksum = match self.checksum {
            Some(checksum) => checksum,
            None if size == 0 => 0,
            None => return strange(format!("{} has no checksum", shown(name.as_bytes()))),
        };
        let whole = if self.uses_base { size } else { 0 };
        let base_size = self.base_size.unwrap_or(whole);
        if base_size > size {
            let name = shown(name.as_bytes());
            return strange(format!("more of {name} is in the base than it has"));
        }
        let base_checksum = match self.base_checksum {
            _ if base_size == 0 => 0,
            _ if base_size == size => checksum,
            Some(checksum) => checksum,
            None => {
                let name = shown(name.as_bytes());
                return strange(format!("the part of {name} in the base has no checksum"));
            }
        };
        Ok(ManifestFile {
            name,
            size,
            checksum,
            data_file: self.data_file,
            base_size,
            base_checksum,
            is_encrypted_by_disk: self.is_encrypted_by_disk,
        })
    }
}

fn is_true(text: &str) -> bool {
    matches!(text.trim(), "true" | "1")
}

fn number(text: &str) -> Result<u64, Flaw> {
    match text.trim().parse() {
        Ok(number) => Ok(number),
        Err(_) => strange(format!("a size is {}", shown(text.as_bytes()))),
    }
}

fn checksum(text: &str) -> Result<u128, Flaw> {
    match u128::from_str_radix(text.trim(), 16) {
        Ok(checksum) => Ok(checksum),
        Err(_) => strange(format!("a checksum is {}", shown(text.as_bytes()))),
    }
}
