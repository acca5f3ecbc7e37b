//! What both e-detectors share: a mixture of bets that a rate is over `p0`.
//!
//! A bet of strength lambda pays `e_t = 1 + lambda (x_t − p0)` for a value in [0, 1]. It is never negative
//! while `lambda <= 1/p0`, and is at most 1 on average as long as the values' mean, given what came
//! before, is at most `p0`. Each bet is carried on by its own rule, and the mean over the bets is compared
//! with `1/alpha`. A small lambda sees small rises late, a large one sees large rises early; the mixture
//! does nearly as well as the best of them.
//!
//! - Defaults: `p0` 0.1, `alpha` 1e-5, `lambdas` 0.2, 0.5, 1, 2, 4, 8, each times `0.1/p0`; equal weights.
//! - Assumes nothing about the law of the values but the bound on their conditional mean: they may depend
//!   on each other. `p0` is to be an upper confidence bound of the training rate
//!   ([`upper_rate`](super::upper_rate)): when it is the estimate itself, a finite training set makes false
//!   alarms. It looks for a rise only.
//! - Source: Shin, Ramdas and Rinaldo 2024, "E-detectors: a nonparametric framework for sequential change
//!   detection", doi:10.51387/23-NEJSDS51.

use super::settings::{Domain, FRACTION, POSITIVE, Parameter, Range, SettingError, Settings};
use super::{Detector, Signal};

const P0: Parameter = Parameter::real(
    "p0",
    0.1,
    FRACTION,
    "upper bound of the rate before the change: not the estimate itself",
);
const ALPHA: Parameter = Parameter::real(
    "alpha",
    1e-5,
    // Smaller, and the sums would pass the largest number before they pass its inverse.
    Range { low: 1e-300, high: 1.0, closed: false },
    "one over the mean number of values to a false alarm, at least",
);
const LAMBDAS: Parameter = Parameter {
    name: "lambdas",
    about: "strengths of the bets; 0.2, 0.5, 1, 2, 4, 8, each times 0.1/p0, when nothing is said",
    domain: Domain::Reals(POSITIVE),
};

/// The parameters, in the order they are told.
pub(super) const PARAMETERS: &[Parameter] = &[P0, ALPHA, LAMBDAS];

/// The strengths for a rate of [`LAMBDAS_AT`]; for another they keep their share of the largest allowed.
const LAMBDAS_DEFAULT: [f64; 6] = [0.2, 0.5, 1.0, 2.0, 4.0, 8.0];
const LAMBDAS_AT: f64 = 0.1;

/// A mixture of bets; its state is `log_evidence`, the logarithm of their mean.
struct EDetector {
    p0: f64,
    /// `1/alpha`.
    threshold: f64,
    /// What a bet starts from with the next value, given what it is worth now.
    carry: fn(f64) -> f64,
    bets: Vec<Bet>,
}

struct Bet {
    lambda: f64,
    worth: f64,
}

/// Makes a detector whose bets are carried on by a rule.
///
/// # Errors
/// [`SettingError::Together`] when a lambda is over `1/p0`: the bet could become negative.
pub(super) fn build(
    name: &'static str,
    carry: fn(f64) -> f64,
    settings: &Settings,
) -> Result<Box<dyn Detector>, SettingError> {
    let p0 = settings.real(&P0);
    let mut lambdas = settings.reals(&LAMBDAS);
    if lambdas.is_empty() {
        lambdas = LAMBDAS_DEFAULT.map(|lambda| lambda * (LAMBDAS_AT / p0)).to_vec();
    }
    if let Some(lambda) = lambdas.iter().find(|lambda| **lambda * p0 > 1.0) {
        let text = format!("`lambdas` of `{name}` has {lambda}, over 1/p0; each is at most {}", 1.0 / p0);
        return Err(SettingError::Together(text));
    }
    let bets = lambdas.into_iter().map(|lambda| Bet { lambda, worth: 0.0 }).collect();
    Ok(Box::new(EDetector { p0, threshold: 1.0 / settings.real(&ALPHA), carry, bets }))
}

/// The bets of the mixture with the default strengths, on counts: of `rows` values `bad` were 1, the others 0.
///
/// What a bet pays on a group is the product of what it pays on each value, whatever their order:
///
/// ```text
/// e = (1 − lambda p0 + lambda)^bad (1 − lambda p0)^(rows − bad)
/// ```
///
/// Bets start with groups and not with values, so with the rule of Shiryaev and Roberts the mean number of
/// *groups* to a false alarm is at least the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountedBets {
    /// For each bet the logarithms of what a 1 and a 0 pay.
    log_pays: [(f64, f64); Self::BETS],
}

impl CountedBets {
    /// Number of bets.
    pub const BETS: usize = LAMBDAS_DEFAULT.len();

    /// Bets that a rate is over `p0`, which is held within [1e-9, 1].
    pub fn new(p0: f64) -> Self {
        let p0 = p0.clamp(1e-9, 1.0);
        let log_pays = LAMBDAS_DEFAULT.map(|lambda| {
            let share = lambda * LAMBDAS_AT;
            // `lambda · p0` is the default's share of the largest allowed, whatever p0 is.
            ((1.0 - share + share / p0).ln(), (-share).ln_1p())
        });
        Self { log_pays }
    }

    /// Takes a group into what the bets are worth, none of which may pass `cap`: `M <- (M + 1) e` if one of
    /// the values is 1, and `M <- M e` if none is.
    ///
    /// That is the rule of Shiryaev and Roberts, but for two things that only lower M, so that what is proven
    /// of it stays true: a bet that would start with a group without a 1 could only lose and is left out, so
    /// that a stream without any needs no state; and the cap makes M fall soon once the rate is back.
    pub fn update(&self, worths: &mut [f64; Self::BETS], rows: u64, bad: u64, cap: f64) {
        let bad = bad.min(rows);
        let (ones, zeros) = (bad as f64, (rows - bad) as f64);
        for (worth, (log_one, log_zero)) in worths.iter_mut().zip(self.log_pays) {
            let stake = *worth + if bad > 0 { 1.0 } else { 0.0 };
            let pays = (ones * log_one + zeros * log_zero).exp();
            // Nothing times a payment too large for a number is nothing.
            *worth = if stake > 0.0 { (stake * pays).min(cap) } else { 0.0 };
        }
    }

    /// What the mixture is worth: the mean over the bets.
    pub fn mean(worths: &[f64; Self::BETS]) -> f64 {
        let share = 1.0 / worths.len() as f64;
        worths.iter().map(|worth| share * worth).sum()
    }
}

impl EDetector {
    fn evidence(&self) -> f64 {
        // Divided first: the sum of numbers each near the largest one would pass it.
        let share = 1.0 / self.bets.len() as f64;
        self.bets.iter().map(|bet| share * bet.worth).sum()
    }
}

impl Detector for EDetector {
    /// A bet is worth at most the number of bets over `alpha` when there is no alarm, and anew after one:
    /// so it passes the largest number, if ever, only with an alarm, and is never NaN.
    fn update(&mut self, value: f64) -> Signal {
        for bet in &mut self.bets {
            // The sum is that of the two payments: `lambda · p0` is at most 1, `lambda` itself may be huge.
            let pays = (1.0 - bet.lambda * self.p0).max(0.0) + bet.lambda * value;
            bet.worth = (self.carry)(bet.worth) * pays;
        }
        Signal { drift: self.evidence() >= self.threshold, warning: false }
    }

    fn reset(&mut self) {
        self.bets.iter_mut().for_each(|bet| bet.worth = 0.0);
    }

    fn state(&self) -> Vec<(&'static str, f64)> {
        vec![("log_evidence", self.evidence().ln())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_pays_the_product_of_its_values() {
        for p0 in [0.5, 0.1, 0.004] {
            let bets = LAMBDAS_DEFAULT.map(|lambda| Bet { lambda: lambda * (LAMBDAS_AT / p0), worth: 1.0 });
            let mut single = EDetector {
                p0,
                threshold: f64::INFINITY,
                carry: |worth| worth,
                bets: bets.into_iter().collect(),
            };
            let mut grouped = [1.0; CountedBets::BETS];
            let values: Vec<f64> = (0..40).map(|row| f64::from(u8::from(row % 7 == 3))).collect();
            values.iter().for_each(|value| _ = single.update(*value));
            // No bet starts with this group, for each is told to be worth 1 less.
            grouped.iter_mut().for_each(|worth| *worth -= 1.0);
            CountedBets::new(p0).update(&mut grouped, 40, 6, f64::INFINITY);
            for (bet, worth) in single.bets.iter().zip(grouped) {
                assert!((bet.worth / worth - 1.0).abs() < 1e-9, "{p0} {}: {} {worth}", bet.lambda, bet.worth);
            }
        }
    }

    #[test]
    fn a_group_without_a_one_starts_no_bet_and_the_cap_holds() {
        let (bets, mut worths) = (CountedBets::new(0.01), [0.0; CountedBets::BETS]);
        bets.update(&mut worths, 1_000, 0, 1e9);
        assert_eq!(worths, [0.0; CountedBets::BETS]);
        bets.update(&mut worths, u64::MAX, u64::MAX, 1e9);
        assert_eq!(worths, [1e9; CountedBets::BETS]);
        bets.update(&mut worths, u64::MAX, 0, 1e9);
        assert_eq!(CountedBets::mean(&worths), 0.0);
    }
}
