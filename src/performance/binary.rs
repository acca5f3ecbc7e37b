//! Two classes: how well scores order the rows, how true they are as probabilities, and how good the
//! decisions are.

use std::f64::consts::{FRAC_2_PI, SQRT_2};

use super::confusion::{self, Confusion};
use super::interval::{self, Estimate, Interval};
use super::weighed::Weighed;
use super::{MetricValue, NotComputable, RowsError};

/// Probabilities are kept this far from 0 and 1 in a logarithm, so that one sure and wrong score costs 34.5.
pub(super) const PROBABILITY_MIN: f64 = 1e-15;

/// With fewer rows than this of either class the logit interval of an AUC is closer to its level.
const CLASS_FEW: f64 = 50.0;

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

/// Rows of two classes, reduced to what their metrics are computed from.
#[derive(Debug, Clone)]
pub struct Binary {
    pub(super) table: Confusion,
    pub(super) scored: Option<Scored>,
}

/// The rows by their score.
#[derive(Debug, Clone)]
pub(super) struct Scored {
    pub(super) curve: Curve,
    /// What the scores are worth as probabilities, or why they are none.
    pub(super) probabilities: Result<Probabilities, NotComputable>,
}

/// Means over rows whose scores are probabilities.
#[derive(Debug, Clone)]
pub(super) struct Probabilities {
    pub(super) log_loss: Estimate,
    pub(super) brier: Estimate,
    pub(super) calibration: Result<Calibration, NotComputable>,
}

/// What calibration is judged by, of rows that all weigh 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Calibration {
    /// By bin the sum of label − score.
    pub(super) gaps: [f64; BINS],
    /// By bin the sum of p(1 − p): the variance of the former when the scores are calibrated.
    pub(super) variances: [f64; BINS],
    /// Mean of (label − score)².
    pub(super) brier: f64,
    /// Sum of (label − p)(1 − 2p), and its variance when the scores are calibrated.
    pub(super) spiegelhalter: (f64, f64),
}

/// Numbers of rows by score, which is all that their order has to say.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    /// Rows of one score, the highest score first.
    ties: Vec<Tie>,
    positives: Weighed,
    negatives: Weighed,
    /// Whether a tie holds the rows of a bin, whose scores may differ.
    binned: bool,
}

/// Rows of one score, or of one bin of scores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tie {
    pub(super) score: f64,
    pub(super) positives: Weighed,
    pub(super) negatives: Weighed,
}

/// The area under a curve with what its interval needs.
pub(super) struct Area {
    /// 0..=1.
    pub(super) value: f64,
    /// How far it may be from that of the scores themselves.
    pub(super) bound: f64,
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

    fn probabilities(&self) -> Result<&Probabilities, NotComputable> {
        self.scored()?.probabilities.as_ref().map_err(Clone::clone)
    }

    fn calibration(&self) -> Result<Calibration, NotComputable> {
        self.probabilities()?.calibration.clone()
    }
}

impl Scored {
    fn new(rows: Vec<(bool, f64)>) -> Self {
        let outside = rows.iter().filter(|(_, score)| !(0.0..=1.0).contains(score)).count() as u64;
        let probabilities = match outside {
            0 => Ok(Probabilities::new(&rows)),
            n => Err(no_probabilities(n)),
        };
        Self { curve: Curve::new(rows), probabilities }
    }
}

/// Why there are no metrics of probabilities.
pub(super) fn no_probabilities(outside: u64) -> NotComputable {
    NotComputable::not_applicable(format!(
        "{outside} scores are outside of 0..=1, so they are no probabilities"
    ))
}

impl Probabilities {
    fn new(rows: &[(bool, f64)]) -> Self {
        let log_loss = rows.iter().map(|(label, score)| {
            let score = score.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
            if *label { -score.ln() } else { -(1.0 - score).ln() }
        });
        let brier = Estimate::mean(rows.iter().map(|(label, score)| gap(*label, *score).powi(2)));
        let calibration = Ok(Calibration::new(rows, brier.value));
        Self { log_loss: Estimate::mean(log_loss), brier, calibration }
    }
}

/// How far what came true is from a probability.
fn gap(label: bool, score: f64) -> f64 {
    f64::from(u8::from(label)) - score
}

impl Calibration {
    fn new(rows: &[(bool, f64)], brier: f64) -> Self {
        let mut calibration = Self { brier, ..Self::default() };
        // Edges are b/10 as doubles, not multiples of 0.1: a score that is written 0.3 is on an edge.
        let bin = |score: f64| (1..BINS).take_while(|edge| score > *edge as f64 / BINS as f64).count();
        for (label, p) in rows {
            let (gap, chance, slope) = (gap(*label, *p), p * (1.0 - p), 1.0 - 2.0 * p);
            let bin = bin(*p);
            if let Some((sum, variance)) =
                calibration.gaps.get_mut(bin).zip(calibration.variances.get_mut(bin))
            {
                *sum += gap;
                *variance += chance;
            }
            calibration.spiegelhalter.0 += gap * slope;
            calibration.spiegelhalter.1 += slope * slope * chance;
        }
        calibration
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
            let negatives = Weighed::rows(run.len() as u64 - positives);
            ties.push(Tie { score, positives: Weighed::rows(positives), negatives });
        }
        Self::of_ties(ties, false)
    }

    /// From the rows of each bin, that of the highest scores first. Empty bins are of no use.
    pub(super) fn of_bins(bins: impl Iterator<Item = Tie>) -> Self {
        Self::of_ties(bins.filter(|bin| bin.positives.once + bin.negatives.once > 0.0).collect(), true)
    }

    fn of_ties(ties: Vec<Tie>, binned: bool) -> Self {
        let positives = ties.iter().map(|tie| tie.positives).sum();
        let negatives = ties.iter().map(|tie| tie.negatives).sum();
        Self { ties, positives, negatives, binned }
    }

    /// Area under the ROC curve, ties counted half. None when a class has no rows.
    ///
    /// Half the pairs of one bin are taken as in order, where all or none may be: the bound is half their
    /// number over that of all pairs.
    pub(super) fn area(&self) -> Option<Area> {
        let (all_positive, all_negative) = (self.positives.once, self.negatives.once);
        if !(all_positive > 0.0 && all_negative > 0.0) {
            return None;
        }
        let (mut below, mut above) = (Vec::new(), Vec::new());
        let (mut positives, mut negatives) = (0.0, 0.0);
        let (mut sum, mut within) = (0.0, 0.0);
        for tie in &self.ties {
            let (of_positive, of_negative) = (tie.positives.once, tie.negatives.once);
            negatives += of_negative;
            let lower = (all_negative - negatives).max(0.0) + of_negative / 2.0;
            below.push(lower / all_negative);
            above.push((positives + of_positive / 2.0) / all_positive);
            sum += of_positive * lower;
            within += of_positive * of_negative / 2.0;
            positives += of_positive;
        }
        let pairs = all_positive * all_negative;
        let bound = if self.binned { within / pairs } else { 0.0 };
        Some(Area { value: sum / pairs, bound, below, above })
    }

    /// DeLong's variance of the area: the unbiased variance of the share of negative rows below a positive
    /// one over the number of positive rows, and the same of the shares above negative rows. None with fewer
    /// than two rows of a class.
    ///
    /// Source: DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595.
    pub(super) fn variance(&self, area: &Area) -> Option<f64> {
        if self.fewer() < 2.0 {
            return None;
        }
        let of = |rows: fn(&Tie) -> Weighed, shares: &[f64], all: Weighed| {
            let squares: f64 = self
                .ties
                .iter()
                .zip(shares)
                .map(|(tie, share)| rows(tie).twice * (share - area.value) * (share - area.value))
                .sum();
            let n = all.effective();
            squares / (all.once * all.once) * n / (n - 1.0)
        };
        Some(
            of(|tie| tie.positives, &area.below, self.positives)
                + of(|tie| tie.negatives, &area.above, self.negatives),
        )
    }

    /// Rows of the smaller class.
    fn fewer(&self) -> f64 {
        self.positives.effective().min(self.negatives.effective())
    }

    /// Average precision with its variance by influences, and how far it may be from that of the scores
    /// themselves. None without positive rows.
    ///
    /// With T and C the positive and all rows of at least a row's score, AP = Σ T/C over the positive rows,
    /// over their number P. Raising the weight of a row moves every T/C of lower or equal score, and, if it
    /// is positive, adds its own: by (y·(T/C − AP) + Σ over positive rows of lower or equal score (y/C −
    /// T/C²))/P. The variance is the sum of the squares of these.
    ///
    /// Of p positive and q negative rows in a bin, with t positive rows among c above it, the sum of T/C is at
    /// most p·(t + p)/(c + p), all positive rows first and tied, and at least the integral of
    /// (t + x)/(c + q + x) over x from 0 to p, all negative rows first.
    fn average_precision(&self) -> Option<(Estimate, f64)> {
        let all_positive = self.positives.once;
        if all_positive <= 0.0 {
            return None;
        }
        let (mut positives, mut rows, mut best, mut worst) = (0.0, 0.0, 0.0, 0.0);
        let mut at_least = Vec::with_capacity(self.ties.len());
        for tie in &self.ties {
            let (p, q) = (tie.positives.once, tie.negatives.once);
            if p > 0.0 {
                best += p * (positives + p) / (rows + p);
                // Nothing else above and in the bin: its precision is 1.
                let others = rows + q - positives;
                worst += if others > 0.0 { p - others * (p / (rows + q)).ln_1p() } else { p };
            }
            positives += p;
            rows += p + q;
            at_least.push((positives, rows));
        }
        let precise = self.ties.iter().zip(&at_least).map(|(tie, (t, c))| tie.positives.once * t / c);
        let value = precise.sum::<f64>() / all_positive;
        let (mut by_one, mut by_precision, mut squares) = (0.0, 0.0, 0.0);
        for (tie, (t, c)) in self.ties.iter().zip(&at_least).rev() {
            by_one += tie.positives.once / c;
            by_precision += tie.positives.once * t / (c * c);
            let of_positive = (t / c - value + by_one - by_precision) / all_positive;
            let of_negative = -by_precision / all_positive;
            squares += tie.positives.twice * of_positive * of_positive;
            squares += tie.negatives.twice * of_negative * of_negative;
        }
        let apart = (best / all_positive - value).max(value - worst / all_positive);
        let bound = if self.binned { apart.max(0.0) } else { 0.0 };
        Some((Estimate { value, variance: squares }, bound))
    }

    /// How far a row moves the area, times the number of rows; 0 for a score that no row has.
    pub(super) fn influence(&self, area: &Area, label: bool, score: f64) -> f64 {
        let place = self.ties.partition_point(|tie| tie.score > score);
        let (shares, rows) =
            if label { (&area.below, self.positives) } else { (&area.above, self.negatives) };
        let share = shares.get(place).copied().unwrap_or(area.value);
        (share - area.value) * (self.positives.once + self.negatives.once) / rows.once.max(1.0)
    }
}

/// Chance that a positive row has a higher score than a negative one, ties counted half, 0..=1. Interval:
/// DeLong's, through the logit with fewer than 50 rows of either class. At 0 and 1, where that has no width,
/// Wilson's of as many pairs of rows as have no row in common, which all are in order, or none is.
pub(super) fn roc_auc(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let curve = &rows.scored()?.curve;
    let area = curve.area().ok_or_else(confusion::one_class)?;
    let estimate = Estimate { value: area.value, variance: curve.variance(&area).unwrap_or(0.0) };
    let interval = if area.value <= 0.0 || area.value >= 1.0 {
        interval::wilson(area.value, curve.fewer())
    } else if curve.fewer() < CLASS_FEW {
        interval::logit(estimate)
    } else {
        interval::normal(estimate, (0.0, 1.0))
    };
    Ok(MetricValue::estimated(estimate, interval).within(area.bound))
}

/// Sum over the scores, from the highest, of the gained recall times the precision there, 0..=1. Interval:
/// from influences, through the logit.
pub(super) fn average_precision(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let none = || NotComputable::degenerate("no row is positive");
    let (estimate, bound) = rows.scored()?.curve.average_precision().ok_or_else(none)?;
    Ok(MetricValue::estimated(estimate, interval::logit(estimate)).within(bound))
}

/// Mean of −ln(score of what came true), the score kept within 1e-15 of 0 and 1, 0..=34.6.
pub(super) fn log_loss(rows: &Binary) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.probabilities()?.log_loss, (0.0, f64::INFINITY)))
}

/// Mean of (score − label)², 0..=1.
///
/// Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
pub(super) fn brier(rows: &Binary) -> Result<MetricValue, NotComputable> {
    Ok(MetricValue::normal(rows.probabilities()?.brier, (0.0, 1.0)))
}

/// Share of the predicted positive rows that are positive. Interval: Wilson.
pub(super) fn precision(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let share = rows.table.share(|_, predicted| predicted == 1, |truth, _| truth == 1);
    share.ok_or_else(|| NotComputable::degenerate("no row is predicted positive"))
}

/// Share of the positive rows that are predicted positive. Interval: Wilson.
pub(super) fn recall(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let share = rows.table.share(|truth, _| truth == 1, |_, predicted| predicted == 1);
    share.ok_or_else(|| NotComputable::degenerate("no row is positive"))
}

/// Share of the negative rows that are predicted negative. Interval: Wilson.
pub(super) fn specificity(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let share = rows.table.share(|truth, _| truth == 0, |_, predicted| predicted == 0);
    share.ok_or_else(|| NotComputable::degenerate("no row is negative"))
}

/// (1 + β²)·TP over (1 + β²)·TP + β²·FN + FP, 0..=1: recall weighs β times as much as precision. Interval:
/// delta method; at 0 and 1, where that has no width, see [`f_beta_at_an_end`].
pub(super) fn f_beta(rows: &Binary, beta: f64) -> Result<MetricValue, NotComputable> {
    let table = &rows.table;
    let share = |truth, predicted| table.at(truth, predicted) / table.whole();
    let square = beta * beta;
    let hits = (1.0 + square) * share(1, 1);
    let whole = hits + square * share(1, 0) + share(0, 1);
    if whole <= 0.0 {
        return Err(NotComputable::degenerate("no row is positive or predicted positive"));
    }
    let value = hits / whole;
    let measured = table.delta(value, (0.0, 1.0), |truth, predicted| match (truth, predicted) {
        (1, 1) => (1.0 + square) * (1.0 - value) / whole,
        (1, 0) => -square * value / whole,
        (0, 1) => -value / whole,
        _ => 0.0,
    });
    if measured.interval.is_some() {
        return Ok(measured);
    }
    Ok(MetricValue::new(value, f_beta_at_an_end(table, square, value)))
}

/// Interval of an F-measure of 0 or 1. Of the rows that are positive or predicted positive the share J is both,
/// and has Wilson's interval; all others are missed, or all are false, whichever leads further.
fn f_beta_at_an_end(table: &Confusion, square: f64, value: f64) -> Option<Interval> {
    let cells = [table.cell(1, 1), table.cell(1, 0), table.cell(0, 1)];
    let whole: Weighed = cells.into_iter().sum();
    let share = interval::wilson(table.at(1, 1) / whole.once, whole.effective())?;
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
/// Its interval, by the delta method, takes the sign of each bin's gap as known, and its variance is then
/// (mean of (label − score)² − ece²)/(n − 1): where the scores are nearly calibrated it is too narrow, for the
/// error of finite rows is never 0. So the detail tells the mean that calibrated scores would show,
/// Σ √(2·Σ p(1 − p)/π) over n.
///
/// Source: Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks", equation 3.
pub(super) fn ece(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let calibration = rows.calibration()?;
    let plain = Weighed::rows(rows.n());
    let n = plain.once;
    let value = calibration.gaps.iter().map(|gap| gap.abs()).sum::<f64>() / n;
    let calibrated =
        calibration.variances.iter().map(|variance| (FRAC_2_PI * variance).sqrt()).sum::<f64>() / n;
    let squares = n * calibration.brier;
    let estimate = Weighed::estimate(plain, value, squares - n * value * value, squares);
    let remark = format!("calibrated scores would show {calibrated:.2e} on average");
    Ok(MetricValue::normal(estimate, (0.0, 1.0)).with_detail(remark))
}

/// Σ (label − p)(1 − 2p) over √Σ (1 − 2p)²·p(1 − p): standard normal when every score is the probability of
/// its row. A test statistic, so it has no interval; the detail tells its two-sided p-value.
///
/// Source: Spiegelhalter 1986, doi:10.1002/sim.4780050506.
pub(super) fn spiegelhalter_z(rows: &Binary) -> Result<MetricValue, NotComputable> {
    let (sum, variance) = rows.calibration()?.spiegelhalter;
    if variance <= 0.0 {
        return Err(NotComputable::degenerate("every score is 0, ½ or 1"));
    }
    let value = sum / variance.sqrt();
    let p_value = libm::erfc(value.abs() / SQRT_2);
    let detail = Some(format!("a test: p-value {p_value:.2e} if the scores are calibrated"));
    Ok(MetricValue { value, interval: None, standard_error: Some(1.0), bound: 0.0, detail })
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
        let curve = Curve::new(rows.clone());
        let (Estimate { value, variance }, _) = curve.average_precision().expect("positive rows");
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
    fn rows_in_perfect_order_have_an_interval() {
        let row = |at: u32| BinaryRow { label: at >= 20, prediction: true, score: Some(f64::from(at)) };
        let rows = Binary::new(&(0..30).map(row).collect::<Vec<_>>()).expect("rows");
        let area = roc_auc(&rows).expect("an area");
        // Wilson's interval of 10 of 10 is 0.7225 to 1.
        let interval = area.interval.expect("an interval");
        assert!((interval.low - 0.7225).abs() < 1e-4 && interval.high >= 1.0, "{interval:?}");
        assert!((area.standard_error.expect("an error") - (1.0 - 0.7225) / 1.96).abs() < 1e-4);
    }

    #[test]
    fn a_score_that_is_not_finite_is_refused() {
        let row = BinaryRow { label: true, prediction: true, score: Some(f64::NAN) };
        assert_eq!(Binary::new(&[row]).expect_err("refused"), RowsError::NotFinite { row: 0 });
    }
}
