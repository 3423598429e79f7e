//! What a server says about the disk that backups are written to, and what that means for a view.

use serde::Deserialize;

use super::quote::string;
use super::{Client, Error};

/// Where a disk keeps the names of its files: what decides whether a bucket can be read without the
/// server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamesKept {
    /// In a folder of the server's machine: `file://` sees them.
    InFolder,
    /// In the bucket, as they are: `s3://` sees them.
    InBucket,
    /// On the server's own disk, while the bucket has random keys: nobody else sees them, and when
    /// that disk is lost, no backup can be restored.
    OnServer,
    /// In a way of its own, which a view cannot read: `plain_rewritable`, `web`, an encrypted disk.
    Otherwise,
}

/// A row of `system.disks`. A column that the server does not have is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DiskFacts {
    /// `Local` or `ObjectStorage`; before 24.1 `local`, `s3`, `s3_plain` and the like.
    #[serde(rename = "type")]
    pub disk_type: String,
    /// `S3`, `Azure`, `Local`, … or `None`; empty before 24.1.
    pub object_storage_type: String,
    /// `Local`, `Plain`, `PlainRewritable`, … or `None`; empty before 24.1.
    pub metadata_type: String,
    /// The folder, or the prefix in the bucket; neither bucket nor endpoint is ever told.
    pub path: String,
    /// 1 where a disk of type `encrypted` lies above.
    pub is_encrypted: u8,
}

impl DiskFacts {
    /// Where the disk keeps the names of its files.
    ///
    /// Seen on 26.9: a local disk is `Local`/`None`, `s3_plain` is `ObjectStorage`/`Plain`, `s3` is
    /// `ObjectStorage`/`Local`. Before 24.1 the type alone says it (`DataSourceDescription.cpp`).
    #[must_use]
    pub fn names_kept(&self) -> NamesKept {
        if self.is_encrypted != 0 {
            return NamesKept::Otherwise;
        }
        let [kind, metadata] = [&self.disk_type, &self.metadata_type].map(|s| s.to_lowercase());
        match (kind.as_str(), metadata.as_str()) {
            ("local", _) => NamesKept::InFolder,
            ("objectstorage", "local") => NamesKept::OnServer,
            ("objectstorage", "plain") => NamesKept::InBucket,
            ("s3_plain", "") => NamesKept::InBucket,
            ("s3" | "azure_blob_storage" | "hdfs" | "local_blob_storage", "") => {
                NamesKept::OnServer
            }
            _ => NamesKept::Otherwise,
        }
    }
}

impl Client {
    /// What the server says about one of its disks; `None` where it has none of this name.
    ///
    /// # Errors
    /// See [`Error`]; a user that may not read `system.disks` is refused.
    pub async fn disk(&self, name: &str) -> Result<Option<DiskFacts>, Error> {
        let rows: Vec<DiskFacts> = self.rows(&query(name)).await?;
        Ok(rows.into_iter().next())
    }
}

/// Columns by a pattern, because naming one that an older server lacks is an error, and `*` would
/// bring whatever a newer one has.
fn query(name: &str) -> String {
    format!(
        "SELECT COLUMNS('^(type|object_storage_type|metadata_type|path|is_encrypted)$') \
         FROM system.disks WHERE name = {}",
        string(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn facts(row: &str) -> DiskFacts {
        serde_json::from_str(row).unwrap()
    }

    #[rstest]
    #[case::local(
        r#"{"path":"/d/","type":"Local","object_storage_type":"None","metadata_type":"None","is_encrypted":0}"#,
        NamesKept::InFolder
    )]
    #[case::plain(
        r#"{"path":"q/","type":"ObjectStorage","object_storage_type":"S3","metadata_type":"Plain","is_encrypted":0}"#,
        NamesKept::InBucket
    )]
    #[case::the_trap(
        r#"{"path":"/disks/s3_backup/","type":"ObjectStorage","object_storage_type":"S3","metadata_type":"Local"}"#,
        NamesKept::OnServer
    )]
    #[case::rewritable(
        r#"{"type":"ObjectStorage","object_storage_type":"S3","metadata_type":"PlainRewritable"}"#,
        NamesKept::Otherwise
    )]
    #[case::encrypted(
        r#"{"type":"Local","object_storage_type":"None","metadata_type":"None","is_encrypted":1}"#,
        NamesKept::Otherwise
    )]
    #[case::local_of_23_8(
        r#"{"path":"/d/","type":"local","is_encrypted":0}"#,
        NamesKept::InFolder
    )]
    #[case::plain_of_23_8(r#"{"path":"/d/","type":"s3_plain"}"#, NamesKept::InBucket)]
    #[case::the_trap_of_23_8(r#"{"path":"/d/","type":"s3"}"#, NamesKept::OnServer)]
    #[case::nothing_known("{}", NamesKept::Otherwise)]
    fn a_disk_is_known_by_where_it_keeps_names(#[case] row: &str, #[case] expected: NamesKept) {
        assert_eq!(facts(row).names_kept(), expected);
    }

    #[test]
    fn the_name_is_quoted() {
        assert!(query("a' OR 1").ends_with("WHERE name = 'a\\' OR 1'"));
    }
}
