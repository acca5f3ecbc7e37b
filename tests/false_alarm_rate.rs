//! Without drift, every test that may alarm is wrong as often as its p-value says, and no more.
//!
//! Windows and baselines are drawn from one distribution with fixed seeds, so the figures are the same on
//! every run. The share of p-values at or below a level must lie in the binomial interval of that level, or
//! below its upper end where the test says that it is conservative.

use std::collections::BTreeMap;

use driftline::drift::{Pair, TESTS};
use driftline::event::ColumnKind;
use driftline::summary::{
    CategoricalSummary, Categories, CategoryIndex, ColumnSummary, FixedPoint, Grid, NumericScratch,
    NumericSummary, Shape,
};

const BASELINES: usize = 25;
const WINDOWS_EACH: usize = 40;
const BASELINE_ROWS: usize = 50_000;
const BINS: usize = 256;
const LEVELS: [f64; 2] = [0.05, 0.01];
/// Normal quantile of a two-sided interval of 99.9 %.
const INTERVAL: f64 = 3.29;

#[test]
fn continuous_columns_alarm_as_often_as_promised() {
    let sizes = numeric_sizes(&|random| random.normal());
    sizes.hold(&["ad", "g"], &["overflow", "missing", "wrong_type"]);
}

#[test]
fn zero_inflated_columns_alarm_no_more_often_than_promised() {
    let draw = |random: &mut Random| if random.uniform() < 0.3 { 0.0 } else { random.normal().exp() };
    let sizes = numeric_sizes(&draw);
    sizes.hold(&["ad", "g"], &["overflow", "missing", "wrong_type"]);
}

#[test]
fn categorical_columns_alarm_as_often_as_promised() {
    // Shares fall as 1/rank over thirty names, and one row in fifty is missing.
    let weights: Vec<f64> = (1..=30).map(|rank| 1.0 / f64::from(rank)).collect();
    let sizes = sizes_of(
        &|random| {
            let draw = |random: &mut Random| random.pick(&weights).to_string();
            let baseline: Vec<Option<String>> =
                (0..BASELINE_ROWS).map(|_| random.unless_missing(draw)).collect();
            Column::categorical(&baseline)
        },
        &|column, random, rows| {
            let names: Vec<Option<String>> = (0..rows)
                .map(|_| random.unless_missing(|random| random.pick(&weights).to_string()))
                .collect();
            column.count_names(&names)
        },
    );
    sizes.hold(&["g"], &["unseen", "missing", "wrong_type"]);
}

/// p-values without drift, by test and rows of the window.
struct Sizes(BTreeMap<(&'static str, usize), Vec<f64>>);

impl Sizes {
    /// Checks that the named tests are right, and those that say so conservative.
    fn hold(&self, right: &[&str], conservative: &[&str]) {
        let alarming: Vec<&str> = self.0.keys().map(|(test, _)| *test).collect();
        for test in right.iter().chain(conservative) {
            assert!(alarming.contains(test), "{test} was not run");
        }
        for ((test, rows), p_values) in &self.0 {
            assert!(right.contains(test) || conservative.contains(test), "{test} has no expectation");
            let runs = p_values.len() as f64;
            assert_eq!(p_values.len(), BASELINES * WINDOWS_EACH, "{test} could not always be made");
            for level in LEVELS {
                let share = p_values.iter().filter(|p| **p <= level).count() as f64 / runs;
                let half = INTERVAL * (level * (1.0 - level) / runs).sqrt() + 1.0 / runs;
                let lowest = if right.contains(test) { level - half } else { 0.0 };
                println!("{test:>12} n={rows:<5} level {level}: {share:.4}");
                assert!(
                    (lowest..=level + half).contains(&share),
                    "{test} with {rows} rows: {share} of p-values at or below {level}"
                );
            }
        }
    }
}

fn numeric_sizes(draw: &dyn Fn(&mut Random) -> f64) -> Sizes {
    sizes_of(
        &|random| {
            let values: Vec<Option<f64>> = (0..BASELINE_ROWS).map(|_| random.unless_missing(draw)).collect();
            Column::numeric(&values)
        },
        &|column, random, rows| {
            let values: Vec<Option<f64>> = (0..rows).map(|_| random.unless_missing(draw)).collect();
            column.count_values(&values)
        },
    )
}

fn sizes_of(
    baseline: &dyn Fn(&mut Random) -> Column,
    window: &dyn Fn(&Column, &mut Random, usize) -> ColumnSummary,
) -> Sizes {
    let mut random = Random(20_240_517);
    let mut p_values: BTreeMap<(&'static str, usize), Vec<f64>> = BTreeMap::new();
    for _ in 0..BASELINES {
        let column = baseline(&mut random);
        for rows in [500, 5000] {
            for _ in 0..WINDOWS_EACH {
                let current = window(&column, &mut random, rows);
                let pair = Pair::new(&column.shape, &column.reference, &current);
                for test in TESTS.iter().filter(|test| test.alarms && test.kinds.contains(&column.kind)) {
                    let score = (test.score)(&pair).expect("there are values");
                    p_values.entry((test.name, rows)).or_default().extend(score.p_value);
                }
            }
        }
    }
    Sizes(p_values)
}

/// A column with the counts of its baseline.
struct Column {
    kind: ColumnKind,
    shape: Shape,
    reference: ColumnSummary,
}

impl Column {
    /// Equal-mass bins, dyadic tails, and point bins for values with the mass of a bin or more.
    fn numeric(values: &[Option<f64>]) -> Self {
        let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let m = sorted.len();
        let mut ranks: Vec<usize> = (1..BINS).map(|bin| bin * m / BINS).collect();
        let mut tail = m / BINS / 2;
        while tail >= 8 {
            ranks.extend([tail, m - tail]);
            tail /= 2;
        }
        let mut edges: Vec<f64> = ranks.iter().map(|rank| sorted[rank - 1]).collect();
        edges.extend([sorted[0].next_down(), sorted[m - 1]]);
        let atoms = sorted.chunk_by(|left, right| left == right).filter(|run| run.len() * BINS >= m);
        edges.extend(atoms.flat_map(|run| [run[0].next_down(), run[0]]));
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let grid = Grid::try_new(edges, FixedPoint { centre: 0.0, scale: 1.0 }).expect("edges ascend");
        let mut column = Self {
            kind: ColumnKind::Numeric,
            reference: ColumnSummary::Numeric(NumericSummary::empty(&grid)),
            shape: Shape::Numeric(grid),
        };
        column.reference = column.count_values(values);
        column
    }

    fn categorical(names: &[Option<String>]) -> Self {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        names.iter().flatten().for_each(|name| *counts.entry(name).or_default() += 1);
        let mut top: Vec<String> = counts.keys().map(|name| (*name).to_owned()).collect();
        top.sort_by_key(|name| std::cmp::Reverse(counts[name.as_str()]));
        let categories = Categories { top, buckets: 0, rare: vec![], open: false, rare_singletons: None };
        let mut column = Self {
            kind: ColumnKind::Categorical,
            reference: ColumnSummary::Categorical(CategoricalSummary::empty(&categories)),
            shape: Shape::Categorical(categories),
        };
        column.reference = column.count_names(names);
        column
    }

    fn count_values(&self, values: &[Option<f64>]) -> ColumnSummary {
        let Shape::Numeric(grid) = &self.shape else { unreachable!("the column is numeric") };
        let mut summary = NumericSummary::empty(grid);
        summary.observe_values(grid, values.iter().copied(), &mut NumericScratch::default());
        ColumnSummary::Numeric(summary)
    }

    fn count_names(&self, names: &[Option<String>]) -> ColumnSummary {
        let Shape::Categorical(categories) = &self.shape else { unreachable!("the column is categorical") };
        let index = CategoryIndex::new(categories);
        let mut summary = CategoricalSummary::empty(categories);
        for name in names {
            match name {
                Some(name) => summary.add(categories, &index, name, 1),
                None => summary.anomalies.missing += 1,
            }
        }
        ColumnSummary::Categorical(summary)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }

    /// An index, each as likely as its weight.
    fn pick(&mut self, weights: &[f64]) -> usize {
        let mut left = self.uniform() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    /// One row in fifty is missing.
    fn unless_missing<T>(&mut self, draw: impl Fn(&mut Self) -> T) -> Option<T> {
        if self.uniform() < 0.02 { None } else { Some(draw(self)) }
    }
}
