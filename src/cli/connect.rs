//! `config check --connect`: every part of the way is tried for real, and each says what to do.

use clickhouse_backupd::backup::{BackupName, Place};
use clickhouse_backupd::clickhouse::{self, Client, DiskFacts, Error, NamesKept};
use clickhouse_backupd::config::Config;
use clickhouse_backupd::destination::{Destination, ViewSettings};

use super::text::clean;

/// ClickHouse's `BACKUP_NOT_FOUND`: it took the place and looked for the backup there.
const BACKUP_NOT_FOUND: u32 = 599;
/// `UNKNOWN_DATABASE_ENGINE`: a server before 25.2 has no database engine `Backup`.
const UNKNOWN_ENGINE: u32 = 336;
/// A name that no backup has: the probe asks for it and is told that it is not there.
const NO_BACKUP: &str = "_backupd_no_such_backup";
/// A disk that keeps names in the bucket.
const PLAIN_DISK: &str = "a disk of type s3_plain (<type>s3_plain</type>, the same endpoint and keys, another prefix; see docs/configuration.md), or destination.collection = \"…\" with a named collection";

/// What came of one trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    what: &'static str,
    /// What is so, or what is wrong.
    text: String,
    /// What to do where something is wrong.
    remedy: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self {
            what,
            text: text.into(),
            remedy: None,
        }
    }

    fn error(what: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }

    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.remedy.is_none()
    }

    /// The lines that an operator reads.
    pub fn lines(&self) -> String {
        let word = if self.is_ok() { "ok" } else { "error" };
        let mut lines = format!("{:<11} {word:<5} {}\n", self.what, clean(&self.text));
        if let Some(remedy) = &self.remedy {
            lines += &format!("  hint: {}\n", clean(remedy));
        }
        lines
    }
}

/// Tries everything that the configuration names.
pub async fn findings(config: &Config) -> Vec<Finding> {
    let mut found = server(config).await;
    match &config.destination.view {
        Some(view) => found.extend(view_findings(view).await),
        None => found.push(Finding::ok(
            "view",
            "there is no destination.url: nothing is listed, proved or removed",
        )),
    }
    found
}

async fn server(config: &Config) -> Vec<Finding> {
    let client = match Client::new(config.clickhouse.clone()) {
        Ok(client) => client,
        Err(error) => {
            let remedy = "correct [clickhouse]";
            return vec![Finding::error("clickhouse", error.to_string(), remedy)];
        }
    };
    let url = &config.clickhouse.url;
    match client.server().await {
        Ok((server, version)) => {
            let text = format!("{url} answers: ClickHouse {version} on {}", server.host);
            let mut found = vec![Finding::ok("clickhouse", text)];
            let place = &config.destination.place;
            if let Place::Disk(disk) = place {
                let url = config.destination.view.as_ref().map(|view| &*view.url);
                found.push(match client.disk(disk).await {
                    Ok(facts) => disk_finding(disk, facts.as_ref(), url),
                    Err(error) => Finding::error(
                        "disk",
                        error.to_string(),
                        "grant SELECT on system.disks to clickhouse.user",
                    ),
                });
            }
            found.push(taken(place, probe(&client, place).await));
            found
        }
        Err(error) => vec![Finding::error(
            "clickhouse",
            error.to_string(),
            "check clickhouse.url, user and password_file, and that the server runs",
        )],
    }
}

async fn probe(client: &Client, place: &Place) -> Result<(), Error> {
    let name = BackupName::parse(NO_BACKUP).map_err(|error| Error::Answer(error.to_string()))?;
    client.probe(place, &name, "none").await
}

/// What it means how the server answered to a backup that is not there.
fn taken(place: &Place, answer: Result<(), Error>) -> Finding {
    match answer {
        Ok(())
        | Err(Error::Refused {
            code: BACKUP_NOT_FOUND,
            ..
        }) => Finding::ok("place", format!("ClickHouse takes {place} for backups")),
        Err(Error::Refused {
            code: UNKNOWN_ENGINE,
            ..
        }) => Finding::ok(
            "place",
            format!("not tried: this ClickHouse cannot be asked about {place} without a backup"),
        ),
        Err(error) => Finding::error(
            "place",
            format!("ClickHouse does not take {place} for backups: {error}"),
            match place {
                Place::Disk(disk) => format!(
                    "define the disk and add <backups><allowed_disk>{disk}</allowed_disk></backups> to the server's configuration"
                ),
                Place::Collection(name) => format!(
                    "CREATE NAMED COLLECTION {} AS url = 'https://…/bucket/prefix/', access_key_id = '…', secret_access_key = '…'",
                    clickhouse::identifier(name)
                ),
            },
        ),
    }
}

/// What a disk means for backups and for our view of them.
fn disk_finding(disk: &str, facts: Option<&DiskFacts>, url: Option<&str>) -> Finding {
    let Some(facts) = facts else {
        return Finding::error(
            "disk",
            format!("the server has no disk {disk}"),
            "correct destination.disk; SELECT name FROM system.disks lists them",
        );
    };
    let path = &facts.path;
    match (facts.names_kept(), url) {
        (NamesKept::OnServer, _) => Finding::error(
            "disk",
            format!(
                "disk {disk} keeps the names of backups on the server's own disk ({path}), and the bucket has random keys: when that volume is lost, none of its backups can be restored, and nobody but the server can list, prove or remove them; destination.url is set aside"
            ),
            format!("use {PLAIN_DISK}"),
        ),
        (NamesKept::Otherwise, Some(_)) => Finding::error(
            "disk",
            format!(
                "disk {disk} (type {}, metadata {}) keeps files in a way that no view can read",
                facts.disk_type, facts.metadata_type
            ),
            format!("use {PLAIN_DISK}, or leave destination.url out"),
        ),
        (NamesKept::InFolder, Some(url)) if !url.starts_with("file:") => Finding::error(
            "disk",
            format!("disk {disk} is the folder {path} of the server, and destination.url is {url}"),
            "write destination.url = \"file:///…\": that folder, as it is mounted where the daemon runs",
        ),
        (NamesKept::InBucket, Some(url))
            if !url.starts_with("s3:") && facts.object_storage_type != "Local" =>
        {
            Finding::error(
                "disk",
                format!("disk {disk} lies in a bucket, and destination.url is {url}"),
                "write destination.url = \"s3://bucket/prefix\", the place of the disk's endpoint",
            )
        }
        (NamesKept::InFolder, _) => Finding::ok("disk", format!("{disk} is the folder {path}")),
        (NamesKept::InBucket, _) => Finding::ok(
            "disk",
            format!("{disk} keeps names in its bucket, under {path}"),
        ),
        (NamesKept::Otherwise, None) => {
            Finding::ok("disk", format!("{disk} is of type {}", facts.disk_type))
        }
    }
}

async fn view_findings(settings: &ViewSettings) -> Vec<Finding> {
    let remedy = "check destination.url, destination.s3.endpoint, region and keys; the keys need list, get and delete below the prefix";
    let view = match Destination::open(settings) {
        Ok(view) => view,
        Err(error) => return vec![Finding::error("view", error.to_string(), remedy)],
    };
    let listed = match view.folders().await {
        Ok(folders) if folders.is_empty() => Finding::ok(
            "view",
            format!("{} is empty; is the prefix right?", view.url()),
        ),
        Ok(folders) => Finding::ok("view", format!("{}: folders {}", view.url(), folders.len())),
        Err(error) => Finding::error("view", error.to_string(), remedy),
    };
    let writable = match view.writable().await {
        Ok(()) => Finding::ok(
            "own files",
            "can be written and removed in .clickhouse-backupd/",
        ),
        Err(error) => Finding::error(
            "own files",
            error.to_string(),
            "allow put and delete in the folder .clickhouse-backupd below the prefix",
        ),
    };
    vec![listed, writable]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kind: &str, metadata: &str) -> DiskFacts {
        DiskFacts {
            disk_type: kind.into(),
            metadata_type: metadata.into(),
            object_storage_type: "S3".into(),
            path: "/d/".into(),
            ..DiskFacts::default()
        }
    }

    #[test]
    fn the_trap_is_told_with_the_disk_to_use_instead() {
        let trap = facts("ObjectStorage", "Local");
        for url in [None, Some("s3://b/p")] {
            let text = disk_finding("s3_backup", Some(&trap), url).lines();
            assert!(
                text.contains("none of its backups can be restored"),
                "{text}"
            );
            assert!(
                text.contains("s3_plain") && text.contains("named collection"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_disk_and_a_view_of_another_kind_do_not_go_together() {
        let (folder, bucket) = (facts("Local", "None"), facts("ObjectStorage", "Plain"));
        let is_ok = |facts: &DiskFacts, url| disk_finding("d", Some(facts), url).is_ok();
        assert!(is_ok(&folder, None) && is_ok(&bucket, None));
        assert!(is_ok(&folder, Some("file:///d")) && !is_ok(&folder, Some("s3://b/p")));
        assert!(is_ok(&bucket, Some("s3://b/p")) && !is_ok(&bucket, Some("file:///d")));
        assert!(!disk_finding("d", None, None).is_ok());
    }

    #[test]
    fn a_place_is_taken_when_only_the_backup_is_missing() {
        let refused = |code| {
            Err(Error::Refused {
                code,
                text: format!("Code: {code}. DB::Exception"),
            })
        };
        let place = Place::Disk("s3_backup".into());
        assert!(taken(&place, refused(599)).is_ok());
        let finding = taken(&place, refused(36));
        assert!(
            finding
                .lines()
                .contains("<allowed_disk>s3_backup</allowed_disk>")
        );
        assert!(!finding.is_ok());
        assert!(!taken(&Place::Collection("c".into()), refused(497)).is_ok());
    }
}
