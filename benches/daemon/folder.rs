//! The folder of a run.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// A folder that goes with its owner, and with the next run where this one was killed.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    _lock: File,
}

impl Folder {
    /// A new one.
    pub fn fresh() -> anyhow::Result<Self> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
        std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR"))?;
        let lock = File::create(path.with_extension("lock"))?;
        ensure!(lock.try_lock().is_ok(), "another make bench is running");
        if path.exists() {
            std::fs::remove_dir_all(&path).context("removing what a killed run left")?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = std::fs::remove_file(self.path.with_extension("lock"));
    }
}
