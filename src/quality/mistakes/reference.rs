//! What is a mistake, and how often the training rows had one.

use std::collections::VecDeque;

use crate::event::{Span, Timestamp};
use crate::quality::RATE_WATCHED_MAX;
use crate::sequential::upper_rate;
use crate::summary::outcome::{OutcomeShape, OutcomeSummary, Predicted, RegressionShape, STRATA, Truth};

/// How surely all the bounds of a baseline hold together: one in a hundred trainings has a bound too low.
const BOUNDS_LEVEL: f64 = 0.01;

/// The share of the training rows' absolute errors that are no mistakes, at least.
const USUAL_SHARE: f64 = 0.9;

/// Least and greatest excess that matters.
const FLOOR: (f64, f64) = (0.01, 0.05);

/// How far over the expected rate a rate must be to matter: as much again as is expected, but no more than
/// five mistakes in a hundred, and no less than one. A model that wrongly stops 0.5 % of honest payments is
/// broken when it stops 3 % of them; one that errs in 30 % of cases is when it does in 35 %.
pub fn floor_of(expected: f64) -> f64 {
    expected.clamp(FLOOR.0, FLOOR.1)
}

/// A case whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// The class that came true; 0 where truths are numbers.
    pub class: u16,
    /// The class that was decided for; 0 where truths are numbers.
    pub decision: u16,
    /// Whether the model erred.
    pub is_mistake: bool,
}

/// What the watch takes from a baseline: how often the model errs of each class that comes true.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Numbers: the last bin of absolute errors that are no mistakes.
    usual_bin: usize,
    /// The end of that bin, in the unit of the predictions.
    usual_error: Option<f64>,
    classes: Vec<Class>,
    /// Highest rates of mistakes that are expected by decision; empty where truths are numbers.
    decisions: Vec<Option<f64>>,
    is_calibrated: bool,
}

/// The mistakes of the training rows of one class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    /// Its name; `None` where truths are numbers.
    pub(super) name: Option<String>,
    pub(super) counts: Counts,
    /// The highest rate that is expected, 0 to 1; `None` is not watched.
    pub(super) expected: Option<f64>,
}

/// Of a decision that is mistaken more often than this nothing can be confirmed.
const CONFIRMABLE_MAX: f64 = 0.999;

/// Labels, and how many of them show a mistake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) labels: u64,
    pub(super) mistakes: u64,
}

impl Counts {
    /// The share of mistakes; 0 of nothing.
    pub(super) fn rate(self) -> f64 {
        self.mistakes as f64 / self.labels.max(1) as f64
    }
}

impl Reference {
    /// From the outcomes of the training rows, all and by panes, if the task knows mistakes.
    ///
    /// What is expected of a class is the larger of two rates. One is the Clopper–Pearson upper bound of the
    /// training rate, at a level at which the bounds of all classes hold together. The other is the highest
    /// rate over any stretch of panes that starts within `stretch` of its last and has `labels_min` labels of
    /// the class: errors that are many each Sunday must not alarm each Sunday. A class of which nothing is
    /// known, or nearly all is mistaken, is not watched.
    ///
    /// For numbers the training errors are known by the bins of a grid, whose ends lie 4 % apart: a mistake is
    /// an error beyond the bin that holds the 90 % quantile, so the error from which on it is one is at most
    /// 4 % over that quantile. Which bin a live error falls in is decided as for training rows, so their rate
    /// is exact, and at most 10 %. There are no mistakes if the quantile is beyond the grid.
    pub fn new(
        shape: &OutcomeShape,
        total: &OutcomeSummary,
        panes: impl Iterator<Item = (Timestamp, OutcomeSummary)>,
        stretch: Span,
        labels_min: u64,
    ) -> Option<Self> {
        let mut reference = Self::empty(shape, total)?;
        let (all, decided) = reference.counts(shape, total);
        let highest = highest_rates(
            panes.map(|(start, summary)| (start, reference.counts(shape, &summary).0)),
            stretch,
            labels_min.max(1),
        );
        // Each class has two bounds: where it came true, and where it was decided for.
        let level = BOUNDS_LEVEL / (2 * all.len().max(1)) as f64;
        for (place, (class, counts)) in reference.classes.iter_mut().zip(all).enumerate() {
            let bound = upper_rate(counts.mistakes, counts.labels, 1.0 - level);
            let high = highest.as_ref().and_then(|rates| rates.get(place)).copied().unwrap_or(0.0);
            class.counts = counts;
            class.expected = Some(bound.max(high)).filter(|rate| *rate <= RATE_WATCHED_MAX);
        }
        if reference.usual_error.is_none() {
            let bound = |counts: Counts| upper_rate(counts.mistakes, counts.labels, 1.0 - level);
            let confirmable = |rate: &f64| *rate <= CONFIRMABLE_MAX;
            reference.decisions =
                decided.into_iter().map(|counts| Some(bound(counts)).filter(confirmable)).collect();
        }
        reference.is_calibrated = highest.is_some();
        Some(reference)
    }

    fn empty(shape: &OutcomeShape, total: &OutcomeSummary) -> Option<Self> {
        let class = |name| Class { name, counts: Counts::default(), expected: None };
        let (usual_bin, usual_error, names) = match shape {
            OutcomeShape::Binary(_) => (0, None, vec![Some("0".to_owned()), Some("1".to_owned())]),
            OutcomeShape::Multiclass(shape) => (0, None, shape.classes.iter().cloned().map(Some).collect()),
            OutcomeShape::Regression(shape) => {
                let bin = usual_bin(shape, total)?;
                (bin, Some(shape.error_ends(bin).1), vec![None])
            }
            OutcomeShape::Ranking => return None,
        };
        let classes = names.into_iter().map(class).collect();
        Some(Self { usual_bin, usual_error, classes, decisions: Vec::new(), is_calibrated: false })
    }

    /// Labels and mistakes of each class that came true, and of each that was decided for.
    fn counts(&self, shape: &OutcomeShape, summary: &OutcomeSummary) -> (Vec<Counts>, Vec<Counts>) {
        let classes = self.classes.len();
        let mut counts = vec![Counts::default(); classes];
        let mut decided = counts.clone();
        let mut add = |class: usize, decision: usize, is_mistake: bool, labels: u64| {
            for counts in [counts.get_mut(class), decided.get_mut(decision)].into_iter().flatten() {
                counts.labels = counts.labels.saturating_add(labels);
                counts.mistakes = counts.mistakes.saturating_add(if is_mistake { labels } else { 0 });
            }
        };
        match shape {
            OutcomeShape::Binary(shape) => {
                for (truth, decision) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    for bin in 0..shape.bins() {
                        let at = shape.outcome_at(bin, decision, truth);
                        add(truth, decision, truth != decision, summary.outcomes.get(at));
                    }
                }
            }
            OutcomeShape::Multiclass(shape) => {
                for truth in 0..classes {
                    for decision in 0..classes {
                        let labels = summary.outcomes.get(shape.confusion_at(truth, decision));
                        add(truth, decision, truth != decision, labels);
                    }
                }
            }
            OutcomeShape::Regression(shape) => {
                for bin in 0..RegressionShape::error_bins() {
                    add(0, 0, bin > self.usual_bin, errors_in(shape, summary, bin));
                }
            }
            OutcomeShape::Ranking => {}
        }
        (counts, decided)
    }

    /// Whether a case is a mistake; `None` when it does not fit the task.
    pub fn judge(&self, shape: &OutcomeShape, predicted: &Predicted, truth: Truth) -> Option<Judged> {
        shape.check(predicted, Some(truth)).ok()?;
        match (shape, truth) {
            (OutcomeShape::Regression(shape), Truth::Number(truth)) => {
                let error = (predicted.values.first()? - truth).abs();
                Some(Judged { class: 0, decision: 0, is_mistake: shape.error_bin(error) > self.usual_bin })
            }
            (_, Truth::Class(class)) => {
                let decision = u16::try_from(shape.decision(predicted).ok()??).ok()?;
                Some(Judged { class, decision, is_mistake: decision != class })
            }
            _ => None,
        }
    }

    /// Numbers: errors up to this are no mistakes.
    pub fn usual_error(&self) -> Option<f64> {
        self.usual_error
    }

    /// The highest rate of mistakes that is expected among labels of a class; `None` when it is not watched.
    pub fn expected(&self, class: u16) -> Option<f64> {
        self.class(class)?.expected
    }

    /// The highest rate of mistakes that is expected among labels of a decision; `None` when it is not watched.
    pub(super) fn expected_of_decision(&self, decision: u16) -> Option<f64> {
        self.decisions.get(usize::from(decision)).copied().flatten()
    }

    /// Number of decisions that are watched.
    pub(super) fn decisions(&self) -> usize {
        self.decisions.iter().flatten().count()
    }

    pub(super) fn class(&self, class: u16) -> Option<&Class> {
        self.classes.get(usize::from(class))
    }

    /// Number of streams: classes that are watched.
    pub fn streams(&self) -> usize {
        self.classes.iter().filter(|class| class.expected.is_some()).count()
    }

    /// Whether stretches of the training data were looked at.
    pub fn is_calibrated(&self) -> bool {
        self.is_calibrated
    }
}

/// Absolute errors in a bin, over all strata.
fn errors_in(shape: &RegressionShape, summary: &OutcomeSummary, bin: usize) -> u64 {
    let of_strata = (0..STRATA).map(|stratum| summary.outcomes.get(shape.error_at(stratum, bin)));
    of_strata.fold(0, u64::saturating_add)
}

/// The bin that holds the quantile of the absolute errors, if there are any and its end is known.
fn usual_bin(shape: &RegressionShape, total: &OutcomeSummary) -> Option<usize> {
    let bins = RegressionShape::error_bins();
    let counts: Vec<u64> = (0..bins).map(|bin| errors_in(shape, total, bin)).collect();
    let needed = USUAL_SHARE * counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)) as f64;
    let mut below = 0_u64;
    let bin = counts.iter().position(|count| {
        below = below.saturating_add(*count);
        below > 0 && below as f64 >= needed
    });
    bin.filter(|bin| bin + 1 < bins)
}

/// For each class the highest rate over the panes that start less than `stretch` before the start of one of
/// them; `None` without panes. Classes with fewer labels than `labels_min` in it are left out.
fn highest_rates(
    panes: impl Iterator<Item = (Timestamp, Vec<Counts>)>,
    stretch: Span,
    labels_min: u64,
) -> Option<Vec<f64>> {
    let mut within: VecDeque<(Timestamp, Vec<Counts>)> = VecDeque::new();
    let mut sums: Vec<Counts> = Vec::new();
    let mut highest: Option<Vec<f64>> = None;
    for (start, counts) in panes {
        sums.resize(counts.len(), Counts::default());
        let highest = highest.get_or_insert_with(|| vec![0.0; counts.len()]);
        for (sum, more) in sums.iter_mut().zip(&counts) {
            sum.labels = sum.labels.saturating_add(more.labels);
            sum.mistakes = sum.mistakes.saturating_add(more.mistakes);
        }
        within.push_back((start, counts));
        while within.front().is_some_and(|(first, _)| *first + stretch <= start) {
            let Some((_, gone)) = within.pop_front() else { break };
            for (sum, less) in sums.iter_mut().zip(&gone) {
                sum.labels = sum.labels.saturating_sub(less.labels);
                sum.mistakes = sum.mistakes.saturating_sub(less.mistakes);
            }
        }
        for (highest, sum) in highest.iter_mut().zip(&sums).filter(|(_, sum)| sum.labels >= labels_min) {
            *highest = highest.max(sum.rate());
        }
    }
    highest
}
