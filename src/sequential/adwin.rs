//! ADWIN: a window that grows while its halves agree and drops its oldest values when they do not.
//!
//! The window is kept as buckets of 1, 2, 4, … values, at most `max_buckets` of each size, so n values
//! need about `max_buckets · log2(n / max_buckets)` buckets. Every `clock` values each border between two
//! buckets is tried as a cut into an older part of n0 values and a newer one of n1:
//!
//! ```text
//! |mean0 − mean1| > sqrt(2 m v d) + (2/3) m d
//! m = 1 / (n0 − min_window_length + 1) + 1 / (n1 − min_window_length + 1),
//! v = variance of the window,  d = ln(2 ln(n) / delta)
//! ```
//!
//! While some cut holds the oldest bucket is dropped; a value after which anything was dropped is a drift.
//!
//! - Defaults: `delta` 0.002, `clock` 32, `max_buckets` 5, `min_window_length` 5, `grace_period` 10.
//! - Assumes independent values in [0, 1]; on other scales it is a heuristic, for only the second term
//!   depends on the range. It looks for a change of the mean in either direction and needs no reference.
//! - False alarms: with the published bound at most `delta` at one moment of looking; the bound as
//!   coded (variance estimated, n looks) has no proof over a whole stream but is conservative in
//!   practice. No alarm is possible within `grace_period` values of a start.
//! - Source: Bifet and Gavaldà 2007, "Learning from time-changing data with adaptive windowing",
//!   doi:10.1137/1.9781611972771.42 (ADWIN2); the variance of merged buckets: Babcock et al. 2003.

use std::collections::VecDeque;

use super::settings::{Domain, FRACTION, Parameter, SettingError, Settings};
use super::{Detector, Signal};

const DELTA: Parameter =
    Parameter::real("delta", 0.002, FRACTION, "significance of a cut: smaller alarms less");
const CLOCK: Parameter = Parameter::count("clock", 32, 1, "values between two looks for a cut");
const MAX_BUCKETS: Parameter = Parameter {
    name: "max_buckets",
    about: "buckets of one size",
    domain: Domain::Count { default: 5, least: 1, most: 1_000 },
};
const MIN_WINDOW_LENGTH: Parameter =
    Parameter::count("min_window_length", 5, 1, "values that either side of a cut has at least");
const GRACE_PERIOD: Parameter =
    Parameter::count("grace_period", 10, 0, "values that are seen before the first look");

/// The parameters, in the order they are told.
pub(super) const PARAMETERS: &[Parameter] = &[DELTA, CLOCK, MAX_BUCKETS, MIN_WINDOW_LENGTH, GRACE_PERIOD];

/// The detector; its state is `width`, `total`, `variance` (of the window) and `mean`.
pub(super) struct Adwin {
    delta: f64,
    clock: u32,
    max_buckets: usize,
    min_window_length: f64,
    grace_period: f64,
    window: Window,
    since_look: u32,
}

/// What is remembered of the newest values.
#[derive(Default)]
struct Window {
    /// By size: the buckets of `2^i` values, the oldest first.
    levels: Vec<VecDeque<Bucket>>,
    width: f64,
    total: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

/// Some neighbouring values.
#[derive(Clone, Copy)]
struct Bucket {
    total: f64,
    squares: f64,
}

/// Makes the detector.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn Detector>, SettingError> {
    Ok(Box::new(Adwin {
        delta: settings.real(&DELTA),
        clock: settings.count(&CLOCK),
        max_buckets: usize::try_from(settings.count(&MAX_BUCKETS)).unwrap_or(1),
        min_window_length: settings.real(&MIN_WINDOW_LENGTH),
        grace_period: settings.real(&GRACE_PERIOD),
        window: Window::default(),
        since_look: 0,
    }))
}

impl Detector for Adwin {
    fn update(&mut self, value: f64) -> Signal {
        self.window.add(value, self.max_buckets);
        self.since_look += 1;
        if self.since_look < self.clock {
            return Signal::default();
        }
        self.since_look = 0;
        if self.window.width <= self.grace_period {
            return Signal::default();
        }
        let mut drift = false;
        while self.is_cut_somewhere() && self.window.drop_oldest() {
            drift = true;
        }
        Signal { drift, warning: false }
    }

    fn reset(&mut self) {
        self.window = Window::default();
        self.since_look = 0;
    }

    fn state(&self) -> Vec<(&'static str, f64)> {
        let Window { width, total, squares, .. } = self.window;
        let per_value = |sum: f64| if width > 0.0 { sum / width } else { 0.0 };
        vec![("width", width), ("total", total), ("variance", squares), ("mean", per_value(total))]
    }
}

impl Adwin {
    /// Whether the window's older and newer values differ at the border of any two buckets.
    fn is_cut_somewhere(&self) -> bool {
        let (mut n0, mut total0) = (0.0, 0.0);
        let (mut n1, mut total1) = (self.window.width, self.window.total);
        for (size, bucket) in self.window.buckets() {
            n0 += size;
            n1 -= size;
            total0 += bucket.total;
            total1 -= bucket.total;
            if n0 >= self.min_window_length
                && n1 >= self.min_window_length
                && self.is_cut(n0, n1, total0 / n0 - total1 / n1)
            {
                return true;
            }
        }
        false
    }

    fn is_cut(&self, n0: f64, n1: f64, difference: f64) -> bool {
        let Window { width, squares, .. } = self.window;
        let log = (2.0 * width.ln() / self.delta).ln();
        let spread = 1.0 / (n0 - self.min_window_length + 1.0) + 1.0 / (n1 - self.min_window_length + 1.0);
        // When rounding has left a variance below 0 the bound is NaN and there is no cut.
        let bound = (2.0 * spread * (squares / width) * log).sqrt() + 2.0 / 3.0 * log * spread;
        difference.abs() > bound
    }
}

impl Window {
    fn add(&mut self, value: f64, max_buckets: usize) {
        self.width += 1.0;
        if self.width > 1.0 {
            let before = self.width - 1.0;
            let apart = value - self.total / before;
            self.squares += before * apart * apart / self.width;
        }
        self.total += value;
        let mut carried = Some(Bucket { total: value, squares: 0.0 });
        let mut size = 1.0;
        let mut level = 0;
        while let Some(bucket) = carried {
            if level == self.levels.len() {
                self.levels.push(VecDeque::with_capacity(max_buckets + 1));
            }
            carried = self.levels.get_mut(level).and_then(|buckets| {
                buckets.push_back(bucket);
                if buckets.len() <= max_buckets {
                    return None;
                }
                let (first, second) = (buckets.pop_front()?, buckets.pop_front()?);
                Some(first.joined(second, size))
            });
            level += 1;
            size *= 2.0;
        }
    }

    /// The buckets with their sizes, the oldest first.
    fn buckets(&self) -> impl Iterator<Item = (f64, &Bucket)> {
        self.levels
            .iter()
            .enumerate()
            .rev()
            .flat_map(|(level, buckets)| buckets.iter().map(move |bucket| (size_of_level(level), bucket)))
    }

    /// Forgets the oldest bucket; false if it is the only one.
    fn drop_oldest(&mut self) -> bool {
        // With one bucket a size, merging can leave a size without any.
        while self.levels.last().is_some_and(VecDeque::is_empty) {
            self.levels.pop();
        }
        let Some(level) = self.levels.len().checked_sub(1) else { return false };
        let size = size_of_level(level);
        if size >= self.width {
            return false;
        }
        let Some(oldest) = self.levels.last_mut().and_then(VecDeque::pop_front) else { return false };
        self.width -= size;
        self.total -= oldest.total;
        let apart = oldest.total / size - self.total / self.width;
        self.squares -= oldest.squares + size * self.width * apart * apart / (size + self.width);
        while self.levels.last().is_some_and(VecDeque::is_empty) {
            self.levels.pop();
        }
        true
    }
}

/// Values of a bucket. No stream is long enough for the power to be inexact.
fn size_of_level(level: usize) -> f64 {
    2.0_f64.powi(i32::try_from(level).unwrap_or(i32::MAX))
}

impl Bucket {
    /// Two neighbouring buckets of `size` values each as one.
    fn joined(self, other: Self, size: f64) -> Self {
        let apart = self.total / size - other.total / size;
        Self {
            total: self.total + other.total,
            squares: self.squares + other.squares + size * 0.5 * apart * apart,
        }
    }
}
