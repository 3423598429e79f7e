//! What there is to know of one backup, as lines.

use clap::builder::styling::Style;
use clickhouse_backupd::api::v1::backup::{
    Backup, BackupDetails, BackupKind, BackupOrigin, BackupStatus, MissingFile, Proof, ProofOutcome,
};
use clickhouse_backupd::api::v1::retention::Decision;
use jiff::SignedDuration;

use crate::cli::table::{self, Cell, Column, maybe};
use crate::cli::text::{self, BOLD, DIM, GREEN, Look, PLAIN, RED, YELLOW, styled};

/// Names in one line.
const NAMES_SHOWN: usize = 5;

/// The colour of a status.
pub fn colour(status: BackupStatus) -> Style {
    match status {
        BackupStatus::Complete => PLAIN,
        BackupStatus::Damaged | BackupStatus::Broken | BackupStatus::Gone => RED,
        BackupStatus::Unproven | BackupStatus::Suspect | BackupStatus::Deleting => YELLOW,
    }
}

/// `full`, `on 2026-11-21`, or nothing for what is no backup.
pub fn kind(backup: &Backup) -> String {
    match (backup.status, backup.kind, &backup.base) {
        (BackupStatus::Broken, ..) => "-".to_owned(),
        (_, BackupKind::Incremental, Some(base)) => format!("on {}", text::clean(base)),
        (_, BackupKind::Incremental, None) => "increment".to_owned(),
        (_, BackupKind::Full, _) => "full".to_owned(),
    }
}

/// The facts, the ones that decide first.
pub fn facts(details: &BackupDetails, look: &Look) -> Vec<(&'static str, String)> {
    let backup = &details.backup;
    let mut facts = vec![("backup", styled(BOLD, &text::clean(&backup.name)))];
    if backup.asked_name != backup.name {
        let asked = text::clean(&backup.asked_name);
        facts.push(("asked for", format!("{asked}: that name was blocked")));
    }
    facts.push(("status", status(backup)));
    if let Some(verdict) = &details.retention {
        let reasons: Vec<String> = verdict.reasons.iter().map(|one| text::clean(one)).collect();
        let word = match verdict.decision {
            Decision::Keep => styled(GREEN, "keep"),
            Decision::Remove => styled(YELLOW, "remove"),
        };
        facts.push(("retention", format!("{word}: {}", reasons.join("; "))));
    }
    facts.extend(backup.pin.as_ref().map(|pin| {
        let by = pin
            .by
            .as_deref()
            .map_or_else(String::new, |by| format!(" by {}", text::clean(by)));
        let reason = pin
            .reason
            .as_deref()
            .map_or_else(String::new, |reason| format!(": {}", text::clean(reason)));
        ("pinned", format!("{}{by}{reason}", look.time(pin.at)))
    }));
    facts.extend(backup.proofs.iter().map(|one| ("proof", proof(one, look))));
    if backup.structure_only {
        let warning = "definitions only: restoring it brings no rows";
        facts.push(("holds", styled(YELLOW, warning)));
    }
    facts.push(("made", made(backup, look)));
    if backup.status == BackupStatus::Broken {
        facts.extend(
            backup
                .bytes_written
                .map(|bytes| ("remains", text::bytes(bytes))),
        );
        return facts;
    }
    facts.push(("kind", built_on(details)));
    let unknown = || "not known".to_owned();
    let files = backup.files.map_or_else(String::new, |files| {
        format!(" in {}", text::counted(files, "file"))
    });
    let size = backup.bytes.map_or_else(unknown, text::bytes) + &files;
    facts.push(("size", size));
    let written = backup.bytes_written.map_or_else(unknown, text::bytes);
    facts.push(("written", written));
    let inventory = details
        .contents
        .as_ref()
        .and_then(|contents| contents.inventory.as_ref());
    facts.extend(
        inventory
            .map(|inventory| text::clean(&inventory.version))
            .filter(|version| !version.is_empty())
            .map(|version| ("server", format!("ClickHouse {version}"))),
    );
    if !details.needed_by.is_empty() {
        let names: Vec<String> = details
            .needed_by
            .iter()
            .map(|name| text::clean(name))
            .collect();
        facts.push(("needed by", text::some(&names, NAMES_SHOWN)));
    }
    facts.extend(
        backup
            .operation
            .map(|operation| ("operation", operation.to_string())),
    );
    facts
}

/// A proof in a line: what came of it first.
pub fn proof(proof: &Proof, look: &Look) -> String {
    let took = i64::try_from(proof.took_ms).unwrap_or(i64::MAX);
    let looked = format!(
        "{}, {} looked for in {}, {}",
        text::counted(proof.files, "file"),
        text::bytes(proof.bytes),
        text::length(SignedDuration::from_millis(took)),
        look.time(proof.at)
    );
    match proof.outcome {
        ProofOutcome::Passed => format!("{}: {looked}", styled(GREEN, "passed")),
        ProofOutcome::Damaged => format!(
            "{}: {} missing or of another size; {looked}",
            styled(RED, "damaged"),
            text::counted(proof.missing_count, "file")
        ),
    }
}

/// The files that its proofs did not find, where there are any.
pub fn missing(backup: &Backup, look: &Look) -> String {
    const COLUMNS: [Column; 5] = [
        Column::name("BACKUP"),
        Column::name("FILE"),
        Column::number("WANTED"),
        Column::number("FOUND"),
        Column::name("WHAT IS WRONG"),
    ];
    let row = |file: &MissingFile| {
        vec![
            Cell::from(&file.backup),
            Cell::from(&file.file),
            maybe(file.size_wanted, text::count),
            maybe(file.size_found, text::count),
            Cell::styled(RED, &file.problem),
        ]
    };
    let mut out = String::new();
    for proof in backup
        .proofs
        .iter()
        .filter(|proof| !proof.missing.is_empty())
    {
        out += "\n";
        let rows = proof.missing.iter().map(row).collect();
        out += &table::render(&COLUMNS, rows, look.width);
        let more = proof
            .missing_count
            .saturating_sub(proof.missing.len() as u64);
        if more > 0 {
            out += &format!("{DIM}and {} more{DIM:#}\n", text::count(more));
        }
    }
    out
}

fn status(backup: &Backup) -> String {
    let word = styled(colour(backup.status), backup.status.as_str());
    match &backup.status_reason {
        Some(reason) => format!("{word}: {}", text::clean(reason)),
        None => word,
    }
}

fn made(backup: &Backup, look: &Look) -> String {
    let at = backup
        .created_at
        .map_or_else(|| "nobody knows when".to_owned(), |at| look.time(at));
    if backup.status == BackupStatus::Broken {
        return format!("{at} by an attempt that died");
    }
    let by = match (backup.origin, &backup.schedule, backup.slot) {
        (BackupOrigin::Schedule, Some(schedule), Some(slot)) => {
            let schedule = text::clean(schedule);
            format!("schedule {schedule}, slot {}", look.time(slot))
        }
        (BackupOrigin::Schedule, ..) => "a schedule".to_owned(),
        (BackupOrigin::Client, ..) => "a client".to_owned(),
        (BackupOrigin::Foreign, ..) => "others".to_owned(),
    };
    format!("{at} by {by}")
}

/// Whether it stands alone, and how long the way to the full one is.
fn built_on(details: &BackupDetails) -> String {
    let backup = &details.backup;
    let word = match (backup.kind, &backup.base) {
        (BackupKind::Full, _) => return "full".to_owned(),
        (BackupKind::Incremental, Some(base)) => {
            format!("incremental, built on {}", text::clean(base))
        }
        (BackupKind::Incremental, None) => "incremental".to_owned(),
    };
    match (&details.chain_problem, details.chain.as_slice()) {
        (Some(problem), _) => {
            let problem = styled(RED, &text::clean(problem));
            format!("{word}; it cannot be restored: {problem}")
        }
        (None, [_, .., full]) if details.chain.len() > 2 => format!(
            "{word}; a chain of {}, the full one is {}",
            details.chain.len(),
            text::clean(full)
        ),
        (None, _) => word,
    }
}
