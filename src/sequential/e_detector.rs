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
