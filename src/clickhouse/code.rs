//! ClickHouse's error numbers, and what they mean for a backup or restore.

use crate::operation::FailureKind;

/// The numbers that we know.
///
/// Names and numbers: `src/Common/ErrorCodes.cpp` of ClickHouse 26.9; "seen" means seen on that engine.
const KNOWN: &[(u32, FailureKind)] = &[
    (36, FailureKind::Denied), // BAD_ARGUMENTS; seen: a disk that is not in backups.allowed_disk, or does not exist
    (60, FailureKind::NotFound), // UNKNOWN_TABLE; seen
    (81, FailureKind::NotFound), // UNKNOWN_DATABASE; seen
    (159, FailureKind::TimedOut), // TIMEOUT_EXCEEDED; max_execution_time of the profile
    (192, FailureKind::Denied), // UNKNOWN_USER
    (202, FailureKind::Busy),  // TOO_MANY_SIMULTANEOUS_QUERIES
    (209, FailureKind::Unreachable), // SOCKET_TIMEOUT
    (210, FailureKind::Unreachable), // NETWORK_ERROR
    (241, FailureKind::OutOfMemory), // MEMORY_LIMIT_EXCEEDED; ClickHouse issue 92649
    (291, FailureKind::Denied), // DATABASE_ACCESS_DENIED
    (344, FailureKind::Denied), // SUPPORT_IS_DISABLED
    (394, FailureKind::Cancelled), // QUERY_WAS_CANCELLED; seen after KILL QUERY
    (497, FailureKind::Denied), // ACCESS_DENIED
    (516, FailureKind::Denied), // AUTHENTICATION_FAILED; seen
    (598, FailureKind::Exists), // BACKUP_ALREADY_EXISTS; seen, in system.backups
    (599, FailureKind::NotFound), // BACKUP_NOT_FOUND; seen
    (605, FailureKind::NotFound), // BACKUP_ENTRY_NOT_FOUND; seen: a table that is not in the backup
    (608, FailureKind::NonEmptyTarget), // CANNOT_RESTORE_TABLE; seen: the table holds rows
    (669, FailureKind::NotFound), // NAMED_COLLECTION_DOESNT_EXIST; seen
];

/// What a number means; [`FailureKind::Unknown`] where nobody told.
#[must_use]
pub(super) fn failure_kind(code: u32) -> FailureKind {
    KNOWN
        .iter()
        .find(|(known, _)| *known == code)
        .map_or(FailureKind::Unknown, |(_, kind)| *kind)
}

/// The number in ClickHouse's text: `Code: 598. DB::Exception: …`.
#[must_use]
pub(super) fn parse(text: &str) -> Option<u32> {
    let rest = text.trim_start().strip_prefix("Code: ")?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}

/// The kind of an error text of `system.backups.error`.
#[must_use]
pub(super) fn kind_of_text(text: &str) -> FailureKind {
    match parse(text) {
        // The same number where a table of another definition is in the way (seen), empty or not.
        Some(608) if text.contains("different definition") => FailureKind::Unknown,
        Some(code) => failure_kind(code),
        None => FailureKind::Unknown,
    }
}

/// The text of `system.backups.error` without the stack trace of the server.
#[must_use]
pub(super) fn without_trace(text: &str) -> &str {
    text.split_once(", Stack trace")
        .map_or(text, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_from_the_text() {
        assert_eq!(
            parse("Code: 598. DB::Exception: Backup Disk('s3_backup', 'x') already exists."),
            Some(598)
        );
        assert_eq!(parse("Code: 36, e.displayText() = DB::Exception"), Some(36));
        assert_eq!(parse("<html>502 Bad Gateway</html>"), None);
        assert_eq!(parse("Code: 99999999999."), None);
        assert_eq!(
            kind_of_text("Code: 599. DB::Exception: Backup not found"),
            FailureKind::NotFound
        );
        assert_eq!(kind_of_text("Code: 12345. x"), FailureKind::Unknown);
    }

    #[test]
    fn numbers_are_sorted_and_said_once() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
