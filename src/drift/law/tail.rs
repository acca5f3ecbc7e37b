//! A tail probability that does not run out of exponents.
//!
//! Invariant: the probability is held as `factor`·exp(`exponent`) with a factor that a double holds well, so
//! its logarithm is as good at p = 1e-10000 as at p = 0.1.

/// Below this a probability worked out as a plain double has lost digits.
pub(super) const DIGITS_LOST: f64 = 1e-290;

/// The probability of a statistic at least as large as the one seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    factor: f64,
    exponent: f64,
}

impl Tail {
    /// `factor`·exp(`exponent`), which need not be at most 1: the probability is then taken as 1.
    pub(super) fn new(factor: f64, exponent: f64) -> Self {
        Self { factor, exponent }
    }

    /// A probability that a double holds.
    pub(super) fn of(probability: f64) -> Self {
        Self::new(probability, 0.0)
    }

    /// Certainty.
    pub(in crate::drift) fn certain() -> Self {
        Self::of(1.0)
    }

    /// The probability, 0..=1; below about 1e-308 it is 0, or has lost digits.
    pub fn p_value(self) -> f64 {
        super::clamp(self.factor * self.exponent.exp())
    }

    /// Its natural logarithm, 0 or less and always finite: an impossible statistic has the smallest number.
    pub fn ln(self) -> f64 {
        let ln = if self.exponent == 0.0 { self.factor.ln() } else { self.exponent + self.factor.ln() };
        if ln.is_nan() { 0.0 } else { ln.clamp(f64::MIN, 0.0) }
    }

    /// The probability doubled: of either of two tails.
    #[must_use]
    pub(in crate::drift) fn twice(self) -> Self {
        Self { factor: 2.0 * self.factor, ..self }
    }

    /// The smaller of two.
    #[must_use]
    pub(in crate::drift) fn min(self, other: Self) -> Self {
        if other.ln() < self.ln() { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_outlives_the_probability() {
        let tail = Tail::new(1.0, -1000.0 * std::f64::consts::LN_10);
        assert_eq!(tail.p_value(), 0.0);
        assert!((tail.ln() + 2_302.585_092_994_046).abs() < 1e-9);
        assert!((tail.twice().ln() - tail.ln() - 2.0f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn the_logarithm_is_a_finite_number_whatever_the_tail() {
        for (factor, exponent) in [(0.0, 0.0), (f64::NAN, 0.0), (3.0, 1.0), (0.0, f64::NEG_INFINITY)] {
            let ln = Tail::new(factor, exponent).ln();
            assert!(ln.is_finite() && ln <= 0.0, "{factor} {exponent}: {ln}");
        }
    }
}
