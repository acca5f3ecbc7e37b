//! Confidence-based performance estimation: the metrics of a classifier that its own scores lead to expect,
//! once the scores are calibrated on a reference with labels.
//!
//! A row of calibrated probability p is p of a positive and 1 − p of a negative one, so every metric has an
//! expected value without a label. Rows come as counts by score: exactly when each distinct score is a cell,
//! and mergeably when the cells are the bins of a histogram.
//!
//! Assumes that the chance of a positive at a given score is what it was in the reference. A change of the
//! inputs that moves rows between scores is seen; a change of what the scores mean is not.
//!
//! Intervals are for the metric that the labels will give. Of two parts: the labels of the window are
//! chance, Σ g²·p(1 − p) over its rows, g being the metric's slope in p; and the calibration comes from a
//! finite reference, Σ (Σ g)²·q(1 − q)/n over the blocks of the isotonic curve, q and n being a block's share
//! of positives and rows; both by the delta method. A curve also follows the chance of its own rows, which
//! makes scores look sharper than they are: what it gains by that is learned from random halves of the
//! reference, and moves the interval, not the value.
//!
//! Source: Białek, Kuberski, Perrakis and Bifet 2024, "Estimating model performance under covariate shift
//! without labels", arXiv:2401.08348.

use super::super::interval::{self, Estimate, Interval};
use super::super::{Measured, MetricValue, NotComputable, Task, better_of};
use super::isotonic::{Isotonic, Point};
use crate::performance::random::Random;

/// Rows of each class that a reference needs.
pub const CLASS_ROWS_MIN: u64 = 10;

/// Parts of the reference that are each calibrated by the others, when it is decided whether to calibrate.
const FOLDS: usize = 10;

/// Bins of equal counts of the calibration error by which that is decided.
const BINS: usize = 10;

/// Scores that order the reference better than this are left as they are.
const AREA_MAX: f64 = 0.999;

/// Times that the reference is split in two, to learn what the curve owes to its own rows.
const SPLITS: usize = 10;

/// Where the random splits start.
const SEED: u64 = 42;

/// Probabilities are kept this far from 0 and 1 in a logarithm.
const PROBABILITY_MIN: f64 = 1e-15;

/// Predictions of one score, or of one bin of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// The score; for a bin its middle, or better the mean of its scores.
    pub score: f64,
    /// Rows predicted negative, and rows predicted positive.
    pub predicted: [u64; 2],
}

/// What scores mean, from a reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Cbpe {
    curve: Isotonic,
    /// The curves of random halves of the reference, two and two of one split.
    halves: Vec<[Isotonic; 2]>,
    calibrates: bool,
    rows: u64,
}

impl Cbpe {
    /// From the reference's rows, each a score from 0 to 1 and its label.
    ///
    /// # Errors
    /// [`NotComputable`] when a score is no probability, or a class has fewer than [`CLASS_ROWS_MIN`] rows.
    pub fn from_rows(mut rows: Vec<(f64, bool)>) -> Result<Self, NotComputable> {
        rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let points = rows.chunk_by(|a, b| a.0 == b.0).map(|run| {
            let positives = run.iter().filter(|(_, label)| *label).count() as u64;
            let score = run.first().map_or(0.0, |(score, _)| *score);
            Point { score, positives, negatives: run.len() as u64 - positives }
        });
        Self::from_points(points.collect())
    }

    /// From a histogram: the score of each bin, ascending, and its rows of either class. Bins of one histogram
    /// have the same scores in the reference and in every window.
    ///
    /// # Errors
    /// As [`Cbpe::from_rows`]; and when the three are not of one length, or the scores do not ascend.
    pub fn from_counts(scores: &[f64], positives: &[u64], negatives: &[u64]) -> Result<Self, NotComputable> {
        if scores.len() != positives.len() || scores.len() != negatives.len() {
            return Err(NotComputable::not_applicable("a bin lacks its score or one of its counts"));
        }
        if !scores.is_sorted_by(|a, b| a < b) {
            return Err(NotComputable::not_applicable("the scores of the bins do not ascend"));
        }
        let counts = positives.iter().zip(negatives);
        let points = scores.iter().zip(counts);
        let points = points.map(|(&score, (&positives, &negatives))| Point { score, positives, negatives });
        Self::from_points(points.filter(|point| point.positives + point.negatives > 0).collect())
    }

    fn from_points(points: Vec<Point>) -> Result<Self, NotComputable> {
        let outside = points.iter().any(|point| !(0.0..=1.0).contains(&point.score));
        if outside {
            return Err(NotComputable::not_applicable("scores of the reference are outside of 0..=1"));
        }
        let positives: u64 = points.iter().map(|point| point.positives).sum();
        let negatives: u64 = points.iter().map(|point| point.negatives).sum();
        let fewest = positives.min(negatives);
        if fewest < CLASS_ROWS_MIN {
            return Err(NotComputable::InsufficientData { n: fewest, needed: CLASS_ROWS_MIN });
        }
        let calibrates = area(&points) <= AREA_MAX && calibration_helps(&points);
        let halves = if calibrates { halves(&points) } else { Vec::new() };
        Ok(Self { curve: Isotonic::fit(points), halves, calibrates, rows: positives + negatives })
    }

    /// Whether scores are calibrated; otherwise they are taken as probabilities as they are.
    pub fn calibrates(&self) -> bool {
        self.calibrates
    }

    /// Rows of the reference.
    pub fn reference_rows(&self) -> u64 {
        self.rows
    }

    /// The chance that a row of this score is positive.
    pub fn probability(&self, score: f64) -> f64 {
        if self.calibrates { self.curve.probability(score) } else { score.clamp(0.0, 1.0) }
    }

    /// The expected metrics of a window's predictions, in the order of [`EXPECTATIONS`]. `bound` is 0; see
    /// [`Cbpe::estimate_binned`].
    pub fn estimate(&self, cells: &[Cell]) -> Vec<Measured> {
        self.expect(cells, false)
    }

    /// The same from the bins of a histogram, with a `bound`: by how much a metric moves when every bin has
    /// the probability of the bin below or above it, plus by how much when every bin has a score half way to
    /// theirs, and for the area also Σ P·N over twice the product of
    /// all P and N, which is all that the order inside of bins can change.
    pub fn estimate_binned(&self, cells: &[Cell]) -> Vec<Measured> {
        self.expect(cells, true)
    }

    fn expect(&self, cells: &[Cell], binned: bool) -> Vec<Measured> {
        let n = cells.iter().flat_map(|cell| cell.predicted).sum();
        let probability = |cell: &Cell| self.probability(cell.score);
        let window = Window::new(cells, probability);
        let refused = match n {
            0 => Some(NotComputable::InsufficientData { n: 0, needed: 1 }),
            _ if cells.iter().any(|cell| !(0.0..=1.0).contains(&cell.score)) => Some(
                NotComputable::not_applicable("scores are outside of 0..=1, so they are no probabilities"),
            ),
            _ => None,
        };
        let beside = if binned && refused.is_none() { window.beside() } else { [Vec::new(), Vec::new()] };
        let with = |curve: &Isotonic| Window::new(cells, |cell| curve.probability(cell.score));
        let halves: Vec<[Window; 2]> = self.halves.iter().map(|halves| halves.each_ref().map(with)).collect();
        let measure = |expectation: &Expectation| {
            let outcome = match &refused {
                Some(reason) => Err(reason.clone()),
                None => self.value(expectation, &window, &halves, &beside),
            };
            Measured {
                metric: expectation.metric.to_owned(),
                about: expectation.about,
                better: better_of(Task::Binary, expectation.metric),
                n,
                outcome,
            }
        };
        EXPECTATIONS.iter().map(measure).collect()
    }

    fn value(
        &self,
        expectation: &Expectation,
        window: &Window,
        halves: &[[Window; 2]],
        beside: &[Vec<Window>; 2],
    ) -> Result<MetricValue, NotComputable> {
        let Slope { value, slopes } = (expectation.of)(window)?;
        let [of_labels, of_curve] = self.variances(window, &slopes);
        let value_of = |other: &Window| (expectation.of)(other).map_or(value, |slope| slope.value);
        let farthest = |others: &Vec<Window>| {
            others.iter().map(|other| (value_of(other) - value).abs()).fold(0.0, f64::max)
        };
        let mut bound: f64 = beside.iter().map(farthest).sum();
        if expectation.ordered && beside.iter().any(|others| !others.is_empty()) {
            bound += window.order_inside();
        }
        let halves = halves.iter().map(|halves| halves.each_ref().map(value_of));
        let (optimism, of_halves) = optimism(value, halves);
        let variance = of_labels + of_curve.max(of_halves);
        let interval = interval::normal(Estimate { value: value - optimism, variance }, expectation.range);
        let interval = interval
            .map(|interval| Interval { low: interval.low.min(value), high: interval.high.max(value) });
        Ok(MetricValue { bound, ..MetricValue::new(value, interval) })
    }

    /// Variance of a metric by the chance of the labels, and by that of the curve; see the module.
    fn variances(&self, window: &Window, slopes: &[[f64; 2]]) -> [f64; 2] {
        let mut of_labels = 0.0;
        let mut of_blocks = vec![0.0; self.curve.blocks().len()];
        for (cell, slopes) in window.cells.iter().zip(slopes) {
            let chance = cell.probability * (1.0 - cell.probability);
            let mut sum = 0.0;
            for (rows, slope) in cell.rows.iter().zip(slopes) {
                of_labels += rows * slope * slope * chance;
                sum += rows * slope;
            }
            for (place, weight) in self.curve.mix(cell.score) {
                if let Some(of_block) = of_blocks.get_mut(place) {
                    *of_block += weight * sum;
                }
            }
        }
        let blocks = self.curve.blocks().iter().zip(&of_blocks);
        [of_labels, blocks.map(|(block, sum)| sum * sum * block.variance()).sum::<f64>()]
    }
}

impl Cbpe {
    /// Variance of a sum over rows of slope times probability, by the chance of the curve: `slopes` are sums
    /// of slopes by score.
    pub(super) fn variance_of_curve(&self, slopes: &[(f64, f64)]) -> f64 {
        let mut of_blocks = vec![0.0; self.curve.blocks().len()];
        for (score, slope) in slopes {
            for (place, weight) in self.curve.mix(*score) {
                if let Some(of_block) = of_blocks.get_mut(place) {
                    *of_block += weight * slope;
                }
            }
        }
        let blocks = self.curve.blocks().iter().zip(&of_blocks);
        blocks.map(|(block, sum)| sum * sum * block.variance()).sum()
    }
}

/// By how much a metric is too good for the curve having been fitted to chance, and the variance of the
/// metric by that chance, from its values with the curves of halves.
///
/// The error of an isotonic curve shrinks as n^(−2/3), so halves have 2^(2/3) times that of the whole; and the
/// difference of two halves has four times its variance.
fn optimism(value: f64, halves: impl ExactSizeIterator<Item = [f64; 2]>) -> (f64, f64) {
    let splits = halves.len() as f64;
    if splits == 0.0 {
        return (0.0, 0.0);
    }
    let (mut excess, mut squares) = (0.0, 0.0);
    for [one, other] in halves {
        excess += (f64::midpoint(one, other) - value) / splits;
        squares += (one - other) * (one - other) / splits;
    }
    (excess / (4.0_f64.cbrt() - 1.0), squares / 4.0)
}

/// The curves of random halves: each row goes to either with equal chance.
fn halves(points: &[Point]) -> Vec<[Isotonic; 2]> {
    let mut random = Random::new(SEED);
    let mut split = || {
        let half = |point: &Point| Point {
            positives: random.half(point.positives),
            negatives: random.half(point.negatives),
            ..*point
        };
        let one: Vec<Point> = points.iter().map(half).collect();
        let rest = points.iter().zip(&one).map(|(all, one)| Point {
            positives: all.positives - one.positives,
            negatives: all.negatives - one.negatives,
            ..*all
        });
        let other = Isotonic::fit(rest);
        [Isotonic::fit(one), other]
    };
    (0..SPLITS).map(|_| split()).collect()
}

/// Area under the ROC curve of points in ascending order.
fn area(points: &[Point]) -> f64 {
    let (mut below, mut sum, mut positives) = (0.0, 0.0, 0.0);
    for point in points {
        sum += point.positives as f64 * (below + point.negatives as f64 / 2.0);
        below += point.negatives as f64;
        positives += point.positives as f64;
    }
    sum / (below * positives)
}

/// Whether calibration lowers the calibration error on rows that it was not fitted to: ten folds, each class
/// dealt out evenly in a seeded order, each calibrated by the other nine, all judged together.
fn calibration_helps(points: &[Point]) -> bool {
    let mut random = Random::new(SEED);
    let mut parts = vec![[[0_u64; 2]; FOLDS]; points.len()];
    for class in 0..2 {
        let rows = |point: &Point| if class == 1 { point.positives } else { point.negatives };
        let all: u64 = points.iter().map(rows).sum();
        let mut folds: Vec<usize> = (0..FOLDS).cycle().take(usize::try_from(all).unwrap_or(0)).collect();
        random.shuffle(&mut folds);
        let mut folds = folds.into_iter();
        for (point, parts) in points.iter().zip(&mut parts) {
            for _ in 0..rows(point) {
                let fold = folds.next().and_then(|fold| parts.get_mut(fold));
                if let Some(count) = fold.and_then(|counts| counts.get_mut(class)) {
                    *count += 1;
                }
            }
        }
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for fold in 0..FOLDS {
        let held = |parts: &[[u64; 2]; FOLDS]| parts.get(fold).copied().unwrap_or_default();
        let rest = points.iter().zip(&parts).map(|(point, parts)| {
            let [negatives, positives] = held(parts);
            Point { positives: point.positives - positives, negatives: point.negatives - negatives, ..*point }
        });
        let curve = Isotonic::fit(rest);
        for (point, parts) in points.iter().zip(&parts) {
            let counts = held(parts);
            before.push((point.score, counts));
            after.push((curve.probability(point.score), counts));
        }
    }
    calibration_error(before) > calibration_error(after)
}

/// Expected calibration error over ten bins of equal counts; a score with rows in two bins is in both with
/// the same share of positives.
fn calibration_error(mut cells: Vec<(f64, [u64; 2])>) -> f64 {
    cells.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: u64 = cells.iter().flat_map(|(_, counts)| counts).sum();
    let width = all as f64 / BINS as f64;
    let (mut error, mut gap, mut room) = (0.0, 0.0_f64, width);
    for run in cells.chunk_by(|a, b| a.0 == b.0) {
        let [negatives, positives] = run.iter().fold([0.0; 2], |sum: [f64; 2], (_, counts)| {
            [sum[0] + counts[0] as f64, sum[1] + counts[1] as f64]
        });
        let mut rows = negatives + positives;
        if rows == 0.0 {
            continue;
        }
        let score = run.first().map_or(0.0, |(score, _)| *score);
        let excess = score - positives / rows;
        while rows > room {
            error += (gap + room * excess).abs();
            rows -= room;
            (gap, room) = (0.0, width);
        }
        gap += rows * excess;
        room -= rows;
    }
    error + gap.abs()
}

/// A window's rows by score, the highest first.
struct Window {
    cells: Vec<Weighed>,
    /// By label and prediction, expected: [[TN, FP], [FN, TP]].
    table: [[f64; 2]; 2],
}

struct Weighed {
    score: f64,
    probability: f64,
    rows: [f64; 2],
}

impl Weighed {
    fn n(&self) -> f64 {
        self.rows.iter().sum()
    }
}

impl Window {
    fn new(cells: &[Cell], probability: impl Fn(&Cell) -> f64) -> Self {
        let weighed = |cell: &Cell| Weighed {
            score: cell.score,
            probability: probability(cell),
            rows: cell.predicted.map(|rows| rows as f64),
        };
        let mut cells: Vec<Weighed> =
            cells.iter().filter(|cell| cell.predicted != [0, 0]).map(weighed).collect();
        cells.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self::of(cells)
    }

    fn of(cells: Vec<Weighed>) -> Self {
        let mut table = [[0.0; 2]; 2];
        for cell in &cells {
            for (predicted, rows) in cell.rows.iter().enumerate() {
                let [negatives, positives] = &mut table;
                for (row, chance) in [(negatives, 1.0 - cell.probability), (positives, cell.probability)] {
                    if let Some(sum) = row.get_mut(predicted) {
                        *sum += rows * chance;
                    }
                }
            }
        }
        Self { cells, table }
    }

    /// The same rows with the probabilities of the next lower and the next higher cell, and with scores half
    /// way to theirs.
    fn beside(&self) -> [Vec<Self>; 2] {
        let moved = |lower: bool, of_score: bool| {
            let cell = |(place, cell): (usize, &Weighed)| {
                let other = if lower { place + 1 } else { place.saturating_sub(1) };
                let other = self.cells.get(other).unwrap_or(cell);
                let (score, probability) = if of_score {
                    (f64::midpoint(cell.score, other.score), cell.probability)
                } else {
                    (cell.score, other.probability)
                };
                Weighed { score, probability, rows: cell.rows }
            };
            Self::of(self.cells.iter().enumerate().map(cell).collect())
        };
        [false, true].map(|of_score| vec![moved(true, of_score), moved(false, of_score)])
    }

    fn n(&self) -> f64 {
        self.table.iter().flatten().sum()
    }

    fn positives(&self) -> f64 {
        self.table[1].iter().sum()
    }

    fn negatives(&self) -> f64 {
        self.table[0].iter().sum()
    }

    /// Most that the order inside of cells changes the area by.
    fn order_inside(&self) -> f64 {
        let pairs =
            self.cells.iter().map(|cell| cell.n() * cell.n() * cell.probability * (1.0 - cell.probability));
        pairs.sum::<f64>() / (2.0 * self.positives() * self.negatives())
    }

    /// A value whose slope depends on the prediction only: `slopes` of a row predicted negative and positive.
    fn by_prediction(&self, value: f64, slopes: [f64; 2]) -> Slope {
        Slope { value, slopes: vec![slopes; self.cells.len()] }
    }
}

/// A metric with its slope in the probability of one row, by cell and prediction.
struct Slope {
    value: f64,
    slopes: Vec<[f64; 2]>,
}

/// A metric that has an expected value: a row of [`EXPECTATIONS`].
pub struct Expectation {
    /// The name of the metric that it estimates.
    pub metric: &'static str,
    /// One line for people.
    pub about: &'static str,
    range: (f64, f64),
    /// Whether it depends on the order of the scores.
    ordered: bool,
    of: fn(&Window) -> Result<Slope, NotComputable>,
}

/// Every metric of two classes that is estimated, in the order they are shown.
pub static EXPECTATIONS: &[Expectation] = &[
    ordered("roc_auc", "chance that a positive row has a higher score than a negative one", roc_auc),
    ordered("average_precision", "mean precision over the positive rows, by score", average_precision),
    loss("log_loss", "mean −log of the score of what came true, capped at 1e-15", |window| {
        mean_loss(window, |score| {
            let score = score.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
            [-(1.0 - score).ln(), -score.ln()]
        })
    }),
    loss("brier", "mean squared difference of score and label", |window| {
        mean_loss(window, |score| [score * score, (1.0 - score) * (1.0 - score)])
    }),
    share("accuracy", "share of rows predicted right", |window| {
        let [[right_negatives, _], [_, right_positives]] = window.table;
        let n = window.n();
        Ok(window.by_prediction((right_negatives + right_positives) / n, [-1.0 / n, 1.0 / n]))
    }),
    share("precision", "share of the predicted positive rows that are positive", |window| {
        let [[_, wrong], [_, right]] = window.table;
        let predicted = positive(right + wrong, "no row is predicted positive")?;
        Ok(window.by_prediction(right / predicted, [0.0, 1.0 / predicted]))
    }),
    share("recall", "share of the positive rows that are predicted positive", |window| {
        let right = window.table[1][1];
        let positives = positive(window.positives(), "no row is expected to be positive")?;
        let value = right / positives;
        Ok(window.by_prediction(value, [-value / positives, (1.0 - value) / positives]))
    }),
    share("specificity", "share of the negative rows that are predicted negative", |window| {
        let right = window.table[0][0];
        let negatives = positive(window.negatives(), "no row is expected to be negative")?;
        let value = right / negatives;
        Ok(window.by_prediction(value, [-(1.0 - value) / negatives, value / negatives]))
    }),
    share("f1", "harmonic mean of precision and recall", |window| {
        let [[_, wrong], [_, right]] = window.table;
        // 2·TP + FP + FN: a row more of either side adds 1, its own label aside.
        let sum = positive(right + wrong + window.positives(), "no row is positive or predicted positive")?;
        let value = 2.0 * right / sum;
        Ok(window.by_prediction(value, [-value / sum, (2.0 - value) / sum]))
    }),
];

const fn ordered(
    metric: &'static str,
    about: &'static str,
    of: fn(&Window) -> Result<Slope, NotComputable>,
) -> Expectation {
    Expectation { metric, about, range: (0.0, 1.0), ordered: true, of }
}

const fn share(
    metric: &'static str,
    about: &'static str,
    of: fn(&Window) -> Result<Slope, NotComputable>,
) -> Expectation {
    Expectation { metric, about, range: (0.0, 1.0), ordered: false, of }
}

const fn loss(
    metric: &'static str,
    about: &'static str,
    of: fn(&Window) -> Result<Slope, NotComputable>,
) -> Expectation {
    Expectation { metric, about, range: (0.0, f64::INFINITY), ordered: false, of }
}

fn positive(number: f64, otherwise: &str) -> Result<f64, NotComputable> {
    if number > 0.0 { Ok(number) } else { Err(NotComputable::degenerate(otherwise)) }
}

/// Σ over the cells of positives times negatives below, those of the same cell half, over all pairs.
fn roc_auc(window: &Window) -> Result<Slope, NotComputable> {
    let one_class = "all rows are expected to be of one class";
    let positives = positive(window.positives(), one_class)?;
    let negatives = positive(window.negatives(), one_class)?;
    let (mut above, mut below) = (0.0, negatives);
    let mut sum = 0.0;
    let mut wins = Vec::with_capacity(window.cells.len());
    for cell in &window.cells {
        let (of_positives, of_negatives) = (cell.n() * cell.probability, cell.n() * (1.0 - cell.probability));
        below -= of_negatives;
        let lower = below.max(0.0) + of_negatives / 2.0;
        sum += of_positives * lower;
        // A row that turns positive wins against the negatives below and no longer loses to the positives above.
        wins.push(lower - above - of_positives / 2.0);
        above += of_positives;
    }
    let pairs = positives * negatives;
    let value = sum / pairs;
    let slopes = wins.iter().map(|wins| [(wins - value * (negatives - positives)) / pairs; 2]).collect();
    Ok(Slope { value, slopes })
}

/// Σ p·T/C over the rows by score over Σ p, T being the positives expected and C the rows up to and with a
/// row. The rows of one cell are taken one after another, as if their scores differed by a hair.
fn average_precision(window: &Window) -> Result<Slope, NotComputable> {
    let positives = positive(window.positives(), "no row is expected to be positive")?;
    let (mut above, mut rows, mut sum) = (0.0, 0.0, 0.0);
    // By cell: the precision at its middle, and Σ p/C over its rows.
    let mut cells = Vec::with_capacity(window.cells.len());
    for cell in &window.cells {
        let (n, p) = (cell.n(), cell.probability);
        let (precise, by_one) = run(n, p, above, rows);
        sum += precise;
        cells
            .push((if n > 0.0 && p > 0.0 { precise / (n * p) } else { above / f64::max(rows, 1.0) }, by_one));
        above += n * p;
        rows += n;
    }
    let value = sum / positives;
    let mut lower = 0.0;
    let mut slopes: Vec<[f64; 2]> = Vec::with_capacity(cells.len());
    for (precision, by_one) in cells.iter().rev() {
        // A row that turns positive adds its own precision and raises that of every row below.
        slopes.push([(precision + lower + by_one / 2.0 - value) / positives; 2]);
        lower += by_one;
    }
    slopes.reverse();
    Ok(Slope { value, slopes })
}

/// Σ over j = 1..=n of p(above + p·j)/(rows + j), and the same with p in place of p(above + p·j).
fn run(n: f64, p: f64, above: f64, rows: f64) -> (f64, f64) {
    let harmonic = harmonic(rows + n) - harmonic(rows);
    (p * (p * n + (above - p * rows) * harmonic), p * harmonic)
}

/// 1 + 1/2 + … + 1/n: by hand while that is short, then by Euler and Maclaurin's series, to 1e-16.
fn harmonic(n: f64) -> f64 {
    if n < 64.0 {
        let mut sum = 0.0;
        let mut j = 1.0;
        while j <= n {
            sum += 1.0 / j;
            j += 1.0;
        }
        return sum;
    }
    let square = 1.0 / (n * n);
    let gamma = 0.577_215_664_901_532_9;
    n.ln() + gamma + 0.5 / n - square * (1.0 / 12.0 - square * (1.0 / 120.0 - square / 252.0))
}

/// The mean of a loss of the score, of a row that turns out negative and one that turns out positive.
fn mean_loss(window: &Window, loss: impl Fn(f64) -> [f64; 2]) -> Result<Slope, NotComputable> {
    let n = positive(window.n(), "there are no rows")?;
    let mut value = 0.0;
    let slopes = window.cells.iter().map(|cell| {
        let [of_negative, of_positive] = loss(cell.score);
        value += cell.n() * (cell.probability * of_positive + (1.0 - cell.probability) * of_negative) / n;
        [(of_positive - of_negative) / n; 2]
    });
    let slopes = slopes.collect();
    Ok(Slope { value, slopes })
}
