//! How well a model predicts while nobody knows yet what came true.
//!
//! Place in the flow: a reference with labels is fitted once; windows without labels are then estimated from
//! counts (the service) or rows (`driftline evaluate --reference`). When the labels come, the realised value
//! stands beside the estimate, and an estimate whose interval misses it is not to be relied on.
//! Pure: seeds are constants, so the same numbers give the same estimates.
//!
//! Invariant: no estimate comes without what it assumes ([`Estimator::assumes`]).
//!
//! To add an estimator: one file, one line in [`ESTIMATORS`], and its values in `tests/golden/`.

mod cbpe;
mod cost;
mod dle;
mod isotonic;
mod prior;

pub use cbpe::{CLASS_ROWS_MIN, Cbpe, Cell, EXPECTATIONS, Expectation};
pub use cost::CostCell;
pub use dle::{DLE_ROWS_MIN, Dle, FEATURES_MAX, Strata, Stratum};
pub use isotonic::{Isotonic, Point};
pub use prior::{ClassCell, PRIOR_CLASSES_MAX, PriorReference, PriorShift};

use super::Task;

/// A way to estimate without labels: a row of [`ESTIMATORS`].
pub struct Estimator {
    /// Stable name.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// What must hold for the estimate to be true, for people.
    pub assumes: &'static str,
    /// The tasks it is for.
    pub tasks: &'static [Task],
}

/// Every estimator.
pub static ESTIMATORS: &[Estimator] = &[
    Estimator {
        name: "cbpe",
        about: "the metrics that calibrated scores lead to expect",
        assumes: "the chance of a positive at a given score is what it was in the reference (no concept change)",
        tasks: &[Task::Binary],
    },
    Estimator {
        name: "dle",
        about: "the error that the features of a row lead to expect",
        assumes: "rows of equal features have the errors that they had in the reference (no concept change); in the \
                  service, where only the prediction is looked at, like predictions have, also while the mix of \
                  features changes",
        tasks: &[Task::Regression],
    },
    Estimator {
        name: "prior_shift",
        about: "how common each class has become",
        assumes: "rows of a class look as they did in the reference; only how common the classes are has changed",
        tasks: &[Task::Binary, Task::Multiclass],
    },
];

impl Estimator {
    /// The estimator of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ESTIMATORS.iter().find(|estimator| estimator.name == name)
    }
}
