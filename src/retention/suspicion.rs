//! The emptied server: a backup that holds far less than those before it.

use jiff::Timestamp;

use super::Adoption;
use super::plan::newest_first;
use crate::backup::{Backup, Suspicion};

/// How many backups the usual size is taken from.
const COMPARED_BACKUPS: usize = 7;

/// Whether somebody said that the change which made it suspect is meant.
#[must_use]
pub fn is_adopted(backup: &Backup, adoptions: &[Adoption]) -> bool {
    is_adopted_by(backup, adopted_until(adoptions))
}

/// Marks a suspect backup that an adoption covers; whether anything changed.
pub fn adopt(backup: &mut Backup, adoptions: &[Adoption]) -> bool {
    if !backup.is_suspect() || !is_adopted(backup, adoptions) {
        return false;
    }
    let until = adopted_until(adoptions);
    if let Some(suspicion) = &mut backup.suspect {
        suspicion.adopted_at = until;
    }
    true
}

/// The moment up to which suspect backups are ordinary ones.
pub(super) fn adopted_until(adoptions: &[Adoption]) -> Option<Timestamp> {
    adoptions.iter().map(|adoption| adoption.at).max()
}

pub(super) fn is_adopted_by(backup: &Backup, adopted_until: Option<Timestamp>) -> bool {
    backup.suspect.is_some() && adopted_until.is_some_and(|until| backup.created_at <= until)
}

/// Why a new backup looks like that of an emptied server; `None`: it does not.
///
/// It has less than half the tables or bytes of the median of its schedule's last seven that were not
/// suspect themselves. `before` may hold anything; only what is like it is compared: older, of the
/// same schedule, with rows, and of known size. Sizes of increments include their bases, so they compare.
///
/// One predecessor is enough: a false alarm costs one `retention adopt` and keeps backups for longer,
/// while the second night of a young installation can be the one on which the volume was lost.
#[must_use]
pub fn suspicion(new: &Backup, before: &[&Backup], adoptions: &[Adoption]) -> Option<Suspicion> {
    if new.structure_only {
        return None;
    }
    let usual = ordinary(new, before, adoptions);
    let too_little = |measure: &str, of: fn(&Backup) -> Option<u64>| {
        let usual = usual_of(&usual, of)?;
        let found = of(new)?;
        (found < usual.div_ceil(2)).then(|| Suspicion {
            measure: measure.to_owned(),
            found,
            usual,
            adopted_at: None,
        })
    };
    too_little("tables", |backup| backup.tables)
        .or_else(|| too_little("bytes", |backup| backup.bytes))
}

/// The median bytes of the backups that a new one is compared with; `None`: there are none.
#[must_use]
pub fn usual_bytes(new: &Backup, before: &[&Backup], adoptions: &[Adoption]) -> Option<u64> {
    usual_of(&ordinary(new, before, adoptions), |backup| backup.bytes)
}

fn usual_of(usual: &[&Backup], of: fn(&Backup) -> Option<u64>) -> Option<u64> {
    let sizes = usual.iter().filter_map(|backup| of(backup));
    median(sizes.take(COMPARED_BACKUPS).collect())
}

/// The backups that say what is usual for a new one, newest first.
fn ordinary<'a>(new: &Backup, before: &[&'a Backup], adoptions: &[Adoption]) -> Vec<&'a Backup> {
    let Some(schedule) = new.schedule() else {
        return Vec::new();
    };
    let alike = |backup: &&Backup| {
        backup.schedule() == Some(schedule)
            && !backup.structure_only
            && newest_first(backup) > newest_first(new)
    };
    let mut earlier: Vec<&'a Backup> = before.iter().copied().filter(alike).collect();
    earlier.sort_by(|one, other| newest_first(one).cmp(&newest_first(other)));
    let ordinary = |backup: &&Backup| !backup.is_suspect() || is_adopted(backup, adoptions);
    let since = begin_of_era(&earlier, adoptions);
    earlier
        .into_iter()
        .filter(ordinary)
        .take_while(|backup| since.is_none_or(|since| backup.created_at >= since))
        .collect()
}

/// Since when backups say what is usual, `newest_first` being those of one schedule.
///
/// Once a change was adopted, what was before it says nothing about what comes after, or the next
/// small backup would be suspect again. The change came with the first suspect backup that the
/// adoption covers and no earlier one did. Where none of those is left, or there never was one, it is
/// taken to be the adoption itself; and where nothing was made since, the adoption before that one, so
/// that there is something to compare with.
fn begin_of_era(newest_first: &[&Backup], adoptions: &[Adoption]) -> Option<Timestamp> {
    let mut moments: Vec<Timestamp> = adoptions.iter().map(|adoption| adoption.at).collect();
    moments.sort_unstable();
    let newest_ordinary = newest_first
        .iter()
        .find(|backup| !backup.is_suspect() || is_adopted(backup, adoptions))?
        .created_at;
    let begin = |index: usize| {
        let at = moments[index];
        let before = index.checked_sub(1).map(|earlier| moments[earlier]);
        let covered = newest_first.iter().rev().find(|backup| {
            backup.suspect.is_some()
                && backup.created_at <= at
                && before.is_none_or(|before| backup.created_at > before)
        });
        covered.map_or(at, |first| first.created_at)
    };
    (0..moments.len())
        .rev()
        .map(begin)
        .find(|since| newest_ordinary >= *since)
}

/// The middle one, or the middle between the middle two; `None` of nothing.
#[must_use]
pub fn median(mut sizes: Vec<u64>) -> Option<u64> {
    sizes.sort_unstable();
    let upper = *sizes.get(sizes.len() / 2)?;
    let lower = *sizes.get(sizes.len().saturating_sub(1) / 2)?;
    Some(u64::midpoint(lower, upper))
}
