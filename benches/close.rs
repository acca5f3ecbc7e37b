//! Closing a window: every test of `TESTS` on 20 and on 1,000 numeric columns of 266 bins, a tenth of them
//! with a third of the values in one atom.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use driftline::drift::{Pair, TESTS};
use driftline::event::ColumnKind;
use driftline::summary::{ColumnSummary, FixedPoint, Grid, NumericScratch, NumericSummary, Shape};

const BINS: u32 = 266;
const REFERENCE_ROWS: usize = 50_000;
const CURRENT_ROWS: usize = 5_000;

struct Column {
    shape: Shape,
    reference: ColumnSummary,
    current: ColumnSummary,
}

impl Column {
    fn new(number: usize) -> Self {
        let atom = number.is_multiple_of(10).then_some(0.5);
        let mut edges: Vec<f64> = (0..=BINS - 2).map(|bin| f64::from(bin) / f64::from(BINS - 2)).collect();
        edges.extend(atom.map(f64::next_down));
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let grid = Grid::try_new(edges, FixedPoint { centre: 0.5, scale: 0.3 }).expect("edges ascend");
        let mut state = number as u64;
        let mut count = |rows: usize| {
            let mut summary = NumericSummary::empty(&grid);
            let values = (0..rows).map(|row| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let uniform = (state >> 11) as f64 / (1u64 << 53) as f64;
                atom.filter(|_| row % 3 == 0).or(Some(uniform))
            });
            summary.observe_values(&grid, values, &mut NumericScratch::default());
            ColumnSummary::Numeric(summary)
        };
        let (reference, current) = (count(REFERENCE_ROWS), count(CURRENT_ROWS));
        Self { shape: Shape::Numeric(grid), reference, current }
    }

    fn score_all(&self) -> usize {
        let pair = Pair { shape: &self.shape, reference: &self.reference, current: &self.current };
        let made_for = |kinds: &[ColumnKind]| kinds.contains(&ColumnKind::Numeric);
        TESTS
            .iter()
            .filter(|test| made_for(test.kinds))
            .filter(|test| (test.score)(black_box(&pair)).is_ok())
            .count()
    }
}

fn close(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("close");
    for columns in [20usize, 1000] {
        let window: Vec<Column> = (0..columns).map(Column::new).collect();
        group.throughput(Throughput::Elements(columns as u64));
        group.bench_with_input(BenchmarkId::from_parameter(columns), &window, |bencher, window| {
            bencher.iter(|| window.iter().map(Column::score_all).sum::<usize>());
        });
    }
    group.finish();
}

fn each_test(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("test");
    for (name, column) in [("continuous", Column::new(1)), ("atom", Column::new(10))] {
        let pair = Pair { shape: &column.shape, reference: &column.reference, current: &column.current };
        for test in TESTS.iter().filter(|test| test.kinds.contains(&ColumnKind::Numeric)) {
            group.bench_function(BenchmarkId::new(test.name, name), |bencher| {
                bencher.iter(|| (test.score)(black_box(&pair)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, close, each_test);
criterion_main!(benches);
