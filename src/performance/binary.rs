//! Two classes: how well scores order the rows, how true they are as probabilities, and how good the
//! decisions are.

use std::f64::consts::{FRAC_2_PI, SQRT_2};

use super::confusion::{self, Confusion};
use super::interval::{self, Interval};
use super::{MetricValue, NotComputable, RowsError};

/// Probabilities are kept this far from 0 and 1 in a logarithm, so that one sure and wrong score costs 34.5.
pub(super) const PROBABILITY_MIN: f64 = 1e-15;

/// With fewer rows than this of either class the logit interval of an AUC is closer to its level.
const CLASS_FEW: u64 = 50;

/// Bins of the calibration error.
const BINS: usize = 10;

/// A row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BinaryRow {
    /// Whether it came true.
    pub label: bool,
    /// Whether it was predicted.
    pub prediction: bool,
    /// The score, higher for what is more likely; metrics of scores need one in every row.
    pub score: Option<f64>,
}

/// Rows of two classes.
#[derive(Debug, Clone)]
pub struct Binary {
    pub(super) table: Confusion,
    scored: Option<Scored>,
}

/// The rows by their score.
#[derive(Debug, Clone)]
struct Scored {
    /// Label and score of every row.
    rows: Vec<(bool, f64)>,
    curve: Curve,
    /// Scores that are no probabilities.
    outside: u64,
}

/// Numbers of rows by score, which is all that their order has to say.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// Rows of one score, the highest score first.
    ties: Vec<Tie>,
    positives: u64,
    negatives: u64,
}

/// Rows of one score.
#[derive(Debug, Clone, Copy)]
struct Tie {
    score: f64,
    positives: u64,
    negatives: u64,
}

/// The area under a curve with what its interval needs.
pub(super) struct Area {
    /// 0..=1.
    pub(super) value: f64,
    /// By tie, the highest score first: for a positive row of it, the share of negative rows below.
    below: Vec<f64>,
    /// By tie: for a negative row of it, the share of positive rows above.
    above: Vec<f64>,
}

impl Binary {
    /// Takes the rows.
    ///
    /// # Errors
    /// `NotFinite` when a score is infinite or NaN.
    pub fn new(rows: &[BinaryRow]) -> Result<Self, RowsError> {
        let wrong = |row: &BinaryRow| row.score.is_some_and(|score| !score.is_finite());
        if let Some(row) = rows.iter().position(wrong) {
            return Err(RowsError::NotFinite { row });
        }
        let pairs = rows.iter().map(|row| (usize::from(row.label), usize::from(row.prediction)));
        let scored: Option<Vec<(bool, f64)>> =
            rows.iter().map(|row| row.score.map(|score| (row.label, score))).collect();
        Ok(Self { table: Confusion::count(2, pairs), scored: scored.map(Scored::new) })
    }

    pub(super) fn n(&self) -> u64 {
        self.table.n()
    }

    fn scored(&self) -> Result<&Scored, NotComputable> {
        self.scored.as_ref().ok_or_else(|| NotComputable::not_applicable("there are no scores"))
    }

    /// The scores as probabilities.
    fn probabilities(&self) -> Result<&[(bool, f64)], NotComputable> {
        let scored = self.scored()?;
        match scored.outside {
            0 => Ok(&scored.rows),
            n => Err(NotComputable::not_applicable(format!(
                "{n} scores are outside of 0..=1, so they are no probabilities"
            ))),
        }
    }
}

impl Scored {
    fn new(rows: Vec<(bool, f64)>) -> Self {
        let outside = rows.iter().filter(|(_, score)| !(0.0..=1.0).contains(score)).count() as u64;
        let curve = Curve::new(rows.clone());
        Self { rows, curve, outside }
    }
}

impl Curve {
    /// Sorts finite scores.
    pub(super) fn new(mut rows: Vec<(bool, f64)>) -> Self {
        rows.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        let mut ties: Vec<Tie> = Vec::new();
        // Of equal numbers, not of equal bits: 0 and −0 are next to each other and one score.
        for run in rows.chunk_by(|a, b| a.1 == b.1) {
            let positives = run.iter().filter(|(label, _)| *label).count() as u64;
            let score = run.first().map_or(0.0, |(_, score)| *score);
            ties.push(Tie { score, positives, negatives: run.len() as u64 - positives });
        }
        let positives = ties.iter().map(|tie| tie.positives).sum();
        let negatives = ties.iter().map(|tie| tie.negatives).sum();
        Self { ties, positives, negatives }
    }

    /// Area under the ROC curve, ties counted half. None when a class has no rows.
    pub(super) fn area(&self) -> Option<Area> {
        if self.positives == 0 || self.negatives == 0 {
            return None;
        }
        let (all_positive, all_negative) = (self.positives as f64, self.negatives as f64);
        let (mut below, mut above) = (Vec::new(), Vec::new());
        let (mut positives, mut negatives) = (0, 0);
        let mut sum = 0.0;
        for tie in &self.ties {
            negatives += tie.negatives;
            let lower = (self.negatives - negatives) as f64 + tie.negatives as f64 / 2.0;
            below.push(lower / all_negative);
            above.push((positives as f64 + tie.positives as f64 / 2.0) / all_positive);
            sum += tie.positives as f64 * lower;
            positives += tie.positives;
        }
        Some(Area { value: sum / (all_positive * all_negative), below, above })
    }

    /// DeLong's variance of the area: the unbiased variance of the share of negative rows below a positive
    /// one over the number of positive rows, and the same of the shares above negative rows. None with fewer
    /// than two rows of a class.
    ///
    /// Source: DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595.
    fn variance(&self, area: &Area) -> Option<f64> {
        if self.positives < 2 || self.negatives < 2 {
            return None;
        }
        let of = |rows: fn(&Tie) -> u64, shares: &[f64], all: u64| {
            let squares: f64 = self
                .ties
                .iter()
                .zip(shares)
                .map(|(tie, share)| rows(tie) as f64 * (share - area.value) * (share - area.value))
                .sum();
            squares / (all - 1) as f64 / all as f64
        };
        Some(
            of(|tie| tie.positives, &area.below, self.positives)
                + of(|tie| tie.negatives, &area.above, self.negatives),
        )
    }

    /// Average precision, and the variance of it by influences. None without positive rows.
    ///
    /// With T and C the positive and all rows of at least a row's score, AP = Σ T/C over the positive rows,
    /// over their number P. Raising the weight of a row moves every T/C of lower or equal score, and, if it
    /// is positive, adds its own: by (y·(T/C − AP) + Σ over positive rows of lower or equal score (y/C −
    /// T/C²))/P. The variance is the sum of the squares of these.
    fn average_precision(&self) -> Option<(f64, f64)> {
        if self.positives == 0 {
            return None;
        }
        let all_positive = self.positives as f64;
        let (mut positives, mut rows) = (0, 0);
        let mut at_least = Vec::with_capacity(self.ties.len());
        for tie in &self.ties {
            positives += tie.positives;
            rows += tie.positives + tie.negatives;
            at_least.push((positives as f64, rows as f64));
        }
        let precise = self.ties.iter().zip(&at_least).map(|(tie, (t, c))| tie.positives as f64 * t / c);
        let value = precise.sum::<f64>() / all_positive;
        let (mut by_one, mut by_precision, mut squares) = (0.0, 0.0, 0.0);
        for (tie, (t, c)) in self.ties.iter().zip(&at_least).rev() {
            by_one += tie.positives as f64 / c;
            by_precision += tie.positives as f64 * t / (c * c);
            let of_positive = (t / c - value + by_one - by_precision) / all_positive;
            let of_negative = -by_precision / all_positive;
            squares += tie.positives as f64 * of_positive * of_positive;
            squares += tie.negatives as f64 * of_negative * of_negative;
        }
        Some((value, squares))
    }

    /// How far a row moves the area, times the number of rows; 0 for a score that no row has.
    pub(super) fn influence(&self, area: &Area, label: bool, score: f64) -> f64 {
        let place = self.ties.partition_point(|tie| tie.score > score);
        let (shares, rows) =
            if label { (&area.below, self.positives) } else { (&area.above, self.negatives) };
        let share = shares.get(place).copied().unwrap_or(area.value);
        (share - area.value) * (self.positives + self.negatives) as f64 / rows.max(1) as f64
    }
}

/// Chance that a positive row has a higher score than a negative one, ties counted half, 0..=1. Interval:
/// DeLong's, through the logit with fewer than 50 rows of either class.
pub(super) fn roc_auc(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let curve = &rows.scored()?.curve;
    let area = curve.area().ok_or_else(confusion::one_class)?;
    let interval = curve.variance(&area).and_then(|variance| {
        let few = curve.positives.min(curve.negatives) < CLASS_FEW;
        let normal = || interval::normal(area.value, variance, (0.0, 1.0));
        if few { interval::logit(area.value, variance) } else { normal() }
    });
    Ok(MetricValue::new(area.value, interval))
}

/// Sum over the scores, from the highest, of the gained recall times the precision there, 0..=1. Interval:
/// from influences, through the logit.
pub(super) fn average_precision(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let none = || NotComputable::degenerate("no row is positive");
    let (value, variance) = rows.scored()?.curve.average_precision().ok_or_else(none)?;
    Ok(MetricValue::new(value, interval::logit(value, variance)))
}

/// Mean of −ln(score of what came true), the score kept within 1e-15 of 0 and 1, 0..=34.6.
pub(super) fn log_loss(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let losses = rows.probabilities()?.iter().map(|(label, score)| {
        let score = score.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
        if *label { -score.ln() } else { -(1.0 - score).ln() }
    });
    Ok(MetricValue::mean(losses, (0.0, f64::INFINITY)))
}

/// Mean of (score − label)², 0..=1.
///
/// Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
pub(super) fn brier(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let losses = rows.probabilities()?.iter().map(|(label, score)| {
        let apart = score - f64::from(u8::from(*label));
        apart * apart
    });
    Ok(MetricValue::mean(losses, (0.0, 1.0)))
}

/// Share of the predicted positive rows that are positive. Interval: Wilson.
pub(super) fn precision(rows: &Binary) -> Result<MetricValue, NotComputable> {
    match rows.table.of_predicted(1) {
        0 => Err(NotComputable::degenerate("no row is predicted positive")),
        predicted => Ok(MetricValue::share(rows.table.at(1, 1), predicted)),
    }
}

/// Share of the positive rows that are predicted positive. Interval: Wilson.
pub(super) fn recall(rows: &Binary) -> Result<MetricValue, NotComputable> {
    match rows.table.of_truth(1) {
        0 => Err(NotComputable::degenerate("no row is positive")),
        positives => Ok(MetricValue::share(rows.table.at(1, 1), positives)),
    }
}

/// Share of the negative rows that are predicted negative. Interval: Wilson.
pub(super) fn specificity(rows: &Binary) -> Result<MetricValue, NotComputable> {
    match rows.table.of_truth(0) {
        0 => Err(NotComputable::degenerate("no row is negative")),
        negatives => Ok(MetricValue::share(rows.table.at(0, 0), negatives)),
    }
}

/// (1 + β²)·TP over (1 + β²)·TP + β²·FN + FP, 0..=1: recall weighs β times as much as precision. Interval:
/// delta method; at 0 and 1, where that has no width, see [`f_beta_at_an_end`].
pub(super) fn f_beta(rows: &Binary, beta: f64) -> Result<MetricValue, NotComputable> {
    let table = &rows.table;
    let share = |truth, predicted| table.at(truth, predicted) as f64 / table.n().max(1) as f64;
    let square = beta * beta;
    let hits = (1.0 + square) * share(1, 1);
    let whole = hits + square * share(1, 0) + share(0, 1);
    if whole <= 0.0 {
        return Err(NotComputable::degenerate("no row is positive or predicted positive"));
    }
    let value = hits / whole;
    let interval = table.delta(value, (0.0, 1.0), |truth, predicted| match (truth, predicted) {
        (1, 1) => (1.0 + square) * (1.0 - value) / whole,
        (1, 0) => -square * value / whole,
        (0, 1) => -value / whole,
        _ => 0.0,
    });
    Ok(MetricValue::new(value, interval.or_else(|| f_beta_at_an_end(table, square, value))))
}

/// Interval of an F-measure of 0 or 1. Of the rows that are positive or predicted positive the share J is both,
/// and has Wilson's interval; all others are missed, or all are false, whichever leads further.
fn f_beta_at_an_end(table: &Confusion, square: f64, value: f64) -> Option<Interval> {
    let hits = table.at(1, 1);
    let share = interval::wilson(hits, hits + table.at(1, 0) + table.at(0, 1))?;
    let of = |share: f64, others: f64| {
        let hits = (1.0 + square) * share;
        hits / (hits + others * (1.0 - share))
    };
    if value >= 1.0 {
        Some(Interval { low: of(share.low, square.max(1.0)), high: 1.0 })
    } else if value <= 0.0 {
        Some(Interval { low: 0.0, high: of(share.high, square.min(1.0)) })
    } else {
        None
    }
}

/// Expected calibration error: Σ over ten bins of equal width of |Σ (label − score)| over n, 0..=1. A bin
/// holds its upper edge, the first one 0 too.
///
/// Its interval, by the delta method, takes the sign of each bin's gap as known: where the scores are nearly
/// calibrated it is too narrow, for the error of finite rows is never 0. So the detail tells the mean that
/// calibrated scores would show, Σ √(2·Σ p(1 − p)/π) over n.
///
/// Source: Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", equation 3.
pub(super) fn ece(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let rows = rows.probabilities()?;
    let mut gaps = [(0.0, 0.0); BINS];
    // Edges are b/10 as doubles, not multiples of 0.1: a score that is written 0.3 is on an edge.
    let bin = |score: f64| (1..BINS).take_while(|edge| score > *edge as f64 / BINS as f64).count();
    let gap = |label: bool, score: f64| f64::from(u8::from(label)) - score;
    for (label, score) in rows {
        if let Some((sum, variance)) = gaps.get_mut(bin(*score)) {
            *sum += gap(*label, *score);
            *variance += score * (1.0 - score);
        }
    }
    let n = rows.len() as f64;
    let value = gaps.iter().map(|(sum, _)| sum.abs()).sum::<f64>() / n;
    let calibrated = gaps.iter().map(|(_, variance)| (FRAC_2_PI * variance).sqrt()).sum::<f64>() / n;
    let influences = rows.iter().map(|(label, score)| {
        let sign = gaps.get(bin(*score)).map_or(0.0, |(sum, _): &(f64, f64)| sum.signum());
        sign * gap(*label, *score)
    });
    let interval = interval::normal(value, interval::of_influences(influences), (0.0, 1.0));
    let remark = format!("calibrated scores would show {calibrated:.2e} on average");
    Ok(MetricValue::new(value, interval).with_detail(remark))
}

/// Σ (label − p)(1 − 2p) over √Σ (1 − 2p)²·p(1 − p): standard normal when every score is the probability of
/// its row. A test statistic, so it has no interval; the detail tells its two-sided p-value.
///
/// Source: Spiegelhalter 1986, doi:10.1002/sim.4780050506.
pub(super) fn spiegelhalter_z(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let (mut sum, mut variance) = (0.0, 0.0);
    for (label, p) in rows.probabilities()? {
        sum += (f64::from(u8::from(*label)) - p) * (1.0 - 2.0 * p);
        variance += (1.0 - 2.0 * p) * (1.0 - 2.0 * p) * p * (1.0 - p);
    }
    if variance <= 0.0 {
        return Err(NotComputable::degenerate("every score is 0, ½ or 1"));
    }
    let value = sum / variance.sqrt();
    let p_value = libm::erfc(value.abs() / SQRT_2);
    let detail = Some(format!("a test: p-value {p_value:.2e} if the scores are calibrated"));
    Ok(MetricValue { value, interval: None, bound: 0.0, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Average precision by its definition, with a weight a row.
    fn weighted_precision(rows: &[(bool, f64)], weights: &[f64]) -> f64 {
        let sum = |of: &dyn Fn(&(bool, f64)) -> bool| -> f64 {
            rows.iter().zip(weights).filter(|(row, _)| of(row)).map(|(_, weight)| weight).sum()
        };
        let terms = rows.iter().zip(weights).filter(|((label, _), _)| *label).map(|((_, score), weight)| {
            weight * sum(&|row| row.0 && row.1 >= *score) / sum(&|row| row.1 >= *score)
        });
        terms.sum::<f64>() / sum(&|row| row.0)
    }

    #[test]
    fn the_variance_of_average_precision_is_that_of_numeric_influences() {
        let rows: Vec<(bool, f64)> = (0..40_u32)
            .map(|row| (row * 7 % 11 < 4, f64::from(row * 13 % 17) + f64::from(row * 7 % 3)))
            .collect();
        let (value, variance) = Curve::new(rows.clone()).average_precision().expect("positive rows");
        let plain = vec![1.0; rows.len()];
        assert!((value - weighted_precision(&rows, &plain)).abs() < 1e-12);
        let step = 1e-6;
        let numeric: f64 = (0..rows.len())
            .map(|row| {
                let mut weights = plain.clone();
                weights[row] += step;
                ((weighted_precision(&rows, &weights) - value) / step).powi(2)
            })
            .sum();
        assert!((variance / numeric - 1.0).abs() < 1e-4, "{variance} is not {numeric}");
    }

    #[test]
    fn scores_that_are_no_probabilities_still_order_the_rows() {
        let row = |label, score| BinaryRow { label, prediction: score > 0.0, score: Some(score) };
        let rows = Binary::new(&[row(true, 3.0), row(false, -2.0), row(true, 1.0), row(false, 2.0)]);
        let rows = rows.expect("finite scores");
        assert_eq!(roc_auc(&rows).expect("an area").value, 0.75);
        assert_eq!(brier(&rows).expect_err("no probabilities").status(), "not_applicable");
    }

    #[test]
    fn perfect_and_useless_decisions_have_an_interval() {
        let interval = |hits: usize, beta: f64| {
            let row = |at: usize| BinaryRow {
                label: at.is_multiple_of(2),
                prediction: at.is_multiple_of(2) == (at < hits),
                score: None,
            };
            let rows = Binary::new(&(0..20).map(row).collect::<Vec<_>>()).expect("rows");
            f_beta(&rows, beta).expect("a value").interval.expect("an interval")
        };
        // Wilson's interval of 10 of 10 is 0.7225 to 1, and F1 = 2J/(1 + J).
        assert!((interval(20, 1.0).low - 2.0 * 0.7225 / 1.7225).abs() < 1e-4);
        assert_eq!(interval(20, 2.0).high, 1.0);
        let useless = interval(0, 1.0);
        assert!(useless.low == 0.0 && useless.high > 0.0 && useless.high < 0.5, "{useless:?}");
    }

    #[test]
    fn a_score_that_is_not_finite_is_refused() {
        let row = BinaryRow { label: true, prediction: true, score: Some(f64::NAN) };
        assert_eq!(Binary::new(&[row]).expect_err("refused"), RowsError::NotFinite { row: 0 });
    }
}
