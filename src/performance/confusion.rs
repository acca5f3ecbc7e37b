//! Counts of true against predicted classes, and what can be said from them alone.
//!
//! Intervals: Wilson for shares; for the others the delta method on multinomial counts. With p the table as
//! shares and g the value's derivatives by them, the variance is (Σ p·g² − (Σ p·g)²)/n (Bishop, Fienberg and
//! Holland 1975, "Discrete Multivariate Analysis", 14.6). Of weighted rows it is the sum of the squares of
//! w·(g − Σ p·g) over (Σ w)², which is the same where every weight is 1. In what follows t and q are the
//! shares of the true and of the predicted classes: the sums of the table's rows and columns.

use super::interval::{self, Estimate};
use super::weighed::{ROUNDING, Weighed};
use super::{MetricValue, NotComputable};

/// A square table of counts; rows are the true classes, columns the predicted ones.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Confusion {
    classes: usize,
    /// Row by row.
    cells: Vec<Weighed>,
    all: Weighed,
    n: u64,
}

/// A table as shares, with its marginal shares.
struct Shares {
    truth: Vec<f64>,
    predicted: Vec<f64>,
    /// On the diagonal.
    right: Vec<f64>,
}

impl Confusion {
    /// Counts pairs of a true and a predicted class; a pair beyond `classes` is not counted.
    pub(super) fn count(classes: usize, pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![0_u64; classes.saturating_mul(classes)];
        for (truth, predicted) in pairs.filter(|(truth, predicted)| truth.max(predicted) < &classes) {
            if let Some(count) = counts.get_mut(truth * classes + predicted) {
                *count += 1;
            }
        }
        let n = counts.iter().sum();
        Self::new(classes, counts.into_iter().map(Weighed::rows).collect(), n)
    }

    /// A table whose cells, row by row, hold `n` rows.
    pub(super) fn new(classes: usize, cells: Vec<Weighed>, n: u64) -> Self {
        let all = cells.iter().copied().sum();
        Self { classes, cells, all, n }
    }

    /// Rows of true class `truth` predicted as `predicted`.
    pub(super) fn cell(&self, truth: usize, predicted: usize) -> Weighed {
        self.cells.get(truth * self.classes + predicted).copied().unwrap_or_default()
    }

    /// Their weight, which is their number where every row weighs 1.
    pub(super) fn at(&self, truth: usize, predicted: usize) -> f64 {
        self.cell(truth, predicted).once
    }

    /// Counted rows.
    pub(super) fn n(&self) -> u64 {
        self.n
    }

    /// Weight of the rows of a true class.
    pub(super) fn of_truth(&self, class: usize) -> f64 {
        (0..self.classes).map(|predicted| self.at(class, predicted)).sum()
    }

    /// Weight of the rows of a predicted class.
    fn of_predicted(&self, class: usize) -> f64 {
        (0..self.classes).map(|truth| self.at(truth, class)).sum()
    }

    /// Weight of all rows; 1 if there are none.
    pub(super) fn whole(&self) -> f64 {
        if self.all.once > 0.0 { self.all.once } else { 1.0 }
    }

    /// Share of the rows in the cells `of` that are in the cells `hit`, with Wilson's interval. None without
    /// such rows.
    pub(super) fn share(
        &self,
        of: impl Fn(usize, usize) -> bool,
        hit: impl Fn(usize, usize) -> bool,
    ) -> Option<MetricValue> {
        let (mut hits, mut all) = (Weighed::default(), Weighed::default());
        for (truth, predicted) in self.places().filter(|(truth, predicted)| of(*truth, *predicted)) {
            all += self.cell(truth, predicted);
            if hit(truth, predicted) {
                hits += self.cell(truth, predicted);
            }
        }
        (all.once > 0.0).then(|| MetricValue::share(hits, all))
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let classes = self.classes;
        (0..classes).flat_map(move |truth| (0..classes).map(move |predicted| (truth, predicted)))
    }

    fn shares(&self) -> Shares {
        let share = |weight: f64| weight / self.whole();
        Shares {
            truth: (0..self.classes).map(|class| share(self.of_truth(class))).collect(),
            predicted: (0..self.classes).map(|class| share(self.of_predicted(class))).collect(),
            right: (0..self.classes).map(|class| share(self.at(class, class))).collect(),
        }
    }

    /// A smooth function of the shares with its interval; `slope` is its derivative by the share of a cell.
    pub(super) fn delta(
        &self,
        value: f64,
        range: (f64, f64),
        slope: impl Fn(usize, usize) -> f64,
    ) -> MetricValue {
        let slopes: Vec<(Weighed, f64)> = self
            .places()
            .map(|(truth, predicted)| (self.cell(truth, predicted), (truth, predicted)))
            .filter(|(cell, _)| cell.once > 0.0)
            .map(|(cell, (truth, predicted))| (cell, slope(truth, predicted)))
            .collect();
        let whole = self.whole();
        let mean: f64 = slopes.iter().map(|(cell, slope)| cell.once / whole * slope).sum();
        let apart = |(cell, slope): &(Weighed, f64)| cell.twice * (slope - mean) * (slope - mean);
        let squares: f64 = slopes.iter().map(apart).sum();
        let most: f64 = slopes.iter().map(|(cell, slope)| cell.twice * slope * slope).sum();
        // What is left of equal slopes after rounding is no variance.
        let squares = if squares > ROUNDING * most { squares } else { 0.0 };
        let estimate = Estimate { value, variance: squares / (whole * whole) };
        MetricValue::estimated(estimate, interval::normal(estimate, range))
    }
}

/// Share of rows predicted right. Interval: Wilson.
pub(super) fn accuracy(table: &Confusion) -> Result<MetricValue, NotComputable> {
    let right = |truth, predicted| truth == predicted;
    table.share(|_, _| true, right).ok_or(NotComputable::InsufficientData { n: 0, needed: 1 })
}

/// Mean over the true classes of the share predicted right, 0..=1.
pub(super) fn balanced_accuracy(table: &Confusion) -> Result<MetricValue, NotComputable> {
    let Shares { truth, right, .. } = table.shares();
    let present: Vec<bool> = truth.iter().map(|share| *share > 0.0).collect();
    let classes = present.iter().filter(|present| **present).count();
    if classes < 2 {
        return Err(one_class());
    }
    let weight = 1.0 / classes as f64;
    let recalls: Vec<f64> = right
        .iter()
        .zip(&truth)
        .map(|(right, truth)| if *truth > 0.0 { right / truth } else { 0.0 })
        .collect();
    let value = weight * recalls.iter().sum::<f64>();
    let measured = table.delta(value, (0.0, 1.0), |class, predicted| {
        let hit = if class == predicted { 1.0 } else { 0.0 };
        weight * (hit - at(&recalls, class)) / at(&truth, class)
    });
    Ok(measured)
}

/// Cohen's kappa: (agreement − chance)/(1 − chance) with chance Σ t·q, −1..=1.
///
/// Source: Cohen 1960, doi:10.1177/001316446002000104.
pub(super) fn kappa(table: &Confusion) -> Result<MetricValue, NotComputable> {
    let Shares { truth, predicted, right } = table.shares();
    let agreement: f64 = right.iter().sum();
    let chance: f64 = truth.iter().zip(&predicted).map(|(t, q)| t * q).sum();
    let rest = 1.0 - chance;
    if rest <= f64::EPSILON {
        return Err(NotComputable::degenerate("all labels and all predictions are of one class"));
    }
    let value = (agreement - chance) / rest;
    let measured = table.delta(value, (-1.0, 1.0), |class, other| {
        let hit = if class == other { 1.0 } else { 0.0 };
        let by_chance = at(&predicted, class) + at(&truth, other);
        hit / rest - by_chance * (1.0 - agreement) / (rest * rest)
    });
    Ok(measured)
}

/// Matthews' correlation, for more than two classes Gorodkin's: (Σ right − Σ t·q)/√((1 − Σ q²)(1 − Σ t²)),
/// −1..=1.
///
/// Source: Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006.
pub(super) fn mcc(table: &Confusion) -> Result<MetricValue, NotComputable> {
    let Shares { truth, predicted, right } = table.shares();
    let rest = |shares: &[f64]| 1.0 - shares.iter().map(|share| share * share).sum::<f64>();
    let (of_truth, of_predicted) = (rest(&truth), rest(&predicted));
    if of_truth <= f64::EPSILON {
        return Err(one_class());
    }
    if of_predicted <= f64::EPSILON {
        return Err(NotComputable::degenerate("all predictions are of one class"));
    }
    let chance: f64 = truth.iter().zip(&predicted).map(|(t, q)| t * q).sum();
    let scale = (of_truth * of_predicted).sqrt();
    let value = (right.iter().sum::<f64>() - chance) / scale;
    let measured = table.delta(value, (-1.0, 1.0), |class, other| {
        let hit = if class == other { 1.0 } else { 0.0 };
        let by_chance = at(&predicted, class) + at(&truth, other);
        (hit - by_chance) / scale
            + value * (at(&predicted, other) / of_predicted + at(&truth, class) / of_truth)
    });
    Ok(measured)
}

/// How the F1 of the classes become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Averaging {
    /// Every class that occurs, as a label or as a prediction, counts the same.
    Macro,
    /// Every class by its share of the labels.
    Weighted,
}

/// F1 of each class against the others, 2·right/(t + q), averaged, 0..=1.
pub(super) fn f1_averaged(table: &Confusion, averaging: Averaging) -> Result<MetricValue, NotComputable> {
    let Shares { truth, predicted, right } = table.shares();
    let sums: Vec<f64> = truth.iter().zip(&predicted).map(|(t, q)| t + q).collect();
    let f1: Vec<f64> = right
        .iter()
        .zip(&sums)
        .map(|(right, sum)| if *sum > 0.0 { 2.0 * right / sum } else { 0.0 })
        .collect();
    let occurring = sums.iter().filter(|sum| **sum > 0.0).count().max(1) as f64;
    let weight = |class: usize| match averaging {
        Averaging::Macro => 1.0 / occurring,
        Averaging::Weighted => at(&truth, class),
    };
    let value: f64 = f1.iter().enumerate().map(|(class, f1)| weight(class) * f1).sum();
    let measured = table.delta(value, (0.0, 1.0), |class, other| {
        let falls = |class: usize| weight(class) * at(&f1, class) / at(&sums, class);
        let hit = if class == other { 2.0 * weight(class) / at(&sums, class) } else { 0.0 };
        let by_weight = if averaging == Averaging::Weighted { at(&f1, class) } else { 0.0 };
        hit - falls(class) - falls(other) + by_weight
    });
    Ok(measured)
}

/// Why a metric that compares classes says nothing.
pub(super) fn one_class() -> NotComputable {
    NotComputable::degenerate("all labels are of one class")
}

fn at(values: &[f64], place: usize) -> f64 {
    values.get(place).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    type OfTable = fn(&Confusion) -> Result<MetricValue, NotComputable>;

    fn table(counts: &[u64]) -> Confusion {
        Confusion::new(3, counts.iter().copied().map(Weighed::rows).collect(), counts.iter().sum())
    }

    /// The delta interval again, from differences of the value itself when one row is added.
    fn numeric_half_width(counts: &[u64], value: OfTable) -> f64 {
        let n: u64 = counts.iter().sum();
        let base = value(&table(counts)).expect("a value").value;
        let influences: Vec<(f64, f64)> = (0..counts.len())
            .map(|cell| {
                let mut more = counts.to_vec();
                more[cell] += 1;
                let moved = value(&table(&more)).expect("a value").value;
                (counts[cell] as f64 / n as f64, (n + 1) as f64 * (moved - base))
            })
            .collect();
        let mean: f64 = influences.iter().map(|(share, influence)| share * influence).sum();
        let second: f64 = influences.iter().map(|(share, influence)| share * influence * influence).sum();
        1.96 * ((second - mean * mean) / n as f64).sqrt()
    }

    #[test]
    fn intervals_are_those_of_numeric_derivatives() {
        let counts = [50_000, 12_000, 11_000, 8_000, 44_000, 3_000, 9_000, 1_000, 45_000];
        let metrics: [OfTable; 5] = [
            balanced_accuracy,
            kappa,
            mcc,
            |table| f1_averaged(table, Averaging::Macro),
            |table| f1_averaged(table, Averaging::Weighted),
        ];
        for metric in metrics {
            let got = metric(&table(&counts)).expect("a value");
            let interval = got.interval.expect("an interval");
            let (half, want) = ((interval.high - interval.low) / 2.0, numeric_half_width(&counts, metric));
            assert!((half / want - 1.0).abs() < 1e-3, "{half} is not {want}");
        }
    }

    #[test]
    fn one_class_gives_a_reason_and_no_number() {
        let counts = [5, 0, 0, 0, 0, 0, 0, 0, 0];
        for metric in [balanced_accuracy as OfTable, kappa, mcc] {
            assert_eq!(metric(&table(&counts)).expect_err("no value").status(), "degenerate");
        }
        assert_eq!(accuracy(&table(&counts)).expect("a value").value, 1.0);
    }
}
