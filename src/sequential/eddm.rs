//! EDDM: the distance between errors against the longest it has been.
//!
//! ```text
//! level = (p + 2 s) / greatest (p + 2 s) so far,   p, s: mean and standard deviation of the distances
//! warning when level < alpha,   drift when level < beta; looked at with each error
//! ```
//!
//! - Defaults: `warm_start` 30 errors, `alpha` 0.95, `beta` 0.9.
//! - Assumes that distances grow while a model learns; 1 is an error and 0 is none.
//! - False alarms: nearly always. The greatest is an extreme over all times so far: 87 to 97 % of runs
//!   alarm falsely within 5,000 values. It is here for comparison.
//! - Source: Baena-García, del Campo-Ávila, Fidalgo, Bifet, Gavaldà and Morales-Bueno 2006, "Early drift
//!   detection method", 4th workshop on knowledge discovery from data streams.

use super::mean::Mean;
use super::settings::{FRACTION, Parameter, SettingError, Settings};
use super::{Detector, Signal};

const WARM_START: Parameter =
    Parameter::count("warm_start", 30, 0, "errors that are seen before a drift is possible");
const ALPHA: Parameter = Parameter::real("alpha", 0.95, FRACTION, "share of the greatest: a warning");
const BETA: Parameter =
    Parameter::real("beta", 0.9, FRACTION, "share of the greatest: a drift; at most `alpha`");

/// The parameters, in the order they are told.
pub(super) const PARAMETERS: &[Parameter] = &[WARM_START, ALPHA, BETA];

/// The detector; its state is `errors` and `mean_distance`.
struct Eddm {
    warm_start: u64,
    alpha: f64,
    beta: f64,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    values: u64,
    errors: u64,
    last_error: u64,
    distances: Mean,
    /// Sum of squared deviations of the distances.
    squares: f64,
    /// Greatest mean distance and two standard deviations.
    greatest: Option<f64>,
    warning: bool,
}

/// Makes the detector.
///
/// # Errors
/// [`SettingError::Together`] when `beta` is over `alpha`: a drift would come before its warning.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn Detector>, SettingError> {
    let (alpha, beta) = (settings.real(&ALPHA), settings.real(&BETA));
    if beta > alpha {
        let text = format!("`beta` of `eddm` is {beta}, over `alpha` ({alpha}); it is at most that");
        return Err(SettingError::Together(text));
    }
    let warm_start = u64::from(settings.count(&WARM_START));
    Ok(Box::new(Eddm { warm_start, alpha, beta, seen: Seen::default() }))
}

impl Detector for Eddm {
    fn update(&mut self, value: f64) -> Signal {
        self.seen.values += 1;
        // Between errors nothing is learned, and a warning stays.
        let drift = value == 1.0 && self.error();
        Signal { drift, warning: self.seen.warning }
    }

    fn reset(&mut self) {
        self.seen = Seen::default();
    }

    fn state(&self) -> Vec<(&'static str, f64)> {
        vec![("errors", self.seen.distances.n), ("mean_distance", self.seen.distances.mean)]
    }
}

impl Eddm {
    /// Counts an error; whether it is a drift.
    fn error(&mut self) -> bool {
        let seen = &mut self.seen;
        seen.errors += 1;
        let distance = (seen.values - seen.last_error) as f64;
        seen.last_error = seen.values;
        let before = seen.distances.mean;
        seen.distances.add(distance);
        seen.squares += (distance - before) * (distance - seen.distances.mean);
        if seen.values <= self.warm_start {
            return false;
        }
        let variance = if seen.errors > 1 { seen.squares / (seen.distances.n - 1.0) } else { 0.0 };
        let reach = seen.distances.mean + 2.0 * variance.sqrt();
        let Some(greatest) = seen.greatest.filter(|greatest| reach <= *greatest) else {
            seen.greatest = Some(reach);
            return false;
        };
        if seen.errors <= self.warm_start {
            return false;
        }
        let level = reach / greatest;
        if level < self.beta {
            return true;
        }
        seen.warning = level < self.alpha;
        false
    }
}
