//! Cases: what workers take out of events for the performance of a model, one prediction or truth at a time.
//!
//! An event that carries a prediction is a case of its group, and counts in the group's windows as well. An
//! event of a stream that carries nothing but labels is no row of any window: its label belongs to the time of
//! the prediction it names.

use arrow::array::{Array, Float64Array, StringArray};

use super::partial::find_column;
use super::plan::Prepared;
use crate::baseline::{ClassNames, Outcomes};
use crate::event::decode::Mapping;
use crate::event::{ColumnKind, ColumnSpec, EventBatch, Names, Role, Timestamp, WRONG_TYPE_NAME};
use crate::performance::join::Key;
use crate::summary::outcome::{OutcomeShape, Predicted, Task, Truth};

/// An event of a group, as far as performance is about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// When it was predicted.
    pub time: Timestamp,
    /// What joins it with its label; `None` when the event carries no id.
    pub key: Option<Key>,
    /// What was predicted; `None` when the event carries nothing that can be used.
    pub predicted: Option<Predicted>,
    /// What came true, when that was known already.
    pub truth: Option<Truth>,
}

/// An event that is only a label.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelCase {
    /// Index of the model in the plan.
    pub model: usize,
    /// What joins it with its prediction.
    pub key: Key,
    /// What came true.
    pub truth: Truth,
    /// When that was known.
    pub time: Timestamp,
}

/// A column of classes or numbers.
enum Values<'a> {
    Numbers(&'a Float64Array),
    Names(Names<'a>),
}

impl<'a> Values<'a> {
    fn of(batch: &'a EventBatch, spec: &ColumnSpec) -> Option<Self> {
        let at = find_column(batch.schema(), spec)?;
        Some(match spec.kind {
            ColumnKind::Numeric => Self::Numbers(batch.numbers(at)),
            ColumnKind::Categorical => Self::Names(batch.names(at)),
        })
    }

    fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => finite(numbers, row),
            Self::Names(_) => None,
        }
    }

    fn class(&self, row: usize, classes: &ClassNames) -> Option<u16> {
        match self {
            Self::Numbers(numbers) => finite(numbers, row).and_then(|number| classes.of_number(number)),
            Self::Names(names) => {
                let name = names.get(row).filter(|name| *name != WRONG_TYPE_NAME)?;
                classes.of_name(name)
            }
        }
    }

    fn truth(&self, row: usize, classes: Option<&ClassNames>) -> Option<Truth> {
        match classes {
            Some(classes) => self.class(row, classes).map(Truth::Class),
            None => self.number(row).map(Truth::Number),
        }
    }
}

fn finite(numbers: &Float64Array, row: usize) -> Option<f64> {
    (row < numbers.len() && !numbers.is_null(row))
        .then(|| numbers.value(row))
        .filter(|value| value.is_finite())
}

/// The columns of a batch that hold cases.
pub(super) struct CaseColumns<'a> {
    model: &'a str,
    outcomes: &'a Outcomes,
    ids: &'a StringArray,
    times: &'a [i64],
    scores: Vec<&'a Float64Array>,
    prediction: Option<Values<'a>>,
    label: Option<Values<'a>>,
    amount: Option<&'a Float64Array>,
}

impl<'a> CaseColumns<'a> {
    /// The columns, if the stream carries predictions and the baseline knows outcomes.
    pub(super) fn new(
        batch: &'a EventBatch,
        mapping: &Mapping,
        model: &'a str,
        prepared: &'a Prepared,
    ) -> Option<Self> {
        let outcomes = prepared.baseline.outcomes.as_ref()?;
        if mapping.prediction.is_none() && mapping.scores.is_empty() {
            return None;
        }
        let spec_of = |role: Role, name: Option<&str>| {
            let is_it = |spec: &&ColumnSpec| {
                spec.role == role && name.is_none_or(|name| *spec.name == *name) && mapping.carries(spec)
            };
            prepared.baseline.specs().find(is_it)
        };
        let numbers = |role: Role, name: &str| {
            let spec = spec_of(role, Some(name)).filter(|spec| spec.kind == ColumnKind::Numeric)?;
            find_column(batch.schema(), spec).map(|at| batch.numbers(at))
        };
        let scores: Option<Vec<_>> = outcomes.scores.iter().map(|name| numbers(Role::Score, name)).collect();
        Some(Self {
            model,
            outcomes,
            ids: batch.ids(),
            times: batch.timestamps(),
            scores: scores.unwrap_or_default(),
            prediction: spec_of(Role::Prediction, None).and_then(|spec| Values::of(batch, spec)),
            label: spec_of(Role::Label, None).and_then(|spec| Values::of(batch, spec)),
            amount: outcomes.amount.as_ref().and_then(|name| numbers(Role::Feature, name)),
        })
    }

    /// The case of a row of the batch.
    pub(super) fn case(&self, row: usize) -> Case {
        let classes = self.classes();
        Case {
            time: self.times.get(row).map_or(Timestamp::default(), |t| Timestamp::saturating_from_micros(*t)),
            key: key_of(self.ids, row, self.model),
            predicted: self.predicted(row),
            truth: self.label.as_ref().and_then(|label| label.truth(row, classes)),
        }
    }

    fn classes(&self) -> Option<&'a ClassNames> {
        match self.outcomes.shape.task() {
            Task::Binary | Task::Multiclass => Some(&self.outcomes.classes),
            Task::Regression | Task::Ranking => None,
        }
    }

    fn predicted(&self, row: usize) -> Option<Predicted> {
        let values: Option<Vec<f64>> = match self.outcomes.shape {
            OutcomeShape::Regression(_) => Some(vec![self.prediction.as_ref()?.number(row)?]),
            _ => self.scores.iter().map(|scores| finite(scores, row)).collect(),
        };
        let class = match self.classes() {
            Some(classes) => self.prediction.as_ref().and_then(|values| values.class(row, classes)),
            None => None,
        };
        let predicted = Predicted {
            values: values.unwrap_or_default().into(),
            class,
            amount: self.amount.and_then(|amounts| finite(amounts, row)),
            query: None,
        };
        self.outcomes.shape.check(&predicted, None).is_ok().then_some(predicted)
    }
}

/// The key of a row's id; an empty id is none.
fn key_of(ids: &StringArray, row: usize, model: &str) -> Option<Key> {
    let is_there = row < ids.len() && !ids.is_null(row) && !ids.value(row).is_empty();
    is_there.then(|| Key::new(model, ids.value(row)))
}

/// How the labels of a stream that carries nothing else are read.
pub(super) struct LabelColumns<'a> {
    batch: &'a EventBatch,
    names: Option<Values<'a>>,
    numbers: Option<Values<'a>>,
}

impl<'a> LabelColumns<'a> {
    /// The label as names and as numbers, as far as the batch has it so.
    pub(super) fn new(batch: &'a EventBatch) -> Self {
        let of = |kind| Values::of(batch, &label_spec(kind));
        Self { batch, names: of(ColumnKind::Categorical), numbers: of(ColumnKind::Numeric) }
    }

    /// The key of a row, and what came true; a class by its name, a number if there are no classes.
    pub(super) fn read(
        &self,
        row: usize,
        model: &str,
        classes: Option<&ClassNames>,
    ) -> (Option<Key>, Option<Truth>) {
        let values = if classes.is_some() { &self.names } else { &self.numbers };
        let truth = values.as_ref().and_then(|values| values.truth(row, classes));
        (key_of(self.batch.ids(), row, model), truth)
    }
}

/// The column that labels are decoded into where a stream carries nothing else.
pub(super) fn label_spec(kind: ColumnKind) -> ColumnSpec {
    ColumnSpec { name: "label".into(), role: Role::Label, kind }
}

/// The kind of the labels of a task.
pub(super) fn label_kind(task: Task) -> ColumnKind {
    match task {
        Task::Binary | Task::Multiclass => ColumnKind::Categorical,
        Task::Regression | Task::Ranking => ColumnKind::Numeric,
    }
}

/// Whether a stream carries labels and nothing else that windows count.
pub(super) fn is_labels_only(mapping: &Mapping) -> bool {
    mapping.label.is_some()
        && mapping.prediction.is_none()
        && mapping.scores.is_empty()
        && mapping.features == crate::event::decode::FeatureMapping::None
}
