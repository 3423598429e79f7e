//! For tests: operations as a schedule and a client make them.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Attempt, AttemptId, BackupWork, Delivery, Failure, FailureKind, Limits, Operation, OperationId,
    Outcome, Retry, Server, State, Trigger, Work,
};
use crate::backup::{BackupName, Place, Scope};
use crate::schedule::ScheduleName;

pub fn server() -> Server {
    Server {
        uuid: uuid::Uuid::from_u128(1),
        host: "ch-0".into(),
        started_at: Timestamp::UNIX_EPOCH,
    }
}

pub fn outcome() -> Outcome {
    Outcome {
        finished_at: Timestamp::UNIX_EPOCH,
        files: 12,
        bytes: 4_096,
        bytes_written: 2_048,
    }
}

pub fn attempt(number: u32) -> Attempt {
    let daily = ScheduleName::try_from("daily".to_owned()).unwrap();
    Attempt {
        id: AttemptId::of_slot(&daily, Timestamp::UNIX_EPOCH, number),
        backup: BackupName::parse("1970-01-01").unwrap(),
        place: Place::Disk("s3_backup".into()),
        started_at: Timestamp::UNIX_EPOCH,
        ended_at: None,
        delivery: Delivery::MaybeSent,
        server: Some(server()),
        tables: Some(3),
        bytes_expected: None,
        manifest: None,
        is_cleared: false,
        failure: None,
    }
}

pub fn daily() -> Operation {
    let schedule = ScheduleName::try_from("daily".to_owned()).unwrap();
    let slot = Timestamp::UNIX_EPOCH;
    let name = BackupName::parse("1970-01-01").unwrap();
    let limits = Limits {
        timeout: Duration::from_secs(3_600),
        deadline: Some("1970-01-01T04:00:00Z".parse().unwrap()),
        unreachable: Duration::from_secs(300),
        cancel: Duration::from_secs(600),
        retry: Retry {
            attempts: 3,
            delay: Duration::from_secs(300),
        },
    };
    let work = Work::Backup(BackupWork {
        name,
        scope: Scope::everything(),
        base: None,
        increments: None,
        kind_reason: None,
    });
    let id = OperationId::of_slot(&schedule, slot);
    Operation::new(
        id,
        Trigger::Schedule {
            schedule,
            slot,
            run: 1,
        },
        work,
        "create 1970-01-01".into(),
        limits,
        slot,
    )
}

/// A client's backup that ended like this.
pub fn ended(state: State) -> Operation {
    Operation {
        trigger: Trigger::Client,
        state,
        failure: (state == State::Failed)
            .then(|| Failure::new(FailureKind::Unknown, "it \"broke\"")),
        ..daily()
    }
}
