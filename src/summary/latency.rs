//! Serving latency, in an HDR histogram.

use hdrhistogram::Histogram;

/// Latencies in microseconds, two significant digits, from 1 µs to 1 h; longer ones count as 1 h.
/// Nothing is allocated before the first value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency(Option<Box<Histogram<u32>>>);

/// One hour in microseconds.
const MAX_MICROS: u64 = 3_600_000_000;

impl Latency {
    /// Counts a latency in milliseconds. Negative ones and NaN are left out.
    pub fn record_ms(&mut self, milliseconds: f64) {
        if milliseconds >= 0.0 {
            // A float cast saturates, so infinity becomes the maximum.
            self.record_micros((milliseconds * 1e3) as u64, 1);
        }
    }

    /// Counts a latency `times` over.
    pub fn record_micros(&mut self, micros: u64, times: u32) {
        if self.0.is_none() {
            self.0 = Histogram::new_with_bounds(1, MAX_MICROS, 2).ok().map(Box::new);
        }
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record_n(micros.clamp(1, MAX_MICROS), times);
        }
    }

    /// How many latencies were counted.
    pub fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.len())
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The latency in milliseconds that a share `quantile` in 0..=1 does not exceed, within 1 %.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        Some(histogram.value_at_quantile(quantile) as f64 / 1e3)
    }

    /// Adds the latencies of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (micros, times) in other.recorded() {
            self.record_micros(micros, times);
        }
    }

    /// Each recorded value in microseconds with its count, ascending.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.0
            .iter()
            .flat_map(|histogram| histogram.iter_recorded())
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
    }
}
