//! HDDM-W: exponentially weighted means before and after a cut, by McDiarmid's inequality.
//!
//! ```text
//! mean_t   = lambda x_t + (1 − lambda) mean_{t−1}, from the first value on
//! weight_t = lambda² + (1 − lambda)² weight_{t−1}, from 1 on
//! bound(w, c) = sqrt(w ln(1/c) / 2)
//! cut for rises: the value with the smallest mean + bound(weight, drift_confidence) so far
//! rise when mean_after − mean_before > bound(weight_before + weight_after, c); a fall is the mirror image
//! ```
//!
//! A rise or fall at `c = drift_confidence` is a drift, at `c = warning_confidence` a warning.
//!
//! - Defaults: `drift_confidence` 0.001, `warning_confidence` 0.005, `lambda_val` 0.05, `two_sided_test` false.
//! - Assumes independent values in [0, 1]; this one takes 0 and 1.
//! - False alarms: at most `drift_confidence` at one moment for a fixed cut, no bound over a stream. In
//!   simulation at a rate of 0.1: none in 100,000 values, and slow to see small changes.
//! - Source: Frías-Blanco et al. 2015, "Online and non-parametric drift detection methods based on
//!   Hoeffding's bounds", doi:10.1109/TKDE.2014.2345382 (the W-test).

use super::hddm_a::{DRIFT_CONFIDENCE, TWO_SIDED_TEST, WARNING_CONFIDENCE, signal};
use super::settings::{FRACTION, Parameter, SettingError, Settings};
use super::{Detector, Signal};

const LAMBDA: Parameter =
    Parameter::real("lambda_val", 0.05, FRACTION, "weight of the newest value in the mean");

/// The parameters, in the order they are told.
pub(super) const PARAMETERS: &[Parameter] = &[DRIFT_CONFIDENCE, WARNING_CONFIDENCE, LAMBDA, TWO_SIDED_TEST];

/// The detector; its state is `mean`, 0 before the first value.
struct HddmW {
    drift_confidence: f64,
    warning_confidence: f64,
    lambda: f64,
    two_sided: bool,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    all: Weighted,
    rise: Cut,
    fall: Cut,
}

/// A weighted mean.
#[derive(Clone, Copy)]
struct Weighted {
    /// `None` before the first value.
    mean: Option<f64>,
    /// Sum of the squared weights.
    weight: f64,
}

/// The values before and after the cut that makes a change most visible.
#[derive(Default)]
struct Cut {
    best: Option<f64>,
    before: Weighted,
    after: Weighted,
}

impl Default for Weighted {
    fn default() -> Self {
        Self { mean: None, weight: 1.0 }
    }
}

/// Makes the detector.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn Detector>, SettingError> {
    Ok(Box::new(HddmW {
        drift_confidence: settings.real(&DRIFT_CONFIDENCE),
        warning_confidence: settings.real(&WARNING_CONFIDENCE),
        lambda: settings.real(&LAMBDA),
        two_sided: settings.flag(&TWO_SIDED_TEST),
        seen: Seen::default(),
    }))
}

impl Detector for HddmW {
    fn update(&mut self, value: f64) -> Signal {
        let Seen { all, rise, fall } = &mut self.seen;
        all.add(value, self.lambda);
        let mean = all.mean.unwrap_or_default();
        let bound = bound(all.weight, self.drift_confidence);
        // Both cuts want the smaller number.
        rise.add(value, mean + bound, *all, self.lambda);
        fall.add(value, bound - mean, *all, self.lambda);
        let both = [self.drift_confidence, self.warning_confidence];
        let rises = both.map(|confidence| rise.is_change(1.0, confidence));
        let falls = both.map(|confidence| fall.is_change(-1.0, confidence));
        signal(rises, self.two_sided.then_some(falls))
    }

    fn reset(&mut self) {
        self.seen = Seen::default();
    }

    fn state(&self) -> Vec<(&'static str, f64)> {
        vec![("mean", self.seen.all.mean.unwrap_or_default())]
    }
}

fn bound(weight: f64, confidence: f64) -> f64 {
    (weight * (1.0 / confidence).ln() / 2.0).sqrt()
}

impl Weighted {
    fn add(&mut self, value: f64, lambda: f64) {
        let kept = 1.0 - lambda;
        self.mean = Some(self.mean.map_or(value, |mean| lambda * value + kept * mean));
        self.weight = lambda * lambda + kept * kept * self.weight;
    }
}

impl Cut {
    /// Cuts after this value if that makes the criterion smaller than it was, else counts it behind the cut.
    fn add(&mut self, value: f64, criterion: f64, all: Weighted, lambda: f64) {
        if self.best.is_none_or(|best| criterion < best) {
            *self = Self { best: Some(criterion), before: all, after: Weighted::default() };
        } else {
            self.after.add(value, lambda);
        }
    }

    fn is_change(&self, sign: f64, confidence: f64) -> bool {
        let (Some(before), Some(after)) = (self.before.mean, self.after.mean) else { return false };
        sign * (after - before) > bound(self.before.weight + self.after.weight, confidence)
    }
}
