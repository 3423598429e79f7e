//! The destination, retention, the catalog, and whether ClickHouse answers.

use super::families::Families;
use super::name;
use super::schedules::{STATUSES, find};
use super::scrape::{Scrape, VIEWS};
use crate::backup::{Backup, Origin, chain};
use crate::retention::{Stop, Verdict};

/// Who can have asked for a backup.
const ORIGINS: [&str; 3] = ["schedule", "client", "foreign"];

/// All of them.
pub(super) fn put(scrape: &Scrape<'_>, into: &mut Families) {
    backups(scrape, into);
    destination(scrape, into);
    retention(scrape, into);
    let catalog = scrape.catalog;
    into.put(name::CATALOG_BYTES, &[], catalog.bytes);
    let operations = scrape.view.operations().count() as u64;
    into.put(name::CATALOG_OPERATIONS, &[], operations);
    into.put_flag(name::CATALOG_FAILING, &[], catalog.is_failing);
    into.put_flag(name::READ_IN, &[], scrape.destination.is_read_in);
    let clickhouse = scrape.clickhouse;
    into.put_flag(name::REACHABLE, &[], clickhouse.is_reachable);
    into.put_time(name::ASKED_AT, &[], clickhouse.asked_at);
    into.put_time(name::ANSWERED_AT, &[], clickhouse.answered_at);
}

fn origin(backup: &Backup) -> &'static str {
    match backup.origin {
        Origin::Schedule { .. } => "schedule",
        Origin::Client => "client",
        Origin::Foreign => "foreign",
    }
}

fn backups(scrape: &Scrape<'_>, into: &mut Families) {
    let view = scrape.view;
    for asked_by in ORIGINS {
        let its = |backup: &&Backup| origin(backup) == asked_by;
        for status in STATUSES {
            let alike = view.all_backups().filter(its);
            let alike = alike.filter(|backup| backup.status() == status);
            let values = [asked_by, status.as_str()];
            into.put(name::BACKUPS, &values, alike.count() as u64);
        }
        let bytes = view.backups().filter(its);
        let bytes = bytes.filter_map(|backup| backup.bytes_written);
        let bytes = bytes.fold(0, u64::saturating_add);
        into.put(name::BACKUP_BYTES, &[asked_by], bytes);
    }
    let leads_nowhere = |backup: &&Backup| chain(|name| find(scrape, name), backup).is_err();
    let broken = view.backups().filter(leads_nowhere).count();
    into.put(name::BROKEN_CHAINS, &[], broken as u64);
}

fn destination(scrape: &Scrape<'_>, into: &mut Families) {
    let destination = scrape.destination;
    into.put(name::BROKEN, &[], destination.broken);
    into.put(name::BROKEN_BYTES, &[], destination.broken_bytes);
    into.put(name::OTHERS, &[], destination.others);
    into.put_time(name::LISTED_AT, &[], destination.listed_at);
    let is_listable = destination.listed_at.is_some() && !destination.is_failing;
    into.put_flag(name::LISTED, &[], is_listable);
    into.put_flag(name::PUBLISHING, &[], destination.is_publish_failing);
    for view in VIEWS {
        into.put_flag(name::VIEW, &[view], destination.view == view);
    }
}

fn retention(scrape: &Scrape<'_>, into: &mut Families) {
    let plan = scrape.plan;
    for (word, verdict) in [("keep", Verdict::Keep), ("remove", Verdict::Remove)] {
        let lines = plan.lines.iter().filter(|line| line.verdict == verdict);
        into.put(name::KEPT_OR_NOT, &[word], lines.count() as u64);
    }
    for reason in Stop::KINDS {
        let stands = plan.stops.iter().any(|stop| stop.kind() == reason);
        into.put_flag(name::RETENTION_STOPPED, &[reason], stands);
    }
    let retention = scrape.retention;
    into.put_flag(name::RETENTION_FAILING, &[], retention.is_failing);
    into.put_time(name::RETENTION_SUCCEEDED, &[], retention.succeeded_at);
    into.put_time(name::RETENTION_FAILED, &[], retention.failed_at);
}
