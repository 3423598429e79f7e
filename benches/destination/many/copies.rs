//! Many backups out of a real one: the same objects under other names, days and ids.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::world::PREFIX;

const MANIFEST: &str = ".backup";
const OWN_FOLDER: &str = ".clickhouse-backupd";

/// A backup that the daemon made, proved and published.
pub struct Original {
    /// The folder that backups lie in.
    root: PathBuf,
    slot: Timestamp,
    name: String,
    manifest: String,
    sidecar: Value,
    /// Below its folder, without the manifest.
    files: Vec<PathBuf>,
}

impl Original {
    /// The published file of the only backup in a bucket; `None` until the backup was proved.
    pub fn find(bucket: &Path) -> anyhow::Result<Option<Self>> {
        let root = bucket.join(PREFIX);
        let Ok(entries) = std::fs::read_dir(root.join(OWN_FOLDER)) else {
            return Ok(None);
        };
        for entry in entries {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name == "state.json") {
                continue;
            }
            let sidecar: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
            if sidecar["backup"]["proofs"]
                .as_array()
                .is_some_and(|proofs| !proofs.is_empty())
            {
                return Self::of(root, sidecar).map(Some);
            }
        }
        Ok(None)
    }

    fn of(root: PathBuf, sidecar: Value) -> anyhow::Result<Self> {
        let backup = &sidecar["backup"];
        let passed = backup["proofs"][0]["outcome"].to_string();
        ensure!(
            backup["suspect"].is_null(),
            "the original is suspect: {sidecar}"
        );
        ensure!(
            passed.contains("passed"),
            "the original is not whole: {sidecar}"
        );
        let name = text(backup, "name")?;
        let attempt = text(backup, "attempt")?;
        let slot = attempt.split(':').nth(2).context("an attempt has a slot")?;
        let slot = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", slot)?.to_datetime()?;
        let slot = slot.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp();
        let folder = root.join(&name);
        let mut files = Vec::new();
        files_below(&folder, Path::new(""), &mut files)?;
        files.retain(|file| file != Path::new(MANIFEST));
        Ok(Self {
            manifest: std::fs::read_to_string(folder.join(MANIFEST))?,
            root,
            slot,
            name,
            sidecar,
            files,
        })
    }

    /// Objects of it, its manifest among them.
    pub fn objects(&self) -> u64 {
        self.files.len() as u64 + 1
    }

    /// Bytes of its file in the destination.
    pub fn sidecar_bytes(&self) -> u64 {
        self.sidecar.to_string().len() as u64
    }

    /// Keys of a folder of its objects, without the manifest.
    pub fn keys<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = String> + 'a {
        let key = move |file: &PathBuf| format!("{folder}/{}", file.display());
        self.files.iter().map(key)
    }

    /// A backup of so many days before, as a daemon of that day would have left it.
    pub fn copy(&self, days: u64) -> anyhow::Result<()> {
        let by = SignedDuration::from_hours(24 * i64::try_from(days)?);
        let backup = &self.sidecar["backup"];
        let slot = self.slot - by;
        let name = slot.strftime("%Y-%m-%d").to_string();
        let token = |slot: Timestamp| slot.strftime("%Y%m%dT%H%M%SZ").to_string();
        let attempt = text(backup, "attempt")?;
        let copied_attempt = attempt.replace(&token(self.slot), &token(slot));
        let uuid = text(&backup["manifest"], "uuid")?;
        let copied_uuid = Uuid::new_v4().to_string();
        for what in [&attempt, &uuid] {
            ensure!(
                self.manifest.contains(what.as_str()),
                "the manifest lacks {what}"
            );
        }
        let manifest = self.manifest.replace(&attempt, &copied_attempt);
        let folder = self.root.join(&name);
        self.link_into(&folder)?;
        std::fs::write(folder.join(MANIFEST), manifest.replace(&uuid, &copied_uuid))?;

        let mut sidecar = self.sidecar.clone();
        let copy = &mut sidecar["backup"];
        earlier(copy, by)?;
        copy["name"] = name.clone().into();
        copy["asked_name"] = name.clone().into();
        copy["attempt"] = copied_attempt.into();
        copy["operation"] = Uuid::new_v4().to_string().into();
        copy["manifest"]["uuid"] = copied_uuid.into();
        let file = self.root.join(OWN_FOLDER).join(format!("{name}.json"));
        std::fs::write(file, sidecar.to_string()).context("writing a sidecar")
    }

    /// Hard links to its objects: the server writes and deletes names, never into a file.
    pub fn link_into(&self, folder: &Path) -> anyhow::Result<()> {
        let mut made = PathBuf::new();
        for file in &self.files {
            let path = folder.join(file);
            let parent = path.parent().context("a file has a folder")?;
            if made != parent {
                std::fs::create_dir_all(parent)?;
                parent.clone_into(&mut made);
            }
            let from = self.root.join(&self.name).join(file);
            std::fs::hard_link(from, path).context("linking an object")?;
        }
        Ok(())
    }
}

fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    let found = value[field].as_str().map(ToOwned::to_owned);
    found.with_context(|| format!("no {field} in {value}"))
}

/// Every time in it moves.
fn earlier(value: &mut Value, by: SignedDuration) -> anyhow::Result<()> {
    match value {
        Value::String(text) => {
            if let Ok(at) = text.parse::<Timestamp>() {
                *text = (at - by).to_string();
            }
        }
        Value::Array(values) => values.iter_mut().try_for_each(|value| earlier(value, by))?,
        Value::Object(fields) => {
            fields
                .values_mut()
                .try_for_each(|value| earlier(value, by))?;
        }
        _ => {}
    }
    Ok(())
}

fn files_below(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files_below(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
