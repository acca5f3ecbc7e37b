//! Orders: how high the relevant rows of a query stand.
//!
//! A row is relevant when its relevance is above 0. Each query counts the same, and intervals take queries,
//! not rows, as independent. A query with nothing relevant has no better and no worse order: it is left out
//! of all metrics and counted. Rows of one score keep the order of the file, except in NDCG, which takes the
//! mean over their orders.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::interval::{Estimate, Interval};
use super::weighed::Weighed;
use super::{MetricValue, NotComputable, RowsError};
use crate::summary::outcome::RankedRow;

/// Queries with their rows.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// The queries with something relevant, each in the order of its scores.
    queries: Vec<Vec<RankedRow>>,
    /// Queries without.
    irrelevant: u64,
    cutoffs: Vec<usize>,
    /// Where the order of rows of one score is not known: the queries with the least relevant of them first.
    /// In `queries` the most relevant are first then.
    worst: Option<Vec<Vec<RankedRow>>>,
}

impl Ranking {
    /// Takes the rows, each with its query, and the numbers of first rows to look at.
    ///
    /// # Errors
    /// `NotFinite` when a number is infinite or NaN, `NegativeRelevance`, `Cutoff` when one is 0.
    pub fn new(rows: Vec<(String, RankedRow)>, cutoffs: Vec<usize>) -> Result<Self, RowsError> {
        if cutoffs.contains(&0) {
            return Err(RowsError::Cutoff);
        }
        let mut queries: BTreeMap<String, Vec<RankedRow>> = BTreeMap::new();
        for (place, (query, row)) in rows.into_iter().enumerate() {
            if !(row.relevance.is_finite() && row.score.is_finite()) {
                return Err(RowsError::NotFinite { row: place });
            }
            if row.relevance < 0.0 {
                return Err(RowsError::NegativeRelevance { row: place });
            }
            queries.entry(query).or_default().push(row);
        }
        let mut ranking = Self::of(queries.into_values(), cutoffs);
        for rows in &mut ranking.queries {
            rows.sort_by(by_score);
        }
        Ok(ranking)
    }

    /// Queries whose rows of one score have come in no order that is known.
    pub(super) fn unordered(queries: impl Iterator<Item = Vec<RankedRow>>, cutoffs: Vec<usize>) -> Self {
        let mut ranking = Self::of(queries, cutoffs);
        let mut worst = ranking.queries.clone();
        for rows in &mut ranking.queries {
            rows.sort_by(|a, b| by_score(a, b).then(b.relevance.total_cmp(&a.relevance)));
        }
        for rows in &mut worst {
            rows.sort_by(|a, b| by_score(a, b).then(a.relevance.total_cmp(&b.relevance)));
        }
        ranking.worst = Some(worst);
        ranking
    }

    fn of(queries: impl Iterator<Item = Vec<RankedRow>>, cutoffs: Vec<usize>) -> Self {
        let relevant = |rows: &Vec<RankedRow>| rows.iter().any(|row| row.relevance > 0.0);
        let (queries, rest): (Vec<_>, Vec<_>) = queries.partition(relevant);
        Self { queries, irrelevant: rest.len() as u64, cutoffs, worst: None }
    }

    /// Queries with something relevant.
    pub(super) fn n(&self) -> u64 {
        self.queries.len() as u64
    }

    pub(super) fn cutoffs(&self) -> &[usize] {
        &self.cutoffs
    }

    fn mean_of(&self, value: impl Fn(&[RankedRow]) -> f64) -> MetricValue {
        let mean = |queries: &[Vec<RankedRow>]| {
            let values = Estimate::mean(queries.iter().map(|rows| value(rows)));
            MetricValue::normal(values, (0.0, 1.0))
        };
        self.of_orders(mean)
    }

    /// A measure of the order; where that of equal scores is not known, the middle of the best and the worst,
    /// with an interval from the lower end of the worst's to the upper end of the best's.
    fn of_orders(&self, measure: impl Fn(&[Vec<RankedRow>]) -> MetricValue) -> MetricValue {
        let best = measure(&self.queries);
        let Some(worst) = self.worst.as_deref().map(measure).filter(|worst| worst.value < best.value) else {
            return self.noted(best);
        };
        let ends = worst.interval.zip(best.interval);
        let interval = ends.map(|(worst, best)| Interval { low: worst.low, high: best.high });
        let half = (best.value - worst.value) / 2.0;
        self.noted(MetricValue::new(worst.value + half, interval).within(half))
    }

    /// By query how far its order is from the best possible: 1 − NDCG of the first k.
    pub(super) fn losses(&self, cutoff: usize) -> impl Iterator<Item = f64> {
        self.queries.iter().map(move |rows| 1.0 - ndcg_of(rows, cutoff))
    }

    fn noted(&self, value: MetricValue) -> MetricValue {
        match self.irrelevant {
            0 => value,
            1 => value.with_detail("1 query has nothing relevant".to_owned()),
            n => value.with_detail(format!("{n} queries have nothing relevant")),
        }
    }
}

/// The highest score first. Of equal numbers, not of equal bits.
fn by_score(a: &RankedRow, b: &RankedRow) -> Ordering {
    b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal)
}

/// Weight of a place from 0: 1/log₂(place + 2).
fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// Gain of an order in which rows that `tied` says are alike stand in every order equally often.
fn gain(rows: &[RankedRow], cutoff: usize, tied: impl Fn(&RankedRow, &RankedRow) -> bool) -> f64 {
    let mut place = 0;
    let mut gain = 0.0;
    for run in rows.chunk_by(|a, b| tied(a, b)) {
        let places = place..(place + run.len()).min(cutoff);
        place += run.len();
        let mean = run.iter().map(|row| row.relevance).sum::<f64>() / run.len() as f64;
        gain += mean * places.map(discount).sum::<f64>();
        if place >= cutoff {
            break;
        }
    }
    gain
}

/// Gain Σ relevance/log₂(place + 1) of the first k places, from 1, over that of the best order, 0..=1: linear
/// gain, the mean over the orders of equal scores.
///
/// Sources: Järvelin and Kekäläinen 2002, doi:10.1145/582415.582418; McSherry and Najork 2008 for equal
/// scores, doi:10.1007/978-3-540-78646-7_38.
pub(super) fn ndcg(rows: &Ranking, cutoff: usize) -> Result<MetricValue, NotComputable> {
    Ok(rows.mean_of(|rows| ndcg_of(rows, cutoff)))
}

fn ndcg_of(rows: &[RankedRow], cutoff: usize) -> f64 {
    let mut best = rows.to_vec();
    best.sort_by(|a, b| b.relevance.total_cmp(&a.relevance));
    let ideal = gain(&best, cutoff, |_, _| false);
    let share = gain(rows, cutoff, |a, b| a.score == b.score) / ideal;
    // Rounding may lift it above 1; NaN, from relevances too large to add up, has to stay.
    if share > 1.0 { 1.0 } else { share }
}

/// Mean over queries of Σ precision at the relevant rows among the first k, over the smaller of k and the
/// number of relevant rows, 0..=1.
pub(super) fn map(rows: &Ranking, cutoff: usize) -> Result<MetricValue, NotComputable> {
    Ok(rows.mean_of(|rows| {
        let (mut found, mut sum) = (0_u64, 0.0);
        for (place, row) in rows.iter().take(cutoff).enumerate() {
            if row.relevance > 0.0 {
                found += 1;
                sum += found as f64 / (place + 1) as f64;
            }
        }
        let relevant = rows.iter().filter(|row| row.relevance > 0.0).count();
        sum / relevant.min(cutoff).max(1) as f64
    }))
}

/// Mean over queries of 1 over the place, from 1, of the first relevant row, 0..=1.
pub(super) fn mrr(rows: &Ranking) -> Result<MetricValue, NotComputable> {
    Ok(rows.mean_of(|rows| {
        let first = rows.iter().position(|row| row.relevance > 0.0);
        first.map_or(0.0, |place| 1.0 / (place + 1) as f64)
    }))
}

/// Share of queries with a relevant row among the first k. Interval: Wilson.
pub(super) fn hit(rows: &Ranking, cutoff: usize) -> Result<MetricValue, NotComputable> {
    let hit = |rows: &&Vec<RankedRow>| rows.iter().take(cutoff).any(|row| row.relevance > 0.0);
    Ok(rows.of_orders(|queries| {
        let hits = queries.iter().filter(hit).count() as u64;
        MetricValue::share(Weighed::rows(hits), Weighed::rows(queries.len() as u64))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(query: &str, relevance: f64, score: f64) -> (String, RankedRow) {
        (query.to_owned(), RankedRow { relevance, score })
    }

    #[test]
    fn a_query_with_nothing_relevant_is_left_out_and_told() {
        let rows = vec![row("a", 1.0, 0.5), row("b", 0.0, 0.5), row("a", 0.0, 0.7)];
        let rows = Ranking::new(rows, vec![1]).expect("rows");
        let got = mrr(&rows).expect("a value");
        assert_eq!((got.value, rows.n()), (0.5, 1));
        assert!(got.detail.expect("a remark").ends_with("1 query has nothing relevant"));
    }

    #[test]
    fn equal_scores_share_the_gain_of_their_places() {
        let rows = vec![row("a", 1.0, 0.5), row("a", 0.0, 0.5), row("a", 0.0, 0.1)];
        let rows = Ranking::new(rows, vec![1, 2]).expect("rows");
        assert_eq!(ndcg(&rows, 1).expect("a value").value, 0.5);
        let both = (1.0 + discount(1)) / 2.0;
        assert!((ndcg(&rows, 2).expect("a value").value - both).abs() < 1e-15);
    }

    #[test]
    fn relevances_too_large_to_add_up_give_no_number() {
        let rows = vec![row("a", f64::MAX, 0.1), row("a", f64::MAX, 0.5), row("a", f64::MAX, 0.5)];
        let rows = Ranking::new(rows, vec![3]).expect("rows");
        assert!(ndcg(&rows, 3).expect("checked by the table").value.is_nan());
    }

    #[test]
    fn rows_that_cannot_be_ranked_are_refused() {
        let refused = |rows, cutoffs| Ranking::new(rows, cutoffs).expect_err("refused");
        assert_eq!(refused(vec![row("a", -1.0, 0.0)], vec![1]), RowsError::NegativeRelevance { row: 0 });
        assert_eq!(refused(vec![row("a", 1.0, f64::NAN)], vec![1]), RowsError::NotFinite { row: 0 });
        assert_eq!(refused(Vec::new(), vec![0]), RowsError::Cutoff);
    }
}
