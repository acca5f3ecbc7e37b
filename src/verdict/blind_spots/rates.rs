//! How small a rise of a rate the exact test of two rates sees.

use super::{POWER, smallest};
use crate::drift::law::{binomial_upper_tail, rates_differ};

/// How often something happened in the training data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Training {
    pub(super) times: u64,
    /// Of how many rows.
    pub(super) of: u64,
}

impl Training {
    pub(super) fn rate(self) -> f64 {
        self.times as f64 / self.of.max(1) as f64
    }
}

/// The smallest rate above the training's that a window of `n` rows shows with a probability of [`POWER`]:
/// the test's p-value is then at most `p` and the rates are `floor` or more apart. Exact for the training
/// sample as it is: the count is binomial, and from one count on the test alarms. `None` if no rate is seen.
pub(super) fn seen_at(training: Training, n: u64, p: f64, floor: f64) -> Option<f64> {
    let count = smallest_count(training, n, p, floor)?;
    let is_seen = |rate: f64| binomial_upper_tail(count, n, rate) >= POWER;
    // Counts are at least one, so the rate is at least the share of a row in six.
    smallest((1e-2 / n as f64).min(1e-6), 1.0, is_seen)
}

/// The smallest count of a window for which the test of two rates alarms.
pub(super) fn smallest_count(training: Training, n: u64, p: f64, floor: f64) -> Option<u64> {
    let alarms = |count: u64| {
        let rise = count as f64 / n as f64 - training.rate();
        rise > 0.0 && rise >= floor && rates_differ(count, n, training.times, training.of) <= p
    };
    first_count(n, alarms)
}

/// The first count up to `n` for which something holds that holds for all larger ones.
pub(super) fn first_count(n: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if n == 0 || !holds(n) {
        return None;
    }
    let (mut low, mut high) = (0, n);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_first_that_alarms() {
        let training = Training { times: 20, of: 2_000 };
        let count = smallest_count(training, 1_000, 1e-4, 0.0).expect("a count");
        assert!(rates_differ(count, 1_000, 20, 2_000) <= 1e-4);
        assert!(rates_differ(count - 1, 1_000, 20, 2_000) > 1e-4);
        let rate = seen_at(training, 1_000, 1e-4, 0.0).expect("a rate");
        assert!((binomial_upper_tail(count, 1_000, rate) - POWER).abs() < 0.01);
    }

    #[test]
    fn the_floor_counts_when_windows_are_large() {
        let training = Training { times: 0, of: 1_000_000 };
        let rate = seen_at(training, 1_000_000, 1e-6, 0.005).expect("a rate");
        assert!((0.005..0.0052).contains(&rate), "{rate}");
    }

    #[test]
    fn what_cannot_rise_is_not_seen() {
        assert_eq!(seen_at(Training { times: 10, of: 10 }, 100, 0.5, 0.0), None);
        assert_eq!(seen_at(Training { times: 0, of: 5 }, 3, 1e-6, 0.0), None);
        assert_eq!(seen_at(Training { times: 0, of: 0 }, 100, 1e-6, 0.0), None);
    }
}
