//! How high a rate may be, given how often something happened.

use crate::drift::law::binomial_upper_tail;

/// The one-sided Clopper–Pearson upper bound of a rate: the greatest p with
/// `P(X <= successes) >= 1 − confidence` for X binomial with `trials` and p.
///
/// For the `p0` of the e-detectors: the estimate itself would make false alarms when it is too low by chance.
/// Exact, so it holds the rate with at least the stated probability for any rate and number of trials; where
/// more than a million successes and failures each are expected the normal law stands in, to about 1e-5 of
/// the rate. 1 when nothing was tried or `successes` is not below `trials`. `confidence` is taken
/// to lie in [0.5, 1 − 1e-12]; NaN counts as the greatest. Two-sided intervals of level a have this bound at
/// `1 − a/2`.
///
/// Source: Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404.
///
/// ```
/// let bound = driftline::sequential::upper_rate(10, 100, 0.975);
/// assert!((bound - 0.176_222_6).abs() < 1e-6);
/// ```
pub fn upper_rate(successes: u64, trials: u64, confidence: f64) -> f64 {
    if successes >= trials {
        return 1.0;
    }
    let confidence = if confidence.is_nan() { CONFIDENCE_MAX } else { confidence.clamp(0.5, CONFIDENCE_MAX) };
    // The chance of more successes than there were grows with p, from 0 to 1.
    let is_too_high = |p: f64| binomial_upper_tail(successes + 1, trials, p) > confidence;
    let (mut low, mut high) = (successes as f64 / trials as f64, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_too_high(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The one-sided Clopper–Pearson lower bound of a rate: one less the upper bound of the rate of failures.
/// 0 when nothing was tried or nothing succeeded.
pub fn lower_rate(successes: u64, trials: u64, confidence: f64) -> f64 {
    1.0 - upper_rate(trials.saturating_sub(successes), trials, confidence)
}

/// Above it, one less the confidence drowns in rounding.
const CONFIDENCE_MAX: f64 = 1.0 - 1e-12;
/// Enough to tell the neighbours of a bound of one in a trillion trials.
const HALVINGS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_or_empty_count_bounds_nothing() {
        for (successes, trials) in [(0, 0), (5, 5), (6, 5)] {
            assert_eq!(upper_rate(successes, trials, 0.99), 1.0);
        }
    }

    #[test]
    fn the_lower_bound_mirrors_the_upper() {
        // R's binom.test(10, 100)$conf.int: 0.04900469 and 0.17622260.
        assert!((lower_rate(10, 100, 0.975) - 0.049_004_69).abs() < 1e-7);
        assert_eq!((lower_rate(0, 100, 0.975), lower_rate(0, 0, 0.975)), (0.0, 0.0));
    }

    #[test]
    fn without_a_success_the_bound_has_a_closed_form() {
        let bound = upper_rate(0, 1_000_000, 0.95);
        let exact = -(0.05_f64.ln() / 1e6).exp_m1();
        assert!((bound / exact - 1.0).abs() < 1e-9, "{bound:e} {exact:e}");
    }

    #[test]
    fn the_bound_of_a_very_rare_event_is_that_of_the_poisson_law() {
        let bound = upper_rate(3, 1_000_000_000_000, 0.95);
        assert!((bound * 1e12 - 7.753_656_5).abs() < 1e-6, "{bound:e}");
    }

    #[test]
    fn more_confidence_gives_a_higher_bound_and_more_trials_a_lower_one() {
        assert!(upper_rate(10, 100, 0.99) > upper_rate(10, 100, 0.9));
        assert!(upper_rate(1_000, 10_000, 0.99) < upper_rate(10, 100, 0.99));
        assert!(upper_rate(10, 100, f64::NAN) > upper_rate(10, 100, 0.999));
    }
}
