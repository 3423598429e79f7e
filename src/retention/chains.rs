//! Which backups have a chain that can be followed, for all of them in one pass.

use super::Reason;
use crate::backup::Backup;

/// Where the base of a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// It has none.
    None,
    /// It is not there.
    Missing,
    /// There, in the same list.
    At(usize),
}

/// What speaks against the chain below each backup; `None`: it can be followed to its full one, and
/// none of that is damaged.
///
/// Every backup is walked over once, whatever the length of the chains.
pub(super) fn doubts(backups: &[&Backup], bases: &[Base]) -> Vec<Option<Reason>> {
    let mut known: Vec<Option<Option<Reason>>> = vec![None; backups.len()];
    let mut walked_from = vec![usize::MAX; backups.len()];
    for start in 0..backups.len() {
        let mut path = Vec::new();
        let mut end = None;
        let mut next = Some(start);
        while let Some(at) = next.filter(|at| known[*at].is_none()) {
            if walked_from[at] == start {
                end = Some(Reason::Ring);
                break;
            }
            walked_from[at] = start;
            path.push(at);
            next = match bases[at] {
                Base::At(base) => Some(base),
                Base::None => None,
                Base::Missing => {
                    let base = backups[at].base.clone();
                    end = base.map(|base| Reason::BaseMissing { base });
                    None
                }
            };
        }
        for at in path.into_iter().rev() {
            let inherited = match bases[at] {
                Base::At(base) => known[base]
                    .clone()
                    .flatten()
                    .or_else(|| damage(backups[base])),
                Base::None | Base::Missing => None,
            };
            known[at] = Some(end.take().or(inherited));
        }
    }
    known.into_iter().map(Option::flatten).collect()
}

fn damage(base: &Backup) -> Option<Reason> {
    base.is_damaged().then(|| Reason::BaseDamaged {
        base: base.name.clone(),
    })
}
