//! Labels that come late: how long they take, and how to weigh the ones that are there so that they stand for
//! those that are not.
//!
//! Place in the flow: panes of different age give [`Cohort`]s, [`Delays::fit`] learns from them how fast labels
//! come, [`Delays::weight`] and [`Delays::corrected_mean`] correct a young window's numbers. Pure.
//!
//! - **By stratum** (segment and decile of the score): share of a stratum's predictions that have their label
//!   at an age, π(age). Discrete product-limit estimate from cohorts that are old enough to show a bucket of
//!   delays whole (Kaplan and Meier 1958, doi:10.1080/01621459.1958.10501452), with Greenwood's variance. A
//!   label's weight is 1/π, at most [`WEIGHT_MAX`] (Hájek's ratio estimator: Särndal, Swensson and Wretman
//!   1992, 5.7). Right when within a stratum delay and outcome have nothing to do with one another.
//! - **By outcome**: when what came true decides how long it takes to be known (a charge-back comes late, a
//!   "no" never hurries), weights by stratum are wrong. Then G_y(age), the share of the labels of outcome y
//!   that are there at an age, replaces π: a rate is (n₁/G₁)/(n₁/G₁ + n₀/G₀). Labels of which the outcome is
//!   not known are in no stratum of outcomes, so G_y is a reverse-time product-limit estimate for delays
//!   truncated on the right (Lagakos, Barraj and De Gruttola 1988, doi:10.1093/biomet/75.3.515).
//! - **Which of the two** is a test on mature cohorts: do delay and outcome go together within strata?
//!   (Generalised Cochran-Mantel-Haenszel, each outcome against the others: Landis, Heyman and Koch 1978,
//!   doi:10.2307/1402373.) By outcome when its p-value is below [`DEPENDENCE_LEVEL`].
//!
//! Delays are taken to be as they were in the cohorts, and by outcome none to be longer than the longest that
//! enough old cohorts show: [`DelaySummary::follow_up`] should be near the longest delay there is. Within a
//! bucket labels come at an even rate among those still to come. A row that is never labelled cannot be told
//! from one whose label is late, and its outcome cannot be known from any data here: weights by stratum take
//! it to be like the labelled ones of its stratum, weights by outcome leave it out.
//!
//! Invariant: weights are finite and at least 1, and a share never exceeds 1.

mod curve;
mod dependence;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::curve::{Curve, Reached};
use super::interval::{self, Estimate, Interval};
use super::{Mean, NotComputable, finite};
use crate::event::Span;

/// The largest weight of a label: beyond it a few labels would speak for all.
pub const WEIGHT_MAX: f64 = 20.0;

/// The effective number of labels from which a corrected value may be shown.
pub const EFFECTIVE_ROWS_MIN: f64 = 200.0;

/// The p-value below which delay is taken to depend on the outcome.
pub const DEPENDENCE_LEVEL: f64 = 0.001;

/// Rows in cohorts from which a stratum has a curve of its own.
pub const STRATUM_ROWS_MIN: u64 = 200;

/// Labels in cohorts that show a delay whole, from which curves by outcome reach as far as that delay.
pub const OUTCOME_LABELS_MIN: u64 = 1_000;

/// Labels of one outcome among these, from which it has a curve of its own.
pub const OUTCOME_OWN_LABELS_MIN: u64 = 100;

/// How many buckets delays are counted in.
pub const DELAY_BUCKETS: usize = 32;

/// Buckets of delays, equally wide on a logarithmic scale from a ten-thousandth of the longest delay to the
/// longest. The first one begins at 0 and also holds labels that came before their prediction; the last one
/// also holds what is longer than the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayBuckets {
    /// Last delay in each bucket, in microseconds, rising.
    uppers: [i64; DELAY_BUCKETS],
}

impl DelayBuckets {
    /// Buckets up to the longest delay at which a label is still joined; one second at least.
    pub fn new(longest: Span) -> Self {
        let longest = longest.as_micros().max(1_000_000);
        let last = DELAY_BUCKETS - 1;
        let upper = |bucket: usize| {
            let exponent = -4.0 * (last - bucket) as f64 / last as f64;
            // From 100 µs on, and below 2⁶³: the conversion keeps every size.
            (longest as f64 * 10_f64.powf(exponent)).round() as i64
        };
        let mut uppers = std::array::from_fn(upper);
        uppers[last] = longest;
        Self { uppers }
    }

    /// The bucket of a delay.
    pub fn bucket(&self, delay: Span) -> usize {
        self.uppers.partition_point(|upper| *upper < delay.as_micros()).min(DELAY_BUCKETS - 1)
    }

    /// The longest delay in a bucket; of the last one beyond the buckets.
    pub fn upper(&self, bucket: usize) -> Span {
        Span::from_micros(self.uppers[bucket.min(DELAY_BUCKETS - 1)])
    }

    /// The delay above which a bucket begins; 0 for the first one.
    pub fn lower(&self, bucket: usize) -> Span {
        match bucket.checked_sub(1) {
            None => Span::ZERO,
            Some(before) => self.upper(before),
        }
    }

    /// How many buckets a cohort of this age shows whole.
    fn whole(&self, age: Span) -> usize {
        self.uppers.partition_point(|upper| *upper <= age.as_micros())
    }
}

/// Labels by how long they took: one count a bucket.
pub type DelayCounts = [u64; DELAY_BUCKETS];

/// Predictions of a stratum in a cohort.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CohortStratum {
    /// Labelled rows, by outcome and by delay. A number that was predicted has outcome 0 only.
    pub labelled: Vec<DelayCounts>,
    /// Rows whose label has not come.
    pub unlabelled: u64,
}

/// Predictions of about one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cohort {
    /// How long labels have had to come, at least: the age of the youngest of its rows.
    pub age: Span,
    /// Its rows by stratum.
    pub strata: Vec<CohortStratum>,
}

/// What weights go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The share of a stratum's predictions that have their label.
    Stratum,
    /// The share of an outcome's labels that are there.
    Outcome,
}

/// What was learnt about delays, for people and for documents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DelaySummary {
    /// What weights go by.
    pub method: Method,
    /// P-value of delay and outcome having nothing to do with one another; none when there were too few
    /// labels in mature cohorts to test it, or one outcome only.
    pub dependence: Option<f64>,
    /// The longest delay that cohorts show; by outcome, that enough labels in old cohorts show.
    pub follow_up: Span,
    /// Share of all predictions that have their label at the oldest age seen, 0 to 1.
    pub coverage: Option<f64>,
    /// Delay by which half of these labels have come, as the upper end of a bucket.
    pub median_delay: Option<Span>,
}

/// The weight of a label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// Rows that it stands for, 1 to [`WEIGHT_MAX`].
    pub weight: f64,
    /// Standard error of the weight, from that of the curve; 0 when it was cut.
    pub standard_error: f64,
    /// Whether it would be above [`WEIGHT_MAX`]: values with it are biased towards labels that come early.
    pub is_clipped: bool,
}

/// Which curve a weight comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Stratum(usize),
    AllStrata,
    Outcome(usize),
    AllOutcomes,
}

/// How fast labels come.
#[derive(Debug, Clone, PartialEq)]
pub struct Delays {
    buckets: DelayBuckets,
    strata: Vec<Option<Curve>>,
    all_strata: Curve,
    outcomes: Vec<Option<Curve>>,
    all_outcomes: Option<Curve>,
    summary: DelaySummary,
}

impl Delays {
    /// Learns from cohorts of every age, in any order. A cohort that lacks a stratum or an outcome has no rows
    /// of it.
    pub fn fit(cohorts: &[Cohort], buckets: &DelayBuckets) -> Self {
        let strata = cohorts.iter().map(|cohort| cohort.strata.len()).max().unwrap_or(0);
        let own = |stratum: usize| {
            let of = |cohort: &Cohort| pooled(cohort.strata.get(stratum).into_iter());
            let rows = cohorts.iter().map(|cohort| of(cohort).rows()).fold(0, u64::saturating_add);
            (rows >= STRATUM_ROWS_MIN).then(|| Curve::forward(&observed(cohorts, buckets, of)))
        };
        let all_strata = Curve::forward(&observed(cohorts, buckets, |cohort| pooled(cohort.strata.iter())));
        let (outcomes, all_outcomes) = by_outcome(cohorts, buckets);
        let dependence = dependence::p_value(&mature(cohorts, buckets));
        let depends = dependence.is_some_and(|p| p < DEPENDENCE_LEVEL);
        let method = if depends && all_outcomes.is_some() { Method::Outcome } else { Method::Stratum };
        let whole = match method {
            Method::Stratum => cohorts.iter().map(|cohort| buckets.whole(cohort.age)).max().unwrap_or(0),
            Method::Outcome => reach(cohorts, buckets),
        };
        let coverage = all_strata.last();
        let summary = DelaySummary {
            method,
            dependence,
            follow_up: whole.checked_sub(1).map_or(Span::ZERO, |bucket| buckets.upper(bucket)),
            coverage,
            median_delay: coverage
                .filter(|coverage| *coverage > 0.0)
                .and_then(|coverage| all_strata.first_to_reach(coverage / 2.0))
                .map(|bucket| buckets.upper(bucket)),
        };
        let strata = (0..strata).map(own).collect();
        Self { buckets: buckets.clone(), strata, all_strata, outcomes, all_outcomes, summary }
    }

    /// What was learnt, in figures.
    pub fn summary(&self) -> DelaySummary {
        self.summary
    }

    /// Share of a stratum's predictions that have their label at an age, 0 to 1, with its standard error. A
    /// stratum with too few rows has the share of all strata; none without cohorts.
    pub fn labelled_share(&self, age: Span, stratum: usize) -> Option<(f64, f64)> {
        let reached = self.reached(self.source(stratum, None)?, age)?;
        Some((reached.share, reached.standard_error()))
    }

    /// Weight of a label of this age. `age` is how long it had to come, on average where rows are counted
    /// together: the age of the middle of their pane. `outcome` is what came true; none for a number.
    ///
    /// None without cohorts, and by outcome also at an age at which labels of some outcome cannot have come yet
    /// (their weight would be above [`WEIGHT_MAX`]): the others alone would say nothing about a rate.
    pub fn weight(&self, age: Span, stratum: usize, outcome: Option<usize>) -> Option<Weight> {
        let source = self.source(stratum, outcome)?;
        self.is_old_enough(source, age).then(|| self.reached(source, age).map(|reached| reached.weight()))?
    }

    /// Mean loss a row of a young window, as it will be when all labels have come: Σ w·loss / Σ w. Give all
    /// labelled rows of the window, grouped by age, stratum and outcome; `range` is that of the loss.
    ///
    /// The variance is that of the labelled rows, Σ w²·(loss − mean)² / (Σ w)², and that of the curves behind
    /// the weights, by the delta method. Labels that are also in the cohorts are taken to be others, which
    /// makes the interval rather too wide than too narrow.
    ///
    /// # Errors
    /// `InsufficientData` when no label can be used; `Degenerate` when a sum is not finite.
    pub fn corrected_mean(&self, groups: &[Labelled], range: (f64, f64)) -> Result<Corrected, NotComputable> {
        let mut weighed = Vec::with_capacity(groups.len());
        let mut too_young = 0_u64;
        for group in groups.iter().filter(|group| group.rows > 0) {
            let source = self.source(group.stratum, group.outcome);
            let usable = source.filter(|source| self.is_old_enough(*source, group.age));
            match usable.and_then(|source| Some((source, self.reached(source, group.age)?))) {
                Some((source, reached)) => weighed.push(Weighed { group, source, reached }),
                None => too_young = too_young.saturating_add(group.rows),
            }
        }
        Corrected::new(&weighed, too_young, self.summary.method, range)
    }

    fn source(&self, stratum: usize, outcome: Option<usize>) -> Option<Source> {
        if let (Method::Outcome, Some(outcome)) = (self.summary.method, outcome) {
            let own = matches!(self.outcomes.get(outcome), Some(Some(_)));
            return Some(if own { Source::Outcome(outcome) } else { Source::AllOutcomes });
        }
        let own = matches!(self.strata.get(stratum), Some(Some(_)));
        Some(if own { Source::Stratum(stratum) } else { Source::AllStrata })
            .filter(|_| self.all_strata.last().is_some())
    }

    fn reached(&self, source: Source, age: Span) -> Option<Reached> {
        let curve = match source {
            Source::Stratum(stratum) => self.strata.get(stratum)?.as_ref()?,
            Source::AllStrata => &self.all_strata,
            Source::Outcome(outcome) => self.outcomes.get(outcome)?.as_ref()?,
            Source::AllOutcomes => self.all_outcomes.as_ref()?,
        };
        Some(curve.at(&self.buckets, age))
    }

    /// Whether labels of every outcome come in time to be seen at this age.
    fn is_old_enough(&self, source: Source, age: Span) -> bool {
        if matches!(source, Source::Stratum(_) | Source::AllStrata) {
            return true;
        }
        let curves = self.outcomes.iter().flatten().chain(&self.all_outcomes);
        curves.into_iter().all(|curve| curve.at(&self.buckets, age).share * WEIGHT_MAX >= 1.0)
    }
}

// === what curves are made from ===

/// Rows of a cohort: labels by delay, and those without.
#[derive(Clone, Default)]
struct Rows {
    labelled: DelayCounts,
    unlabelled: u64,
}

impl Rows {
    fn rows(&self) -> u64 {
        self.labelled.iter().fold(self.unlabelled, |sum, count| sum.saturating_add(*count))
    }

    fn add(&mut self, counts: &DelayCounts) {
        for (sum, count) in self.labelled.iter_mut().zip(counts) {
            *sum = sum.saturating_add(*count);
        }
    }
}

fn pooled<'a>(strata: impl Iterator<Item = &'a CohortStratum>) -> Rows {
    let mut rows = Rows::default();
    for stratum in strata {
        stratum.labelled.iter().for_each(|counts| rows.add(counts));
        rows.unlabelled = rows.unlabelled.saturating_add(stratum.unlabelled);
    }
    rows
}

/// The rows of cohorts that show so many buckets whole, added up: `[b]` are those of exactly b.
fn observed(cohorts: &[Cohort], buckets: &DelayBuckets, of: impl Fn(&Cohort) -> Rows) -> Vec<Rows> {
    let mut by_whole = vec![Rows::default(); DELAY_BUCKETS + 1];
    for cohort in cohorts {
        if let Some(sum) = by_whole.get_mut(buckets.whole(cohort.age)) {
            let rows = of(cohort);
            sum.add(&rows.labelled);
            sum.unlabelled = sum.unlabelled.saturating_add(rows.unlabelled);
        }
    }
    by_whole
}

fn outcome_count(cohorts: &[Cohort]) -> usize {
    let strata = cohorts.iter().flat_map(|cohort| &cohort.strata);
    strata.map(|stratum| stratum.labelled.len()).max().unwrap_or(0)
}

/// Labels of one outcome, or of all.
fn labels(cohort: &Cohort, outcome: Option<usize>) -> Rows {
    let mut rows = Rows::default();
    for stratum in &cohort.strata {
        match outcome {
            Some(outcome) => stratum.labelled.get(outcome).into_iter().for_each(|counts| rows.add(counts)),
            None => stratum.labelled.iter().for_each(|counts| rows.add(counts)),
        }
    }
    rows
}

/// How many buckets curves by outcome reach over: the most for which cohorts that show them whole hold enough
/// labels.
fn reach(cohorts: &[Cohort], buckets: &DelayBuckets) -> usize {
    let all = observed(cohorts, buckets, |cohort| labels(cohort, None));
    let enough = |whole: &usize| {
        let older = all.iter().skip(*whole).map(Rows::rows).fold(0, u64::saturating_add);
        older >= OUTCOME_LABELS_MIN
    };
    (1..=DELAY_BUCKETS).rev().find(enough).unwrap_or(0)
}

fn by_outcome(cohorts: &[Cohort], buckets: &DelayBuckets) -> (Vec<Option<Curve>>, Option<Curve>) {
    let reach = reach(cohorts, buckets);
    if reach == 0 {
        return (Vec::new(), None);
    }
    let own = |outcome: usize| {
        let rows = observed(cohorts, buckets, |cohort| labels(cohort, Some(outcome)));
        let mature = rows.iter().skip(reach).map(Rows::rows).fold(0, u64::saturating_add);
        (mature >= OUTCOME_OWN_LABELS_MIN).then(|| Curve::reverse(&rows, reach))
    };
    let all = observed(cohorts, buckets, |cohort| labels(cohort, None));
    ((0..outcome_count(cohorts)).map(own).collect(), Some(Curve::reverse(&all, reach)))
}

/// Labels of mature cohorts by stratum and outcome, delays up to where curves by outcome reach.
fn mature(cohorts: &[Cohort], buckets: &DelayBuckets) -> Vec<Vec<DelayCounts>> {
    let reach = reach(cohorts, buckets);
    let strata = cohorts.iter().map(|cohort| cohort.strata.len()).max().unwrap_or(0);
    let mut tables = vec![vec![[0; DELAY_BUCKETS]; outcome_count(cohorts)]; strata];
    let old = |cohort: &&Cohort| reach > 0 && buckets.whole(cohort.age) >= reach;
    for cohort in cohorts.iter().filter(old) {
        for (table, stratum) in tables.iter_mut().zip(&cohort.strata) {
            for (sums, counts) in table.iter_mut().zip(&stratum.labelled) {
                for (sum, count) in sums.iter_mut().zip(counts).take(reach) {
                    *sum = u64::saturating_add(*sum, *count);
                }
            }
        }
    }
    tables
}

// === corrected means ===

/// Labelled rows of one age, stratum and outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled {
    /// How long labels had to come: the age of the middle of the rows' pane.
    pub age: Span,
    /// Their stratum.
    pub stratum: usize,
    /// What came true; none for a number.
    pub outcome: Option<usize>,
    /// How many they are.
    pub rows: u64,
    /// Sum of their losses.
    pub loss: f64,
    /// Sum of the squares of their losses.
    pub loss_squared: f64,
}

/// A mean loss, corrected for labels that have not come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Corrected {
    /// The mean.
    pub value: f64,
    /// Its variance: that of the rows and that of the delays.
    pub variance: f64,
    /// Its 95 % interval; none when nothing varies.
    pub interval: Option<Interval>,
    /// Labelled rows used.
    pub rows: u64,
    /// Rows that they stand for.
    pub represented: f64,
    /// Effective number of labels: (Σ w)²/Σ w².
    pub effective_rows: f64,
    /// Whether these are enough to show the value: at least [`EFFECTIVE_ROWS_MIN`].
    pub is_publishable: bool,
    /// Share of the represented rows whose weight was cut at [`WEIGHT_MAX`], 0 to 1.
    pub clipped_share: f64,
    /// Labelled rows left out as too young: labels of some outcome cannot have come at their age.
    pub too_young: u64,
    /// What the weights go by.
    pub method: Method,
}

/// A group with the point of the curve that it is weighed by.
struct Weighed<'a> {
    group: &'a Labelled,
    source: Source,
    reached: Reached,
}

impl Corrected {
    fn new(
        weighed: &[Weighed<'_>],
        too_young: u64,
        method: Method,
        range: (f64, f64),
    ) -> Result<Self, NotComputable> {
        let rows = weighed.iter().fold(0, |sum: u64, one| sum.saturating_add(one.group.rows));
        if rows == 0 {
            return Err(NotComputable::InsufficientData { n: 0, needed: 1 });
        }
        let sum = |of: fn(f64, &Labelled) -> f64| -> f64 {
            weighed.iter().map(|one| of(one.reached.weight().weight, one.group)).sum()
        };
        let represented = sum(|weight, group| weight * group.rows as f64);
        let squared = sum(|weight, group| weight * weight * group.rows as f64);
        let value = finite(sum(|weight, group| weight * group.loss) / represented)?;
        let clipped: f64 = weighed
            .iter()
            .filter(|one| one.reached.weight().is_clipped)
            .map(|one| WEIGHT_MAX * one.group.rows as f64)
            .sum();
        let variance = finite(of_rows(weighed, value, represented) + of_curves(weighed, value, represented))?;
        let effective_rows = represented * represented / squared;
        Ok(Self {
            value,
            variance,
            interval: interval::normal(Estimate { value, variance }, range),
            rows,
            represented,
            effective_rows,
            is_publishable: effective_rows >= EFFECTIVE_ROWS_MIN,
            clipped_share: clipped / represented,
            too_young,
            method,
        })
    }

    /// As a mean that money can be worked out from.
    pub fn mean(&self) -> Mean {
        Mean { rows: self.represented, value: self.value, variance: self.variance }
    }
}

/// Variance from the rows: that labels came for these and not for others, and what they were.
fn of_rows(weighed: &[Weighed<'_>], mean: f64, represented: f64) -> f64 {
    let squares: f64 = weighed
        .iter()
        .map(|Weighed { group, reached, .. }| {
            let weight = reached.weight().weight;
            let about = group.loss_squared - 2.0 * mean * group.loss + mean * mean * group.rows as f64;
            weight * weight * about.max(0.0)
        })
        .sum();
    squares / represented / represented
}

/// Variance from the curves. The mean moves with the logarithm of a group's weight by w·(loss − mean·rows)/Σ w,
/// and that with the factors of its curve, which are independent of one another.
fn of_curves(weighed: &[Weighed<'_>], mean: f64, represented: f64) -> f64 {
    let mut curves: BTreeMap<Source, ([f64; DELAY_BUCKETS], [f64; DELAY_BUCKETS])> = BTreeMap::new();
    for Weighed { group, source, reached } in weighed {
        let weight = reached.weight();
        if weight.is_clipped {
            continue;
        }
        let moved = weight.weight * (group.loss - mean * group.rows as f64) / represented;
        let (slopes, variances) = curves.entry(*source).or_insert(([0.0; DELAY_BUCKETS], reached.variances));
        *variances = reached.variances;
        for (sum, slope) in slopes.iter_mut().zip(&reached.slopes) {
            *sum -= moved * slope / reached.share;
        }
    }
    let of = |(slopes, variances): &([f64; DELAY_BUCKETS], [f64; DELAY_BUCKETS])| -> f64 {
        slopes.iter().zip(variances).map(|(slope, variance)| slope * slope * variance).sum()
    };
    curves.values().map(of).sum()
}

#[cfg(test)]
mod tests;
