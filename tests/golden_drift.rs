//! The drift tests and their laws against other people's implementations.
//!
//! Each file under `tests/golden/` holds inputs with the values that scipy, astropy or mpmath compute for
//! them, and a tolerance for each number: |got − want| ≤ abs + rel·|want|.

mod golden;

use driftline::drift::law;
use driftline::drift::{NotTestable, Pair, Score, TESTS};
use driftline::summary::{ColumnSummary, FixedPoint, Grid, NumericScratch, NumericSummary, Shape};
use golden::{Case, cases};

/// A distance of two count vectors, the reference first.
type Distance = fn(&[u64], &[u64]) -> f64;

/// G of the counts 1e9, 2e9, 3e9 + 5 against 3e8, 6e8, 9e8.
const G_OF_HUGE_COUNTS: f64 = 9.615_384_601_208_087e-10;

#[test]
fn laws_have_the_published_tails() {
    let mut checked = 0;
    for case in cases("b_distribution_tails") {
        let number = |name: &str| case.input(name);
        let count = |name: &str| number(name) as u64;
        let relative = case.tolerance("rel");
        let (tail, field) = match case.text("dist").as_str() {
            "kolmogorov_limit" => (law::kolmogorov_tail(number("x")), "sf_mpmath"),
            "kuiper_limit" => (law::kuiper_tail(number("x")), "sf"),
            "cramer_von_mises_limit_W2" => (law::cramer_von_mises_tail(number("x")), "sf"),
            "anderson_darling_limit_A2" => (law::anderson_darling_tail(number("x")), "sf"),
            "binned_W2_limit_equal_mass" => {
                let form = law::BridgeForm::new(&vec![1.0; count("K") as usize], |_, left, _| left);
                (form.expect("there are edges").tail(number("x")), "sf")
            }
            "binned_A2_limit_equal_mass" => {
                let weight = |height: f64, left: f64, _: f64| left / (height * (1.0 - height));
                let form = law::BridgeForm::new(&vec![1.0; count("K") as usize], weight);
                (form.expect("there are edges").tail(number("x")), "sf")
            }
            "chi2" => (law::chi_squared_tail(number("x"), number("df")), "sf"),
            "normal" => (law::normal_tail(number("x")), "sf"),
            "student_t_two_sided" => (law::student_t_tail(number("x"), number("df")), "p_two_sided"),
            "ks_two_sample_exact" => {
                let (n, m) = (count("n") as u32, count("m") as u32);
                (law::kolmogorov_exact_tail(n, m, count("T_int")), "p_exact")
            }
            // The one-sample law and the intervals of a rate are no laws of two samples.
            "ks_one_sample_exact" | "binomial_ci" => continue,
            other => panic!("{}: no law is known as {other}", case.id),
        };
        case.holds(field, tail.p_value(), 0.0, relative);
        // What p is off by relatively, its logarithm is off by absolutely.
        for logarithm in ["log_sf", "log_p"] {
            case.holds(logarithm, tail.ln(), relative, 1e-12);
        }
        checked += 1;
    }
    assert!(checked >= 182, "only {checked} laws were checked");
}

#[test]
fn distances_of_counts_are_scipys() {
    let checked = cases("a3_binned_distances");
    assert!(checked.len() >= 46);
    for case in checked {
        let (current, reference) = (case.counts("current_counts"), case.counts("baseline_counts"));
        let (absolute, relative) = (case.tolerance("abs"), case.tolerance("rel"));
        let distances: [(&str, Distance); 8] = [
            ("hellinger", driftline::drift::hellinger),
            ("kl_add_0.5", driftline::drift::kl),
            ("kuiper_binned", driftline::drift::kuiper),
            ("tv", driftline::drift::tv),
            ("js_distance_base2", driftline::drift::js),
            ("psi_add_0.5", driftline::drift::psi),
            ("ks_binned", driftline::drift::ks),
            ("chi2_homog.statistic", driftline::drift::chi2),
        ];
        let huge = case.id.ends_with("\"o-huge\"");
        for (field, distance) in distances {
            // The file's Hellinger distance is √(1 − x): it is zero where x rounds to one.
            let absolute = if huge && field == "hellinger" { absolute.sqrt() } else { absolute };
            case.holds(field, distance(&reference, &current), absolute, relative);
        }
        let g = driftline::drift::g(&reference, &current);
        if huge {
            // The file's 2.0e-7 is rounding: terms of 1e9 that cancel. With 40 digits (mpmath) it is this.
            assert!((g - G_OF_HUGE_COUNTS).abs() < absolute, "{}: {g:e}", case.id);
        } else {
            case.holds("g_homog.statistic", g, absolute, relative);
        }
        let degrees = driftline::drift::homogeneity_degrees(&reference, &current) as f64;
        case.holds("chi2_homog.dof", degrees, 0.0, 0.0);
        let p_relative = case.tolerance("p_rel");
        for (statistic, p_value) in
            [("chi2_homog.statistic", "chi2_homog.p"), ("g_homog.statistic", "g_homog.p")]
        {
            if let Some(statistic) = case.expected(statistic) {
                case.holds(p_value, law::chi_squared_sf(statistic, degrees), 1e-300, p_relative);
            }
        }
    }
}

#[test]
fn scores_on_an_exact_grid_are_scipys() {
    for case in two_samples() {
        let (current, reference) = (case.numbers("x_window"), case.numbers("y_baseline"));
        let sample = Sample::on_exact_grid(&reference, &current);
        if reference.len().min(current.len()) < 2 {
            let refused = sample.score("ks").expect_err("too few values are refused");
            assert_eq!(refused.status(), "insufficient_data", "{}", case.id);
            continue;
        }
        let distance = sample.score("wasserstein").expect("there are values");
        // A point bin is one rounding step wide, and fixed-point sums round to 2^-33 scales.
        let scale = reference.iter().chain(&current).fold(0.0f64, |largest, x| largest.max(x.abs()));
        case.holds("wasserstein1", distance.statistic, 4e-16 * scale * reference.len() as f64, 1e-9);
        let energy = sample.score("energy").expect("there are values");
        let error = 4e-8 * (scale * reference.len() as f64).sqrt();
        case.holds("energy_distance_sqrt", energy.statistic, error, case.tolerance("energy_rel"));
        if let Ok(mean) = sample.score("mean") {
            // With an offset of 1e9 scipy's t is off by 2.8e-7; in exact fractions it is 1.22378333287.
            let offset = 1e-15 * scale;
            case.holds("welch_t.statistic", mean.statistic, 1e-7 + offset, 1e-7);
            case.holds("welch_t.p", mean.p_value.expect("there is one"), 0.0, 1e-6 + offset);
        }
        let ks = match sample.score("ks") {
            Err(NotTestable::Degenerate { .. }) => continue,
            other => other.expect("it is testable"),
        };
        let kuiper = sample.score("kuiper").expect("it is testable where ks is");
        case.holds("kuiper.statistic", kuiper.statistic, case.tolerance("statistic"), 0.0);
        if !has_ties(&reference, &current) {
            let cvm = sample.score("cvm").expect("it is testable where ks is");
            case.holds("cvm.statistic", cvm.statistic, 0.0, 1e-9);
        }
        case.holds("ks.statistic", ks.statistic, case.tolerance("statistic"), 0.0);
        assert_eq!(ks.bound, Some(0.0), "{}: point bins lose nothing", case.id);
    }
}

#[test]
fn exact_kolmogorov_smirnov_p_values_are_scipys() {
    let mut checked = 0;
    for case in two_samples() {
        let (current, reference) = (case.numbers("x_window"), case.numbers("y_baseline"));
        let (n, m) = (current.len() as u32, reference.len() as u32);
        if let Some(d) = case.expected("ks.statistic") {
            let t = (d * f64::from(n) * f64::from(m)).round() as u64;
            let got = law::kolmogorov_exact_two_sample(n, m, t);
            checked += u32::from(case.holds("ks.p_exact", got, 0.0, case.tolerance("p_exact_rel")));
        }
    }
    assert!(checked >= 40, "only {checked} were checked");
}

#[test]
fn scores_on_a_quantile_grid_stay_within_their_bound() {
    for case in two_samples() {
        let (current, reference) = (case.numbers("x_window"), case.numbers("y_baseline"));
        if reference.len().min(current.len()) < 5 {
            continue;
        }
        for bins in [8, 256] {
            let sample = Sample::on_quantile_grid(&reference, &current, bins);
            let fields = [
                ("ks", "ks.statistic"),
                ("kuiper", "kuiper.statistic"),
                ("wasserstein", "wasserstein1"),
                ("energy", "energy_distance_sqrt"),
            ];
            for (test, field) in fields {
                let score = match sample.score(test) {
                    Err(NotTestable::Degenerate { .. }) => continue,
                    other => other.expect("it is testable"),
                };
                let bound = score.bound.expect("the test states its error");
                case.holds(field, score.statistic, bound * (1.0 + 1e-9) + 1e-12, 1e-9);
            }
        }
    }
}

fn has_ties(reference: &[f64], current: &[f64]) -> bool {
    let mut all: Vec<f64> = reference.iter().chain(current).copied().collect();
    all.sort_by(f64::total_cmp);
    all.windows(2).any(|pair| pair[0] == pair[1])
}

fn two_samples() -> Vec<Case> {
    let mut all = cases("a1_two_sample_small");
    all.extend(cases("a2_two_sample_medium"));
    assert_eq!(all.len(), 62);
    all
}

/// Two samples on a grid.
struct Sample {
    shape: Shape,
    reference: ColumnSummary,
    current: ColumnSummary,
}

impl Sample {
    /// Every value of both samples has a point bin.
    fn on_exact_grid(reference: &[f64], current: &[f64]) -> Self {
        let edges = reference.iter().chain(current).flat_map(|&value| [value.next_down(), value]).collect();
        Self::new(edges, reference, current)
    }

    /// Edges at quantiles of the reference, without point bins.
    fn on_quantile_grid(reference: &[f64], current: &[f64], bins: usize) -> Self {
        let mut sorted = reference.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut edges: Vec<f64> =
            (1..=bins).map(|bin| sorted[(bin * sorted.len()).div_ceil(bins) - 1]).collect();
        edges.push(sorted[0].next_down());
        Self::new(edges, reference, current)
    }

    fn new(mut edges: Vec<f64>, reference: &[f64], current: &[f64]) -> Self {
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let m = reference.len().max(1) as f64;
        let centre = reference.iter().sum::<f64>() / m;
        let spread = (reference.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / m).sqrt();
        let scale = if spread > 0.0 { spread } else { 1.0 };
        let grid = Grid::try_new(edges, FixedPoint { centre, scale }).expect("edges ascend");
        let count = |values: &[f64]| {
            let mut summary = NumericSummary::empty(&grid);
            summary.observe_values(&grid, values.iter().copied().map(Some), &mut NumericScratch::default());
            ColumnSummary::Numeric(summary)
        };
        let (reference, current) = (count(reference), count(current));
        Self { shape: Shape::Numeric(grid), reference, current }
    }

    fn score(&self, name: &str) -> Result<Score, NotTestable> {
        let test = TESTS.iter().find(|test| test.name == name).expect("the test is in the table");
        let pair = Pair::new(&self.shape, &self.reference, &self.current);
        (test.score)(&pair)
    }
}
