//! The rows of queries: the metrics of an order are means over queries, and a query's rows come one by one.
//!
//! Bounded by keeping the queries with the smallest hashes: which those are does not depend on the order in
//! which rows come, so kept queries merge exactly, and they are a random sample of all.

use std::collections::BTreeMap;

/// Queries that are kept of one pane; of more, those with the smallest hashes.
pub const QUERIES_MAX: usize = 2_000;

/// Rows that are kept of a query; the first in the order of score and relevance, highest first.
pub const ROWS_PER_QUERY_MAX: usize = 1_000;

/// A row of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankedRow {
    /// The score it was ordered by, finite.
    pub score: f64,
    /// How relevant it turned out to be, finite and not negative.
    pub relevance: f64,
}

/// Rows by query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Queries {
    rows: BTreeMap<u64, Vec<RankedRow>>,
    /// Whether queries were left out.
    sampled: bool,
}

impl Queries {
    /// The rows of each query, by the query's hash; in a query the highest score first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[RankedRow])> {
        self.rows.iter().map(|(query, rows)| (*query, rows.as_slice()))
    }

    /// Number of queries kept.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether only a sample of the queries is kept.
    pub fn is_sample(&self) -> bool {
        self.sampled
    }

    pub(super) fn set_sample(&mut self, sampled: bool) {
        self.sampled = sampled;
    }

    pub(super) fn add(&mut self, query: u64, row: RankedRow) {
        let rows = self.rows.entry(query).or_default();
        let at = rows.partition_point(|other| is_before(other, &row));
        rows.insert(at, row);
        rows.truncate(ROWS_PER_QUERY_MAX);
        self.trim();
    }

    pub(super) fn take_away(&mut self, query: u64, row: RankedRow) {
        let Some(rows) = self.rows.get_mut(&query) else { return };
        if let Some(at) = rows.iter().position(|other| *other == row) {
            rows.remove(at);
        }
        if rows.is_empty() {
            self.rows.remove(&query);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.sampled |= other.sampled;
        for (query, rows) in &other.rows {
            let mine = self.rows.entry(*query).or_default();
            mine.extend_from_slice(rows);
            mine.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.relevance.total_cmp(&a.relevance)));
            mine.truncate(ROWS_PER_QUERY_MAX);
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.rows.len() > QUERIES_MAX {
            self.rows.pop_last();
            self.sampled = true;
        }
    }
}

fn is_before(a: &RankedRow, b: &RankedRow) -> bool {
    b.score.total_cmp(&a.score).then(b.relevance.total_cmp(&a.relevance)).is_lt()
}
