//! Outcomes: what a model said of a case, what came true, and the counts of both, which merge exactly.
//!
//! Place in the flow: workers take a [`Predicted`] or a [`Truth`] out of an event; once both are known for
//! one case, they are counted. Pure.

/// What a model said of one case, reduced to what its performance is measured from.
///
/// What `values` holds follows from the task: for two classes the score, for several one score a class (or
/// none), for a number the prediction, for an order the score of the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// The numbers it gave, all finite.
    pub values: Box<[f64]>,
    /// The class it decided for, as an index of the task's classes; for two classes 0 or 1.
    pub class: Option<u16>,
    /// What the case is worth, in the currency of the operator.
    pub amount: Option<f64>,
    /// The query that the row belongs to, as a hash; only where rows are ordered.
    pub query: Option<u64>,
}

/// What came true of one case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// A class, as an index of the task's classes; for two classes 0 or 1.
    Class(u16),
    /// A number, finite; the relevance of a row where rows are ordered.
    Number(f64),
}
