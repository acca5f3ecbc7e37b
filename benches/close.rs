//! Closing a window: every test and the words for people on 20, 1,000 and 10,000 columns, of which six in ten
//! are continuous numbers, two have a third of their values in one atom, and two are categories; then the same
//! with only the tests that may alarm, as a calibration runs them; then each test alone.
//!
//! Before criterion's wall times it prints the processor time of each, which other work on the machine
//! disturbs less.

use std::fs;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use driftline::drift::{Pair, TESTS, describe};
use driftline::event::ColumnKind;
use driftline::summary::{
    CategoricalSummary, Categories, ColumnSummary, FixedPoint, Grid, NumericScratch, NumericSummary, Shape,
};

const BINS: u32 = 266;
const NAMES: usize = 40;
const REFERENCE_ROWS: usize = 50_000;
const CURRENT_ROWS: usize = 5_000;
/// Runs of which the median processor time is told.
const PROCESSOR_RUNS: usize = 9;
/// Columns that differ; further ones are copies of these.
const DISTINCT: usize = 100;

#[derive(Clone)]
struct Column {
    kind: ColumnKind,
    shape: Shape,
    reference: ColumnSummary,
    current: ColumnSummary,
}

/// Numbers that look like chance, evenly in 0..1.
struct Even(u64);

impl Even {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Column {
    fn new(number: usize) -> Self {
        match number % 10 {
            0 | 5 => Self::of_numbers(number, Some(0.5)),
            1 | 6 => Self::of_names(number),
            _ => Self::of_numbers(number, None),
        }
    }

    fn of_numbers(number: usize, atom: Option<f64>) -> Self {
        let mut edges: Vec<f64> = (0..=BINS - 2).map(|bin| f64::from(bin) / f64::from(BINS - 2)).collect();
        edges.extend(atom.map(f64::next_down));
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let grid = Grid::try_new(edges, FixedPoint { centre: 0.5, scale: 0.3 }).expect("edges ascend");
        let mut even = Even(number as u64);
        let mut count = |rows: usize| {
            let mut summary = NumericSummary::empty(&grid);
            let values = (0..rows).map(|row| {
                let value = even.next();
                atom.filter(|_| row % 3 == 0).or(Some(value))
            });
            summary.observe_values(&grid, values, &mut NumericScratch::default());
            ColumnSummary::Numeric(summary)
        };
        let (reference, current) = (count(REFERENCE_ROWS), count(CURRENT_ROWS));
        Self { kind: ColumnKind::Numeric, shape: Shape::Numeric(grid), reference, current }
    }

    /// Low names are commoner.
    fn of_names(number: usize) -> Self {
        let top = (0..NAMES).map(|name| format!("name {name}")).collect();
        let categories = Categories { top, buckets: 0, rare: vec![], open: false, rare_singletons: Some(3) };
        let mut even = Even(number as u64);
        let mut count = |rows: usize| {
            let mut summary = CategoricalSummary::empty(&categories);
            for _ in 0..rows {
                let value = even.next();
                summary.counts.add((value * value * NAMES as f64) as usize, 1);
            }
            ColumnSummary::Categorical(summary)
        };
        let (reference, current) = (count(REFERENCE_ROWS), count(CURRENT_ROWS));
        Self { kind: ColumnKind::Categorical, shape: Shape::Categorical(categories), reference, current }
    }

    fn pair(&self) -> Pair<'_> {
        Pair::new(black_box(&self.shape), &self.reference, black_box(&self.current))
    }

    fn score_all(&self) -> usize {
        let pair = self.pair();
        let tests = TESTS.iter().filter(|test| test.kinds.contains(&self.kind));
        let scored = tests.filter(|test| black_box((test.score)(&pair)).is_ok()).count();
        scored + usize::from(black_box(describe(&pair)).is_some())
    }

    fn score_alarming(&self) -> usize {
        let pair = self.pair();
        let tests = TESTS.iter().filter(|test| test.alarms && test.kinds.contains(&self.kind));
        tests.filter(|test| black_box((test.score)(&pair)).is_ok()).count()
    }
}

fn close(criterion: &mut Criterion) {
    let distinct: Vec<Column> = (0..DISTINCT).map(Column::new).collect();
    for (name, score) in
        [("close", Column::score_all as fn(&Column) -> usize), ("alarming", Column::score_alarming)]
    {
        let mut group = criterion.benchmark_group(name);
        for columns in [20usize, 1_000, 10_000] {
            let window: Vec<Column> = distinct.iter().cycle().take(columns).cloned().collect();
            group.throughput(Throughput::Elements(columns as u64));
            group.sample_size(if columns > 1_000 { 10 } else { 50 });
            group.bench_with_input(BenchmarkId::from_parameter(columns), &window, |bencher, window| {
                bencher.iter(|| window.iter().map(score).sum::<usize>());
            });
        }
        group.finish();
    }
}

/// Seconds that this thread has spent on a processor; `None` where the system does not tell.
fn processor_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(stat.split(' ').next()?.parse::<f64>().ok()? * 1e-9)
}

/// Prints the median over runs of the processor time of closing a window. A run is repeated until it has taken
/// long enough for the clock, which moves in steps of milliseconds.
fn processor_time(_: &mut Criterion) {
    let distinct: Vec<Column> = (0..DISTINCT).map(Column::new).collect();
    for (name, score) in
        [("close", Column::score_all as fn(&Column) -> usize), ("alarming", Column::score_alarming)]
    {
        for columns in [20usize, 1_000, 10_000] {
            let window: Vec<Column> = distinct.iter().cycle().take(columns).cloned().collect();
            let repeats = 40_000 / columns;
            let run = || {
                let before = processor_seconds()?;
                for _ in 0..repeats {
                    black_box(window.iter().map(score).sum::<usize>());
                }
                Some((processor_seconds()? - before) / repeats as f64)
            };
            run();
            let mut times: Vec<f64> = (0..PROCESSOR_RUNS).filter_map(|_| run()).collect();
            times.sort_by(f64::total_cmp);
            match times.get(times.len() / 2) {
                Some(median) => println!("{name}/{columns}: processor time {:.3} ms", median * 1e3),
                None => println!("{name}/{columns}: this system does not tell the processor time"),
            }
        }
    }
}

/// One column of each sort, wholly, and by its tests. A test alone also prepares what tests share.
fn each_test(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("test");
    for (name, column) in
        [("continuous", Column::new(2)), ("atom", Column::new(10)), ("category", Column::new(11))]
    {
        group.bench_function(BenchmarkId::new("all", name), |bencher| bencher.iter(|| column.score_all()));
        group.bench_function(BenchmarkId::new("alarming", name), |bencher| {
            bencher.iter(|| column.score_alarming());
        });
        group.bench_function(BenchmarkId::new("describe", name), |bencher| {
            bencher.iter(|| describe(&column.pair()));
        });
        for test in TESTS.iter().filter(|test| test.kinds.contains(&column.kind)) {
            group.bench_function(BenchmarkId::new(test.name, name), |bencher| {
                bencher.iter(|| (test.score)(&column.pair()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, processor_time, close, each_test);
criterion_main!(benches);
