//! Counts the outcomes of the training rows: all of them, by pane of event time, and by segment.
//!
//! The counts of a pane are a few thousand cells, nearly all of them empty, so panes are kept encoded. Rows wait
//! until there are enough of them to be worth decoding the panes they belong to.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, Float64Array, StringArray};

use super::super::Reference;
use super::super::count::{PANES_MAX, Ready};
use super::{OutcomePlan, Outcomes};
use crate::event::Timestamp;
use crate::summary::outcome::{OutcomeShape, OutcomeSummary, Predicted, Truth};

/// Rows that wait to be counted in their panes: some 8 MB.
const WAITING_MAX: usize = 1 << 16;

/// What the encoded panes may take; the newest are kept. The service holds them while it starts.
const PANES_BYTES_MAX: usize = 128 << 20;

/// What the counts of all segments may take; of more segments the largest are kept. The service holds them as
/// well.
const SEGMENTS_BYTES_MAX: usize = 128 << 20;

/// A count of outcomes that is under way.
pub(in crate::baseline) struct OutcomeCounting {
    plan: OutcomePlan,
    total: OutcomeSummary,
    panes: BTreeMap<Timestamp, Pane>,
    /// Rows that wait, over all panes.
    waiting: usize,
    /// Bytes of the encoded panes.
    bytes: usize,
    /// Panes before this are not kept.
    dropped_before: Option<Timestamp>,
    /// Whether panes were dropped for their bytes and not for their number, which the reference notes.
    is_too_large: bool,
    /// By number, the largest first.
    segments: Vec<OutcomeSummary>,
    left_out: u64,
}

#[derive(Default)]
struct Pane {
    /// Empty before the first rows are counted.
    encoded: Box<[u8]>,
    waiting: Vec<Case>,
}

/// A row with a usable prediction and label.
struct Case {
    predicted: Predicted,
    truth: Truth,
}

impl OutcomeCounting {
    /// A count by this plan; of so many segments.
    pub(in crate::baseline) fn new(plan: OutcomePlan, segments: usize) -> Self {
        let empty = plan.shape.empty();
        let fit = (SEGMENTS_BYTES_MAX / bytes_of(&empty)).max(1);
        Self {
            segments: vec![empty.clone(); segments.min(fit)],
            total: empty,
            plan,
            panes: BTreeMap::new(),
            waiting: 0,
            bytes: 0,
            dropped_before: None,
            is_too_large: false,
            left_out: 0,
        }
    }

    /// Counts the rows of a chunk, which are given by pane as well; `segments` is the number of each row's
    /// segment, if it has one.
    pub(in crate::baseline) fn take(
        &mut self,
        ready: &[Ready],
        rows: usize,
        by_pane: &BTreeMap<Timestamp, Vec<usize>>,
        segments: &[Option<usize>],
    ) {
        let mut cases = self.cases(ready, rows);
        for (row, case) in cases.iter().enumerate() {
            let Some(case) = case else {
                self.left_out += 1;
                continue;
            };
            count(&self.plan.shape, &mut self.total, case);
            let segment = segments.get(row).copied().flatten();
            if let Some(summary) = segment.and_then(|segment| self.segments.get_mut(segment)) {
                count(&self.plan.shape, summary, case);
            }
        }
        for (start, rows) in by_pane {
            if self.dropped_before.is_some_and(|before| *start < before) {
                continue;
            }
            let pane = self.panes.entry(*start).or_default();
            let before = pane.waiting.len();
            pane.waiting.extend(rows.iter().filter_map(|row| cases.get_mut(*row)?.take()));
            self.waiting += pane.waiting.len() - before;
        }
        if self.waiting >= WAITING_MAX {
            self.count_waiting();
        }
    }

    /// Counts the rows that wait in their panes, and lets go of the oldest panes over the limits.
    fn count_waiting(&mut self) {
        let shape = &self.plan.shape;
        for pane in self.panes.values_mut().filter(|pane| !pane.waiting.is_empty()) {
            // The bytes were written by `encode`; without any the pane is new.
            let mut summary = OutcomeSummary::decode(&pane.encoded).unwrap_or_else(|_| shape.empty());
            pane.waiting.drain(..).for_each(|case| count(shape, &mut summary, &case));
            pane.waiting.shrink_to_fit();
            summary.delays.clear();
            self.bytes -= pane.encoded.len();
            pane.encoded = summary.encode().into_boxed_slice();
            self.bytes += pane.encoded.len();
        }
        self.waiting = 0;
        while self.panes.len() > PANES_MAX || self.bytes > PANES_BYTES_MAX {
            self.is_too_large |= self.panes.len() <= PANES_MAX;
            let Some((_, pane)) = self.panes.pop_first() else { break };
            self.bytes -= pane.encoded.len();
            self.dropped_before = self.panes.first_key_value().map(|(start, _)| *start);
        }
    }

    /// What was counted; panes that the reference has not are left out. `names` are those of the segments.
    pub(in crate::baseline) fn finish(
        mut self,
        reference: Option<&Reference>,
        names: &[String],
        notes: &mut Vec<String>,
    ) -> Outcomes {
        self.count_waiting();
        self.note(names, notes);
        let starts: BTreeSet<Timestamp> =
            reference.iter().flat_map(|reference| &reference.panes).map(|(start, _)| *start).collect();
        let OutcomePlan { shape, classes, scores, decision, amount, .. } = self.plan;
        let timeless = |mut summary: OutcomeSummary| {
            // The labels of a training table have no delay.
            summary.delays.clear();
            summary
        };
        let panes =
            self.panes.into_iter().filter(|(start, pane)| starts.contains(start) && !pane.encoded.is_empty());
        let segments = names.iter().cloned().zip(self.segments).filter(|(_, summary)| summary.labels > 0);
        Outcomes {
            shape,
            classes,
            scores: scores.into_iter().map(|(_, name)| name).collect(),
            has_prediction: decision.is_some(),
            amount: amount.map(|(_, name)| name),
            total: timeless(self.total),
            panes: panes.map(|(start, pane)| (start, pane.encoded)).collect(),
            segments: segments.map(|(name, summary)| (name, timeless(summary))).collect(),
            left_out: self.left_out,
        }
    }

    fn note(&self, names: &[String], notes: &mut Vec<String>) {
        if self.left_out > 0 {
            notes.push(format!(
                "{} rows have no usable prediction or label: they are in no reference of performance",
                self.left_out
            ));
        }
        if self.is_too_large {
            notes.push(format!(
                "the outcomes of the training rows take more than {} MiB by pane: the oldest are left out",
                PANES_BYTES_MAX >> 20
            ));
        }
        if self.segments.len() < names.len() {
            notes.push(format!(
                "only the {} largest segments have a reference of performance",
                self.segments.len()
            ));
        }
        let mut seen = self.total.delays.keys().map(|cell| cell.outcome);
        let first = seen.next();
        if matches!(self.plan.shape, OutcomeShape::Binary(_))
            && first.is_some_and(|first| seen.all(|other| other == first))
        {
            let which = if first == Some(1) { "each" } else { "none" };
            let positive = self.plan.classes.names().join("`, `");
            notes.push(format!(
                "{which} of the training labels is of class 1, which is `{positive}`: say what `positive` names it"
            ));
        }
    }

    /// The case of each row; `None` where prediction or label is not usable.
    fn cases(&self, ready: &[Ready], rows: usize) -> Vec<Option<Case>> {
        let OutcomePlan { shape, scores, decision, label, amount, .. } = &self.plan;
        let scores: Vec<&Float64Array> =
            scores.iter().filter_map(|(place, _)| numbers(ready.get(*place)?)).collect();
        let decided = decision.and_then(|place| ready.get(place)).map(|ready| self.classes_of(ready, rows));
        let amounts = amount.as_ref().and_then(|(place, _)| numbers(ready.get(*place)?));
        let truths = ready.get(*label).map(|ready| self.truths(ready, rows)).unwrap_or_default();
        let case = |row: usize| {
            // Several classes may do without scores where there is a decision; the shape says who may not.
            let values: Option<Box<[f64]>> = scores.iter().map(|scores| finite(scores, row)).collect();
            let predicted = Predicted {
                values: values.unwrap_or_default(),
                class: decided.as_ref().and_then(|decided| decided.get(row).copied().flatten()),
                amount: amounts.and_then(|amounts| finite(amounts, row)),
                query: None,
            };
            let truth = truths.get(row).copied().flatten()?;
            shape.check(&predicted, Some(truth)).ok()?;
            Some(Case { predicted, truth })
        };
        (0..rows).map(case).collect()
    }

    fn truths(&self, ready: &Ready, rows: usize) -> Vec<Option<Truth>> {
        if let (OutcomeShape::Regression(_), Ready::Numbers(numbers)) = (&self.plan.shape, ready) {
            return (0..rows).map(|row| finite(numbers, row).map(Truth::Number)).collect();
        }
        self.classes_of(ready, rows).into_iter().map(|class| class.map(Truth::Class)).collect()
    }

    fn classes_of(&self, ready: &Ready, rows: usize) -> Vec<Option<u16>> {
        let classes = &self.plan.classes;
        match ready {
            Ready::Numbers(numbers) => (0..rows)
                .map(|row| finite(numbers, row).and_then(|number| classes.of_number(number)))
                .collect(),
            Ready::Names { values, keys, missing } => {
                let of_key = class_of_each(values, |name| classes.of_name(name));
                let class = |row: usize| {
                    let key = usize::try_from(*keys.get(row)?).ok()?;
                    if *missing.get(row)? { None } else { of_key.get(key).copied().flatten() }
                };
                (0..rows).map(class).collect()
            }
        }
    }
}

fn class_of_each(names: &StringArray, class: impl Fn(&str) -> Option<u16>) -> Vec<Option<u16>> {
    names.iter().map(|name| name.and_then(&class)).collect()
}

fn numbers(ready: &Ready) -> Option<&Float64Array> {
    match ready {
        Ready::Numbers(numbers) => Some(numbers),
        Ready::Names { .. } => None,
    }
}

fn finite(numbers: &Float64Array, row: usize) -> Option<f64> {
    let number = numbers.values().get(row).copied().filter(|number| number.is_finite())?;
    numbers.is_valid(row).then_some(number)
}

/// Cases were checked by their shape, so each can be counted.
fn count(shape: &OutcomeShape, summary: &mut OutcomeSummary, case: &Case) {
    let counted = shape
        .predict(summary, &case.predicted)
        .and_then(|()| shape.add(summary, &case.predicted, case.truth, 0));
    debug_assert!(counted.is_ok(), "the case was checked");
}

/// Bytes that a summary takes; never 0.
fn bytes_of(summary: &OutcomeSummary) -> usize {
    size_of::<OutcomeSummary>()
        + summary.predicted.heap_bytes()
        + summary.outcomes.heap_bytes()
        + size_of_val(summary.sums.as_slice())
}
