//! Curves of labels that have come by an age, from cohorts that were watched for different times.

use super::{DELAY_BUCKETS, DelayBuckets, Rows, WEIGHT_MAX, Weight};
use crate::event::Span;

/// Which way a curve is multiplied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// What has not come by a bucket is a product over the buckets up to it.
    Forward,
    /// What has come by a bucket is a product over the buckets after it.
    Reverse,
}

/// Share of labels that have come by the upper end of each bucket. It is a product of factors, one a bucket;
/// the logarithms of the factors are independent, with known variances.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    shares: [f64; DELAY_BUCKETS],
    variances: [f64; DELAY_BUCKETS],
    /// Buckets known; the share stays as it is after them.
    known: usize,
    direction: Direction,
}

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reached {
    /// The share, 0 to 1.
    pub(super) share: f64,
    /// How the share moves with the logarithm of each factor.
    pub(super) slopes: [f64; DELAY_BUCKETS],
    /// Variances of these logarithms.
    pub(super) variances: [f64; DELAY_BUCKETS],
}

impl Reached {
    /// Standard error of the share.
    pub(super) fn standard_error(&self) -> f64 {
        let squares = self.slopes.iter().zip(&self.variances);
        squares.map(|(slope, variance)| slope * slope * variance).sum::<f64>().sqrt()
    }

    /// The weight of a label that came with this chance.
    pub(super) fn weight(&self) -> Weight {
        if self.share * WEIGHT_MAX < 1.0 {
            return Weight { weight: WEIGHT_MAX, standard_error: 0.0, is_clipped: true };
        }
        let weight = 1.0 / self.share;
        Weight { weight, standard_error: self.standard_error() * weight * weight, is_clipped: false }
    }
}

/// Rows of cohorts that show at least a bucket whole: those that came within it, those at risk.
struct Step {
    came: u64,
    at_risk: u64,
}

impl Step {
    /// Greenwood's variance of log(1 − came/at_risk). With nothing left the factor is 0, and taken as certain.
    fn variance(&self) -> f64 {
        match self.at_risk.saturating_sub(self.came) {
            0 => 0.0,
            left => self.came as f64 / (self.at_risk as f64 * left as f64),
        }
    }

    fn factor(&self) -> f64 {
        self.at_risk.saturating_sub(self.came) as f64 / self.at_risk.max(1) as f64
    }
}

impl Curve {
    /// Share of all rows, from rows by how many buckets their cohort shows whole: of those without a label
    /// before a bucket, the share that gets one within it.
    pub(super) fn forward(observed: &[Rows]) -> Self {
        let mut curve = Self::empty(Direction::Forward);
        let mut without = 1.0;
        for bucket in 0..DELAY_BUCKETS {
            let step = step(observed, bucket, |rows| {
                let before = rows.labelled.iter().take(bucket).fold(0, |sum: u64, n| sum.saturating_add(*n));
                rows.rows().saturating_sub(before)
            });
            // Without rows at risk either everything has come or nothing older was seen.
            if step.at_risk == 0 {
                break;
            }
            without *= step.factor();
            curve.set(bucket, 1.0 - without, step.variance());
            curve.known = bucket + 1;
        }
        let last = curve.last().unwrap_or(0.0);
        curve.shares.iter_mut().skip(curve.known).for_each(|share| *share = last);
        curve
    }

    /// Share of the labels of delays in the first `reach` buckets: of those up to a bucket, the share that came
    /// before it.
    pub(super) fn reverse(observed: &[Rows], reach: usize) -> Self {
        let mut curve = Self::empty(Direction::Reverse);
        curve.known = reach.min(DELAY_BUCKETS);
        curve.shares = [1.0; DELAY_BUCKETS];
        let mut share = 1.0;
        for bucket in (0..curve.known).rev() {
            let step = step(observed, bucket, |rows| {
                rows.labelled.iter().take(bucket + 1).fold(0, |sum: u64, n| sum.saturating_add(*n))
            });
            curve.set(bucket, share, step.variance());
            share *= if step.at_risk == 0 { 1.0 } else { step.factor() };
        }
        curve
    }

    fn empty(direction: Direction) -> Self {
        let zero = [0.0; DELAY_BUCKETS];
        Self { shares: zero, variances: zero, known: 0, direction }
    }

    fn set(&mut self, bucket: usize, share: f64, variance: f64) {
        if let (Some(at), Some(of)) = (self.shares.get_mut(bucket), self.variances.get_mut(bucket)) {
            (*at, *of) = (share, variance);
        }
    }

    /// The share at the end; none when nothing is known.
    pub(super) fn last(&self) -> Option<f64> {
        self.shares.get(self.known.checked_sub(1)?).copied()
    }

    /// The first bucket by whose end the share is reached.
    pub(super) fn first_to_reach(&self, share: f64) -> Option<usize> {
        self.shares.iter().take(self.known).position(|reached| *reached >= share)
    }

    /// The share at an age. Within a bucket labels come at an even rate among those still to come; where none
    /// are to come after it, at an even rate.
    pub(super) fn at(&self, buckets: &DelayBuckets, age: Span) -> Reached {
        let bucket = buckets.bucket(age);
        if bucket >= self.known {
            return self.end(self.known);
        }
        let (lower, upper) = (buckets.lower(bucket), buckets.upper(bucket));
        let width = (upper - lower).as_micros().max(1) as f64;
        let within = ((age - lower).as_micros() as f64 / width).clamp(0.0, 1.0);
        let (from, to) = (self.end(bucket), self.end(bucket + 1));
        let (before, after) = (1.0 - from.share, 1.0 - to.share);
        let (share, by_from, by_to) = if before > 0.0 && after > 0.0 {
            let left = before.powf(1.0 - within) * after.powf(within);
            (1.0 - left, left * (1.0 - within) / before, left * within / after)
        } else {
            (from.share + within * (to.share - from.share), 1.0 - within, within)
        };
        let slopes = std::array::from_fn(|factor| by_from * from.slope(factor) + by_to * to.slope(factor));
        Reached { share: share.clamp(0.0, 1.0), slopes, variances: self.variances }
    }

    /// The curve at the end of its first so many buckets; 0 before the first.
    fn end(&self, buckets: usize) -> Reached {
        let place = buckets.checked_sub(1);
        let share = place.and_then(|place| self.shares.get(place)).copied().unwrap_or(0.0);
        let moves = place.is_some();
        let slopes = std::array::from_fn(|factor| match self.direction {
            Direction::Forward if moves && factor < buckets => share - 1.0,
            Direction::Reverse if moves && (buckets..self.known).contains(&factor) => share,
            _ => 0.0,
        });
        Reached { share, slopes, variances: self.variances }
    }
}

impl Reached {
    fn slope(&self, factor: usize) -> f64 {
        self.slopes.get(factor).copied().unwrap_or(0.0)
    }
}

/// A bucket over all cohorts that show it whole.
fn step(observed: &[Rows], bucket: usize, at_risk: impl Fn(&Rows) -> u64) -> Step {
    let whole = || observed.iter().skip(bucket + 1);
    let came = |rows: &Rows| rows.labelled.get(bucket).copied().unwrap_or(0);
    Step {
        came: whole().map(came).fold(0, u64::saturating_add),
        at_risk: whole().map(at_risk).fold(0, u64::saturating_add),
    }
}
