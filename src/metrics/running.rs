//! What is at work, and what waits.

use jiff::Timestamp;

use super::families::Families;
use super::name;
use super::process::KINDS;
use super::scrape::Scrape;
use crate::operation::{ItemState, Operation, State};

/// The gauges of every kind of operation; `began` is when this process did.
pub(super) fn put(scrape: &Scrape<'_>, began: Option<Timestamp>, into: &mut Families) {
    for kind in KINDS {
        let of_kind = |operation: &&Operation| operation.kind() == kind;
        let unfinished = || scrape.view.unfinished().map(AsRef::as_ref).filter(of_kind);
        let waiting = unfinished().filter(|operation| operation.state == State::Pending);
        into.put(name::WAITING, &[kind], waiting.count() as u64);
        let active = || unfinished().filter(|operation| operation.state.is_active());
        into.put(name::RUNNING, &[kind], active().count() as u64);
        let start = active().filter_map(begun).min();
        into.put_time(name::RUNNING_START, &[kind], start);
        let moved = active().filter_map(|operation| moved(scrape, operation, began));
        into.put_time(name::RUNNING_MOVED, &[kind], moved.min());
        let bytes = active().map(|operation| bytes(scrape, operation));
        let (done, total) = bytes.fold((0_u64, 0_u64), |sum, (done, total)| {
            (sum.0.saturating_add(done), sum.1.saturating_add(total))
        });
        into.put(name::RUNNING_DONE, &[kind], done);
        into.put(name::RUNNING_TOTAL, &[kind], total);
    }
}

fn begun(operation: &Operation) -> Option<Timestamp> {
    let attempt = operation.attempt().map(|attempt| attempt.started_at);
    attempt.or(operation.started_at)
}

/// Before this process has seen it move, it has moved when it began, or when the process did: what
/// happened before that nobody knows any more.
fn moved(
    scrape: &Scrape<'_>,
    operation: &Operation,
    began: Option<Timestamp>,
) -> Option<Timestamp> {
    let seen = scrape.progress.get(&operation.id).map(|moved| moved.at);
    seen.max(began.max(begun(operation)))
}

/// Bytes done, and bytes in all where that is known.
fn bytes(scrape: &Scrape<'_>, operation: &Operation) -> (u64, u64) {
    let items = operation.items.iter().map(|item| match item.state {
        ItemState::Done { bytes, .. } => bytes,
        ItemState::Waiting | ItemState::Begun | ItemState::Left { .. } => 0,
    });
    let items = items.fold(0, u64::saturating_add);
    let progress = scrape.progress.get(&operation.id);
    let progress = progress.map(|moved| moved.progress).unwrap_or_default();
    let expected = operation
        .attempt()
        .and_then(|attempt| attempt.bytes_expected);
    let total = match progress.bytes_total {
        0 => expected.unwrap_or(0),
        known => known,
    };
    (progress.bytes_done.max(items), total)
}
