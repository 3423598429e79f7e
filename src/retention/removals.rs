//! In which order the backups of a plan go.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::{Line, Plan, Verdict};
use crate::backup::BackupName;

impl Plan {
    /// What goes now, in the order in which it goes: dependents before their bases, else newest first.
    ///
    /// Nothing while there is a stop, so that no caller can forget to ask.
    pub fn removals(&self) -> impl Iterator<Item = &Line> {
        let marked = if self.stops.is_empty() {
            self.lines.as_slice()
        } else {
            &[]
        };
        in_order(marked).into_iter()
    }
}

/// Interrupted after any of them, nothing that is left lacks its base.
fn in_order(lines: &[Line]) -> Vec<&Line> {
    let going: HashMap<&BackupName, usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.verdict == Verdict::Remove)
        .map(|(index, line)| (&line.backup, index))
        .collect();
    let base_of = |index: usize| {
        let base = lines[index].base.as_ref()?;
        going.get(base).copied()
    };
    let mut dependents = vec![0_usize; lines.len()];
    for base in going.values().filter_map(|index| base_of(*index)) {
        dependents[base] += 1;
    }
    // Lines are newest first within their group: of two of the same second the earlier line goes first.
    let rank = |index: usize| (lines[index].created_at, Reverse(index));
    let mut free: BinaryHeap<_> = going
        .values()
        .filter(|index| dependents[**index] == 0)
        .map(|index| rank(*index))
        .collect();
    let mut ordered = Vec::with_capacity(going.len());
    while let Some((_, Reverse(index))) = free.pop() {
        ordered.push(&lines[index]);
        if let Some(base) = base_of(index) {
            dependents[base] -= 1;
            if dependents[base] == 0 {
                free.push(rank(base));
            }
        }
    }
    ordered
}
