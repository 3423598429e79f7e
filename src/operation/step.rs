//! What an operation does next: a function of its record, one look at the server, and the time.

use jiff::{SignedDuration, Timestamp};

use super::{
    Attempt, AttemptId, CancelCause, Delivery, Event, Failure, FailureKind, Operation, Outcome,
    Server, State, Work,
};

/// Two readings of `now() - uptime()` of one run of a server differ by at most the rounding of both.
const SERVER_START_JITTER: SignedDuration = SignedDuration::from_secs(2);

/// How long a statement whose answer did not come may still be under way.
const STATEMENT_UNDER_WAY_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// One look at a server: who it is, and what it knows of our attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The server that answered.
    pub server: Server,
    /// Its rows of `system.backups` under our ids.
    pub rows: Vec<Row>,
}

/// A row of `system.backups`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The attempt.
    pub id: AttemptId,
    /// Where it stands.
    pub status: RowStatus,
    /// Counters, as far as the server has them.
    pub progress: Progress,
}

/// The status of a row, without the words of ClickHouse.
#[derive(Debug, Clone, PartialEq)]
pub enum RowStatus {
    /// At work.
    Running,
    /// `BACKUP_CREATED` or `RESTORED`.
    Finished(Outcome),
    /// `BACKUP_FAILED` or `RESTORE_FAILED`.
    Failed(Failure),
    /// `BACKUP_CANCELLED` or `RESTORE_CANCELLED`.
    Cancelled,
}

/// How far an attempt is. A total of 0 is one that is not known: a backup never tells its total, and
/// a restore only after it has read the manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files so far.
    pub files_done: u64,
    /// Files in all.
    pub files_total: u64,
    /// Bytes so far.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// What is known of an attempt after a look: the one place where views are folded into one.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Nobody answered, or another server did, which proves nothing.
    Unreachable(String),
    /// The right server answered and has no row.
    Absent {
        /// Whether nothing of the attempt can run any more, and how that is known.
        dead: Option<Dead>,
    },
    /// The server has a row.
    Row(RowStatus, Server),
}

/// How it is known that nothing of an attempt runs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dead {
    /// The server was started after the attempt began, so it has forgotten what ran before.
    Restarted,
    /// The server has no row of it, and nothing changed in the destination for long.
    Quiet,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing but looking again.
    Wait,
    /// Send the statement (again).
    Send,
    /// Ask the server to end the attempt (again).
    Kill,
    /// Record what happened.
    Record(Event),
}

/// Folds a look into what it says about one attempt.
#[must_use]
pub fn observe(look: Result<&Look, &str>, attempt: &Attempt) -> Seen {
    let look = match look {
        Ok(look) => look,
        Err(text) => return Seen::Unreachable(text.to_owned()),
    };
    if let Some(row) = look.rows.iter().find(|row| row.id == attempt.id) {
        return Seen::Row(row.status.clone(), look.server.clone());
    }
    match &attempt.server {
        Some(server) if server.uuid != look.server.uuid => Seen::Unreachable(format!(
            "the attempt belongs to the server {} ({}), and {} ({}) answered",
            server.host, server.uuid, look.server.host, look.server.uuid
        )),
        Some(server) => {
            let later = look.server.started_at.duration_since(server.started_at);
            Seen::Absent {
                dead: (later > SERVER_START_JITTER).then_some(Dead::Restarted),
            }
        }
        None => Seen::Absent { dead: None },
    }
}

/// The next step of an operation that holds the lane.
#[must_use]
pub fn next_step(operation: &Operation, seen: &Seen, now: Timestamp) -> Step {
    let Some(attempt) = operation.attempt() else {
        return Step::Wait;
    };
    match operation.state {
        State::Starting => starting(operation, attempt, seen, now),
        State::Running => running(operation, attempt, seen, now),
        State::Cancelling(_) => cancelling(operation, attempt, seen, now),
        _ => Step::Wait,
    }
}

fn starting(operation: &Operation, attempt: &Attempt, seen: &Seen, now: Timestamp) -> Step {
    match seen {
        Seen::Row(_, server) => Step::Record(Event::Accepted(server.clone())),
        Seen::Absent { dead: Some(dead) } if attempt.delivery != Delivery::NotSent => {
            lost(operation, *dead, now)
        }
        Seen::Absent { .. } | Seen::Unreachable(_)
            if overdue(operation, attempt, now).is_some() =>
        {
            ended_by_time(operation, attempt, now)
        }
        Seen::Absent { .. } if attempt.delivery == Delivery::Accepted => Step::Wait,
        Seen::Absent { .. } => Step::Send,
        Seen::Unreachable(text) => match operation.unreachable_since {
            Some(since)
                if operation.limits.deadline.is_none()
                    && elapsed(since, now) >= operation.limits.unreachable =>
            {
                unreachable(attempt, text)
            }
            _ => Step::Wait,
        },
    }
}

fn running(operation: &Operation, attempt: &Attempt, seen: &Seen, now: Timestamp) -> Step {
    match seen {
        Seen::Row(RowStatus::Finished(outcome), _) => Step::Record(Event::Finished(*outcome)),
        Seen::Row(RowStatus::Failed(failure), _) => {
            let retry_at = operation.retry_at(failure.kind, now);
            Step::Record(Event::AttemptFailed {
                failure: failure.clone(),
                retry_at,
            })
        }
        Seen::Row(RowStatus::Cancelled, _) => {
            let failure = Failure::new(
                FailureKind::Cancelled,
                "someone cancelled it on the ClickHouse server (KILL QUERY)",
            );
            Step::Record(Event::AttemptFailed {
                failure,
                retry_at: None,
            })
        }
        Seen::Absent { dead: Some(dead) } => lost(operation, *dead, now),
        Seen::Row(RowStatus::Running, _) | Seen::Absent { dead: None } | Seen::Unreachable(_) => {
            overdue(operation, attempt, now)
                .map_or(Step::Wait, |cause| Step::Record(Event::Cancel(cause)))
        }
    }
}

fn cancelling(operation: &Operation, attempt: &Attempt, seen: &Seen, now: Timestamp) -> Step {
    let asked = operation.cancel_asked_at.unwrap_or(now);
    let expired = elapsed(asked, now) >= operation.limits.cancel;
    match seen {
        Seen::Row(RowStatus::Finished(outcome), _) => Step::Record(Event::Finished(*outcome)),
        Seen::Row(RowStatus::Failed(_) | RowStatus::Cancelled, _)
        | Seen::Absent { dead: Some(_) } => Step::Record(Event::Gone),
        Seen::Absent { dead: None } if surely_absent(attempt, asked, now) => {
            Step::Record(Event::Gone)
        }
        _ if expired => Step::Record(Event::Unconfirmed),
        Seen::Row(RowStatus::Running, _) => Step::Kill,
        Seen::Absent { .. } | Seen::Unreachable(_) => Step::Wait,
    }
}

/// Whether a statement that the server does not know will not arrive any more: one whose answer did
/// not come may still be on its way.
fn surely_absent(attempt: &Attempt, asked: Timestamp, now: Timestamp) -> bool {
    match attempt.delivery {
        Delivery::NotSent => true,
        Delivery::MaybeSent => elapsed(asked, now) >= STATEMENT_UNDER_WAY_MAX,
        Delivery::Accepted => false,
    }
}

fn lost(operation: &Operation, dead: Dead, now: Timestamp) -> Step {
    let text = match dead {
        Dead::Restarted => {
            "the ClickHouse server restarted while it ran, and knows nothing of it any more"
        }
        Dead::Quiet => {
            "the ClickHouse server knows nothing of it, and nothing changed in the destination for 10 minutes"
        }
    };
    let failure = match operation.work {
        Work::Backup(_) | Work::Verify(_) | Work::Delete(_) => {
            Failure::new(FailureKind::Lost, text)
        }
        Work::Restore(_) => Failure::new(
            FailureKind::Lost,
            format!(
                "{text}; rows may have been restored, wholly or in part: look at the tables before you repeat it"
            ),
        ),
    };
    Step::Record(Event::AttemptFailed {
        failure,
        retry_at: operation.retry_at(FailureKind::Lost, now),
    })
}

/// What ended the time of an operation, if it is over.
fn overdue(operation: &Operation, attempt: &Attempt, now: Timestamp) -> Option<CancelCause> {
    if operation
        .limits
        .deadline
        .is_some_and(|deadline| now >= deadline)
    {
        Some(CancelCause::Deadline)
    } else if elapsed(attempt.started_at, now) >= operation.limits.timeout {
        Some(CancelCause::Timeout)
    } else {
        None
    }
}

/// A statement that surely never left needs no cancelling; any other one does.
fn ended_by_time(operation: &Operation, attempt: &Attempt, now: Timestamp) -> Step {
    match (attempt.delivery, overdue(operation, attempt, now)) {
        (Delivery::NotSent, _) | (_, None) => unreachable(attempt, "no answer until the deadline"),
        (_, Some(cause)) => Step::Record(Event::Cancel(cause)),
    }
}

fn unreachable(attempt: &Attempt, text: &str) -> Step {
    if attempt.delivery == Delivery::NotSent {
        let failure = Failure::new(FailureKind::Unreachable, text);
        Step::Record(Event::AttemptFailed {
            failure,
            retry_at: None,
        })
    } else {
        Step::Record(Event::Cancel(CancelCause::Deadline))
    }
}

fn elapsed(since: Timestamp, now: Timestamp) -> std::time::Duration {
    now.duration_since(since).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{attempt, daily as operation, outcome, server};
    use super::*;
    use rstest::rstest;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn starting(delivery: Delivery) -> Operation {
        let attempt = Attempt {
            delivery,
            ..attempt(1)
        };
        operation()
            .apply(Event::Begun(Box::new(attempt)), Timestamp::UNIX_EPOCH)
            .unwrap()
    }

    fn running() -> Operation {
        starting(Delivery::MaybeSent)
            .apply(Event::Accepted(server()), Timestamp::UNIX_EPOCH)
            .unwrap()
    }

    fn cancelling(delivery: Delivery) -> Operation {
        let operation = if delivery == Delivery::Accepted {
            running()
        } else {
            starting(delivery)
        };
        operation
            .apply(Event::Cancel(CancelCause::Caller), Timestamp::UNIX_EPOCH)
            .unwrap()
    }

    fn row(status: RowStatus) -> Seen {
        Seen::Row(status, server())
    }

    fn word(step: &Step) -> String {
        match step {
            Step::Record(Event::AttemptFailed { failure, retry_at }) => {
                format!(
                    "{}{}",
                    failure.kind,
                    if retry_at.is_some() { ", again" } else { "" }
                )
            }
            Step::Record(event) => event.as_str().to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    const SOON: &str = "1970-01-01T00:00:10Z";
    const AFTER_TIMEOUT: &str = "1970-01-01T01:00:00Z";
    const AFTER_DEADLINE: &str = "1970-01-01T04:00:00Z";

    #[rstest]
    #[case(starting(Delivery::NotSent), Seen::Absent { dead: None }, SOON, "send")]
    #[case(starting(Delivery::NotSent), Seen::Absent { dead: Some(Dead::Restarted) }, SOON, "send")]
    #[case(starting(Delivery::MaybeSent), Seen::Absent { dead: None }, SOON, "send")]
    #[case(starting(Delivery::MaybeSent), Seen::Absent { dead: Some(Dead::Restarted) }, SOON, "lost, again")]
    #[case(starting(Delivery::Accepted), Seen::Absent { dead: None }, SOON, "wait")]
    #[case(starting(Delivery::MaybeSent), Seen::Unreachable("x".into()), SOON, "wait")]
    #[case(starting(Delivery::MaybeSent), Seen::Unreachable("x".into()), AFTER_DEADLINE, "cancel")]
    #[case(starting(Delivery::NotSent), Seen::Unreachable("x".into()), AFTER_DEADLINE, "unreachable")]
    #[case(
        starting(Delivery::MaybeSent),
        row(RowStatus::Running),
        SOON,
        "accepted"
    )]
    #[case(
        starting(Delivery::MaybeSent),
        row(RowStatus::Cancelled),
        SOON,
        "accepted"
    )]
    #[case(running(), row(RowStatus::Running), SOON, "wait")]
    #[case(running(), row(RowStatus::Running), AFTER_TIMEOUT, "cancel")]
    #[case(
        running(),
        row(RowStatus::Finished(outcome())),
        AFTER_DEADLINE,
        "finished"
    )]
    #[case(
        running(),
        row(RowStatus::Failed(Failure::new(FailureKind::OutOfMemory, "x"))),
        SOON,
        "out_of_memory, again"
    )]
    #[case(
        running(),
        row(RowStatus::Failed(Failure::new(FailureKind::Denied, "x"))),
        SOON,
        "denied"
    )]
    #[case(running(), row(RowStatus::Cancelled), SOON, "cancelled")]
    #[case(running(), Seen::Absent { dead: Some(Dead::Restarted) }, SOON, "lost, again")]
    #[case(running(), Seen::Absent { dead: Some(Dead::Quiet) }, SOON, "lost, again")]
    #[case(running(), Seen::Absent { dead: None }, SOON, "wait")]
    #[case(running(), Seen::Unreachable("x".into()), SOON, "wait")]
    #[case(running(), Seen::Unreachable("x".into()), AFTER_TIMEOUT, "cancel")]
    #[case(cancelling(Delivery::Accepted), row(RowStatus::Running), SOON, "kill")]
    #[case(
        cancelling(Delivery::Accepted),
        row(RowStatus::Cancelled),
        SOON,
        "gone"
    )]
    #[case(
        cancelling(Delivery::Accepted),
        row(RowStatus::Finished(outcome())),
        SOON,
        "finished"
    )]
    #[case(cancelling(Delivery::Accepted), Seen::Absent { dead: Some(Dead::Restarted) }, SOON, "gone")]
    #[case(cancelling(Delivery::Accepted), Seen::Absent { dead: Some(Dead::Quiet) }, SOON, "gone")]
    #[case(cancelling(Delivery::Accepted), Seen::Absent { dead: None }, SOON, "wait")]
    #[case(cancelling(Delivery::Accepted), Seen::Unreachable("x".into()), SOON, "wait")]
    #[case(cancelling(Delivery::Accepted), Seen::Unreachable("x".into()), AFTER_TIMEOUT, "unconfirmed")]
    #[case(cancelling(Delivery::NotSent), Seen::Absent { dead: None }, SOON, "gone")]
    #[case(cancelling(Delivery::MaybeSent), Seen::Absent { dead: None }, SOON, "wait")]
    #[case(cancelling(Delivery::MaybeSent), Seen::Absent { dead: None }, "1970-01-01T00:01:00Z", "gone")]
    fn the_next_step(
        #[case] operation: Operation,
        #[case] seen: Seen,
        #[case] now: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(word(&next_step(&operation, &seen, at(now))), expected);
    }

    #[test]
    fn another_server_proves_nothing() {
        let attempt = attempt(1);
        let look = |server: Server, rows: Vec<Row>| Look { server, rows };
        let other = Server {
            uuid: uuid::Uuid::from_u128(2),
            started_at: at(AFTER_TIMEOUT),
            ..server()
        };
        assert!(
            matches!(observe(Ok(&look(other.clone(), vec![])), &attempt), Seen::Unreachable(text) if text.contains("ch-0"))
        );
        let row = Row {
            id: attempt.id.clone(),
            status: RowStatus::Running,
            progress: Progress::default(),
        };
        assert_eq!(
            observe(Ok(&look(other.clone(), vec![row])), &attempt),
            Seen::Row(RowStatus::Running, other)
        );
    }

    #[test]
    fn a_restart_shows_in_the_start_of_the_server() {
        let started = |secs| Look {
            server: Server {
                started_at: Timestamp::from_second(secs).unwrap(),
                ..server()
            },
            rows: vec![],
        };
        let restarted = |secs| observe(Ok(&started(secs)), &attempt(1));
        assert_eq!(restarted(1), Seen::Absent { dead: None }, "rounding");
        assert_eq!(
            restarted(60),
            Seen::Absent {
                dead: Some(Dead::Restarted)
            }
        );
        assert_eq!(
            observe(Err("gone"), &attempt(1)),
            Seen::Unreachable("gone".into())
        );
    }
}
