//! The Shiryaev–Roberts e-detector: a rise of a rate over a known bound, with a proven false-alarm rate.
//!
//! ```text
//! M_t = (M_{t−1} + 1) e_t for each bet,   drift when the mean of M_t over the bets >= 1/alpha
//! ```
//!
//! With each value a new bet of 1 starts that the change is now; M is what all of them are worth. Bets,
//! defaults, assumptions and source: [`e_detector`](super::e_detector).
//!
//! - False alarms: the mean number of values to one is at least `1/alpha`, for every law whose mean given
//!   the past is at most `p0`, for `M_t − t` is a supermartingale. In simulation with the defaults at a
//!   rate of 0.1: 0.75 per 100,000.

use super::settings::{SettingError, Settings};
use super::{Detector, e_detector};

/// Makes the detector.
pub(super) fn build(settings: &Settings) -> Result<Box<dyn Detector>, SettingError> {
    e_detector::build("e_sr", |worth| worth + 1.0, settings)
}
