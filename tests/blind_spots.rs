//! Holds what is said of blind spots against simulated windows: at the change given, the tests alarm in four
//! windows of five.

use std::fmt::Write as _;
use std::sync::LazyLock;

use driftline::baseline::{self, Baseline, BuildOptions, Column, Roles};
use driftline::drift::{EffectUnit, Pair, TESTS};
use driftline::event::{ColumnKind, ColumnSpec, Role};
use driftline::summary::{
    Anomalies, CategoricalSummary, Categories, ColumnSummary, Counts, FixedPoint, Grid, NumericSummary, Shape,
};
use driftline::verdict::blind_spots::{BlindSpot, Needed, Traffic, blind_spot, blind_spots};
use driftline::verdict::{Floors, Settings};
use proptest::prelude::*;

/// Numbers in (0, 1), the same on every machine (SplitMix64).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (2.0 * std::f64::consts::PI * self.uniform()).cos()
    }
}

/// A made-up column: what its values are, and how a value moves when the mean shifts by some amount.
struct World {
    name: &'static str,
    value: fn(&mut Random) -> f64,
    moved: fn(f64, f64, &mut Random) -> f64,
}

const ZEROS: f64 = 0.6;

const WORLDS: [World; 4] = [
    World { name: "normal", value: |random| 50.0 + 10.0 * random.normal(), moved: |value, by, _| value + by },
    World { name: "lognormal", value: |random| random.normal().exp(), moved: |value, by, _| value + by },
    World {
        name: "zero_inflated",
        value: |random| if random.uniform() < ZEROS { 0.0 } else { (1.0 + random.normal()).exp() },
        // The zeros stay, so that the others move by more than the mean.
        moved: |value, by, _| if value == 0.0 { value } else { value + by / (1.0 - ZEROS) },
    },
    World {
        name: "dice",
        value: |random| (6.0 * random.uniform()).ceil(),
        // Of faces that can move, a share does, by one.
        moved: |value, by, random| {
            let end = if by > 0.0 { 6.0 } else { 1.0 };
            let moves = value != end && random.uniform() < by.abs() * 6.0 / 5.0;
            if moves { value + by.signum() } else { value }
        },
    },
];

/// Rows of the training file.
const TRAINING: usize = 60_000;

/// Built once for all tests.
static BASELINE: LazyLock<Baseline> = LazyLock::new(training);

fn training() -> Baseline {
    let mut text = WORLDS.map(|world| world.name).join(",");
    text.push_str(",plan\n");
    let mut random = Random(1);
    for row in 0..TRAINING {
        for world in &WORLDS {
            let missing = row % 50 == 0;
            let value = (world.value)(&mut random);
            if missing { text.push(',') } else { write!(text, "{value},").expect("a string takes all") }
        }
        let plan = ["basic", "basic", "basic", "pro", "team"][row % 5];
        text.push_str(plan);
        text.push('\n');
    }
    let directory = tempfile::tempdir().expect("a scratch directory");
    let path = directory.path().join("training.csv");
    std::fs::write(&path, text).expect("a scratch file");
    baseline::build(&path, &Roles::default(), &BuildOptions::default()).expect("a baseline")
}

fn column<'a>(baseline: &'a Baseline, name: &str) -> &'a Column {
    baseline.columns.iter().find(|column| &*column.spec.name == name).expect("a watched column")
}

fn needed(log_p: f64) -> Needed {
    let Settings { floors, rows_min, .. } = Settings::default();
    Needed { log_p, floors, rows_min }
}

fn spot(column: &Column, rows: u32, needed: Needed) -> BlindSpot {
    blind_spot(column, Traffic { rows: f64::from(rows) }, needed)
}

/// Whether the rule would alarm: a test's p-value is small enough and its effect large enough.
fn alarms(column: &Column, current: &ColumnSummary, needed: &Needed) -> bool {
    let Floors { cumulative_share, share, rate, .. } = needed.floors;
    let pair = Pair::new(&column.shape, &column.summary, current);
    let alarming = TESTS.iter().filter(|test| test.alarms && test.kinds.contains(&column.spec.kind));
    alarming.filter_map(|test| (test.score)(&pair).ok()).any(|score| {
        let floor = match score.effect_unit {
            EffectUnit::CumulativeShare => cumulative_share,
            EffectUnit::Share => share,
            EffectUnit::Rate => rate,
            EffectUnit::StandardDeviations | EffectUnit::Statistic => f64::INFINITY,
        };
        score.effect >= floor && score.p_value.is_some_and(|p| p.ln() <= needed.log_p)
    })
}

/// The share of windows that alarm when the column's mean has shifted.
fn power(column: &Column, world: &World, shift: f64, rows: u32, needed: &Needed, windows: u32) -> f64 {
    let Shape::Numeric(grid) = &column.shape else { panic!("a numeric column") };
    let mut random = Random(0x5eed ^ u64::from(rows));
    // Windows draw from many values whose bins are looked up once.
    let mut bins = Vec::new();
    let values: Vec<f64> = (0..1 << 18)
        .map(|_| {
            let value = (world.value)(&mut random);
            (world.moved)(value, shift, &mut random)
        })
        .collect();
    grid.bins_of(&values, &mut bins);
    let alarmed = (0..windows)
        .filter(|_| {
            let mut counts = vec![0u64; grid.bins()];
            for _ in 0..rows {
                counts[bins[(random.bits() >> 46) as usize] as usize] += 1;
            }
            let missing = u64::from(rows) / 50;
            let anomalies = Anomalies { missing, ..Anomalies::default() };
            let counts = Counts::from_wide(counts);
            let current = NumericSummary { counts, anomalies, ..NumericSummary::empty(grid) };
            alarms(column, &ColumnSummary::Numeric(current), needed)
        })
        .count();
    alarmed as f64 / f64::from(windows)
}

/// An alarm at one in a thousand windows, shared by four columns of five tests.
fn usual() -> Needed {
    needed((1e-3_f64 / 20.0).ln())
}

#[test]
fn at_the_shift_given_four_windows_of_five_alarm() {
    let baseline = &*BASELINE;
    for world in &WORLDS {
        let column = column(baseline, world.name);
        for (rows, windows) in [(500, 400), (20_000, 150)] {
            // A row in fifty has no value.
            let spot = spot(column, rows + rows / 49, usual());
            let shift = spot.mean_shift.unwrap_or_else(|| panic!("{}: {spot:?}", world.name));
            let [up, down] =
                [shift, -shift].map(|shift| power(column, world, shift, rows, &usual(), windows));
            let harder = up.min(down);
            assert!((0.72..=0.88).contains(&harder), "{} {rows}: {shift} {up} {down}", world.name);
            assert_eq!(spot.reason, None);
        }
    }
}

#[test]
fn at_the_shift_given_four_windows_of_five_alarm_on_a_strict_budget_without_floors() {
    let floors = Floors { cumulative_share: 0.0, share: 0.0, rate: 0.0, standard_deviations: 0.0 };
    let strict = Needed { floors, ..needed(-18.0) };
    let rows = 2_000;
    for world in &WORLDS {
        let column = column(&BASELINE, world.name);
        let spot = spot(column, rows + rows / 49, strict);
        let shift = spot.mean_shift.unwrap_or_else(|| panic!("{}: {spot:?}", world.name));
        let [up, down] = [shift, -shift].map(|shift| power(column, world, shift, rows, &strict, 200));
        assert!((0.72..=0.88).contains(&up.min(down)), "{}: {shift} {up} {down}", world.name);
    }
}

#[test]
fn at_the_missing_rate_given_four_windows_of_five_alarm() {
    let baseline = &*BASELINE;
    let column = column(baseline, "normal");
    for (rows, windows) in [(500u32, 500u32), (20_000, 150)] {
        let change = spot(column, rows, usual()).missing_rate.expect("a rate");
        assert!((change.training - 0.02).abs() < 1e-9);
        let mut random = Random(3);
        let alarmed = (0..windows)
            .filter(|_| {
                let missing = (0..rows).filter(|_| random.uniform() < change.seen_at).count() as u64;
                // Of the values only the number is looked at.
                let ColumnSummary::Numeric(training) = &column.summary else { panic!("a numeric column") };
                let mut counts = Counts::zeros(training.counts.len());
                counts.add(10, u64::from(rows) - missing);
                let anomalies = Anomalies { missing, ..Anomalies::default() };
                let current =
                    ColumnSummary::Numeric(NumericSummary { counts, anomalies, ..training.clone() });
                let pair = Pair::new(&column.shape, &column.summary, &current);
                let test = driftline::drift::test("missing").expect("it is in the table");
                let score = (test.score)(&pair).expect("there are rows");
                score.p_value.is_some_and(|p| p.ln() <= usual().log_p) && score.effect >= 0.005
            })
            .count();
        let share = alarmed as f64 / f64::from(windows);
        assert!((0.72..=0.88).contains(&share), "{rows}: {change:?} {share}");
    }
}

#[test]
fn at_the_share_given_four_windows_of_five_alarm() {
    let baseline = &*BASELINE;
    let column = column(baseline, "plan");
    let ColumnSummary::Categorical(training) = &column.summary else { panic!("a categorical column") };
    for (rows, windows) in [(500u32, 500u32), (20_000, 150)] {
        let moved = spot(column, rows, usual()).share_shift.expect("a share");
        let mut random = Random(4);
        let alarmed = (0..windows)
            .filter(|_| {
                let mut counts = Counts::zeros(training.counts.len());
                for _ in 0..rows {
                    // Three in five are `basic`; what leaves goes to the other two alike.
                    let at = random.uniform();
                    counts.add(
                        if at < 0.6 - moved {
                            0
                        } else if at < 0.8 - moved / 2.0 {
                            1
                        } else {
                            2
                        },
                        1,
                    );
                }
                let current = CategoricalSummary { counts, ..training.clone() };
                alarms(column, &ColumnSummary::Categorical(current), &usual())
            })
            .count();
        let share = alarmed as f64 / f64::from(windows);
        assert!((0.72..=0.88).contains(&share), "{rows}: {moved} {share}");
    }
}

#[test]
fn more_rows_show_smaller_changes_and_a_stricter_budget_larger_ones() {
    let baseline = &*BASELINE;
    for column in &baseline.columns {
        let size = |spot: BlindSpot| spot.mean_shift.or(spot.share_shift).unwrap_or(f64::INFINITY);
        let by_rows = [200, 1_000, 5_000, 100_000].map(|rows| size(spot(column, rows, usual())));
        assert!(by_rows.is_sorted_by(|a, b| a >= b), "{}: {by_rows:?}", column.spec.name);
        let by_level = [-3.0, -10.0, -40.0].map(|log_p| size(spot(column, 1_000, needed(log_p))));
        assert!(by_level.is_sorted(), "{}: {by_level:?}", column.spec.name);
    }
}

#[test]
fn what_cannot_be_seen_has_a_reason() {
    let baseline = &*BASELINE;
    let column = column(baseline, "normal");
    let reason = |spot: BlindSpot| {
        assert_eq!((spot.mean_shift, spot.missing_rate), (None, None), "{spot:?}");
        spot.reason.expect("a reason")
    };
    assert!(reason(spot(column, 49, usual())).contains("it needs 50"));
    assert!(reason(spot(column, 1_000, needed(f64::NEG_INFINITY))).contains("no p-value"));
    assert!(reason(blind_spot(column, Traffic { rows: f64::NAN }, usual())).contains("0 rows"));
    let tiny = Needed { rows_min: 1, ..needed(-100.0) };
    assert!(reason(spot(column, 3, tiny)).contains("would not be seen"));
}

#[test]
fn the_blindest_column_comes_first_and_every_column_comes() {
    let baseline = &*BASELINE;
    let spots = blind_spots(baseline, Traffic { rows: 1_000.0 }, &Settings::default(), 1e-3, None);
    assert_eq!(spots.len(), baseline.columns.len());
    let shifts: Vec<f64> = spots.iter().filter_map(|spot| spot.mean_shift_sd).collect();
    assert!(shifts.is_sorted_by(|a, b| a >= b), "{shifts:?}");
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(0), 4 => 0u64..50, 2 => 0u64..1_000_000, 1 => 0u64..1_000_000_000_000]
}

fn numeric_column() -> impl Strategy<Value = Column> {
    let edge = prop_oneof![
        4 => (-50i32..50).prop_map(f64::from),
        2 => -1e3..1e3f64,
        1 => prop_oneof![Just(f64::MAX), Just(-f64::MAX), Just(1e-300), Just(1e300)],
    ];
    let edges = prop::collection::vec((edge, any::<bool>()), 0..40);
    let edges = edges.prop_map(|edges| {
        let with_points = |(edge, is_point): (f64, bool)| [Some(edge), is_point.then_some(edge.next_down())];
        let mut edges: Vec<f64> = edges.into_iter().flat_map(with_points).flatten().collect();
        edges.retain(|edge| edge.is_finite());
        edges.sort_by(f64::total_cmp);
        edges.dedup_by(|right, left| left >= right);
        edges
    });
    edges.prop_flat_map(|edges| {
        let grid = Grid::try_new(edges, FixedPoint { centre: 0.0, scale: 1.0 }).expect("edges ascend");
        let counts = prop::collection::vec(count(), grid.bins());
        (counts, count(), count()).prop_map(move |(counts, missing, positive_infinity)| {
            let anomalies = Anomalies { missing, positive_infinity, ..Anomalies::default() };
            let (counts, empty) = (Counts::from_wide(counts), NumericSummary::empty(&grid));
            let summary = ColumnSummary::Numeric(NumericSummary { counts, anomalies, ..empty });
            let spec = ColumnSpec { name: "x".into(), role: Role::Feature, kind: ColumnKind::Numeric };
            Column { spec, shape: Shape::Numeric(grid.clone()), summary, extremes: None }
        })
    })
}

fn categorical_column() -> impl Strategy<Value = Column> {
    (0usize..8, 0usize..3, any::<bool>()).prop_flat_map(|(names, buckets, open)| {
        let top = (0..names).map(|name| name.to_string()).collect();
        let categories = Categories { top, buckets, rare: vec![1; buckets], open, rare_singletons: None };
        prop::collection::vec(count(), categories.len()).prop_map(move |counts| {
            let empty = CategoricalSummary::empty(&categories);
            let summary = CategoricalSummary { counts: Counts::from_wide(counts), ..empty };
            let spec = ColumnSpec { name: "x".into(), role: Role::Feature, kind: ColumnKind::Categorical };
            let shape = Shape::Categorical(categories.clone());
            Column { spec, shape, summary: ColumnSummary::Categorical(summary), extremes: None }
        })
    })
}

proptest! {
    #[test]
    fn whatever_the_counts_a_change_is_a_positive_number_or_has_a_reason(
        column in prop_oneof![numeric_column(), categorical_column()],
        rows in prop_oneof![0.0..200.0f64, 1e3..1e6f64, Just(1e12), Just(f64::INFINITY)],
        log_p in prop_oneof![-30.0..0.5f64, -1000.0..0.0f64, Just(f64::NAN)],
    ) {
        let spot = blind_spot(&column, Traffic { rows }, Needed { rows_min: 1, ..needed(log_p) });
        for change in [spot.mean_shift, spot.mean_shift_sd, spot.share_shift].into_iter().flatten() {
            prop_assert!(change.is_finite() && change > 0.0, "{spot:?}");
        }
        if let Some(rate) = spot.missing_rate {
            prop_assert!(rate.training < rate.seen_at && rate.seen_at <= 1.0, "{spot:?}");
        }
        let is_told = spot.mean_shift.or(spot.share_shift).is_some();
        prop_assert!(is_told != spot.reason.is_some(), "{spot:?}");
    }
}
