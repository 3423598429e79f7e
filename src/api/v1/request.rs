//! From what a caller asks for to work, with everything checked that needs no server.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::error::{ErrorKind, Problem};
use super::input::{TABLE_MAX_BYTES, backup_name, bad, databases, limited, patterns, shown};
use super::operation::{BackupRequest, Existing, RestoreRequest};
use crate::api::compat::default_name;
use crate::backup::Scope;
use crate::operation::{self as domain, BackupWork, RestoreWork, Work};
use crate::worker::Request;

/// The work of a backup request.
pub(super) fn backup(
    wanted: &BackupRequest,
    now: Timestamp,
    zone: &TimeZone,
) -> Result<Request, Problem> {
    let name = match &wanted.backup {
        Some(name) => backup_name(name)?,
        None => backup_name(&default_name(now, zone))?,
    };
    let base = wanted.base.as_deref().map(backup_name).transpose()?;
    if base.as_ref() == Some(&name) {
        return Err(Problem::new(
            ErrorKind::BadRequest,
            format!("backup {name} cannot be built on itself"),
            "give it another name",
        ));
    }
    databases("databases", &wanted.databases)?;
    if !wanted.databases.is_empty() && !wanted.tables.is_empty() {
        return Err(bad(
            "databases and tables are given, and only one of them can be: for a whole database beside tables, name it as shop.*",
        ));
    }
    let everything = Scope::everything();
    let scope = Scope {
        databases: match wanted.databases.as_slice() {
            [] => everything.databases,
            given => given.to_vec(),
        },
        tables: patterns("tables", &wanted.tables)?,
        exclude_tables: patterns("exclude_tables", &wanted.exclude_tables)?,
        access: wanted.access,
        functions: wanted.functions,
        structure_only: wanted.structure_only,
    };
    let mut command = "create".to_owned();
    let only: Vec<String> = match wanted.tables.as_slice() {
        [] => wanted
            .databases
            .iter()
            .map(|name| format!("{name}.*"))
            .collect(),
        tables => tables.to_vec(),
    };
    add_list(&mut command, "tables", &only);
    add_flag(&mut command, "schema", wanted.structure_only);
    add_flag(&mut command, "rbac", wanted.access);
    command.push_str(&format!(" {name}"));
    let work = Work::Backup(BackupWork {
        name,
        scope,
        base,
        increments: None,
        kind_reason: None,
    });
    Ok(Request {
        work,
        command,
        callbacks: Vec::new(),
    })
}

/// The work of a restore request.
pub(super) fn restore(wanted: &RestoreRequest) -> Result<Request, Problem> {
    let work = restore_work(wanted)?;
    let mut command = "restore".to_owned();
    let pairs = |pairs: &[(String, String)]| -> Vec<String> {
        pairs
            .iter()
            .map(|(from, to)| format!("{from}:{to}"))
            .collect()
    };
    add_list(&mut command, "tables", &wanted.tables);
    let databases = pairs(&work.database_mapping);
    add_list(&mut command, "restore-database-mapping", &databases);
    let tables = pairs(&work.table_mapping);
    add_list(&mut command, "restore-table-mapping", &tables);
    add_flag(&mut command, "schema", wanted.structure_only);
    add_flag(&mut command, "data", wanted.existing == Existing::Append);
    add_flag(&mut command, "rm", wanted.existing == Existing::Drop);
    command.push_str(&format!(" {}", work.backup));
    Ok(Request {
        work: Work::Restore(work),
        command,
        callbacks: Vec::new(),
    })
}

/// What a restore request means, whether it is carried out or only checked.
pub(super) fn restore_work(wanted: &RestoreRequest) -> Result<RestoreWork, Problem> {
    limited("database_mapping", wanted.database_mapping.len())?;
    limited("table_mapping", wanted.table_mapping.len())?;
    let both = wanted.database_mapping.iter();
    let names: Vec<String> = both.flat_map(|(from, to)| [from, to]).cloned().collect();
    databases("database_mapping", &names)?;
    // A name is of a table, or of a database and a table; neither part can be empty.
    let wrong = |name: &str| {
        let has_empty_part = name.is_empty() || name.starts_with('.') || name.ends_with('.');
        has_empty_part || name.len() > TABLE_MAX_BYTES
    };
    let mut pairs = wanted.table_mapping.iter();
    if let Some((from, to)) = pairs.find(|(from, to)| wrong(from) || wrong(to)) {
        return Err(bad(format!(
            "table_mapping: from {:?} to {:?} names no table: a name is table or database.table, of at most {TABLE_MAX_BYTES} bytes and without an empty part",
            shown(from),
            shown(to)
        )));
    }
    let pairs = |mapping: &std::collections::BTreeMap<String, String>| {
        mapping
            .iter()
            .map(|(from, to)| (from.clone(), to.clone()))
            .collect()
    };
    Ok(RestoreWork {
        backup: backup_name(&wanted.backup)?,
        tables: patterns("tables", &wanted.tables)?,
        database_mapping: pairs(&wanted.database_mapping),
        table_mapping: pairs(&wanted.table_mapping),
        structure_only: wanted.structure_only,
        existing: match wanted.existing {
            Existing::Refuse => domain::Existing::Refuse,
            Existing::Drop => domain::Existing::Drop,
            Existing::Append => domain::Existing::Append,
        },
    })
}

fn add_list(command: &mut String, option: &str, values: &[String]) {
    if !values.is_empty() {
        command.push_str(&format!(" --{option}=\"{}\"", values.join(",")));
    }
}

fn add_flag(command: &mut String, option: &str, given: bool) {
    if given {
        command.push_str(&format!(" --{option}"));
    }
}
