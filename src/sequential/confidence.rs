//! Confidence sequences of the mean of values from 0 to 1: intervals that hold the mean at all times at
//! once, so that they may be looked at after every value.
//!
//! Assumes that, given the past, every value has the same mean; not that they are independent or alike.
//!
//! Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
//! doi:10.1093/jrsssb/qkad009.

/// Where the mean lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanInterval {
    /// Lower end, 0 or more.
    pub low: f64,
    /// Upper end, 1 or less.
    pub high: f64,
}

/// Largest bet of the empirical-Bernstein sequence.
const BERNSTEIN_BET_MAX: f64 = 0.5;

/// Largest bet of the Hoeffding sequence.
const HOEFFDING_BET_MAX: f64 = 1.0;

/// Mean and variance of the past, each with one made-up value in front: the mean ½ and the variance ¼.
#[derive(Debug, Clone, Copy)]
struct Past {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Past {
    const NONE: Self = Self { n: 0.0, sum: 0.5, squares: 0.25 };

    fn variance(&self) -> f64 {
        self.squares / (self.n + 1.0)
    }

    fn take(&mut self, value: f64) {
        self.n += 1.0;
        self.sum += value;
        let mean = (self.sum / (self.n + 1.0)).min(1.0);
        self.squares += (value - mean) * (value - mean);
    }

    /// The next bet, √(2·log(1/α)/(t·log(1 + t)·variance)): of the past only, so it is no look ahead.
    fn bet(&self, log_inverse: f64) -> f64 {
        let t = self.n + 1.0;
        (2.0 * log_inverse / (t * t.ln_1p() * self.variance())).sqrt()
    }
}

/// Sums of one side of a predictable plug-in sequence.
#[derive(Debug, Clone, Copy, Default)]
struct Side {
    bets: f64,
    weighed: f64,
    cost: f64,
}

impl Side {
    fn take(&mut self, value: f64, bet: f64, cost: f64) {
        self.bets += bet;
        self.weighed += bet * value;
        self.cost += cost;
    }

    /// The lower end.
    fn low(&self, log_inverse: f64) -> f64 {
        if self.bets > 0.0 { (self.weighed - log_inverse - self.cost) / self.bets } else { 0.0 }
    }
}

/// The level of each side of a two-sided sequence, as log(2/α). α is kept within 1e-300..=1.
fn log_inverse(alpha: f64) -> f64 {
    let alpha = if alpha.is_nan() { 1e-300 } else { alpha.clamp(1e-300, 1.0) };
    (2.0 / alpha).ln()
}

fn within(low: f64, high: f64) -> MeanInterval {
    MeanInterval { low: low.clamp(0.0, 1.0), high: high.clamp(0.0, 1.0) }
}

/// The empirical-Bernstein sequence of level 1 − `alpha` (theorem 2): narrow when the values vary little.
///
/// An interval for each value, after it. A value that is not from 0 to 1 repeats the interval before it.
pub fn empirical_bernstein(values: &[f64], alpha: f64) -> Vec<MeanInterval> {
    let level = log_inverse(alpha);
    let (mut past, mut sides) = (Past::NONE, [Side::default(); 2]);
    let (mut n, mut sum) = (0.0, 0.0);
    let step = |value: &f64| {
        if (0.0..=1.0).contains(value) {
            let bet = past.bet(level).min(BERNSTEIN_BET_MAX);
            let psi = -(-bet).ln_1p() - bet;
            // Any centre from the past is allowed; before the first value it is 0.
            let apart = value - if n == 0.0 { 0.0 } else { sum / n };
            for (side, value) in sides.iter_mut().zip([*value, 1.0 - value]) {
                side.take(value, bet, psi * apart * apart);
            }
            past.take(*value);
            n += 1.0;
            sum += value;
        }
        two_sided(&sides, level)
    };
    values.iter().map(step).collect()
}

/// The Hoeffding sequence of level 1 − `alpha` (theorem 1): as wide for any values, so it needs no variance.
///
/// An interval for each value, after it. A value that is not from 0 to 1 repeats the interval before it.
pub fn hoeffding(values: &[f64], alpha: f64) -> Vec<MeanInterval> {
    let level = log_inverse(alpha);
    let mut sides = [Side::default(); 2];
    let mut t = 1.0_f64;
    let step = |value: &f64| {
        if (0.0..=1.0).contains(value) {
            let bet = (8.0 * level / (t * t.ln_1p())).sqrt().min(HOEFFDING_BET_MAX);
            for (side, value) in sides.iter_mut().zip([*value, 1.0 - value]) {
                side.take(value, bet, bet * bet / 8.0);
            }
            t += 1.0;
        }
        two_sided(&sides, level)
    };
    values.iter().map(step).collect()
}

fn two_sided([low, high]: &[Side; 2], level: f64) -> MeanInterval {
    within(low.low(level), 1.0 - high.low(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_values_nothing_is_known() {
        assert_eq!(hoeffding(&[f64::NAN], 0.05), [MeanInterval { low: 0.0, high: 1.0 }]);
        assert_eq!(empirical_bernstein(&[2.0], 0.05), [MeanInterval { low: 0.0, high: 1.0 }]);
    }

    #[test]
    fn values_that_do_not_vary_pin_the_mean_down() {
        let last = empirical_bernstein(&[0.3; 2000], 0.05).pop().expect("an interval");
        assert!(last.low > 0.28 && last.high < 0.32, "{last:?}");
    }
}
