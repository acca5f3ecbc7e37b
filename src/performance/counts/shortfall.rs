//! By how much a metric is worse than it was.

use crate::drift::law::normal_tail;
use crate::performance::{Better, Measured};

/// The difference of a metric to its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shortfall {
    /// By how much it is worse, in the metric's unit; below 0 when it is better.
    pub worse_by: f64,
    /// Standard error of that.
    pub standard_error: f64,
    /// One over the other.
    pub z: f64,
    /// Natural logarithm of the chance of at least so much when nothing has changed: the upper tail of a
    /// standard normal variable at `z`, and both tails of a metric that is best at 0; 0 or less, always finite.
    pub log_p_value: f64,
}

/// By how much a metric is worse now than in the reference, the two being of other rows.
///
/// A metric that is best at 0 is worse by how much further it is from 0, on either side: that is at most the
/// difference of the two, so both tails of it are counted. The variance of the difference is the sum of both
/// variances (large samples); errors of counting, at most both [`bound`]s, are not in it. `None`
/// when either has no value or no standard error, or when they are two metrics.
///
/// [`bound`]: crate::performance::MetricValue::bound
pub fn shortfall(now: &Measured, reference: &Measured) -> Option<Shortfall> {
    if now.metric != reference.metric {
        return None;
    }
    let (now_value, reference_value) = (now.outcome.as_ref().ok()?, reference.outcome.as_ref().ok()?);
    let worse_by = match now.better {
        Better::Higher => reference_value.value - now_value.value,
        Better::Lower => now_value.value - reference_value.value,
        Better::Zero => now_value.value.abs() - reference_value.value.abs(),
    };
    let standard_error = now_value.standard_error?.hypot(reference_value.standard_error?);
    let z = worse_by / standard_error;
    let log_p_value = log_p_value(now.better, z);
    z.is_finite().then_some(Shortfall { worse_by, standard_error, z, log_p_value })
}

impl Shortfall {
    /// The same where windows differ by more than chance: `variance` is that of their true values.
    pub fn with_days_that_differ(self, better: Better, variance: f64) -> Self {
        let standard_error = self.standard_error.hypot(variance.max(0.0).sqrt());
        let z = self.worse_by / standard_error;
        Self { standard_error, z, log_p_value: log_p_value(better, z), ..self }
    }
}

fn log_p_value(better: Better, z: f64) -> f64 {
    let tails = if better == Better::Zero { std::f64::consts::LN_2 } else { 0.0 };
    (normal_tail(z).ln() + tails).min(0.0)
}
