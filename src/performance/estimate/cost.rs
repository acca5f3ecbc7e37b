//! The cost that decisions lead to expect while nobody knows yet which of them were right.

use super::super::value::CostMatrix;
use super::super::{Mean, NotComputable};
use super::cbpe::Cbpe;

/// Predictions of one score, or of one bin of scores, with what they are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostCell {
    /// The score.
    pub score: f64,
    /// Rows predicted negative, and rows predicted positive.
    pub rows: [f64; 2],
    /// Sums of what multiplies their cost: their amounts, or their number where cases have none.
    pub amount: [f64; 2],
    /// Sums of the squares of that.
    pub amount_squared: [f64; 2],
}

impl Cbpe {
    /// The mean cost of a prediction to expect: Σ a·(p·c(1, d) + (1 − p)·c(0, d)) over the rows, with decision
    /// d, amount a and calibrated probability p.
    ///
    /// The variance is that of the labels, Σ a²·(c(1, d) − c(0, d))²·p(1 − p), and that of the curve of the
    /// reference, both by the delta method, as for metrics.
    ///
    /// # Errors
    /// [`NotComputable`] without rows, or when the costs are not those of two classes.
    pub fn expected_cost(&self, cells: &[CostCell], costs: &CostMatrix) -> Result<Mean, NotComputable> {
        let rows: f64 = cells.iter().flat_map(|cell| cell.rows).sum();
        if rows <= 0.0 {
            return Err(NotComputable::InsufficientData { n: 0, needed: 1 });
        }
        let mut sum = 0.0;
        let mut slopes = Vec::with_capacity(cells.len());
        let mut of_labels = 0.0;
        for cell in cells {
            let p = self.probability(cell.score);
            let mut slope = 0.0;
            for (decision, (amount, squared)) in cell.amount.iter().zip(&cell.amount_squared).enumerate() {
                let (Some(right), Some(wrong)) = (costs.cost(1, decision), costs.cost(0, decision)) else {
                    return Err(NotComputable::not_applicable("the cost matrix is not of two classes"));
                };
                sum += amount * (p * right + (1.0 - p) * wrong);
                of_labels += squared * (right - wrong) * (right - wrong) * p * (1.0 - p);
                slope += amount * (right - wrong);
            }
            slopes.push((cell.score, slope));
        }
        let variance = of_labels + self.variance_of_curve(&slopes);
        Mean::known(rows, sum / rows, variance / rows / rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_expected_by_the_calibrated_probability() {
        let scores = [0.1, 0.5, 0.9];
        let cbpe = Cbpe::from_counts(&scores, &[100, 500, 900], &[900, 500, 100]).expect("both classes");
        let costs = CostMatrix::new(&[vec![0.0, 1.0], vec![5.0, 0.0]]).expect("costs");
        let cell = |score, rows: [f64; 2]| CostCell { score, rows, amount: rows, amount_squared: rows };
        let mean =
            cbpe.expected_cost(&[cell(0.1, [100.0, 0.0]), cell(0.9, [0.0, 100.0])], &costs).expect("rows");
        // A tenth of the negatives is missed at 5 each, a tenth of the positives is wrong at 1 each.
        assert!((mean.value - (0.1 * 5.0 + 0.1) / 2.0).abs() < 1e-12, "{mean:?}");
        // Σ n·slope²·p(1 − p)/n² of the labels, and the same with the reference's thousand rows a bin.
        let of_labels = 100.0 * 0.09 * (25.0 + 1.0) / 200.0 / 200.0;
        let of_curve = (500.0_f64.powi(2) + 100.0_f64.powi(2)) * 0.09 / 1000.0 / 200.0 / 200.0;
        assert!((mean.variance / (of_labels + of_curve) - 1.0).abs() < 0.01, "{mean:?}");
    }

    #[test]
    fn nothing_costs_nothing_that_could_be_told() {
        let cbpe = Cbpe::from_counts(&[0.2, 0.8], &[20, 80], &[80, 20]).expect("both classes");
        let costs = CostMatrix::new(&[vec![0.0, 1.0], vec![5.0, 0.0]]).expect("costs");
        assert!(cbpe.expected_cost(&[], &costs).is_err());
    }
}
