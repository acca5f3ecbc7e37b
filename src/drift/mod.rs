//! Drift tests: statistics of two summaries, each a pure function.
//!
//! Place in the flow: when a window closes, every test of [`TESTS`] scores every column of it against
//! the baseline. What a score means is decided in [`verdict`](crate::verdict): no threshold stands here.
//!
//! Invariant: a test gives a [`Score`] of finite numbers or says why it cannot ([`NotTestable`]); never
//! NaN, never a panic, whatever the counts.
//!
//! To add a test: one file that implements a `score` function, one line in [`TESTS`], and its values in
//! `tests/golden/`.

mod bins;
mod cells;
mod chi2;
mod describe;
mod energy;
mod g;
mod hellinger;
mod js;
mod kl;
mod ks;
mod kuiper;
pub mod law;
mod linf;
mod missing;
mod moments;
mod numeric;
mod overflow;
mod psi;
mod quadratic;
mod rate;
mod tv;
mod unseen;
mod wasserstein;
mod wrong_type;

pub use cells::{EXPECTED_MIN, GROUPS, pooled_cells};
pub use chi2::{chi2, homogeneity_degrees};
pub use describe::describe;
pub use g::g;
pub use hellinger::hellinger;
pub use js::js;
pub use kl::kl;
pub use ks::ks;
pub use kuiper::kuiper;
pub use linf::linf;
pub use psi::psi;
pub use quadratic::ad_critical;
pub use tv::tv;

use std::cell::OnceCell;

use serde::{Deserialize, Serialize};

use self::bins::Bins;
use self::cells::Cells;
use self::law::Tail;
use crate::event::ColumnKind;
use crate::summary::{ColumnSummary, Shape};

/// A column's two summaries on one shape. What several tests need of them is worked out once, by the first.
#[derive(Debug, Clone)]
pub struct Pair<'a> {
    shape: &'a Shape,
    reference: &'a ColumnSummary,
    current: &'a ColumnSummary,
    /// Values of the reference and of the current sample.
    values: (u64, u64),
    bins: OnceCell<Bins>,
    cells: OnceCell<Result<Cells, NotTestable>>,
}

/// What a test gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The statistic, in the convention that the test's documentation states.
    pub statistic: f64,
    /// How far the statistic of the raw values may be from this one, if the test knows.
    pub bound: Option<f64>,
    /// Probability of a statistic at least as large if both samples came from one distribution.
    pub p_value: Option<f64>,
    /// Natural logarithm of the p-value; there when the p-value is. It goes on falling where `p_value` has come
    /// to the smallest normal double (about −708): relative error about 1e-9 above 1e-290, at most 1e-3 below
    /// (a hundredth for the exact law of `ks` below 1e-590), and falling with a growing statistic throughout.
    #[serde(default)]
    pub log_p_value: Option<f64>,
    /// How large the difference is, in `effect_unit`; comparable between sample sizes.
    pub effect: f64,
    /// What `effect` counts.
    pub effect_unit: EffectUnit,
    /// Training values compared.
    pub reference_n: u64,
    /// Window values compared.
    pub current_n: u64,
    /// What was noticed, for people: pooled cells, the bin that carries the difference.
    pub detail: Option<String>,
}

/// What an effect is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectUnit {
    /// Largest difference of two cumulative shares, 0..=1.
    CumulativeShare,
    /// Share of the values that would have to move, 0..=1.
    Share,
    /// Difference of two rates, 0..=1.
    Rate,
    /// Standard deviations of the baseline.
    StandardDeviations,
    /// The statistic itself; comparable only with itself.
    Statistic,
}

/// Why a test gives no score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum NotTestable {
    /// Too few values in one of the samples.
    InsufficientData {
        /// Values the smaller sample has.
        n: u64,
        /// Values it needs.
        needed: u64,
    },
    /// The test is not made for such a column.
    NotApplicable {
        /// Why, for people.
        reason: String,
    },
    /// The baseline leaves nothing to compare: one value only, or none.
    Degenerate {
        /// Why, for people.
        reason: String,
    },
}

impl NotTestable {
    /// The stable name of the reason.
    pub fn status(&self) -> &'static str {
        match self {
            Self::InsufficientData { .. } => "insufficient_data",
            Self::NotApplicable { .. } => "not_applicable",
            Self::Degenerate { .. } => "degenerate",
        }
    }
}

/// A drift test: a row of [`TESTS`].
pub struct DriftTest {
    /// Stable snake_case name.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Which kinds of column it is made for.
    pub kinds: &'static [ColumnKind],
    /// Whether an alarm may rest on its p-value. The others are shown because people know them.
    pub alarms: bool,
    /// Scores a pair.
    pub score: fn(&Pair<'_>) -> Result<Score, NotTestable>,
}

/// Every test, in the order they are shown.
pub static TESTS: &[DriftTest] = &[
    ks::TEST,
    kuiper::TEST,
    quadratic::CVM,
    quadratic::AD,
    wasserstein::TEST,
    energy::TEST,
    psi::TEST,
    js::TEST,
    kl::TEST,
    kl::REVERSE,
    hellinger::TEST,
    tv::TEST,
    linf::TEST,
    chi2::TEST,
    g::TEST,
    moments::MEAN,
    moments::VARIANCE,
    missing::TEST,
    wrong_type::TEST,
    overflow::TEST,
    unseen::TEST,
];

/// The test of this name.
pub fn test(name: &str) -> Option<&'static DriftTest> {
    TESTS.iter().find(|test| test.name == name)
}

/// Values that each sample needs for a distance. What so few values can mean is left to the
/// [verdict](crate::verdict), which has a floor of its own; the exact counting tests need one row.
const VALUES_MIN: u64 = 2;

/// Below this many values in either sample a score says that the sample is small.
const VALUES_FEW: u64 = 50;

const NUMERIC: &[ColumnKind] = &[ColumnKind::Numeric];
const CATEGORICAL: &[ColumnKind] = &[ColumnKind::Categorical];
const BOTH: &[ColumnKind] = &[ColumnKind::Numeric, ColumnKind::Categorical];

impl<'a> Pair<'a> {
    /// The training counts `reference` and the window's counts `current`, both counted on `shape`.
    pub fn new(shape: &'a Shape, reference: &'a ColumnSummary, current: &'a ColumnSummary) -> Self {
        let values = (reference.values(), current.values());
        Self { shape, reference, current, values, bins: OnceCell::new(), cells: OnceCell::new() }
    }

    /// What both were counted on.
    pub fn shape(&self) -> &'a Shape {
        self.shape
    }

    /// The training counts.
    pub fn reference(&self) -> &'a ColumnSummary {
        self.reference
    }

    /// The window's counts.
    pub fn current(&self) -> &'a ColumnSummary {
        self.current
    }

    /// Values of the reference and of the current sample.
    ///
    /// # Errors
    /// `InsufficientData` when either has fewer than `needed`.
    fn sizes(&self, needed: u64) -> Result<(u64, u64), NotTestable> {
        let (m, n) = self.values;
        if m.min(n) < needed {
            Err(NotTestable::InsufficientData { n: m.min(n), needed })
        } else {
            Ok((m, n))
        }
    }

    /// The pair as numbers on a grid.
    ///
    /// # Errors
    /// `NotApplicable` when the column is no numeric one, or the summaries do not belong to its grid.
    fn numeric(&self) -> Result<numeric::Numeric<'a>, NotTestable> {
        match (self.shape, self.reference, self.current) {
            (Shape::Categorical(_), _, _) => Err(NotTestable::NotApplicable {
                reason: "the column is categorical: its values have no order".to_owned(),
            }),
            (Shape::Numeric(grid), ColumnSummary::Numeric(reference), ColumnSummary::Numeric(current))
                if reference.counts.len() == grid.bins() && current.counts.len() == grid.bins() =>
            {
                Ok(numeric::Numeric { grid, reference, current, values: self.values })
            }
            _ => Err(shape_mismatch()),
        }
    }

    /// The bins of a pair of numbers.
    ///
    /// # Errors
    /// As [`numeric`](Self::numeric).
    fn bins(&self) -> Result<&Bins, NotTestable> {
        let numeric = self.numeric()?;
        Ok(self.bins.get_or_init(|| Bins::of(&numeric)))
    }

    /// The bins of two samples of numbers that vary.
    ///
    /// # Errors
    /// As [`numeric`](Self::numeric); `InsufficientData` below two values in either sample; `Degenerate` when
    /// the reference has one value only.
    fn bins_that_vary(&self) -> Result<&Bins, NotTestable> {
        let bins = self.bins()?;
        self.sizes(VALUES_MIN)?;
        if bins.one_value {
            return Err(NotTestable::Degenerate {
                reason: "the baseline has one value only; other values are tested by `overflow`".to_owned(),
            });
        }
        Ok(bins)
    }

    /// The cells of the distances between discrete distributions.
    ///
    /// # Errors
    /// As [`Cells::of`].
    fn cells(&self) -> Result<&Cells, NotTestable> {
        self.cells.get_or_init(|| Cells::of(self)).as_ref().map_err(Clone::clone)
    }

    /// A score with this statistic as its effect and nothing else known.
    fn score(&self, statistic: f64) -> Score {
        let (reference_n, current_n) = self.values;
        Score {
            statistic,
            bound: None,
            p_value: None,
            log_p_value: None,
            effect: statistic,
            effect_unit: EffectUnit::Statistic,
            reference_n,
            current_n,
            detail: (reference_n.min(current_n) < VALUES_FEW).then(|| "small sample".to_owned()),
        }
    }
}

impl Score {
    /// Sets the p-value, held within the positive normal numbers, and its logarithm.
    fn with_p_value(self, tail: Tail) -> Self {
        let p_value = tail.p_value().clamp(f64::MIN_POSITIVE, 1.0);
        Self { p_value: Some(p_value), log_p_value: Some(tail.ln()), ..self }
    }

    fn with_bound(self, bound: f64) -> Self {
        Self { bound: Some(bound), ..self }
    }

    fn with_effect(self, effect: f64, effect_unit: EffectUnit) -> Self {
        Self { effect, effect_unit, ..self }
    }

    /// Adds a remark to those that are there.
    fn with_detail(self, remark: impl AsRef<str>) -> Self {
        let detail = match self.detail {
            Some(before) => format!("{before}; {}", remark.as_ref()),
            None => remark.as_ref().to_owned(),
        };
        Self { detail: Some(detail), ..self }
    }

    /// The score, if its numbers are finite.
    ///
    /// # Errors
    /// `Degenerate` when values near the end of the range of doubles made one overflow.
    fn finite(self) -> Result<Self, NotTestable> {
        let bound_is_finite = self.bound.is_none_or(f64::is_finite);
        if self.statistic.is_finite() && self.effect.is_finite() && bound_is_finite {
            return Ok(self);
        }
        Err(NotTestable::Degenerate {
            reason: "the values are too large: the statistic overflows".to_owned(),
        })
    }
}

fn shape_mismatch() -> NotTestable {
    NotTestable::NotApplicable { reason: "the summaries were not counted on the baseline's shape".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::summary::{
        Anomalies, CategoricalSummary, Categories, Counts, FixedPoint, Grid, NumericSummary,
    };

    /// A count: often nothing, often small, sometimes as large as counts get.
    fn count() -> impl Strategy<Value = u64> {
        prop_oneof![4 => Just(0), 4 => 0u64..50, 2 => 0u64..1_000_000, 1 => any::<u64>()]
    }

    fn anomalies() -> impl Strategy<Value = Anomalies> {
        prop::array::uniform5(count()).prop_map(
            |[missing, nan, positive_infinity, negative_infinity, wrong_type]| Anomalies {
                missing,
                nan,
                positive_infinity,
                negative_infinity,
                wrong_type,
            },
        )
    }

    fn numeric_side(bins: usize, outer: (usize, usize)) -> impl Strategy<Value = ColumnSummary> {
        let sums = |len| prop::collection::vec(any::<i64>().prop_map(i128::from), len);
        let counts = prop_oneof![9 => prop::collection::vec(count(), bins), 1 => Just(vec![0; bins])];
        (counts, sums(outer.0), sums(outer.1), any::<i64>(), 0..i64::MAX, anomalies()).prop_map(
            |(counts, low, high, sum, squares, anomalies)| {
                ColumnSummary::Numeric(NumericSummary {
                    counts: Counts::from_wide(counts),
                    low,
                    high,
                    sum: i128::from(sum),
                    squares: i128::from(squares),
                    anomalies,
                })
            },
        )
    }

    fn grid() -> impl Strategy<Value = Grid> {
        let edge = prop_oneof![
            Just(0.0),
            (-5i32..5).prop_map(f64::from),
            Just(f64::MAX),
            Just(-f64::MAX),
            any::<f64>()
        ];
        let edge = edge.prop_map(|edge| if edge.is_finite() { edge } else { 0.0 });
        let edges = prop::collection::vec((edge, any::<bool>()), 0..60);
        (edges, 1e-3..1e3f64).prop_map(|(edges, scale)| {
            let with_points = |(edge, point): (f64, bool)| {
                let below = edge.next_down();
                [Some(edge), (point && below.is_finite()).then_some(below)]
            };
            let mut edges: Vec<f64> = edges.into_iter().flat_map(with_points).flatten().collect();
            edges.sort_by(f64::total_cmp);
            edges.dedup_by(|right, left| left >= right);
            Grid::try_new(edges, FixedPoint { centre: 0.0, scale }).expect("edges ascend")
        })
    }

    fn numeric_pair() -> impl Strategy<Value = (Shape, ColumnSummary, ColumnSummary)> {
        grid().prop_flat_map(|grid| {
            let side = || numeric_side(grid.bins(), grid.outer());
            (Just(Shape::Numeric(grid.clone())), side(), side())
        })
    }

    fn categorical_side(categories: &Categories) -> impl Strategy<Value = ColumnSummary> + use<> {
        let unseen = prop::collection::btree_map(any::<u64>(), ("[a-z]{0,3}", count()), 0..4);
        (prop::collection::vec(count(), categories.len()), anomalies(), unseen).prop_map(
            |(counts, anomalies, unseen)| {
                let counts = Counts::from_wide(counts);
                ColumnSummary::Categorical(CategoricalSummary { counts, anomalies, unseen })
            },
        )
    }

    fn categorical_pair() -> impl Strategy<Value = (Shape, ColumnSummary, ColumnSummary)> {
        let categories = (0usize..12, 0usize..3, any::<bool>(), prop::option::of(count()));
        categories.prop_flat_map(|(names, buckets, open, rare_singletons)| {
            let top = (0..names).map(|name| name.to_string()).collect();
            let categories = Categories { top, buckets, rare: vec![1; buckets], open, rare_singletons };
            let side = || categorical_side(&categories);
            (Just(Shape::Categorical(categories.clone())), side(), side())
        })
    }

    fn scores_are_finite(pair: &Pair<'_>) -> Result<(), TestCaseError> {
        for test in TESTS {
            let Ok(score) = (test.score)(pair) else { continue };
            prop_assert!(score.statistic.is_finite(), "{}: {score:?}", test.name);
            prop_assert!(score.effect.is_finite(), "{}: {score:?}", test.name);
            prop_assert!(
                score.bound.is_none_or(|bound| bound.is_finite() && bound >= 0.0),
                "{}: {score:?}",
                test.name
            );
            prop_assert!(score.p_value.is_none_or(|p| p > 0.0 && p <= 1.0), "{}: {score:?}", test.name);
            prop_assert_eq!(score.p_value.is_some(), score.log_p_value.is_some());
            if let (Some(p), Some(ln)) = (score.p_value, score.log_p_value) {
                prop_assert!(ln.is_finite() && ln <= 0.0, "{}: {score:?}", test.name);
                let agree = (p.ln() - ln).abs() <= 1e-9 * p.ln().abs().max(1.0);
                prop_assert!(agree || (ln < -667.0 && p < 1e-289), "{}: {score:?}", test.name);
            }
        }
        describe(pair);
        Ok(())
    }

    fn nothing_differs_from_itself(shape: &Shape, side: &ColumnSummary) -> Result<(), TestCaseError> {
        let pair = Pair::new(shape, side, side);
        for test in TESTS.iter().filter(|test| !matches!(test.name, "overflow" | "unseen")) {
            let Ok(score) = (test.score)(&pair) else { continue };
            prop_assert!(score.statistic.abs() < 1e-6, "{}: {score:?}", test.name);
            prop_assert!(score.p_value.is_none_or(|p| p > 0.999), "{}: {score:?}", test.name);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn numeric_scores_are_finite_whatever_the_counts((shape, reference, current) in numeric_pair()) {
            scores_are_finite(&Pair::new(&shape, &reference, &current))?;
            nothing_differs_from_itself(&shape, &current)?;
        }

        #[test]
        fn categorical_scores_are_finite_whatever_the_counts((shape, reference, current) in categorical_pair()) {
            scores_are_finite(&Pair::new(&shape, &reference, &current))?;
            nothing_differs_from_itself(&shape, &current)?;
        }

        #[test]
        fn summaries_of_another_shape_are_refused(
            (shape, reference, _) in numeric_pair(),
            (other_shape, _, current) in categorical_pair(),
        ) {
            for shape in [&shape, &other_shape] {
                scores_are_finite(&Pair::new(shape, &reference, &current))?;
            }
        }
    }

    #[test]
    fn a_rare_name_that_becomes_common_is_seen_in_a_small_window() {
        let top = vec!["no".to_owned(), "yes".to_owned()];
        let categories = Categories { top, buckets: 0, rare: vec![], open: false, rare_singletons: None };
        let shape = Shape::Categorical(categories);
        let side = |counts: Vec<u64>| {
            ColumnSummary::Categorical(CategoricalSummary {
                counts: Counts::from_wide(counts),
                anomalies: Anomalies::default(),
                unseen: BTreeMap::new(),
            })
        };
        let (reference, current) = (side(vec![49_500, 500, 0]), side(vec![270, 30, 0]));
        let pair = Pair::new(&shape, &reference, &current);
        let score = (test("g").expect("g is in the table").score)(&pair).expect("there are values");
        assert!(score.p_value.is_some_and(|p| p < 1e-10), "{score:?}");
        assert!(score.detail.is_some_and(|detail| detail.contains("largest cell")));
    }

    #[test]
    fn every_test_has_a_name_of_its_own() {
        for (index, test) in TESTS.iter().enumerate() {
            assert!(
                test.name
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
            );
            assert!(!test.kinds.is_empty() && !test.about.is_empty());
            assert!(TESTS[..index].iter().all(|earlier| earlier.name != test.name));
        }
    }

    #[test]
    fn a_test_refuses_columns_it_is_not_made_for() {
        let grid =
            Grid::try_new(vec![0.0, 1.0], FixedPoint { centre: 0.0, scale: 1.0 }).expect("edges ascend");
        let categories = Categories {
            top: vec!["a".into()],
            buckets: 0,
            rare: vec![],
            open: false,
            rare_singletons: None,
        };
        for (kind, shape) in [
            (ColumnKind::Numeric, Shape::Numeric(grid)),
            (ColumnKind::Categorical, Shape::Categorical(categories)),
        ] {
            let side = shape.empty();
            let pair = Pair::new(&shape, &side, &side);
            for test in TESTS {
                let refused = (test.score)(&pair).expect_err("there is nothing to compare");
                let expected =
                    if test.kinds.contains(&kind) { "insufficient_data" } else { "not_applicable" };
                assert_eq!(refused.status(), expected, "{}", test.name);
            }
        }
    }
}
