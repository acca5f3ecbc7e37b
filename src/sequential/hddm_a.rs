//! HDDM-A: the mean of all values against the mean of an early part, by Hoeffding's inequality.
//!
//! ```text
//! bound(n, c) = sqrt(ln(1/c) / (2 n))
//! low:  the first values up to the n with the smallest  mean + bound(n, drift_confidence) so far
//! high: the first values up to the n with the greatest  mean − bound(n, drift_confidence) so far
//! rise when mean − mean_low  >= sqrt(m/2 · ln(2/c)),   m = (n − n_low) / (n_low n)
//! fall when mean_high − mean >= the same with n_high; looked at if `two_sided_test`
//! ```
//!
//! A rise or fall at `c = drift_confidence` is a drift, at `c = warning_confidence` a warning.
//!
//! - Defaults: `drift_confidence` 0.001, `warning_confidence` 0.005, `two_sided_test` false.
//! - Assumes independent values in [0, 1]; this one takes 0 and 1.
//! - False alarms: at most `drift_confidence` at one moment for a fixed part; the part is chosen by the
//!   data and every value is a look, so there is no bound over a stream. In simulation at a rate of 0.1:
//!   0.5 per 100,000 values.
//! - Source: Frías-Blanco et al. 2015, "Online and non-parametric drift detection methods based on
//!   Hoeffding's bounds", doi:10.1109/TKDE.2014.2345382 (the A-test).

use super::mean::Mean;
use super::settings::{FRACTION, Parameter, SettingError, Settings};
use super::{Detector, Signal};

/// Probability of a false drift at one moment; shared with HDDM-W.
pub(super) const DRIFT_CONFIDENCE: Parameter =
    Parameter::real("drift_confidence", 0.001, FRACTION, "probability of a false drift at one moment");
/// Probability of a false warning at one moment; shared with HDDM-W.
pub(super) const WARNING_CONFIDENCE: Parameter =
    Parameter::real("warning_confidence", 0.005, FRACTION, "probability of a false warning at one moment");
/// Whether a fall of the mean is a drift too; shared with HDDM-W.
pub(super) const TWO_SIDED_TEST: Parameter =
    Parameter::flag("two_sided_test", "whether a fall of the mean is a drift too");

/// The parameters, in the order they are told.
pub(super) const PARAMETERS: &[Parameter] = &[DRIFT_CONFIDENCE, WARNING_CONFIDENCE, TWO_SIDED_TEST];

/// The detector; its state is `n` and `mean`.
struct HddmA {
    drift_confidence: f64,
    warning_confidence: f64,
    two_sided: bool,
    parts: Parts,
}

#[derive(Default)]
struct Parts {
    all: Mean,
    low: Mean,
    high: Mean,
}

/// Makes the detector.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn Detector>, SettingError> {
    Ok(Box::new(HddmA {
        drift_confidence: settings.real(&DRIFT_CONFIDENCE),
        warning_confidence: settings.real(&WARNING_CONFIDENCE),
        two_sided: settings.flag(&TWO_SIDED_TEST),
        parts: Parts::default(),
    }))
}

/// What a detector says that looks for rises first and, if asked, for falls: the latter add to it.
pub(super) fn signal(rise: [bool; 2], fall: Option<[bool; 2]>) -> Signal {
    let [drift, warning] = rise;
    let rise = Signal { drift, warning: !drift && warning };
    match fall {
        Some([true, _]) => Signal { drift: true, ..rise },
        Some([false, true]) => Signal { warning: true, ..rise },
        _ => rise,
    }
}

impl Detector for HddmA {
    fn update(&mut self, value: f64) -> Signal {
        let bound = |n: f64| (1.0 / (2.0 * n) * (1.0 / self.drift_confidence).ln()).sqrt();
        let Parts { all, low, high } = &mut self.parts;
        all.add(value);
        if low.n == 0.0 || low.mean + bound(low.n) >= all.mean + bound(all.n) {
            *low = *all;
        }
        if high.n == 0.0 || high.mean - bound(high.n) <= all.mean - bound(all.n) {
            *high = *all;
        }
        let Parts { all, low, high } = &self.parts;
        let both = [self.drift_confidence, self.warning_confidence];
        let rise = both.map(|confidence| is_apart(*all, *low, all.mean - low.mean, confidence));
        let fall = both.map(|confidence| is_apart(*all, *high, high.mean - all.mean, confidence));
        signal(rise, self.two_sided.then_some(fall))
    }

    fn reset(&mut self) {
        self.parts = Parts::default();
    }

    fn state(&self) -> Vec<(&'static str, f64)> {
        vec![("n", self.parts.all.n), ("mean", self.parts.all.mean)]
    }
}

/// Whether the mean of all values is over that of their early part.
fn is_apart(all: Mean, part: Mean, difference: f64, confidence: f64) -> bool {
    if part.n == all.n {
        return false;
    }
    let spread = (all.n - part.n) / part.n * (1.0 / all.n);
    difference >= (spread / 2.0 * (2.0 / confidence).ln()).sqrt()
}
