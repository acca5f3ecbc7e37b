//! How the model did on its training rows: what was predicted of them and what came true, as counts.
//!
//! Place in the flow: built in the same passes as the rest of the baseline, if the training table has a label
//! and a prediction or score and the task was said. It owns the [`OutcomeShape`] that live outcomes are counted
//! on, and the reference that they are compared with. Pure.
//!
//! `plan.rs` says which columns are read and what they are counted on, `count.rs` counts. Orders of queries
//! are not counted: a training table does not say which rows belong together.
//!
//! Invariant: a row counts in `total`, in its pane and in its segment, or it is among those left out.

mod count;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use count::OutcomeCounting;
pub use plan::OutcomeError;
pub(super) use plan::OutcomePlan;

use crate::event::{Timestamp, WRONG_TYPE_NAME, canonical_number};
use crate::summary::outcome::{CLASSES_MAX, OutcomeShape, OutcomeSummary, Task};

/// What the outcomes of a table are.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeOptions {
    /// What the model predicts.
    pub task: Task,
    /// Two classes: the names of class 1.
    pub positive: Vec<String>,
    /// Several classes: their names, in the order of the scores; those of the training labels if empty.
    pub classes: Vec<String>,
    /// Two classes: where a row has no decision, scores of at least this are decided as class 1.
    pub threshold: f64,
    /// The score column that is measured, if there are several.
    pub score: Option<String>,
    /// A numeric column that says what each case is worth; only for classes.
    pub amount: Option<String>,
}

/// What came true of the training rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcomes {
    /// What outcomes are counted on.
    pub shape: OutcomeShape,
    /// How the names of labels and decisions become classes.
    pub classes: ClassNames,
    /// The watched columns whose numbers are a prediction's values, in their order: for two classes the
    /// score, for several one a class, for a number the prediction itself. Empty where only decisions are
    /// known.
    pub scores: Vec<Arc<str>>,
    /// Whether the column `prediction` names the class that was decided for.
    pub has_prediction: bool,
    /// The watched column of what a case is worth.
    pub amount: Option<Arc<str>>,
    /// All training rows.
    pub total: OutcomeSummary,
    /// Start and encoded counts of each pane, ascending.
    panes: Vec<(Timestamp, Box<[u8]>)>,
    /// The training rows by the value of the segment column.
    pub segments: BTreeMap<String, OutcomeSummary>,
    /// Rows without a usable prediction or label.
    pub left_out: u64,
}

impl Outcomes {
    /// The outcomes of a model that was counted on nothing but `total`; what is not given is empty.
    pub fn new(shape: OutcomeShape, classes: Vec<String>, total: OutcomeSummary) -> Self {
        Self {
            classes: ClassNames::new(shape.task(), classes),
            shape,
            scores: Vec::new(),
            has_prediction: false,
            amount: None,
            total,
            panes: Vec::new(),
            segments: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Whether a shape can be that of outcomes: a file may say anything.
    pub(super) fn is_sound(shape: &OutcomeShape) -> bool {
        let ascend =
            |edges: &[f64]| edges.iter().all(|edge| edge.is_finite()) && edges.is_sorted_by(|a, b| a < b);
        match shape {
            OutcomeShape::Binary(shape) => shape.threshold.is_finite() && ascend(shape.edges()),
            OutcomeShape::Multiclass(shape) => (2..=CLASSES_MAX).contains(&shape.classes.len()),
            OutcomeShape::Regression(shape) => {
                shape.centre.is_finite() && shape.scale.is_finite() && shape.scale > 0.0
            }
            OutcomeShape::Ranking => false,
        }
    }

    /// Start and counts of each pane that holds outcomes, ascending, among the panes of the baseline's
    /// reference. They are kept encoded, for most are sparse; each is decoded when it is reached.
    pub fn panes(&self) -> impl Iterator<Item = (Timestamp, OutcomeSummary)> + '_ {
        // The bytes were written by `encode`, or decoded once when they were read: none is left out.
        self.panes.iter().filter_map(|(start, bytes)| Some((*start, OutcomeSummary::decode(bytes).ok()?)))
    }

    /// Number of panes.
    pub fn panes_len(&self) -> usize {
        self.panes.len()
    }

    /// Lets go of the panes.
    pub(super) fn drop_panes(&mut self) {
        self.panes = Vec::new();
    }

    /// Start and encoded counts of each pane.
    pub(super) fn encoded(&self) -> &[(Timestamp, Box<[u8]>)] {
        &self.panes
    }

    /// The same with panes from a file; whoever reads it has decoded and checked them.
    pub(super) fn with_encoded(self, panes: Vec<(Timestamp, Box<[u8]>)>) -> Self {
        Self { panes, ..self }
    }
}

/// How the names of labels and decisions become classes.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassNames {
    names: Vec<String>,
    /// The names that are numbers.
    numbers: Vec<(f64, u16)>,
    index: BTreeMap<String, u16>,
    is_binary: bool,
}

impl ClassNames {
    /// For two classes the names of class 1, every other being class 0; for several all their names; for
    /// numbers none.
    pub fn new(task: Task, names: Vec<String>) -> Self {
        let is_binary = task == Task::Binary;
        let class = |place: usize| if is_binary { 1 } else { u16::try_from(place).unwrap_or(u16::MAX) };
        let index: BTreeMap<String, u16> =
            names.iter().enumerate().map(|(place, name)| (name.clone(), class(place))).collect();
        let number = |(name, class): (&String, &u16)| {
            let number: f64 = name.parse().ok()?;
            (number.is_finite() && canonical_number(number) == *name).then_some((number, *class))
        };
        Self { numbers: index.iter().filter_map(number).collect(), index, names, is_binary }
    }

    /// The names it was made of, in their order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of a name; `None` if it is none, or not even a name.
    pub fn of_name(&self, name: &str) -> Option<u16> {
        let other = (self.is_binary && name != WRONG_TYPE_NAME).then_some(0);
        self.index.get(name).copied().or(other)
    }

    /// The class of a number, which is that of its [`canonical_number`].
    pub fn of_number(&self, number: f64) -> Option<u16> {
        let other = (self.is_binary && number.is_finite()).then_some(0);
        self.numbers.iter().find(|(known, _)| *known == number).map(|(_, class)| *class).or(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn of_two_classes_the_positive_names_are_one_and_all_others_nought() {
        let classes = ClassNames::new(Task::Binary, names(&["1", "true", "bad"]));
        assert_eq!(["1", "true", "bad", "0", "One"].map(|name| classes.of_name(name)), {
            [Some(1), Some(1), Some(1), Some(0), Some(0)]
        });
        assert_eq!([1.0, 0.0, -0.0, 2.5].map(|number| classes.of_number(number)), {
            [Some(1), Some(0), Some(0), Some(0)]
        });
        assert_eq!(classes.of_name(WRONG_TYPE_NAME), None);
        assert_eq!([f64::NAN, f64::INFINITY].map(|number| classes.of_number(number)), [None, None]);
    }

    #[test]
    fn of_several_classes_only_their_own_names_are_known() {
        let classes = ClassNames::new(Task::Multiclass, names(&["2", "0", "10", "1.0"]));
        assert_eq!(["2", "0", "10", "1.0", "1"].map(|name| classes.of_name(name)), {
            [Some(0), Some(1), Some(2), Some(3), None]
        });
        assert_eq!([2.0, 0.0, 10.0, 1.0].map(|number| classes.of_number(number)), {
            [Some(0), Some(1), Some(2), None]
        });
    }

    #[test]
    fn numbers_have_no_classes() {
        let classes = ClassNames::new(Task::Regression, Vec::new());
        assert_eq!((classes.of_name("1"), classes.of_number(1.0)), (None, None));
    }
}
