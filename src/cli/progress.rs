//! How far an operation is: a bar where somebody watches, else a plain line now and then.

use std::time::Duration;

use clickhouse_backupd::api::v1::operation::{Operation, OperationKind, OperationState, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;
use tokio::time::Instant;

use super::operation::name;
use super::output::Output;
use super::text::{self, Look};
use super::wait::doing;

/// How long one question is held back where a bar moves.
const BAR_PIECE: Duration = Duration::from_secs(1);
/// How long one question is held back where lines are printed, and the least time between two of them
/// that tell nothing but progress.
const LINES_PIECE: Duration = Duration::from_secs(10);
/// How much of a line the name of an operation may take beside its bar.
const NAME_MAX_CHARS: usize = 24;
/// Time left is told when one part of so many is done: before, it is a guess.
const LEFT_MIN_PART: u64 = 50;
/// Time left is told after this much of steady speed: before, the first pieces are taken for the rest.
const LEFT_MIN_STEADY: Duration = Duration::from_secs(3);
/// A speed is steady while it is within this factor of what it was when it began to be.
const STEADY_FACTOR: u64 = 2;
/// Between two movements of a bar.
const TICK: Duration = Duration::from_millis(120);

/// Shows an operation while it goes on, on standard error.
pub enum Reporter {
    /// A bar that is drawn again and again.
    Bar {
        /// The bar.
        bar: ProgressBar,
        /// How steadily it moves.
        pace: Pace,
    },
    /// A line at each change.
    Lines {
        /// What was told last.
        told: Option<String>,
        /// When something was told last.
        at: Option<Instant>,
    },
}

/// Whether the speed of an operation says how long it will take.
#[derive(Debug, Default)]
pub struct Pace {
    /// Since when, and with how many bytes a second, it has been steady.
    since: Option<(Instant, u64)>,
    /// It was steady for long enough, and has not stood still since.
    is_steady: bool,
}

impl Reporter {
    /// A bar where somebody watches.
    pub fn new(is_watched: bool, operation: &Operation) -> Self {
        if is_watched {
            let bar = ProgressBar::new_spinner();
            let mut pace = Pace::default();
            draw(&bar, &mut pace, operation, operation.state.as_str());
            bar.enable_steady_tick(TICK);
            Self::Bar { bar, pace }
        } else {
            Self::Lines {
                told: None,
                at: None,
            }
        }
    }

    /// How long the next question may be held back.
    pub fn piece(&self) -> Duration {
        match self {
            Self::Bar { .. } => BAR_PIECE,
            Self::Lines { .. } => LINES_PIECE,
        }
    }

    /// Shows where it stands.
    pub fn show(
        &mut self,
        operation: &Operation,
        behind: Option<&str>,
        look: &Look,
        output: &Output,
    ) {
        let doing = doing(operation, behind, look);
        match self {
            Self::Bar { bar, pace } => draw(bar, pace, operation, &doing),
            Self::Lines { told, at } => {
                let changed = told.as_ref() != Some(&doing);
                let is_time = at.is_none_or(|at| at.elapsed() >= LINES_PIECE);
                let moves = is_time && operation.progress.is_some();
                if changed || moves {
                    let far = operation
                        .progress
                        .as_ref()
                        .filter(|_| is_running(operation));
                    let far = far.map(|progress| format!(": {}", far_of(progress, operation.kind)));
                    let line = format!("{}: {doing}{}", name(operation), far.unwrap_or_default());
                    output.aside(&line);
                    *at = Some(Instant::now());
                }
                *told = Some(doing);
            }
        }
    }

    /// Takes the bar away, so that text can follow.
    pub fn clear(&self) {
        if let Self::Bar { bar, .. } = self {
            bar.finish_and_clear();
        }
    }
}

impl Pace {
    /// Takes the speed of this moment, 0 where it stands still, and says whether time left can be told.
    fn at(&mut self, now: Instant, bytes_per_second: u64) -> bool {
        if bytes_per_second == 0 {
            *self = Self::default();
            return false;
        }
        let like = |speed: u64| {
            bytes_per_second <= speed.saturating_mul(STEADY_FACTOR)
                && speed <= bytes_per_second.saturating_mul(STEADY_FACTOR)
        };
        match self.since {
            Some((since, speed)) if like(speed) => {
                self.is_steady |= now.duration_since(since) >= LEFT_MIN_STEADY;
            }
            _ => self.since = Some((now, bytes_per_second)),
        }
        self.is_steady
    }
}

fn is_running(operation: &Operation) -> bool {
    matches!(
        operation.state,
        OperationState::Running | OperationState::Cancelling
    )
}

fn draw(bar: &ProgressBar, pace: &mut Pace, operation: &Operation, doing: &str) {
    let progress = operation.progress.filter(|_| is_running(operation));
    let total = progress.and_then(|progress| Some((progress, progress.bytes_total?)));
    let template = if total.is_some() {
        "{prefix} [{bar:10}] {wide_msg}"
    } else {
        "{spinner} {prefix}  {wide_msg}"
    };
    // Both templates are ours; if one were wrong, the bar would keep the style it has.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(text::middle(&name(operation), NAME_MAX_CHARS));
    let Some(progress) = progress else {
        bar.set_message(doing.to_owned());
        return;
    };
    if let Some((progress, total)) = total {
        bar.set_length(total.max(progress.bytes_done));
    }
    bar.set_position(progress.bytes_done);
    let goes_well =
        operation.state == OperationState::Running && operation.unreachable_since.is_none();
    if !goes_well {
        *pace = Pace::default();
        bar.set_message(format!("{doing}  {}", far_of(&progress, operation.kind)));
        return;
    }
    let speed = bar.per_sec() as u64;
    let is_steady = pace.at(Instant::now(), speed);
    let left = (is_steady && is_telling(&progress)).then(|| bar.eta());
    bar.set_message(moving(&progress, operation.kind, speed, left));
}

/// Whether enough is done, and enough is left, to say how long it will take.
fn is_telling(progress: &Progress) -> bool {
    progress.bytes_total.is_some_and(|total| {
        progress.bytes_done >= total / LEFT_MIN_PART && progress.bytes_done < total
    })
}

/// `1.21 GiB of ~3.40 GiB, 120 files`: a backup's total is what its tables had when it began.
pub fn far_of(progress: &Progress, kind: OperationKind) -> String {
    let (bytes, files) = parts(progress, kind);
    format!("{bytes}, {files}")
}

fn parts(progress: &Progress, kind: OperationKind) -> (String, String) {
    let done = text::bytes(progress.bytes_done);
    let about = match kind {
        OperationKind::Backup => "~",
        OperationKind::Restore | OperationKind::Verify | OperationKind::Delete => "",
    };
    let bytes = match progress.bytes_total {
        Some(total) => format!("{done} of {about}{}", text::bytes(total)),
        None => done,
    };
    let files = match progress.files_total {
        Some(total) => format!(
            "{} of {}",
            text::count(progress.files_done),
            text::counted(total, "file")
        ),
        None => text::counted(progress.files_done, "file"),
    };
    (bytes, files)
}

/// The same with time left and speed; what matters least is last, where a narrow terminal cuts.
fn moving(
    progress: &Progress,
    kind: OperationKind,
    bytes_per_second: u64,
    left: Option<Duration>,
) -> String {
    let (bytes, files) = parts(progress, kind);
    if bytes_per_second == 0 {
        return format!("{bytes}, {files}");
    }
    let left = left.and_then(|left| SignedDuration::try_from(left).ok());
    let left = left.map_or(String::new(), |left| {
        format!(", {} left", text::length(left))
    });
    let speed = text::bytes(bytes_per_second);
    format!("{bytes}{left}, {speed}/s, {files}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_after_three_steady_seconds() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert!(!pace.at(after(0), 5_000_000), "the first piece");
        assert!(!pace.at(after(2), 20_000_000), "it grows: from here on");
        assert!(!pace.at(after(4), 31_000_000), "two seconds");
        assert!(pace.at(after(5), 30_000_000));
        assert!(pace.at(after(6), 90_000_000), "no flicker once it is told");
        assert!(!pace.at(after(7), 0), "it stands still");
        assert!(!pace.at(after(8), 30_000_000));
        assert!(pace.at(after(11), 30_000_000));
    }

    #[test]
    fn a_backup_estimates_and_a_restore_knows() {
        let mut progress = Progress {
            files_done: 120,
            files_total: None,
            bytes_done: 1_300_000_000,
            bytes_total: Some(3_650_000_000),
        };
        assert_eq!(
            far_of(&progress, OperationKind::Backup),
            "1.21 GiB of ~3.40 GiB, 120 files"
        );
        progress.files_total = Some(1_400);
        let left = Some(Duration::from_secs(75));
        assert_eq!(
            moving(&progress, OperationKind::Restore, 31_000_000, left),
            "1.21 GiB of 3.40 GiB, 1m 15s left, 29.56 MiB/s, 120 of 1,400 files"
        );
        assert!(is_telling(&progress));
        progress.bytes_total = Some(100_000_000_000);
        assert!(!is_telling(&progress), "a hundredth is a guess");
        progress.bytes_total = Some(3_650_000_000);
        assert_eq!(
            moving(&progress, OperationKind::Restore, 0, left),
            "1.21 GiB of 3.40 GiB, 120 of 1,400 files"
        );
    }
}
