//! CUSUM: the log-likelihood ratio of a known change, summed and never below 0.
//!
//! ```text
//! S_t = max(0, S_{t−1}) + log f1(x_t) / f0(x_t),   drift when S_t >= threshold
//! bernoulli: log f1/f0 = x log(p1/p0) + (1 − x) log((1 − p1)/(1 − p0))
//! gaussian:  log f1/f0 = (mean1 − mean0) / sd² · (x − (mean0 + mean1) / 2)
//! ```
//!
//! - Defaults: `model` bernoulli, `p0` 0.1, `p1` 0.15, `threshold` 8; gaussian: `mean0` 0, `mean1` 1, `sd` 1.
//! - Assumes independent values with the stated law before and after the change; it is quickest for that
//!   change and looks only in its direction. For rates the values are in [0, 1].
//! - False alarms: the mean number of values to a false alarm is at least exp(`threshold`), 2,980 by
//!   default (Lorden 1971, theorem 2), if `f0` is right. In simulation with the defaults: 0.5 per 100,000.
//! - Source: Page 1954, "Continuous inspection schemes", doi:10.1093/biomet/41.1-2.100; Lorden 1971,
//!   "Procedures for reacting to a change in distribution", doi:10.1214/aoms/1177693055.

use super::settings::{Domain, FINITE, FRACTION, POSITIVE, Parameter, SettingError, Settings};
use super::{Detector, Signal};

const MODEL: Parameter = Parameter {
    name: "model",
    about: "the law of the values",
    domain: Domain::Word(&["bernoulli", "gaussian"]),
};
const P0: Parameter = Parameter::real("p0", 0.1, FRACTION, "bernoulli: the rate before the change");
const P1: Parameter = Parameter::real("p1", 0.15, FRACTION, "bernoulli: the rate after it");
const MEAN0: Parameter = Parameter::real("mean0", 0.0, FINITE, "gaussian: the mean before the change");
const MEAN1: Parameter = Parameter::real("mean1", 1.0, FINITE, "gaussian: the mean after it");
const SD: Parameter = Parameter::real("sd", 1.0, POSITIVE, "gaussian: the standard deviation of both");
const THRESHOLD: Parameter =
    Parameter::real("threshold", 8.0, POSITIVE, "sum that is a drift, in units of log-likelihood");

/// The parameters, in the order they are told.
pub(super) const PARAMETERS: &[Parameter] = &[MODEL, P0, P1, MEAN0, MEAN1, SD, THRESHOLD];

/// The detector; its state is `sum`. Both laws' ratios are `slope · x + offset`.
struct Cusum {
    slope: f64,
    offset: f64,
    threshold: f64,
    sum: f64,
}

/// Makes the detector.
///
/// # Errors
/// [`SettingError::Together`] when there is no change between before and after, or the ratio of the two
/// laws is beyond numbers.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn Detector>, SettingError> {
    let (before, after, slope, offset) = if settings.is(&MODEL, "gaussian") {
        let (before, after, sd) = (settings.real(&MEAN0), settings.real(&MEAN1), settings.real(&SD));
        let slope = (after - before) / sd / sd;
        (&MEAN0, &MEAN1, slope, -slope * f64::midpoint(before, after))
    } else {
        let (before, after) = (settings.real(&P0), settings.real(&P1));
        let offset = (-after).ln_1p() - (-before).ln_1p();
        (&P0, &P1, (after / before).ln() - offset, offset)
    };
    if slope == 0.0 || !slope.is_finite() || !offset.is_finite() {
        let text = format!(
            "`cusum` cannot tell `{}` from `{}` with these values; they must differ, and not by too much",
            before.name, after.name
        );
        return Err(SettingError::Together(text));
    }
    Ok(Box::new(Cusum { slope, offset, threshold: settings.real(&THRESHOLD), sum: 0.0 }))
}

impl Detector for Cusum {
    fn update(&mut self, value: f64) -> Signal {
        self.sum = self.sum.max(0.0) + (self.slope * value + self.offset);
        Signal { drift: self.sum >= self.threshold, warning: false }
    }

    fn reset(&mut self) {
        self.sum = 0.0;
    }

    fn state(&self) -> Vec<(&'static str, f64)> {
        vec![("sum", self.sum)]
    }
}
