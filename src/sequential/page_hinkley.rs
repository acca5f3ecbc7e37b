//! Page–Hinkley: sums of deviations from the running mean, forgotten slowly, against their extreme.
//!
//! ```text
//! up_t   = alpha up_{t−1}   + (x_t − mean_t) − delta,   drift when up_t − min up > threshold
//! down_t = alpha down_{t−1} + (x_t − mean_t) + delta,   drift when max down − down_t > threshold
//! ```
//!
//! `mean_t` is the mean of all values so far. The smallest `up` starts at infinity, the greatest `down` at
//! −1, as in the implementation the reference values come from.
//!
//! - Defaults: `min_instances` 30, `delta` 0.005, `threshold` 50, `alpha` 0.9999, `mode` both.
//! - Assumes that `delta` and `threshold` were chosen for the values' scale: they are in their units. It
//!   learns the mean from the stream and needs no reference.
//! - False alarms: no guarantee. On rates the defaults give about 3 per 100,000 values; on values of
//!   standard deviation 1 they alarm all the time (about 22,000 per 100,000), for `threshold` is
//!   then far too small.
//! - Source: Page 1954, "Continuous inspection schemes", doi:10.1093/biomet/41.1-2.100; the mean and its
//!   forgetting: Hinkley 1971, doi:10.1093/biomet/58.3.509; Sebastião and Fernandes 2017.

use super::mean::Mean;
use super::settings::{Domain, NOT_NEGATIVE, POSITIVE, Parameter, Range, SettingError, Settings};
use super::{Detector, Signal};

const MIN_INSTANCES: Parameter =
    Parameter::count("min_instances", 30, 0, "values that are seen before a drift is possible");
const DELTA: Parameter =
    Parameter::real("delta", 0.005, NOT_NEGATIVE, "deviation that is tolerated, in units of the values");
const THRESHOLD: Parameter =
    Parameter::real("threshold", 50.0, POSITIVE, "sum that is a drift, in units of the values");
const ALPHA: Parameter = Parameter::real(
    "alpha",
    1.0 - 0.0001,
    Range { low: 0.0, high: 1.0, closed: true },
    "share of a sum that is kept with each value",
);
const MODE: Parameter = Parameter {
    name: "mode",
    about: "whether the mean rises, falls, or either",
    domain: Domain::Word(&["both", "up", "down"]),
};

/// The parameters, in the order they are told.
pub(super) const PARAMETERS: &[Parameter] = &[MIN_INSTANCES, DELTA, THRESHOLD, ALPHA, MODE];

/// Where the greatest `down` starts.
const MAX_DOWN_START: f64 = -1.0;

/// The detector; its state is `sum_increase` and `sum_decrease`.
struct PageHinkley {
    min_instances: f64,
    delta: f64,
    threshold: f64,
    alpha: f64,
    is_up: bool,
    is_down: bool,
    sums: Sums,
}

struct Sums {
    mean: Mean,
    up: f64,
    down: f64,
    min_up: f64,
    max_down: f64,
}

impl Default for Sums {
    fn default() -> Self {
        Self { mean: Mean::default(), up: 0.0, down: 0.0, min_up: f64::INFINITY, max_down: MAX_DOWN_START }
    }
}

/// Makes the detector.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn Detector>, SettingError> {
    Ok(Box::new(PageHinkley {
        min_instances: settings.real(&MIN_INSTANCES),
        delta: settings.real(&DELTA),
        threshold: settings.real(&THRESHOLD),
        alpha: settings.real(&ALPHA),
        is_up: !settings.is(&MODE, "down"),
        is_down: !settings.is(&MODE, "up"),
        sums: Sums::default(),
    }))
}

impl Detector for PageHinkley {
    fn update(&mut self, value: f64) -> Signal {
        let sums = &mut self.sums;
        sums.mean.add(value);
        let deviation = value - sums.mean.mean;
        sums.up = self.alpha * sums.up + deviation - self.delta;
        sums.down = self.alpha * sums.down + deviation + self.delta;
        sums.min_up = sums.min_up.min(sums.up);
        sums.max_down = sums.max_down.max(sums.down);
        let rose = self.is_up && sums.up - sums.min_up > self.threshold;
        let fell = self.is_down && sums.max_down - sums.down > self.threshold;
        Signal { drift: sums.mean.n >= self.min_instances && (rose || fell), warning: false }
    }

    fn reset(&mut self) {
        self.sums = Sums::default();
    }

    fn state(&self) -> Vec<(&'static str, f64)> {
        vec![("sum_increase", self.sums.up), ("sum_decrease", self.sums.down)]
    }
}
