//! The only reader of wall time.

use jiff::Timestamp;

/// Where the time comes from: the system, or a moment that moves with tokio's clock, which tests can
/// pause and advance.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's wall clock.
    System,
    /// A wall time, and tokio's time at that moment.
    Anchored {
        /// The wall time.
        wall: Timestamp,
        /// Tokio's time then.
        tokio: tokio::time::Instant,
    },
}

impl Clock {
    /// A clock that shows `wall` now and moves with tokio's.
    #[must_use]
    pub fn anchored(wall: Timestamp) -> Self {
        Self::Anchored {
            wall,
            tokio: tokio::time::Instant::now(),
        }
    }

    /// The time now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Anchored { wall, tokio } => wall
                .saturating_add(tokio.elapsed())
                .unwrap_or(Timestamp::MAX),
        }
    }
}
