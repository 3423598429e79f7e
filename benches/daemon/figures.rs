//! Samples, units, and whether an aim is met.

/// Over the raw statement at most this part of it …
const OVER_RAW_MAX_FRACTION: f64 = 0.05;
/// … or this much, in milliseconds, whichever is more.
const OVER_RAW_MAX_MS: f64 = 30.0;

/// What a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Mebibytes.
    MiB,
    /// Megabytes a second.
    MegabytesPerSecond,
    /// A count of something each second.
    PerSecond,
    /// A count, named.
    Count(&'static str),
}

/// The figures of several rounds.
#[derive(Debug, Clone)]
pub struct Sample {
    unit: Unit,
    sorted: Vec<f64>,
}

/// What a figure is measured against.
#[derive(Debug, Clone, Copy)]
pub enum Aim {
    /// Nothing: it is there to be read.
    None,
    /// The median is at most this.
    AtMost(f64),
    /// The median is at least this.
    AtLeast(f64),
    /// The median is near that of the raw statement.
    NearRaw,
}

impl Sample {
    /// The figures of all rounds, in any order.
    pub fn of(unit: Unit, figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { unit, sorted }
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        let (n, sorted) = (self.sorted.len(), &self.sorted);
        match n {
            0 => f64::NAN,
            _ if n % 2 == 1 => sorted[n / 2],
            _ => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// `median (min..max, n)`; a single figure stands alone.
    pub fn shown(&self) -> String {
        let median = self.unit.shown(self.median());
        match self.sorted.as_slice() {
            [] | [_] => median,
            [least, .., most] => format!(
                "{median} ({}..{}, n={})",
                self.unit.number(*least),
                self.unit.number(*most),
                self.sorted.len()
            ),
        }
    }

    /// How far this is from another sample.
    pub fn difference(&self, raw: &Self) -> String {
        let (ours, raw) = (self.median(), raw.median());
        let sign = if ours < raw { "-" } else { "+" };
        format!(
            "{sign}{}, {sign}{:.0} %",
            self.unit.shown((ours - raw).abs()),
            ((ours - raw) / raw * 100.0).abs()
        )
    }
}

impl Aim {
    /// In words.
    pub fn shown(self, unit: Unit) -> String {
        match self {
            Self::None => String::new(),
            Self::AtMost(limit) => format!("≤ {}", unit.shown(limit)),
            Self::AtLeast(limit) => format!("≥ {}", unit.shown(limit)),
            Self::NearRaw => format!(
                "≤ raw + {:.0} % or {OVER_RAW_MAX_MS:.0} ms",
                OVER_RAW_MAX_FRACTION * 100.0
            ),
        }
    }

    /// Whether it is met; `None` where there is none.
    pub fn is_met(self, ours: &Sample, raw: Option<&Sample>) -> Option<bool> {
        let median = ours.median();
        match self {
            Self::None => None,
            Self::AtMost(limit) => Some(median <= limit),
            Self::AtLeast(limit) => Some(median >= limit),
            Self::NearRaw => raw.map(|raw| {
                let allowed = (raw.median() * OVER_RAW_MAX_FRACTION).max(OVER_RAW_MAX_MS);
                median - raw.median() <= allowed
            }),
        }
    }
}

impl Sample {
    /// What it is of.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

impl Unit {
    /// A figure with its unit.
    pub fn shown(self, figure: f64) -> String {
        let number = self.number(figure);
        match self {
            Self::Ms => format!("{number} ms"),
            Self::Us => format!("{number} µs"),
            Self::MiB => format!("{number} MiB"),
            Self::MegabytesPerSecond => format!("{number} MB/s"),
            Self::PerSecond => format!("{number}/s"),
            Self::Count("") => number,
            Self::Count(what) => format!("{number} {what}"),
        }
    }

    fn number(self, figure: f64) -> String {
        let digits = match self {
            Self::Count(_) | Self::PerSecond => 0,
            _ if figure.abs() < 10.0 => 2,
            _ if figure.abs() < 1_000.0 => 1,
            _ => 0,
        };
        format!("{figure:.digits$}")
    }
}

/// The figure below which `part` (0 to 1) of a sorted list lies.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).ceil() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}
