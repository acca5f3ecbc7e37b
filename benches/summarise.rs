//! From decoded columns to counts, from counts to a verdict: time and rate of each step on one core.
//!
//! - `bins`: finding the bin of each of 4,096 values among 256, 1,024 and 4,096 bins. `partition_point` is
//!   the same search as the standard library does it. If both take about the same time, the compiler has
//!   turned the conditional moves of `Grid::bins_of` into branches.
//! - `count`: 4,096 values of one column, numeric (bins, sums, squares) and categorical.
//! - `batch`: 4,096 events of 519 bytes and 20 features, from JSON to a partial summary, as a worker does
//!   it; `decode` is the part of the decoder in it. `ingest` is what the owner then does with it, and
//!   `advance` what it does once a commit.
//! - `close`: scoring a window and judging it, 20 and 1,000 columns.

#[path = "events/mod.rs"]
mod events;

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{Float64Array, StringArray};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use driftline::app::plan_of;
use driftline::baseline::Baseline;
use driftline::config::{Purpose, parse_for};
use driftline::event::decode::decoder;
use driftline::event::{Names, Span, Timestamp};
use driftline::monitor::{Monitor, Partial, Plan, Restored, Summariser};
use driftline::summary::{
    CategoricalSummary, Categories, CategoryIndex, FixedPoint, Grid, ModelSummary, NumericScratch,
    NumericSummary,
};
use driftline::verdict::{Settings, WindowSample, decide};

const ROWS: usize = 4_096;

/// Values between 0 and 1, spread evenly and in no order (multiples of the golden ratio).
fn values() -> Vec<f64> {
    (0..ROWS).map(|row| (row as f64 * 0.618_033_988_749_895).fract()).collect()
}

fn grid(bins: usize) -> Grid {
    let edges = (0..bins - 1).map(|edge| edge as f64 / (bins - 1) as f64).collect();
    Grid::try_new(edges, FixedPoint { centre: 0.5, scale: 0.29 }).expect("a grid")
}

fn bins(criterion: &mut Criterion) {
    let values = values();
    let mut group = criterion.benchmark_group("bins");
    group.throughput(Throughput::Elements(ROWS as u64));
    for size in [256, 1_024, 4_096] {
        let (grid, mut found) = (grid(size), Vec::new());
        group.bench_function(BenchmarkId::new("bins_of", size), |bencher| {
            bencher.iter(|| grid.bins_of(black_box(&values), black_box(&mut found)));
        });
    }
    let (grid, mut found) = (grid(256), vec![0; ROWS]);
    group.bench_function("partition_point/256", |bencher| {
        bencher.iter(|| {
            for (value, found) in black_box(&values).iter().zip(black_box(&mut found)) {
                *found = grid.edges().partition_point(|edge| edge < value);
            }
        });
    });
    group.finish();
}

fn count(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("count");
    group.throughput(Throughput::Elements(ROWS as u64));
    let (grid, column) = (grid(256), Float64Array::from(values()));
    let mut scratch = NumericScratch::default();
    group.bench_function("numeric", |bencher| {
        let mut summary = NumericSummary::empty(&grid);
        bencher.iter(|| summary.observe(&grid, black_box(&column), 0..ROWS, &mut scratch));
    });
    let names = StringArray::from(vec!["DE", "FR", "US", "GB", "IT", "ES", "NL", "PL"]);
    let keys: Vec<i32> = (0..8).cycle().take(ROWS).collect();
    let categories = Categories {
        top: names.iter().flatten().map(str::to_owned).collect(),
        buckets: 0,
        rare: Vec::new(),
        open: false,
        rare_singletons: None,
    };
    let (index, mut scratch) = (CategoryIndex::new(&categories), Vec::new());
    group.bench_function("categorical", |bencher| {
        let mut summary = CategoricalSummary::empty(&categories);
        bencher.iter(|| {
            let names = Names::new(&names, black_box(&keys));
            summary.observe(&categories, &index, names, 0..ROWS, &mut scratch);
        });
    });
    group.finish();
}

/// The plan of the events' configuration and the baseline in it.
fn plan() -> (Arc<Plan>, Arc<Baseline>) {
    let directory = tempfile::tempdir().expect("a directory");
    let baseline = Arc::new(events::write_baseline(directory.path()));
    let text = events::configuration("events", "data", "", "", "");
    let config = parse_for("bench.toml", &text, &|_| None, Purpose::Build).expect("a configuration");
    let plan = plan_of(&config).expect("no file of reference windows");
    (Arc::new(plan.with_shared(0, Arc::clone(&baseline))), baseline)
}

fn partial(summariser: &mut Summariser, raw: driftline::event::RawBatch) -> Partial {
    let Ok(partial) = summariser.summarise(raw) else { panic!("the baseline is known") };
    assert!(partial.rejected.is_empty(), "{:?}", partial.rejected);
    partial
}

fn batch(criterion: &mut Criterion) {
    let (plan, _) = plan();
    let noon = Timestamp::default() + Span::from_secs(20_000 * 86_400 + 12 * 3_600);
    let raw = events::batch(ROWS, noon);
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(ROWS as u64));

    let stream = &plan.streams()[0];
    let format = decoder(&stream.stream.format).expect("a format of the table");
    let mut decoder = (format.build)(&stream.stream.mapping, &stream.schema, stream.stream.limits);
    group.bench_function("decode", |bencher| bencher.iter(|| decoder.decode(black_box(&raw))));

    let mut summariser = Summariser::new(Arc::clone(&plan));
    group.bench_function("summarise", |bencher| {
        bencher.iter_batched(|| raw.clone(), |raw| partial(&mut summariser, raw), BatchSize::LargeInput);
    });

    let (mut monitor, _) =
        Monitor::restore(Arc::clone(&plan), Restored::default(), &|_| None).expect("a monitor");
    let mut offset = 0;
    group.bench_function("ingest", |bencher| {
        let next = || {
            let mut raw = raw.clone();
            raw.offsets.iter_mut().for_each(|at| *at += offset);
            offset += ROWS as i64;
            partial(&mut summariser, raw)
        };
        bencher.iter_batched(next, |partial| monitor.ingest(partial, noon), BatchSize::PerIteration);
    });
    group.bench_function("advance", |bencher| {
        let mut raw = raw.clone();
        raw.offsets.iter_mut().for_each(|at| *at += offset);
        let made = partial(&mut summariser, raw);
        bencher.iter_batched(
            || {
                let (mut monitor, _) =
                    Monitor::restore(Arc::clone(&plan), Restored::default(), &|_| None).expect("a monitor");
                monitor.assign([(made.raw.origin.clone(), 0)]);
                monitor.ingest(partial(&mut summariser, made.raw.clone()), noon).expect("no overlap");
                monitor
            },
            |mut monitor| monitor.advance(noon).expect("joins"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// The baseline's columns over and over until there are `columns`, with a window of them.
fn widened(baseline: &Baseline, window: &ModelSummary, columns: usize) -> (Baseline, ModelSummary) {
    let (mut wide, mut window) = (baseline.clone(), window.clone());
    wide.columns = baseline.columns.iter().cycle().take(columns).cloned().collect();
    window.columns = window.columns.iter().cycle().take(columns).cloned().collect();
    (wide, window)
}

fn close(criterion: &mut Criterion) {
    let (plan, baseline) = plan();
    let noon = Timestamp::default() + Span::from_secs(20_000 * 86_400 + 12 * 3_600);
    let made = partial(&mut Summariser::new(plan), events::batch(ROWS, noon));
    let window = &made.groups.first().expect("one group").summary;
    let settings = Settings::default();
    let mut group = criterion.benchmark_group("close");
    group.sample_size(20);
    for columns in [20, 1_000] {
        let (baseline, window) = widened(&baseline, window, columns);
        group.bench_function(BenchmarkId::from_parameter(columns), |bencher| {
            let sample = WindowSample {
                model: "credit",
                version: None,
                segment: None,
                start: noon,
                end: noon + Span::from_secs(3_600),
                summary: &window,
            };
            bencher.iter(|| decide(black_box(&baseline), black_box(sample), &settings, 1e-4));
        });
    }
    group.finish();
}

criterion_group!(benches, bins, count, batch, close);
criterion_main!(benches);
