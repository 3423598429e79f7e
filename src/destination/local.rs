//! Folders of a local disk: what an object store does not know about.
//!
//! Everything here blocks, and is called from threads that may.
//! The library's own listing follows links and leaves out names such as `a#1`, so this is ours.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::store::Entry;

/// Folders within folders; ClickHouse makes five (`data/database/table/part/projection`).
const DEPTH_MAX: usize = 64;

/// Calls `each` with every file below `folder`, in any order, until it says no.
/// A link is an entry with the size of what it leads to, and is not followed.
/// A folder that is not there has no files.
pub fn walk(folder: &Path, mut each: impl FnMut(Entry) -> bool) -> Result<()> {
    let mut open = vec![(folder.to_path_buf(), String::new(), 0)];
    while let Some((path, key, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(Error::other(format!("{} is too deep", path.display())));
        }
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            // The folder itself is a file; below it there is nothing.
            Err(error) if error.kind() == ErrorKind::NotADirectory && depth == 0 => return Ok(()),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name| {
                Error::other(format!("{} is no UTF-8", path.join(name).display()))
            })?;
            let key = if key.is_empty() {
                name
            } else {
                format!("{key}/{name}")
            };
            if entry.file_type()?.is_dir() {
                open.push((entry.path(), key, depth + 1));
            } else if let Some(found) = file(&entry.path(), key)?
                && !each(found)
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// `None`: it went while we looked.
fn file(path: &Path, key: String) -> Result<Option<Entry>> {
    let found = std::fs::metadata(path).or_else(|_| std::fs::symlink_metadata(path));
    let found = match found {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let modified = Timestamp::try_from(found.modified()?).map_err(Error::other)?;
    Ok(Some(Entry {
        key,
        size: found.len(),
        modified,
    }))
}

/// The names of the folders right below `root`, linked ones included: they are folders to ClickHouse.
pub fn folders(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if std::fs::metadata(entry.path()).is_ok_and(|found| found.is_dir()) {
            let name = entry.file_name().into_string().map_err(|name| {
                Error::other(format!("{} is no UTF-8", root.join(name).display()))
            })?;
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes the folders at and below `folder` that hold nothing; never one that holds something.
pub fn remove_empty_folders(folder: &Path) -> Result<()> {
    let mut open = vec![folder.to_path_buf()];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(path) = open.pop() {
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Ok(what) if !what.is_dir() => continue,
            other => other?,
        };
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
        found.push(path);
    }
    // A folder stands in the list before those in it.
    for path in found.iter().rev() {
        match std::fs::remove_dir(path) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
                ) => {}
            other => other?,
        }
    }
    Ok(())
}
