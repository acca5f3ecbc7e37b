//! DDM: an error rate against the best it has been.
//!
//! ```text
//! s = sqrt(p (1 − p) / n),   p_min and s_min: those at the smallest p + s so far
//! warning when p + s > p_min + warning_threshold · s_min
//! drift   when p + s > p_min + drift_threshold   · s_min
//! ```
//!
//! - Defaults: `warm_start` 30, `warning_threshold` 2, `drift_threshold` 3.
//! - Assumes independent errors, 1 for an error and 0 for none; it looks for a rise only.
//! - False alarms: many early on, because the minimum is taken over few values: 40 to 57 % of runs alarm
//!   falsely within 5,000 values at a rate of 0.1, 73 to 87 % at 0.02. It is here for comparison.
//! - Source: Gama, Medas, Castillo and Rodrigues 2004, "Learning with drift detection",
//!   doi:10.1007/978-3-540-28645-5_29.

use super::mean::Mean;
use super::settings::{POSITIVE, Parameter, SettingError, Settings};
use super::{Detector, Signal};

const WARM_START: Parameter =
    Parameter::count("warm_start", 30, 0, "values that are seen before a drift is possible");
const WARNING_THRESHOLD: Parameter =
    Parameter::real("warning_threshold", 2.0, POSITIVE, "standard deviations over the best: a warning");
const DRIFT_THRESHOLD: Parameter =
    Parameter::real("drift_threshold", 3.0, POSITIVE, "standard deviations over the best: a drift");

/// The parameters, in the order they are told.
pub(super) const PARAMETERS: &[Parameter] = &[WARM_START, WARNING_THRESHOLD, DRIFT_THRESHOLD];

/// The detector; its state is `n` and `rate`.
struct Ddm {
    warm_start: f64,
    warning_threshold: f64,
    drift_threshold: f64,
    errors: Mean,
    /// Rate and standard deviation when their sum was smallest.
    best: Option<(f64, f64)>,
}

/// Makes the detector.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn Detector>, SettingError> {
    Ok(Box::new(Ddm {
        warm_start: settings.real(&WARM_START),
        warning_threshold: settings.real(&WARNING_THRESHOLD),
        drift_threshold: settings.real(&DRIFT_THRESHOLD),
        errors: Mean::default(),
        best: None,
    }))
}

impl Detector for Ddm {
    fn update(&mut self, value: f64) -> Signal {
        self.errors.add(value);
        let Mean { n, mean: rate } = self.errors;
        if n <= self.warm_start {
            return Signal::default();
        }
        // Rounding can bring a rate of only errors over 1.
        let spread = (rate * (1.0 - rate) / n).max(0.0).sqrt();
        let best = match self.best {
            Some((best, best_spread)) if rate + spread > best + best_spread => (best, best_spread),
            _ => (rate, spread),
        };
        self.best = Some(best);
        let is_over = |threshold: f64| rate + spread > best.0 + threshold * best.1;
        let drift = is_over(self.drift_threshold);
        Signal { drift, warning: !drift && is_over(self.warning_threshold) }
    }

    fn reset(&mut self) {
        self.errors = Mean::default();
        self.best = None;
    }

    fn state(&self) -> Vec<(&'static str, f64)> {
        vec![("n", self.errors.n), ("rate", self.errors.mean)]
    }
}
