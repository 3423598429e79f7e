//! What is wrong with what is stored: the destination itself, the backups in it, and why retention
//! removes nothing.

use std::collections::HashMap;

use super::StatusProblem;
use crate::api::ApiState;
use crate::api::v1::backup::status_reason;
use crate::backup::{Backup, Origin};
use crate::catalog::View;
use crate::retention::{Plan, Stop, Verdict};
use crate::worker::{Broken, Standing, ViewState};

/// Names in one sentence.
const NAMES_SHOWN: usize = 5;

/// Everything that is wrong there, the gravest first.
pub(super) fn problems(state: &ApiState, view: &View, standing: &Standing) -> Vec<StatusProblem> {
    let mut problems = Vec::new();
    if standing.view == ViewState::NamesOnServer {
        problems.push(names_on_server(&state.worker.destination()));
    }
    problems.extend(standing.failure.as_deref().map(not_listed));
    if !state.worker.is_read_in() {
        problems.push(not_read_in());
    }
    if standing.view == ViewState::Unbound {
        problems.extend(wrong_place(view, standing));
    }
    problems.extend(damaged(view));
    let retention = state.worker.retention_note();
    // A listing that fails is told by itself.
    if standing.failure.is_none() {
        problems.extend(retention.failure.as_deref().map(retention_failed));
    }
    problems.extend(removal_failing(view));
    problems.extend(stopped(&state.worker.retention_plan()));
    problems.extend(broken(&standing.broken));
    problems
}

/// The trap: the bytes are in the bucket, and what they mean is on a disk that can be lost.
fn names_on_server(place: &str) -> StatusProblem {
    StatusProblem {
        kind: "names_on_server".to_owned(),
        message: format!(
            "{place} keeps the names of its objects on the server's own disk: when that is lost, none of these backups can be restored, though every byte is in the bucket; nothing there can be listed, proved or removed"
        ),
        hint: "back up to a disk of type s3_plain, or to a named collection (destination.collection); clickhouse-backupd config check --connect prints one"
            .to_owned(),
    }
}

fn not_listed(failure: &str) -> StatusProblem {
    StatusProblem {
        kind: "destination_failing".to_owned(),
        message: format!("the destination cannot be listed, so nothing is removed: {failure}"),
        hint: "check destination.url and its keys with: clickhouse-backupd config check --connect"
            .to_owned(),
    }
}

/// Backups were made, and our view has never seen one of them.
fn wrong_place(view: &View, standing: &Standing) -> Option<StatusProblem> {
    let unread = view
        .backups()
        .filter(|backup| backup.origin != Origin::Foreign && backup.manifest.is_none())
        .count();
    let url = standing.url.as_deref().unwrap_or("destination.url");
    (unread > 0).then(|| StatusProblem {
        kind: "unbound".to_owned(),
        message: format!(
            "ClickHouse made {unread} backups that are not in {url}: it may be the wrong place, so nothing there is proved or removed"
        ),
        hint: "compare destination.url with the endpoint of the disk or named collection in the server's configuration"
            .to_owned(),
    })
}

fn retention_failed(failure: &str) -> StatusProblem {
    StatusProblem {
        kind: "retention_failed".to_owned(),
        message: format!("the last round of retention failed and removed nothing: {failure}"),
        hint: "it is tried again by itself; what would go: clickhouse-backupd retention plan"
            .to_owned(),
    }
}

/// Nothing else is retired before it is through.
fn removal_failing(view: &View) -> Option<StatusProblem> {
    let (removal, failure) = view.failing_removal()?;
    Some(StatusProblem {
        kind: "removal_failing".to_owned(),
        message: format!(
            "{} cannot be removed now, stays hidden, and is tried again: {}",
            removal.subject(),
            failure.message
        ),
        hint: failure.kind.hint().to_owned(),
    })
}

fn not_read_in() -> StatusProblem {
    StatusProblem {
        kind: "not_read_in".to_owned(),
        message: "what lies in the destination has not been read in yet: lists are not told, and nothing is removed"
            .to_owned(),
        hint: "it goes on by itself as soon as the destination can be listed".to_owned(),
    }
}

/// The newest backup of a group is the one that a restore at night would take.
fn damaged(view: &View) -> Vec<StatusProblem> {
    let mut newest: HashMap<Option<&str>, &Backup> = HashMap::new();
    for backup in view.backups() {
        let kept = newest.entry(backup.schedule()).or_insert(backup);
        if (backup.created_at, backup.number) > (kept.created_at, kept.number) {
            *kept = backup;
        }
    }
    let mut damaged: Vec<&Backup> = newest
        .into_values()
        .filter(|backup| backup.is_damaged())
        .collect();
    damaged.sort_by_key(|backup| &backup.name);
    let problem = |backup: &Backup| StatusProblem {
        kind: "newest_damaged".to_owned(),
        message: format!(
            "the newest backup{} is damaged: {}: {}",
            backup
                .schedule()
                .map_or_else(String::new, |name| format!(" of schedule {name}")),
            backup.name,
            status_reason(backup).unwrap_or_default()
        ),
        hint: match backup.schedule() {
            Some(name) => format!(
                "make a new one: clickhouse-backupd schedule run {name}; what is missing: clickhouse-backupd backup show {}",
                backup.name
            ),
            None => format!(
                "make a new one: clickhouse-backupd backup create; what is missing: clickhouse-backupd backup show {}",
                backup.name
            ),
        },
    };
    damaged.into_iter().map(problem).collect()
}

/// Why retention removes nothing. What is only not ready yet, or not there by choice, is told where it
/// keeps something from being removed; what is told elsewhere is not told twice.
fn stopped(plan: &Plan) -> Vec<StatusProblem> {
    let would_remove = plan
        .lines
        .iter()
        .any(|line| line.verdict == Verdict::Remove);
    let is_told = |stop: &&Stop| match stop {
        Stop::Suspect { .. } | Stop::OtherServer { .. } => true,
        Stop::NoView | Stop::Unbound => would_remove,
        Stop::NamesOnServer | Stop::NotListed(_) | Stop::NotReadIn => false,
    };
    let problem = |stop: &Stop| {
        StatusProblem {
        kind: "retention_stopped".to_owned(),
        message: format!("retention removes nothing: {stop}"),
        hint: match stop {
            Stop::Suspect { .. } | Stop::OtherServer { .. } => {
                "if the change is meant: clickhouse-backupd retention adopt --reason WHY; what would go then: clickhouse-backupd retention plan"
            }
            _ => "what would go: clickhouse-backupd retention plan",
        }
        .to_owned(),
    }
    };
    plan.stops.iter().filter(is_told).map(problem).collect()
}

fn broken(broken: &[Broken]) -> Option<StatusProblem> {
    if broken.is_empty() {
        return None;
    }
    let mut names: Vec<&str> = broken
        .iter()
        .take(NAMES_SHOWN)
        .map(|broken| broken.name.as_str())
        .collect();
    if broken.len() > NAMES_SHOWN {
        names.push("…");
    }
    let bytes = broken.iter().map(|broken| broken.bytes);
    Some(StatusProblem {
        kind: "broken_backups".to_owned(),
        message: format!(
            "the destination holds {} bytes that attempts which died left behind, and that cannot be restored ({}): {}",
            bytes.fold(0, u64::saturating_add),
            broken.len(),
            names.join(", ")
        ),
        hint: "remove them with: clickhouse-backupd clean".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{BackupName, Suspicion};
    use crate::retention::{Group, Line, Reason};

    fn plan(verdict: Verdict, stop: Stop) -> Plan {
        Plan {
            lines: vec![Line {
                backup: BackupName::parse("one").unwrap(),
                base: None,
                created_at: jiff::Timestamp::UNIX_EPOCH,
                group: Group::Manual,
                verdict,
                reasons: vec![Reason::NoPolicy],
            }],
            stops: vec![stop],
        }
    }

    #[test]
    fn a_stop_is_a_problem_where_somebody_has_to_do_something() {
        let suspect = Stop::Suspect {
            backup: BackupName::parse("one").unwrap(),
            suspicion: Suspicion {
                measure: "tables".to_owned(),
                found: 0,
                usual: 9,
                adopted_at: None,
            },
        };
        let told = stopped(&plan(Verdict::Keep, suspect));
        assert!(told[0].hint.contains("retention adopt"), "{told:?}");
        assert_eq!(stopped(&plan(Verdict::Keep, Stop::NoView)), []);
        assert_eq!(stopped(&plan(Verdict::Remove, Stop::NoView)).len(), 1);
        let elsewhere = Stop::NotListed("503".to_owned());
        assert_eq!(stopped(&plan(Verdict::Remove, elsewhere)), []);
    }
}
