//! The early watch: missing values, values of the wrong type and rejected records, before a window closes.
//!
//! Place in the flow: beside [`drift`](crate::drift). Workers count [ticks](Ticks), the owner keeps them in a
//! [`Watch`] until they are complete; what it finds goes the way of every verdict. Pure.
//!
//! **Ticks.** A detector that looked at events as they arrive would depend on how partitions interleave.
//! So event time is cut into ticks, a minute or a part of it, each within one pane, and a tick is looked at
//! when the watermark says that it is complete, by the rule of windows: all ticks in the order of event time,
//! and each before the windows that end with it or later. A row that comes when its own partition has shown
//! that its tick is over counts in its window only.
//!
//! **Streams.** For each version and column two rates are watched: of missing values (null, absent, NaN; not
//! of labels, which come late or never by their nature) and of values of the wrong type. Over all versions
//! one more: of records that were rejected. A rejected record has no time that can be trusted, so it counts
//! at the newest time that its partition had shown. One that was merely late is none: it is well-formed, and
//! how late events may be is a setting of its own.
//!
//! **Evidence.** Each stream has the e-detector of [`CountedBets`](crate::sequential::CountedBets) with the
//! highest rate that is [expected](Expected). With J streams there is an alarm when their worths add up to
//! J·A: the sum less J·t is a supermartingale whatever the dependence between streams, so the mean number of
//! ticks to a false alarm is at least A, as long as each rate, given the past, is at most what is expected,
//! and for a set of streams that stays. A comes from the early watch's part of the false-alarm budget. Only
//! streams whose rate is above the expected one by a floor, over enough rows, add to the sum. Source: Shin,
//! Ramdas and Rinaldo 2024, "E-detectors: a nonparametric framework for sequential change detection",
//! doi:10.51387/23-NEJSDS51.
//!
//! **How soon.** Of 20 columns one is missing in 0.4 % of the training rows, a minute has 60 rows and the
//! budget is one alarm in 30 days over four lengths of window. From the tick in which the rate becomes 34, 10,
//! 5 or 2 %, the median of seeded runs is 1, 2, 6 and 41 ticks; 1 % is not seen in ten hours and is left to the
//! windows. Without a change there was no alarm in 172,800 ticks. What it cannot tell from trouble: a burst
//! that did occur in training, but was too short to show in the rate of a whole stretch.
//!
//! **Quiet.** Ticks are too short to say that trouble is over. The watch speaks at once when it alarms, and
//! otherwise once a *round*: a stretch as long as the shortest window. A round is quiet when no tick of it
//! alarmed, and each stream is worth less than a fresh bet or has a rate too small to alarm.
//!
//! Invariant: what is found depends on the records and their order within partitions, not on batches, nor on
//! how partitions interleave, nor on restarts, as long as none of the limits is reached.

mod evidence;
mod expected;
mod finding;
pub mod mistakes;
mod round;
mod ticks;
mod watch;

pub use expected::{Expected, HighestRates, RATE_WATCHED_MAX};
pub use finding::{Finding, REJECTED_RECORDS, Trouble};
pub use round::{Report, State};
pub use ticks::{Bad, RowTicks, TickRows, Ticks};
pub use watch::{Arrived, Limits, Lookup, WAITING_MAX, Watch};

use crate::event::Span;
use crate::window;

/// Longest tick.
const TICK_MAX: Span = Span::from_secs(60);
/// Shortest tick.
const TICK_MIN: Span = Span::from_secs(1);

/// What the early watch is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Whether there is one.
    pub early: bool,
    /// Share of a model's records that may be rejected without anything being wrong, 0 to 1. No training
    /// file tells it. Over [`RATE_WATCHED_MAX`] rejected records are not watched.
    pub rejected_share_expected: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { early: true, rejected_share_expected: 0.01 }
    }
}

impl Settings {
    /// The ticks of a model; `None` when there is no early watch.
    ///
    /// There is none either when the shortest window lasts at most two ticks, for then it is as fast itself,
    /// nor when panes have no common part with a minute that lasts a second.
    pub fn ticks(&self, windows: &window::Settings) -> Option<Ticks> {
        ticks_of(windows).filter(|_| self.early)
    }

    /// Into how many equal parts the false-alarm budget of a model is split: one for each length of window,
    /// and one for the early watch if there is one.
    pub fn parts(&self, windows: &window::Settings) -> usize {
        windows.windows.len() + usize::from(self.ticks(windows).is_some())
    }
}

/// The ticks within these windows; `None` when ticks are no faster than the shortest, or shorter than a second.
pub fn ticks_of(windows: &window::Settings) -> Option<Ticks> {
    let length = windows.pane().gcd(TICK_MAX);
    let is_faster = shortest(windows).as_micros() > length.as_micros().saturating_mul(2);
    (length >= TICK_MIN && is_faster).then(|| Ticks::new(length, windows.offset, windows.allowed_lateness))
}

/// The length of the shortest window: over so long rates are compared with training, and a round lasts.
pub fn shortest(windows: &window::Settings) -> Span {
    windows.windows.iter().map(|window| window.length).min().unwrap_or(Span::ZERO)
}

#[cfg(test)]
mod tests;
